/* Sets: what reads one set. Writing is in cmd_set_write.c, several sets at once in cmd_set_algebra.c. */
#include "cache/commands/cmd.h"
#include "cache/values/glob.h"
#include "cache/values/set.h"

struct set_read {
    struct cmd_container container;
    struct set_view view;
};

/* True: read->view holds until end_read. Else the answer is composed, or the read is pending. A row is no set. */
static bool begin_read(struct command_context *ctx, struct set_read *read,
                       void (*absent)(struct reply *reply)) {
    if (!cmd_open(ctx, ctx->argv[1], ENTRY_SET, &read->container, absent)) return false;
    read->view = set_view_entry(read->container.entry);
    return true;
}

static void end_read(struct command_context *ctx, struct set_read *read) {
    cmd_close(ctx, &read->container);
}

static void cmd_scard(struct command_context *ctx) {
    struct set_read read;
    if (!begin_read(ctx, &read, cmd_answer_zero)) return;
    reply_integer(ctx->reply, (int64_t)set_count(&read.view));
    end_read(ctx, &read);
}

static void cmd_sismember(struct command_context *ctx) {
    struct set_read read;
    if (!begin_read(ctx, &read, cmd_answer_zero)) return;
    reply_integer(ctx->reply, set_has(&read.view, ctx->argv[2]));
    end_read(ctx, &read);
}

static void answer_memberships(struct command_context *ctx, const struct set_view *view) {
    reply_array(ctx->reply, ctx->argc - 2);
    for (uint32_t i = 2; i < ctx->argc; i++)
        reply_integer(ctx->reply, set_has(view, ctx->argv[i]));
}

/* Absent keys are composed apart: their answer has as many elements as the request has members. */
static void answer_nothing(struct reply *reply) { (void)reply; }

static void cmd_smismember(struct command_context *ctx) {
    struct set_read read;
    size_t mark = ctx->reply->out->len;
    if (begin_read(ctx, &read, answer_nothing)) {
        answer_memberships(ctx, &read.view);
        end_read(ctx, &read);
    } else if (ctx->n_pending == 0 && ctx->reply->out->len == mark) {
        answer_memberships(ctx, &(struct set_view){0});
    }
}

static void answer_members(struct command_context *ctx, const struct set_view *view) {
    struct set_walk walk = set_walk(view);
    struct slice member;
    while (set_next(&walk, &member))
        reply_bulk(ctx->reply, member);
}

static void cmd_smembers(struct command_context *ctx) {
    struct set_read read;
    if (!begin_read(ctx, &read, cmd_answer_empty_set)) return;
    reply_set(ctx->reply, set_count(&read.view));
    answer_members(ctx, &read.view);
    end_read(ctx, &read);
}

/* --- SSCAN --- */

struct found_members {
    const struct scan_options *options;
    struct reply elements; /* composed apart, since their number goes first */
    size_t n;
};

static void collect(struct slice member, void *arg) {
    struct found_members *found = arg;
    if (found->options->filtered && !glob_match(found->options->pattern, member)) return;
    reply_bulk(&found->elements, member);
    found->n++;
}

static void scan_members(struct command_context *ctx, const struct set_view *view, uint64_t cursor,
                         const struct scan_options *options) {
    struct buf composed = {0};
    struct found_members found = {.options = options,
                                  .elements = {.out = &composed, .protocol = ctx->reply->protocol}};
    cursor = set_scan(view, cursor, options->count, collect, &found);
    reply_array(ctx->reply, 2);
    cmd_answer_cursor(ctx->reply, cursor);
    reply_array(ctx->reply, found.n);
    buf_append_slice(ctx->reply->out, buf_slice(&composed));
    buf_deinit(&composed);
}

static void cmd_sscan(struct command_context *ctx) {
    uint64_t cursor;
    struct set_read read;
    struct scan_options options;
    if (!cmd_cursor(ctx, ctx->argv[2], &cursor)) return;
    if (!begin_read(ctx, &read, cmd_answer_scan_end)) return;
    if (cmd_scan_options(ctx, 3, &options, NULL)) scan_members(ctx, &read.view, cursor, &options);
    end_read(ctx, &read);
}

/* --- SRANDMEMBER --- */

enum { RANDOM_MEMBERS_MAX = 1 << 20 /* with repetitions: a reply is composed in memory */ };

/* A negative count: that many, the same member perhaps more than once. */
static void answer_repeating(struct command_context *ctx, const struct set_view *view, size_t n) {
    uint64_t state = cmd_random_seed();
    char digits[NUMBER_I64_MAX_LEN + 1];
    size_t mark = ctx->reply->out->len;
    reply_array(ctx->reply, n);
    while (n-- > 0 && cmd_within_bounds(ctx->reply, mark))
        reply_bulk(ctx->reply, set_random(view, cmd_random(&state), digits));
}

/* Of the members that are still to come as many as are left to choose, evenly (Knuth's selection sampling). */
static void answer_selection(struct command_context *ctx, const struct set_view *view, size_t n) {
    uint64_t state = cmd_random_seed();
    struct set_walk walk = set_walk(view);
    struct slice member;
    size_t left = n;
    reply_array(ctx->reply, n);
    for (size_t to_come = set_count(view); left > 0; to_come--) {
        if (!set_next(&walk, &member)) break;
        if (cmd_random(&state) % to_come >= left) continue;
        left--;
        reply_bulk(ctx->reply, member);
    }
}

/* A few of a big set: drawn, and drawn again where one was drawn before. */
static void answer_draws(struct command_context *ctx, const struct set_view *view, size_t n) {
    uint64_t state = cmd_random_seed();
    char digits[NUMBER_I64_MAX_LEN + 1];
    struct set_edit drawn;
    set_edit_begin(&drawn, NULL, state, 0);
    reply_array(ctx->reply, n);
    while (n > 0) {
        struct slice member = set_random(view, cmd_random(&state), digits);
        if (!set_edit_add(&drawn, member)) continue;
        reply_bulk(ctx->reply, member);
        n--;
    }
    set_edit_abandon(&drawn);
}

static void answer_distinct(struct command_context *ctx, const struct set_view *view, size_t n) {
    enum { DRAWS_PAY_FROM = 8 }; /* members for each that is wanted */
    size_t count = set_count(view);
    if (n > count) n = count;
    if (n < count / DRAWS_PAY_FROM)
        answer_draws(ctx, view, n);
    else
        answer_selection(ctx, view, n);
}

static void answer_one_random(struct command_context *ctx) {
    struct set_read read;
    char digits[NUMBER_I64_MAX_LEN + 1];
    if (!begin_read(ctx, &read, reply_null)) return;
    uint64_t state = cmd_random_seed();
    reply_bulk(ctx->reply, set_random(&read.view, cmd_random(&state), digits));
    end_read(ctx, &read);
}

static bool parse_count(struct command_context *ctx, int64_t *count) {
    if (!cmd_integer(ctx, ctx->argv[2], count)) return false;
    if (*count >= -INT64_MAX) return true;
    reply_error(ctx->reply, "ERR value is out of range, value must between %lld and %lld",
                -(long long)INT64_MAX, (long long)INT64_MAX);
    return false;
}

static void cmd_srandmember(struct command_context *ctx) {
    int64_t count;
    struct set_read read;
    if (ctx->argc == 2) {
        answer_one_random(ctx);
        return;
    }
    if (ctx->argc > 3) {
        reply_syntax_error(ctx->reply);
        return;
    }
    if (!parse_count(ctx, &count)) return;
    if (!begin_read(ctx, &read, cmd_answer_empty_array)) return;
    if (count >= 0)
        answer_distinct(ctx, &read.view, (size_t)count);
    else if (count < -RANDOM_MEMBERS_MAX)
        reply_error(ctx->reply, "ERR value is out of range");
    else
        answer_repeating(ctx, &read.view, (size_t)-count);
    end_read(ctx, &read);
}

/* clang-format off */
const struct command commands_set[] = {
    {"scard", cmd_scard, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Returns the number of members in a set.", "O(1)", NULL},
    {"sismember", cmd_sismember, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Determines whether a member belongs to a set.", "O(1)", NULL},
    {"smembers", cmd_smembers, 2, CMD_READONLY, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Returns all members of a set.", "O(N) with the number of members", NULL},
    {"smismember", cmd_smismember, -3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "6.2.0", GROUP_SET,
     "Determines whether multiple members belong to a set.", "O(N) with the number of members asked for", NULL},
    {"srandmember", cmd_srandmember, -2, CMD_READONLY, KEYS(1, 1, 1), "1.0.0", GROUP_SET,
     "Returns one or more random members from a set.", "O(1) without a count, else O(N) with the absolute value of the count", NULL},
    {"sscan", cmd_sscan, -3, CMD_READONLY, KEYS(1, 1, 1), "2.8.0", GROUP_SET,
     "Iterates over members of a set.", "O(1) for every call, O(N) for a complete iteration", NULL},
    {0},
};
/* clang-format on */
