/* command.h: a command is one row of a table and one function.
 *
 *     { "getdel", cmd_getdel, 2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "6.2.0", GROUP_STRING,
 *       "Returns the string value of a key and deletes it.", "O(1)", NULL },
 *
 * The dispatcher looks the name up, checks arity and rights, hashes the keys, takes the shard locks that the flags ask for,
 * runs the function, releases. The function reads its keys through keyspace.h and composes one reply.
 *
 * A read of a table's row that is not in memory answers READ_PENDING: the function returns at once, having composed nothing; the
 * client waits, the rows are fetched, and the function is run again, with the fetched rows laid over the store. So a
 * function has no side effect before its last keyspace_read. */
#ifndef FRESHET_CACHE_COMMAND_H
#define FRESHET_CACHE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/store/store.h"

struct client;
struct consistency;
struct command_context;
struct keywaits;
struct keyspace;
struct notify;
struct ready_key;
struct reply;
struct worker;

enum command_flag {
    CMD_WRITE =
        1
        << 0, /* changes plain keys: shards of its keys are locked; refused on table keys (not DEL, UNLINK, EXPIRE..) */
    CMD_READONLY = 1 << 1,
    CMD_FAST = 1 << 2, /* as COMMAND INFO reports it */
    CMD_LOCKS_KEYS =
        1 << 3, /* reads containers that are changed in place: shards locked while it runs */
    CMD_NO_AUTH = 1 << 4, /* allowed before AUTH */
    CMD_ADMIN = 1 << 5,
    CMD_DENYOOM = 1 << 6,
    CMD_LOADING = 1 << 7,
    CMD_ROW_WRITE =
        1
        << 8, /* a CMD_WRITE that is allowed on table keys with its own meaning (DEL evicts, EXPIRE shortens) */
    CMD_BLOCKING = 1 << 9,
    CMD_PUBSUB = 1 << 10,
    CMD_NOSCRIPT = 1 << 11,
    CMD_STALE = 1 << 12,
    CMD_SUBSCRIBED = 1 << 14, /* allowed to a RESP2 client that is subscribed to something */
    CMD_MAY_REPLICATE =
        1 << 15, /* writes no key, but waits with those that do in CLIENT PAUSE WRITE */
    CMD_RUNS_QUEUE = 1 << 16, /* EXEC */
    CMD_NO_MULTI = 1 << 18,   /* refused between MULTI and EXEC */
    CMD_UNQUEUED = 1 << 19,   /* runs at once there, instead of being queued */
    CMD_LOCKS_ALL =
        1 << 21, /* its arguments only describe keys that it reads (SORT BY): all shards locked */
    CMD_DANGEROUS = 1 << 13, /* in the ACL category of that name without being CMD_ADMIN */
    CMD_FRESH = 1 << 22, /* its rows may have to be newer than memory's: EXEC fetches them for it */
    CMD_REFUSED =
        1
        << 17, /* Redis has it and Freshet does not: answers one error, COMMAND does not list it */
};

enum command_group {
    GROUP_STRING,
    GROUP_BITMAP,
    GROUP_HASH,
    GROUP_LIST,
    GROUP_SET,
    GROUP_SORTED_SET,
    GROUP_GENERIC,
    GROUP_PUBSUB,
    GROUP_TRANSACTIONS,
    GROUP_CONNECTION,
    GROUP_SERVER,
    GROUP_FRESHET,
    GROUP_STREAM, /* from here on: of refused commands alone */
    GROUP_GEO,
    GROUP_HYPERLOGLOG,
    GROUP_SCRIPTING,
    GROUP_CLUSTER
};

/* Where the keys stand among the arguments: first to last in steps, as Redis's COMMAND tells it (last -1 is the last
 * argument; first 0: none), then those that argument `numkeys` counts and that follow it (0: none such), then SORT's STORE. */
struct command_keys {
    int8_t first, last, step;
    uint8_t numkeys;
    bool store_option;
};
#define KEYS(first, last, step)                                                                    \
    { (first), (last), (step), 0, false }
#define NUMKEYS(at)                                                                                \
    { 0, 0, 0, (at), false }
#define DESTINATION_NUMKEYS(at) /* argv[1] is written */                                           \
    { 1, 1, 1, (at), false }
#define KEY_AND_STORE                                                                              \
    { 1, 1, 1, 0, true }
#define NO_KEYS                                                                                    \
    { 0, 0, 0, 0, false }

struct command {
    const char *name; /* lower case */
    void (*run)(struct command_context *ctx);
    int arity; /* with the name; negative: at least */
    uint32_t flags;
    struct command_keys keys;
    const char *since;
    enum command_group group;
    const char *summary;
    const char *complexity;
    const struct command *subcommands; /* ends with a NULL name */
};

struct command_context {
    /* The same for all of a client's batch: */
    struct store *store;
    struct keyspace *keyspace; /* how keys are read: keyspace.h */
    struct notify *notify;     /* NULL: nobody is told (notify.h) */
    struct keywaits *keywaits; /* who waits for keys (keywaits.h) */
    struct client *client;
    struct worker *worker;
    int64_t now_ms; /* wall clock of this turn */
    int64_t now_us; /* monotonic */

    /* Of one run, from here to the end: set anew before each. */
    struct slice *argv; /* argv[0] is the name; argv[1] the subcommand's where there are any */
    uint32_t argc;
    const struct command *command;
    struct reply *reply;
    struct slice hashed; /* the argument whose hash is known already; else its data is NULL */
    uint64_t hash;
    const struct store_guard *guard; /* what is locked; NULL where nothing is */
    struct ready_key *ready; /* keys that were written and somebody waits for: keywaits.h's own */
    bool in_exec;            /* one of an EXEC's commands: it must not wait */
    bool ran;                /* its function was called: else it was refused before */
    uint32_t unusual;        /* modes of client and process (gate.h); 0 nearly always */
    bool pushes;             /* what this command composes are pushes: never silenced */
    uint32_t fetched_as; /* an EXEC's command, as its rows are asked for: its place in the queue */
    uint32_t n_pending;  /* reads that answered READ_PENDING in this run */
    struct fetched_rows
        *fetched; /* on a second run: the rows that were fetched for it; else NULL */
    /* Waiting for something else than rows (client.h, client_block): */
    bool blocked;        /* this run has called client_block */
    bool woken;          /* run again because of client_wake */
    bool timed_out;      /* run again because the deadline has passed: answer now */
    int64_t deadline_us; /* of the wait that has ended; 0 on the first run */
    /* How fresh the rows have to be that are read (consistency.h), while a command says so; NULL: as the connection does. */
    const struct consistency *asked;
};

/* store_hash of an argument. */
static inline uint64_t command_hash(const struct command_context *ctx, struct slice key) {
    bool known = key.data == ctx->hashed.data && key.len == ctx->hashed.len;
    return known && key.data ? ctx->hash : store_hash(ctx->store, key);
}

/* One table a file of commands; each ends with a NULL name. commands.c lists them, and nothing else knows them all. */
extern const struct command commands_string[];      /* cmd_string.c */
extern const struct command commands_counter[];     /* cmd_counter.c: INCR, ... */
extern const struct command commands_lcs[];         /* cmd_lcs.c */
extern const struct command commands_bit[];         /* cmd_bit.c: SETBIT, BITCOUNT, ... */
extern const struct command commands_bitfield[];    /* cmd_bitfield.c */
extern const struct command commands_hash[];        /* cmd_hash.c: what reads */
extern const struct command commands_hash_write[];  /* cmd_hash_write.c */
extern const struct command commands_list[];        /* cmd_list.c: what reads one list */
extern const struct command commands_list_write[];  /* cmd_list_write.c: pushes, pops, ... */
extern const struct command commands_list_block[];  /* cmd_list_block.c: BLPOP, BLMOVE, ... */
extern const struct command commands_set[];         /* cmd_set.c: what reads one set */
extern const struct command commands_set_write[];   /* cmd_set_write.c */
extern const struct command commands_set_algebra[]; /* cmd_set_algebra.c: SINTER, SUNION, ... */
extern const struct command commands_zset[]; /* cmd_zset.c: single members, ZRANDMEMBER, ZSCAN */
extern const struct command commands_zset_range[];   /* cmd_zset_range.c: ZRANGE's family */
extern const struct command commands_zset_write[];   /* cmd_zset_write.c: ZADD, ZREM */
extern const struct command commands_zset_pop[];     /* cmd_zset_pop.c: blocking pops too */
extern const struct command commands_zset_combine[]; /* cmd_zset_combine.c: ZUNION, ... */
extern const struct command commands_generic[];      /* cmd_generic.c: DEL, EXISTS, TYPE */
extern const struct command commands_keyspace[];     /* cmd_keyspace.c: RENAME, COPY, ... */
extern const struct command commands_object[];       /* cmd_object.c */
extern const struct command commands_memory[];       /* cmd_memory.c */
extern const struct command commands_dump[];         /* cmd_dump.c: DUMP, RESTORE */
extern const struct command commands_sort[];         /* cmd_sort.c */
extern const struct command commands_expire[];       /* cmd_expire.c: EXPIRE, TTL, ... */
extern const struct command commands_multi[];        /* cmd_multi.c: MULTI, EXEC, WATCH, ... */
extern const struct command commands_scan[];         /* cmd_scan.c: SCAN, KEYS, RANDOMKEY */
extern const struct command commands_connection[];   /* cmd_connection.c: HELLO, CLIENT, ... */
extern const struct command commands_pubsub[];  /* cmd_pubsub.c: SUBSCRIBE, PUBLISH, ..., MONITOR */
extern const struct command commands_server[];  /* cmd_server.c: INFO, COMMAND, CONFIG, ... */
extern const struct command commands_debug[];   /* cmd_debug.c */
extern const struct command commands_slowlog[]; /* cmd_slowlog.c: SLOWLOG, LATENCY */
extern const struct command commands_acl[];     /* cmd_acl.c */
extern const struct command commands_consistency[]; /* cmd_consistency.c: FRESHET.READ, ... */
extern const struct command commands_explain[];     /* cmd_explain.c */
extern const struct command commands_verify[];      /* cmd_verify.c */
extern const struct command commands_freshet[];     /* cmd_freshet.c: FRESHET.WAIT, HELP */

/* cmd_refused.c; command_at does not walk it. */
extern const struct command commands_refused[];

bool command_arity_fits(const struct command *command, uint32_t argc);

/* Walks the whole table: i from 0 until NULL. For COMMAND and for the reference. */
const struct command *command_at(uint32_t i);

/* The rows by name. Immutable once made: shared by all workers. */
struct command_table;
struct command_table *command_table_create(void);
void command_table_destroy(struct command_table **table);
/* Case-insensitive; NULL where there is none. */
const struct command *command_find(const struct command_table *table, struct slice name);
const struct command *command_find_sub(const struct command *command, struct slice name);
/* The container that a subcommand's row belongs to; NULL for a row of its own. */
const struct command *command_parent(const struct command *command);

/* Walks over the positions of a request's keys, by its row; 0 at the end:
 *     struct command_key_iter iter = command_keys(command, argv, argc);
 *     for (uint32_t i; (i = command_next_key(&iter));) ... argv[i]
 * Where there are too few arguments, or the count of keys is none, there are fewer keys: the function answers that. */
struct command_key_iter {
    uint32_t next, end, step; /* of the fixed ones */
    uint32_t counted, counted_end;
};
struct command_key_iter command_keys(const struct command *command, const struct slice *argv,
                                     uint32_t argc);
static inline uint32_t command_next_key(struct command_key_iter *iter) {
    if (iter->next < iter->end) {
        uint32_t at = iter->next;
        iter->next += iter->step;
        return at;
    }
    return iter->counted < iter->counted_end ? iter->counted++ : 0;
}
static inline bool command_has_keys(const struct command *command) {
    return (command->keys.first > 0 || command->keys.numkeys > 0) && !(command->flags & CMD_PUBSUB);
}

/* Runs the request in ctx (argv, argc and everything but command and guard are set): looks the row up, refuses what has to be
 * refused, locks, runs, unlocks. `named` is the row of argv[0], or NULL where there is none; `hashes` is scratch. */
void command_run(struct command_context *ctx, const struct command *named, struct buf *hashes);

/* Runs one of an EXEC's commands, its keys' shards being locked by ctx->guard: rights are looked at again. */
void command_run_queued(struct command_context *ctx);

/* The function of every container's HELP row: its subcommands with their summaries. */
void command_help(struct command_context *ctx);

#endif
