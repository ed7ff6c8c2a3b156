/* lease.h: how stale memory may be, and until when it may answer.
 *
 * At intervals somebody reads the clock and then the primary's insert LSN: a sample. Once the cache has applied
 * everything up to a sample's LSN it is fresh as of the sample's time, and may serve from memory until that time plus
 * max_staleness: the lease. It needs no message to end: time passes.
 *
 *     now = clock_mono_us(); lsn = <SELECT insert LSN>; lease_sample(lease, now, lsn);     control thread
 *     lease_applied(lease, lsn);                                                           feed's thread, after evicting
 *     if (now_us < lease_deadline_us(lease)) ...                                           any thread: one atomic read
 *
 * The applied LSN lives here too, since both are advanced together. */
#ifndef FRESHET_CACHE_LEASE_H
#define FRESHET_CACHE_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lease;

/* What the hot path reads, by itself on its cache line. */
struct lease_deadline {
    _Alignas(64) _Atomic int64_t us; /* monotonic; 0: no lease yet */
};

struct lease *lease_create(int64_t max_staleness_us);
void lease_destroy(struct lease **lease);
/* From now on only the feed's word proves freshness: a sample that what was applied covers already waits for the next
 * lease_applied, of whatever LSN. So the lease ends when the feed falls silent, also where nothing happens in the
 * database. Before the first sample. */
void lease_rely_on_feed(struct lease *lease);

/* `taken_us`: monotonic, read before the LSN was asked for. */
void lease_sample(struct lease *lease, int64_t taken_us, uint64_t insert_lsn);
/* Everything up to lsn is applied. An LSN behind the last one changes nothing. */
void lease_applied(struct lease *lease, uint64_t lsn);
/* Another server or timeline: its LSNs do not compare with ours. The lease ends. */
void lease_reset(struct lease *lease);

const struct lease_deadline *lease_deadline(const struct lease *lease);
static inline int64_t lease_deadline_us(const struct lease_deadline *deadline) {
    return atomic_load_explicit(&deadline->us, memory_order_acquire);
}

uint64_t lease_applied_lsn(const struct lease *lease);
/* The LSN of the oldest sample that is not reached yet, and when it was taken; 0: none waits. */
uint64_t lease_waiting_lsn(struct lease *lease, int64_t *taken_us);
/* now - the time as of which the cache is fresh; -1: never was. */
int64_t lease_staleness_us(const struct lease *lease, int64_t now_us);

/* pg_current_wal_insert_lsn() right behind a page's end stands behind the next page's header, which does not exist
 * yet and which no walsender's position ever includes: this gives the page's end instead. */
uint64_t lease_normal_lsn(uint64_t insert_lsn, uint32_t block_bytes, uint64_t segment_bytes);

#endif
