/* Hashes: what changes them. */
#include <math.h>

#include "cache/commands/cmd.h"
#include "cache/values/number.h"

/* Begins an edit of argv[1]. False after WRONGTYPE. */
static bool begin(struct command_context *ctx, struct hash_edit *edit) {
    uint64_t hash;
    struct entry *entry;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_HASH, &hash, &entry)) return false;
    hash_edit_begin(edit, entry, hash, cmd_hash_limits(ctx));
    return true;
}

/* Keeps the edit, and tells of it. False after an error reply: there is not enough memory. */
static bool end(struct command_context *ctx, struct hash_edit *edit, const char *event) {
    if (hash_edit_end(edit, ctx->store, ctx->guard, ctx->argv[1])) {
        cmd_notify(ctx, NOTIFY_HASH, event, ctx->argv[1]);
        return true;
    }
    cmd_answer_oom(ctx->reply);
    return false;
}

static bool set_pairs(struct command_context *ctx, int64_t *created) {
    struct hash_edit edit;
    *created = 0;
    if (ctx->argc % 2 != 0) {
        cmd_answer_arity(ctx);
        return false;
    }
    if (!begin(ctx, &edit)) return false;
    if (!cmd_arguments_fit(ctx, edit.entry)) {
        hash_edit_abandon(&edit);
        return false;
    }
    for (uint32_t i = 2; i < ctx->argc; i += 2)
        *created += hash_edit_set(&edit, ctx->argv[i], ctx->argv[i + 1]);
    return end(ctx, &edit, "hset");
}

static void cmd_hset(struct command_context *ctx) {
    int64_t created;
    if (set_pairs(ctx, &created)) reply_integer(ctx->reply, created);
}

static void cmd_hmset(struct command_context *ctx) {
    int64_t created;
    if (set_pairs(ctx, &created)) reply_ok(ctx->reply);
}

static void cmd_hsetnx(struct command_context *ctx) {
    struct hash_edit edit;
    struct slice value;
    if (!begin(ctx, &edit)) return;
    struct hash_view view = hash_edit_view(&edit);
    if (hash_find(&view, ctx->argv[2], &value)) {
        hash_edit_abandon(&edit);
        reply_integer(ctx->reply, 0);
        return;
    }
    if (!cmd_arguments_fit(ctx, edit.entry)) {
        hash_edit_abandon(&edit);
        return;
    }
    hash_edit_set(&edit, ctx->argv[2], ctx->argv[3]);
    if (end(ctx, &edit, "hset")) reply_integer(ctx->reply, 1);
}

static void cmd_hdel(struct command_context *ctx) {
    struct hash_edit edit;
    int64_t deleted = 0;
    if (!begin(ctx, &edit)) return;
    for (uint32_t i = 2; i < ctx->argc; i++)
        deleted += hash_edit_delete(&edit, ctx->argv[i]);
    if (deleted == 0) {
        hash_edit_abandon(&edit);
        reply_integer(ctx->reply, 0);
        return;
    }
    struct hash_view view = hash_edit_view(&edit);
    bool emptied = hash_count(&view) == 0;
    if (!end(ctx, &edit, "hdel")) return;
    if (emptied) cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[1]);
    reply_integer(ctx->reply, deleted);
}

static void cmd_hincrby(struct command_context *ctx) {
    struct hash_edit edit;
    struct slice field = ctx->argv[2];
    struct slice old;
    int64_t by;
    int64_t value = 0;
    if (!cmd_integer(ctx, ctx->argv[3], &by)) return;
    if (!begin(ctx, &edit)) return;
    struct hash_view view = hash_edit_view(&edit);
    const char *refusal = NULL;
    if (hash_find(&view, field, &old) && !number_parse_i64(old, &value))
        refusal = "ERR hash value is not an integer";
    else if (!number_add(value, by, &value))
        refusal = "ERR increment or decrement would overflow";
    if (refusal) {
        hash_edit_abandon(&edit);
        reply_error(ctx->reply, "%s", refusal);
        return;
    }
    char digits[NUMBER_I64_MAX_LEN + 1];
    hash_edit_set(&edit, field, slice_make(digits, number_format_i64(digits, value)));
    if (end(ctx, &edit, "hincrby")) reply_integer(ctx->reply, value);
}

static void cmd_hincrbyfloat(struct command_context *ctx) {
    struct hash_edit edit;
    struct slice field = ctx->argv[2];
    struct slice old;
    long double by;
    long double value = 0;
    if (!cmd_float(ctx, ctx->argv[3], &by)) return;
    if (isnan(by) || isinf(by)) {
        reply_error(ctx->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (!begin(ctx, &edit)) return;
    struct hash_view view = hash_edit_view(&edit);
    const char *refusal = NULL;
    if (hash_find(&view, field, &old) && !number_parse_long_double(old, &value))
        refusal = "ERR hash value is not a float";
    value += by;
    if (!refusal && (isnan(value) || isinf(value)))
        refusal = "ERR increment would produce NaN or Infinity";
    if (refusal) {
        hash_edit_abandon(&edit);
        reply_error(ctx->reply, "%s", refusal);
        return;
    }
    char digits[NUMBER_LONG_DOUBLE_MAX_LEN];
    struct slice text = slice_make(digits, number_format_long_double(digits, value));
    hash_edit_set(&edit, field, text);
    if (end(ctx, &edit, "hincrbyfloat")) reply_bulk(ctx->reply, text);
}

/* clang-format off */
enum { HASH_WRITE = CMD_WRITE | CMD_DENYOOM };

const struct command commands_hash_write[] = {
    {"hdel", cmd_hdel, -3, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.", "O(N) with the number of fields to remove", NULL},
    {"hincrby", cmd_hincrby, 4, HASH_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist.", "O(1)", NULL},
    {"hincrbyfloat", cmd_hincrbyfloat, 4, HASH_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.6.0", GROUP_HASH,
     "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.", "O(1)", NULL},
    {"hmset", cmd_hmset, -4, HASH_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Sets the values of multiple fields: the older name of HSET.", "O(N) with the number of fields to set", NULL},
    {"hset", cmd_hset, -4, HASH_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Creates or modifies the value of a field in a hash.", "O(N) with the number of fields to set", NULL},
    {"hsetnx", cmd_hsetnx, 4, HASH_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Sets the value of a field in a hash only when the field doesn't exist.", "O(1)", NULL},
    {0},
};
/* clang-format on */
