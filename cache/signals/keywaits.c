#include "cache/signals/keywaits.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/front/client.h"
#include "cache/front/reply.h"
#include "cache/front/worker.h"
#include "cache/values/number.h"

enum { BUCKETS = 4096 };

/*   bucket ──► waited_key "jobs" ──► link ──► link ──► link        in the order of blocking
 *                                     │        │        │
 *                                   wait A   wait B   wait C       a wait has one link a key                       */
struct link {
    struct link *next, *prev;
    struct waited_key *key;
    struct keywait *wait;
};

struct waited_key {
    struct waited_key *next; /* in its bucket */
    struct link *first, *last;
    uint64_t hash;
    size_t len;
    char bytes[];
};

enum wait_state { WAITING, SERVED, ENDED, ENDED_WITH_ERROR };

struct keywait {
    struct keywaits *keywaits;
    struct keywait *next, *prev; /* of all waits */
    enum wait_state state;       /* changed under the mutex */
    struct keywait_order order;
    uint64_t destination_hash;
    uint64_t client_id;
    struct client_ticket ticket;
    int64_t deadline_us;
    uint8_t protocol;
    /* What serving has made: */
    struct buf reply;
    uint32_t errors;
    struct buf taken;
    uint32_t served; /* which of the keys */

    struct slice *keys; /* copies */
    struct buf hashes;  /* uint64_t each */
    uint32_t n_keys;
    uint32_t n_links; /* 0 once it does not wait any more */
    struct link links[];
};

struct keywaits {
    _Atomic uint32_t count; /* of those in state WAITING */
    pthread_mutex_t mutex;  /* all below */
    struct keywait *first;
    _Atomic(struct waited_key *) buckets[BUCKETS]; /* read without the mutex: is there anything? */
};

/* Keys that a command has written and somebody may wait for: a queue. */
struct ready_key {
    struct ready_key *next;
    uint64_t hash;
    size_t len;
    char bytes[];
};

struct keywaits *keywaits_create(void) {
    struct keywaits *keywaits = mem_zalloc(sizeof *keywaits);
    pthread_mutex_init(&keywaits->mutex, NULL);
    return keywaits;
}

void keywaits_destroy(struct keywaits **keywaits) {
    if (!*keywaits) return;
    ASSERT(!(*keywaits)->first);
    pthread_mutex_destroy(&(*keywaits)->mutex);
    mem_free(*keywaits);
    *keywaits = NULL;
}

uint32_t keywaits_count(const struct keywaits *keywaits) {
    return atomic_load_explicit(&keywaits->count, memory_order_relaxed);
}

/* --- the queues, under the mutex ----------------------------------------------------------------------------- */

static _Atomic(struct waited_key *) *bucket_of(struct keywaits *keywaits, uint64_t hash) {
    return &keywaits->buckets[hash % BUCKETS];
}

static struct waited_key *find_key(struct keywaits *keywaits, struct slice key, uint64_t hash) {
    struct waited_key *at = atomic_load_explicit(bucket_of(keywaits, hash), memory_order_relaxed);
    while (at && !(at->hash == hash && slice_equal(slice_make(at->bytes, at->len), key)))
        at = at->next;
    return at;
}

static struct waited_key *add_key(struct keywaits *keywaits, struct slice key, uint64_t hash) {
    struct waited_key *made = mem_alloc(sizeof *made + key.len);
    *made = (struct waited_key){.hash = hash, .len = key.len};
    if (key.len) memcpy(made->bytes, key.data, key.len);
    made->next = atomic_load_explicit(bucket_of(keywaits, hash), memory_order_relaxed);
    atomic_store_explicit(bucket_of(keywaits, hash), made, memory_order_relaxed);
    return made;
}

static void remove_key(struct keywaits *keywaits, struct waited_key *gone) {
    _Atomic(struct waited_key *) *bucket = bucket_of(keywaits, gone->hash);
    struct waited_key *at = atomic_load_explicit(bucket, memory_order_relaxed);
    if (at == gone) {
        atomic_store_explicit(bucket, gone->next, memory_order_relaxed);
    } else {
        while (at->next != gone)
            at = at->next;
        at->next = gone->next;
    }
    mem_free(gone);
}

static void enqueue(struct keywait *wait, struct slice key, uint64_t hash) {
    struct waited_key *queue = find_key(wait->keywaits, key, hash);
    if (!queue) queue = add_key(wait->keywaits, key, hash);
    struct link *link = &wait->links[wait->n_links++];
    *link = (struct link){.prev = queue->last, .key = queue, .wait = wait};
    *(queue->last ? &queue->last->next : &queue->first) = link;
    queue->last = link;
}

static void dequeue(struct link *link) {
    struct waited_key *queue = link->key;
    *(link->prev ? &link->prev->next : &queue->first) = link->next;
    *(link->next ? &link->next->prev : &queue->last) = link->prev;
    if (!queue->first) remove_key(link->wait->keywaits, queue);
}

/* Out of all queues: it waits no more. */
static void end_wait(struct keywait *wait, enum wait_state state) {
    ASSERT(wait->state == WAITING);
    for (uint32_t i = 0; i < wait->n_links; i++)
        dequeue(&wait->links[i]);
    wait->n_links = 0;
    wait->state = state;
    atomic_fetch_sub_explicit(&wait->keywaits->count, 1, memory_order_relaxed);
}

static void join_all(struct keywait *wait) {
    struct keywaits *keywaits = wait->keywaits;
    wait->next = keywaits->first;
    if (keywaits->first) keywaits->first->prev = wait;
    keywaits->first = wait;
    atomic_fetch_add_explicit(&keywaits->count, 1, memory_order_relaxed);
}

static void leave_all(struct keywait *wait) {
    if (wait->next) wait->next->prev = wait->prev;
    *(wait->prev ? &wait->prev->next : &wait->keywaits->first) = wait->next;
}

/* --- blocking ------------------------------------------------------------------------------------------------ */

static struct slice copy_slice(struct slice bytes) {
    return slice_make(mem_slicedup(bytes), bytes.len);
}

static void free_slice(struct slice bytes) {
    union {
        const char *in;
        char *out;
    } cast = {.in = bytes.data};
    mem_free(cast.out);
}

static struct keywait *wait_create(struct command_context *ctx, const struct keywait_order *order,
                                   const struct slice *keys, uint32_t n_keys) {
    struct keywait *wait = mem_zalloc(sizeof *wait + n_keys * sizeof wait->links[0]);
    wait->keywaits = ctx->keywaits;
    wait->order = *order;
    wait->client_id = client_id(ctx->client);
    wait->protocol = ctx->reply->protocol;
    wait->keys = mem_calloc(n_keys, sizeof wait->keys[0]);
    wait->n_keys = n_keys;
    for (uint32_t i = 0; i < n_keys; i++) {
        uint64_t hash = store_hash(ctx->store, keys[i]);
        ASSERT(store_is_locked(ctx->guard, hash));
        wait->keys[i] = copy_slice(keys[i]);
        buf_append(&wait->hashes, &hash, sizeof hash);
    }
    if (order->destination.data) {
        wait->order.destination = copy_slice(order->destination);
        wait->destination_hash = store_hash(ctx->store, order->destination);
    }
    return wait;
}

static uint64_t hash_at(const struct buf *hashes, size_t i) {
    uint64_t hash;
    memcpy(&hash, hashes->data + i * sizeof hash, sizeof hash);
    return hash;
}

static size_t count_hashes(const struct buf *hashes) { return hashes->len / sizeof(uint64_t); }

static void wait_destroy(struct keywait *wait) {
    for (uint32_t i = 0; i < wait->n_keys; i++)
        free_slice(wait->keys[i]);
    free_slice(wait->order.destination);
    mem_free(wait->keys);
    buf_deinit(&wait->hashes);
    buf_deinit(&wait->reply);
    buf_deinit(&wait->taken);
    mem_free(wait);
}

void keywaits_block(struct command_context *ctx, const struct keywait_order *order,
                    const struct slice *keys, uint32_t n_keys, int64_t deadline_us) {
    if (ctx->in_exec) {
        if (order->null_bulk)
            reply_null(ctx->reply);
        else
            reply_null_array(ctx->reply);
        return;
    }
    struct keywaits *keywaits = ctx->keywaits;
    struct keywait *wait = wait_create(ctx, order, keys, n_keys);
    wait->ticket = client_ticket(ctx);
    wait->deadline_us = deadline_us;
    pthread_mutex_lock(&keywaits->mutex);
    join_all(wait);
    for (uint32_t i = 0; i < n_keys; i++)
        enqueue(wait, wait->keys[i], hash_at(&wait->hashes, i));
    pthread_mutex_unlock(&keywaits->mutex);
    client_set_keywait(ctx->client, wait);
    client_block(ctx, deadline_us);
}

bool keywaits_timeout(struct command_context *ctx, struct slice seconds, int64_t *deadline_us) {
    /* From here on it is for ever: three centuries less what the clock shows. */
    static const long double MOST_MS = 9.0e15L;
    long double value;
    if (!number_parse_long_double(seconds, &value) || isnan(value)) {
        reply_error(ctx->reply, "ERR timeout is not a float or out of range");
        return false;
    }
    long double ms = ceill(value * 1000);
    /* What does not fit 63 bits is negative to Redis. */
    if (ms < 0 || ms >= 0x1p63L) {
        reply_error(ctx->reply, "ERR timeout is negative");
        return false;
    }
    *deadline_us = ms == 0 || ms > MOST_MS ? 0 : ctx->now_us + (int64_t)ms * 1000;
    return true;
}

/* Takes the wait from its client: the caller destroys it. Under the locks of all its keys, or when it was not served. */
static enum wait_state take_result(struct keywait *wait) {
    pthread_mutex_lock(&wait->keywaits->mutex);
    enum wait_state state = wait->state;
    if (state == WAITING) end_wait(wait, ENDED);
    leave_all(wait);
    pthread_mutex_unlock(&wait->keywaits->mutex);
    return state;
}

/* Woken by something else, a pause that has ended for example. False: it does not wait any more. */
static bool wait_on(struct command_context *ctx, struct keywait *wait) {
    if (wait->deadline_us && ctx->now_us >= wait->deadline_us) return false;
    struct client_ticket ticket = client_ticket(ctx);
    pthread_mutex_lock(&wait->keywaits->mutex);
    bool waits = wait->state == WAITING;
    if (waits) wait->ticket = ticket;
    pthread_mutex_unlock(&wait->keywaits->mutex);
    if (waits) client_block(ctx, wait->deadline_us);
    return waits;
}

bool keywaits_resumed(struct command_context *ctx) {
    struct keywait *wait = ctx->client ? client_keywait(ctx->client) : NULL;
    if (!wait) return false;
    ASSERT(ctx->guard);
    if (wait_on(ctx, wait)) return true;
    client_set_keywait(ctx->client, NULL);
    switch (take_result(wait)) {
    case SERVED:
        buf_append_slice(ctx->reply->out, buf_slice(&wait->reply));
        ctx->reply->errors += wait->errors;
        break;
    case ENDED_WITH_ERROR:
        reply_error(ctx->reply, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        break;
    case WAITING:
    case ENDED: reply_null_array(ctx->reply); break;
    }
    wait_destroy(wait);
    return true;
}

bool keywaits_unblock(struct keywaits *keywaits, uint64_t id, bool with_error) {
    pthread_mutex_lock(&keywaits->mutex);
    struct keywait *wait = keywaits->first;
    while (wait && wait->client_id != id)
        wait = wait->next;
    bool waits = wait && wait->state == WAITING;
    if (waits) {
        end_wait(wait, with_error ? ENDED_WITH_ERROR : ENDED);
        client_wake(wait->ticket);
    }
    pthread_mutex_unlock(&keywaits->mutex);
    return waits;
}

/* --- serving ------------------------------------------------------------------------------------------------- */

static bool has_hash(const struct buf *hashes, uint64_t hash) {
    for (size_t i = 0; i < count_hashes(hashes); i++)
        if (hash_at(hashes, i) == hash) return true;
    return false;
}

/* Adds where waiters for these keys push on to, and so on. True: not all of it is locked. */
static bool add_destinations(struct keywaits *keywaits, struct buf *hashes,
                             const struct store_guard *guard) {
    bool lacks = false;
    pthread_mutex_lock(&keywaits->mutex);
    for (size_t i = 0; i < count_hashes(hashes); i++) {
        uint64_t hash = hash_at(hashes, i);
        struct waited_key *at =
            atomic_load_explicit(bucket_of(keywaits, hash), memory_order_relaxed);
        for (; at; at = at->next) {
            if (at->hash != hash) continue;
            for (const struct link *link = at->first; link; link = link->next) {
                const struct keywait *wait = link->wait;
                if (!wait->order.destination.data) continue;
                if (has_hash(hashes, wait->destination_hash)) continue;
                buf_append(hashes, &wait->destination_hash, sizeof wait->destination_hash);
                lacks |= !store_is_locked(guard, wait->destination_hash);
            }
        }
    }
    pthread_mutex_unlock(&keywaits->mutex);
    return lacks;
}

static void lock_hashes(struct store *store, const struct buf *hashes, struct store_guard *guard) {
    /* buf memory comes from the allocator: aligned for any type */
    store_lock(store, (const uint64_t *)(const void *)hashes->data, (uint32_t)count_hashes(hashes),
               guard);
}

static bool somebody_waits(struct keywaits *keywaits, const struct buf *hashes) {
    for (size_t i = 0; i < count_hashes(hashes); i++)
        if (atomic_load_explicit(bucket_of(keywaits, hash_at(hashes, i)), memory_order_relaxed))
            return true;
    return false;
}

void keywaits_lock(struct keywaits *keywaits, struct store *store, struct buf *hashes,
                   struct store_guard *guard) {
    lock_hashes(store, hashes, guard);
    if (!keywaits || keywaits_count(keywaits) == 0 || !somebody_waits(keywaits, hashes)) return;
    while (add_destinations(keywaits, hashes, guard)) {
        store_unlock(store, guard);
        lock_hashes(store, hashes, guard);
    }
}

void keywaits_note(struct command_context *ctx, struct slice key) {
    if (!ctx->keywaits || keywaits_count(ctx->keywaits) == 0) return;
    uint64_t hash = store_hash(ctx->store, key);
    if (!atomic_load_explicit(bucket_of(ctx->keywaits, hash), memory_order_relaxed)) return;
    struct ready_key *ready = mem_alloc(sizeof *ready + key.len);
    *ready = (struct ready_key){.hash = hash, .len = key.len};
    if (key.len) memcpy(ready->bytes, key.data, key.len);
    struct ready_key **last = &ctx->ready;
    while (*last)
        last = &(*last)->next;
    *last = ready;
}

/* The first that waits for the key with an entry of this kind; it is served from now on. */
static struct keywait *pick(struct keywaits *keywaits, struct slice key, uint64_t hash,
                            enum entry_kind kind) {
    struct keywait *picked = NULL;
    pthread_mutex_lock(&keywaits->mutex);
    struct waited_key *queue = find_key(keywaits, key, hash);
    for (struct link *link = queue ? queue->first : NULL; link && !picked; link = link->next)
        if (link->wait->order.kind == kind) picked = link->wait;
    if (picked) end_wait(picked, SERVED);
    pthread_mutex_unlock(&keywaits->mutex);
    return picked;
}

static void serve_one(struct command_context *ctx, struct keywait *wait, struct slice key) {
    const struct keywait_order *order = &wait->order;
    ASSERT(!order->destination.data || store_is_locked(ctx->guard, wait->destination_hash));
    struct reply reply = {.out = &wait->reply, .protocol = wait->protocol};
    struct command_context serving = *ctx;
    serving.reply = &reply;
    serving.argv = NULL;
    serving.argc = 0;
    while (wait->served < wait->n_keys && !slice_equal(wait->keys[wait->served], key))
        wait->served++;
    /* First, so that the reply goes before what serve will have pushed to this client (an invalidation): its second run
     * waits for the guard. */
    client_wake(wait->ticket);
    order->serve(&serving, order, key, &wait->taken);
    wait->errors = reply.errors;
    if (order->destination.data) keywaits_note(ctx, order->destination);
}

/* While there is something, and somebody. An entry may turn into another by being served from (it is small, say). */
static void serve_key(struct command_context *ctx, struct slice key, uint64_t hash) {
    for (;;) {
        const struct entry *entry = store_find(ctx->store, ctx->guard, key, hash, ctx->now_ms);
        if (!entry || (entry->kind != ENTRY_LIST && entry->kind != ENTRY_ZSET)) return;
        struct keywait *wait = pick(ctx->keywaits, key, hash, entry->kind);
        if (!wait) return;
        serve_one(ctx, wait, key);
    }
}

void keywaits_serve(struct command_context *ctx) {
    while (ctx->ready) {
        struct ready_key *ready = ctx->ready;
        serve_key(ctx, slice_make(ready->bytes, ready->len), ready->hash);
        ctx->ready = ready->next;
        mem_free(ready);
    }
}

/* --- going ---------------------------------------------------------------------------------------------------- */

void keywaits_leave(struct worker *worker, struct keywait **gone) {
    struct keywait *wait = *gone;
    *gone = NULL;
    if (!wait) return;
    const struct worker_deps *deps = worker_deps(worker);
    struct store_guard guard;
    keywaits_lock(wait->keywaits, deps->store, &wait->hashes, &guard);
    if (take_result(wait) == SERVED && wait->order.give_back && wait->taken.len) {
        struct command_context ctx = {
            .store = deps->store,
            .keywaits = wait->keywaits,
            .notify = deps->notify,
            .guard = &guard,
            .worker = worker,
            .now_ms = worker_now_ms(worker),
        };
        struct slice key = wait->keys[wait->served];
        wait->order.give_back(&ctx, &wait->order, key, buf_slice(&wait->taken));
        keywaits_note(&ctx, key);
        keywaits_serve(&ctx);
    }
    store_unlock(deps->store, &guard);
    wait_destroy(wait);
}
