/* Keys under other names: RENAME, RENAMENX, COPY. */
#include "cache/commands/cmd.h"

static bool is_there(struct command_context *ctx, struct slice key, uint64_t *hash) {
    return cmd_find(ctx, key, hash) != NULL;
}

/* 1: renamed; 0: `only_new`, and the new key is there; -1: an error was answered. */
static int rename_key(struct command_context *ctx, bool only_new) {
    struct slice from = ctx->argv[1];
    struct slice to = ctx->argv[2];
    uint64_t hash;
    uint64_t to_hash;
    struct entry *entry = cmd_find(ctx, from, &hash);
    if (!entry) {
        reply_error(ctx->reply, "ERR no such key");
        return -1;
    }
    if (slice_equal(from, to)) return !only_new;
    if (is_there(ctx, to, &to_hash) && only_new) return 0;
    if (!store_rename(ctx->store, ctx->guard, entry, to, to_hash)) {
        cmd_answer_oom(ctx->reply);
        return -1;
    }
    cmd_notify(ctx, NOTIFY_GENERIC, "rename_from", from);
    cmd_notify(ctx, NOTIFY_GENERIC, "rename_to", to);
    return 1;
}

static void cmd_rename(struct command_context *ctx) {
    if (rename_key(ctx, false) >= 0) reply_ok(ctx->reply);
}

static void cmd_renamenx(struct command_context *ctx) {
    int renamed = rename_key(ctx, true);
    if (renamed >= 0) reply_integer(ctx->reply, renamed);
}

/* There is one database: DB 0. False after an error reply. */
static bool parse_copy_options(struct command_context *ctx, bool *replace) {
    *replace = false;
    for (uint32_t i = 3; i < ctx->argc; i++) {
        if (slice_equal_nocase(ctx->argv[i], SLICE("replace"))) {
            *replace = true;
        } else if (slice_equal_nocase(ctx->argv[i], SLICE("db")) && i + 1 < ctx->argc) {
            if (!cmd_database(ctx, ctx->argv[++i])) return false;
        } else {
            reply_syntax_error(ctx->reply);
            return false;
        }
    }
    return true;
}

static void cmd_copy(struct command_context *ctx) {
    struct slice from = ctx->argv[1];
    struct slice to = ctx->argv[2];
    uint64_t hash;
    uint64_t to_hash;
    bool replace;
    if (!parse_copy_options(ctx, &replace)) return;
    if (slice_equal(from, to)) {
        reply_error(ctx->reply, "ERR source and destination objects are the same");
        return;
    }
    struct entry *entry = cmd_find(ctx, from, &hash);
    if (!entry) cmd_tell_miss(ctx, from);
    if (!entry || (is_there(ctx, to, &to_hash) && !replace)) {
        reply_integer(ctx->reply, 0);
        return;
    }
    if (!store_fits(ctx->store, entry_size(entry) + to.len)) { /* before a big one is copied */
        cmd_answer_oom(ctx->reply);
        return;
    }
    struct entry *copy =
        entry_create_renamed(entry, to, to_hash, entry_expiry(entry), entry_copy_object(entry));
    if (!cmd_put(ctx, &copy)) return;
    cmd_notify(ctx, NOTIFY_GENERIC, "copy_to", to);
    reply_integer(ctx->reply, 1);
}

/* clang-format off */
const struct command commands_keyspace[] = {
    {"copy", cmd_copy, -3, CMD_WRITE | CMD_DENYOOM, KEYS(1, 2, 1), "6.2.0", GROUP_GENERIC,
     "Copies the value of a key to a new key.", "O(N) with the size of the value", NULL},
    {"rename", cmd_rename, 3, CMD_WRITE, KEYS(1, 2, 1), "1.0.0", GROUP_GENERIC,
     "Renames a key and overwrites the destination.", "O(1)", NULL},
    {"renamenx", cmd_renamenx, 3, CMD_WRITE | CMD_FAST, KEYS(1, 2, 1), "1.0.0", GROUP_GENERIC,
     "Renames a key only when the target key name doesn't exist.", "O(1)", NULL},
    {0},
};
/* clang-format on */
