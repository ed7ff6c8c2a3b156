/* Walks over what is in memory: SCAN, KEYS, RANDOMKEY. Negative entries are no keys. */
#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/values/glob.h"

/* The keys that a walk has found. Entries stay readable until this turn's reading section ends. */
struct found_keys {
    const struct scan_options *options;
    const struct entry **entries;
    size_t n, cap;
    struct slice type; /* as TYPE tells it; data NULL: any */
};

static bool is_wanted(const struct found_keys *found, const struct entry *entry) {
    if (entry_is_absent(entry)) return false;
    if (found->type.data &&
        !slice_equal_nocase(found->type, slice_from(entry_kind_name(entry_shown_kind(entry)))))
        return false;
    return !found->options->filtered || glob_match(found->options->pattern, entry_key(entry));
}

static void collect(const struct entry *entry, void *arg) {
    struct found_keys *found = arg;
    if (!is_wanted(found, entry)) return;
    if (found->n == found->cap) {
        found->cap = found->cap ? found->cap * 2 : 64;
        found->entries = mem_realloc(found->entries, found->cap * sizeof *found->entries);
    }
    found->entries[found->n++] = entry;
}

static void answer_keys(struct command_context *ctx, struct found_keys *found) {
    reply_array(ctx->reply, found->n);
    for (size_t i = 0; i < found->n; i++)
        reply_bulk(ctx->reply, entry_key(found->entries[i]));
    mem_free(found->entries);
}

static void cmd_scan(struct command_context *ctx) {
    uint64_t cursor;
    struct scan_options options;
    struct found_keys found = {.options = &options};
    if (!cmd_cursor(ctx, ctx->argv[1], &cursor)) return;
    if (!cmd_scan_options(ctx, 2, &options, &found.type)) return;
    cursor =
        store_scan(ctx->store, ctx->guard, cursor, options.count, ctx->now_ms, collect, &found);
    reply_array(ctx->reply, 2);
    cmd_answer_cursor(ctx->reply, cursor);
    answer_keys(ctx, &found);
}

static void cmd_keys(struct command_context *ctx) {
    struct scan_options options = {.pattern = ctx->argv[1], .filtered = !glob_is_all(ctx->argv[1])};
    struct found_keys found = {.options = &options};
    uint64_t cursor = 0;
    do
        cursor = store_scan(ctx->store, ctx->guard, cursor, 1024, ctx->now_ms, collect, &found);
    while (cursor != 0);
    answer_keys(ctx, &found);
}

static void cmd_randomkey(struct command_context *ctx) {
    uint64_t state = cmd_random_seed();
    const struct entry *entry =
        store_random(ctx->store, ctx->guard, cmd_random(&state), ctx->now_ms);
    if (entry)
        reply_bulk(ctx->reply, entry_key(entry));
    else
        reply_null(ctx->reply);
}

/* clang-format off */
const struct command commands_scan[] = {
    {"keys", cmd_keys, 2, CMD_READONLY | CMD_DANGEROUS, NO_KEYS, "1.0.0", GROUP_GENERIC,
     "Returns all key names in memory that match a pattern.", "O(N) with the number of keys in memory", NULL},
    {"randomkey", cmd_randomkey, 1, CMD_READONLY, NO_KEYS, "1.0.0", GROUP_GENERIC,
     "Returns a random key name from memory.", "O(1)", NULL},
    {"scan", cmd_scan, -2, CMD_READONLY, NO_KEYS, "2.8.0", GROUP_GENERIC,
     "Iterates over the key names in memory.", "O(1) for every call, O(N) for a complete iteration", NULL},
    {0},
};
/* clang-format on */
