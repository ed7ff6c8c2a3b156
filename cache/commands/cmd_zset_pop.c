/* Sorted sets: the least or the greatest members, popped; and waited for, where there are none yet (keywaits.h). */
#include "base/assert.h"
#include "cache/commands/cmd_zset.h"
#include "cache/signals/keywaits.h"
#include "cache/signals/notify.h"
#include "cache/values/number.h"
#include "cache/values/scored.h"

enum zset_end { ZSET_LEAST, ZSET_GREATEST };

/* How popped members are answered. */
enum pop_shape {
    POP_FLAT,   /* member, score, ... */
    POP_NESTED, /* [member, score], ... */
    POP_KEYED,  /* key, member, score: BZPOPMIN */
    POP_LISTED, /* key, [[member, score], ...]: ZMPOP */
};

struct pop {
    enum zset_end end;
    enum pop_shape shape;
    int64_t count;
};

struct popping {
    struct reply *reply;
    bool nested;
    struct buf *taken; /* NULL: nobody wants to know */
};

static void answer_popped(struct slice member, double score, void *arg) {
    struct popping *popping = arg;
    if (popping->nested) reply_array(popping->reply, 2);
    reply_bulk(popping->reply, member);
    reply_double(popping->reply, score);
    if (!popping->taken) return;
    if (popping->taken->len == 0) scored_init(popping->taken);
    scored_append(popping->taken, member, score);
}

static void answer_pop_header(struct reply *reply, enum pop_shape shape, struct slice key,
                              size_t n) {
    switch (shape) {
    case POP_FLAT: reply_array(reply, 2 * n); break;
    case POP_NESTED: reply_array(reply, n); break;
    case POP_KEYED:
        reply_array(reply, 2 * n + 1);
        reply_bulk(reply, key);
        break;
    case POP_LISTED:
        reply_array(reply, 2);
        reply_bulk(reply, key);
        reply_array(reply, n);
        break;
    }
}

/* Pops from the entry, a sorted set, and answers. */
static void pop_members(struct command_context *ctx, struct slice key, struct entry *entry,
                        const struct pop *pop, struct buf *taken) {
    struct zset_edit edit;
    struct zset_limits limits = cmd_zset_limits(ctx);
    zset_edit_begin(&edit, entry, store_hash(ctx->store, key), &limits);
    struct zset_view view = zset_edit_view(&edit);
    size_t count = zset_count(&view);
    size_t n = (uint64_t)pop->count < count ? (size_t)pop->count : count;
    bool greatest = pop->end == ZSET_GREATEST;
    size_t from = greatest ? count - n : 0;
    struct popping popping = {ctx->reply, pop->shape == POP_NESTED || pop->shape == POP_LISTED,
                              taken};
    answer_pop_header(ctx->reply, pop->shape, key, n);
    zset_each(&view, from, from + n, greatest, answer_popped, &popping);
    zset_edit_delete_ranks(&edit, from, from + n);
    if (n > 0) cmd_notify(ctx, NOTIFY_ZSET, greatest ? "zpopmax" : "zpopmin", key);
    (void)!zset_edit_end(&edit, ctx->store, ctx->guard, key); /* it fits: it did before */
    if (n == count) cmd_notify(ctx, NOTIFY_GENERIC, "del", key);
}

/* From the first of the keys that is there. True: it was, and was answered, if only with WRONGTYPE. */
static bool pop_first(struct command_context *ctx, const struct slice *keys, uint32_t n_keys,
                      const struct pop *pop) {
    for (uint32_t i = 0; i < n_keys; i++) {
        uint64_t hash;
        struct entry *entry;
        if (!cmd_find_kind(ctx, keys[i], ENTRY_ZSET, &hash, &entry)) return true;
        if (!entry) continue;
        pop_members(ctx, keys[i], entry, pop, NULL);
        return true;
    }
    return false;
}

/* A whole number from `least` on, or `refusal`. */
static bool read_count(struct command_context *ctx, struct slice text, int64_t least,
                       const char *refusal, int64_t *value) {
    if (number_parse_i64(text, value) && *value >= least) return true;
    reply_error(ctx->reply, "%s", refusal);
    return false;
}

/* --- ZPOPMIN, ZPOPMAX --- */

static void zpop(struct command_context *ctx, enum zset_end end) {
    struct pop pop = {end, POP_FLAT, 1};
    if (ctx->argc > 3) {
        reply_syntax_error(ctx->reply);
        return;
    }
    if (ctx->argc == 3) {
        if (!read_count(ctx, ctx->argv[2], 0, "ERR value is out of range, must be positive",
                        &pop.count))
            return;
        if (ctx->reply->protocol >= 3) pop.shape = POP_NESTED;
    }
    if (!pop_first(ctx, &ctx->argv[1], 1, &pop)) reply_array(ctx->reply, 0);
}

static void cmd_zpopmin(struct command_context *ctx) { zpop(ctx, ZSET_LEAST); }
static void cmd_zpopmax(struct command_context *ctx) { zpop(ctx, ZSET_GREATEST); }

/* --- ZMPOP --- */

/* numkeys key ... MIN|MAX [COUNT count], from argv[at] on. False after an error reply. */
static bool read_zmpop(struct command_context *ctx, uint32_t at, int64_t *n_keys, struct pop *pop) {
    *pop = (struct pop){.shape = POP_LISTED, .count = 1};
    if (!read_count(ctx, ctx->argv[at], 1, "ERR numkeys should be greater than 0", n_keys))
        return false;
    if (*n_keys >= (int64_t)ctx->argc - at - 1) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    uint32_t i = at + 1 + (uint32_t)*n_keys;
    bool greatest = slice_equal_nocase(ctx->argv[i], SLICE("max"));
    pop->end = greatest ? ZSET_GREATEST : ZSET_LEAST;
    bool understood = greatest || slice_equal_nocase(ctx->argv[i], SLICE("min"));
    if (understood && ++i < ctx->argc) {
        understood = i + 1 < ctx->argc && slice_equal_nocase(ctx->argv[i], SLICE("count"));
        if (understood && !read_count(ctx, ctx->argv[i + 1], 1,
                                      "ERR count should be greater than 0", &pop->count))
            return false;
        understood = understood && i + 2 == ctx->argc;
    }
    if (!understood) reply_syntax_error(ctx->reply);
    return understood;
}

static void cmd_zmpop(struct command_context *ctx) {
    struct pop pop;
    int64_t n_keys;
    if (!read_zmpop(ctx, 1, &n_keys, &pop)) return;
    if (!pop_first(ctx, &ctx->argv[2], (uint32_t)n_keys, &pop)) reply_null_array(ctx->reply);
}

/* --- blocking --- */

/* Of an order: from is the end, to the shape. */
static void serve_pop(struct command_context *ctx, const struct keywait_order *order,
                      struct slice key, struct buf *taken) {
    uint64_t hash;
    struct pop pop = {order->from, order->to, order->count};
    pop_members(ctx, key, cmd_find(ctx, key, &hash), &pop, taken);
}

/* What was added again meanwhile has a newer score. */
static void put_back(struct command_context *ctx, const struct keywait_order *order,
                     struct slice key, struct slice taken) {
    uint64_t hash;
    struct entry *entry = cmd_find(ctx, key, &hash);
    (void)order;
    if (entry && entry->kind != ENTRY_ZSET) return;
    struct zset_edit edit;
    struct zset_limits limits = cmd_zset_limits(ctx);
    zset_edit_begin(&edit, entry, hash, &limits);
    struct scored_cursor cursor = scored_begin(taken);
    struct scored item;
    while (scored_next(&cursor, &item)) {
        double score;
        struct zset_view view = zset_edit_view(&edit);
        if (!zset_score(&view, item.member, &score)) zset_edit_set(&edit, item.member, item.score);
    }
    (void)!zset_edit_end(&edit, ctx->store, ctx->guard,
                         key); /* where memory does not suffice, they are lost */
}

static void pop_or_wait(struct command_context *ctx, struct slice timeout, const struct slice *keys,
                        uint32_t n_keys, const struct pop *pop) {
    int64_t deadline_us;
    if (!keywaits_timeout(ctx, timeout, &deadline_us)) return;
    if (pop_first(ctx, keys, n_keys, pop)) return;
    struct keywait_order order = {.kind = ENTRY_ZSET,
                                  .serve = serve_pop,
                                  .give_back = put_back,
                                  .count = pop->count,
                                  .from = (uint8_t)pop->end,
                                  .to = (uint8_t)pop->shape};
    keywaits_block(ctx, &order, keys, n_keys, deadline_us);
}

static void bzpop(struct command_context *ctx, enum zset_end end) {
    if (keywaits_resumed(ctx)) return;
    pop_or_wait(ctx, ctx->argv[ctx->argc - 1], &ctx->argv[1], ctx->argc - 2,
                &(struct pop){end, POP_KEYED, 1});
}

static void cmd_bzpopmin(struct command_context *ctx) { bzpop(ctx, ZSET_LEAST); }
static void cmd_bzpopmax(struct command_context *ctx) { bzpop(ctx, ZSET_GREATEST); }

static void cmd_bzmpop(struct command_context *ctx) {
    struct pop pop;
    int64_t n_keys;
    if (keywaits_resumed(ctx)) return;
    if (!read_zmpop(ctx, 2, &n_keys, &pop)) return;
    pop_or_wait(ctx, ctx->argv[1], &ctx->argv[3], (uint32_t)n_keys, &pop);
}

/* clang-format off */
#define POP_COST "O(log(N)*M) with N the members of the set and M those popped"

const struct command commands_zset_pop[] = {
    {"bzmpop", cmd_bzmpop, -5, CMD_WRITE | CMD_BLOCKING, NUMKEYS(2), "7.0.0", GROUP_SORTED_SET,
     "Removes and returns members by score from one of several sorted sets. Waits for one where all are empty.", POP_COST, NULL},
    {"bzpopmax", cmd_bzpopmax, -3, CMD_WRITE | CMD_FAST | CMD_NOSCRIPT | CMD_BLOCKING, KEYS(1, -2, 1), "5.0.0", GROUP_SORTED_SET,
     "Removes and returns the member with the highest score from one of several sorted sets. Waits for one where all are empty.", POP_COST, NULL},
    {"bzpopmin", cmd_bzpopmin, -3, CMD_WRITE | CMD_FAST | CMD_NOSCRIPT | CMD_BLOCKING, KEYS(1, -2, 1), "5.0.0", GROUP_SORTED_SET,
     "Removes and returns the member with the lowest score from one of several sorted sets. Waits for one where all are empty.", POP_COST, NULL},
    {"zmpop", cmd_zmpop, -4, CMD_WRITE, NUMKEYS(1), "7.0.0", GROUP_SORTED_SET,
     "Returns the highest- or lowest-scoring members of the first of several sorted sets that is not empty, after removing them.", POP_COST, NULL},
    {"zpopmax", cmd_zpopmax, -2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "5.0.0", GROUP_SORTED_SET,
     "Returns the highest-scoring members of a sorted set after removing them. Deletes the sorted set if the last one was popped.", POP_COST, NULL},
    {"zpopmin", cmd_zpopmin, -2, CMD_WRITE | CMD_FAST, KEYS(1, 1, 1), "5.0.0", GROUP_SORTED_SET,
     "Returns the lowest-scoring members of a sorted set after removing them. Deletes the sorted set if the last one was popped.", POP_COST, NULL},
    {0},
};
/* clang-format on */
