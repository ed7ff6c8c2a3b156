/* Lists: popping from what is not there yet. How clients wait is in keywaits.h. */
#include "cache/commands/cmd_list.h"
#include "cache/signals/keywaits.h"

enum { POP_ONE = -1 /* an order's count: one element, not in an array of its own */ };

/* The key, and what is popped from it. */
static void pop_from(struct command_context *ctx, struct slice key, struct entry *entry,
                     enum list_end end, int64_t count, struct buf *taken) {
    struct list_taking taking = {
        .end = end,
        .n = count == POP_ONE ? 1 : (size_t)count,
        .single = count == POP_ONE,
        .taken = taken,
    };
    reply_array(ctx->reply, 2);
    reply_bulk(ctx->reply, key);
    list_take(ctx, key, entry, &taking);
}

static void serve_pop(struct command_context *ctx, const struct keywait_order *order,
                      struct slice key, struct buf *taken) {
    uint64_t hash;
    pop_from(ctx, key, cmd_find(ctx, key, &hash), order->from, order->count, taken);
}

static void give_back(struct command_context *ctx, const struct keywait_order *order,
                      struct slice key, struct slice taken) {
    list_put_back(ctx, key, order->from, taken);
}

static void pop_or_block(struct command_context *ctx, const struct slice *keys, uint32_t n_keys,
                         struct slice timeout, enum list_end end, int64_t count) {
    int64_t deadline_us;
    struct slice key;
    struct entry *entry;
    if (!keywaits_timeout(ctx, timeout, &deadline_us)) return;
    size_t mark = ctx->reply->out->len;
    if (list_find_first(ctx, keys, n_keys, &key, &entry)) {
        pop_from(ctx, key, entry, end, count, NULL);
        return;
    }
    if (ctx->reply->out->len > mark) return; /* another type */
    struct keywait_order order = {
        .kind = ENTRY_LIST,
        .serve = serve_pop,
        .give_back = give_back,
        .from = (uint8_t)end,
        .count = count,
    };
    keywaits_block(ctx, &order, keys, n_keys, deadline_us);
}

static void cmd_blpop(struct command_context *ctx) {
    if (keywaits_resumed(ctx)) return;
    pop_or_block(ctx, ctx->argv + 1, ctx->argc - 2, ctx->argv[ctx->argc - 1], LIST_HEAD, POP_ONE);
}

static void cmd_brpop(struct command_context *ctx) {
    if (keywaits_resumed(ctx)) return;
    pop_or_block(ctx, ctx->argv + 1, ctx->argc - 2, ctx->argv[ctx->argc - 1], LIST_TAIL, POP_ONE);
}

static void cmd_blmpop(struct command_context *ctx) {
    struct list_pop_request request;
    if (keywaits_resumed(ctx)) return;
    if (!list_parse_pop(ctx, 2, &request)) return;
    pop_or_block(ctx, request.keys, request.n_keys, ctx->argv[1], request.end, request.count);
}

static void serve_move(struct command_context *ctx, const struct keywait_order *order,
                       struct slice key, struct buf *taken) {
    (void)taken; /* it is in its destination, and stays there */
    list_move(ctx, key, order->destination, order->from, order->to);
}

static void move_or_block(struct command_context *ctx, struct slice timeout, enum list_end from,
                          enum list_end to) {
    int64_t deadline_us;
    struct entry *entry;
    uint64_t hash;
    if (!keywaits_timeout(ctx, timeout, &deadline_us)) return;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_LIST, &hash, &entry)) return;
    if (entry) {
        list_move(ctx, ctx->argv[1], ctx->argv[2], from, to);
        return;
    }
    struct keywait_order order = {
        .kind = ENTRY_LIST,
        .serve = serve_move,
        .destination = ctx->argv[2],
        .from = (uint8_t)from,
        .to = (uint8_t)to,
        .null_bulk = true,
    };
    keywaits_block(ctx, &order, ctx->argv + 1, 1, deadline_us);
}

static void cmd_blmove(struct command_context *ctx) {
    enum list_end from;
    enum list_end to;
    if (keywaits_resumed(ctx)) return;
    if (list_parse_end(ctx, ctx->argv[3], &from) && list_parse_end(ctx, ctx->argv[4], &to))
        move_or_block(ctx, ctx->argv[5], from, to);
}

static void cmd_brpoplpush(struct command_context *ctx) {
    if (keywaits_resumed(ctx)) return;
    move_or_block(ctx, ctx->argv[3], LIST_TAIL, LIST_HEAD);
}

/* clang-format off */
enum { BLOCKING_POP = CMD_WRITE | CMD_BLOCKING, BLOCKING_MOVE = BLOCKING_POP | CMD_DENYOOM | CMD_NOSCRIPT };

const struct command commands_list_block[] = {
    {"blmove", cmd_blmove, 6, BLOCKING_MOVE, KEYS(1, 2, 1), "6.2.0", GROUP_LIST,
     "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise.", "O(1)", NULL},
    {"blmpop", cmd_blmpop, -5, BLOCKING_POP, NUMKEYS(2), "7.0.0", GROUP_LIST,
     "Pops elements from the first list that is not empty. Blocks until one is available otherwise.", "O(N+M) with the numbers of keys and of elements", NULL},
    {"blpop", cmd_blpop, -3, BLOCKING_POP | CMD_NOSCRIPT, KEYS(1, -2, 1), "2.0.0", GROUP_LIST,
     "Removes and returns the first element of the first list that is not empty. Blocks until one is available otherwise.", "O(N) with the number of keys", NULL},
    {"brpop", cmd_brpop, -3, BLOCKING_POP | CMD_NOSCRIPT, KEYS(1, -2, 1), "2.0.0", GROUP_LIST,
     "Removes and returns the last element of the first list that is not empty. Blocks until one is available otherwise.", "O(N) with the number of keys", NULL},
    {"brpoplpush", cmd_brpoplpush, 4, BLOCKING_MOVE, KEYS(1, 2, 1), "2.2.0", GROUP_LIST,
     "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise.", "O(1)", NULL},
    {0},
};
/* clang-format on */
