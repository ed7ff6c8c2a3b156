/* tablestate.h: what changes about a table while the map that describes it does not: its generation, from when on its rows
 * may be kept, and the fences of transactions that touched all of it.
 *
 *     number = tablestates_number(states, "public", "users");     the same for the same name for ever
 *     state  = tablestates_at(states, number);
 *
 *     evict the whole table:   tablestate_fence(state, xid, lsn);  tablestate_bump(state);      in this order
 *     keep a row:              generation = tablestate_generation(state);
 *                              if (!tablestate_admits(state, version, &snapshot)) ...      in this order
 *
 * The two orders together make it safe without a lock: who reads the new generation also sees the fence, and who has read
 * the old one makes an entry that is dead already. A generation is read on every hit: one atomic read. */
#ifndef FRESHET_CACHE_TABLESTATE_H
#define FRESHET_CACHE_TABLESTATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/pgsnapshot.h"

enum {
    TABLESTATES_MAX = 1 << 14, /* tables ever seen by one process */
    TABLESTATE_FENCES = 8,
};

#define TABLESTATE_NOT_JOINED UINT64_MAX

struct tablestate {
    _Alignas(64) _Atomic uint64_t generation;
    /* A fill was sent under some version of the table's description; only the newest may be kept. */
    _Atomic uint64_t version;
    /* All transactions below must be over in a fill's snapshot. NOT_JOINED: the feed does not cover the table yet. */
    _Atomic uint64_t horizon_xid;
    _Atomic bool by_ttl; /* the feed never tells of its rows: how old they are is not known */
    _Atomic uint32_t n_fences;
    /* Fences that the list had no room for: all transactions up to this one must be over; 0: none. */
    _Atomic uint64_t fenced_xid;
    /* What a standby must have replayed: the LSN that the horizon stands for, or of the last fence; UINT64_MAX: that is not
     * known, until a snapshot has seen all fences. */
    _Atomic uint64_t standby_lsn;
    pthread_mutex_t mutex; /* over the list, and over changes of the LSN */
    uint64_t fences[TABLESTATE_FENCES];
};

struct tablestates;

struct tablestates *tablestates_create(void);
void tablestates_destroy(struct tablestates **states);

/* The number of a table's name, made where it is new; false: TABLESTATES_MAX are taken. Control thread. */
bool tablestates_number(struct tablestates *states, const char *schema, const char *name,
                        uint32_t *number);
struct tablestate *tablestates_at(struct tablestates *states, uint32_t number);
uint32_t tablestates_count(struct tablestates *states);

static inline uint64_t tablestate_generation(const struct tablestate *state) {
    return atomic_load_explicit(&state->generation, memory_order_acquire);
}
void tablestate_bump(struct tablestate *state);

/* A transaction touched all rows, its commit ends at `lsn` (0: not known yet). Past the list's length it becomes one coarser
 * fence for all. */
void tablestate_fence(struct tablestate *state, uint64_t xid, uint64_t lsn);
void tablestate_forget(struct tablestate *state, const struct pgsnapshot *snapshot);
/* `horizon_lsn`: every transaction that the feed does not tell of ends before it. */
void tablestate_set_horizon(struct tablestate *state, uint64_t horizon_xid, uint64_t horizon_lsn);
/* Not joined: nothing is kept until the next horizon. Then a new generation must follow. */
void tablestate_part(struct tablestate *state);

enum tablestate_verdict {
    TABLESTATE_ADMITTED,
    TABLESTATE_OTHER_VERSION, /* the table was described anew since the fill was sent */
    TABLESTATE_JOINING,       /* not covered by the feed yet */
    TABLESTATE_BELOW_HORIZON, /* transactions from before are still running in this snapshot */
    TABLESTATE_FENCED,        /* a transaction that touched the whole table is not visible */
};

enum tablestate_verdict tablestate_admits(struct tablestate *state, uint64_t version,
                                          const struct pgsnapshot *snapshot);
const char *tablestate_verdict_text(enum tablestate_verdict verdict);

#endif
