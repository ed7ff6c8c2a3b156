/* Unions, intersections and differences of sorted sets and of plain sets, whose members count as scored 1. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cache/commands/cmd_zset.h"
#include "cache/values/number.h"
#include "cache/values/set.h"

enum combination { COMBINE_UNION, COMBINE_INTER, COMBINE_DIFF };
enum aggregate { AGGREGATE_SUM, AGGREGATE_MIN, AGGREGATE_MAX };

/* One of the keys that are combined: one of the two is there, or neither. */
struct source {
    struct zset_view zset;
    struct set_view set;
    bool is_zset, is_set;
    size_t count;
    double weight;
    uint32_t place; /* among the arguments: sorting is to be stable */
};

struct combine {
    enum combination what;
    enum aggregate aggregate;
    bool with_scores;
    bool counts; /* ZINTERCARD */
    int64_t limit;
    struct source *sources;
    uint32_t n;
    struct zset_edit result;
    int64_t found; /* ZINTERCARD */
};

/* --- sources --- */

static void source_each(const struct source *source, zset_visit *visit, void *arg) {
    if (source->is_zset) zset_each(&source->zset, 0, source->count, false, visit, arg);
    if (!source->is_set) return;
    struct set_walk walk = set_walk(&source->set);
    struct slice member;
    while (set_next(&walk, &member))
        visit(member, 1, arg);
}

static bool source_find(const struct source *source, struct slice member, double *score) {
    if (source->is_zset) return zset_score(&source->zset, member, score);
    *score = 1;
    return source->is_set && set_has(&source->set, member);
}

/* The keys are locked. A table's row is neither kind of set, whether it is in memory or not. */
static bool open_source(struct command_context *ctx, struct slice key, struct source *source) {
    uint64_t hash;
    const struct entry *entry = cmd_find(ctx, key, &hash);
    if (!entry && ctx->keyspace && keyspace_is_row_key(ctx, key)) return false;
    if (!entry) {
        cmd_tell_miss(ctx, key);
        return true;
    }
    source->is_zset = entry->kind == ENTRY_ZSET;
    source->is_set = entry->kind == ENTRY_SET;
    if (source->is_zset) {
        source->zset = zset_view_entry(entry);
        source->count = zset_count(&source->zset);
    } else if (source->is_set) {
        source->set = set_view_entry(entry);
        source->count = set_count(&source->set);
    }
    return source->is_zset || source->is_set;
}

static int by_count(const void *a, const void *b) {
    const struct source *one = a;
    const struct source *other = b;
    if (one->count != other->count) return one->count < other->count ? -1 : 1;
    return (one->place > other->place) - (one->place < other->place);
}

/* --- arguments --- */

/* numkeys and the keys, from argv[at] on. False after an error reply. */
static bool read_sources(struct command_context *ctx, uint32_t at, struct combine *combine) {
    int64_t n;
    if (!cmd_integer(ctx, ctx->argv[at], &n)) return false;
    if (n < 1) {
        reply_error(ctx->reply, "ERR at least 1 input key is needed for '%s' command",
                    ctx->command->name);
        return false;
    }
    if (n >= (int64_t)ctx->argc - at) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    combine->n = (uint32_t)n;
    combine->sources = mem_calloc(combine->n, sizeof *combine->sources);
    for (uint32_t i = 0; i < combine->n; i++) {
        combine->sources[i].weight = 1;
        combine->sources[i].place = i;
        if (open_source(ctx, ctx->argv[at + 1 + i], &combine->sources[i])) continue;
        reply_wrong_type(ctx->reply);
        return false;
    }
    return true;
}

static bool read_weights(struct command_context *ctx, uint32_t at, struct combine *combine) {
    for (uint32_t i = 0; i < combine->n; i++) {
        if (number_parse_double(ctx->argv[at + i], &combine->sources[i].weight)) continue;
        reply_error(ctx->reply, "ERR weight value is not a float");
        return false;
    }
    return true;
}

static bool read_aggregate(struct command_context *ctx, struct slice word,
                           enum aggregate *aggregate) {
    static const struct slice words[] = {
        [AGGREGATE_SUM] = SLICE("sum"),
        [AGGREGATE_MIN] = SLICE("min"),
        [AGGREGATE_MAX] = SLICE("max"),
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!slice_equal_nocase(word, words[i])) continue;
        *aggregate = (enum aggregate)i;
        return true;
    }
    reply_syntax_error(ctx->reply);
    return false;
}

static bool read_card_limit(struct command_context *ctx, struct slice text, int64_t *limit) {
    if (number_parse_i64(text, limit) && *limit >= 0) return true;
    reply_error(ctx->reply, "ERR LIMIT can't be negative");
    return false;
}

/* What follows the keys. False after an error reply. */
static bool read_options(struct command_context *ctx, uint32_t i, bool stores,
                         struct combine *combine) {
    bool scored = combine->what != COMBINE_DIFF && !combine->counts;
    while (i < ctx->argc) {
        struct slice word = ctx->argv[i];
        uint32_t behind = ctx->argc - i - 1;
        if (scored && behind >= combine->n && slice_equal_nocase(word, SLICE("weights"))) {
            if (!read_weights(ctx, i + 1, combine)) return false;
            i += 1 + combine->n;
        } else if (scored && behind >= 1 && slice_equal_nocase(word, SLICE("aggregate"))) {
            if (!read_aggregate(ctx, ctx->argv[i + 1], &combine->aggregate)) return false;
            i += 2;
        } else if (!stores && !combine->counts && slice_equal_nocase(word, SLICE("withscores"))) {
            combine->with_scores = true;
            i++;
        } else if (combine->counts && behind >= 1 && slice_equal_nocase(word, SLICE("limit"))) {
            if (!read_card_limit(ctx, ctx->argv[i + 1], &combine->limit)) return false;
            i += 2;
        } else {
            reply_syntax_error(ctx->reply);
            return false;
        }
    }
    return true;
}

/* --- combining --- */

/* inf and -inf make 0, as in Redis. */
static double weighed(const struct source *source, double score) {
    double value = source->weight * score;
    return isnan(value) ? 0 : value;
}

static double aggregated(enum aggregate aggregate, double so_far, double value) {
    double sum = so_far + value;
    switch (aggregate) {
    case AGGREGATE_SUM: return isnan(sum) ? 0 : sum;
    case AGGREGATE_MIN: return value < so_far ? value : so_far;
    case AGGREGATE_MAX: return value > so_far ? value : so_far;
    }
    return so_far;
}

/* The source that is being walked, in the combination. */
struct combining {
    struct combine *combine;
    const struct source *source;
};

static void unite(struct slice member, double score, void *arg) {
    const struct combining *at = arg;
    struct zset_edit *result = &at->combine->result;
    struct zset_view view = zset_edit_view(result);
    double value = weighed(at->source, score);
    double so_far;
    if (zset_score(&view, member, &so_far)) {
        value = aggregated(at->combine->aggregate, so_far, value);
        if (value == 0) zset_edit_delete(result, member); /* 0 for -0 is no change to a set */
    }
    zset_edit_set(result, member, value);
}

/* The first source is the smallest. */
static void intersect(struct slice member, double score, void *arg) {
    const struct combining *at = arg;
    struct combine *combine = at->combine;
    if (combine->limit && combine->found >= combine->limit) return;
    double value = weighed(at->source, score);
    for (uint32_t i = 1; i < combine->n; i++) {
        const struct source *other = &combine->sources[i];
        double theirs;
        if (!source_find(other, member, &theirs)) return;
        value = aggregated(combine->aggregate, value, theirs * other->weight);
    }
    combine->found++;
    if (!combine->counts) zset_edit_set(&combine->result, member, value);
}

static void subtract(struct slice member, double score, void *arg) {
    const struct combining *at = arg;
    double theirs;
    for (uint32_t i = 1; i < at->combine->n; i++)
        if (source_find(&at->combine->sources[i], member, &theirs)) return;
    zset_edit_set(&at->combine->result, member, score);
}

static void combine_sources(struct combine *combine) {
    static zset_visit *const visits[] = {
        [COMBINE_UNION] = unite, [COMBINE_INTER] = intersect, [COMBINE_DIFF] = subtract};
    if (combine->what != COMBINE_DIFF)
        qsort(combine->sources, combine->n, sizeof *combine->sources, by_count);
    uint32_t walked = combine->what == COMBINE_UNION ? combine->n : 1;
    for (uint32_t i = 0; i < walked; i++) {
        struct combining at = {combine, &combine->sources[i]};
        source_each(at.source, visits[combine->what], &at);
    }
}

/* --- the commands: numkeys is argv[at]; stored in argv[1] where that is not 1 --- */

static void answer_members(struct command_context *ctx, const struct combine *combine) {
    struct zset_answer answer = {ctx->reply, combine->with_scores};
    struct zset_view view = zset_edit_view(&combine->result);
    size_t n = zset_count(&view);
    cmd_zset_answer_header(&answer, n);
    zset_each(&view, 0, n, false, cmd_zset_answer_member, &answer);
}

static void run(struct command_context *ctx, struct combine *combine, const char *event) {
    uint32_t at = event ? 2 : 1;
    struct zset_limits none = {0}; /* a tree at first: members are looked up again and again */
    if (!read_sources(ctx, at, combine) ||
        !read_options(ctx, at + 1 + combine->n, event != NULL, combine)) {
        mem_free(combine->sources);
        return;
    }
    zset_edit_begin(&combine->result, NULL, store_hash(ctx->store, ctx->argv[1]), &none);
    combine_sources(combine);
    mem_free(combine->sources);
    if (event) {
        struct zset_limits limits = cmd_zset_limits(ctx);
        zset_edit_pack(&combine->result, &limits);
        cmd_zset_store(ctx, ctx->argv[1], &combine->result, event);
        return;
    }
    if (combine->counts)
        reply_integer(ctx->reply, combine->found);
    else
        answer_members(ctx, combine);
    zset_edit_abandon(&combine->result);
}

static void cmd_zunion(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_UNION}, NULL);
}
static void cmd_zunionstore(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_UNION}, "zunionstore");
}
static void cmd_zinter(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_INTER}, NULL);
}
static void cmd_zinterstore(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_INTER}, "zinterstore");
}
static void cmd_zintercard(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_INTER, .counts = true}, NULL);
}
static void cmd_zdiff(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_DIFF}, NULL);
}
static void cmd_zdiffstore(struct command_context *ctx) {
    run(ctx, &(struct combine){.what = COMBINE_DIFF}, "zdiffstore");
}

/* clang-format off */
#define COMBINE_COST "O(N*log(M)) with N the members of all sets and M those of the result"

const struct command commands_zset_combine[] = {
    {"zdiff", cmd_zdiff, -3, CMD_READONLY | CMD_LOCKS_KEYS, NUMKEYS(1), "6.2.0", GROUP_SORTED_SET,
     "Returns the difference between multiple sorted sets.", COMBINE_COST, NULL},
    {"zdiffstore", cmd_zdiffstore, -4, CMD_WRITE | CMD_DENYOOM, DESTINATION_NUMKEYS(2), "6.2.0", GROUP_SORTED_SET,
     "Stores the difference of multiple sorted sets in a key.", COMBINE_COST, NULL},
    {"zinter", cmd_zinter, -3, CMD_READONLY | CMD_LOCKS_KEYS, NUMKEYS(1), "6.2.0", GROUP_SORTED_SET,
     "Returns the intersect of multiple sorted sets.", COMBINE_COST, NULL},
    {"zintercard", cmd_zintercard, -3, CMD_READONLY | CMD_LOCKS_KEYS, NUMKEYS(1), "7.0.0", GROUP_SORTED_SET,
     "Returns the number of members of the intersect of multiple sorted sets.", COMBINE_COST, NULL},
    {"zinterstore", cmd_zinterstore, -4, CMD_WRITE | CMD_DENYOOM, DESTINATION_NUMKEYS(2), "2.0.0", GROUP_SORTED_SET,
     "Stores the intersect of multiple sorted sets in a key.", COMBINE_COST, NULL},
    {"zunion", cmd_zunion, -3, CMD_READONLY | CMD_LOCKS_KEYS, NUMKEYS(1), "6.2.0", GROUP_SORTED_SET,
     "Returns the union of multiple sorted sets.", COMBINE_COST, NULL},
    {"zunionstore", cmd_zunionstore, -4, CMD_WRITE | CMD_DENYOOM, DESTINATION_NUMKEYS(2), "2.0.0", GROUP_SORTED_SET,
     "Stores the union of multiple sorted sets in a key.", COMBINE_COST, NULL},
    {0},
};
/* clang-format on */
