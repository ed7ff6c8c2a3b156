/* Hashes, and the columns of a table's row. Writing is in cmd_hash_write.c. */
#include "cache/commands/cmd.h"
#include "cache/values/glob.h"

struct hash_read {
    struct cmd_container container;
    struct hash_view view;
};

/* True: read->view holds until end_read. Else the answer is composed, or the read is pending. */
static bool begin_read(struct command_context *ctx, struct hash_read *read,
                       void (*absent)(struct reply *reply)) {
    if (!cmd_open(ctx, ctx->argv[1], ENTRY_HASH, &read->container, absent)) return false;
    const struct entry *entry = read->container.entry;
    read->view = entry ? hash_view_entry(entry) : hash_view_packed(read->container.fields);
    return true;
}

static void end_read(struct command_context *ctx, struct hash_read *read) {
    cmd_close(ctx, &read->container);
}

/* True: a field that is asked for may not be read, which is answered. */
static bool denies(struct command_context *ctx, const struct hash_view *view, uint32_t first) {
    struct slice value;
    for (uint32_t i = first; i < ctx->argc; i++) {
        if (hash_find(view, ctx->argv[i], &value)) continue;
        const char *why = keyspace_denies(ctx, ctx->argv[1], ctx->argv[i]);
        if (!why) continue;
        reply_error(ctx->reply, "%s", why);
        return true;
    }
    return false;
}

static void answer_value_of(struct command_context *ctx, const struct hash_view *view,
                            struct slice field) {
    struct slice value;
    if (hash_find(view, field, &value))
        reply_bulk(ctx->reply, value);
    else
        reply_null(ctx->reply);
}

static void cmd_hget(struct command_context *ctx) {
    struct hash_read read;
    if (!begin_read(ctx, &read, reply_null)) return;
    if (!denies(ctx, &read.view, 2)) answer_value_of(ctx, &read.view, ctx->argv[2]);
    end_read(ctx, &read);
}

static void answer_values(struct command_context *ctx, const struct hash_view *view) {
    size_t mark = ctx->reply->out->len;
    reply_array(ctx->reply, ctx->argc - 2);
    for (uint32_t i = 2; i < ctx->argc && cmd_within_bounds(ctx->reply, mark); i++)
        answer_value_of(ctx, view, ctx->argv[i]);
}

/* Absent keys are composed apart: their answer has as many elements as the request has fields. */
static void answer_nothing(struct reply *reply) { (void)reply; }

static void cmd_hmget(struct command_context *ctx) {
    struct hash_read read;
    size_t mark = ctx->reply->out->len;
    if (begin_read(ctx, &read, answer_nothing)) {
        if (!denies(ctx, &read.view, 2)) answer_values(ctx, &read.view);
        end_read(ctx, &read);
    } else if (ctx->n_pending == 0 && ctx->reply->out->len == mark) {
        answer_values(ctx, &(struct hash_view){0});
    }
}

static void cmd_hlen(struct command_context *ctx) {
    struct hash_read read;
    if (!begin_read(ctx, &read, cmd_answer_zero)) return;
    reply_integer(ctx->reply, (int64_t)hash_count(&read.view));
    end_read(ctx, &read);
}

static void cmd_hexists(struct command_context *ctx) {
    struct hash_read read;
    struct slice value;
    if (!begin_read(ctx, &read, cmd_answer_zero)) return;
    if (!denies(ctx, &read.view, 2))
        reply_integer(ctx->reply, hash_find(&read.view, ctx->argv[2], &value));
    end_read(ctx, &read);
}

static void cmd_hstrlen(struct command_context *ctx) {
    struct hash_read read;
    struct slice value;
    if (!begin_read(ctx, &read, cmd_answer_zero)) return;
    bool found = hash_find(&read.view, ctx->argv[2], &value);
    if (found || !denies(ctx, &read.view, 2))
        reply_integer(ctx->reply, found ? (int64_t)value.len : 0);
    end_read(ctx, &read);
}

static void answer_field(struct slice field, struct slice value, void *arg) {
    (void)value;
    reply_bulk(arg, field);
}

static void answer_value(struct slice field, struct slice value, void *arg) {
    (void)field;
    reply_bulk(arg, value);
}

static void answer_both(struct slice field, struct slice value, void *arg) {
    reply_bulk(arg, field);
    reply_bulk(arg, value);
}

static void cmd_hgetall(struct command_context *ctx) {
    struct hash_read read;
    if (!begin_read(ctx, &read, cmd_answer_empty_map)) return;
    reply_map(ctx->reply, hash_count(&read.view));
    hash_each(&read.view, answer_both, ctx->reply);
    end_read(ctx, &read);
}

static void cmd_hkeys(struct command_context *ctx) {
    struct hash_read read;
    if (!begin_read(ctx, &read, cmd_answer_empty_array)) return;
    reply_array(ctx->reply, hash_count(&read.view));
    hash_each(&read.view, answer_field, ctx->reply);
    end_read(ctx, &read);
}

static void cmd_hvals(struct command_context *ctx) {
    struct hash_read read;
    if (!begin_read(ctx, &read, cmd_answer_empty_array)) return;
    reply_array(ctx->reply, hash_count(&read.view));
    hash_each(&read.view, answer_value, ctx->reply);
    end_read(ctx, &read);
}

/* --- HSCAN --- */

struct found_fields {
    const struct scan_options *options;
    struct reply elements; /* composed apart, since their number goes first */
    size_t n;
};

static void collect(struct slice field, struct slice value, void *arg) {
    struct found_fields *found = arg;
    if (found->options->filtered && !glob_match(found->options->pattern, field)) return;
    reply_bulk(&found->elements, field);
    reply_bulk(&found->elements, value);
    found->n += 2;
}

static void scan_fields(struct command_context *ctx, const struct hash_view *view, uint64_t cursor,
                        const struct scan_options *options) {
    struct buf composed = {0};
    struct found_fields found = {.options = options,
                                 .elements = {.out = &composed, .protocol = ctx->reply->protocol}};
    cursor = hash_scan(view, cursor, options->count, collect, &found);
    reply_array(ctx->reply, 2);
    cmd_answer_cursor(ctx->reply, cursor);
    reply_array(ctx->reply, found.n);
    buf_append_slice(ctx->reply->out, buf_slice(&composed));
    buf_deinit(&composed);
}

static void cmd_hscan(struct command_context *ctx) {
    uint64_t cursor;
    struct hash_read read;
    struct scan_options options;
    if (!cmd_cursor(ctx, ctx->argv[2], &cursor)) return;
    if (!begin_read(ctx, &read, cmd_answer_scan_end)) return;
    if (cmd_scan_options(ctx, 3, &options, NULL)) scan_fields(ctx, &read.view, cursor, &options);
    end_read(ctx, &read);
}

/* --- HRANDFIELD --- */

enum { RANDOM_FIELDS_MAX = 1 << 20 /* with repetitions: a reply is composed in memory */ };

static void answer_pair(struct command_context *ctx, struct slice field, struct slice value,
                        bool with_values) {
    if (with_values && ctx->reply->protocol >= 3) reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, field);
    if (with_values) reply_bulk(ctx->reply, value);
}

static void answer_pairs_header(struct command_context *ctx, size_t n, bool with_values) {
    reply_array(ctx->reply, with_values && ctx->reply->protocol < 3 ? 2 * n : n);
}

/* A negative count: that many, the same field perhaps more than once. */
static void answer_repeating(struct command_context *ctx, const struct hash_view *view, size_t n,
                             bool with_values) {
    uint64_t state = cmd_random_seed();
    size_t mark = ctx->reply->out->len;
    answer_pairs_header(ctx, n, with_values);
    while (n-- > 0 && cmd_within_bounds(ctx->reply, mark)) {
        struct slice field;
        struct slice value;
        hash_random(view, cmd_random(&state), &field, &value);
        answer_pair(ctx, field, value, with_values);
    }
}

/* `left` of the fields that are still to come are wanted, chosen evenly (Knuth's selection sampling). */
struct selection {
    struct command_context *ctx;
    uint64_t state;
    size_t left;
    size_t to_come;
    bool with_values;
};

static void select_field(struct slice field, struct slice value, void *arg) {
    struct selection *selection = arg;
    bool chosen = cmd_random(&selection->state) % selection->to_come < selection->left;
    selection->to_come--;
    if (!chosen) return;
    selection->left--;
    answer_pair(selection->ctx, field, value, selection->with_values);
}

static void answer_distinct(struct command_context *ctx, const struct hash_view *view, size_t n,
                            bool with_values) {
    size_t count = hash_count(view);
    if (n > count) n = count;
    struct selection selection = {ctx, cmd_random_seed(), n, count, with_values};
    answer_pairs_header(ctx, n, with_values);
    hash_each(view, select_field, &selection);
}

static void answer_one_random(struct command_context *ctx) {
    struct hash_read read;
    if (!begin_read(ctx, &read, reply_null)) return;
    uint64_t state = cmd_random_seed();
    struct slice field = SLICE("");
    struct slice value;
    if (hash_count(&read.view) > 0) hash_random(&read.view, cmd_random(&state), &field, &value);
    reply_bulk(ctx->reply, field);
    end_read(ctx, &read);
}

/* The count and WITHVALUES, refused as Redis refuses them. */
static bool parse_random_count(struct command_context *ctx, int64_t *count, bool *with_values) {
    if (!cmd_integer(ctx, ctx->argv[2], count)) return false;
    if (*count < -INT64_MAX) {
        reply_error(ctx->reply, "ERR value is out of range, value must between %lld and %lld",
                    -(long long)INT64_MAX, (long long)INT64_MAX);
        return false;
    }
    *with_values = ctx->argc == 4 && slice_equal_nocase(ctx->argv[3], SLICE("withvalues"));
    if (ctx->argc > 4 || (ctx->argc == 4 && !*with_values)) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    if (*with_values && (*count < -(INT64_MAX / 2) || *count > INT64_MAX / 2)) {
        reply_error(ctx->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

static void cmd_hrandfield(struct command_context *ctx) {
    if (ctx->argc == 2) {
        answer_one_random(ctx);
        return;
    }
    int64_t count;
    bool with_values;
    struct hash_read read;
    if (!parse_random_count(ctx, &count, &with_values)) return;
    if (!begin_read(ctx, &read, cmd_answer_empty_array)) return;
    if (count >= 0 || hash_count(&read.view) == 0)
        answer_distinct(ctx, &read.view, count > 0 ? (size_t)count : 0, with_values);
    else if (count < -RANDOM_FIELDS_MAX)
        reply_error(ctx->reply, "ERR value is out of range");
    else
        answer_repeating(ctx, &read.view, (size_t)-count, with_values);
    end_read(ctx, &read);
}

/* clang-format off */
const struct command commands_hash[] = {
    {"hexists", cmd_hexists, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Determines whether a field exists in a hash.", "O(1)", NULL},
    {"hget", cmd_hget, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Returns the value of a field in a hash, or of a column of a table's row.", "O(1)", NULL},
    {"hgetall", cmd_hgetall, 2, CMD_READONLY, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Returns all fields and values in a hash, or the columns of a table's row that are not NULL.", "O(N) with the number of fields", NULL},
    {"hkeys", cmd_hkeys, 2, CMD_READONLY, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Returns all fields in a hash.", "O(N) with the number of fields", NULL},
    {"hlen", cmd_hlen, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Returns the number of fields in a hash.", "O(1)", NULL},
    {"hmget", cmd_hmget, -3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Returns the values of the given fields in a hash.", "O(N) with the number of fields asked for", NULL},
    {"hrandfield", cmd_hrandfield, -2, CMD_READONLY, KEYS(1, 1, 1), "6.2.0", GROUP_HASH,
     "Returns one or more random fields from a hash.", "O(N) with the number of fields", NULL},
    {"hscan", cmd_hscan, -3, CMD_READONLY, KEYS(1, 1, 1), "2.8.0", GROUP_HASH,
     "Iterates over fields and values of a hash.", "O(1) for every call, O(N) for a complete iteration", NULL},
    {"hstrlen", cmd_hstrlen, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "3.2.0", GROUP_HASH,
     "Returns the length of the value of a field.", "O(1)", NULL},
    {"hvals", cmd_hvals, 2, CMD_READONLY, KEYS(1, 1, 1), "2.0.0", GROUP_HASH,
     "Returns all values in a hash.", "O(N) with the number of fields", NULL},
    {0},
};
/* clang-format on */
