#include "cache/store/freer.h"

#include <pthread.h>

#include "base/mem.h"

enum { LONG_BYTES = 128 << 10 }; /* of small elements: some 100 us */

struct burden {
    struct burden *next;
    struct entry *entry;
};

struct freer {
    pthread_mutex_t mutex; /* of all that follows; a leaf */
    pthread_cond_t given;
    struct burden *first;
    pthread_t thread;
    bool running, ending;
};

bool freer_wants(const struct entry *entry) {
    return entry->flags & ENTRY_OBJECT && entry_size(entry) >= LONG_BYTES;
}

static void free_all(struct burden *burden) {
    while (burden) {
        struct burden *next = burden->next;
        entry_destroy(&burden->entry);
        mem_free(burden);
        burden = next;
    }
}

static void *run(void *arg) {
    struct freer *freer = arg;
    pthread_mutex_lock(&freer->mutex);
    for (;;) {
        struct burden *all = freer->first;
        freer->first = NULL;
        if (!all && freer->ending) break;
        if (!all) {
            pthread_cond_wait(&freer->given, &freer->mutex);
            continue;
        }
        pthread_mutex_unlock(&freer->mutex);
        free_all(all);
        pthread_mutex_lock(&freer->mutex);
    }
    pthread_mutex_unlock(&freer->mutex);
    return NULL;
}

void freer_take(struct freer *freer, struct entry **entry) {
    struct burden *burden = mem_alloc(sizeof *burden);
    burden->entry = *entry;
    *entry = NULL;
    pthread_mutex_lock(&freer->mutex);
    burden->next = freer->first;
    freer->first = burden;
    /* Without a thread it is freed with the next that is made, or at the end. */
    if (!freer->running) freer->running = pthread_create(&freer->thread, NULL, run, freer) == 0;
    pthread_cond_signal(&freer->given);
    pthread_mutex_unlock(&freer->mutex);
}

struct freer *freer_create(void) {
    struct freer *freer = mem_zalloc(sizeof *freer);
    pthread_mutex_init(&freer->mutex, NULL);
    pthread_cond_init(&freer->given, NULL);
    return freer;
}

void freer_destroy(struct freer **freer) {
    struct freer *gone = *freer;
    *freer = NULL;
    if (!gone) return;
    pthread_mutex_lock(&gone->mutex);
    gone->ending = true;
    pthread_cond_signal(&gone->given);
    pthread_mutex_unlock(&gone->mutex);
    if (gone->running) pthread_join(gone->thread, NULL);
    free_all(gone->first);
    pthread_cond_destroy(&gone->given);
    pthread_mutex_destroy(&gone->mutex);
    mem_free(gone);
}
