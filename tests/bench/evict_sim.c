/* evict_sim: miss ratios of the store's own eviction beside exact LRU and S3-FIFO (Yang 2023), on the traces of traces.h.
 *
 *     evict_sim [KEYS [REQUESTS [SEEDS [TRACE]]]]       a line a trace and cache size: TRACE PERCENT freshet worst lru s3-fifo
 *
 * The store is the real one, with values of one size; the others hold as many entries as it held on the average of the run.
 * Which keys lie together, and so who leads whom, is the seed's choice (a server draws its own): the mean of several and the worst. */
#include <stdio.h>

#include "base/mem.h"
#include "cache/store/store.h"
#include "tests/bench/traces.h"

enum { VALUE_BYTES = 1000, ENTRY_BYTES = 1060 };

struct outcome {
    double misses;
    uint32_t entries;
};

/* --- the store --- */

static struct slice key_of(char out[17], uint32_t key) {
    return slice_make(out, (size_t)snprintf(out, 17, "key:%012u", key));
}

static struct outcome run_store(const struct trace *trace, uint32_t entries, uint64_t seed) {
    static const char value[VALUE_BYTES];
    struct store_config config = {
        .max_memory_bytes = (uint64_t)entries * ENTRY_BYTES, .max_readers = 1, .seed = seed};
    struct store *store = store_create(&config, NULL);
    uint64_t misses = 0, held = 0, looks = 0;
    for (uint32_t i = 0; i < trace->n; i++) {
        if (i % 64 == 0) {
            store_reader_leave(store, 0);
            store_tidy(store);
            store_reader_enter(store, 0);
        }
        if (i % 8192 == 0 && i > trace->n / 4) {
            struct store_stats stats;
            store_stats(store, &stats);
            held += stats.entries;
            looks++;
        }
        char text[17];
        struct slice key = key_of(text, trace->keys[i]);
        uint64_t hash = store_hash(store, key);
        if (store_peek(store, key, hash, 1)) continue;
        misses++;
        struct entry *entry =
            entry_create_string(key, hash, slice_make(value, sizeof value), STORE_NEVER);
        struct store_guard guard;
        store_lock(store, &hash, 1, &guard);
        (void)!store_put(store, &guard, &entry);
        store_unlock(store, &guard);
    }
    store_reader_leave(store, 0);
    store_destroy(&store);
    return (struct outcome){(double)misses / trace->n, looks ? (uint32_t)(held / looks) : entries};
}

/* --- exact LRU: a ring of all keys, the head is number `universe` --- */

static double run_lru(const struct trace *trace, uint32_t entries) {
    uint32_t head = trace->universe, n = 0;
    uint32_t *next = calloc(head + 1, sizeof *next), *before = calloc(head + 1, sizeof *before);
    unsigned char *in = calloc(head + 1, 1);
    uint64_t misses = 0;
    next[head] = before[head] = head;
    for (uint32_t i = 0; i < trace->n; i++) {
        uint32_t key = trace->keys[i];
        if (in[key]) {
            next[before[key]] = next[key];
            before[next[key]] = before[key];
        } else {
            misses++;
            if (n == entries) {
                uint32_t last = before[head];
                next[before[last]] = head;
                before[head] = before[last];
                in[last] = 0;
            } else
                n++;
            in[key] = 1;
        }
        next[key] = next[head];
        before[key] = head;
        before[next[head]] = key;
        next[head] = key;
    }
    free(next), free(before), free(in);
    return (double)misses / trace->n;
}

/* --- S3-FIFO: a small queue of a tenth, a main one, as many ghosts as the main one holds --- */

struct queue {
    uint32_t *keys;
    uint64_t head, tail;
    uint32_t mask;
};

static struct queue queue_make(uint32_t cap) {
    uint32_t size = 16;
    while (size < cap + 2)
        size *= 2;
    return (struct queue){malloc(size * sizeof(uint32_t)), 0, 0, size - 1};
}
static void push(struct queue *queue, uint32_t key) {
    queue->keys[queue->tail++ & queue->mask] = key;
}
static uint32_t pop(struct queue *queue) { return queue->keys[queue->head++ & queue->mask]; }
static uint32_t length(const struct queue *queue) { return (uint32_t)(queue->tail - queue->head); }

static double run_s3(const struct trace *trace, uint32_t entries) {
    struct queue few = queue_make(entries), most = queue_make(entries),
                 ghosts = queue_make(2 * entries);
    uint32_t few_cap = entries / 10 ? entries / 10 : 1, ghost_cap = entries - few_cap;
    unsigned char *in = calloc(trace->universe, 1), *uses = calloc(trace->universe, 1);
    uint32_t *ghost = calloc(trace->universe, sizeof *ghost);
    uint64_t misses = 0;
    for (uint32_t i = 0; i < trace->n; i++) {
        uint32_t key = trace->keys[i];
        if (in[key]) {
            if (uses[key] < 3) uses[key]++;
            continue;
        }
        misses++;
        while (length(&few) + length(&most) >= entries) {
            uint32_t old;
            if (length(&few) >= few_cap || length(&most) == 0) {
                old = pop(&few);
                if (uses[old] > 1) {
                    uses[old] = 0;
                    push(&most, old);
                    continue;
                }
                ghost[old]++;
                push(&ghosts, old);
                if (length(&ghosts) > ghost_cap) ghost[pop(&ghosts)]--;
            } else {
                old = pop(&most);
                if (uses[old]) {
                    uses[old]--;
                    push(&most, old);
                    continue;
                }
            }
            in[old] = 0;
        }
        in[key] = 1;
        uses[key] = 0;
        push(ghost[key] ? &most : &few, key);
    }
    free(few.keys), free(most.keys), free(ghosts.keys), free(in), free(uses), free(ghost);
    return (double)misses / trace->n;
}

int main(int argc, char **argv) {
    uint32_t keys = argc > 1 ? (uint32_t)atoi(argv[1]) : 100000;
    uint32_t requests = argc > 2 ? (uint32_t)atoi(argv[2]) : 20 * keys;
    uint32_t seeds = argc > 3 ? (uint32_t)atoi(argv[3]) : 3;
    printf("%-12s %4s %8s %8s %8s %8s %8s\n", "trace", "%", "entries", "freshet", "worst", "lru",
           "s3-fifo");
    for (uint32_t t = 0; t < TRACES; t++) {
        if (argc > 4 && strcmp(argv[4], trace_names[t]) != 0) continue;
        struct trace trace;
        trace_create(&trace, trace_names[t], keys, requests);
        for (uint32_t percent = 1; percent <= 10; percent *= 10) {
            struct outcome ours = {0};
            double sum = 0, worst = 0;
            for (uint32_t seed = 0; seed < seeds; seed++) {
                ours = run_store(&trace, keys * percent / 100, 42 + seed);
                sum += ours.misses;
                if (ours.misses > worst) worst = ours.misses;
            }
            printf("%-12s %4u %8u %8.4f %8.4f %8.4f %8.4f\n", trace_names[t], percent, ours.entries,
                   sum / seeds, worst, run_lru(&trace, ours.entries), run_s3(&trace, ours.entries));
            fflush(stdout);
        }
        trace_destroy(&trace);
    }
    return 0;
}
