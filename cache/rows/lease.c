#include "cache/rows/lease.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

enum {
    MAX_SAMPLES = 64,
    PAGE_HEADER_BYTES = 24,      /* SizeOfXLogShortPHD */
    LONG_PAGE_HEADER_BYTES = 40, /* SizeOfXLogLongPHD: the first page of a segment */
};

struct sample {
    int64_t taken_us;
    uint64_t lsn;
};

struct lease {
    struct lease_deadline deadline;
    int64_t max_staleness_us;
    bool relies_on_feed;
    _Atomic uint64_t applied_lsn;
    _Atomic uint64_t next_lsn;   /* of the oldest sample not reached; UINT64_MAX: none */
    _Atomic int64_t fresh_at_us; /* 0: never */
    pthread_mutex_t mutex;
    uint32_t n_samples; /* the next two under the mutex */
    struct sample samples[MAX_SAMPLES];
};

struct lease *lease_create(int64_t max_staleness_us) {
    struct lease *lease = mem_aligned(64, sizeof *lease);
    memset(lease, 0, sizeof *lease);
    lease->max_staleness_us = max_staleness_us;
    atomic_init(&lease->next_lsn, UINT64_MAX);
    pthread_mutex_init(&lease->mutex, NULL);
    return lease;
}

void lease_destroy(struct lease **lease) {
    if (!*lease) return;
    pthread_mutex_destroy(&(*lease)->mutex);
    mem_free(*lease);
    *lease = NULL;
}

void lease_rely_on_feed(struct lease *lease) { lease->relies_on_feed = true; }

/* Under the mutex: takes the samples that `applied` has reached; the last of them is what we are fresh as of. */
static void settle(struct lease *lease, uint64_t applied_lsn) {
    uint32_t reached = 0;
    while (reached < lease->n_samples && lease->samples[reached].lsn <= applied_lsn)
        reached++;
    if (reached > 0) {
        int64_t fresh_at_us = lease->samples[reached - 1].taken_us;
        atomic_store(&lease->fresh_at_us, fresh_at_us);
        atomic_store(&lease->deadline.us, fresh_at_us + lease->max_staleness_us);
        lease->n_samples -= reached;
        memmove(lease->samples, lease->samples + reached,
                lease->n_samples * sizeof lease->samples[0]);
    }
    atomic_store(&lease->next_lsn, lease->n_samples ? lease->samples[0].lsn : UINT64_MAX);
}

void lease_sample(struct lease *lease, int64_t taken_us, uint64_t insert_lsn) {
    pthread_mutex_lock(&lease->mutex);
    /* Full: the feed is far behind. The oldest samples are those that it will reach first; a new one may wait. */
    if (lease->n_samples < MAX_SAMPLES)
        lease->samples[lease->n_samples++] = (struct sample){taken_us, insert_lsn};
    /* First told, then looked: whoever advances past it from here on comes to settle it. */
    atomic_store(&lease->next_lsn, lease->samples[0].lsn);
    if (!lease->relies_on_feed) settle(lease, atomic_load(&lease->applied_lsn));
    pthread_mutex_unlock(&lease->mutex);
}

void lease_applied(struct lease *lease, uint64_t lsn) {
    uint64_t before_lsn = atomic_load_explicit(&lease->applied_lsn, memory_order_relaxed);
    if (lsn < before_lsn || (lsn == before_lsn && !lease->relies_on_feed)) return;
    atomic_store(&lease->applied_lsn, lsn);
    /* Either we see a sample that was just told of, or its lease_sample sees our applied_lsn. */
    if (lsn < atomic_load(&lease->next_lsn)) return;
    pthread_mutex_lock(&lease->mutex);
    settle(lease, lsn);
    pthread_mutex_unlock(&lease->mutex);
}

void lease_reset(struct lease *lease) {
    pthread_mutex_lock(&lease->mutex);
    lease->n_samples = 0;
    atomic_store(&lease->next_lsn, UINT64_MAX);
    atomic_store(&lease->applied_lsn, 0);
    atomic_store(&lease->fresh_at_us, 0);
    atomic_store(&lease->deadline.us, 0);
    pthread_mutex_unlock(&lease->mutex);
}

const struct lease_deadline *lease_deadline(const struct lease *lease) { return &lease->deadline; }

uint64_t lease_applied_lsn(const struct lease *lease) { return atomic_load(&lease->applied_lsn); }

uint64_t lease_waiting_lsn(struct lease *lease, int64_t *taken_us) {
    pthread_mutex_lock(&lease->mutex);
    struct sample oldest = lease->n_samples ? lease->samples[0] : (struct sample){0};
    pthread_mutex_unlock(&lease->mutex);
    *taken_us = oldest.taken_us;
    return oldest.lsn;
}

int64_t lease_staleness_us(const struct lease *lease, int64_t now_us) {
    int64_t fresh_at_us = atomic_load(&lease->fresh_at_us);
    return fresh_at_us == 0 ? -1 : now_us - fresh_at_us;
}

uint64_t lease_normal_lsn(uint64_t insert_lsn, uint32_t block_bytes, uint64_t segment_bytes) {
    uint64_t in_segment = insert_lsn % segment_bytes;
    if (in_segment == LONG_PAGE_HEADER_BYTES) return insert_lsn - LONG_PAGE_HEADER_BYTES;
    if (in_segment > block_bytes && insert_lsn % block_bytes == PAGE_HEADER_BYTES)
        return insert_lsn - PAGE_HEADER_BYTES;
    return insert_lsn;
}
