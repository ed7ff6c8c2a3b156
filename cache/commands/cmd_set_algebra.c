/* Several sets at once: SINTER, SUNION, SDIFF, what stores them, and SINTERCARD. All keys are locked while they run. */
#include <stdlib.h>

#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/signals/notify.h"
#include "cache/values/set.h"

/* The sets of argv[first] and the n - 1 keys that follow; an absent key is an empty set. False: the answer is composed, or rows
 * are pending. */
static bool gather(struct command_context *ctx, uint32_t first, uint32_t n,
                   struct set_view *views) {
    size_t mark = ctx->reply->out->len;
    struct key_value value;
    for (uint32_t i = 0; i < n; i++) {
        views[i] = (struct set_view){0};
        switch (keyspace_read(ctx, ctx->argv[first + i], FORM_ANY, &value)) {
        case READ_FOUND:
            if (!value.row && value.entry->kind == ENTRY_SET) {
                views[i] = set_view_entry(value.entry);
                break;
            }
            if (ctx->n_pending == 0) reply_wrong_type(ctx->reply);
            return false;
        case READ_ABSENT:
        case READ_WRONG_TYPE:
        case READ_PENDING: break;
        case READ_FAILED: cmd_fail(ctx, mark, &value); return false;
        }
    }
    return !cmd_is_pending(ctx, mark);
}

/* Where the members go that an operation finds: into a set, or into a reply, or nowhere: then they are counted. */
struct sink {
    struct set_edit *set;
    struct reply *reply;
    size_t n;
    size_t limit; /* enough; 0: never */
};

/* False: it was enough. */
static bool take(struct sink *sink, struct slice member) {
    if (sink->set && !set_edit_add(sink->set, member)) return true;
    if (sink->reply) reply_bulk(sink->reply, member);
    sink->n++;
    return sink->n != sink->limit;
}

typedef void operation(struct set_view *views, uint32_t n, struct sink *sink);

static int by_count(const void *one, const void *other) {
    size_t a = set_count(one);
    size_t b = set_count(other);
    return a < b ? -1 : a > b;
}

static bool in_all(const struct set_view *views, uint32_t n, struct slice member) {
    for (uint32_t i = 0; i < n; i++)
        if (!set_has(&views[i], member)) return false;
    return true;
}

/* From the smallest on: what is in it is looked for in the others. */
static void intersect(struct set_view *views, uint32_t n, struct sink *sink) {
    qsort(views, n, sizeof *views, by_count);
    struct set_walk walk = set_walk(&views[0]);
    struct slice member;
    while (set_next(&walk, &member))
        if (in_all(views + 1, n - 1, member) && !take(sink, member)) return;
}

/* The sink is a set, where what is there already does not count. */
static void unite(struct set_view *views, uint32_t n, struct sink *sink) {
    for (uint32_t i = 0; i < n; i++) {
        struct set_walk walk = set_walk(&views[i]);
        struct slice member;
        while (set_next(&walk, &member))
            take(sink, member);
    }
}

static bool in_any(const struct set_view *views, uint32_t n, struct slice member) {
    for (uint32_t i = 0; i < n; i++)
        if (set_has(&views[i], member)) return true;
    return false;
}

static void subtract(struct set_view *views, uint32_t n, struct sink *sink) {
    struct set_walk walk = set_walk(&views[0]);
    struct slice member;
    while (set_next(&walk, &member))
        if (!in_any(views + 1, n - 1, member)) take(sink, member);
}

/* Runs it over argv[first] and the n - 1 keys that follow. False: the answer is composed, or rows are pending. */
static bool operate(struct command_context *ctx, uint32_t first, uint32_t n, operation *run,
                    struct sink *sink) {
    struct set_view *views = mem_alloc(n * sizeof *views);
    bool gathered = gather(ctx, first, n, views);
    if (gathered) run(views, n, sink);
    mem_free(views);
    return gathered;
}

/* --- answering --- */

static void answer(struct command_context *ctx, operation *run, bool repeats) {
    struct set_edit seen;
    struct buf composed = {0};
    struct reply members = {.out = &composed, .protocol = ctx->reply->protocol};
    set_edit_begin(&seen, NULL, cmd_random_seed(),
                   (size_t)cmd_setting(ctx, SETTING_SET_MAX_INTSET));
    struct sink sink = {.set = repeats ? &seen : NULL, .reply = &members};
    if (operate(ctx, 1, ctx->argc - 1, run, &sink)) {
        reply_set(ctx->reply, sink.n);
        buf_append_slice(ctx->reply->out, buf_slice(&composed));
    }
    set_edit_abandon(&seen);
    buf_deinit(&composed);
}

static void cmd_sinter(struct command_context *ctx) { answer(ctx, intersect, false); }
static void cmd_sunion(struct command_context *ctx) { answer(ctx, unite, true); }
static void cmd_sdiff(struct command_context *ctx) { answer(ctx, subtract, false); }

/* LIMIT may be given more than once; the last one holds. */
static bool parse_limit(struct command_context *ctx, uint32_t from, int64_t *limit) {
    *limit = 0;
    for (uint32_t i = from; i < ctx->argc; i += 2) {
        if (!slice_equal_nocase(ctx->argv[i], SLICE("limit")) || i + 1 >= ctx->argc) {
            reply_syntax_error(ctx->reply);
            return false;
        }
        if (!cmd_integer_from(ctx, ctx->argv[i + 1], 0, "ERR LIMIT can't be negative", limit))
            return false;
    }
    return true;
}

static void cmd_sintercard(struct command_context *ctx) {
    int64_t n;
    int64_t limit;
    if (!cmd_integer_from(ctx, ctx->argv[1], 1, "ERR numkeys should be greater than 0", &n)) return;
    if (n > (int64_t)ctx->argc - 2) {
        reply_error(ctx->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    if (!parse_limit(ctx, 2 + (uint32_t)n, &limit)) return;
    struct sink sink = {.limit = (size_t)limit};
    if (operate(ctx, 2, (uint32_t)n, intersect, &sink)) reply_integer(ctx->reply, (int64_t)sink.n);
}

/* --- storing --- */

/* The result takes the place of whatever the destination was. */
static void store_result(struct command_context *ctx, struct set_edit *result, size_t n,
                         const char *event) {
    struct slice key = ctx->argv[1];
    if (n == 0) {
        set_edit_abandon(result);
        if (store_remove(ctx->store, ctx->guard, key, result->hash, REMOVED_DELETED))
            cmd_notify(ctx, NOTIFY_GENERIC, "del", key);
        reply_integer(ctx->reply, 0);
        return;
    }
    if (!set_edit_end(result, ctx->store, ctx->guard, key)) {
        cmd_answer_oom(ctx->reply);
        return;
    }
    cmd_notify(ctx, NOTIFY_SET, event, key);
    reply_integer(ctx->reply, (int64_t)n);
}

static void store(struct command_context *ctx, operation *run, const char *event) {
    struct set_edit result;
    struct sink sink = {.set = &result};
    set_edit_begin(&result, NULL, store_hash(ctx->store, ctx->argv[1]),
                   (size_t)cmd_setting(ctx, SETTING_SET_MAX_INTSET));
    if (operate(ctx, 2, ctx->argc - 2, run, &sink))
        store_result(ctx, &result, sink.n, event);
    else
        set_edit_abandon(&result);
}

static void cmd_sinterstore(struct command_context *ctx) { store(ctx, intersect, "sinterstore"); }
static void cmd_sunionstore(struct command_context *ctx) { store(ctx, unite, "sunionstore"); }
static void cmd_sdiffstore(struct command_context *ctx) { store(ctx, subtract, "sdiffstore"); }

/* clang-format off */
enum { ALGEBRA_READ = CMD_READONLY | CMD_LOCKS_KEYS, ALGEBRA_STORE = CMD_WRITE | CMD_DENYOOM };

const struct command commands_set_algebra[] = {
    {"sdiff", cmd_sdiff, -2, ALGEBRA_READ, KEYS(1, -1, 1), "1.0.0", GROUP_SET,
     "Returns the difference of multiple sets.", "O(N) with the number of members in all sets", NULL},
    {"sdiffstore", cmd_sdiffstore, -3, ALGEBRA_STORE, KEYS(1, -1, 1), "1.0.0", GROUP_SET,
     "Stores the difference of multiple sets in a key.", "O(N) with the number of members in all sets", NULL},
    {"sinter", cmd_sinter, -2, ALGEBRA_READ, KEYS(1, -1, 1), "1.0.0", GROUP_SET,
     "Returns the intersect of multiple sets.", "O(N*M) with the members of the smallest set and the number of sets", NULL},
    {"sintercard", cmd_sintercard, -3, ALGEBRA_READ, NUMKEYS(1), "7.0.0", GROUP_SET,
     "Returns the number of members of the intersect of multiple sets.", "O(N*M) with the members of the smallest set and the number of sets", NULL},
    {"sinterstore", cmd_sinterstore, -3, ALGEBRA_STORE, KEYS(1, -1, 1), "1.0.0", GROUP_SET,
     "Stores the intersect of multiple sets in a key.", "O(N*M) with the members of the smallest set and the number of sets", NULL},
    {"sunion", cmd_sunion, -2, ALGEBRA_READ, KEYS(1, -1, 1), "1.0.0", GROUP_SET,
     "Returns the union of multiple sets.", "O(N) with the number of members in all sets", NULL},
    {"sunionstore", cmd_sunionstore, -3, ALGEBRA_STORE, KEYS(1, -1, 1), "1.0.0", GROUP_SET,
     "Stores the union of multiple sets in a key.", "O(N) with the number of members in all sets", NULL},
    {0},
};
/* clang-format on */
