/* Sets: what changes them. */
#include "cache/commands/cmd.h"
#include "cache/signals/notify.h"
#include "cache/values/set.h"

/* Begins an edit of argv[i]. False after WRONGTYPE. */
static bool begin(struct command_context *ctx, uint32_t i, struct set_edit *edit) {
    uint64_t hash;
    struct entry *entry;
    if (!cmd_find_kind(ctx, ctx->argv[i], ENTRY_SET, &hash, &entry)) return false;
    set_edit_begin(edit, entry, hash, (size_t)cmd_setting(ctx, SETTING_SET_MAX_INTSET));
    return true;
}

/* False after an error reply: there is not enough memory. */
static bool end(struct command_context *ctx, uint32_t i, struct set_edit *edit) {
    if (set_edit_end(edit, ctx->store, ctx->guard, ctx->argv[i])) return true;
    cmd_answer_oom(ctx->reply);
    return false;
}

/* Ends an edit that took members away; tells of them as `event`, and where the key went with them, of that. */
static bool end_removal(struct command_context *ctx, uint32_t i, struct set_edit *edit,
                        const char *event) {
    struct set_view view = set_edit_view(edit);
    bool changed = edit->changed;
    bool gone = changed && set_count(&view) == 0;
    if (!end(ctx, i, edit)) return false;
    if (changed) cmd_notify(ctx, NOTIFY_SET, event, ctx->argv[i]);
    if (gone) cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[i]);
    return true;
}

static void cmd_sadd(struct command_context *ctx) {
    struct set_edit edit;
    int64_t added = 0;
    if (!begin(ctx, 1, &edit)) return;
    if (!cmd_arguments_fit(ctx, edit.entry)) {
        set_edit_abandon(&edit);
        return;
    }
    for (uint32_t i = 2; i < ctx->argc; i++)
        added += set_edit_add(&edit, ctx->argv[i]);
    if (!end(ctx, 1, &edit)) return;
    if (added) cmd_notify(ctx, NOTIFY_SET, "sadd", ctx->argv[1]);
    reply_integer(ctx->reply, added);
}

static void cmd_srem(struct command_context *ctx) {
    struct set_edit edit;
    int64_t removed = 0;
    if (!begin(ctx, 1, &edit)) return;
    for (uint32_t i = 2; i < ctx->argc; i++)
        removed += set_edit_remove(&edit, ctx->argv[i]);
    if (end_removal(ctx, 1, &edit, "srem")) reply_integer(ctx->reply, removed);
}

/* --- SMOVE --- */

/* The member is in the source. The destination goes first: where memory does not suffice for it, nothing has moved. */
static void move(struct command_context *ctx, struct slice member) {
    struct set_edit edit;
    if (!begin(ctx, 2, &edit)) return;
    bool added = set_edit_add(&edit, member);
    if (!end(ctx, 2, &edit)) return;
    /* a put may have evicted the source: then it is empty, and nothing is removed */
    if (!begin(ctx, 1, &edit)) return;
    set_edit_remove(&edit, member);
    if (!end_removal(ctx, 1, &edit, "srem")) return;
    if (added) cmd_notify(ctx, NOTIFY_SET, "sadd", ctx->argv[2]);
    reply_integer(ctx->reply, 1);
}

static void cmd_smove(struct command_context *ctx) {
    struct slice member = ctx->argv[3];
    uint64_t hash;
    struct entry *to;
    struct entry *from = cmd_find(ctx, ctx->argv[1], &hash);
    if (!from) {
        reply_integer(ctx->reply, 0);
        return;
    }
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_SET, &hash, &from)) return;
    if (!cmd_find_kind(ctx, ctx->argv[2], ENTRY_SET, &hash, &to)) return;
    struct set_view view = set_view_entry(from);
    bool there = set_has(&view, member);
    if (!there || from == to)
        reply_integer(ctx->reply, there);
    else
        move(ctx, member);
}

/* --- SPOP --- */

/* Takes one out, and composes it to `out`. */
static void pop(struct set_edit *edit, uint64_t *state, struct reply *out) {
    struct buf member = {0}; /* a copy: what is removed is freed */
    char digits[NUMBER_I64_MAX_LEN + 1];
    struct set_view view = set_edit_view(edit);
    buf_append_slice(&member, set_random(&view, cmd_random(state), digits));
    reply_bulk(out, buf_slice(&member));
    set_edit_remove(edit, buf_slice(&member));
    buf_deinit(&member);
}

/* Composed apart, since the edit may yet fail; `header` (which may be NULL) goes before it. */
static void pop_some(struct command_context *ctx, struct set_edit *edit, size_t n,
                     void (*header)(struct reply *reply, size_t n)) {
    struct buf composed = {0};
    struct reply out = {.out = &composed, .protocol = ctx->reply->protocol};
    uint64_t state = cmd_random_seed();
    if (header) header(&out, n);
    while (n-- > 0)
        pop(edit, &state, &out);
    if (end_removal(ctx, 1, edit, "spop")) buf_append_slice(ctx->reply->out, buf_slice(&composed));
    buf_deinit(&composed);
}

static void pop_one(struct command_context *ctx) {
    struct set_edit edit;
    if (!begin(ctx, 1, &edit)) return;
    if (edit.entry) {
        pop_some(ctx, &edit, 1, NULL);
        return;
    }
    set_edit_abandon(&edit);
    reply_null(ctx->reply);
}

/* All of it: the key goes, and nothing is taken apart. */
static void pop_all(struct command_context *ctx, const struct set_edit *edit) {
    struct set_view view = set_view_entry(edit->entry);
    struct set_walk walk = set_walk(&view);
    struct slice member;
    reply_set(ctx->reply, set_count(&view));
    while (set_next(&walk, &member))
        reply_bulk(ctx->reply, member);
    store_remove(ctx->store, ctx->guard, ctx->argv[1], edit->hash, REMOVED_DELETED);
    cmd_notify(ctx, NOTIFY_SET, "spop", ctx->argv[1]);
    cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[1]);
}

static void pop_count(struct command_context *ctx) {
    int64_t count;
    struct set_edit edit;
    if (!cmd_integer_from(ctx, ctx->argv[2], 0, "ERR value is out of range, must be positive",
                          &count))
        return;
    if (!begin(ctx, 1, &edit)) return;
    struct set_view view = set_edit_view(&edit);
    if (count > 0 && (uint64_t)count < set_count(&view)) {
        pop_some(ctx, &edit, (size_t)count, reply_set);
        return;
    }
    if (count == 0 || !edit.entry)
        reply_set(ctx->reply, 0);
    else
        pop_all(ctx, &edit);
    set_edit_abandon(&edit);
}

static void cmd_spop(struct command_context *ctx) {
    if (ctx->argc > 3)
        reply_syntax_error(ctx->reply);
    else if (ctx->argc == 3)
        pop_count(ctx);
    else
        pop_one(ctx);
}

/* clang-format off */
const struct command commands_set_write[] = {
    {"sadd", cmd_sadd, -3, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Adds one or more members to a set. Creates the key if it doesn't exist.", "O(N) with the number of members added", NULL},
    {"smove", cmd_smove, 4, CMD_WRITE | CMD_FAST, KEYS(1, 2, 1), "1.0.0", GROUP_SET,
     "Moves a member from one set to another.", "O(1)", NULL},
    {"spop", cmd_spop, -2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Returns one or more random members from a set after removing them. Deletes the set if the last member was popped.", "O(N) with the count", NULL},
    {"srem", cmd_srem, -3, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Removes one or more members from a set. Deletes the set if the last member was removed.", "O(N) with the number of members to be removed", NULL},
    {0},
};
/* clang-format on */
