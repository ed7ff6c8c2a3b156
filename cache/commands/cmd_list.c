/* Lists: what reads one. Writing is in cmd_list_write.c, waiting in cmd_list_block.c. */
#include "cache/commands/cmd_list.h"

struct list_read {
    struct cmd_container container;
    struct list_view view;
};

/* True: read->view holds until end_read. Else the answer is composed, or the read is pending. */
static bool begin_read(struct command_context *ctx, struct list_read *read,
                       void (*absent)(struct reply *reply)) {
    if (!cmd_open(ctx, ctx->argv[1], ENTRY_LIST, &read->container, absent)) return false;
    const struct entry *entry = read->container.entry;
    read->view =
        entry ? list_view_entry(entry) : (struct list_view){.packed = read->container.fields};
    return true;
}

static void end_read(struct command_context *ctx, struct list_read *read) {
    cmd_close(ctx, &read->container);
}

static void cmd_llen(struct command_context *ctx) {
    struct list_read read;
    if (!begin_read(ctx, &read, cmd_answer_zero)) return;
    reply_integer(ctx->reply, (int64_t)list_count(&read.view));
    end_read(ctx, &read);
}

static void cmd_lindex(struct command_context *ctx) {
    struct list_read read;
    struct slice element;
    int64_t index;
    if (!begin_read(ctx, &read, reply_null)) return;
    if (cmd_integer(ctx, ctx->argv[2], &index)) {
        if (index < 0) index += (int64_t)list_count(&read.view);
        if (index >= 0 && list_at(&read.view, (size_t)index, &element))
            reply_bulk(ctx->reply, element);
        else
            reply_null(ctx->reply);
    }
    end_read(ctx, &read);
}

static void answer_range(struct command_context *ctx, const struct list_view *view, int64_t first,
                         int64_t last) {
    int64_t n = (int64_t)list_count(view);
    if (first < 0) first += n;
    if (last < 0) last += n;
    if (first < 0) first = 0;
    if (last >= n) last = n - 1;
    if (first > last) {
        reply_array(ctx->reply, 0);
        return;
    }
    reply_array(ctx->reply, (size_t)(last - first + 1));
    struct list_cursor cursor = list_seek(view, (size_t)first, LIST_HEAD);
    struct slice element;
    for (int64_t i = first; i <= last && list_next(&cursor, &element); i++)
        reply_bulk(ctx->reply, element);
}

static void cmd_lrange(struct command_context *ctx) {
    struct list_read read;
    int64_t first;
    int64_t last;
    if (!cmd_integer(ctx, ctx->argv[2], &first) || !cmd_integer(ctx, ctx->argv[3], &last)) return;
    if (!begin_read(ctx, &read, cmd_answer_empty_array)) return;
    answer_range(ctx, &read.view, first, last);
    end_read(ctx, &read);
}

/* --- LPOS --- */

struct search {
    struct slice element;
    int64_t rank;  /* the first match that counts, from 1 on */
    int64_t count; /* matches wanted; 0: all; -1: one, and not as an array */
    int64_t most;  /* elements looked at; 0: all */
    enum list_end from;
};

static bool parse_rank(struct command_context *ctx, struct slice text, struct search *search) {
    if (!cmd_integer(ctx, text, &search->rank)) return false;
    if (search->rank == 0) {
        reply_error(ctx->reply, "ERR RANK can't be zero: use 1 to start from the first match, 2 "
                                "from the second ... or use negative to start from the end of "
                                "the list");
        return false;
    }
    search->from = search->rank < 0 ? LIST_TAIL : LIST_HEAD;
    /* The least of all stays what it is, as in Redis: every match counts then. */
    if (search->rank < 0) search->rank = (int64_t)(0 - (uint64_t)search->rank);
    return true;
}

static bool parse_search(struct command_context *ctx, struct search *search) {
    *search = (struct search){.element = ctx->argv[2], .rank = 1, .count = -1, .from = LIST_HEAD};
    for (uint32_t i = 3; i < ctx->argc; i += 2) {
        struct slice word = ctx->argv[i];
        struct slice value = i + 1 < ctx->argc ? ctx->argv[i + 1] : (struct slice){0};
        bool has_value = i + 1 < ctx->argc;
        bool parsed;
        if (has_value && slice_equal_nocase(word, SLICE("rank"))) {
            parsed = parse_rank(ctx, value, search);
        } else if (has_value && slice_equal_nocase(word, SLICE("count"))) {
            parsed = cmd_integer_from(ctx, value, 0, "ERR COUNT can't be negative", &search->count);
        } else if (has_value && slice_equal_nocase(word, SLICE("maxlen"))) {
            parsed = cmd_integer_from(ctx, value, 0, "ERR MAXLEN can't be negative", &search->most);
        } else {
            reply_syntax_error(ctx->reply);
            return false;
        }
        if (!parsed) return false;
    }
    return true;
}

/* Composes the indexes of what is found into `found`; returns how many. */
static size_t find_matches(const struct list_view *view, const struct search *search,
                           struct reply *found) {
    int64_t n = (int64_t)list_count(view);
    int64_t matches = 0;
    size_t answered = 0;
    struct list_cursor cursor =
        list_seek(view, search->from == LIST_HEAD ? 0 : (size_t)n - 1, search->from);
    struct slice element;
    for (int64_t i = 0; list_next(&cursor, &element); i++) {
        if (search->most && i == search->most) break;
        if (!slice_equal(element, search->element) || ++matches < search->rank) continue;
        reply_integer(found, search->from == LIST_HEAD ? i : n - 1 - i);
        answered++;
        if (search->count && answered >= (size_t)(search->count < 0 ? 1 : search->count)) break;
    }
    return answered;
}

static void cmd_lpos(struct command_context *ctx) {
    struct list_read read;
    struct search search;
    if (!parse_search(ctx, &search)) return;
    bool as_array = search.count >= 0;
    if (!begin_read(ctx, &read, as_array ? cmd_answer_empty_array : reply_null)) return;
    struct buf composed = {0};
    struct reply found = {.out = &composed, .protocol = ctx->reply->protocol};
    size_t n = find_matches(&read.view, &search, &found);
    end_read(ctx, &read);
    if (as_array)
        reply_array(ctx->reply, n);
    else if (n == 0)
        reply_null(ctx->reply);
    buf_append_slice(ctx->reply->out, buf_slice(&composed));
    buf_deinit(&composed);
}

/* clang-format off */
const struct command commands_list[] = {
    {"lindex", cmd_lindex, 3, CMD_READONLY, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Returns an element from a list by its index.", "O(N) with the number of elements, in steps of a hundred; O(1) at the ends", NULL},
    {"llen", cmd_llen, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Returns the length of a list.", "O(1)", NULL},
    {"lpos", cmd_lpos, -3, CMD_READONLY, KEYS(1, 1, 1), "6.0.6", GROUP_LIST,
     "Returns the index of matching elements in a list.", "O(N) with the number of elements looked at", NULL},
    {"lrange", cmd_lrange, 4, CMD_READONLY, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Returns a range of elements from a list.", "O(S+N) with the distance of the start from the nearer end and the number of elements", NULL},
    {0},
};
/* clang-format on */
