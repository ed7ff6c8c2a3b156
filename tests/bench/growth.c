/* growth: how long each of many insertions into the store takes, while it grows from nothing.
 *
 *     growth [KEYS]          prints a histogram of the calling thread's CPU time, so that neighbours do not count */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "cache/store/store.h"

enum { CLASSES = 40 };

static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void put(struct store *store, uint32_t i) {
    static const char value[32];
    char text[17];
    struct slice key = slice_make(text, (size_t)snprintf(text, sizeof text, "key:%012u", i));
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    struct entry *entry =
        entry_create_string(key, hash, slice_make(value, sizeof value), STORE_NEVER);
    store_lock(store, &hash, 1, &guard);
    if (!store_put(store, &guard, &entry)) abort();
    store_unlock(store, &guard);
}

int main(int argc, char **argv) {
    uint32_t keys = argc > 1 ? (uint32_t)atoi(argv[1]) : 10000000;
    struct store_config config = {
        .max_memory_bytes = UINT64_C(64) << 30, .max_readers = 1, .seed = 7};
    struct store *store = store_create(&config, NULL);
    uint64_t counts[CLASSES] = {0};
    int64_t longest = 0, begin = cpu_ns();
    for (uint32_t i = 0; i < keys; i++) {
        if (i % 64 == 0) {
            store_reader_leave(store, 0);
            store_tidy(store);
            store_reader_enter(store, 0);
        }
        int64_t before = cpu_ns();
        put(store, i);
        int64_t took = cpu_ns() - before;
        if (took > longest) longest = took;
        counts[63 - __builtin_clzll((uint64_t)took | 1)]++;
    }
    store_reader_leave(store, 0);
    printf("%u keys, %.0f ns each, %.1f bytes each, the longest %.1f us\n", keys,
           (double)(cpu_ns() - begin) / keys, (double)mem_resident() / keys,
           (double)longest / 1000);
    for (uint32_t i = 0; i < CLASSES; i++)
        if (counts[i])
            printf("below %9.1f us: %9lu\n", (double)(UINT64_C(2) << i) / 1000, counts[i]);
    store_destroy(&store);
    return 0;
}
