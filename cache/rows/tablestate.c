#include "cache/rows/tablestate.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct tablestates {
    pthread_mutex_t mutex;
    _Atomic uint32_t n;
    char *names[TABLESTATES_MAX]; /* "schema" NUL "name" NUL */
    struct tablestate states[TABLESTATES_MAX];
};

struct tablestates *tablestates_create(void) {
    struct tablestates *states = mem_aligned(64, sizeof *states);
    memset(states, 0, sizeof *states);
    pthread_mutex_init(&states->mutex, NULL);
    return states;
}

void tablestates_destroy(struct tablestates **states) {
    if (!*states) return;
    for (uint32_t i = 0; i < (*states)->n; i++) {
        pthread_mutex_destroy(&(*states)->states[i].mutex);
        mem_free((*states)->names[i]);
    }
    pthread_mutex_destroy(&(*states)->mutex);
    mem_free(*states);
    *states = NULL;
}

static bool is_named(const char *names, const char *schema, const char *name) {
    return strcmp(names, schema) == 0 && strcmp(names + strlen(names) + 1, name) == 0;
}

static void init(struct tablestate *state) {
    pthread_mutex_init(&state->mutex, NULL);
    atomic_store(&state->generation, 1);
    atomic_store(&state->horizon_xid, TABLESTATE_NOT_JOINED);
}

bool tablestates_number(struct tablestates *states, const char *schema, const char *name,
                        uint32_t *number) {
    pthread_mutex_lock(&states->mutex);
    uint32_t n = atomic_load(&states->n);
    uint32_t i = 0;
    while (i < n && !is_named(states->names[i], schema, name))
        i++;
    bool known = i < n;
    if (!known && n < TABLESTATES_MAX) {
        size_t schema_size = strlen(schema) + 1;
        states->names[n] = mem_alloc(schema_size + strlen(name) + 1);
        memcpy(states->names[n], schema, schema_size);
        memcpy(states->names[n] + schema_size, name, strlen(name) + 1);
        init(&states->states[n]);
        atomic_store(&states->n, n + 1);
        known = true;
    }
    pthread_mutex_unlock(&states->mutex);
    *number = i;
    return known;
}

struct tablestate *tablestates_at(struct tablestates *states, uint32_t number) {
    ASSERT(number < TABLESTATES_MAX);
    return &states->states[number];
}

uint32_t tablestates_count(struct tablestates *states) { return atomic_load(&states->n); }

void tablestate_bump(struct tablestate *state) { atomic_fetch_add(&state->generation, 1); }

/* Under the mutex. */
static void raise_standby(struct tablestate *state, uint64_t lsn) {
    if (lsn == 0) lsn = UINT64_MAX;
    if (lsn > atomic_load(&state->standby_lsn)) atomic_store(&state->standby_lsn, lsn);
}

void tablestate_fence(struct tablestate *state, uint64_t xid, uint64_t lsn) {
    pthread_mutex_lock(&state->mutex);
    raise_standby(state, lsn);
    uint32_t n = atomic_load(&state->n_fences);
    if (n < TABLESTATE_FENCES) {
        state->fences[n] = xid;
        atomic_store(&state->n_fences, n + 1);
    } else if (xid > atomic_load(&state->fenced_xid)) {
        /* That a snapshot's xmin is past xid implies that it sees xid: stronger than the fence. */
        atomic_store(&state->fenced_xid, xid);
    }
    pthread_mutex_unlock(&state->mutex);
}

void tablestate_forget(struct tablestate *state, const struct pgsnapshot *snapshot) {
    if (atomic_load(&state->n_fences) == 0) return;
    pthread_mutex_lock(&state->mutex);
    uint32_t n = atomic_load(&state->n_fences);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!pgsnapshot_sees(snapshot, state->fences[i])) state->fences[kept++] = state->fences[i];
    }
    atomic_store(&state->n_fences, kept);
    if (snapshot->xmin > atomic_load(&state->fenced_xid)) atomic_store(&state->fenced_xid, 0);
    /* What is seen was committed before the snapshot's LSN. */
    if (kept == 0 && atomic_load(&state->fenced_xid) == 0 && snapshot->lsn != 0 &&
        atomic_load(&state->standby_lsn) == UINT64_MAX)
        atomic_store(&state->standby_lsn, snapshot->lsn);
    pthread_mutex_unlock(&state->mutex);
}

void tablestate_set_horizon(struct tablestate *state, uint64_t horizon_xid, uint64_t horizon_lsn) {
    pthread_mutex_lock(&state->mutex);
    raise_standby(state, horizon_lsn);
    atomic_store(&state->horizon_xid, horizon_xid);
    pthread_mutex_unlock(&state->mutex);
}

/* The LSNs of another server or timeline would not compare with the old ones. */
void tablestate_part(struct tablestate *state) {
    pthread_mutex_lock(&state->mutex);
    atomic_store(&state->horizon_xid, TABLESTATE_NOT_JOINED);
    atomic_store(&state->standby_lsn, 0);
    pthread_mutex_unlock(&state->mutex);
}

static bool is_fenced(struct tablestate *state, const struct pgsnapshot *snapshot) {
    if (atomic_load(&state->n_fences) == 0) return false;
    pthread_mutex_lock(&state->mutex);
    bool fenced = false;
    for (uint32_t i = 0; i < atomic_load(&state->n_fences); i++)
        fenced |= !pgsnapshot_sees(snapshot, state->fences[i]);
    pthread_mutex_unlock(&state->mutex);
    return fenced;
}

enum tablestate_verdict tablestate_admits(struct tablestate *state, uint64_t version,
                                          const struct pgsnapshot *snapshot) {
    if (atomic_load(&state->version) != version) return TABLESTATE_OTHER_VERSION;
    uint64_t horizon_xid = atomic_load(&state->horizon_xid);
    if (horizon_xid == TABLESTATE_NOT_JOINED) return TABLESTATE_JOINING;
    if (snapshot->standby)
        return snapshot->lsn >= atomic_load(&state->standby_lsn) ? TABLESTATE_ADMITTED
                                                                 : TABLESTATE_BELOW_HORIZON;
    if (snapshot->xmin < horizon_xid) return TABLESTATE_BELOW_HORIZON;
    uint64_t fenced_xid = atomic_load(&state->fenced_xid);
    if (fenced_xid != 0 && snapshot->xmin <= fenced_xid) return TABLESTATE_FENCED;
    if (is_fenced(state, snapshot)) return TABLESTATE_FENCED;
    return TABLESTATE_ADMITTED;
}

const char *tablestate_verdict_text(enum tablestate_verdict verdict) {
    static const char *const texts[] = {
        [TABLESTATE_ADMITTED] = "may be kept",
        [TABLESTATE_OTHER_VERSION] = "the table's definition has just changed",
        [TABLESTATE_JOINING] = "the change stream does not cover the table yet",
        [TABLESTATE_BELOW_HORIZON] =
            "transactions from before the change stream covered the table are still running",
        [TABLESTATE_FENCED] =
            "a transaction that touched the whole table is not visible to new snapshots yet",
    };
    return texts[verdict];
}
