/* Sorted sets: ranges of members, answered, stored or removed. */
#include "base/assert.h"
#include "cache/commands/cmd_zset.h"
#include "cache/signals/notify.h"

/* What a request of the ZRANGE family asks for. */
struct range_request {
    struct zset_range range;
    bool reverse;
    bool with_scores;
    int64_t offset;
    int64_t limit; /* negative: all */
};

/* What a command's name already says; ZRANGE and ZRANGESTORE leave it to the words behind. */
struct range_form {
    bool by_words; /* BYSCORE, BYLEX, REV may be said */
    bool stores;   /* WITHSCORES may not */
    enum range_by by;
    bool reverse;
};

static bool read_limit(struct command_context *ctx, uint32_t i, struct range_request *request) {
    return cmd_integer(ctx, ctx->argv[i + 1], &request->offset) &&
           cmd_integer(ctx, ctx->argv[i + 2], &request->limit);
}

/* The words from argv[i] on. False after an error reply. */
static bool read_words(struct command_context *ctx, const struct range_form *form, uint32_t i,
                       struct range_request *request) {
    bool by_said = !form->by_words;
    bool direction_said = !form->by_words;
    for (; i < ctx->argc; i++) {
        struct slice word = ctx->argv[i];
        if (!form->stores && slice_equal_nocase(word, SLICE("withscores"))) {
            request->with_scores = true;
        } else if (slice_equal_nocase(word, SLICE("limit")) && ctx->argc - i > 2) {
            if (!read_limit(ctx, i, request)) return false;
            i += 2;
        } else if (!direction_said && slice_equal_nocase(word, SLICE("rev"))) {
            request->reverse = direction_said = true;
        } else if (!by_said && slice_equal_nocase(word, SLICE("bylex"))) {
            request->range.by = RANGE_BY_NAME;
            by_said = true;
        } else if (!by_said && slice_equal_nocase(word, SLICE("byscore"))) {
            request->range.by = RANGE_BY_SCORE;
            by_said = true;
        } else {
            reply_syntax_error(ctx->reply);
            return false;
        }
    }
    return true;
}

/* `at` is the source's place; its range and the words follow. False after an error reply. */
static bool read_request(struct command_context *ctx, const struct range_form *form, uint32_t at,
                         struct range_request *request) {
    *request = (struct range_request){.range.by = form->by, .reverse = form->reverse, .limit = -1};
    if (!read_words(ctx, form, at + 3, request)) return false;
    enum range_by by = request->range.by;
    if (request->limit != -1 && by == RANGE_BY_RANK) {
        reply_error(ctx->reply, "ERR syntax error, LIMIT is only supported in combination with "
                                "either BYSCORE or BYLEX");
        return false;
    }
    if (request->with_scores && by == RANGE_BY_NAME) {
        reply_error(ctx->reply,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    bool max_first = request->reverse && by != RANGE_BY_RANK;
    return cmd_zset_range(ctx, by, ctx->argv[at + 1 + max_first], ctx->argv[at + 2 - max_first],
                          &request->range);
}

/* LIMIT takes its part from the end where the answer begins. */
static void apply_limit(const struct range_request *request, size_t *from, size_t *to) {
    size_t n = *to - *from;
    if (request->range.by == RANGE_BY_RANK) return;
    if (request->offset < 0 || (uint64_t)request->offset >= n) {
        *to = *from;
        return;
    }
    n -= (size_t)request->offset;
    if (request->limit >= 0 && (uint64_t)request->limit < n) n = (size_t)request->limit;
    if (request->reverse)
        *from = *to - (size_t)request->offset - n;
    else
        *from += (size_t)request->offset;
    *to = *from + n;
}

static void find_members(const struct zset_view *view, const struct range_request *request,
                         size_t *from, size_t *to) {
    cmd_zset_ranks(view, &request->range, request->reverse, from, to);
    apply_limit(request, from, to);
}

static void answer_range(struct command_context *ctx, const struct range_form *form) {
    struct range_request request;
    struct zset_read read;
    size_t from;
    size_t to;
    if (!read_request(ctx, form, 1, &request)) return;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, cmd_answer_empty_array)) return;
    struct zset_answer answer = {ctx->reply, request.with_scores};
    find_members(&read.view, &request, &from, &to);
    cmd_zset_answer_header(&answer, to - from);
    zset_each(&read.view, from, to, request.reverse, cmd_zset_answer_member, &answer);
    cmd_zset_end_read(ctx, &read);
}

static void cmd_zrange(struct command_context *ctx) {
    answer_range(ctx, &(struct range_form){.by_words = true});
}
static void cmd_zrevrange(struct command_context *ctx) {
    answer_range(ctx, &(struct range_form){.reverse = true});
}
static void cmd_zrangebyscore(struct command_context *ctx) {
    answer_range(ctx, &(struct range_form){.by = RANGE_BY_SCORE});
}
static void cmd_zrevrangebyscore(struct command_context *ctx) {
    answer_range(ctx, &(struct range_form){.by = RANGE_BY_SCORE, .reverse = true});
}
static void cmd_zrangebylex(struct command_context *ctx) {
    answer_range(ctx, &(struct range_form){.by = RANGE_BY_NAME});
}
static void cmd_zrevrangebylex(struct command_context *ctx) {
    answer_range(ctx, &(struct range_form){.by = RANGE_BY_NAME, .reverse = true});
}

/* --- stored --- */

static void store_member(struct slice member, double score, void *arg) {
    zset_edit_set(arg, member, score);
}

static void cmd_zrangestore(struct command_context *ctx) {
    struct range_request request;
    uint64_t hash;
    struct entry *source;
    struct zset_edit edit;
    size_t from;
    size_t to;
    if (!read_request(ctx, &(struct range_form){.by_words = true, .stores = true}, 2, &request))
        return;
    if (!cmd_find_kind(ctx, ctx->argv[2], ENTRY_ZSET, &hash, &source)) return;
    if (!source) cmd_tell_miss(ctx, ctx->argv[2]);
    struct zset_limits limits = cmd_zset_limits(ctx);
    struct zset_view view = {0};
    if (source) view = zset_view_entry(source);
    find_members(&view, &request, &from, &to);
    /* As in Redis, a range of known length begins as what it will be: that shows in the sign of a 0. */
    if (request.range.by == RANGE_BY_RANK && to - from > limits.entries) limits.entries = 0;
    zset_edit_begin(&edit, NULL, store_hash(ctx->store, ctx->argv[1]), &limits);
    zset_each(&view, from, to, false, store_member, &edit);
    cmd_zset_store(ctx, ctx->argv[1], &edit, "zrangestore");
}

/* --- removed --- */

static void remove_range(struct command_context *ctx, enum range_by by, const char *event) {
    struct zset_range range;
    struct zset_edit edit;
    size_t from;
    size_t to;
    if (!cmd_zset_range(ctx, by, ctx->argv[2], ctx->argv[3], &range)) return;
    if (!cmd_zset_begin_edit(ctx, ctx->argv[1], &edit)) return;
    struct zset_view view = zset_edit_view(&edit);
    cmd_zset_ranks(&view, &range, false, &from, &to);
    zset_edit_delete_ranks(&edit, from, to);
    if (to > from) cmd_notify(ctx, NOTIFY_ZSET, event, ctx->argv[1]);
    if (cmd_zset_end_edit(ctx, ctx->argv[1], &edit))
        reply_integer(ctx->reply, (int64_t)(to - from));
}

static void cmd_zremrangebyrank(struct command_context *ctx) {
    remove_range(ctx, RANGE_BY_RANK, "zremrangebyrank");
}
static void cmd_zremrangebyscore(struct command_context *ctx) {
    remove_range(ctx, RANGE_BY_SCORE, "zremrangebyscore");
}
static void cmd_zremrangebylex(struct command_context *ctx) {
    remove_range(ctx, RANGE_BY_NAME, "zremrangebylex");
}

/* clang-format off */
#define RANGE_COST "O(log(N)+M) with N the members of the set and M those in the range"

const struct command commands_zset_range[] = {
    {"zrange", cmd_zrange, -4, CMD_READONLY, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Returns members in a sorted set within a range of indexes, scores or names.", RANGE_COST, NULL},
    {"zrangebylex", cmd_zrangebylex, -4, CMD_READONLY, KEYS(1, 1, 1), "2.8.9", GROUP_SORTED_SET,
     "Returns members in a sorted set within a lexicographical range.", RANGE_COST, NULL},
    {"zrangebyscore", cmd_zrangebyscore, -4, CMD_READONLY, KEYS(1, 1, 1), "1.0.5", GROUP_SORTED_SET,
     "Returns members in a sorted set within a range of scores.", RANGE_COST, NULL},
    {"zrangestore", cmd_zrangestore, -5, CMD_WRITE | CMD_DENYOOM, KEYS(1, 2, 1), "6.2.0", GROUP_SORTED_SET,
     "Stores a range of members from a sorted set in a key.", RANGE_COST, NULL},
    {"zremrangebylex", cmd_zremrangebylex, 4, CMD_WRITE, KEYS(1, 1, 1), "2.8.9", GROUP_SORTED_SET,
     "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed.", RANGE_COST, NULL},
    {"zremrangebyrank", cmd_zremrangebyrank, 4, CMD_WRITE, KEYS(1, 1, 1), "2.0.0", GROUP_SORTED_SET,
     "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed.", RANGE_COST, NULL},
    {"zremrangebyscore", cmd_zremrangebyscore, 4, CMD_WRITE, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed.", RANGE_COST, NULL},
    {"zrevrange", cmd_zrevrange, -4, CMD_READONLY, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Returns members in a sorted set within a range of indexes in reverse order.", RANGE_COST, NULL},
    {"zrevrangebylex", cmd_zrevrangebylex, -4, CMD_READONLY, KEYS(1, 1, 1), "2.8.9", GROUP_SORTED_SET,
     "Returns members in a sorted set within a lexicographical range in reverse order.", RANGE_COST, NULL},
    {"zrevrangebyscore", cmd_zrevrangebyscore, -4, CMD_READONLY, KEYS(1, 1, 1), "2.2.0", GROUP_SORTED_SET,
     "Returns members in a sorted set within a range of scores in reverse order.", RANGE_COST, NULL},
    {0},
};
/* clang-format on */
