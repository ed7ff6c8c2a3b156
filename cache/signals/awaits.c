#include "cache/signals/awaits.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"

struct await {
    uint64_t lsn;
    int64_t deadline_us;
    struct client_ticket ticket;
};

struct awaits {
    _Atomic uint64_t least_lsn; /* UINT64_MAX: nobody waits */
    pthread_mutex_t mutex;
    uint32_t n, cap;
    struct await *all;
};

struct awaits *awaits_create(void) {
    struct awaits *awaits = mem_zalloc(sizeof *awaits);
    atomic_init(&awaits->least_lsn, UINT64_MAX);
    pthread_mutex_init(&awaits->mutex, NULL);
    return awaits;
}

void awaits_destroy(struct awaits **awaits) {
    if (!*awaits) return;
    pthread_mutex_destroy(&(*awaits)->mutex);
    mem_free((*awaits)->all);
    mem_free(*awaits);
    *awaits = NULL;
}

/* Under the mutex. */
static void find_least(struct awaits *awaits) {
    uint64_t least_lsn = UINT64_MAX;
    for (uint32_t i = 0; i < awaits->n; i++) {
        if (awaits->all[i].lsn < least_lsn) least_lsn = awaits->all[i].lsn;
    }
    atomic_store(&awaits->least_lsn, least_lsn);
}

static void drop_expired(struct awaits *awaits, int64_t now_us) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < awaits->n; i++) {
        int64_t deadline_us = awaits->all[i].deadline_us;
        if (deadline_us == 0 || deadline_us > now_us) awaits->all[kept++] = awaits->all[i];
    }
    awaits->n = kept;
}

void awaits_add(struct awaits *awaits, uint64_t lsn, struct client_ticket ticket,
                int64_t deadline_us, int64_t now_us) {
    pthread_mutex_lock(&awaits->mutex);
    if (awaits->n == awaits->cap) {
        drop_expired(awaits, now_us);
        if (awaits->n * 2 >= awaits->cap) {
            awaits->cap = awaits->cap ? awaits->cap * 2 : 16;
            awaits->all = mem_realloc(awaits->all, awaits->cap * sizeof *awaits->all);
        }
    }
    awaits->all[awaits->n++] = (struct await){lsn, deadline_us, ticket};
    find_least(awaits);
    pthread_mutex_unlock(&awaits->mutex);
}

void awaits_wake(struct awaits *awaits, uint64_t applied_lsn) {
    if (applied_lsn < atomic_load(&awaits->least_lsn)) return;
    pthread_mutex_lock(&awaits->mutex);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < awaits->n; i++) {
        if (awaits->all[i].lsn <= applied_lsn)
            client_wake(awaits->all[i].ticket);
        else
            awaits->all[kept++] = awaits->all[i];
    }
    awaits->n = kept;
    find_least(awaits);
    pthread_mutex_unlock(&awaits->mutex);
}
