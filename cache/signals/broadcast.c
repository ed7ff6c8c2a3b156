#include "cache/signals/broadcast.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cache/signals/tracker.h"

/* A prefix with who asked for it. */
struct topic {
    struct topic *next;
    struct tracker **trackers;
    uint32_t n, cap;
    struct slice prefix; /* owned bytes */
};

struct broadcasts {
    pthread_mutex_t mutex; /* over all below */
    struct topic *topics;
    uint32_t n_topics;
    _Atomic uint32_t n_trackers;      /* over all topics */
    _Atomic uint32_t n_pending;       /* keys */
    struct buf pending[STORE_SHARDS]; /* notes: client_id, length, key */
};

/* A key that has changed. `at`: of two notes of a key the later one counts. */
struct note {
    struct slice key;
    uint64_t client_id;
    uint32_t at;
};

struct broadcasts *broadcasts_create(void) {
    struct broadcasts *broadcasts = mem_zalloc(sizeof *broadcasts);
    pthread_mutex_init(&broadcasts->mutex, NULL);
    return broadcasts;
}

void broadcasts_destroy(struct broadcasts **broadcasts) {
    struct broadcasts *old = *broadcasts;
    *broadcasts = NULL;
    if (!old) return;
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        buf_deinit(&old->pending[i]);
    pthread_mutex_destroy(&old->mutex);
    mem_free(old);
}

uint32_t broadcasts_count(const struct broadcasts *broadcasts) {
    return atomic_load_explicit(&broadcasts->n_trackers, memory_order_relaxed);
}

bool broadcasts_pending(const struct broadcasts *broadcasts) {
    return atomic_load_explicit(&broadcasts->n_pending, memory_order_relaxed) > 0;
}

uint32_t broadcasts_prefixes(struct broadcasts *broadcasts) {
    pthread_mutex_lock(&broadcasts->mutex);
    uint32_t n = broadcasts->n_topics;
    pthread_mutex_unlock(&broadcasts->mutex);
    return n;
}

/* --- prefixes --- */

static struct slice copy_slice(struct slice bytes) {
    return slice_make(mem_slicedup(bytes), bytes.len);
}

static void free_slice(struct slice owned) {
    char *bytes;
    memcpy(&bytes, &owned.data, sizeof bytes); /* ours, though the slice is const */
    mem_free(bytes);
}

static struct topic *find_topic(struct broadcasts *broadcasts, struct slice prefix) {
    struct topic *topic = broadcasts->topics;
    while (topic && !slice_equal(topic->prefix, prefix))
        topic = topic->next;
    if (topic) return topic;
    topic = mem_zalloc(sizeof *topic);
    topic->prefix = copy_slice(prefix);
    topic->next = broadcasts->topics;
    broadcasts->topics = topic;
    broadcasts->n_topics++;
    return topic;
}

static bool has_prefix(const struct tracker *tracker, struct slice prefix) {
    for (uint32_t i = 0; i < tracker->n_prefixes; i++)
        if (slice_equal(tracker->prefixes[i], prefix)) return true;
    return false;
}

void broadcasts_add(struct broadcasts *broadcasts, struct tracker *tracker, struct slice prefix) {
    pthread_mutex_lock(&broadcasts->mutex);
    if (!has_prefix(tracker, prefix)) {
        struct topic *topic = find_topic(broadcasts, prefix);
        if (topic->n == topic->cap) {
            topic->cap = topic->cap ? 2 * topic->cap : 4;
            topic->trackers = mem_realloc(topic->trackers, topic->cap * sizeof(struct tracker *));
        }
        topic->trackers[topic->n++] = tracker;
        tracker->prefixes =
            mem_realloc(tracker->prefixes, (tracker->n_prefixes + 1) * sizeof tracker->prefixes[0]);
        uint32_t at = tracker->n_prefixes++; /* in the order of their bytes, as Redis tells them */
        for (; at > 0 && slice_compare(prefix, tracker->prefixes[at - 1]) < 0; at--)
            tracker->prefixes[at] = tracker->prefixes[at - 1];
        tracker->prefixes[at] = copy_slice(prefix);
        atomic_fetch_add_explicit(&broadcasts->n_trackers, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&broadcasts->mutex);
}

/* Frees the topic where this was its last. */
static void leave_topic(struct broadcasts *broadcasts, struct topic **at,
                        const struct tracker *tracker) {
    struct topic *topic = *at;
    uint32_t i = 0;
    while (topic->trackers[i] != tracker)
        i++;
    topic->trackers[i] = topic->trackers[--topic->n];
    if (topic->n > 0) return;
    *at = topic->next;
    broadcasts->n_topics--;
    free_slice(topic->prefix);
    mem_free(topic->trackers);
    mem_free(topic);
}

void broadcasts_remove(struct broadcasts *broadcasts, struct tracker *tracker) {
    pthread_mutex_lock(&broadcasts->mutex);
    for (uint32_t i = 0; i < tracker->n_prefixes; i++) {
        struct topic **at = &broadcasts->topics;
        while (!slice_equal((*at)->prefix, tracker->prefixes[i]))
            at = &(*at)->next;
        leave_topic(broadcasts, at, tracker);
        free_slice(tracker->prefixes[i]);
    }
    atomic_fetch_sub_explicit(&broadcasts->n_trackers, tracker->n_prefixes, memory_order_relaxed);
    mem_free(tracker->prefixes);
    tracker->prefixes = NULL;
    tracker->n_prefixes = 0;
    pthread_mutex_unlock(&broadcasts->mutex);
}

static bool begins_with(struct slice key, struct slice prefix) {
    return key.len >= prefix.len && (!prefix.len || memcmp(key.data, prefix.data, prefix.len) == 0);
}

bool broadcasts_overlap(struct broadcasts *broadcasts, const struct tracker *tracker,
                        struct slice start) {
    bool overlap = false;
    pthread_mutex_lock(&broadcasts->mutex);
    for (uint32_t i = 0; i < tracker->n_prefixes && !overlap; i++)
        overlap =
            begins_with(start, tracker->prefixes[i]) || begins_with(tracker->prefixes[i], start);
    pthread_mutex_unlock(&broadcasts->mutex);
    return overlap;
}

/* --- keys --- */

void broadcasts_note(struct broadcasts *broadcasts, struct slice key, uint64_t hash,
                     uint64_t client_id) {
    uint32_t len = (uint32_t)key.len;
    pthread_mutex_lock(&broadcasts->mutex);
    struct topic *topic = broadcasts->topics;
    while (topic && !begins_with(key, topic->prefix))
        topic = topic->next;
    if (topic) {
        struct buf *pending = &broadcasts->pending[store_shard(hash)];
        buf_append(pending, &client_id, sizeof client_id);
        buf_append(pending, &len, sizeof len);
        buf_append_slice(pending, key);
        atomic_fetch_add_explicit(&broadcasts->n_pending, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&broadcasts->mutex);
}

static void take_pending(const struct buf *pending, struct buf *notes) {
    for (size_t at = 0; at < pending->len;) {
        struct note note = {.at = (uint32_t)(notes->len / sizeof note)};
        uint32_t len;
        memcpy(&note.client_id, pending->data + at, sizeof note.client_id);
        memcpy(&len, pending->data + at + sizeof note.client_id, sizeof len);
        at += sizeof note.client_id + sizeof len;
        note.key = slice_make(pending->data + at, len);
        at += len;
        buf_append(notes, &note, sizeof note);
    }
}

static int by_key(const void *a, const void *b) {
    const struct note *left = a;
    const struct note *right = b;
    int order = slice_compare(left->key, right->key);
    if (order) return order;
    return left->at < right->at ? -1 : left->at > right->at;
}

/* Sorts them, and leaves the last note of each key. Returns how many. */
static uint32_t unite(struct note *notes, uint32_t n) {
    uint32_t kept = 0;
    qsort(notes, n, sizeof notes[0], by_key);
    for (uint32_t i = 0; i < n; i++)
        if (i + 1 == n || !slice_equal(notes[i].key, notes[i + 1].key)) notes[kept++] = notes[i];
    return kept;
}

/* The keys under the prefix, as a RESP array, but for those that `skip_id` has changed. Returns how many. */
static uint32_t compose(const struct note *notes, uint32_t n, struct slice prefix, uint64_t skip_id,
                        struct buf *out) {
    uint32_t n_keys = 0;
    for (uint32_t i = 0; i < n; i++)
        n_keys += begins_with(notes[i].key, prefix) && !(skip_id && notes[i].client_id == skip_id);
    out->len = 0;
    buf_printf(out, "*%u\r\n", n_keys);
    for (uint32_t i = 0; i < n; i++) {
        if (!begins_with(notes[i].key, prefix) || (skip_id && notes[i].client_id == skip_id))
            continue;
        buf_printf(out, "$%zu\r\n", notes[i].key.len);
        buf_append_slice(out, notes[i].key);
        buf_append(out, "\r\n", 2);
    }
    return n_keys;
}

/* Who has said NOLOOP gets a message of its own. */
static void send_topic(const struct topic *topic, const struct note *notes, uint32_t n,
                       struct buf *text) {
    struct tracker **usual = mem_calloc(topic->n, sizeof(struct tracker *));
    uint32_t n_usual = 0;
    for (uint32_t i = 0; i < topic->n; i++) {
        struct tracker *tracker = topic->trackers[i];
        if (!(tracker_flags(tracker) & TRACKER_NOLOOP))
            usual[n_usual++] = tracker;
        else if (compose(notes, n, topic->prefix, tracker->client_id, text))
            trackers_send(&tracker, 1, buf_slice(text));
    }
    if (n_usual && compose(notes, n, topic->prefix, 0, text))
        trackers_send(usual, n_usual, buf_slice(text));
    mem_free(usual);
}

void broadcasts_send(struct broadcasts *broadcasts, const uint64_t shards[STORE_SHARDS / 64]) {
    struct buf found = {0};
    struct buf text = {0};
    pthread_mutex_lock(&broadcasts->mutex);
    for (uint32_t word = 0; word < STORE_SHARDS / 64; word++)
        for (uint64_t bits = shards[word]; bits; bits &= bits - 1)
            take_pending(&broadcasts->pending[word * 64 + __builtin_ctzll(bits)], &found);
    struct note *notes = (struct note *)(void *)found.data; /* the allocator's alignment */
    uint32_t n = (uint32_t)(found.len / sizeof notes[0]);
    atomic_fetch_sub_explicit(&broadcasts->n_pending, n, memory_order_relaxed);
    n = n ? unite(notes, n) : 0;
    for (struct topic *topic = broadcasts->topics; n && topic; topic = topic->next)
        send_topic(topic, notes, n, &text);
    for (uint32_t word = 0; word < STORE_SHARDS / 64; word++)
        for (uint64_t bits = shards[word]; bits; bits &= bits - 1)
            buf_deinit(&broadcasts->pending[word * 64 + __builtin_ctzll(bits)]);
    pthread_mutex_unlock(&broadcasts->mutex);
    buf_deinit(&found);
    buf_deinit(&text);
}
