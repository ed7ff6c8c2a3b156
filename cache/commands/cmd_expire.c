/* Times of keys: EXPIRE and its kin, TTL and its kin, PERSIST. */
#include "cache/commands/cmd.h"

enum expire_option { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static bool parse_expire_options(struct command_context *ctx, uint32_t *options) {
    static const struct {
        const char *word;
        enum expire_option option;
    } words[] = {{"nx", EXPIRE_NX}, {"xx", EXPIRE_XX}, {"gt", EXPIRE_GT}, {"lt", EXPIRE_LT}};
    *options = 0;
    for (uint32_t i = 3; i < ctx->argc; i++) {
        uint32_t option = 0;
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
            if (slice_equal_nocase(ctx->argv[i], slice_from(words[w].word)))
                option = words[w].option;
        if (!option) {
            reply_error(ctx->reply, "ERR Unsupported option %.*s", (int)ctx->argv[i].len,
                        ctx->argv[i].data);
            return false;
        }
        *options |= option;
    }
    if (*options & EXPIRE_NX && *options & (EXPIRE_XX | EXPIRE_GT | EXPIRE_LT)) {
        reply_error(ctx->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (*options & EXPIRE_GT && *options & EXPIRE_LT) {
        reply_error(ctx->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* Negative times are in the past, and no error. */
static bool parse_when(struct command_context *ctx, int64_t unit_ms, int64_t base_ms,
                       int64_t *at_ms) {
    if (!cmd_integer(ctx, ctx->argv[2], at_ms)) return false;
    if (!__builtin_mul_overflow(*at_ms, unit_ms, at_ms) &&
        !__builtin_add_overflow(*at_ms, base_ms, at_ms))
        return true;
    cmd_answer_expiry(ctx);
    return false;
}

/* No TTL counts as an endless one. */
static bool is_allowed(const struct entry *entry, uint32_t options, int64_t at_ms) {
    int64_t now_at_ms = entry_expiry(entry);
    bool endless = now_at_ms == STORE_NEVER;
    if (options & EXPIRE_NX && !endless) return false;
    if (options & EXPIRE_XX && endless) return false;
    if (options & EXPIRE_GT && (endless || at_ms <= now_at_ms)) return false;
    if (options & EXPIRE_LT && !endless && at_ms >= now_at_ms) return false;
    /* how long a row may be kept is the configuration's to say: a client may only shorten it */
    return entry->kind != ENTRY_ROW || endless || at_ms < now_at_ms;
}

static void expire(struct command_context *ctx, int64_t unit_ms, int64_t base_ms) {
    uint32_t options;
    int64_t at_ms;
    if (!parse_expire_options(ctx, &options)) return;
    if (!parse_when(ctx, unit_ms, base_ms, &at_ms)) return;
    uint64_t hash;
    struct entry *entry = cmd_find(ctx, ctx->argv[1], &hash);
    if (!entry || entry_is_absent(entry) || !is_allowed(entry, options, at_ms)) {
        reply_integer(ctx->reply, 0);
        return;
    }
    bool passed = at_ms <= ctx->now_ms;
    if (passed)
        store_remove(ctx->store, ctx->guard, ctx->argv[1], hash, REMOVED_DELETED);
    else
        store_set_expiry(ctx->store, ctx->guard, entry, at_ms);
    cmd_notify(ctx, NOTIFY_GENERIC, passed ? "del" : "expire", ctx->argv[1]);
    reply_integer(ctx->reply, 1);
}

static void cmd_expire(struct command_context *ctx) { expire(ctx, 1000, ctx->now_ms); }
static void cmd_pexpire(struct command_context *ctx) { expire(ctx, 1, ctx->now_ms); }
static void cmd_expireat(struct command_context *ctx) { expire(ctx, 1000, 0); }
static void cmd_pexpireat(struct command_context *ctx) { expire(ctx, 1, 0); }

static void cmd_persist(struct command_context *ctx) {
    uint64_t hash;
    struct entry *entry = cmd_find(ctx, ctx->argv[1], &hash);
    bool lifted = entry && entry->kind != ENTRY_ROW && entry_expiry(entry) != STORE_NEVER;
    if (lifted) {
        store_set_expiry(ctx->store, ctx->guard, entry, STORE_NEVER);
        cmd_notify(ctx, NOTIFY_GENERIC, "persist", ctx->argv[1]);
    }
    reply_integer(ctx->reply, lifted);
}

static void answer_no_key(struct reply *reply) { reply_integer(reply, -2); }

/* What is left (or, with base_ms 0, when it ends), in units rounded to the nearest. */
static void answer_time(struct command_context *ctx, int64_t unit_ms, int64_t base_ms) {
    struct key_value value;
    if (!cmd_read(ctx, ctx->argv[1], FORM_ANY, &value, answer_no_key)) return;
    if (value.expire_at_ms == STORE_NEVER) {
        reply_integer(ctx->reply, -1);
        return;
    }
    int64_t time_ms = value.expire_at_ms - base_ms;
    if (time_ms < 0) time_ms = 0;
    int64_t half = unit_ms / 2;
    reply_integer(ctx->reply, time_ms / unit_ms + (time_ms % unit_ms + half) / unit_ms);
}

static void cmd_ttl(struct command_context *ctx) { answer_time(ctx, 1000, ctx->now_ms); }
static void cmd_pttl(struct command_context *ctx) { answer_time(ctx, 1, ctx->now_ms); }
static void cmd_expiretime(struct command_context *ctx) { answer_time(ctx, 1000, 0); }
static void cmd_pexpiretime(struct command_context *ctx) { answer_time(ctx, 1, 0); }

/* clang-format off */
const struct command commands_expire[] = {
    {"expire", cmd_expire, -3, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, 1, 1), "1.0.0", GROUP_GENERIC,
     "Sets the expiration time of a key in seconds; of a table's row in memory it may only be shortened.", "O(1)", NULL},
    {"expireat", cmd_expireat, -3, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, 1, 1), "1.2.0", GROUP_GENERIC,
     "Sets the expiration time of a key to a Unix timestamp.", "O(1)", NULL},
    {"expiretime", cmd_expiretime, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "7.0.0", GROUP_GENERIC,
     "Returns the expiration time of a key as a Unix timestamp.", "O(1)", NULL},
    {"persist", cmd_persist, 2, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, 1, 1), "2.2.0", GROUP_GENERIC,
     "Removes the expiration time of a key; never that of a table's row.", "O(1)", NULL},
    {"pexpire", cmd_pexpire, -3, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, 1, 1), "2.6.0", GROUP_GENERIC,
     "Sets the expiration time of a key in milliseconds.", "O(1)", NULL},
    {"pexpireat", cmd_pexpireat, -3, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, 1, 1), "2.6.0", GROUP_GENERIC,
     "Sets the expiration time of a key to a Unix milliseconds timestamp.", "O(1)", NULL},
    {"pexpiretime", cmd_pexpiretime, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "7.0.0", GROUP_GENERIC,
     "Returns the expiration time of a key as a Unix milliseconds timestamp.", "O(1)", NULL},
    {"pttl", cmd_pttl, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.6.0", GROUP_GENERIC,
     "Returns the expiration time in milliseconds of a key.", "O(1)", NULL},
    {"ttl", cmd_ttl, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_GENERIC,
     "Returns the expiration time in seconds of a key.", "O(1)", NULL},
    {0},
};
/* clang-format on */
