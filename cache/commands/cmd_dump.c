/* DUMP and RESTORE, in Redis 7.0's format (rdb.h). */
#include "cache/commands/cmd.h"
#include "cache/values/list.h"
#include "cache/values/rdb.h"
#include "cache/values/set.h"
#include "cache/values/zset.h"

/* A named query's hash, list or sorted set goes as a plain one would. */
static void write_value(struct command_context *ctx, const struct key_value *value,
                        struct buf *payload) {
    struct slice key = ctx->argv[1];
    if (!value->row && value->entry->kind == ENTRY_STRING) {
        rdb_write_string(payload, entry_string(value->entry));
    } else if (!value->row) {
        rdb_write_entry(payload, value->entry);
    } else if (value->kind == ENTRY_STRING) {
        rdb_write_string(payload, value->string);
    } else {
        struct entry *plain = entry_create_packed(value->kind, key, store_hash(ctx->store, key),
                                                  STORE_NEVER, value->fields);
        rdb_write_entry(payload, plain);
        entry_destroy(&plain);
    }
}

/* A row's value is its JSON. */
static void cmd_dump(struct command_context *ctx) {
    struct key_value value;
    struct buf payload = {0};
    enum read_outcome outcome = keyspace_read(ctx, ctx->argv[1], FORM_ANY, &value);
    if (outcome == READ_FOUND && value.row && value.kind == ENTRY_STRING)
        outcome = keyspace_read(ctx, ctx->argv[1], FORM_STRING, &value);
    switch (outcome) {
    case READ_FOUND: write_value(ctx, &value, &payload); break;
    case READ_WRONG_TYPE: reply_wrong_type(ctx->reply); return;
    case READ_ABSENT: reply_null(ctx->reply); return;
    case READ_PENDING: return;
    case READ_FAILED: reply_error(ctx->reply, "%s", value.failure); return;
    }
    reply_bulk(ctx->reply, buf_slice(&payload));
    buf_deinit(&payload);
}

/* --- building: one row a kind --- */

/* A new value for argv[1], as it grows. */
struct building {
    struct command_context *ctx;
    uint64_t hash;
    struct list *list;
    union {
        struct list_edit list_edit;
        struct set_edit set;
        struct hash_edit hashed;
        struct zset_edit zset;
    };
};

/* add: false where the element is there already, which no payload of Redis has. end: false where memory does not suffice. */
struct builder {
    void (*begin)(struct building *building);
    bool (*add)(const struct rdb_item *item, void *building);
    bool (*end)(struct building *building);
    void (*abandon)(struct building *building);
};

static struct slice key_of(const struct building *building) { return building->ctx->argv[1]; }

static void list_begin(struct building *building) {
    building->list = list_edit_begin(&building->list_edit, NULL, building->hash);
}

static bool list_add(const struct rdb_item *item, void *arg) {
    struct building *building = arg;
    list_push(building->list, LIST_TAIL, item->name);
    return true;
}

static bool list_end(struct building *building) {
    return list_edit_end(&building->list_edit, building->ctx->store, building->ctx->guard,
                         key_of(building));
}

static void list_abandon(struct building *building) { list_edit_abandon(&building->list_edit); }

static void set_begin(struct building *building) {
    set_edit_begin(&building->set, NULL, building->hash,
                   (size_t)cmd_setting(building->ctx, SETTING_SET_MAX_INTSET));
}

static bool set_add(const struct rdb_item *item, void *arg) {
    struct building *building = arg;
    return set_edit_add(&building->set, item->name);
}

static bool set_end(struct building *building) {
    return set_edit_end(&building->set, building->ctx->store, building->ctx->guard,
                        key_of(building));
}

static void set_abandon(struct building *building) { set_edit_abandon(&building->set); }

static void hash_begin(struct building *building) {
    hash_edit_begin(&building->hashed, NULL, building->hash, cmd_hash_limits(building->ctx));
}

static bool hash_add(const struct rdb_item *item, void *arg) {
    struct building *building = arg;
    return hash_edit_set(&building->hashed, item->name, item->value);
}

static bool hash_end(struct building *building) {
    return hash_edit_end(&building->hashed, building->ctx->store, building->ctx->guard,
                         key_of(building));
}

static void hash_abandon(struct building *building) { hash_edit_abandon(&building->hashed); }

static void zset_begin(struct building *building) {
    struct zset_limits limits = {(uint64_t)cmd_setting(building->ctx, SETTING_ZSET_MAX_ENTRIES),
                                 (uint64_t)cmd_setting(building->ctx, SETTING_ZSET_MAX_VALUE)};
    zset_edit_begin(&building->zset, NULL, building->hash, &limits);
}

static bool zset_add(const struct rdb_item *item, void *arg) {
    struct building *building = arg;
    return zset_edit_set(&building->zset, item->name, item->score) == ZSET_ADDED;
}

static bool zset_end(struct building *building) {
    return zset_edit_end(&building->zset, building->ctx->store, building->ctx->guard,
                         key_of(building));
}

static void zset_abandon(struct building *building) { zset_edit_abandon(&building->zset); }

static const struct builder builders[ENTRY_KINDS] = {
    [ENTRY_LIST] = {list_begin, list_add, list_end, list_abandon},
    [ENTRY_SET] = {set_begin, set_add, set_end, set_abandon},
    [ENTRY_HASH] = {hash_begin, hash_add, hash_end, hash_abandon},
    [ENTRY_ZSET] = {zset_begin, zset_add, zset_end, zset_abandon},
};

static bool keep_string(const struct rdb_item *item, void *string) {
    buf_append_slice(string, item->name);
    return true;
}

static bool build_string(struct command_context *ctx, uint64_t hash, struct slice body) {
    struct buf string = {0};
    bool sound = rdb_each(body, keep_string, &string);
    if (sound) {
        struct entry *entry =
            entry_create_string(ctx->argv[1], hash, buf_slice(&string), STORE_NEVER);
        sound = cmd_put(ctx, &entry);
    } else {
        reply_error(ctx->reply, "ERR Bad data format");
    }
    buf_deinit(&string);
    return sound;
}

/* Puts the value in the place of what was there. False after an error reply. */
static bool build(struct command_context *ctx, uint64_t hash, struct slice body) {
    enum entry_kind kind;
    struct building building = {.ctx = ctx, .hash = hash};
    if (!rdb_kind(body, &kind)) {
        reply_error(ctx->reply, "ERR Bad data format");
        return false;
    }
    if (kind == ENTRY_STRING) return build_string(ctx, hash, body);
    const struct builder *builder = &builders[kind];
    builder->begin(&building);
    if (!rdb_each(body, builder->add, &building)) {
        builder->abandon(&building);
        reply_error(ctx->reply, "ERR Bad data format");
        return false;
    }
    if (builder->end(&building)) return true;
    cmd_answer_oom(ctx->reply);
    return false;
}

/* --- RESTORE --- */

struct restore_options {
    bool replace, absolute;
    bool idle, freq; /* given: read, and not kept, since uses are counted anew */
};

static bool parse_word(struct command_context *ctx, uint32_t *at, struct restore_options *options) {
    struct slice word = ctx->argv[*at];
    bool more = *at + 1 < ctx->argc;
    int64_t value;
    if (slice_equal_nocase(word, SLICE("replace"))) {
        options->replace = true;
    } else if (slice_equal_nocase(word, SLICE("absttl"))) {
        options->absolute = true;
    } else if (more && !options->freq && slice_equal_nocase(word, SLICE("idletime"))) {
        options->idle = true;
        if (!cmd_integer(ctx, ctx->argv[++*at], &value)) return false;
        if (value >= 0) return true;
        reply_error(ctx->reply, "ERR Invalid IDLETIME value, must be >= 0");
        return false;
    } else if (more && !options->idle && slice_equal_nocase(word, SLICE("freq"))) {
        options->freq = true;
        if (!cmd_integer(ctx, ctx->argv[++*at], &value)) return false;
        if (value >= 0 && value <= 255) return true;
        reply_error(ctx->reply, "ERR Invalid FREQ value, must be >= 0 and <= 255");
        return false;
    } else {
        reply_syntax_error(ctx->reply);
        return false;
    }
    return true;
}

static bool parse_options(struct command_context *ctx, struct restore_options *options) {
    *options = (struct restore_options){0};
    for (uint32_t at = 4; at < ctx->argc; at++)
        if (!parse_word(ctx, &at, options)) return false;
    return true;
}

static bool parse_ttl(struct command_context *ctx, bool absolute, int64_t *expire_at_ms) {
    if (!cmd_integer(ctx, ctx->argv[2], expire_at_ms)) return false;
    bool fits = *expire_at_ms >= 0;
    if (fits && *expire_at_ms > 0 && !absolute)
        fits = !__builtin_add_overflow(*expire_at_ms, ctx->now_ms, expire_at_ms);
    if (!fits) reply_error(ctx->reply, "ERR Invalid TTL value, must be >= 0");
    return fits;
}

/* False: its time was over already, and so the key is gone. */
static bool settle_expiry(struct command_context *ctx, uint64_t hash, int64_t expire_at_ms) {
    struct slice key = ctx->argv[1];
    if (expire_at_ms == 0) return true;
    if (expire_at_ms <= ctx->now_ms) {
        store_remove(ctx->store, ctx->guard, key, hash, REMOVED_DELETED);
        return false;
    }
    struct entry *entry = store_find(ctx->store, ctx->guard, key, hash, ctx->now_ms);
    if (entry) store_set_expiry(ctx->store, ctx->guard, entry, expire_at_ms);
    return true;
}

static void cmd_restore(struct command_context *ctx) {
    struct restore_options options;
    int64_t expire_at_ms;
    uint64_t hash;
    struct slice body;
    if (!parse_options(ctx, &options)) return;
    bool was_there = cmd_find(ctx, ctx->argv[1], &hash) != NULL;
    if (was_there && !options.replace) {
        reply_error(ctx->reply, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!parse_ttl(ctx, options.absolute, &expire_at_ms)) return;
    if (!rdb_verify(ctx->argv[3], &body)) {
        reply_error(ctx->reply, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    if (!build(ctx, hash, body)) return;
    bool kept = settle_expiry(ctx, hash, expire_at_ms);
    if (kept || was_there) cmd_notify(ctx, NOTIFY_GENERIC, kept ? "restore" : "del", ctx->argv[1]);
    reply_ok(ctx->reply);
}

/* clang-format off */
const struct command commands_dump[] = {
    {"dump", cmd_dump, 2, CMD_READONLY | CMD_LOCKS_KEYS, KEYS(1, 1, 1), "2.6.0", GROUP_GENERIC,
     "Returns a serialized representation of the value stored at a key, in Redis 7.0's format.", "O(N) with the size of the value", NULL},
    {"restore", cmd_restore, -4, CMD_WRITE | CMD_DENYOOM | CMD_DANGEROUS, KEYS(1, 1, 1), "2.6.0", GROUP_GENERIC,
     "Creates a key from the serialized representation of a value.", "O(N) with the size of the value", NULL},
    {0},
};
/* clang-format on */
