/* reclaim.h: when memory that a reader without a lock may still see can be given back (quiescent-state reclamation).
 *
 *     reader:  reclaim_enter(reclaim, me);  ... follow atomic pointers ...  reclaim_leave(reclaim, me);
 *     writer:  unlink it (a seq_cst store), then limbo_add(&limbo, thing, kind);  now and then limbo_drain(&limbo);
 *
 * An epoch counts up. A reader notes the epoch in which it entered; what is retired is stamped with the epoch after it
 * was unlinked, and is freed when no reader is inside with that epoch or an older one. A reader that sleeps outside of
 * a section holds nothing back; one that stays inside holds back all that is retired meanwhile, so sections are one loop turn.
 *
 * A limbo is a list of retired things with its own owner (in the store: a shard, under the shard's lock).
 *
 * Why not a hazard pointer a key: a store and a barrier on every hit. Here a hit pays nothing, a turn one exchange. */
#ifndef FRESHET_CACHE_RECLAIM_H
#define FRESHET_CACHE_RECLAIM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct reclaim;

struct reclaim *reclaim_create(uint32_t max_readers);
/* Behind the last limbo, and before the heap that entries lie in. */
void reclaim_destroy(struct reclaim **reclaim);

void reclaim_enter(struct reclaim *reclaim, uint32_t reader);
void reclaim_leave(struct reclaim *reclaim, uint32_t reader);
/* For a reader that holds nothing for the moment: leaves and enters again where much waits for that. Where it is very much,
 * it waits up to 10 ms for the others to leave: one of them may be waiting for a lock that this thread takes again and
 * again, and whoever makes garbage faster than it can be given back has to slow down. */
void reclaim_pause(struct reclaim *reclaim, uint32_t reader);
/* Bytes of the big things (64 KiB and more) that wait for readers to leave. */
size_t reclaim_held(const struct reclaim *reclaim);
/* Past this, limbos are drained at each call. */
enum { RECLAIM_HELD_MUCH = 32 << 20, RECLAIM_HELD_VERY_MUCH = 4 * RECLAIM_HELD_MUCH };

enum retired_kind {
    RETIRED_MEMORY, /* mem_free */
    RETIRED_ENTRY,  /* entry_destroy, of a big container by a thread of its own (freer.h) */
    RETIRED_HUSK,   /* entry_release: what it held has moved on */
};

struct retired {
    uintptr_t thing; /* the kind in the lowest bits: blocks are aligned to 8 */
    uint64_t epoch;
};

struct limbo {
    struct reclaim *reclaim;
    struct retired *items; /* in the order of their epochs, from `first` */
    uint32_t first, n, cap;
    uint32_t since_drain; /* how many were added, and their bytes */
    size_t bytes_since_drain;
};

void limbo_init(struct limbo *limbo, struct reclaim *reclaim);
/* Frees all that is left: no reader may be inside. */
void limbo_deinit(struct limbo *limbo);
/* Takes a thing that was just unlinked. Tries to drain every few calls, or few kilobytes. */
void limbo_add(struct limbo *limbo, void *thing, enum retired_kind kind);
/* Frees what no reader can see any more. */
void limbo_drain(struct limbo *limbo);

#endif
