#include "cache/signals/interest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { FIRST_BUCKETS = 8 };

/* A key with its holders; one holder, the usual number, lies in the node itself. */
struct node {
    struct node *next;
    void **holders;
    void *first;
    uint32_t n, cap;
    uint32_t hash; /* the low half, as an entry has it */
    uint32_t key_len;
    char key[];
};

struct part {
    _Alignas(64) pthread_mutex_t mutex;
    struct node **buckets;
    uint32_t n_buckets; /* a power of two, or 0 */
    uint32_t n_keys;
};

struct interest {
    struct store *store;
    uint32_t number;                /* the observer's */
    _Atomic uint32_t observing_all; /* who want to be told of all keys */
    _Atomic uint64_t n_keys, n_items;
    _Atomic uint32_t next_part; /* where interest_take_any looks first */
    struct part parts[STORE_SHARDS];
};

struct interest *interest_create(struct store *store, const struct store_observer *observer) {
    struct interest *interest = mem_aligned(64, sizeof *interest);
    memset(interest, 0, sizeof *interest);
    interest->store = store;
    interest->number = store_add_observer(store, observer);
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        pthread_mutex_init(&interest->parts[i].mutex, NULL);
    return interest;
}

static void node_free(struct node *node) {
    if (node->holders != &node->first) mem_free(node->holders);
    mem_free(node);
}

void interest_destroy(struct interest **interest) {
    struct interest *old = *interest;
    *interest = NULL;
    if (!old) return;
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct part *part = &old->parts[i];
        for (uint32_t b = 0; b < part->n_buckets; b++) {
            while (part->buckets[b]) {
                struct node *node = part->buckets[b];
                part->buckets[b] = node->next;
                node_free(node);
            }
        }
        mem_free(part->buckets);
        pthread_mutex_destroy(&part->mutex);
    }
    mem_free(old);
}

uint64_t interest_keys(const struct interest *interest) {
    return atomic_load_explicit(&interest->n_keys, memory_order_relaxed);
}

bool interest_is_empty(const struct interest *interest) {
    atomic_thread_fence(
        memory_order_seq_cst); /* between the change and the look, as interest_add's */
    return interest_keys(interest) == 0;
}

uint64_t interest_items(const struct interest *interest) {
    return atomic_load_explicit(&interest->n_items, memory_order_relaxed);
}

/* --- a part, under its lock --- */

static struct part *part_of(struct interest *interest, uint64_t hash) {
    return &interest->parts[store_shard(hash)];
}

static struct slice key_of(const struct node *node) { return slice_make(node->key, node->key_len); }

/* What points to the key's node, or to the NULL behind its bucket's last; NULL where there are no buckets. */
static struct node **place_of(struct part *part, struct slice key, uint64_t hash) {
    if (!part->n_buckets) return NULL;
    struct node **at = &part->buckets[hash & (part->n_buckets - 1)];
    while (*at && !((*at)->hash == (uint32_t)hash && slice_equal(key_of(*at), key)))
        at = &(*at)->next;
    return at;
}

static void grow(struct part *part) {
    uint32_t n = part->n_buckets ? 2 * part->n_buckets : FIRST_BUCKETS;
    struct node **buckets = mem_calloc(n, sizeof(struct node *));
    for (uint32_t b = 0; b < part->n_buckets; b++) {
        while (part->buckets[b]) {
            struct node *node = part->buckets[b];
            part->buckets[b] = node->next;
            node->next = buckets[node->hash & (n - 1)];
            buckets[node->hash & (n - 1)] = node;
        }
    }
    mem_free(part->buckets);
    part->buckets = buckets;
    part->n_buckets = n;
}

static struct node *insert(struct interest *interest, struct part *part, struct slice key,
                           uint64_t hash) {
    if (part->n_keys >= part->n_buckets) grow(part);
    struct node *node = mem_alloc(sizeof *node + key.len);
    struct node **bucket = &part->buckets[hash & (part->n_buckets - 1)];
    *node = (struct node){
        .next = *bucket, .hash = (uint32_t)hash, .cap = 1, .key_len = (uint32_t)key.len};
    node->holders = &node->first;
    if (key.len) memcpy(node->key, key.data, key.len);
    *bucket = node;
    part->n_keys++;
    atomic_fetch_add_explicit(&interest->n_keys, 1, memory_order_relaxed);
    return node;
}

static void hold(struct node *node, void *holder) {
    if (node->n == node->cap) {
        void **holders = mem_calloc(2 * node->cap, sizeof(void *));
        memcpy(holders, node->holders, node->n * sizeof(void *));
        if (node->holders != &node->first) mem_free(node->holders);
        node->holders = holders;
        node->cap *= 2;
    }
    node->holders[node->n++] = holder;
}

static void unlink_node(struct interest *interest, struct part *part, struct node **at) {
    struct node *node = *at;
    *at = node->next;
    part->n_keys--;
    atomic_fetch_sub_explicit(&interest->n_keys, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&interest->n_items, node->n, memory_order_relaxed);
    node_free(node);
}

/* --- one key --- */

bool interest_add(struct interest *interest, struct slice key, uint64_t hash, void *holder,
                  const struct store_guard *guard) {
    struct part *part = part_of(interest, hash);
    pthread_mutex_lock(&part->mutex);
    struct node **at = place_of(part, key, hash);
    struct node *node = at && *at ? *at : insert(interest, part, key, hash);
    bool is_new = true;
    for (uint32_t i = 0; i < node->n && is_new; i++)
        is_new = node->holders[i] != holder;
    if (is_new) {
        hold(node, holder);
        atomic_fetch_add_explicit(&interest->n_items, 1, memory_order_relaxed);
    }
    /* Taken back only under this lock while the part is empty, which it is not. */
    bool observed = store_is_observed(interest->store, interest->number, hash);
    pthread_mutex_unlock(&part->mutex);
    atomic_thread_fence(memory_order_seq_cst); /* before the caller reads the key */
    if (!observed) store_observe(interest->store, interest->number, hash, guard);
    return is_new;
}

bool interest_remove(struct interest *interest, struct slice key, uint64_t hash,
                     const void *holder) {
    struct part *part = part_of(interest, hash);
    pthread_mutex_lock(&part->mutex);
    struct node **at = place_of(part, key, hash);
    struct node *node = at ? *at : NULL;
    uint32_t i = 0;
    while (node && i < node->n && node->holders[i] != holder)
        i++;
    bool found = node && i < node->n;
    if (found && node->n == 1) {
        unlink_node(interest, part, at);
    } else if (found) {
        node->holders[i] = node->holders[--node->n];
        atomic_fetch_sub_explicit(&interest->n_items, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&part->mutex);
    return found;
}

/* --- taking --- */

static void take_node(struct interest *interest, struct part *part, struct node **at,
                      interest_tell *tell, void *arg) {
    tell(arg, key_of(*at), (*at)->holders, (*at)->n);
    unlink_node(interest, part, at);
}

void interest_take(struct interest *interest, struct slice key, uint64_t hash, interest_tell *tell,
                   void *arg) {
    struct part *part = part_of(interest, hash);
    pthread_mutex_lock(&part->mutex);
    struct node **at = place_of(part, key, hash);
    if (at && *at) take_node(interest, part, at, tell, arg);
    if (part->n_keys == 0 && atomic_load(&interest->observing_all) == 0)
        store_ignore(interest->store, interest->number, hash);
    pthread_mutex_unlock(&part->mutex);
}

bool interest_take_any(struct interest *interest, interest_tell *tell, void *arg) {
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        uint32_t number = atomic_fetch_add_explicit(&interest->next_part, 1, memory_order_relaxed);
        struct part *part = &interest->parts[number % STORE_SHARDS];
        pthread_mutex_lock(&part->mutex);
        bool taken = part->n_keys > 0;
        for (uint32_t b = 0; taken && b < part->n_buckets; b++) {
            uint32_t bucket = (b + number / STORE_SHARDS) & (part->n_buckets - 1);
            if (!part->buckets[bucket]) continue;
            take_node(interest, part, &part->buckets[bucket], tell, arg);
            break;
        }
        pthread_mutex_unlock(&part->mutex);
        if (taken) return true;
    }
    return false;
}

void interest_take_matching(struct interest *interest, interest_match *match, interest_tell *tell,
                            void *arg) {
    if (interest_is_empty(interest)) return;
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct part *part = &interest->parts[i];
        pthread_mutex_lock(&part->mutex);
        for (uint32_t b = 0; b < part->n_buckets; b++) {
            struct node **at = &part->buckets[b];
            while (*at) {
                if (!match || match(arg, key_of(*at)))
                    take_node(interest, part, at, tell, arg);
                else
                    at = &(*at)->next;
            }
        }
        pthread_mutex_unlock(&part->mutex);
    }
}

void interest_observe_all(struct interest *interest, bool on) {
    if (!on) {
        atomic_fetch_sub(&interest->observing_all, 1);
    } else {
        atomic_fetch_add(&interest->observing_all, 1);
        /* Who has not seen that, and has the store ignore a shard, is done with it behind this. */
        for (uint32_t i = 0; i < STORE_SHARDS; i++) {
            pthread_mutex_lock(&interest->parts[i].mutex);
            pthread_mutex_unlock(&interest->parts[i].mutex);
        }
        store_observe_all(interest->store, interest->number, true);
    }
}

/* --- what a change is --- */

/* A form that only one of the two has says nothing: it was not read, or is read for the first time. */
static bool form_differs(bool in_old, struct slice old, bool in_new, struct slice new) {
    return in_old && in_new && !slice_equal(old, new);
}

static bool row_differs(const struct entry *old, const struct entry *new) {
    struct slice old_json, new_json, old_fields, new_fields;
    if (entry_is_absent(old) || entry_is_absent(new))
        return entry_is_absent(old) != entry_is_absent(new);
    /* What was read under another generation of the table was told of when that ended. */
    bool in_old = entry_row_json(old, &old_json);
    bool in_new = entry_row_json(new, &new_json);
    if (in_old && !in_new) return true;
    if (form_differs(in_old, old_json, in_new, new_json)) return true;
    in_old = entry_row_fields(old, &old_fields);
    in_new = entry_row_fields(new, &new_fields);
    if (in_old && !in_new) return true;
    return form_differs(in_old, old_fields, in_new, new_fields);
}

bool interest_is_change(const struct store_change *change) {
    bool is_row = change->entry && change->entry->kind == ENTRY_ROW;
    switch (change->event) {
    case STORE_CREATED:
    case STORE_CHANGED: return !is_row;
    case STORE_REPLACED:
        return !is_row || change->old->kind != ENTRY_ROW || row_differs(change->old, change->entry);
    case STORE_REMOVED:
    case STORE_TOUCHED: return true;
    }
    ASSERT_UNREACHABLE();
}
