/* awaits.h: who waits until the cache has applied an LSN (FRESHET.WAIT).
 *
 *     awaits_add(awaits, lsn, ticket, deadline_us, now_us);     a worker; then look at the applied LSN once more
 *     awaits_wake(awaits, applied_lsn);                         the feed's thread, after each advance: one atomic read mostly
 *
 * Any thread. A ticket whose client has gone does no harm; those past their deadline are dropped as others come. */
#ifndef FRESHET_CACHE_AWAITS_H
#define FRESHET_CACHE_AWAITS_H

#include <stdint.h>

#include "cache/front/client.h"

struct awaits;

struct awaits *awaits_create(void);
void awaits_destroy(struct awaits **awaits);
void awaits_add(struct awaits *awaits, uint64_t lsn, struct client_ticket ticket,
                int64_t deadline_us, int64_t now_us);
void awaits_wake(struct awaits *awaits, uint64_t applied_lsn);

#endif
