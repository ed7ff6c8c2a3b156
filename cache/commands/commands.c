#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/ticks.h"
#include "cache/access/permit.h"
#include "cache/commands/cmd.h"
#include "cache/commands/command.h"
#include "cache/commands/row_write.h"
#include "cache/commands/transaction.h"
#include "cache/front/account.h"
#include "cache/front/client.h"
#include "cache/front/gate.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/rows/keyspace.h"
#include "cache/signals/keywaits.h"
#include "cache/signals/tracked.h"
#include "cache/values/number.h"

/* Every file of commands. */
static const struct command *const groups[] = {
    commands_string,      commands_counter,      commands_lcs,        commands_bit,
    commands_bitfield,    commands_hash,         commands_hash_write, commands_list,
    commands_list_write,  commands_list_block,   commands_set,        commands_set_write,
    commands_set_algebra, commands_zset,         commands_zset_range, commands_zset_write,
    commands_zset_pop,    commands_zset_combine, commands_generic,    commands_keyspace,
    commands_object,      commands_memory,       commands_dump,       commands_sort,
    commands_expire,      commands_scan,         commands_connection, commands_pubsub,
    commands_server,      commands_acl,          commands_slowlog,    commands_debug,
    commands_multi,       commands_consistency,  commands_explain,    commands_verify,
    commands_freshet};

enum {
    SLOTS =
        1024, /* of the hash table: several times the commands, so a probe is nearly always the first */
    LONGEST_NAME = 32,
    SHOWN_MAX = 128, /* bytes of the client's own words in an error */
};

struct command_table {
    const struct command *slots[SLOTS];
};

const struct command *command_at(uint32_t i) {
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++)
        for (const struct command *row = groups[g]; row->name; row++)
            if (i-- == 0) return row;
    return NULL;
}

static uint32_t name_slot(struct slice name) {
    uint32_t hash = (uint32_t)name.len;
    for (size_t i = 0; i < name.len; i++)
        hash = hash * 31 + ((unsigned char)name.data[i] | 0x20);
    return (hash ^ hash >> 10) % SLOTS;
}

static void add_row(struct command_table *table, const struct command *row) {
    struct slice name = slice_from(row->name);
    ASSERT(name.len <= LONGEST_NAME && !command_find(table, name));
    uint32_t slot = name_slot(name);
    while (table->slots[slot])
        slot = (slot + 1) % SLOTS;
    table->slots[slot] = row;
}

struct command_table *command_table_create(void) {
    struct command_table *table = mem_zalloc(sizeof *table);
    const struct command *row;
    for (uint32_t i = 0; (row = command_at(i)); i++)
        add_row(table, row);
    for (row = commands_refused; row->name; row++)
        add_row(table, row);
    return table;
}

void command_table_destroy(struct command_table **table) {
    mem_free(*table);
    *table = NULL;
}

/* `row` is lower case; so is `name`, or not. */
static bool name_matches(const char *row, struct slice name) {
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != (unsigned char)row[i] || c == '\0') return false;
    }
    return row[name.len] == '\0';
}

const struct command *command_find(const struct command_table *table, struct slice name) {
    if (name.len > LONGEST_NAME) return NULL;
    for (uint32_t slot = name_slot(name); table->slots[slot]; slot = (slot + 1) % SLOTS)
        if (name_matches(table->slots[slot]->name, name)) return table->slots[slot];
    return NULL;
}

const struct command *command_find_sub(const struct command *command, struct slice name) {
    for (const struct command *row = command->subcommands; row && row->name; row++)
        if (name_matches(row->name, name)) return row;
    return NULL;
}

const struct command *command_parent(const struct command *command) {
    const struct command *row;
    for (uint32_t i = 0; (row = command_at(i)); i++)
        for (const struct command *sub = row->subcommands; sub && sub->name; sub++)
            if (sub == command) return row;
    return NULL;
}

/* The key behind SORT's last STORE; 0: there is none. The words behind its other options are none of its own. */
static uint32_t store_option_key(const struct slice *argv, uint32_t argc) {
    static const struct {
        struct slice word;
        uint32_t values;
        bool is_store;
    } options[] = {{SLICE("limit"), 2, false},
                   {SLICE("get"), 1, false},
                   {SLICE("by"), 1, false},
                   {SLICE("store"), 1, true}};
    uint32_t key = 0;
    for (uint32_t at = 2; at < argc; at++) {
        for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
            if (!slice_equal_nocase(argv[at], options[i].word)) continue;
            at += options[i].values;
            if (options[i].is_store && at < argc) key = at;
            break;
        }
    }
    return key;
}

struct command_key_iter command_keys(const struct command *command, const struct slice *argv,
                                     uint32_t argc) {
    struct command_keys keys = command->keys;
    struct command_key_iter iter = {0};
    if (command->flags & CMD_PUBSUB)
        return iter; /* shard channels stand where keys would, for clusters */
    if (keys.first > 0) {
        int64_t last = keys.last < 0 ? (int64_t)keys.last + argc : keys.last;
        if (last >= argc) last = (int64_t)argc - 1;
        iter = (struct command_key_iter){
            .next = (uint32_t)keys.first, .end = (uint32_t)(last + 1), .step = (uint32_t)keys.step};
    }
    int64_t n;
    if (keys.numkeys > 0 && keys.numkeys < argc && number_parse_i64(argv[keys.numkeys], &n) &&
        n > 0 && n < (int64_t)argc - keys.numkeys) {
        iter.counted = keys.numkeys + 1U;
        iter.counted_end = iter.counted + (uint32_t)n;
    } else if (keys.store_option) {
        iter.counted = store_option_key(argv, argc);
        iter.counted_end = iter.counted ? iter.counted + 1 : 0;
    }
    return iter;
}

/* --- refusals, worded as Redis 7.0 words them ---------------------------------------------------------------- */

static struct slice shown(struct slice word) {
    return slice_make(word.data, word.len < SHOWN_MAX ? word.len : SHOWN_MAX);
}

/* A browser that was made to send HTTP here has its request's lines as inline commands: what its body says must not run.
 * (Redis: securityWarningCommand.) */
static bool is_http(struct slice name) {
    return slice_equal_nocase(name, SLICE("post")) || slice_equal_nocase(name, SLICE("host:"));
}

static void append_upper(struct buf *out, const char *name) {
    for (; *name; name++)
        buf_append_char(out, (char)toupper((unsigned char)*name));
}

static void refuse_unknown(struct command_context *ctx) {
    struct buf args = {0};
    for (uint32_t i = 1; i < ctx->argc && args.len < SHOWN_MAX; i++) {
        struct slice word = ctx->argv[i];
        size_t room = SHOWN_MAX - args.len;
        buf_append_char(&args, '\'');
        buf_append(&args, word.data, word.len < room ? word.len : room);
        buf_append(&args, "' ", 2);
    }
    struct slice name = shown(ctx->argv[0]);
    reply_error(ctx->reply, "ERR unknown command '%.*s', with args beginning with: %s",
                (int)name.len, name.data, buf_text(&args));
    buf_deinit(&args);
}

static void refuse_unknown_sub(struct command_context *ctx, const struct command *named) {
    struct buf upper = {0};
    append_upper(&upper, named->name);
    struct slice name = shown(ctx->argv[1]);
    reply_error(ctx->reply, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)name.len, name.data,
                buf_text(&upper));
    buf_deinit(&upper);
}

static void refuse_arity(struct command_context *ctx, const struct command *named) {
    bool is_sub = ctx->command != named;
    reply_error(ctx->reply, "ERR wrong number of arguments for '%s%s%s' command", named->name,
                is_sub ? "|" : "", is_sub ? ctx->command->name : "");
}

bool command_arity_fits(const struct command *command, uint32_t argc) {
    return command->arity >= 0 ? argc == (uint32_t)command->arity
                               : argc >= (uint32_t)-command->arity;
}

void command_help(struct command_context *ctx) {
    const struct command *container = command_parent(ctx->command);
    struct buf line = {0};
    size_t n = 1;
    for (const struct command *row = container->subcommands; row->name; row++)
        n += 2;
    reply_array(ctx->reply, n);
    append_upper(&line, container->name);
    buf_append_text(&line, " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    reply_simple(ctx->reply, buf_text(&line));
    for (const struct command *row = container->subcommands; row->name; row++) {
        line.len = 0;
        append_upper(&line, row->name);
        reply_simple(ctx->reply, buf_text(&line));
        line.len = 0;
        buf_printf(&line, "    %s", row->summary);
        reply_simple(ctx->reply, buf_text(&line));
    }
    buf_deinit(&line);
}

/* --- running ----------------------------------------------------------------------------------------------- */

/* Has it left something in a key that a client waits for? */
static void serve_waiters(struct command_context *ctx) {
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    for (uint32_t i; (i = command_next_key(&keys));)
        keywaits_note(ctx, ctx->argv[i]);
    keywaits_serve(ctx);
}

static bool is_denied_memory(struct command_context *ctx) {
    if (!(ctx->command->flags & CMD_DENYOOM) || !store_is_full(ctx->store)) return false;
    cmd_answer_oom(ctx->reply);
    return true;
}

static void run_locked(struct command_context *ctx, struct command_key_iter keys,
                       struct buf *hashes) {
    if (is_denied_memory(ctx)) return;
    hashes->len = 0;
    for (uint32_t i; (i = command_next_key(&keys));) {
        uint64_t hash = command_hash(ctx, ctx->argv[i]);
        buf_append(hashes, &hash, sizeof hash);
    }
    struct store_guard guard;
    if (ctx->command->flags & CMD_LOCKS_ALL)
        store_lock_all(ctx->store, &guard);
    else
        keywaits_lock(ctx->keywaits, ctx->store, hashes, &guard);
    guard.client_id = ctx->client ? client_id(ctx->client) : 0;
    guard.now_ms = ctx->now_ms;
    ctx->guard = &guard;
    ctx->ran = true;
    ctx->command->run(ctx);
    if (ctx->command->flags & CMD_WRITE) serve_waiters(ctx);
    ctx->guard = NULL;
    store_unlock(ctx->store, &guard);
}

static void run_admitted(struct command_context *ctx, struct buf *hashes) {
    if (!(ctx->command->flags & (CMD_WRITE | CMD_LOCKS_KEYS | CMD_LOCKS_ALL)) ||
        !command_has_keys(ctx->command)) {
        ctx->ran = true;
        ctx->command->run(ctx);
        return;
    }
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    if (row_write_check(ctx, keys) == ROW_WRITE_PLAIN) run_locked(ctx, keys, hashes);
}

/* Finds the row, and refuses what is no request of a command or not this client's to make. */
static bool is_acceptable(struct command_context *ctx, const struct command *named) {
    if (__builtin_expect(!named, 0)) {
        if (is_http(ctx->argv[0]))
            client_abandon(ctx->client, "cross_protocol");
        else
            refuse_unknown(ctx);
        return false;
    }
    ctx->command = named;
    if (named->subcommands && ctx->argc >= 2) {
        const struct command *sub = command_find_sub(named, ctx->argv[1]);
        if (!sub && !(named->flags & CMD_REFUSED)) {
            refuse_unknown_sub(ctx, named);
            return false;
        }
        if (sub) ctx->command = sub;
    }
    if (!command_arity_fits(ctx->command, ctx->argc)) {
        refuse_arity(ctx, named);
        return false;
    }
    /* a write that was made is answered */
    return __builtin_expect(client_is_cleared(ctx->client), 1) || row_write_of(ctx) || permit(ctx);
}

/* --- unusual clients: gate.h, tracked.h, transaction.h --- */

/* Between MULTI and EXEC. What is refused spoils the EXEC. */
static void queue(struct command_context *ctx, const struct command *named) {
    struct transaction *tx = client_transaction(ctx->client);
    if (ctx->command->flags & CMD_NO_MULTI)
        reply_error(ctx->reply, "ERR Command not allowed inside a transaction");
    else if (!cmd_may_grow(ctx, ctx->command, ctx->argv, ctx->argc))
        cmd_answer_oom(ctx->reply);
    else if (!transaction_queue(tx, named, ctx->command, ctx->argv, ctx->argc))
        reply_error(ctx->reply, "ERR too much is queued: EXEC or DISCARD first");
    else if (ctx->command->flags & (CMD_WRITE | CMD_MAY_REPLICATE))
        client_set_mode(ctx->client, CLIENT_QUEUED_WRITES, true);
    atomic_store_explicit(&client_card(ctx->client)->queued, transaction_length(tx),
                          memory_order_relaxed);
    if (ctx->reply->errors)
        transaction_spoil(tx);
    else
        reply_simple(ctx->reply, "QUEUED");
}

/* An EXEC that was refused: the transaction is over, and the refusal is told as Redis tells it. */
static void abort_transaction(struct command_context *ctx, size_t mark) {
    struct buf why = {0};
    size_t len = ctx->reply->out->len - mark;
    if (len <= 3) return; /* the client is on its way out */
    buf_append(&why, ctx->reply->out->data + mark + 1, len - 3);
    const char *text = buf_text(&why);
    if (strncmp(text, "ERR ", 4) == 0) text += 4;
    ctx->reply->out->len = mark;
    reply_error(ctx->reply, "EXECABORT Transaction discarded because of: %s", text);
    buf_deinit(&why);
    struct transaction *tx = client_transaction(ctx->client);
    if (tx) transaction_end(tx);
    client_set_mode(ctx->client, CLIENT_IN_MULTI | CLIENT_QUEUED_WRITES, false);
    ctx->unusual &= ~(uint32_t)CLIENT_IN_MULTI;
}

static void run_unusual(struct command_context *ctx, const struct command *named,
                        struct buf *hashes) {
    size_t mark = ctx->reply->out->len;
    if (!gate_admits(ctx)) {
        if (ctx->command->flags & CMD_RUNS_QUEUE && !ctx->blocked) abort_transaction(ctx, mark);
        if (ctx->unusual & CLIENT_IN_MULTI && !ctx->blocked)
            transaction_spoil(client_transaction(ctx->client));
        return;
    }
    if (ctx->unusual & CLIENT_IN_MULTI && !(ctx->command->flags & CMD_UNQUEUED)) {
        queue(ctx, named);
        return;
    }
    if (ctx->unusual & CLIENT_TRACKS) tracked_before(ctx);
    run_admitted(ctx, hashes);
    if (ctx->unusual & CLIENT_TRACKS) tracked_after(ctx);
    gate_show(ctx);
}

void command_run_queued(struct command_context *ctx) {
    ASSERT(ctx->guard || !command_has_keys(ctx->command));
    if (!client_is_cleared(ctx->client)) {
        enum acl_verdict verdict = permit_queued(ctx);
        if (verdict != ACL_PERMITTED) {
            reply_error(ctx->reply,
                        "NOPERM ACLs rules changed between the moment the transaction was "
                        "accumulated and the EXEC call. This command is no longer allowed for the "
                        "following reason: %s",
                        permit_reason(verdict));
            return;
        }
    }
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    if (row_write_check(ctx, keys) == ROW_WRITE_OVER || is_denied_memory(ctx)) return;
    if (ctx->unusual & CLIENT_TRACKS) tracked_before(ctx);
    uint64_t start = ticks_now();
    size_t before = ctx->reply->out->len;
    uint32_t errors = ctx->reply->errors;
    ctx->command->run(ctx);
    account_queued(ctx, start, before, ctx->reply->errors != errors);
    if (ctx->unusual & CLIENT_TRACKS) tracked_after(ctx);
    if (ctx->command->flags & CMD_WRITE)
        for (uint32_t i; (i = command_next_key(&keys));)
            keywaits_note(ctx, ctx->argv[i]);
    if (ctx->unusual) gate_show(ctx);
}

void command_run(struct command_context *ctx, const struct command *named, struct buf *hashes) {
    size_t mark = ctx->reply->out->len;
    if (!is_acceptable(ctx, named)) {
        if (named && named->flags & CMD_RUNS_QUEUE) abort_transaction(ctx, mark);
        if (ctx->unusual & CLIENT_IN_MULTI) transaction_spoil(client_transaction(ctx->client));
    } else if (__builtin_expect(ctx->unusual, 0)) {
        run_unusual(ctx, named, hashes);
    } else {
        run_admitted(ctx, hashes);
    }
}
