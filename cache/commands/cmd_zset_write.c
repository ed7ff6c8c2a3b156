/* Sorted sets: members that are added, changed and removed one by one. */
#include <math.h>

#include "base/mem.h"
#include "cache/commands/cmd_zset.h"
#include "cache/signals/notify.h"

enum zadd_flag {
    ZADD_NX = 1 << 0,
    ZADD_XX = 1 << 1,
    ZADD_GT = 1 << 2,
    ZADD_LT = 1 << 3,
    ZADD_CH = 1 << 4,
    ZADD_INCR = 1 << 5,
};

static const struct {
    struct slice word;
    enum zadd_flag flag;
} zadd_words[] = {
    {SLICE("nx"), ZADD_NX}, {SLICE("xx"), ZADD_XX}, {SLICE("gt"), ZADD_GT},
    {SLICE("lt"), ZADD_LT}, {SLICE("ch"), ZADD_CH}, {SLICE("incr"), ZADD_INCR},
};

/* The request and what has come of it. */
struct zadd {
    uint32_t flags;
    uint32_t first; /* the first score's place; scores and members take turns from there */
    uint32_t n;     /* members */
    double *scores; /* as many */
    int64_t added, updated;
    bool done;    /* INCR: it was not left out by the other flags */
    bool is_nan;  /* INCR: what came out is no number */
    double score; /* INCR: what came out */
};

static uint32_t zadd_flag_of(struct slice word) {
    for (size_t i = 0; i < sizeof zadd_words / sizeof zadd_words[0]; i++)
        if (slice_equal_nocase(word, zadd_words[i].word)) return zadd_words[i].flag;
    return 0;
}

/* NULL: they go together. */
static const char *refuse_flags(const struct zadd *add) {
    bool nx = add->flags & ZADD_NX;
    bool gt = add->flags & ZADD_GT;
    bool lt = add->flags & ZADD_LT;
    if (nx && add->flags & ZADD_XX)
        return "ERR XX and NX options at the same time are not compatible";
    if ((gt && nx) || (lt && nx) || (gt && lt))
        return "ERR GT, LT, and/or NX options at the same time are not compatible";
    if (add->flags & ZADD_INCR && add->n > 1)
        return "ERR INCR option supports a single increment-element pair";
    return NULL;
}

/* The words from argv[2] on, and the scores. False after an error reply; add->scores is then NULL. */
static bool read_zadd(struct command_context *ctx, struct zadd *add) {
    uint32_t flag;
    add->first = 2;
    /* A word where ZINCRBY has its increment leaves it without one, as in Redis. */
    for (; add->first < ctx->argc && (flag = zadd_flag_of(ctx->argv[add->first])); add->first++)
        add->flags |= flag;
    uint32_t left = ctx->argc - add->first;
    if (left % 2 != 0 || left == 0) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    add->n = left / 2;
    const char *refusal = refuse_flags(add);
    if (refusal) {
        reply_error(ctx->reply, "%s", refusal);
        return false;
    }
    add->scores = mem_calloc(add->n, sizeof *add->scores);
    for (uint32_t i = 0; i < add->n; i++) {
        if (cmd_zset_score(ctx, ctx->argv[add->first + 2 * i], &add->scores[i])) continue;
        mem_free(add->scores);
        add->scores = NULL;
        return false;
    }
    return true;
}

static void add_one(struct zadd *add, struct zset_edit *edit, struct slice member, double score) {
    double old;
    struct zset_view view = zset_edit_view(edit);
    /* Looks a member up only where a flag asks what it was. */
    if (add->flags & ~(uint32_t)ZADD_CH) {
        bool there = zset_score(&view, member, &old);
        if (add->flags & (there ? ZADD_NX : ZADD_XX)) return;
        if (there && add->flags & ZADD_INCR) score += old;
        add->is_nan = isnan(score);
        if (add->is_nan) return;
        if (there && add->flags & ZADD_LT && score >= old) return;
        if (there && add->flags & ZADD_GT && score <= old) return;
    }
    enum zset_change change = zset_edit_set(edit, member, score);
    add->added += change == ZSET_ADDED;
    add->updated += change == ZSET_UPDATED;
    add->done = true;
    add->score = score;
}

static void answer_zadd(struct command_context *ctx, const struct zadd *add) {
    if (!(add->flags & ZADD_INCR))
        reply_integer(ctx->reply, add->added + (add->flags & ZADD_CH ? add->updated : 0));
    else if (add->done)
        reply_double(ctx->reply, add->score);
    else
        reply_null(ctx->reply);
}

static void run_zadd(struct command_context *ctx, struct zadd *add) {
    struct zset_edit edit;
    if (!cmd_zset_begin_edit(ctx, ctx->argv[1], &edit)) return;
    if (!cmd_arguments_fit(ctx, edit.entry)) {
        zset_edit_abandon(&edit);
        return;
    }
    for (uint32_t i = 0; i < add->n; i++)
        add_one(add, &edit, ctx->argv[add->first + 2 * i + 1], add->scores[i]);
    if (!cmd_zset_end_edit(ctx, ctx->argv[1], &edit)) return;
    if (add->added + add->updated > 0)
        cmd_notify(ctx, NOTIFY_ZSET, add->flags & ZADD_INCR ? "zincr" : "zadd", ctx->argv[1]);
    if (add->is_nan)
        reply_error(ctx->reply, "ERR resulting score is not a number (NaN)");
    else
        answer_zadd(ctx, add);
}

static void zadd(struct command_context *ctx, uint32_t flags) {
    struct zadd add = {.flags = flags};
    if (!read_zadd(ctx, &add)) return;
    run_zadd(ctx, &add);
    mem_free(add.scores);
}

static void cmd_zadd(struct command_context *ctx) { zadd(ctx, 0); }
static void cmd_zincrby(struct command_context *ctx) { zadd(ctx, ZADD_INCR); }

static void cmd_zrem(struct command_context *ctx) {
    struct zset_edit edit;
    int64_t deleted = 0;
    if (!cmd_zset_begin_edit(ctx, ctx->argv[1], &edit)) return;
    for (uint32_t i = 2; i < ctx->argc; i++)
        deleted += zset_edit_delete(&edit, ctx->argv[i]);
    if (deleted) cmd_notify(ctx, NOTIFY_ZSET, "zrem", ctx->argv[1]);
    if (cmd_zset_end_edit(ctx, ctx->argv[1], &edit)) reply_integer(ctx->reply, deleted);
}

/* clang-format off */
const struct command commands_zset_write[] = {
    {"zadd", cmd_zadd, -4, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.", "O(log(N)) for each item added", NULL},
    {"zincrby", cmd_zincrby, 4, CMD_WRITE | CMD_DENYOOM | CMD_FAST, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Increments the score of a member in a sorted set.", "O(log(N))", NULL},
    {"zrem", cmd_zrem, -3, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.", "O(M*log(N)) with the number of members to remove", NULL},
    {0},
};
/* clang-format on */
