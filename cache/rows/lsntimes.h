/* lsntimes.h: when was the primary at an LSN? From the pulse's samples. A standby that has replayed up to an LSN is as fresh
 * as the newest sample that lies at it or before.
 *
 *     lsntimes_add(times, taken_us, insert_lsn);          the pulse's thread
 *     fresh_at_us = lsntimes_at(times, replayed_lsn);     any thread
 *
 * The samples kept reach back further than `span`; older ones stand further apart than they were taken. */
#ifndef FRESHET_CACHE_LSNTIMES_H
#define FRESHET_CACHE_LSNTIMES_H

#include <stdint.h>

struct lsntimes;

struct lsntimes *lsntimes_create(int64_t span_us);
void lsntimes_destroy(struct lsntimes **times);

/* `taken_us`: monotonic, read before the LSN was asked for. */
void lsntimes_add(struct lsntimes *times, int64_t taken_us, uint64_t insert_lsn);
/* Another server or timeline: the LSNs do not compare. */
void lsntimes_clear(struct lsntimes *times);
/* 0: before all that is known. */
int64_t lsntimes_at(struct lsntimes *times, uint64_t lsn);

#endif
