#include "cache/commands/cmd.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/lsn.h"
#include "cache/front/settings.h"
#include "cache/front/worker.h"
#include "cache/signals/notify.h"
#include "cache/values/number.h"

void cmd_answer_zero(struct reply *reply) { reply_integer(reply, 0); }
void cmd_answer_empty_array(struct reply *reply) { reply_array(reply, 0); }
void cmd_answer_empty_map(struct reply *reply) { reply_map(reply, 0); }
void cmd_answer_empty_set(struct reply *reply) { reply_set(reply, 0); }

void cmd_answer_scan_end(struct reply *reply) {
    reply_array(reply, 2);
    reply_text(reply, "0");
    reply_array(reply, 0);
}

bool cmd_read(struct command_context *ctx, struct slice key, enum key_form form,
              struct key_value *value, void (*absent)(struct reply *reply)) {
    switch (keyspace_read(ctx, key, form, value)) {
    case READ_FOUND: return true;
    case READ_ABSENT: absent(ctx->reply); return false;
    case READ_WRONG_TYPE: reply_wrong_type(ctx->reply); return false;
    case READ_PENDING: return false;
    case READ_FAILED: reply_error(ctx->reply, "%s", value->failure); return false;
    }
    ASSERT_UNREACHABLE();
}

void cmd_fail(struct command_context *ctx, size_t mark, const struct key_value *value) {
    ctx->reply->out->len = mark;
    if (ctx->n_pending == 0) reply_error(ctx->reply, "%s", value->failure);
}

bool cmd_within_bounds(struct reply *reply, size_t mark) {
    if (reply->out->len - mark <= STRING_MAX_BYTES) return true;
    reply->out->len = mark;
    reply_error(reply, "ERR the reply would be longer than %d bytes", STRING_MAX_BYTES);
    return false;
}

bool cmd_is_pending(struct command_context *ctx, size_t mark) {
    if (ctx->n_pending == 0) return false;
    ctx->reply->out->len = mark;
    return true;
}

struct entry *cmd_find(struct command_context *ctx, struct slice key, uint64_t *hash) {
    *hash = command_hash(ctx, key);
    return store_find(ctx->store, ctx->guard, key, *hash, ctx->now_ms);
}

bool cmd_find_kind(struct command_context *ctx, struct slice key, enum entry_kind kind,
                   uint64_t *hash, struct entry **entry) {
    *entry = cmd_find(ctx, key, hash);
    if (!*entry || (*entry)->kind == kind) return true;
    reply_wrong_type(ctx->reply);
    return false;
}

void cmd_lock_key(struct command_context *ctx, struct slice key, struct cmd_lock *lock) {
    *lock = (struct cmd_lock){.guard = ctx->guard};
    uint64_t hash = store_hash(ctx->store, key);
    if (ctx->guard) {
        ASSERT(store_is_locked(ctx->guard, hash));
        return;
    }
    store_lock(ctx->store, &hash, 1, &lock->own);
    lock->guard = &lock->own;
}

void cmd_unlock(struct command_context *ctx, struct cmd_lock *lock) {
    if (lock->guard == &lock->own) store_unlock(ctx->store, &lock->own);
    lock->guard = NULL;
}

/* Finds it again under its lock: it may have gone meanwhile, or have become something else. */
static bool open_locked(struct command_context *ctx, struct slice key, enum entry_kind kind,
                        struct cmd_container *container, void (*absent)(struct reply *reply)) {
    cmd_lock_key(ctx, key, &container->lock);
    container->entry = store_find(ctx->store, container->lock.guard, key,
                                  store_hash(ctx->store, key), ctx->now_ms);
    if (container->entry && container->entry->kind == kind) return true;
    if (container->entry)
        reply_wrong_type(ctx->reply);
    else
        absent(ctx->reply);
    cmd_close(ctx, container);
    return false;
}

bool cmd_open(struct command_context *ctx, struct slice key, enum entry_kind kind,
              struct cmd_container *container, void (*absent)(struct reply *reply)) {
    static const enum key_form forms[ENTRY_KINDS] = {
        [ENTRY_HASH] = FORM_HASH, [ENTRY_LIST] = FORM_LIST, [ENTRY_ZSET] = FORM_ZSET};
    struct key_value value;
    *container = (struct cmd_container){0};
    if (!cmd_read(ctx, key, forms[kind], &value, absent)) return false;
    if (value.row ? forms[kind] == FORM_ANY : value.entry->kind != kind) {
        reply_wrong_type(ctx->reply);
        return false;
    }
    if (!value.row && value.entry->flags & ENTRY_OBJECT)
        return open_locked(ctx, key, kind, container, absent);
    container->entry = value.row ? NULL : value.entry;
    container->fields = value.fields;
    return true;
}

void cmd_answer_oom(struct reply *reply) {
    reply_error(reply, "OOM command not allowed when used memory > 'maxmemory'.");
}

bool cmd_arguments_fit(struct command_context *ctx, const struct entry *entry) {
    size_t size = entry ? entry_size(entry) : 0;
    for (uint32_t i = 2; i < ctx->argc; i++)
        size += ctx->argv[i].len;
    if (store_fits(ctx->store, size)) return true;
    cmd_answer_oom(ctx->reply);
    return false;
}

bool cmd_may_grow(const struct command_context *ctx, const struct command *command,
                  const struct slice *argv, uint32_t argc) {
    if (!(command->flags & CMD_DENYOOM)) return true;
    size_t bytes = 0;
    for (uint32_t i = 1; i < argc; i++)
        bytes += argv[i].len;
    int64_t bound = setting(worker_deps(ctx->worker)->settings, SETTING_MAX_MEMORY);
    return store_fits(ctx->store, bytes) && (bound <= 0 || bytes <= (uint64_t)bound);
}

bool cmd_put(struct command_context *ctx, struct entry **entry) {
    if (store_put(ctx->store, ctx->guard, entry)) return true;
    cmd_answer_oom(ctx->reply);
    return false;
}

bool cmd_integer(struct command_context *ctx, struct slice text, int64_t *value) {
    if (number_parse_i64(text, value)) return true;
    reply_not_an_integer(ctx->reply);
    return false;
}

bool cmd_integer_from(struct command_context *ctx, struct slice text, int64_t least,
                      const char *refusal, int64_t *value) {
    if (number_parse_i64(text, value) && *value >= least) return true;
    reply_error(ctx->reply, "%s", refusal);
    return false;
}

bool cmd_lsn(struct command_context *ctx, struct slice text, uint64_t *lsn) {
    char copy[24];
    if (text.len < sizeof copy && !memchr(text.data, '\0', text.len)) {
        memcpy(copy, text.data, text.len);
        copy[text.len] = '\0';
        if (lsn_parse(copy, lsn)) return true;
    }
    reply_error(ctx->reply, "ERR an LSN is written as pg_lsn prints it: 16/B374D848");
    return false;
}

bool cmd_float(struct command_context *ctx, struct slice text, long double *value) {
    if (number_parse_long_double(text, value)) return true;
    reply_not_a_float(ctx->reply);
    return false;
}

int64_t cmd_setting(const struct command_context *ctx, enum setting which) {
    return setting(worker_deps(ctx->worker)->settings, which);
}

struct hash_limits cmd_hash_limits(const struct command_context *ctx) {
    return (struct hash_limits){(uint64_t)cmd_setting(ctx, SETTING_HASH_MAX_ENTRIES),
                                (uint64_t)cmd_setting(ctx, SETTING_HASH_MAX_VALUE)};
}

bool cmd_database(struct command_context *ctx, struct slice text) {
    int64_t number;
    if (!cmd_integer(ctx, text, &number)) return false;
    if (number == 0) return true;
    if (number < INT32_MIN || number > INT32_MAX)
        reply_error(ctx->reply, "ERR value is out of range, value must between %d and %d",
                    INT32_MIN, INT32_MAX);
    else
        reply_error(ctx->reply, "ERR DB index is out of range");
    return false;
}

void cmd_answer_arity(struct command_context *ctx) {
    reply_error(ctx->reply, "ERR wrong number of arguments for '%s' command", ctx->command->name);
}

void cmd_tell_miss(struct command_context *ctx, struct slice key) {
    cmd_notify(ctx, NOTIFY_KEY_MISS, "keymiss", key);
}

void cmd_answer_sub_arity(struct command_context *ctx) {
    enum { SHOWN_MAX = 128 };
    struct buf container = {0};
    for (size_t i = 0; i < ctx->argv[0].len; i++)
        buf_append_char(&container, (char)toupper((unsigned char)ctx->argv[0].data[i]));
    int shown = (int)(ctx->argv[1].len < SHOWN_MAX ? ctx->argv[1].len : SHOWN_MAX);
    reply_error(ctx->reply,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                shown, ctx->argv[1].data, buf_text(&container));
    buf_deinit(&container);
}

void cmd_answer_expiry(struct command_context *ctx) {
    reply_error(ctx->reply, "ERR invalid expire time in '%s' command", ctx->command->name);
}

bool cmd_expiry(struct command_context *ctx, struct slice text, int64_t unit_ms, int64_t base_ms,
                int64_t *at_ms) {
    if (!cmd_integer(ctx, text, at_ms)) return false;
    bool fits = *at_ms > 0 && !__builtin_mul_overflow(*at_ms, unit_ms, at_ms) &&
                !__builtin_add_overflow(*at_ms, base_ms, at_ms);
    if (!fits) cmd_answer_expiry(ctx);
    return fits;
}

bool cmd_cursor(struct command_context *ctx, struct slice text, uint64_t *cursor) {
    if (number_parse_cursor(text, cursor)) return true;
    reply_error(ctx->reply, "ERR invalid cursor");
    return false;
}

void cmd_answer_cursor(struct reply *reply, uint64_t cursor) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, cursor);
    reply_bulk(reply, slice_make(digits, (size_t)len));
}

bool cmd_scan_options(struct command_context *ctx, uint32_t from, struct scan_options *options,
                      struct slice *type) {
    *options = (struct scan_options){.count = 10};
    for (uint32_t i = from; i < ctx->argc; i += 2) {
        struct slice name = ctx->argv[i];
        bool has_value = i + 1 < ctx->argc;
        struct slice value = has_value ? ctx->argv[i + 1] : (struct slice){0};
        int64_t count;
        if (has_value && slice_equal_nocase(name, SLICE("count"))) {
            if (!cmd_integer(ctx, value, &count)) return false;
            if (count < 1) {
                reply_syntax_error(ctx->reply);
                return false;
            }
            options->count = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
        } else if (has_value && slice_equal_nocase(name, SLICE("match"))) {
            options->pattern = value;
            options->filtered = !(value.len == 1 && value.data[0] == '*');
        } else if (has_value && type && slice_equal_nocase(name, SLICE("type"))) {
            *type = value;
        } else {
            reply_syntax_error(ctx->reply);
            return false;
        }
    }
    return true;
}

uint64_t cmd_random_seed(void) {
    uint64_t seed = 0;
    ssize_t n = getrandom(&seed, sizeof seed, 0);
    ASSERT(n == sizeof seed); /* never short for so few bytes */
    return seed;
}
