/* cmd_multi.c: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
 *
 * EXEC is atomic across workers: it locks the shards of all keys of all its commands, and of the watched keys, looks whether a
 * watched key was touched, and runs the commands under that one guard; commands that walk the whole store have it
 * all locked. Rows that its reads need are fetched before, in one snapshot, and laid over the store; so nothing waits under the
 * guard. No command but those with keys locks shards by itself, so that all of them run under the one guard. */
#include "base/assert.h"
#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/commands/row_write.h"
#include "cache/commands/transaction.h"
#include "cache/front/client.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"
#include "cache/rows/fetch.h"
#include "cache/signals/keywaits.h"
#include "cache/writes/write.h"

static struct transaction *open_transaction(const struct command_context *ctx) {
    struct transaction *tx = client_transaction(ctx->client);
    return tx && transaction_is_open(tx) ? tx : NULL;
}

static struct transaction *own_transaction(struct command_context *ctx) {
    struct transaction *tx = client_transaction(ctx->client);
    if (!tx) {
        tx = transaction_create(worker_deps(ctx->worker)->watches,
                                &client_card(ctx->client)->touched);
        client_set_transaction(ctx->client, tx);
    }
    return tx;
}

static void cmd_multi(struct command_context *ctx) {
    if (open_transaction(ctx)) {
        reply_error(ctx->reply, "ERR MULTI calls can not be nested");
        return;
    }
    transaction_begin(own_transaction(ctx));
    client_set_mode(ctx->client, CLIENT_IN_MULTI, true);
    reply_ok(ctx->reply);
}

static void end(struct command_context *ctx, struct transaction *tx) {
    transaction_end(tx);
    client_set_mode(ctx->client, CLIENT_IN_MULTI | CLIENT_QUEUED_WRITES, false);
}

static void cmd_discard(struct command_context *ctx) {
    struct transaction *tx = open_transaction(ctx);
    if (!tx) {
        reply_error(ctx->reply, "ERR DISCARD without MULTI");
        return;
    }
    end(ctx, tx);
    reply_ok(ctx->reply);
}

/* --- WATCH --- */

/* Rows are brought into memory: what is there, a commit takes out, and that is seen. */
static bool load_watched(struct command_context *ctx) {
    size_t mark = ctx->reply->out->len;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        struct key_value value;
        if (!keyspace_is_row_key(ctx, ctx->argv[i])) continue;
        if (keyspace_read(ctx, ctx->argv[i], FORM_ANY, &value) != READ_FAILED) continue;
        cmd_fail(ctx, mark, &value);
        return false;
    }
    return ctx->n_pending == 0;
}

/* One that has expired and is still there is gone for Redis too: that it is removed later touches nothing. */
static void drop_expired(struct command_context *ctx, struct slice key) {
    struct cmd_lock lock;
    cmd_lock_key(ctx, key, &lock);
    store_find(ctx->store, lock.guard, key, store_hash(ctx->store, key), ctx->now_ms);
    cmd_unlock(ctx, &lock);
}

static void cmd_watch(struct command_context *ctx) {
    if (open_transaction(ctx)) {
        reply_error(ctx->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!load_watched(ctx)) return;
    struct transaction *tx = own_transaction(ctx);
    for (uint32_t i = 1; i < ctx->argc; i++) {
        struct slice key = ctx->argv[i];
        drop_expired(ctx, key);
        transaction_watch(tx, key, store_hash(ctx->store, key));
        if (keyspace_is_row_key(ctx, key) && !keyspace_holds_row(ctx, key)) transaction_touch(tx);
    }
    reply_ok(ctx->reply);
}

static void cmd_unwatch(struct command_context *ctx) {
    struct transaction *tx = client_transaction(ctx->client);
    if (tx) transaction_unwatch(tx);
    reply_ok(ctx->reply);
}

/* --- EXEC: before --- */

static bool walks_store(const struct queued *queued) {
    uint32_t flags = queued->command->flags;
    if (flags & CMD_LOCKS_ALL) return true;
    return flags & (CMD_READONLY | CMD_WRITE) && !command_has_keys(queued->command);
}

/* The bound of memory may have been set lower since they were queued. */
static bool fits(const struct command_context *ctx, struct transaction *tx) {
    for (uint32_t q = 0; q < transaction_length(tx); q++) {
        const struct queued *queued = transaction_at(tx, q);
        if (!cmd_may_grow(ctx, queued->command, queued->argv, queued->argc)) return false;
    }
    return true;
}

/* The rows that the commands will read, as orders in a buf. True: one of the commands asks for more than memory may prove. */
static bool gather_rows(struct command_context *ctx, struct transaction *tx, struct buf *orders) {
    bool anew = false;
    for (uint32_t q = 0; q < transaction_length(tx); q++) {
        const struct queued *queued = transaction_at(tx, q);
        if (!(queued->command->flags & CMD_READONLY)) continue;
        anew |= (queued->command->flags & CMD_FRESH) != 0;
        enum key_form form = queued->command->group == GROUP_HASH ? FORM_HASH : FORM_STRING;
        struct command_key_iter keys = command_keys(queued->command, queued->argv, queued->argc);
        for (uint32_t i; (i = command_next_key(&keys));) {
            struct slice key = queued->argv[i];
            if (!keyspace_is_row_key(ctx, key)) continue;
            struct fetch_order order = {key, store_hash(ctx->store, key), form};
            buf_append(orders, &order, sizeof order);
        }
    }
    return anew;
}

/* True: EXEC runs again once they are here. */
static bool waits_for_rows(struct command_context *ctx, struct transaction *tx) {
    struct buf orders = {0};
    bool anew = gather_rows(ctx, tx, &orders);
    uint32_t n = (uint32_t)(orders.len / sizeof(struct fetch_order));
    /* the allocator's alignment */
    if (n > 0)
        fetch_want_rows(ctx->keyspace, ctx, (const struct fetch_order *)(void *)orders.data, n,
                        anew);
    buf_deinit(&orders);
    return n > 0;
}

/* What an EXEC has locked. */
struct exec {
    struct transaction *tx;
    struct store_guard guard;
    struct buf hashes;
    bool all;
};

static void gather_hashes(struct command_context *ctx, struct exec *exec) {
    struct transaction *tx = exec->tx;
    uint64_t hash;
    for (uint32_t i = 0; i < transaction_watched(tx); i++) {
        transaction_watched_at(tx, i, &hash);
        buf_append(&exec->hashes, &hash, sizeof hash);
    }
    for (uint32_t q = 0; q < transaction_length(tx); q++) {
        const struct queued *queued = transaction_at(tx, q);
        exec->all |= walks_store(queued);
        struct command_key_iter keys = command_keys(queued->command, queued->argv, queued->argc);
        for (uint32_t i; (i = command_next_key(&keys));) {
            hash = store_hash(ctx->store, queued->argv[i]);
            buf_append(&exec->hashes, &hash, sizeof hash);
        }
    }
}

static void lock(struct command_context *ctx, struct exec *exec) {
    if (exec->all)
        store_lock_all(ctx->store, &exec->guard);
    else
        keywaits_lock(ctx->keywaits, ctx->store, &exec->hashes, &exec->guard);
    exec->guard.client_id = client_id(ctx->client);
    exec->guard.now_ms = ctx->now_ms;
    ctx->guard = &exec->guard;
}

static void unlock(struct command_context *ctx, struct exec *exec) {
    keywaits_serve(ctx);
    ctx->guard = NULL;
    store_unlock(ctx->store, &exec->guard);
}

/* Under the guard. A key that has expired since is touched as it is removed; a row that may have changed unseen, too. */
static bool is_touched(struct command_context *ctx, struct exec *exec) {
    for (uint32_t i = 0; i < transaction_watched(exec->tx); i++) {
        uint64_t hash;
        struct slice key = transaction_watched_at(exec->tx, i, &hash);
        store_find(ctx->store, ctx->guard, key, hash, ctx->now_ms);
        if (keyspace_is_row_key(ctx, key) && !keyspace_holds_row(ctx, key))
            transaction_touch(exec->tx);
    }
    return transaction_is_touched(exec->tx);
}

/* --- EXEC: the commands --- */

static struct command_context context_of(struct command_context *ctx, struct queued *queued) {
    struct command_context one = *ctx;
    one.argv = queued->argv;
    one.argc = queued->argc;
    one.command = queued->command;
    one.in_exec = true;
    /* A command before this one may have changed the client's modes; the process's are of one moment. */
    uint32_t process = ctx->unusual & ~(uint32_t)CLIENT_MODES;
    one.unusual = process | (client_modes(ctx->client) & ~(uint32_t)CLIENT_IN_MULTI);
    one.n_pending = 0;
    one.woken = one.timed_out = false;
    one.deadline_us = 0;
    return one;
}

static void run_one(struct command_context *ctx, struct queued *queued, uint32_t place) {
    size_t mark = ctx->reply->out->len;
    struct command_context one = context_of(ctx, queued);
    struct fetched_rows own;
    if (row_write_of(ctx)) {
        row_write_share(ctx, place, &own);
        one.fetched = &own;
    }
    command_run_queued(&one);
    if (one.blocked) {
        /* as if its time was over */
        ctx->reply->out->len = mark;
        one.blocked = false;
        one.timed_out = true;
        command_run_queued(&one);
    }
    if (one.n_pending || one.blocked) {
        ctx->reply->out->len = mark;
        reply_error(ctx->reply, "ERR '%s' cannot be answered within EXEC now: try again",
                    queued->named->name);
    }
    ctx->ready = one.ready;
    if (row_write_of(ctx)) row_write_unshare(&own);
}

static void answer_too_long(struct command_context *ctx, size_t mark) {
    ctx->reply->out->len = mark;
    reply_error(ctx->reply, "ERR the replies of this EXEC would be longer than %d bytes",
                STRING_MAX_BYTES);
}

/* A few words may ask for any length of answers: the one that makes the reply longer than one may be is taken back. Behind it all
 * that writes runs still, and what only reads is not even begun. */
static void run_all(struct command_context *ctx, struct exec *exec) {
    uint32_t n = transaction_length(exec->tx);
    size_t begin = ctx->reply->out->len;
    bool too_long = false;
    reply_array(ctx->reply, n);
    for (uint32_t i = 0; i < n; i++) {
        struct queued *queued = transaction_at(exec->tx, i);
        size_t mark = ctx->reply->out->len;
        bool skips = too_long && queued->command->flags & CMD_READONLY;
        if (!skips) run_one(ctx, queued, i);
        bool is_over = ctx->reply->out->len - begin > STRING_MAX_BYTES;
        if (skips || is_over) answer_too_long(ctx, mark);
        too_long |= is_over;
    }
}

/* The database's part did not happen, or nobody knows; so nothing else does. */
static void answer_unwritten(struct command_context *ctx, struct transaction *tx,
                             const struct write *write) {
    struct slice why = buf_slice(&write->failure);
    if (write->outcome == WRITE_TOUCHED)
        reply_null_array(ctx->reply);
    else if (write->outcome == WRITE_UNKNOWN)
        reply_error(ctx->reply, "%.*s", (int)why.len, why.data);
    else
        reply_error(ctx->reply, "EXECABORT Transaction discarded because of: %.*s", (int)why.len,
                    why.data);
    end(ctx, tx);
}

/* True: EXEC runs again once the database has carried them out, or it is answered. */
static bool writes_rows(struct command_context *ctx, struct transaction *tx) {
    size_t mark = ctx->reply->out->len;
    switch (row_write_exec(ctx, tx)) {
    case ROW_WRITE_NONE: return false;
    case ROW_WRITE_BEGUN: return true;
    case ROW_WRITE_REFUSED: break;
    }
    struct buf why = {0};
    buf_append(&why, ctx->reply->out->data + mark + 1, ctx->reply->out->len - mark - 3);
    ctx->reply->out->len = mark;
    reply_error(ctx->reply, "EXECABORT Transaction discarded because of: %s", buf_text(&why));
    buf_deinit(&why);
    end(ctx, tx);
    return true;
}

static void cmd_exec(struct command_context *ctx) {
    struct exec exec = {.tx = open_transaction(ctx)};
    if (!exec.tx) {
        reply_error(ctx->reply, "ERR EXEC without MULTI");
        return;
    }
    if (transaction_is_spoiled(exec.tx)) {
        end(ctx, exec.tx);
        reply_error(ctx->reply, "EXECABORT Transaction discarded because of previous errors.");
        return;
    }
    const struct write *write = row_write_of(ctx);
    if (write && write->outcome != WRITE_DONE) {
        answer_unwritten(ctx, exec.tx, write);
        return;
    }
    if (!write && !fits(ctx, exec.tx)) {
        end(ctx, exec.tx);
        reply_error(ctx->reply, "EXECABORT Transaction discarded because of: OOM command not "
                                "allowed when used memory > 'maxmemory'.");
        return;
    }
    if (!ctx->fetched && (writes_rows(ctx, exec.tx) || waits_for_rows(ctx, exec.tx))) return;
    gather_hashes(ctx, &exec);
    lock(ctx, &exec);
    /* of a write that was looked at before its COMMIT */
    if (!write && is_touched(ctx, &exec)) {
        reply_null_array(ctx->reply);
    } else {
        transaction_unwatch(exec.tx);
        run_all(ctx, &exec);
    }
    unlock(ctx, &exec);
    buf_deinit(&exec.hashes);
    end(ctx, exec.tx);
}

enum { ANY_TIME = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_UNQUEUED };

const struct command commands_multi[] = {
    {"discard", cmd_discard, 1, ANY_TIME | CMD_FAST, NO_KEYS, "2.0.0", GROUP_TRANSACTIONS,
     "Discards a transaction.", "O(N), when N is the number of queued commands", NULL},
    {"exec", cmd_exec, 1, ANY_TIME | CMD_RUNS_QUEUE, NO_KEYS, "1.2.0", GROUP_TRANSACTIONS,
     "Executes all commands in a transaction.", "Depends on commands in the transaction", NULL},
    {"multi", cmd_multi, 1, ANY_TIME | CMD_FAST, NO_KEYS, "1.2.0", GROUP_TRANSACTIONS,
     "Starts a transaction.", "O(1)", NULL},
    {"unwatch", cmd_unwatch, 1, CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST, NO_KEYS, "2.2.0",
     GROUP_TRANSACTIONS, "Forgets about watched keys of a transaction.", "O(1)", NULL},
    {"watch", cmd_watch, -2, ANY_TIME | CMD_FAST, KEYS(1, -1, 1), "2.2.0", GROUP_TRANSACTIONS,
     "Monitors changes to keys to determine the execution of a transaction; a table's row is "
     "touched by any commit "
     "that touches it.",
     "O(1) for every key.", NULL},
    {0},
};
