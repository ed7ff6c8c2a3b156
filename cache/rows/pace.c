#include "cache/rows/pace.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

enum { PARTS = 64, SLOTS = 512 /* a part */ };

struct slot {
    uint64_t hash;
    int64_t sent_us; /* or will be */
};

struct part {
    _Alignas(64) pthread_mutex_t mutex;
    struct slot slots[SLOTS];
};

struct pace {
    int64_t interval_us;
    struct part parts[PARTS];
};

struct pace *pace_create(int64_t interval_us) {
    if (interval_us <= 0) return NULL;
    struct pace *pace = mem_aligned(64, sizeof *pace);
    memset(pace, 0, sizeof *pace);
    pace->interval_us = interval_us;
    for (size_t i = 0; i < PARTS; i++)
        pthread_mutex_init(&pace->parts[i].mutex, NULL);
    return pace;
}

void pace_destroy(struct pace **pace) {
    if (!*pace) return;
    for (size_t i = 0; i < PARTS; i++)
        pthread_mutex_destroy(&(*pace)->parts[i].mutex);
    mem_free(*pace);
    *pace = NULL;
}

int64_t pace_claim(struct pace *pace, uint64_t hash, int64_t now_us) {
    if (!pace) return now_us;
    struct part *part = &pace->parts[hash >> 58];
    struct slot *slot = &part->slots[hash % SLOTS];
    pthread_mutex_lock(&part->mutex);
    bool known = slot->hash == hash && slot->sent_us != 0;
    int64_t due_us = known ? slot->sent_us : now_us;
    if (due_us <= now_us && known) {
        due_us += pace->interval_us;
        if (due_us < now_us) due_us = now_us;
    }
    *slot = (struct slot){.hash = hash, .sent_us = due_us};
    pthread_mutex_unlock(&part->mutex);
    return due_us;
}
