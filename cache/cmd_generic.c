/* Keys of any kind: DEL, EXISTS, TYPE, OBJECT. Times are in cmd_expire.c, walks in cmd_scan.c. */
#include "cache/cmd.h"
#include "cache/evict.h"
#include "cache/number.h"

/* A row's key is only evicted: its row stays in the database, and a negative entry was none to the client. */
static void cmd_del(struct command_context *ctx) {
    int64_t removed = 0;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        uint64_t hash;
        struct entry *entry = cmd_find(ctx, ctx->argv[i], &hash);
        if (!entry) continue;
        if (!entry_is_absent(entry)) removed++;
        store_remove(ctx->store, ctx->guard, ctx->argv[i], hash, REMOVED_DELETED);
    }
    reply_integer(ctx->reply, removed);
}

/* EXISTS and TOUCH: a key that is named twice counts twice. Reading is what marks a key as used. */
static void cmd_exists(struct command_context *ctx) {
    size_t mark = ctx->reply->out->len;
    int64_t found = 0;
    struct key_value value;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        enum read_outcome outcome = keyspace_read(ctx, ctx->argv[i], FORM_ANY, &value);
        if (outcome == READ_FAILED) {
            cmd_fail(ctx, mark, &value);
            return;
        }
        if (outcome == READ_FOUND) found++;
    }
    if (!cmd_is_pending(ctx, mark)) reply_integer(ctx->reply, found);
}

static void answer_none(struct reply *reply) { reply_simple(reply, "none"); }

static void cmd_type(struct command_context *ctx) {
    struct key_value value;
    if (!cmd_read(ctx, ctx->argv[1], FORM_ANY, &value, answer_none)) return;
    bool is_hash = !value.row && value.entry->kind == ENTRY_HASH;
    reply_simple(ctx->reply, is_hash ? "hash" : "string");
}

/* --- OBJECT: sees what is in memory --- */

enum { EMBEDDED_MAX_LEN = 44 /* up to there Redis calls a string embstr */ };

static const char *string_encoding(const struct entry *entry) {
    int64_t number;
    struct slice value = entry_string(entry);
    if (entry->flags & ENTRY_RAW) return "raw";
    if (!(entry->flags & ENTRY_TEXT) && number_parse_i64(value, &number)) return "int";
    return value.len <= EMBEDDED_MAX_LEN ? "embstr" : "raw";
}

static const struct entry *object_entry(struct command_context *ctx) {
    struct slice key = ctx->argv[2];
    const struct entry *entry =
        store_peek(ctx->store, key, store_hash(ctx->store, key), ctx->now_ms);
    if (entry && !entry_is_absent(entry)) return entry;
    reply_null(ctx->reply);
    return NULL;
}

static void cmd_object_encoding(struct command_context *ctx) {
    const struct entry *entry = object_entry(ctx);
    if (!entry) return;
    const char *encoding = "raw"; /* a row */
    if (entry->kind == ENTRY_STRING) encoding = string_encoding(entry);
    if (entry->kind == ENTRY_HASH) encoding = entry->flags & ENTRY_OBJECT ? "hashtable" : "listpack";
    reply_text(ctx->reply, encoding);
}

static void cmd_object_freq(struct command_context *ctx) {
    const struct entry *entry = object_entry(ctx);
    if (entry) reply_integer(ctx->reply, evict_uses(entry));
}

/* Uses are counted, not timed (evict.h); worded as Redis words it under such a policy. */
static void cmd_object_idletime(struct command_context *ctx) {
    if (!object_entry(ctx)) return;
    reply_error(ctx->reply,
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please "
                "note that when switching between policies at runtime LRU and LFU data "
                "will take some time to adjust.");
}

static void cmd_object_refcount(struct command_context *ctx) {
    if (object_entry(ctx)) reply_integer(ctx->reply, 1);
}

static void cmd_object_help(struct command_context *ctx) {
    static const char *const lines[] = {
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Prints this help.",
    };
    size_t n = sizeof lines / sizeof lines[0];
    reply_array(ctx->reply, n);
    for (size_t i = 0; i < n; i++)
        reply_simple(ctx->reply, lines[i]);
}

/* clang-format off */
static const struct command object_subcommands[] = {
    {"encoding", cmd_object_encoding, 3, CMD_READONLY, KEYS(2, 2, 1), "2.2.3", GROUP_GENERIC,
     "Returns the internal encoding of a key's value.", "O(1)", NULL},
    {"freq", cmd_object_freq, 3, CMD_READONLY, KEYS(2, 2, 1), "4.0.0", GROUP_GENERIC,
     "Returns how often a key was used, as the eviction policy counts it.", "O(1)", NULL},
    {"help", cmd_object_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "6.2.0", GROUP_GENERIC,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"idletime", cmd_object_idletime, 3, CMD_READONLY, KEYS(2, 2, 1), "2.2.3", GROUP_GENERIC,
     "Not tracked: the eviction policy counts uses.", "O(1)", NULL},
    {"refcount", cmd_object_refcount, 3, CMD_READONLY, KEYS(2, 2, 1), "2.2.3", GROUP_GENERIC,
     "Returns the reference count of a value of a key.", "O(1)", NULL},
    {0},
};

const struct command commands_generic[] = {
    {"del", cmd_del, -2, CMD_WRITE | CMD_ROW_WRITE, KEYS(1, -1, 1), "1.0.0", GROUP_GENERIC,
     "Deletes one or more keys. A table's row is only taken out of memory.", "O(N) with the number of keys", NULL},
    {"exists", cmd_exists, -2, CMD_READONLY | CMD_FAST, KEYS(1, -1, 1), "1.0.0", GROUP_GENERIC,
     "Determines whether one or more keys exist.", "O(N) with the number of keys", NULL},
    {"object", NULL, -2, 0, NO_KEYS, "2.2.3", GROUP_GENERIC,
     "A container for object introspection commands.", "Depends on subcommand.", object_subcommands},
    {"touch", cmd_exists, -2, CMD_READONLY | CMD_FAST, KEYS(1, -1, 1), "3.2.1", GROUP_GENERIC,
     "Returns the number of existing keys out of those specified after marking them as used.", "O(N) with the number of keys", NULL},
    {"type", cmd_type, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_GENERIC,
     "Determines the type of value stored at a key.", "O(1)", NULL},
    {"unlink", cmd_del, -2, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, -1, 1), "4.0.0", GROUP_GENERIC,
     "Deletes one or more keys; memory is given back once nobody reads it, as with DEL.", "O(N) with the number of keys", NULL},
    {0},
};
/* clang-format on */
