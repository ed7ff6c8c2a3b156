/* Keys of any kind: DEL, EXISTS, TYPE. Times are in cmd_expire.c, walks in cmd_scan.c, new names in
 * cmd_keyspace.c, what they take in cmd_object.c. */
#include "cache/commands/cmd.h"

/* A row's key is only evicted: its row stays in the database, and a negative entry was none to the client. */
static void cmd_del(struct command_context *ctx) {
    int64_t removed = 0;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        uint64_t hash;
        struct entry *entry = cmd_find(ctx, ctx->argv[i], &hash);
        if (!entry) continue;
        bool was_there = !entry_is_absent(entry);
        store_remove(ctx->store, ctx->guard, ctx->argv[i], hash, REMOVED_DELETED);
        if (!was_there) continue;
        removed++;
        cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[i]);
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
    reply_simple(ctx->reply, entry_kind_name(value.row ? value.kind : value.entry->kind));
}

/* clang-format off */
const struct command commands_generic[] = {
    {"del", cmd_del, -2, CMD_WRITE | CMD_ROW_WRITE, KEYS(1, -1, 1), "1.0.0", GROUP_GENERIC,
     "Deletes one or more keys. A table's row is only taken out of memory.", "O(N) with the number of keys", NULL},
    {"exists", cmd_exists, -2, CMD_READONLY | CMD_FAST, KEYS(1, -1, 1), "1.0.0", GROUP_GENERIC,
     "Determines whether one or more keys exist.", "O(N) with the number of keys", NULL},
    {"touch", cmd_exists, -2, CMD_READONLY | CMD_FAST, KEYS(1, -1, 1), "3.2.1", GROUP_GENERIC,
     "Returns the number of existing keys out of those specified after marking them as used.", "O(N) with the number of keys", NULL},
    {"type", cmd_type, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_GENERIC,
     "Determines the type of value stored at a key.", "O(1)", NULL},
    {"unlink", cmd_del, -2, CMD_WRITE | CMD_FAST | CMD_ROW_WRITE, KEYS(1, -1, 1), "4.0.0", GROUP_GENERIC,
     "Deletes one or more keys; memory is given back once nobody reads it, as with DEL.", "O(N) with the number of keys", NULL},
    {0},
};
/* clang-format on */
