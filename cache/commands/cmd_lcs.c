/* LCS: the longest common subsequence of two strings, by the textbook's table (Wagner and Fischer 1974). */
#include <string.h>

#include "base/mem.h"
#include "cache/commands/cmd.h"

struct lcs_options {
    bool len;
    bool ranges; /* IDX */
    bool with_lengths;
    int64_t least; /* MINMATCHLEN */
};

static bool parse_options(struct command_context *ctx, struct lcs_options *options) {
    for (uint32_t i = 3; i < ctx->argc; i++) {
        struct slice word = ctx->argv[i];
        if (slice_equal_nocase(word, SLICE("idx"))) {
            options->ranges = true;
        } else if (slice_equal_nocase(word, SLICE("len"))) {
            options->len = true;
        } else if (slice_equal_nocase(word, SLICE("withmatchlen"))) {
            options->with_lengths = true;
        } else if (slice_equal_nocase(word, SLICE("minmatchlen")) && i + 1 < ctx->argc) {
            if (!cmd_integer(ctx, ctx->argv[++i], &options->least)) return false;
        } else {
            reply_syntax_error(ctx->reply);
            return false;
        }
    }
    if (options->ranges && options->len) {
        reply_error(ctx->reply,
                    "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

/* lengths[i * (b.len + 1) + j]: of the longest one of a's first i bytes and b's first j. NULL: too large. */
static uint32_t *fill_table(struct slice a, struct slice b) {
    size_t columns = b.len + 1, cells;
    if (__builtin_mul_overflow(a.len + 1, columns, &cells) ||
        cells > STRING_MAX_BYTES / sizeof(uint32_t))
        return NULL;
    uint32_t *lengths = mem_calloc(cells, sizeof *lengths);
    for (size_t i = 1; i <= a.len; i++) {
        const uint32_t *above = lengths + (i - 1) * columns;
        uint32_t *row = lengths + i * columns;
        for (size_t j = 1; j <= b.len; j++) {
            if (a.data[i - 1] == b.data[j - 1])
                row[j] = above[j - 1] + 1;
            else
                row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
        }
    }
    return lengths;
}

/* Bytes a_end - n to a_end of the one are bytes b_end - n to b_end of the other. */
struct match {
    size_t a_end, b_end, n;
};

/* Walks back from the table's end at (*i, *j) over one run of equal bytes; n 0: there is none left. */
static struct match next_match(const uint32_t *lengths, struct slice a, struct slice b, size_t *i,
                               size_t *j) {
    size_t columns = b.len + 1;
    while (*i > 0 && *j > 0 && a.data[*i - 1] != b.data[*j - 1]) {
        if (lengths[(*i - 1) * columns + *j] > lengths[*i * columns + *j - 1])
            --*i;
        else
            --*j;
    }
    struct match match = {*i, *j, 0};
    while (*i > 0 && *j > 0 && a.data[*i - 1] == b.data[*j - 1]) {
        --*i;
        --*j;
        match.n++;
    }
    return match;
}

static void answer_string(struct reply *reply, const uint32_t *lengths, struct slice a,
                          struct slice b) {
    size_t len = lengths[(a.len + 1) * (b.len + 1) - 1], at = len, i = a.len, j = b.len;
    char *common = mem_alloc(len);
    struct match match;
    while ((match = next_match(lengths, a, b, &i, &j)).n) {
        at -= match.n;
        memcpy(common + at, a.data + i, match.n);
    }
    reply_bulk(reply, slice_make(common, len));
    mem_free(common);
}

static void answer_range(struct reply *reply, size_t from, size_t n) {
    reply_array(reply, 2);
    reply_integer(reply, (int64_t)from);
    reply_integer(reply, (int64_t)(from + n - 1));
}

static void answer_ranges(struct reply *reply, const uint32_t *lengths, struct slice a,
                          struct slice b, const struct lcs_options *options) {
    size_t n = 0, i = a.len, j = b.len;
    struct match match;
    while ((match = next_match(lengths, a, b, &i, &j)).n)
        n += (int64_t)match.n >= options->least;
    reply_map(reply, 2);
    reply_text(reply, "matches");
    reply_array(reply, n);
    i = a.len;
    j = b.len;
    while ((match = next_match(lengths, a, b, &i, &j)).n) {
        if ((int64_t)match.n < options->least) continue;
        reply_array(reply, options->with_lengths ? 3 : 2);
        answer_range(reply, i, match.n);
        answer_range(reply, j, match.n);
        if (options->with_lengths) reply_integer(reply, (int64_t)match.n);
    }
    reply_text(reply, "len");
    reply_integer(reply, lengths[(a.len + 1) * (b.len + 1) - 1]);
}

/* False: pending, or the error was answered. An absent key is the empty string. */
static bool read_strings(struct command_context *ctx, struct slice strings[2]) {
    size_t mark = ctx->reply->out->len;
    for (uint32_t i = 0; i < 2; i++) {
        struct key_value value;
        switch (keyspace_read(ctx, ctx->argv[1 + i], FORM_STRING, &value)) {
        case READ_FOUND: strings[i] = value.string; break;
        case READ_ABSENT: strings[i] = SLICE(""); break;
        case READ_WRONG_TYPE:
            if (ctx->n_pending == 0)
                reply_error(ctx->reply, "ERR The specified keys must contain string values");
            return false;
        case READ_PENDING: break;
        case READ_FAILED: cmd_fail(ctx, mark, &value); return false;
        }
    }
    return !cmd_is_pending(ctx, mark);
}

static void cmd_lcs(struct command_context *ctx) {
    struct slice strings[2];
    struct lcs_options options = {0};
    if (!read_strings(ctx, strings) || !parse_options(ctx, &options)) return;
    uint32_t *lengths = fill_table(strings[0], strings[1]);
    if (!lengths) {
        reply_error(ctx->reply, "ERR Insufficient memory, transient memory for LCS exceeds "
                                "proto-max-bulk-len");
        return;
    }
    if (options.ranges)
        answer_ranges(ctx->reply, lengths, strings[0], strings[1], &options);
    else if (options.len)
        reply_integer(ctx->reply, lengths[(strings[0].len + 1) * (strings[1].len + 1) - 1]);
    else
        answer_string(ctx->reply, lengths, strings[0], strings[1]);
    mem_free(lengths);
}

/* clang-format off */
const struct command commands_lcs[] = {
    {"lcs", cmd_lcs, -3, CMD_READONLY, KEYS(1, 2, 1), "7.0.0", GROUP_STRING,
     "Finds the longest common subsequence of two strings.", "O(N*M) where N and M are the lengths of the two strings", NULL},
    {0},
};
/* clang-format on */
