/* Strings that are numbers: INCR and its kin. */
#include <math.h>

#include "cache/commands/cmd.h"
#include "cache/values/number.h"

static void add(struct command_context *ctx, int64_t by) {
    uint64_t hash;
    struct entry *old;
    int64_t value = 0;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    if (old && !cmd_integer(ctx, entry_string(old), &value)) return;
    if (!number_add(value, by, &value)) {
        reply_error(ctx->reply, "ERR increment or decrement would overflow");
        return;
    }
    char digits[NUMBER_I64_MAX_LEN + 1];
    struct slice text = slice_make(digits, number_format_i64(digits, value));
    struct entry *entry =
        entry_create_string(ctx->argv[1], hash, text, old ? entry_expiry(old) : STORE_NEVER);
    if (!cmd_put(ctx, &entry)) return;
    cmd_notify(ctx, NOTIFY_STRING, "incrby", ctx->argv[1]);
    reply_integer(ctx->reply, value);
}

static void cmd_incr(struct command_context *ctx) { add(ctx, 1); }
static void cmd_decr(struct command_context *ctx) { add(ctx, -1); }

static void cmd_incrby(struct command_context *ctx) {
    int64_t by;
    if (cmd_integer(ctx, ctx->argv[2], &by)) add(ctx, by);
}

static void cmd_decrby(struct command_context *ctx) {
    int64_t by;
    if (!cmd_integer(ctx, ctx->argv[2], &by)) return;
    if (by == INT64_MIN)
        reply_error(ctx->reply, "ERR decrement would overflow");
    else
        add(ctx, -by);
}

static void cmd_incrbyfloat(struct command_context *ctx) {
    uint64_t hash;
    struct entry *old;
    long double value = 0;
    long double by;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    if (old && !cmd_float(ctx, entry_string(old), &value)) return;
    if (!cmd_float(ctx, ctx->argv[2], &by)) return;
    value += by;
    if (isnan(value) || isinf(value)) {
        reply_error(ctx->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char digits[NUMBER_LONG_DOUBLE_MAX_LEN];
    struct slice text = slice_make(digits, number_format_long_double(digits, value));
    struct entry *entry =
        entry_create_string(ctx->argv[1], hash, text, old ? entry_expiry(old) : STORE_NEVER);
    entry->flags |= ENTRY_TEXT;
    if (!cmd_put(ctx, &entry)) return;
    cmd_notify(ctx, NOTIFY_STRING, "incrbyfloat", ctx->argv[1]);
    reply_bulk(ctx->reply, text);
}

/* clang-format off */
const struct command commands_counter[] = {
    {"decr", cmd_decr, 2, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.", "O(1)", NULL},
    {"decrby", cmd_decrby, 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.", "O(1)", NULL},
    {"incr", cmd_incr, 2, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.", "O(1)", NULL},
    {"incrby", cmd_incrby, 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_STRING,
     "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.", "O(1)", NULL},
    {"incrbyfloat", cmd_incrbyfloat, 3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "2.6.0", GROUP_STRING,
     "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.", "O(1)", NULL},
    {0},
};
/* clang-format on */
