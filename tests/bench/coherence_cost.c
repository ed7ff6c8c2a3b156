/* coherence_cost.c: what keeping rows true costs a fill, and a hit, in nanoseconds of one thread: the calls that a cache without
 * coherence would not make.
 *
 *     coherence_cost          medians over rounds
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/pgsnapshot.h"
#include "cache/rows/lease.h"
#include "cache/rows/links.h"
#include "cache/rows/recent.h"
#include "cache/rows/tablestate.h"

enum { CALLS = 200 * 1000, ROUNDS = 15, NOTES = 100 * 1000 };

struct bench {
    struct tablestate *state;
    struct recent *recent;
    struct links *links;
    struct lease *lease;
    struct pgsnapshot snapshot;
    uint64_t sum;
};

static int64_t cpu_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static uint64_t hash_of(uint64_t i) {
    i = (i ^ (i >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    i = (i ^ (i >> 27)) * UINT64_C(0x94D049BB133111EB);
    return i ^ (i >> 31);
}

static void snapshot_text(struct bench *bench, uint64_t i) {
    struct pgsnapshot snapshot;
    bench->sum += i + pgsnapshot_parse(SLICE("1000200:1000260:1000200,1000231"), &snapshot);
    pgsnapshot_deinit(&snapshot);
}

static void fill(struct bench *bench, uint64_t i) {
    bench->sum += tablestate_generation(bench->state) + lease_applied_lsn(bench->lease);
    bench->sum += tablestate_admits(bench->state, 1, &bench->snapshot) == TABLESTATE_ADMITTED;
    bench->sum += recent_blocks(bench->recent, hash_of(i), &bench->snapshot, NULL);
}

static void linked(struct bench *bench, uint64_t i) {
    char key[32];
    int len = snprintf(key, sizeof key, "users:email=%llu", (unsigned long long)i);
    bench->sum += links_add(bench->links, hash_of(i), slice_make(key, (size_t)len));
}

static void commit(struct bench *bench, uint64_t i) {
    bench->sum += recent_note(bench->recent, hash_of(i + NOTES), 1000300 + i / 10, 1);
}

static void hit(struct bench *bench, uint64_t i) {
    bench->sum += i + tablestate_generation(bench->state);
    bench->sum += (uint64_t)lease_deadline_us(lease_deadline(bench->lease));
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void measure(struct bench *bench, const char *what,
                    void (*call)(struct bench *bench, uint64_t i)) {
    double rounds[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        int64_t begin = cpu_ns();
        for (uint64_t i = 0; i < CALLS; i++)
            call(bench, i);
        rounds[r] = (double)(cpu_ns() - begin) / CALLS;
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], by_size);
    printf("%-56s %8.1f ns\n", what, rounds[ROUNDS / 2]);
}

int main(void) {
    struct tablestates *states = tablestates_create();
    uint32_t number;
    struct bench bench = {.recent = recent_create(1 << 20),
                          .links = links_create(1 << 20),
                          .lease = lease_create(2000000)};
    if (!tablestates_number(states, "public", "users", &number) ||
        !pgsnapshot_parse(SLICE("1000200:1000260:1000200,1000231"), &bench.snapshot))
        return 1;
    bench.state = tablestates_at(states, number);
    atomic_store(&bench.state->version, 1);
    tablestate_set_horizon(bench.state, 1000, 1);
    measure(&bench, "a hit: the table's generation, the lease", hit);
    measure(&bench, "a fill: fences, the recent set (empty)", fill);
    for (uint64_t i = 0; i < NOTES; i++)
        bench.sum += recent_note(bench.recent, hash_of(i), 1000100, 1);
    measure(&bench, "a fill: fences, the recent set (100,000 keys)", fill);
    measure(&bench, "a fill by a unique key: its link", linked);
    measure(&bench, "a statement's snapshot, read from its text", snapshot_text);
    measure(&bench, "a changed key at its commit: noted", commit);
    return bench.sum == 0;
}
