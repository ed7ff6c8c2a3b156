/* Lists: what changes them. */
#include "base/assert.h"
#include "cache/commands/cmd_list.h"
#include "cache/values/elements.h"

bool list_parse_end(struct command_context *ctx, struct slice word, enum list_end *end) {
    bool left = slice_equal_nocase(word, SLICE("left"));
    if (!left && !slice_equal_nocase(word, SLICE("right"))) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    *end = left ? LIST_HEAD : LIST_TAIL;
    return true;
}

static const char *push_event(enum list_end end) { return end == LIST_HEAD ? "lpush" : "rpush"; }
static const char *pop_event(enum list_end end) { return end == LIST_HEAD ? "lpop" : "rpop"; }

/* An object grows in place, so what could never be kept is refused before. */
static bool fits(struct command_context *ctx, const struct entry *entry, size_t more) {
    if (store_fits(ctx->store, (entry ? entry_size(entry) : 0) + more)) return true;
    cmd_answer_oom(ctx->reply);
    return false;
}

static bool end_edit(struct command_context *ctx, struct list_edit *edit, struct slice key) {
    if (list_edit_end(edit, ctx->store, ctx->guard, key)) return true;
    cmd_answer_oom(ctx->reply);
    return false;
}

/* --- pushing --- */

static void push(struct command_context *ctx, enum list_end end, bool must_exist) {
    struct slice key = ctx->argv[1];
    struct entry *entry;
    struct list_edit edit;
    uint64_t hash;
    if (!cmd_find_kind(ctx, key, ENTRY_LIST, &hash, &entry)) return;
    if (!entry && must_exist) {
        reply_integer(ctx->reply, 0);
        return;
    }
    size_t size = 0;
    for (uint32_t i = 2; i < ctx->argc; i++)
        size += elements_size(ctx->argv[i].len);
    if (!fits(ctx, entry, size)) return;
    struct list *list = list_edit_begin(&edit, entry, hash);
    for (uint32_t i = 2; i < ctx->argc; i++)
        list_push(list, end, ctx->argv[i]);
    int64_t length = (int64_t)list_length(list);
    if (!end_edit(ctx, &edit, key)) return;
    reply_integer(ctx->reply, length);
    cmd_notify(ctx, NOTIFY_LIST, push_event(end), key);
}

static void cmd_lpush(struct command_context *ctx) { push(ctx, LIST_HEAD, false); }
static void cmd_rpush(struct command_context *ctx) { push(ctx, LIST_TAIL, false); }
static void cmd_lpushx(struct command_context *ctx) { push(ctx, LIST_HEAD, true); }
static void cmd_rpushx(struct command_context *ctx) { push(ctx, LIST_TAIL, true); }

void list_put_back(struct command_context *ctx, struct slice key, enum list_end end,
                   struct slice taken) {
    struct list_edit edit;
    uint64_t hash;
    struct entry *entry = cmd_find(ctx, key, &hash);
    if (entry && entry->kind != ENTRY_LIST) return;
    struct list *list = list_edit_begin(&edit, entry, hash);
    for (const char *at = taken.data + taken.len; at > taken.data;)
        list_push(list, end, elements_backward(&at));
    if (list_edit_end(&edit, ctx->store, ctx->guard, key))
        cmd_notify(ctx, NOTIFY_LIST, push_event(end), key);
}

/* --- popping --- */

static void take_element(struct buf *taken, struct slice element) {
    size_t size = elements_size(element.len);
    elements_write(buf_reserve(taken, size), element);
    taken->len += size;
}

/* Tells that n elements have gone, and the key with the last of them. */
static void notify_popped(struct command_context *ctx, struct slice key, enum list_end end,
                          bool is_empty) {
    cmd_notify(ctx, NOTIFY_LIST, pop_event(end), key);
    if (is_empty) cmd_notify(ctx, NOTIFY_GENERIC, "del", key);
}

void list_take(struct command_context *ctx, struct slice key, struct entry *entry,
               const struct list_taking *taking) {
    struct list_edit edit;
    struct list *list = list_edit_begin(&edit, entry, store_hash(ctx->store, key));
    size_t mark = ctx->reply->out->len;
    size_t length = list_length(list);
    size_t n = taking->n < length ? taking->n : length;
    if (!taking->single) reply_array(ctx->reply, n);
    struct list_view view = list_view_of(list);
    struct list_cursor cursor =
        list_seek(&view, taking->end == LIST_HEAD ? 0 : length - 1, taking->end);
    struct slice element;
    for (size_t i = 0; i < n && list_next(&cursor, &element); i++) {
        reply_bulk(ctx->reply, element);
        if (taking->taken) take_element(taking->taken, element);
    }
    list_drop(list, taking->end, n);
    if (list_edit_end(&edit, ctx->store, ctx->guard, key)) {
        notify_popped(ctx, key, taking->end, n == length);
        return;
    }
    ctx->reply->out->len = mark;
    if (taking->taken) taking->taken->len = 0;
    cmd_answer_oom(ctx->reply);
}

/* Its count, or 1; false after an error reply. */
static bool parse_pop_count(struct command_context *ctx, int64_t *count) {
    *count = 1;
    if (ctx->argc > 3) {
        cmd_answer_arity(ctx);
        return false;
    }
    return ctx->argc == 2 || cmd_integer_from(ctx, ctx->argv[2], 0,
                                              "ERR value is out of range, must be positive", count);
}

static void pop(struct command_context *ctx, enum list_end end) {
    struct entry *entry;
    uint64_t hash;
    int64_t count;
    bool single = ctx->argc == 2;
    if (!parse_pop_count(ctx, &count)) return;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_LIST, &hash, &entry)) return;
    if (!entry && single)
        reply_null(ctx->reply);
    else if (!entry)
        reply_null_array(ctx->reply);
    else if (count == 0)
        reply_array(ctx->reply, 0);
    else
        list_take(ctx, ctx->argv[1], entry,
                  &(struct list_taking){.end = end, .n = (size_t)count, .single = single});
}

static void cmd_lpop(struct command_context *ctx) { pop(ctx, LIST_HEAD); }
static void cmd_rpop(struct command_context *ctx) { pop(ctx, LIST_TAIL); }

bool list_parse_pop(struct command_context *ctx, uint32_t at, struct list_pop_request *request) {
    int64_t n_keys;
    if (!cmd_integer_from(ctx, ctx->argv[at], 1, "ERR numkeys should be greater than 0", &n_keys))
        return false;
    int64_t left = (int64_t)ctx->argc - at - 1;
    if (n_keys >= left) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    *request = (struct list_pop_request){ctx->argv + at + 1, (uint32_t)n_keys, LIST_HEAD, 1};
    uint32_t next = at + 1 + (uint32_t)n_keys;
    if (!list_parse_end(ctx, ctx->argv[next++], &request->end)) return false;
    if (next == ctx->argc) return true;
    if (!slice_equal_nocase(ctx->argv[next], SLICE("count")) || next + 1 == ctx->argc) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    if (!cmd_integer_from(ctx, ctx->argv[next + 1], 1, "ERR count should be greater than 0",
                          &request->count))
        return false;
    if (next + 2 == ctx->argc) return true;
    reply_syntax_error(ctx->reply);
    return false;
}

bool list_find_first(struct command_context *ctx, const struct slice *keys, uint32_t n_keys,
                     struct slice *key, struct entry **entry) {
    uint64_t hash;
    *entry = NULL;
    for (uint32_t i = 0; i < n_keys && !*entry; i++) {
        *key = keys[i];
        if (!cmd_find_kind(ctx, keys[i], ENTRY_LIST, &hash, entry)) {
            *entry = NULL;
            return false;
        }
    }
    return *entry != NULL;
}

static void cmd_lmpop(struct command_context *ctx) {
    struct list_pop_request request;
    struct slice key;
    struct entry *entry;
    size_t mark = ctx->reply->out->len;
    if (!list_parse_pop(ctx, 1, &request)) return;
    if (!list_find_first(ctx, request.keys, request.n_keys, &key, &entry)) {
        if (ctx->reply->out->len == mark) reply_null_array(ctx->reply);
        return;
    }
    reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, key);
    list_take(ctx, key, entry,
              &(struct list_taking){.end = request.end, .n = (size_t)request.count});
}

/* --- moving --- */

static bool push_one(struct command_context *ctx, struct slice key, enum list_end to,
                     struct slice element) {
    struct entry *entry;
    struct list_edit edit;
    uint64_t hash;
    if (!cmd_find_kind(ctx, key, ENTRY_LIST, &hash, &entry)) return false;
    if (!fits(ctx, entry, elements_size(element.len))) return false;
    list_push(list_edit_begin(&edit, entry, hash), to, element);
    if (!end_edit(ctx, &edit, key)) return false;
    cmd_notify(ctx, NOTIFY_LIST, push_event(to), key);
    return true;
}

static void rotate(struct command_context *ctx, struct slice key, struct entry *entry,
                   enum list_end from, enum list_end to) {
    struct list_edit edit;
    struct list *list = list_edit_begin(&edit, entry, store_hash(ctx->store, key));
    struct list_view view = list_view_of(list);
    struct slice element;
    struct buf copy = {0};
    ASSERT(list_at(&view, from == LIST_HEAD ? 0 : list_length(list) - 1, &element));
    buf_append_slice(&copy, element);
    list_drop(list, from, 1);
    list_push(list, to, buf_slice(&copy));
    if (end_edit(ctx, &edit, key)) {
        reply_bulk(ctx->reply, buf_slice(&copy));
        cmd_notify(ctx, NOTIFY_LIST, push_event(to), key);
        cmd_notify(ctx, NOTIFY_LIST, pop_event(from), key);
    }
    buf_deinit(&copy);
}

void list_move(struct command_context *ctx, struct slice source, struct slice destination,
               enum list_end from, enum list_end to) {
    uint64_t hash;
    struct entry *entry = cmd_find(ctx, source, &hash);
    if (slice_equal(source, destination)) {
        rotate(ctx, source, entry, from, to);
        return;
    }
    struct list_view view = list_view_entry(entry);
    struct slice element;
    ASSERT(list_at(&view, from == LIST_HEAD ? 0 : list_count(&view) - 1, &element));
    struct buf moved = {0}; /* a copy: to put the destination may evict the source */
    buf_append_slice(&moved, element);
    if (push_one(ctx, destination, to, buf_slice(&moved))) {
        reply_bulk(ctx->reply, buf_slice(&moved));
        entry = cmd_find(ctx, source, &hash);
        if (entry) {
            struct list_edit edit;
            struct list *list = list_edit_begin(&edit, entry, hash);
            list_drop(list, from, 1);
            bool is_empty = list_length(list) == 0;
            if (list_edit_end(&edit, ctx->store, ctx->guard, source))
                notify_popped(ctx, source, from, is_empty);
        }
    }
    buf_deinit(&moved);
}

static void move(struct command_context *ctx, enum list_end from, enum list_end to) {
    struct entry *entry;
    uint64_t hash;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_LIST, &hash, &entry)) return;
    if (!entry)
        reply_null(ctx->reply);
    else
        list_move(ctx, ctx->argv[1], ctx->argv[2], from, to);
}

static void cmd_lmove(struct command_context *ctx) {
    enum list_end from;
    enum list_end to;
    if (list_parse_end(ctx, ctx->argv[3], &from) && list_parse_end(ctx, ctx->argv[4], &to))
        move(ctx, from, to);
}

static void cmd_rpoplpush(struct command_context *ctx) { move(ctx, LIST_TAIL, LIST_HEAD); }

/* --- in the middle --- */

static void answer_no_such_key(struct reply *reply) { reply_error(reply, "ERR no such key"); }

/* The list that argv[1] holds; false: the answer is composed. */
static bool begin_edit(struct command_context *ctx, struct list_edit *edit,
                       void (*absent)(struct reply *reply)) {
    struct entry *entry;
    uint64_t hash;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_LIST, &hash, &entry)) return false;
    if (entry)
        list_edit_begin(edit, entry, hash);
    else
        absent(ctx->reply);
    return entry != NULL;
}

static void cmd_lset(struct command_context *ctx) {
    struct list_edit edit;
    int64_t index;
    if (!begin_edit(ctx, &edit, answer_no_such_key)) return;
    int64_t length = (int64_t)list_length(edit.list);
    bool parsed = cmd_integer(ctx, ctx->argv[2], &index);
    if (parsed && index < 0) index += length;
    bool inside = parsed && index >= 0 && index < length;
    if (parsed && !inside) reply_error(ctx->reply, "ERR index out of range");
    if (!inside || !fits(ctx, edit.entry, elements_size(ctx->argv[3].len))) {
        list_edit_abandon(&edit);
        return;
    }
    list_replace(edit.list, (size_t)index, ctx->argv[3]);
    if (!end_edit(ctx, &edit, ctx->argv[1])) return;
    reply_ok(ctx->reply);
    cmd_notify(ctx, NOTIFY_LIST, "lset", ctx->argv[1]);
}

/* False: it is not there. */
static bool find_pivot(const struct list *list, struct slice pivot, size_t *index) {
    struct list_view view = list_view_of(list);
    struct list_cursor cursor = list_seek(&view, 0, LIST_HEAD);
    struct slice element;
    for (*index = 0; list_next(&cursor, &element); ++*index)
        if (slice_equal(element, pivot)) return true;
    return false;
}

static void cmd_linsert(struct command_context *ctx) {
    struct list_edit edit;
    size_t index;
    bool after = slice_equal_nocase(ctx->argv[2], SLICE("after"));
    if (!after && !slice_equal_nocase(ctx->argv[2], SLICE("before"))) {
        reply_syntax_error(ctx->reply);
        return;
    }
    if (!begin_edit(ctx, &edit, cmd_answer_zero)) return;
    bool found = find_pivot(edit.list, ctx->argv[3], &index);
    if (!found) reply_integer(ctx->reply, -1);
    if (!found || !fits(ctx, edit.entry, elements_size(ctx->argv[4].len))) {
        list_edit_abandon(&edit);
        return;
    }
    list_insert(edit.list, index + after, ctx->argv[4]);
    int64_t length = (int64_t)list_length(edit.list);
    if (!end_edit(ctx, &edit, ctx->argv[1])) return;
    reply_integer(ctx->reply, length);
    cmd_notify(ctx, NOTIFY_LIST, "linsert", ctx->argv[1]);
}

static void cmd_lrem(struct command_context *ctx) {
    struct list_edit edit;
    int64_t count;
    if (!cmd_integer(ctx, ctx->argv[2], &count)) return;
    if (!begin_edit(ctx, &edit, cmd_answer_zero)) return;
    enum list_end end = count < 0 ? LIST_TAIL : LIST_HEAD;
    uint64_t most = count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
    size_t removed = list_remove(edit.list, ctx->argv[3], most ? most : SIZE_MAX, end);
    bool is_empty = list_length(edit.list) == 0;
    if (removed == 0)
        list_edit_abandon(&edit);
    else if (!end_edit(ctx, &edit, ctx->argv[1]))
        return;
    reply_integer(ctx->reply, (int64_t)removed);
    if (removed) cmd_notify(ctx, NOTIFY_LIST, "lrem", ctx->argv[1]);
    if (is_empty) cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[1]);
}

static void cmd_ltrim(struct command_context *ctx) {
    struct list_edit edit;
    int64_t first;
    int64_t last;
    if (!cmd_integer(ctx, ctx->argv[2], &first) || !cmd_integer(ctx, ctx->argv[3], &last)) return;
    if (!begin_edit(ctx, &edit, reply_ok)) return;
    int64_t n = (int64_t)list_length(edit.list);
    if (first < 0) first += n;
    if (last < 0) last += n;
    if (first < 0) first = 0;
    if (last >= n) last = n - 1;
    if (first > last) {
        list_drop(edit.list, LIST_HEAD, (size_t)n);
    } else {
        list_drop(edit.list, LIST_TAIL, (size_t)(n - 1 - last));
        list_drop(edit.list, LIST_HEAD, (size_t)first);
    }
    bool is_empty = list_length(edit.list) == 0;
    if (!end_edit(ctx, &edit, ctx->argv[1])) return;
    reply_ok(ctx->reply);
    cmd_notify(ctx, NOTIFY_LIST, "ltrim", ctx->argv[1]);
    if (is_empty) cmd_notify(ctx, NOTIFY_GENERIC, "del", ctx->argv[1]);
}

/* clang-format off */
enum { LIST_WRITE = CMD_WRITE | CMD_DENYOOM };

const struct command commands_list_write[] = {
    {"linsert", cmd_linsert, 5, LIST_WRITE, KEYS(1, 1, 1), "2.2.0", GROUP_LIST,
     "Inserts an element before or after another element in a list.", "O(N) with the number of elements before the pivot", NULL},
    {"lmove", cmd_lmove, 5, LIST_WRITE, KEYS(1, 2, 1), "6.2.0", GROUP_LIST,
     "Returns an element after popping it from one list and pushing it to another.", "O(1)", NULL},
    {"lmpop", cmd_lmpop, -4, CMD_WRITE, NUMKEYS(1), "7.0.0", GROUP_LIST,
     "Returns multiple elements from the first list that is not empty after removing them.", "O(N+M) with the numbers of keys and of elements", NULL},
    {"lpop", cmd_lpop, -2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Returns the first elements in a list after removing them.", "O(N) with the number of elements", NULL},
    {"lpush", cmd_lpush, -3, LIST_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Prepends elements to a list. Creates the key if it doesn't exist.", "O(1) for each element", NULL},
    {"lpushx", cmd_lpushx, -3, LIST_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.2.0", GROUP_LIST,
     "Prepends elements to a list only when the list exists.", "O(1) for each element", NULL},
    {"lrem", cmd_lrem, 4, CMD_WRITE, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Removes elements from a list.", "O(N) with the number of elements", NULL},
    {"lset", cmd_lset, 4, LIST_WRITE, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Sets the value of an element in a list by its index.", "O(N) with the number of elements, in steps of a hundred; O(1) at the ends", NULL},
    {"ltrim", cmd_ltrim, 4, CMD_WRITE, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Removes elements from both ends of a list.", "O(N) with the number of elements removed", NULL},
    {"rpop", cmd_rpop, -2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Returns the last elements of a list after removing them.", "O(N) with the number of elements", NULL},
    {"rpoplpush", cmd_rpoplpush, 3, LIST_WRITE, KEYS(1, 2, 1), "1.2.0", GROUP_LIST,
     "Returns the last element of a list after removing and pushing it to another list.", "O(1)", NULL},
    {"rpush", cmd_rpush, -3, LIST_WRITE | CMD_FAST, KEYS(1, 1, 1), "1.0.0", GROUP_LIST,
     "Appends elements to a list. Creates the key if it doesn't exist.", "O(1) for each element", NULL},
    {"rpushx", cmd_rpushx, -3, LIST_WRITE | CMD_FAST, KEYS(1, 1, 1), "2.2.0", GROUP_LIST,
     "Appends elements to a list only when the list exists.", "O(1) for each element", NULL},
    {0},
};
/* clang-format on */
