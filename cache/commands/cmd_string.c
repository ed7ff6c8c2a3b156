/* Strings: GET and SET in all their forms, and ranges. Counting is in cmd_counter.c. */
#include "base/assert.h"
#include "cache/commands/cmd.h"
#include "cache/values/number.h"

/* --- reading --- */

static void cmd_get(struct command_context *ctx) {
    struct key_value value;
    if (!cmd_read(ctx, ctx->argv[1], FORM_STRING, &value, reply_null)) return;
    if (value.entry && !ctx->in_exec)
        reply_bulk_stored(ctx->reply, value.string);
    else
        reply_bulk(ctx->reply, value.string);
}

static void cmd_mget(struct command_context *ctx) {
    size_t mark = ctx->reply->out->len;
    struct key_value value;
    reply_array(ctx->reply, ctx->argc - 1);
    for (uint32_t i = 1; i < ctx->argc; i++) {
        switch (keyspace_read(ctx, ctx->argv[i], FORM_STRING, &value)) {
        case READ_FOUND:
            if (ctx->n_pending) break; /* it is composed when all are there */
            reply_bulk(ctx->reply, value.string);
            if (!cmd_within_bounds(ctx->reply, mark)) return;
            break;
        case READ_ABSENT:
        case READ_WRONG_TYPE: reply_null(ctx->reply); break;
        case READ_PENDING: break;
        case READ_FAILED: cmd_fail(ctx, mark, &value); return;
        }
    }
    (void)cmd_is_pending(ctx, mark);
}

static void cmd_strlen(struct command_context *ctx) {
    struct key_value value;
    if (cmd_read(ctx, ctx->argv[1], FORM_STRING, &value, cmd_answer_zero))
        reply_integer(ctx->reply, (int64_t)value.string.len);
}

static void answer_empty_string(struct reply *reply) { reply_bulk(reply, SLICE("")); }

/* The part from `start` to `end`, both included, negative ones counted from the end. */
static struct slice range_of(struct slice string, int64_t start, int64_t end) {
    int64_t len = (int64_t)string.len;
    if (start < 0 && end < 0 && start > end) return SLICE("");
    if (start < 0) start += len;
    if (end < 0) end += len;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= len) end = len - 1;
    if (start > end || len == 0) return SLICE("");
    return slice_make(string.data + start, (size_t)(end - start + 1));
}

static void cmd_getrange(struct command_context *ctx) {
    int64_t start;
    int64_t end;
    struct key_value value;
    if (!cmd_integer(ctx, ctx->argv[2], &start) || !cmd_integer(ctx, ctx->argv[3], &end)) return;
    if (cmd_read(ctx, ctx->argv[1], FORM_STRING, &value, answer_empty_string))
        reply_bulk(ctx->reply, range_of(value.string, start, end));
}

/* --- options of SET and GETEX --- */

enum set_option {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_GET = 1 << 2,
    SET_KEEPTTL = 1 << 3,
    SET_PERSIST = 1 << 4,
    SET_EX = 1 << 5,
    SET_PX = 1 << 6,
    SET_EXAT = 1 << 7,
    SET_PXAT = 1 << 8,
    SET_ANY_EXPIRY = SET_EX | SET_PX | SET_EXAT | SET_PXAT,
};

struct set_word {
    const char *word;
    uint32_t option;
    uint32_t excludes; /* may not stand beside these */
    bool has_value;
    bool of_set, of_getex;
};

static const struct set_word set_words[] = {
    {"nx", SET_NX, SET_XX, false, true, false},
    {"xx", SET_XX, SET_NX, false, true, false},
    {"get", SET_GET, 0, false, true, false},
    {"keepttl", SET_KEEPTTL, SET_PERSIST | SET_ANY_EXPIRY, false, true, false},
    {"persist", SET_PERSIST, SET_KEEPTTL | SET_ANY_EXPIRY, false, false, true},
    {"ex", SET_EX, SET_KEEPTTL | SET_PERSIST | (SET_ANY_EXPIRY & ~SET_EX), true, true, true},
    {"px", SET_PX, SET_KEEPTTL | SET_PERSIST | (SET_ANY_EXPIRY & ~SET_PX), true, true, true},
    {"exat", SET_EXAT, SET_KEEPTTL | SET_PERSIST | (SET_ANY_EXPIRY & ~SET_EXAT), true, true, true},
    {"pxat", SET_PXAT, SET_KEEPTTL | SET_PERSIST | (SET_ANY_EXPIRY & ~SET_PXAT), true, true, true},
};

struct set_options {
    uint32_t given;
    struct slice expiry; /* with one of SET_ANY_EXPIRY */
};

static const struct set_word *set_word_find(struct slice text, bool getex) {
    for (size_t i = 0; i < sizeof set_words / sizeof set_words[0]; i++) {
        const struct set_word *word = &set_words[i];
        if (!(getex ? word->of_getex : word->of_set)) continue;
        if (slice_equal_nocase(text, slice_from(word->word))) return word;
    }
    return NULL;
}

static bool parse_set_options(struct command_context *ctx, uint32_t from, bool getex,
                              struct set_options *options) {
    *options = (struct set_options){0};
    for (uint32_t i = from; i < ctx->argc; i++) {
        const struct set_word *word = set_word_find(ctx->argv[i], getex);
        bool lacks_value = word && word->has_value && i + 1 >= ctx->argc;
        if (!word || lacks_value || options->given & word->excludes) {
            reply_syntax_error(ctx->reply);
            return false;
        }
        options->given |= word->option;
        if (word->has_value) options->expiry = ctx->argv[++i];
    }
    return true;
}

/* STORE_NEVER where no expiry was given. False after an error reply. */
static bool options_expiry(struct command_context *ctx, const struct set_options *options,
                           int64_t *at_ms) {
    *at_ms = STORE_NEVER;
    if (!(options->given & SET_ANY_EXPIRY)) return true;
    int64_t unit_ms = options->given & (SET_EX | SET_EXAT) ? 1000 : 1;
    int64_t base_ms = options->given & (SET_EX | SET_PX) ? ctx->now_ms : 0;
    return cmd_expiry(ctx, options->expiry, unit_ms, base_ms, at_ms);
}

/* --- writing --- */

static bool put_string(struct command_context *ctx, struct slice key, uint64_t hash,
                       struct slice value, int64_t expire_at_ms) {
    struct entry *entry = entry_create_string(key, hash, value, expire_at_ms);
    if (!cmd_put(ctx, &entry)) return false;
    cmd_notify(ctx, NOTIFY_STRING, "set", key);
    return true;
}

static void cmd_set(struct command_context *ctx) {
    struct slice key = ctx->argv[1];
    struct set_options options;
    int64_t expire_at_ms;
    if (!parse_set_options(ctx, 3, false, &options)) return;
    if (!options_expiry(ctx, &options, &expire_at_ms)) return;

    uint64_t hash;
    struct entry *old = cmd_find(ctx, key, &hash);
    bool get = options.given & SET_GET;
    if (get && !old) cmd_tell_miss(ctx, key);
    if (get && old && old->kind != ENTRY_STRING) {
        reply_wrong_type(ctx->reply);
        return;
    }
    size_t mark = ctx->reply->out->len;
    if (get && old) reply_bulk(ctx->reply, entry_string(old));
    if (get && !old) reply_null(ctx->reply);
    if ((options.given & SET_NX && old) || (options.given & SET_XX && !old)) {
        if (!get) reply_null(ctx->reply);
        return;
    }
    if (options.given & SET_KEEPTTL && old) expire_at_ms = entry_expiry(old);
    struct entry *entry = entry_create_string(key, hash, ctx->argv[2], expire_at_ms);
    if (!store_put(ctx->store, ctx->guard, &entry)) {
        ctx->reply->out->len = mark;
        cmd_answer_oom(ctx->reply);
        return;
    }
    if (!get) reply_ok(ctx->reply);
    cmd_notify(ctx, NOTIFY_STRING, "set", key);
    if (options.given & SET_ANY_EXPIRY) cmd_notify(ctx, NOTIFY_GENERIC, "expire", key);
}

static void cmd_setnx(struct command_context *ctx) {
    uint64_t hash;
    if (cmd_find(ctx, ctx->argv[1], &hash))
        reply_integer(ctx->reply, 0);
    else if (put_string(ctx, ctx->argv[1], hash, ctx->argv[2], STORE_NEVER))
        reply_integer(ctx->reply, 1);
}

static void set_for(struct command_context *ctx, int64_t unit_ms) {
    int64_t expire_at_ms;
    if (!cmd_expiry(ctx, ctx->argv[2], unit_ms, ctx->now_ms, &expire_at_ms)) return;
    uint64_t hash = store_hash(ctx->store, ctx->argv[1]);
    if (!put_string(ctx, ctx->argv[1], hash, ctx->argv[3], expire_at_ms)) return;
    cmd_notify(ctx, NOTIFY_GENERIC, "expire", ctx->argv[1]);
    reply_ok(ctx->reply);
}

static void cmd_setex(struct command_context *ctx) { set_for(ctx, 1000); }
static void cmd_psetex(struct command_context *ctx) { set_for(ctx, 1); }

static void cmd_getset(struct command_context *ctx) {
    uint64_t hash;
    struct entry *old;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    size_t mark = ctx->reply->out->len;
    if (!old) cmd_tell_miss(ctx, ctx->argv[1]);
    if (old)
        reply_bulk(ctx->reply, entry_string(old));
    else
        reply_null(ctx->reply);
    struct entry *entry = entry_create_string(ctx->argv[1], hash, ctx->argv[2], STORE_NEVER);
    if (store_put(ctx->store, ctx->guard, &entry)) {
        cmd_notify(ctx, NOTIFY_STRING, "set", ctx->argv[1]);
        return;
    }
    ctx->reply->out->len = mark;
    cmd_answer_oom(ctx->reply);
}

static void cmd_getdel(struct command_context *ctx) {
    uint64_t hash;
    struct entry *old;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    if (!old) {
        cmd_tell_miss(ctx, ctx->argv[1]);
        reply_null(ctx->reply);
        return;
    }
    reply_bulk(ctx->reply, entry_string(old));
    store_remove(ctx->store, ctx->guard, ctx->argv[1], hash, REMOVED_DELETED);
    cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[1]);
}

static void cmd_getex(struct command_context *ctx) {
    struct set_options options;
    if (!parse_set_options(ctx, 2, true, &options)) return;
    uint64_t hash;
    struct entry *entry;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &entry)) return;
    if (!entry) {
        cmd_tell_miss(ctx, ctx->argv[1]);
        reply_null(ctx->reply);
        return;
    }
    int64_t expire_at_ms;
    if (!options_expiry(ctx, &options, &expire_at_ms)) return;
    reply_bulk(ctx->reply, entry_string(entry));
    if (expire_at_ms != STORE_NEVER && expire_at_ms <= ctx->now_ms) {
        store_remove(ctx->store, ctx->guard, ctx->argv[1], hash, REMOVED_DELETED);
        cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[1]);
    } else if (expire_at_ms != STORE_NEVER) {
        store_set_expiry(ctx->store, ctx->guard, entry, expire_at_ms);
        cmd_notify(ctx, NOTIFY_GENERIC, "expire", ctx->argv[1]);
    } else if (options.given & SET_PERSIST && entry_expiry(entry) != STORE_NEVER) {
        store_set_expiry(ctx->store, ctx->guard, entry, STORE_NEVER);
        cmd_notify(ctx, NOTIFY_GENERIC, "persist", ctx->argv[1]);
    }
}

/* The pairs are there. False where memory does not suffice for one of them; those before it stay, as in a series of SETs. */
static bool put_pairs(struct command_context *ctx) {
    for (uint32_t i = 1; i < ctx->argc; i += 2) {
        uint64_t hash = store_hash(ctx->store, ctx->argv[i]);
        if (!put_string(ctx, ctx->argv[i], hash, ctx->argv[i + 1], STORE_NEVER)) return false;
    }
    return true;
}

static void cmd_mset(struct command_context *ctx) {
    if (ctx->argc % 2 == 0)
        cmd_answer_arity(ctx);
    else if (put_pairs(ctx))
        reply_ok(ctx->reply);
}

static void cmd_msetnx(struct command_context *ctx) {
    if (ctx->argc % 2 == 0) {
        cmd_answer_arity(ctx);
        return;
    }
    uint64_t hash;
    for (uint32_t i = 1; i < ctx->argc; i += 2) {
        if (!cmd_find(ctx, ctx->argv[i], &hash)) continue;
        reply_integer(ctx->reply, 0);
        return;
    }
    if (put_pairs(ctx)) reply_integer(ctx->reply, 1);
}

/* --- parts of a value: a new entry each, since a stored value never changes (entry.h) --- */

static bool length_fits(struct command_context *ctx, uint64_t offset, size_t more) {
    if (offset <= STRING_MAX_BYTES && more <= STRING_MAX_BYTES - offset) return true;
    reply_error(ctx->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

struct entry *cmd_string_grown(struct command_context *ctx, uint64_t hash, const struct entry *old,
                               size_t least, char **value) {
    struct slice before = old ? entry_string(old) : SLICE("");
    int64_t expire_at_ms = old ? entry_expiry(old) : STORE_NEVER;
    size_t len = least > before.len ? least : before.len;
    if (!store_fits(ctx->store, len)) { /* before memory is taken for it */
        cmd_answer_oom(ctx->reply);
        return NULL;
    }
    struct entry *entry = entry_create_string_sized(ctx->argv[1], hash, len, expire_at_ms, value);
    if (before.len) memcpy(*value, before.data, before.len);
    memset(*value + before.len, 0, len - before.len);
    return entry;
}

/* The old value with `part` laid over it at `offset`. Answers the new length. `flags` of the new entry are for
 * OBJECT ENCODING. */
static void overlay(struct command_context *ctx, uint64_t hash, const struct entry *old,
                    size_t offset, struct slice part, uint8_t flags, const char *event) {
    char *value;
    struct entry *entry = cmd_string_grown(ctx, hash, old, offset + part.len, &value);
    if (!entry) return;
    if (part.len) memcpy(value + offset, part.data, part.len);
    entry->flags |= flags;
    size_t len = entry->value_len;
    if (!cmd_put(ctx, &entry)) return;
    cmd_notify(ctx, NOTIFY_STRING, event, ctx->argv[1]);
    reply_integer(ctx->reply, (int64_t)len);
}

static void cmd_append(struct command_context *ctx) {
    uint64_t hash;
    struct entry *old;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    size_t offset = old ? old->value_len : 0;
    if (length_fits(ctx, offset, ctx->argv[2].len))
        overlay(ctx, hash, old, offset, ctx->argv[2], old ? ENTRY_RAW : 0, "append");
}

static void cmd_setrange(struct command_context *ctx) {
    int64_t offset;
    struct slice part = ctx->argv[3];
    if (!cmd_integer(ctx, ctx->argv[2], &offset)) return;
    if (offset < 0) {
        reply_error(ctx->reply, "ERR offset is out of range");
        return;
    }
    uint64_t hash;
    struct entry *old;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    if (part.len == 0)
        reply_integer(ctx->reply, old ? old->value_len : 0);
    else if (length_fits(ctx, (uint64_t)offset, part.len))
        overlay(ctx, hash, old, (size_t)offset, part, ENTRY_RAW, "setrange");
}

/* clang-format off */
const struct command commands_string[] = {
    {"append", cmd_append, 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_STRING,
     "Appends a string to the value of a key. Creates the key if it doesn't exist.", "O(N) with the length of the value", NULL},
    {"get", cmd_get, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Returns the string value of a key, or a table's row as JSON.", "O(1)", NULL},
    {"getdel", cmd_getdel, 2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "6.2.0", GROUP_STRING,
     "Returns the string value of a key after deleting the key.", "O(1)", NULL},
    {"getex", cmd_getex, -2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "6.2.0", GROUP_STRING,
     "Returns the string value of a key after setting its expiration time.", "O(1)", NULL},
    {"getrange", cmd_getrange, 4, CMD_READONLY, KEYS(1, 1, 1), "2.4.0", GROUP_STRING,
     "Returns a substring of the string stored at a key.", "O(N) with the length of the substring", NULL},
    {"getset", cmd_getset, 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Returns the previous string value of a key after setting it to a new value.", "O(1)", NULL},
    {"mget", cmd_mget, -2, CMD_READONLY | CMD_FAST, KEYS(1, -1, 1), "1.0.0", GROUP_STRING,
     "Atomically returns the string values of one or more keys; rows that are not in memory are fetched together.", "O(N) with the number of keys", NULL},
    {"mset", cmd_mset, -3, CMD_WRITE | CMD_DENYOOM, KEYS(1, -1, 2), "1.0.1", GROUP_STRING,
     "Atomically creates or modifies the string values of one or more keys.", "O(N) with the number of keys", NULL},
    {"msetnx", cmd_msetnx, -3, CMD_WRITE | CMD_DENYOOM, KEYS(1, -1, 2), "1.0.1", GROUP_STRING,
     "Atomically modifies the string values of one or more keys only when all keys don't exist.", "O(N) with the number of keys", NULL},
    {"psetex", cmd_psetex, 4, CMD_WRITE | CMD_DENYOOM, KEYS(1, 1, 1), "2.6.0", GROUP_STRING,
     "Sets both string value and expiration time in milliseconds of a key.", "O(1)", NULL},
    {"set", cmd_set, -3, CMD_WRITE | CMD_DENYOOM, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.", "O(1)", NULL},
    {"setex", cmd_setex, 4, CMD_WRITE | CMD_DENYOOM, KEYS(1, 1, 1), "2.0.0", GROUP_STRING,
     "Sets the string value and expiration time of a key.", "O(1)", NULL},
    {"setnx", cmd_setnx, 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Sets the string value of a key only when the key doesn't exist.", "O(1)", NULL},
    {"setrange", cmd_setrange, 4, CMD_WRITE | CMD_DENYOOM, KEYS(1, 1, 1), "2.2.0", GROUP_STRING,
     "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.", "O(N) with the length of the value", NULL},
    {"strlen", cmd_strlen, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.2.0", GROUP_STRING,
     "Returns the length of a string value.", "O(1)", NULL},
    {"substr", cmd_getrange, 4, CMD_READONLY, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Returns a substring from a string value: the older name of GETRANGE.", "O(N) with the length of the substring", NULL},
    {0},
};
/* clang-format on */
