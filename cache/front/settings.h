/* settings.h: what CONFIG SET changes while the process runs, and CONFIG GET tells, in Redis's names.
 *
 *     settings_init(&settings, config);                        cache.c, before the workers run
 *     if (setting(settings, SETTING_TIMEOUT) ...)              any thread; cmd_setting(ctx, ...) in a command
 *
 * A setting is a number, read without a lock, and one row of the table in settings.c: its names, how it is written, its bounds
 * and what it is at the start. Parameters that are no number (notify-keyspace-events) are rows with functions of their own. */
#ifndef FRESHET_CACHE_SETTINGS_H
#define FRESHET_CACHE_SETTINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct cache_config;
struct worker_deps;

enum setting {
    SETTING_MAX_MEMORY, /* bytes */
    SETTING_MEMORY_POLICY,
    SETTING_MAX_CLIENTS,
    SETTING_TIMEOUT,   /* seconds that a client may be idle; 0: for ever */
    SETTING_KEEPALIVE, /* seconds; 0: off */
    SETTING_MAX_BULK,  /* bytes */
    SETTING_QUERY_LIMIT,
    SETTING_SLOWLOG_SLOWER_THAN, /* microseconds; negative: nothing is logged */
    SETTING_SLOWLOG_MAX_LEN,
    SETTING_LATENCY_THRESHOLD, /* milliseconds; 0: off */
    SETTING_LATENCY_TRACKING,
    SETTING_ACL_LOG_MAX_LEN,
    SETTING_ACL_PUBSUB_DEFAULT, /* 1: new users may use every channel */
    SETTING_ACTIVE_EXPIRE,      /* 0: DEBUG SET-ACTIVE-EXPIRE 0 was said */
    SETTING_TRACKING_MAX_KEYS,
    SETTING_HASH_MAX_ENTRIES, /* the listpack encodings' bounds */
    SETTING_HASH_MAX_VALUE,
    SETTING_LIST_MAX_SIZE, /* positive: entries a node; negative: -1 4 KiB ... -5 64 KiB */
    SETTING_LIST_COMPRESS_DEPTH,
    SETTING_SET_MAX_INTSET,
    SETTING_ZSET_MAX_ENTRIES,
    SETTING_ZSET_MAX_VALUE,
    SETTINGS
};

struct settings {
    _Atomic int64_t values[SETTINGS];
};

void settings_init(struct settings *settings, const struct cache_config *config);
/* The name that maxmemory-policy has now. */
void settings_append_policy(const struct settings *settings, struct buf *out);

static inline int64_t setting(const struct settings *settings, enum setting which) {
    return atomic_load_explicit(&settings->values[which], memory_order_relaxed);
}

/* --- the table ---------------------------------------------------------------------------------------------- */

enum parameter_kind {
    PARAMETER_FIXED,  /* `text` for ever, which may be set to itself */
    PARAMETER_NUMBER, /* of a setting */
    PARAMETER_BYTES,  /* the same; "1mb" may be written */
    PARAMETER_BOOL,   /* yes, no */
    PARAMETER_CHOICE, /* the place of the word in `choices` */
    PARAMETER_OWN,    /* get and set */
};

enum { PARAMETER_WHY_MAX = 160 };

struct parameter {
    const char *name;
    enum parameter_kind kind;
    enum setting setting;
    const char *text; /* FIXED */
    int64_t initial, min, max;
    const char *choices; /* "resetchannels|allchannels" */
    void (*get)(const struct worker_deps *deps, struct buf *out);
    /* First asked for all parameters of a CONFIG SET with apply false, whether it may be; then with true. */
    bool (*set)(const struct worker_deps *deps, struct slice text, bool apply,
                char why[PARAMETER_WHY_MAX]);
    /* After a number has changed; on the worker's thread of the client that said CONFIG SET. */
    void (*changed)(const struct worker_deps *deps, int64_t value);
};

/* Sorted by name; a NULL name ends it. An older name of a parameter is a row of its own. */
extern const struct parameter parameters[];

/* Appends the value, as CONFIG GET prints it. */
void parameter_get(const struct parameter *parameter, const struct worker_deps *deps,
                   struct buf *out);
/* Is `text` a value of it? With apply it is set. False: why. */
bool parameter_set(const struct parameter *parameter, const struct worker_deps *deps,
                   struct slice text, bool apply, char why[PARAMETER_WHY_MAX]);

#endif
