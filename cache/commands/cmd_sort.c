/* SORT and SORT_RO: the elements of a list, a set or a sorted set in order, by themselves or by what keys that are made from
 * them hold. All shards are locked: which keys that are shows only as it runs. For the same reason no rows of tables are
 * followed, which could have to be fetched: in SQL that is a named query. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/commands/cmd.h"
#include "cache/front/client.h"
#include "cache/values/list.h"
#include "cache/values/set.h"
#include "cache/values/zset.h"

struct sort {
    bool descending, alphabetic, unsorted;
    int64_t offset, count; /* count negative: all */
    struct slice by;       /* data NULL: by the elements themselves */
    struct slice store;    /* data NULL: answer */
    struct slice *gets;
    size_t n_gets;
};

struct sorted {
    struct slice element;
    struct slice weight; /* of an alphabetic sort; data NULL: none */
    double score;
};

/* The elements, with copies of their bytes: a set spells its numbers as it goes. */
struct sequence {
    struct sorted *items;
    size_t n, cap;
    struct buf bytes;
};

/* --- arguments --- */

static bool has_all_keys(const struct command_context *ctx) {
    if (client_is_cleared(ctx->client)) return true;
    return acl_rights_flags(client_session(ctx->client)->rights) & ACL_ALL_KEYS;
}

/* What a pattern reads could be any key. */
static bool may_follow(struct command_context *ctx, const char *option) {
    if (has_all_keys(ctx)) return true;
    reply_error(ctx->reply, "ERR %s option of SORT denied due to insufficient ACL permissions.",
                option);
    return false;
}

static bool parse_by(struct command_context *ctx, struct slice pattern, struct sort *sort) {
    sort->by = pattern;
    sort->unsorted |= !pattern.len || !memchr(pattern.data, '*', pattern.len);
    return sort->unsorted || may_follow(ctx, "BY");
}

/* Reads the option at argv[*at], and leaves *at on its last word. False after an error reply. */
static bool parse_option(struct command_context *ctx, bool may_store, uint32_t *at,
                         struct sort *sort) {
    struct slice word = ctx->argv[*at];
    uint32_t left = ctx->argc - *at - 1;
    struct slice value = left > 0 ? ctx->argv[*at + 1] : SLICE("");
    if (slice_equal_nocase(word, SLICE("asc"))) {
        sort->descending = false;
    } else if (slice_equal_nocase(word, SLICE("desc"))) {
        sort->descending = true;
    } else if (slice_equal_nocase(word, SLICE("alpha"))) {
        sort->alphabetic = true;
    } else if (left >= 2 && slice_equal_nocase(word, SLICE("limit"))) {
        *at += 2;
        return cmd_integer(ctx, value, &sort->offset) &&
               cmd_integer(ctx, ctx->argv[*at], &sort->count);
    } else if (left >= 1 && may_store && slice_equal_nocase(word, SLICE("store"))) {
        *at += 1;
        sort->store = value;
    } else if (left >= 1 && slice_equal_nocase(word, SLICE("by"))) {
        *at += 1;
        return parse_by(ctx, value, sort);
    } else if (left >= 1 && slice_equal_nocase(word, SLICE("get"))) {
        *at += 1;
        sort->gets[sort->n_gets++] = value;
        return may_follow(ctx, "GET");
    } else {
        reply_syntax_error(ctx->reply);
        return false;
    }
    return true;
}

static bool parse(struct command_context *ctx, bool may_store, struct sort *sort) {
    for (uint32_t at = 2; at < ctx->argc; at++)
        if (!parse_option(ctx, may_store, &at, sort)) return false;
    return true;
}

/* --- elements --- */

static void add(struct sequence *sequence, struct slice element) {
    if (sequence->n == sequence->cap) {
        sequence->cap = sequence->cap ? 2 * sequence->cap : 64;
        sequence->items = mem_realloc(sequence->items, sequence->cap * sizeof *sequence->items);
    }
    sequence->items[sequence->n++] = (struct sorted){.element = {NULL, element.len}};
    buf_append_slice(&sequence->bytes, element);
}

static void add_scored(struct slice member, double score, void *arg) {
    (void)score;
    add(arg, member);
}

/* In the order that each kind has of its own; `reverse` where it has one. */
static void gather(const struct entry *entry, bool reverse, struct sequence *sequence) {
    struct slice element;
    if (entry->kind == ENTRY_LIST) {
        struct list_view view = list_view_entry(entry);
        size_t from = reverse ? list_count(&view) - 1 : 0;
        struct list_cursor cursor = list_seek(&view, from, reverse ? LIST_TAIL : LIST_HEAD);
        while (list_next(&cursor, &element))
            add(sequence, element);
    } else if (entry->kind == ENTRY_SET) {
        struct set_view view = set_view_entry(entry);
        struct set_walk walk = set_walk(&view);
        while (set_next(&walk, &element))
            add(sequence, element);
    } else {
        struct zset_view view = zset_view_entry(entry);
        zset_each(&view, 0, zset_count(&view), reverse, add_scored, sequence);
    }
    size_t at = 0; /* the bytes stay where they are from now on */
    for (size_t i = 0; i < sequence->n; i++) {
        sequence->items[i].element.data = sequence->bytes.data + at;
        at += sequence->items[i].element.len;
    }
}

/* --- keys that are made from an element: `weight_*`, `user:*->name`, `#` the element itself --- */

static bool find_arrow(struct slice pattern, size_t from, size_t *at) {
    for (size_t i = from; i + 2 < pattern.len; i++) { /* a field has to follow */
        if (pattern.data[i] != '-' || pattern.data[i + 1] != '>') continue;
        *at = i;
        return true;
    }
    return false;
}

static const struct entry *peek(struct command_context *ctx, struct slice key,
                                enum entry_kind kind) {
    const struct entry *entry =
        store_peek(ctx->store, key, store_hash(ctx->store, key), ctx->now_ms);
    return entry && entry->kind == kind ? entry : NULL;
}

static bool read_field(struct command_context *ctx, struct slice key, struct slice field,
                       struct slice *value) {
    const struct entry *entry = peek(ctx, key, ENTRY_HASH);
    if (!entry) return false;
    struct hash_view view = hash_view_entry(entry);
    return hash_find(&view, field, value);
}

static bool read_string(struct command_context *ctx, struct slice key, struct slice *value) {
    const struct entry *entry = peek(ctx, key, ENTRY_STRING);
    if (entry) *value = entry_string(entry);
    return entry != NULL;
}

/* False: there is no such thing. */
static bool follow(struct command_context *ctx, struct slice pattern, struct slice element,
                   struct slice *value) {
    if (slice_equal(pattern, SLICE("#"))) {
        *value = element;
        return true;
    }
    const char *star = pattern.len ? memchr(pattern.data, '*', pattern.len) : NULL;
    if (!star) return false;
    size_t before = (size_t)(star - pattern.data);
    size_t end = pattern.len;
    bool has_field = find_arrow(pattern, before + 1, &end);
    struct buf key = {0};
    buf_append(&key, pattern.data, before);
    buf_append_slice(&key, element);
    buf_append(&key, star + 1, end - before - 1);
    struct slice field = {0};
    if (has_field) field = slice_make(pattern.data + end + 2, pattern.len - end - 2);
    bool there = has_field ? read_field(ctx, buf_slice(&key), field, value)
                           : read_string(ctx, buf_slice(&key), value);
    buf_deinit(&key);
    return there;
}

/* --- order --- */

/* As strtod reads it, so blank text is 0. */
static bool parse_score(struct slice text, double *score) {
    char digits[512];
    char *end;
    if (text.len >= sizeof digits) return false;
    if (text.len) memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    errno = 0;
    *score = strtod(digits, &end);
    return *end == '\0' && errno != ERANGE && !isnan(*score);
}

/* False: one of them is no number. A weight that is not there counts as 0, or comes before all words. */
static bool weigh(struct command_context *ctx, const struct sort *sort, struct sequence *sequence) {
    bool all = true;
    for (size_t i = 0; i < sequence->n; i++) {
        struct sorted *item = &sequence->items[i];
        struct slice weight = item->element;
        if (sort->by.data && !follow(ctx, sort->by, item->element, &weight)) continue;
        if (sort->alphabetic)
            item->weight = weight.len ? weight : SLICE("");
        else
            all &= parse_score(weight, &item->score);
    }
    return all;
}

static int compare(const void *one, const void *other, void *arg) {
    const struct sort *sort = arg;
    const struct sorted *a = one;
    const struct sorted *b = other;
    int order;
    if (!sort->alphabetic) {
        order = a->score < b->score ? -1 : a->score > b->score;
        if (order == 0) order = slice_compare(a->element, b->element);
    } else if (a->weight.data && b->weight.data) {
        order = slice_compare(a->weight, b->weight);
    } else {
        order = (a->weight.data != NULL) - (b->weight.data != NULL);
    }
    return sort->descending ? -order : order;
}

/* --- what comes of it --- */

struct range {
    size_t from, to; /* [from, to) */
};

static struct range limited(const struct sort *sort, size_t n) {
    size_t from = sort->offset > 0 ? (size_t)sort->offset : 0;
    if (from > n) from = n;
    size_t count =
        sort->count < 0 || (size_t)sort->count > n - from ? n - from : (size_t)sort->count;
    return (struct range){from, from + count};
}

static void answer(struct command_context *ctx, const struct sort *sort,
                   const struct sequence *sequence, struct range range) {
    struct slice value;
    size_t mark = ctx->reply->out->len;
    reply_array(ctx->reply, (range.to - range.from) * (sort->n_gets ? sort->n_gets : 1));
    for (size_t i = range.from; i < range.to; i++) {
        struct slice element = sequence->items[i].element;
        if (sort->n_gets == 0) reply_bulk(ctx->reply, element);
        for (size_t g = 0; g < sort->n_gets; g++) {
            if (!cmd_within_bounds(ctx->reply, mark)) return;
            if (follow(ctx, sort->gets[g], element, &value))
                reply_bulk(ctx->reply, value);
            else
                reply_null(ctx->reply);
        }
    }
}

static void push_result(struct command_context *ctx, const struct sort *sort, struct slice element,
                        struct list *list) {
    struct slice value;
    if (sort->n_gets == 0) list_push(list, LIST_TAIL, element);
    for (size_t g = 0; g < sort->n_gets; g++)
        list_push(list, LIST_TAIL, follow(ctx, sort->gets[g], element, &value) ? value : SLICE(""));
}

static void store(struct command_context *ctx, const struct sort *sort,
                  const struct sequence *sequence, struct range range) {
    struct list_edit edit;
    uint64_t hash = store_hash(ctx->store, sort->store);
    struct list *list = list_edit_begin(&edit, NULL, hash);
    bool fits = true; /* a few patterns may ask for any length of list */
    for (size_t i = range.from; i < range.to && fits; i++) {
        push_result(ctx, sort, sequence->items[i].element, list);
        fits = store_fits(ctx->store, list_size(list));
    }
    size_t n = list_length(list);
    if (n == 0 || !fits) {
        list_edit_abandon(&edit);
        if (!fits) {
            cmd_answer_oom(ctx->reply);
            return;
        }
        if (store_remove(ctx->store, ctx->guard, sort->store, hash, REMOVED_DELETED))
            cmd_notify(ctx, NOTIFY_GENERIC, "del", sort->store);
    } else if (list_edit_end(&edit, ctx->store, ctx->guard, sort->store)) {
        cmd_notify(ctx, NOTIFY_LIST, "sortstore", sort->store);
    } else {
        cmd_answer_oom(ctx->reply);
        return;
    }
    reply_integer(ctx->reply, (int64_t)n);
}

/* A set has no order of its own that could be kept in a list. */
static void settle_order(struct sort *sort, const struct entry *entry) {
    if (!sort->unsorted || !entry || entry->kind != ENTRY_SET || !sort->store.data) return;
    sort->unsorted = false;
    sort->alphabetic = true;
    sort->by = (struct slice){0};
}

static void run(struct command_context *ctx, struct sort *sort, const struct entry *entry) {
    struct sequence sequence = {0};
    settle_order(sort, entry);
    if (entry) gather(entry, sort->unsorted && sort->descending, &sequence);
    bool weighed = sort->unsorted || weigh(ctx, sort, &sequence);
    struct range range = limited(sort, sequence.n);
    if (!sort->unsorted && sequence.n > 0)
        qsort_r(sequence.items, sequence.n, sizeof *sequence.items, compare, sort);
    if (!weighed)
        reply_error(ctx->reply, "ERR One or more scores can't be converted into double");
    else if (sort->store.data)
        store(ctx, sort, &sequence, range);
    else
        answer(ctx, sort, &sequence, range);
    mem_free(sequence.items);
    buf_deinit(&sequence.bytes);
}

static bool can_be_sorted(const struct key_value *value) {
    enum entry_kind kind = value->row ? value->kind : (enum entry_kind)value->entry->kind;
    return kind == ENTRY_LIST || kind == ENTRY_SET || kind == ENTRY_ZSET;
}

/* A named query's list or sorted set, as if it were a plain one. */
static void run_result(struct command_context *ctx, struct sort *sort,
                       const struct key_value *value) {
    struct slice key = ctx->argv[1];
    struct entry *plain = entry_create_packed(value->kind, key, store_hash(ctx->store, key),
                                              STORE_NEVER, value->fields);
    run(ctx, sort, plain);
    entry_destroy(&plain);
}

static void sort_key(struct command_context *ctx, bool may_store) {
    struct sort sort = {.count = -1, .gets = mem_alloc(ctx->argc * sizeof(struct slice))};
    struct key_value value;
    if (parse(ctx, may_store, &sort)) {
        switch (keyspace_read(ctx, ctx->argv[1], FORM_ANY, &value)) {
        case READ_FOUND:
            if (!can_be_sorted(&value))
                reply_wrong_type(ctx->reply);
            else if (value.row)
                run_result(ctx, &sort, &value);
            else
                run(ctx, &sort, value.entry);
            break;
        case READ_ABSENT: run(ctx, &sort, NULL); break;
        case READ_WRONG_TYPE: reply_wrong_type(ctx->reply); break;
        case READ_PENDING: break;
        case READ_FAILED: reply_error(ctx->reply, "%s", value.failure); break;
        }
    }
    mem_free(sort.gets);
}

static void cmd_sort(struct command_context *ctx) { sort_key(ctx, true); }
static void cmd_sort_ro(struct command_context *ctx) { sort_key(ctx, false); }

/* clang-format off */
const struct command commands_sort[] = {
    {"sort", cmd_sort, -2, CMD_WRITE | CMD_DENYOOM | CMD_LOCKS_ALL, KEY_AND_STORE, "1.0.0", GROUP_GENERIC,
     "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.", "O(N*log(N)) with the number of elements", NULL},
    {"sort_ro", cmd_sort_ro, -2, CMD_READONLY | CMD_LOCKS_ALL, KEYS(1, 1, 1), "7.0.0", GROUP_GENERIC,
     "Returns the sorted elements of a list, a set, or a sorted set.", "O(N*log(N)) with the number of elements", NULL},
    {0},
};
/* clang-format on */
