/* notify.h: keyspace notifications (redis.io/docs/manual/keyspace-notifications), as Redis 7.0 has them, and one class of our
 * own: `freshet` (letter f), for keys that a commit in the database has taken out of memory.
 *
 *     cmd_notify(ctx, NOTIFY_STRING, "set", key);        a command, after the change, for each key that it changed
 *
 * Off, which is the default, it costs one load and one branch. On, it publishes to __keyspace@0__:<key> and
 * __keyevent@0__:<event>. Allowed under a shard guard: publishing takes a leaf lock and enqueues (pubsub.h).
 *
 * Which commands tell what is Redis's table of events; expired, evicted, new and freshet are told by the store's observer, not by
 * commands, and key-miss by keyspace.c. */
#ifndef FRESHET_CACHE_NOTIFY_H
#define FRESHET_CACHE_NOTIFY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/commands/command.h"

struct pubsub;

enum notify_class {
    NOTIFY_KEYSPACE = 1 << 0,  /* K */
    NOTIFY_KEYEVENT = 1 << 1,  /* E */
    NOTIFY_GENERIC = 1 << 2,   /* g */
    NOTIFY_STRING = 1 << 3,    /* $ */
    NOTIFY_LIST = 1 << 4,      /* l */
    NOTIFY_SET = 1 << 5,       /* s */
    NOTIFY_HASH = 1 << 6,      /* h */
    NOTIFY_ZSET = 1 << 7,      /* z */
    NOTIFY_EXPIRED = 1 << 8,   /* x */
    NOTIFY_EVICTED = 1 << 9,   /* e */
    NOTIFY_STREAM = 1 << 10,   /* t: told by no command of ours */
    NOTIFY_KEY_MISS = 1 << 11, /* m; not in A */
    NOTIFY_MODULE = 1 << 12,   /* d: told by nothing of ours */
    NOTIFY_NEW = 1 << 13,      /* n; not in A */
    NOTIFY_FRESHET = 1 << 14,  /* f: keys that a commit has evicted */
    NOTIFY_ALL = NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_LIST | NOTIFY_SET | NOTIFY_HASH |
                 NOTIFY_ZSET | NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_STREAM | NOTIFY_MODULE |
                 NOTIFY_FRESHET, /* A: Redis's, and ours */
};

struct notify {
    _Atomic uint32_t classes; /* any thread reads; notify_set writes */
    struct pubsub *pubsub;
    struct store *store;
    uint32_t observer; /* its number in the store: expired, evicted, new, freshet */
};

struct notify *notify_create(struct pubsub *pubsub, struct store *store);
void notify_destroy(struct notify **notify);

/* "KEA", "Kg$" ...; false: there is a letter that is none. */
bool notify_parse(struct slice letters, uint32_t *classes);
/* As CONFIG GET prints it: A stands for what it holds. */
void notify_format(uint32_t classes, struct buf *out);
static inline uint32_t notify_classes(const struct notify *notify) {
    return atomic_load_explicit(&notify->classes, memory_order_relaxed);
}
/* Any thread, one at a time. */
void notify_set(struct notify *notify, uint32_t classes);

/* Publishes if the class is on. Any thread. */
void notify_event(struct notify *notify, enum notify_class class, const char *event,
                  struct slice key);

/* `key` in the request's own bytes or a copy: it is read before this returns. */
static inline void cmd_notify(struct command_context *ctx, enum notify_class class,
                              const char *event, struct slice key) {
    if (__builtin_expect(ctx->notify && notify_classes(ctx->notify) & (uint32_t) class, 0))
        notify_event(ctx->notify, class, event, key);
}

#endif
