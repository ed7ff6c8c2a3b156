/* Sorted sets: single members, counts, random ones, ZSCAN; and what the other files of them share (cmd_zset.h). */
#include "cache/commands/cmd_zset.h"

#include <math.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/signals/notify.h"
#include "cache/values/glob.h"
#include "cache/values/number.h"

/* --- shared: reading --- */

bool cmd_zset_begin_read(struct command_context *ctx, struct slice key, struct zset_read *read,
                         void (*absent)(struct reply *reply)) {
    if (!cmd_open(ctx, key, ENTRY_ZSET, &read->container, absent)) return false;
    const struct entry *entry = read->container.entry;
    read->view =
        entry ? zset_view_entry(entry) : (struct zset_view){.packed = read->container.fields};
    return true;
}

void cmd_zset_end_read(struct command_context *ctx, struct zset_read *read) {
    cmd_close(ctx, &read->container);
}

/* --- shared: changing --- */

struct zset_limits cmd_zset_limits(const struct command_context *ctx) {
    return (struct zset_limits){(uint64_t)cmd_setting(ctx, SETTING_ZSET_MAX_ENTRIES),
                                (uint64_t)cmd_setting(ctx, SETTING_ZSET_MAX_VALUE)};
}

bool cmd_zset_begin_edit(struct command_context *ctx, struct slice key, struct zset_edit *edit) {
    uint64_t hash;
    struct entry *entry;
    if (!cmd_find_kind(ctx, key, ENTRY_ZSET, &hash, &entry)) return false;
    struct zset_limits limits = cmd_zset_limits(ctx);
    zset_edit_begin(edit, entry, hash, &limits);
    return true;
}

bool cmd_zset_end_edit(struct command_context *ctx, struct slice key, struct zset_edit *edit) {
    struct zset_view view = zset_edit_view(edit);
    bool goes = edit->entry && edit->changed && zset_count(&view) == 0;
    if (!zset_edit_end(edit, ctx->store, ctx->guard, key)) {
        cmd_answer_oom(ctx->reply);
        return false;
    }
    if (goes) cmd_notify(ctx, NOTIFY_GENERIC, "del", key);
    return true;
}

void cmd_zset_store(struct command_context *ctx, struct slice key, struct zset_edit *edit,
                    const char *event) {
    struct zset_view view = zset_edit_view(edit);
    size_t n = zset_count(&view);
    uint64_t hash = edit->hash;
    if (!zset_edit_end(edit, ctx->store, ctx->guard, key)) {
        cmd_answer_oom(ctx->reply);
        return;
    }
    if (n > 0)
        cmd_notify(ctx, NOTIFY_ZSET, event, key);
    else if (cmd_find(ctx, key, &hash) &&
             store_remove(ctx->store, ctx->guard, key, hash, REMOVED_DELETED))
        cmd_notify(ctx, NOTIFY_GENERIC, "del", key);
    reply_integer(ctx->reply, (int64_t)n);
}

/* --- shared: arguments --- */

bool cmd_zset_score(struct command_context *ctx, struct slice text, double *score) {
    if (number_parse_double(text, score)) return true;
    reply_not_a_float(ctx->reply);
    return false;
}

static bool parse_score_bound(struct slice text, double *bound, bool *excluded) {
    *excluded = text.len > 0 && text.data[0] == '(';
    if (*excluded) text = slice_make(text.data + 1, text.len - 1);
    return number_parse_bound(text, bound);
}

static bool parse_name_bound(struct slice text, struct name_bound *bound) {
    if (text.len == 0) return false;
    char first = text.data[0];
    *bound =
        (struct name_bound){NAME_SPELLED, slice_make(text.data + 1, text.len - 1), first != '['};
    if (first == '(' || first == '[') return true;
    bound->kind = first == '-' ? NAME_LEAST : NAME_GREATEST;
    return (first == '-' || first == '+') && text.len == 1;
}

bool cmd_zset_range(struct command_context *ctx, enum range_by by, struct slice min,
                    struct slice max, struct zset_range *range) {
    *range = (struct zset_range){.by = by};
    switch (by) {
    case RANGE_BY_RANK:
        return cmd_integer(ctx, min, &range->start) && cmd_integer(ctx, max, &range->stop);
    case RANGE_BY_SCORE:
        if (parse_score_bound(min, &range->scores.min, &range->scores.min_excluded) &&
            parse_score_bound(max, &range->scores.max, &range->scores.max_excluded))
            return true;
        reply_error(ctx->reply, "ERR min or max is not a float");
        return false;
    case RANGE_BY_NAME:
        if (parse_name_bound(min, &range->names.min) && parse_name_bound(max, &range->names.max))
            return true;
        reply_error(ctx->reply, "ERR min or max not valid string range item");
        return false;
    }
    ASSERT_UNREACHABLE();
}

void cmd_zset_ranks(const struct zset_view *view, const struct zset_range *range, bool reverse,
                    size_t *from, size_t *to) {
    switch (range->by) {
    case RANGE_BY_RANK:
        zset_range_ranks(zset_count(view), range->start, range->stop, reverse, from, to);
        break;
    case RANGE_BY_SCORE: zset_range_scores(view, &range->scores, from, to); break;
    case RANGE_BY_NAME: zset_range_names(view, &range->names, reverse, from, to); break;
    }
}

/* --- shared: answers --- */

void cmd_zset_answer_header(struct zset_answer *answer, size_t n) {
    reply_array(answer->reply, answer->with_scores && answer->reply->protocol < 3 ? 2 * n : n);
}

void cmd_zset_answer_member(struct slice member, double score, void *arg) {
    struct zset_answer *answer = arg;
    if (answer->with_scores && answer->reply->protocol >= 3) reply_array(answer->reply, 2);
    reply_bulk(answer->reply, member);
    if (answer->with_scores) reply_double(answer->reply, score);
}

/* --- single members --- */

static void answer_score(struct command_context *ctx, const struct zset_view *view,
                         struct slice member) {
    double score;
    if (zset_score(view, member, &score))
        reply_double(ctx->reply, score);
    else
        reply_null(ctx->reply);
}

static void cmd_zscore(struct command_context *ctx) {
    struct zset_read read;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, reply_null)) return;
    answer_score(ctx, &read.view, ctx->argv[2]);
    cmd_zset_end_read(ctx, &read);
}

static void answer_scores(struct command_context *ctx, const struct zset_view *view) {
    reply_array(ctx->reply, ctx->argc - 2);
    for (uint32_t i = 2; i < ctx->argc; i++)
        answer_score(ctx, view, ctx->argv[i]);
}

/* Absent keys are composed apart: their answer has as many elements as the request has members. */
static void answer_nothing(struct reply *reply) { (void)reply; }

static void cmd_zmscore(struct command_context *ctx) {
    struct zset_read read;
    size_t mark = ctx->reply->out->len;
    if (cmd_zset_begin_read(ctx, ctx->argv[1], &read, answer_nothing)) {
        answer_scores(ctx, &read.view);
        cmd_zset_end_read(ctx, &read);
    } else if (ctx->n_pending == 0 && ctx->reply->out->len == mark) {
        answer_scores(ctx, &(struct zset_view){0});
    }
}

static void answer_rank(struct command_context *ctx, bool reverse) {
    struct zset_read read;
    size_t rank;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, reply_null)) return;
    if (!zset_rank(&read.view, ctx->argv[2], &rank))
        reply_null(ctx->reply);
    else
        reply_integer(ctx->reply, (int64_t)(reverse ? zset_count(&read.view) - 1 - rank : rank));
    cmd_zset_end_read(ctx, &read);
}

static void cmd_zrank(struct command_context *ctx) { answer_rank(ctx, false); }
static void cmd_zrevrank(struct command_context *ctx) { answer_rank(ctx, true); }

/* --- counts --- */

static void cmd_zcard(struct command_context *ctx) {
    struct zset_read read;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, cmd_answer_zero)) return;
    reply_integer(ctx->reply, (int64_t)zset_count(&read.view));
    cmd_zset_end_read(ctx, &read);
}

static void answer_count(struct command_context *ctx, enum range_by by) {
    struct zset_range range;
    struct zset_read read;
    size_t from;
    size_t to;
    if (!cmd_zset_range(ctx, by, ctx->argv[2], ctx->argv[3], &range)) return;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, cmd_answer_zero)) return;
    cmd_zset_ranks(&read.view, &range, false, &from, &to);
    reply_integer(ctx->reply, (int64_t)(to - from));
    cmd_zset_end_read(ctx, &read);
}

static void cmd_zcount(struct command_context *ctx) { answer_count(ctx, RANGE_BY_SCORE); }
static void cmd_zlexcount(struct command_context *ctx) { answer_count(ctx, RANGE_BY_NAME); }

/* --- ZSCAN --- */

struct found_members {
    const struct scan_options *options;
    bool packed;
    struct reply elements; /* composed apart, since their number goes first */
    size_t n;
};

/* Redis keeps the whole numbers among a listpack's scores as integers, and ZSCAN shows it: 1e18 in digits. */
static void answer_stored_score(struct reply *reply, double score, bool packed) {
    char digits[NUMBER_DOUBLE_MAX_LEN];
    bool integer =
        packed && fabs(score) <= (double)(INT64_MAX / 2) && score == (double)(int64_t)score;
    size_t len =
        integer ? number_format_i64(digits, (int64_t)score) : number_format_double(digits, score);
    reply_bulk(reply, slice_make(digits, len));
}

static void collect(struct slice member, double score, void *arg) {
    struct found_members *found = arg;
    if (found->options->filtered && !glob_match(found->options->pattern, member)) return;
    reply_bulk(&found->elements, member);
    answer_stored_score(&found->elements, score, found->packed);
    found->n += 2;
}

static void answer_scan_end(struct reply *reply) {
    reply_array(reply, 2);
    reply_text(reply, "0");
    reply_array(reply, 0);
}

static void scan_members(struct command_context *ctx, const struct zset_view *view, uint64_t cursor,
                         const struct scan_options *options) {
    struct buf composed = {0};
    struct found_members found = {.options = options,
                                  .packed = !view->tree,
                                  .elements = {.out = &composed, .protocol = ctx->reply->protocol}};
    cursor = zset_scan(view, cursor, options->count, collect, &found);
    reply_array(ctx->reply, 2);
    cmd_answer_cursor(ctx->reply, cursor);
    reply_array(ctx->reply, found.n);
    buf_append_slice(ctx->reply->out, buf_slice(&composed));
    buf_deinit(&composed);
}

static void cmd_zscan(struct command_context *ctx) {
    uint64_t cursor;
    struct zset_read read;
    struct scan_options options;
    if (!cmd_cursor(ctx, ctx->argv[2], &cursor)) return;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, answer_scan_end)) return;
    if (cmd_scan_options(ctx, 3, &options, NULL)) scan_members(ctx, &read.view, cursor, &options);
    cmd_zset_end_read(ctx, &read);
}

/* --- ZRANDMEMBER --- */

enum { RANDOM_MEMBERS_MAX = 1 << 20 /* with repetitions: a reply is composed in memory */ };

static void answer_at(const struct zset_view *view, uint64_t random, struct zset_answer *answer) {
    size_t rank = random % zset_count(view);
    zset_each(view, rank, rank + 1, false, cmd_zset_answer_member, answer);
}

/* A negative count: that many, the same member perhaps more than once. */
static void answer_repeating(const struct zset_view *view, size_t n, struct zset_answer *answer) {
    uint64_t state = cmd_random_seed();
    size_t mark = answer->reply->out->len;
    cmd_zset_answer_header(answer, n);
    while (n-- > 0 && cmd_within_bounds(answer->reply, mark))
        answer_at(view, cmd_random(&state), answer);
}

/* `left` of the members that are still to come are wanted, chosen evenly (Knuth's selection sampling). */
struct selection {
    struct zset_answer *answer;
    uint64_t state;
    size_t left;
    size_t to_come;
};

static void select_member(struct slice member, double score, void *arg) {
    struct selection *selection = arg;
    bool chosen = cmd_random(&selection->state) % selection->to_come < selection->left;
    selection->to_come--;
    if (!chosen) return;
    selection->left--;
    cmd_zset_answer_member(member, score, selection->answer);
}

/* Few of many: ranks are drawn until there are n different ones. */
static void answer_drawn(const struct zset_view *view, size_t n, struct zset_answer *answer) {
    uint64_t state = cmd_random_seed();
    size_t count = zset_count(view);
    uint64_t *drawn = mem_calloc(count / 64 + 1, sizeof *drawn); /* a bit a rank */
    while (n > 0) {
        size_t rank = cmd_random(&state) % count;
        uint64_t bit = UINT64_C(1) << (rank % 64);
        if (drawn[rank / 64] & bit) continue;
        drawn[rank / 64] |= bit;
        answer_at(view, rank, answer);
        n--;
    }
    mem_free(drawn);
}

static void answer_distinct(const struct zset_view *view, size_t n, struct zset_answer *answer) {
    size_t count = zset_count(view);
    if (n > count) n = count;
    cmd_zset_answer_header(answer, n);
    if (view->tree && n < count / 8) {
        answer_drawn(view, n, answer);
        return;
    }
    struct selection selection = {answer, cmd_random_seed(), n, count};
    zset_each(view, 0, count, false, select_member, &selection);
}

static void answer_one_random(struct command_context *ctx) {
    struct zset_read read;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, reply_null)) return;
    answer_at(&read.view, cmd_random_seed(), &(struct zset_answer){ctx->reply, false});
    cmd_zset_end_read(ctx, &read);
}

/* The count and WITHSCORES, refused as Redis refuses them. */
static bool parse_random_count(struct command_context *ctx, int64_t *count, bool *with_scores) {
    if (!cmd_integer(ctx, ctx->argv[2], count)) return false;
    if (*count < -INT64_MAX) {
        reply_error(ctx->reply, "ERR value is out of range, value must between %lld and %lld",
                    -(long long)INT64_MAX, (long long)INT64_MAX);
        return false;
    }
    *with_scores = ctx->argc == 4 && slice_equal_nocase(ctx->argv[3], SLICE("withscores"));
    if (ctx->argc > 4 || (ctx->argc == 4 && !*with_scores)) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    if (*with_scores && (*count < -(INT64_MAX / 2) || *count > INT64_MAX / 2)) {
        reply_error(ctx->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

static void cmd_zrandmember(struct command_context *ctx) {
    if (ctx->argc == 2) {
        answer_one_random(ctx);
        return;
    }
    int64_t count;
    struct zset_read read;
    struct zset_answer answer = {.reply = ctx->reply};
    if (!parse_random_count(ctx, &count, &answer.with_scores)) return;
    if (!cmd_zset_begin_read(ctx, ctx->argv[1], &read, cmd_answer_empty_array)) return;
    if (count >= 0)
        answer_distinct(&read.view, (size_t)count, &answer);
    else if (count < -RANDOM_MEMBERS_MAX)
        reply_error(ctx->reply, "ERR value is out of range");
    else
        answer_repeating(&read.view, (size_t)-count, &answer);
    cmd_zset_end_read(ctx, &read);
}

/* clang-format off */
const struct command commands_zset[] = {
    {"zcard", cmd_zcard, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Returns the number of members in a sorted set.", "O(1)", NULL},
    {"zcount", cmd_zcount, 4, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_SORTED_SET,
     "Returns the count of members in a sorted set that have scores within a range.", "O(log(N)) with the number of members", NULL},
    {"zlexcount", cmd_zlexcount, 4, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.8.9", GROUP_SORTED_SET,
     "Returns the number of members in a sorted set within a lexicographical range.", "O(log(N)) with the number of members", NULL},
    {"zmscore", cmd_zmscore, -3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "6.2.0", GROUP_SORTED_SET,
     "Returns the scores of one or more members in a sorted set.", "O(N) with the number of members asked for", NULL},
    {"zrandmember", cmd_zrandmember, -2, CMD_READONLY, KEYS(1, 1, 1), "6.2.0", GROUP_SORTED_SET,
     "Returns one or more random members from a sorted set.", "O(N) with the number of members asked for", NULL},
    {"zrank", cmd_zrank, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_SORTED_SET,
     "Returns the index of a member in a sorted set ordered by ascending scores.", "O(log(N))", NULL},
    {"zrevrank", cmd_zrevrank, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_SORTED_SET,
     "Returns the index of a member in a sorted set ordered by descending scores.", "O(log(N))", NULL},
    {"zscan", cmd_zscan, -3, CMD_READONLY, KEYS(1, 1, 1), "2.8.0", GROUP_SORTED_SET,
     "Iterates over members and scores of a sorted set.", "O(1) for every call, O(N) for a complete iteration", NULL},
    {"zscore", cmd_zscore, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.2.0", GROUP_SORTED_SET,
     "Returns the score of a member in a sorted set.", "O(1)", NULL},
    {0},
};
/* clang-format on */
