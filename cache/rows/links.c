#include "cache/rows/links.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

enum { BUCKETS = 4096, MEAN_BYTES = 128 /* of a link, at the bound */ };

struct link {
    struct link *next;
    uint64_t canonical_hash;
    uint32_t key_len;
    char key[];
};

struct part {
    _Alignas(64) pthread_mutex_t mutex;
    struct link **buckets; /* made with the first link */
};

struct links {
    size_t max_links, max_bytes;
    _Atomic size_t n_links;
    _Atomic size_t bytes; /* of links and buckets */
    struct part parts[LINKS_PARTS];
};

struct links *links_create(size_t max_links) {
    struct links *links = mem_aligned(64, sizeof *links);
    memset(links, 0, sizeof *links);
    links->max_links = max_links;
    links->max_bytes = max_links * MEAN_BYTES + LINKS_PARTS * BUCKETS * sizeof(struct link *);
    for (size_t i = 0; i < LINKS_PARTS; i++)
        pthread_mutex_init(&links->parts[i].mutex, NULL);
    return links;
}

void links_destroy(struct links **links) {
    if (!*links) return;
    links_clear(*links);
    for (size_t i = 0; i < LINKS_PARTS; i++)
        pthread_mutex_destroy(&(*links)->parts[i].mutex);
    mem_free(*links);
    *links = NULL;
}

static struct part *lock_part(struct links *links, uint64_t canonical_hash) {
    struct part *part = &links->parts[canonical_hash >> 58];
    pthread_mutex_lock(&part->mutex);
    return part;
}

static struct link **bucket_of(struct part *part, uint64_t canonical_hash) {
    return &part->buckets[canonical_hash % BUCKETS];
}

static struct slice key_of(const struct link *link) { return slice_make(link->key, link->key_len); }

static bool is_link(const struct link *link, uint64_t canonical_hash, struct slice key) {
    return link->canonical_hash == canonical_hash && slice_equal(key_of(link), key);
}

bool links_add(struct links *links, uint64_t canonical_hash, struct slice key) {
    struct part *part = lock_part(links, canonical_hash);
    if (!part->buckets) {
        part->buckets = mem_calloc(BUCKETS, sizeof(struct link *));
        atomic_fetch_add(&links->bytes, BUCKETS * sizeof(struct link *));
    }
    struct link **bucket = bucket_of(part, canonical_hash);
    struct link *link = *bucket;
    while (link && !is_link(link, canonical_hash, key))
        link = link->next;
    bool room = link || (atomic_load(&links->n_links) < links->max_links &&
                         atomic_load(&links->bytes) + key.len < links->max_bytes);
    if (!link && room) {
        link = mem_alloc(sizeof *link + key.len);
        *link = (struct link){*bucket, canonical_hash, (uint32_t)key.len};
        memcpy(link->key, key.data, key.len);
        *bucket = link;
        atomic_fetch_add(&links->n_links, 1);
        atomic_fetch_add(&links->bytes, sizeof *link + key.len);
    }
    pthread_mutex_unlock(&part->mutex);
    return room;
}

/* Unlinks and frees those that match (key.data NULL: all of the row), telling of each. */
static size_t take(struct links *links, uint64_t canonical_hash, struct slice key,
                   struct buf *keys) {
    if (atomic_load(&links->n_links) == 0) return 0;
    size_t taken = 0;
    struct part *part = lock_part(links, canonical_hash);
    struct link **at = part->buckets ? bucket_of(part, canonical_hash) : NULL;
    while (at && *at) {
        struct link *link = *at;
        bool match =
            key.data ? is_link(link, canonical_hash, key) : link->canonical_hash == canonical_hash;
        if (!match) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        if (keys) {
            buf_append(keys, &link->key_len, sizeof link->key_len);
            buf_append(keys, link->key, link->key_len);
        }
        atomic_fetch_sub(&links->bytes, sizeof *link + link->key_len);
        mem_free(link);
        taken++;
    }
    pthread_mutex_unlock(&part->mutex);
    atomic_fetch_sub(&links->n_links, taken);
    return taken;
}

size_t links_take(struct links *links, uint64_t canonical_hash, struct buf *keys) {
    return take(links, canonical_hash, (struct slice){0}, keys);
}

void links_remove(struct links *links, uint64_t canonical_hash, struct slice key) {
    take(links, canonical_hash, key, NULL);
}

bool links_next(struct slice *packed, struct slice *key) {
    if (packed->len == 0) return false;
    uint32_t len;
    memcpy(&len, packed->data, sizeof len);
    *key = slice_make(packed->data + sizeof len, len);
    *packed = slice_make(packed->data + sizeof len + len, packed->len - sizeof len - len);
    return true;
}

void links_copy(struct links *links, uint32_t part_number, struct buf *copies) {
    struct part *part = &links->parts[part_number];
    pthread_mutex_lock(&part->mutex);
    for (size_t b = 0; part->buckets && b < BUCKETS; b++) {
        for (const struct link *link = part->buckets[b]; link; link = link->next) {
            buf_append(copies, &link->canonical_hash, sizeof link->canonical_hash);
            buf_append(copies, &link->key_len, sizeof link->key_len);
            buf_append(copies, link->key, link->key_len);
        }
    }
    pthread_mutex_unlock(&part->mutex);
}

bool links_next_copy(struct slice *packed, uint64_t *canonical_hash, struct slice *key) {
    if (packed->len == 0) return false;
    memcpy(canonical_hash, packed->data, sizeof *canonical_hash);
    *packed =
        slice_make(packed->data + sizeof *canonical_hash, packed->len - sizeof *canonical_hash);
    return links_next(packed, key);
}

void links_clear(struct links *links) {
    for (size_t p = 0; p < LINKS_PARTS; p++) {
        struct part *part = &links->parts[p];
        pthread_mutex_lock(&part->mutex);
        for (size_t b = 0; part->buckets && b < BUCKETS; b++) {
            while (part->buckets[b]) {
                struct link *link = part->buckets[b];
                part->buckets[b] = link->next;
                atomic_fetch_sub(&links->bytes, sizeof *link + link->key_len);
                mem_free(link);
                atomic_fetch_sub(&links->n_links, 1);
            }
        }
        if (part->buckets) atomic_fetch_sub(&links->bytes, BUCKETS * sizeof(struct link *));
        mem_free(part->buckets);
        part->buckets = NULL;
        pthread_mutex_unlock(&part->mutex);
    }
}

size_t links_size(const struct links *links) { return atomic_load(&links->n_links); }

size_t links_bytes(const struct links *links) { return sizeof *links + atomic_load(&links->bytes); }
