/* cmd_object.c: OBJECT: what keys are made of. Only what is in memory is looked at. */
#include "cache/commands/cmd.h"
#include "cache/store/evict.h"
#include "cache/values/number.h"
#include "cache/values/set.h"

/* argv[2]'s entry, readable until the turn ends. NULL, and null was answered: it is absent. */
static const struct entry *find(struct command_context *ctx) {
    struct slice key = ctx->argv[2];
    const struct entry *entry =
        store_peek(ctx->store, key, store_hash(ctx->store, key), ctx->now_ms);
    if (entry && !entry_is_absent(entry)) return entry;
    reply_null(ctx->reply);
    return NULL;
}

/* --- OBJECT --- */

enum { EMBEDDED_MAX_LEN = 44 /* up to there Redis calls a string embstr */ };

static const char *string_encoding(const struct entry *entry) {
    int64_t number;
    struct slice value = entry_string(entry);
    if (entry->flags & ENTRY_RAW) return "raw";
    if (!(entry->flags & ENTRY_TEXT) && number_parse_i64(value, &number)) return "int";
    return value.len <= EMBEDDED_MAX_LEN ? "embstr" : "raw";
}

static const char *hash_encoding(const struct entry *entry) {
    return entry->flags & ENTRY_OBJECT ? "hashtable" : "listpack";
}

static const char *list_encoding(const struct entry *entry) {
    (void)entry;
    return "quicklist"; /* of any length, in Redis 7.0 */
}

static const char *set_encoding(const struct entry *entry) {
    struct set_view view = set_view_entry(entry);
    return set_is_numbers(&view) ? "intset" : "hashtable";
}

static const char *zset_encoding(const struct entry *entry) {
    return entry->flags & ENTRY_OBJECT ? "skiplist" : "listpack";
}

static const char *row_encoding(const struct entry *entry) {
    switch (entry_shown_kind(entry)) {
    case ENTRY_LIST: return list_encoding(entry);
    case ENTRY_HASH: return hash_encoding(entry);
    case ENTRY_ZSET: return zset_encoding(entry);
    default: return "raw";
    }
}

/* As Redis 7.0 calls what it would have in our place. */
static const char *(*const encodings[ENTRY_KINDS])(const struct entry *entry) = {
    [ENTRY_STRING] = string_encoding, [ENTRY_HASH] = hash_encoding, [ENTRY_LIST] = list_encoding,
    [ENTRY_SET] = set_encoding,       [ENTRY_ZSET] = zset_encoding, [ENTRY_ROW] = row_encoding,
};

static void cmd_object_encoding(struct command_context *ctx) {
    const struct entry *entry = find(ctx);
    if (entry) reply_text(ctx->reply, encodings[entry->kind](entry));
}

static void cmd_object_freq(struct command_context *ctx) {
    const struct entry *entry = find(ctx);
    if (entry) reply_integer(ctx->reply, evict_uses(entry));
}

/* Uses are counted, not timed (evict.h); worded as Redis words it under such a policy. */
static void cmd_object_idletime(struct command_context *ctx) {
    if (!find(ctx)) return;
    reply_error(ctx->reply,
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please "
                "note that when switching between policies at runtime LRU and LFU data "
                "will take some time to adjust.");
}

static void cmd_object_refcount(struct command_context *ctx) {
    if (find(ctx)) reply_integer(ctx->reply, 1);
}

static void answer_lines(struct command_context *ctx, const char *const *lines, size_t n) {
    reply_array(ctx->reply, n);
    for (size_t i = 0; i < n; i++)
        reply_simple(ctx->reply, lines[i]);
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
    answer_lines(ctx, lines, sizeof lines / sizeof lines[0]);
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

const struct command commands_object[] = {
    {"object", NULL, -2, 0, NO_KEYS, "2.2.3", GROUP_GENERIC,
     "A container for object introspection commands.", "Depends on subcommand.", object_subcommands},
    {0},
};
/* clang-format on */
