#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/front/client_state.h"
#include "cache/front/gate.h"
#include "cache/front/reply.h"
#include "cache/front/settings.h"
#include "cache/rows/keyspace.h"
#include "cache/signals/keywaits.h"
#include "cache/store/store.h"

enum {
    BATCH = 32,      /* requests parsed before the first of them runs */
    PREFETCHED = 64, /* keys whose entries are asked for before the first command of a batch runs */
    AHEAD = 500,     /* requests behind one that waits for rows whose rows are fetched with it */
    QUANTUM = 1024,  /* requests a client may run before the others have their turn */
    REPARSED = 1024, /* a shorter half of a request is parsed again rather than remembered */
    ARGV_KEPT = 1024, /* the worker's array shrinks to this after a larger request */
};

struct request {
    const struct command *named;
    struct slice *argv;
    uint32_t argc;
    size_t start;
    struct slice hashed; /* the key that prefetch has hashed; data NULL: none */
    uint64_t hash;
};

struct batch {
    struct request requests[BATCH];
    uint32_t n;
    struct resp_parser *held; /* the last request's arguments lie in it */
};

/* --- parsing ----------------------------------------------------------------------------------------------- */

static void release_parser(struct client *client, struct resp_parser *parser) {
    resp_reset(parser);
    if (parser != client->parser) return;
    resp_deinit(parser);
    mem_free(parser);
    client->parser = NULL;
}

/* Room for argc more slices behind `used`; false: not in this batch. */
static bool reserve_argv(struct worker *worker, uint32_t used, uint32_t argc) {
    if (worker->argv_cap - used >= argc) return true;
    if (used) return false;
    worker->argv_cap = argc > ARGV_KEPT ? argc : ARGV_KEPT;
    worker->argv = mem_realloc(worker->argv, worker->argv_cap * sizeof worker->argv[0]);
    return true;
}

static void shrink_argv(struct worker *worker) {
    if (worker->argv_cap <= ARGV_KEPT) return;
    worker->argv = mem_realloc(worker->argv, ARGV_KEPT * sizeof worker->argv[0]);
    worker->argv_cap = ARGV_KEPT;
}

/* Asks memory for the entries of all keys of the batch at once: one after the other, each costs the time of two or three
 * cache misses; together they overlap. A single key is not worth the hash. */
static void prefetch(const struct store *store, struct batch *batch) {
    if (batch->n == 1 && batch->requests[0].argc <= 2) return;
    uint64_t hashes[PREFETCHED];
    const struct bucket *buckets[PREFETCHED];
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        struct request *request = &batch->requests[i];
        if (!request->named) continue;
        if (request->named->keys.last == 1 && request->argc > 1) { /* GET and most others */
            if (n == PREFETCHED) break;
            hashes[n] = store_hash(store, request->argv[1]);
            request->hashed = request->argv[1];
            request->hash = hashes[n];
            buckets[n] = store_prefetch(store, hashes[n]);
            n++;
            continue;
        }
        struct command_key_iter keys = command_keys(request->named, request->argv, request->argc);
        for (uint32_t k; n < PREFETCHED && (k = command_next_key(&keys));) {
            hashes[n] = store_hash(store, request->argv[k]);
            buckets[n] = store_prefetch(store, hashes[n]);
            n++;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        store_prefetch_entry(buckets[i], hashes[i]);
}

/* Mostly the same as that of the request before. */
static const struct command *find_named(struct worker *worker, struct slice name) {
    struct last_name *last = &worker->last_name;
    if (name.len == last->len && memcmp(name.data, last->text, name.len) == 0) return last->named;
    const struct command *named = command_find(worker->deps.commands, name);
    if (name.len <= sizeof last->text) {
        memcpy(last->text, name.data, name.len);
        last->len = (uint32_t)name.len;
        last->named = named;
    }
    return named;
}

/* Parses requests until the batch is full or the bytes end.
 * One at a time before AUTH: the next one's limits depend on it. */
static enum resp_status gather(struct client *client, struct span *span, struct batch *batch) {
    struct worker *worker = client->worker;
    uint32_t max = client->session.authenticated ? BATCH : 1;
    uint32_t used = 0;
    batch->n = 0;
    batch->held = NULL;
    while (batch->n < max && !batch->held) {
        if (span->at == span->len) return RESP_MORE;
        if (max > 1 && !client->parser && reserve_argv(worker, used, RESP_SMALL_ARGS)) {
            struct request *request = &batch->requests[batch->n];
            request->argv = worker->argv + used;
            request->start = span->at;
            request->hashed.data = NULL;
            size_t len = resp_parse_small(span->bytes + span->at, span->len - span->at,
                                          request->argv, &request->argc);
            if (len) {
                request->named = find_named(worker, request->argv[0]);
                used += request->argc;
                span->at += len;
                batch->n++;
                continue;
            }
        }
        struct resp_parser *parser = client->parser ? client->parser : &worker->parser;
        parser->authenticated = client->session.authenticated;
        parser->max_bulk = (size_t)setting(worker->deps.settings, SETTING_MAX_BULK);
        enum resp_status status = resp_parse(parser, span->bytes + span->at, span->len - span->at);
        if (status != RESP_DONE) return status;
        if (parser->argc > 0) {
            if (!reserve_argv(worker, used, parser->argc)) {
                resp_reset(parser); /* parsed again as the next batch's first */
                return RESP_DONE;
            }
            struct request *request = &batch->requests[batch->n++];
            *request = (struct request){
                .argv = worker->argv + used, .argc = parser->argc, .start = span->at};
            resp_argv(parser, span->bytes + span->at, request->argv);
            request->named = find_named(worker, request->argv[0]);
            used += parser->argc;
        }
        span->at += parser->consumed;
        if (parser->is_unescaped && parser->argc > 0)
            batch->held = parser;
        else
            release_parser(client, parser);
    }
    return RESP_DONE;
}

void client_drop_parser(struct client *client) {
    if (client->parser) release_parser(client, client->parser);
}

static void answer_protocol_error(struct client *client) {
    struct worker *worker = client->worker;
    struct resp_parser *parser = client->parser ? client->parser : &worker->parser;
    struct reply reply = {.out = client_replies(client), .protocol = client->protocol};
    reply_error(&reply, "ERR %s", parser->error);
    metric_bump(worker->metrics.protocol_errors, 1);
    metric_bump(worker->metrics.error_replies, 1);
    release_parser(client, parser);
    client->closing = true;
}

/* --- looking ahead ----------------------------------------------------------------------------------------- */

/* What a reader of one row wants of it; false: this command is none. */
static bool reads_row(const struct command *command, enum key_form *form) {
    if (!(command->flags & CMD_READONLY) || command->subcommands) return false;
    switch (command->group) {
    case GROUP_STRING: *form = FORM_STRING; return true;
    case GROUP_HASH: *form = FORM_HASH; return true;
    case GROUP_LIST: *form = FORM_LIST; return true;
    case GROUP_SORTED_SET: *form = FORM_ZSET; return true;
    case GROUP_GENERIC: *form = FORM_ANY; return (command->flags & CMD_FAST) != 0;
    default: return false;
    }
}

static void read_ahead(struct client *client, const struct request *request) {
    struct worker *worker = client->worker;
    enum key_form form;
    if (!request->named || !reads_row(request->named, &form)) return;
    struct command_key_iter keys = command_keys(request->named, request->argv, request->argc);
    for (uint32_t k; (k = command_next_key(&keys));)
        keyspace_read_ahead(worker->keyspace, request->argv[k], form, worker->now_ms,
                            loop_now_us(worker->loop));
}

/* The request before batch->requests[from] waits for rows: those that the requests behind it miss come in the same statement. It is
 * as if other clients asked for them now. The span's place is the caller's to set again. */
static void look_ahead(struct client *client, struct span *span, struct batch *batch, uint32_t from,
                       enum resp_status status) {
    uint64_t begin = client->received - span->len;
    if (!client->worker->keyspace || client->parser) return;
    for (uint32_t looked = 0;; from = 0) {
        for (uint32_t i = from; i < batch->n; i++, looked++)
            if (begin + batch->requests[i].start >= client->ahead)
                read_ahead(client, &batch->requests[i]);
        if (status != RESP_DONE || looked >= AHEAD) break;
        if (batch->held) release_parser(client, batch->held);
        status = gather(client, span, batch);
        if (batch->n == 0) break;
    }
    if (begin + span->at > client->ahead) client->ahead = begin + span->at;
}

/* --- running ----------------------------------------------------------------------------------------------- */

static void suspend(struct client *client, const struct command_context *ctx) {
    struct worker *worker = client->worker;
    client->waiting = ctx->blocked ? WAIT_EVENT : WAIT_ROWS;
    bool unblockable = ctx->blocked && !(client->modes & CLIENT_PAUSED) && !client->keywait;
    card_flag(&client->card, unblockable ? CARD_BLOCKED | CARD_UNBLOCKABLE : CARD_BLOCKED, true);
    card_touch(&client->card, ctx->command, worker->now_ms);
    client_count_wait(client, 1);
    client->deadline_us = ctx->deadline_us;
    if (!ctx->blocked)
        ASSERT(client->wait); /* whoever said READ_PENDING has taken a ticket */
    else if (ctx->deadline_us)
        loop_timer_set(worker->loop, &client->timer, ctx->deadline_us);
}

/* What a client's commands have in common; the rest is each run's. */
static void set_client(struct command_context *ctx, struct client *client) {
    struct worker *worker = client->worker;
    ctx->store = worker->deps.store;
    ctx->keyspace = worker->keyspace;
    ctx->notify = worker->deps.notify;
    ctx->keywaits = worker->deps.keywaits;
    ctx->client = client;
    ctx->worker = worker;
    ctx->now_ms = worker->now_ms;
    ctx->now_us = loop_now_us(worker->loop);
}

static void set_run(struct command_context *ctx, const struct request *request, struct reply *reply,
                    const struct rerun *why) {
    size_t run = offsetof(struct command_context, argv);
    memset((char *)ctx + run, 0, sizeof *ctx - run);
    ctx->argv = request->argv;
    ctx->argc = request->argc;
    ctx->reply = reply;
    ctx->hashed = request->hashed;
    ctx->hash = request->hash;
    ctx->unusual = ctx->client->modes | gate_flags(ctx->worker->deps.gate);
    if (!why) return;
    ctx->fetched = why->fetched;
    ctx->woken = why->woken;
    ctx->timed_out = why->timed_out;
    ctx->deadline_us = why->deadline_us;
}

static void run_one(struct command_context *ctx, const struct request *request,
                    const struct rerun *why) {
    struct client *client = ctx->client;
    struct worker *worker = ctx->worker;
    struct reply reply = {.out = client_replies(client), .protocol = client->protocol};
    set_run(ctx, request, &reply, why);
    if (reply.out == &worker->replies && !ctx->unusual) reply.splices = &worker->splices;
    size_t before = reply.out->len;
    command_run(ctx, request->named, &worker->hashes);
    if (__builtin_expect(ctx->unusual | client->modes, 0)) gate_done(ctx, before);
    /* but for splices replies are copies: no entry is held between two commands */
    if (!worker->splices.n) store_reader_pause(worker->deps.store, worker->index);
    if (reply.errors) metric_bump(worker->metrics.error_replies, reply.errors);
    if (ctx->n_pending || ctx->blocked) {
        ASSERT(reply.out->len == before);
        suspend(client, ctx);
        return;
    }
    /* Refused before it could look at what its wait has brought. */
    if (client->keywait) keywaits_leave(worker, &client->keywait);
    client->wait = 0;
    card_touch(&client->card, ctx->command, worker->now_ms);
    account_run(&worker->account, ctx, before);
}

static bool stopped(const struct client *client) {
    return client->dead || client->closing || client->waiting != WAIT_NONE;
}

/* Runs the span's requests, the first of them for the reason `why` (NULL: none ran before), until bytes or
 * quantum end, or the client stops. Leaves span->at at the first one that has not run. */
static void run_span(struct client *client, struct span *span, const struct rerun *why) {
    struct worker *worker = client->worker;
    struct batch batch;
    struct command_context ctx;
    set_client(&ctx, client);
    client->in_backlog = false;
    for (uint32_t ran = 0; ran < QUANTUM && !stopped(client);) {
        enum resp_status status = gather(client, span, &batch);
        prefetch(worker->deps.store, &batch);
        uint32_t i = 0;
        worker->account.ticks = ticks_now();
        for (; i < batch.n && !stopped(client) && client_within_output_limit(client); i++) {
            run_one(&ctx, &batch.requests[i], why);
            why = NULL;
        }
        if (client->waiting != WAIT_NONE) i--;
        metric_bump(worker->metrics.commands, i);
        ran += i;
        if (i < batch.n) {
            /* The one that waits, and all behind it, are parsed again when their time comes. */
            size_t at = batch.requests[i].start;
            if (client->waiting == WAIT_ROWS) look_ahead(client, span, &batch, i + 1, status);
            if (batch.held) release_parser(client, batch.held);
            span->at = at;
            break;
        }
        if (batch.held) release_parser(client, batch.held);
        if (status == RESP_INVALID && !stopped(client)) answer_protocol_error(client);
        if (status == RESP_MORE) return;
    }
    client->in_backlog = span->at < span->len && !stopped(client);
}

/* Behind a run, bytes that were not consumed become, or stay, the client's. */
static void keep_rest(struct client *client, const struct span *span) {
    size_t rest = span->len - span->at;
    if (span->bytes == client->query.data) {
        if (rest)
            buf_consume(&client->query, span->at);
        else
            buf_deinit(&client->query);
    } else if (rest) {
        buf_append(&client->query, span->bytes + span->at, rest);
    }
    if (client->parser || rest == 0) return;

    /* Half a request, as far as the worker's parser came; or whole ones. */
    struct resp_parser *parser = &client->worker->parser;
    if (rest < REPARSED || client->in_backlog || stopped(client)) {
        resp_reset(parser);
        return;
    }
    client->parser = mem_alloc(sizeof *client->parser);
    *client->parser = *parser;
    resp_init(parser, client->parser->max_bulk);
}

/* One that waits, or works off its backlog, is not read. */
static bool is_read(const struct client *client) {
    return !client->closing && !client->draining && client->waiting == WAIT_NONE &&
           !client->in_backlog;
}

/* While a client waits, the loop goes on to watch for bytes until some come: most waits are over before. */
void client_listen(struct client *client) {
    bool listen = !client->closing && !client->draining;
    if (client->waiting != WAIT_NONE) listen = (client->watch.events & LOOP_READ) != 0;
    unsigned events = listen ? stream_read_wants(&client->stream) : 0;
    if (!listen && client->waiting == WAIT_EVENT) events |= LOOP_ENDED;
    if (client->out.len) events |= stream_write_wants(&client->stream);
    loop_watch_events(client->worker->loop, &client->watch, events);
}

void client_finish(struct client *client) {
    client_send(client);
    bool pending = client->out.len > 0;
    bool idle = client->waiting == WAIT_NONE && !client->in_backlog;
    if (client->draining && idle) client->closing = true;
    if (client->dead || (client->closing && !pending)) {
        client_close(client);
        return;
    }
    struct worker *worker = client->worker;
    shrink_argv(worker);
    atomic_store_explicit(&client->card.query_bytes, client->query.len, memory_order_relaxed);
    atomic_store_explicit(&client->card.output_bytes, client->out.len - client->sent,
                          memory_order_relaxed);
    client_listen(client);
    if (client->in_backlog || (stream_has_more(&client->stream) && is_read(client)))
        worker_backlog(worker, client->card.slot);
}

void client_run(struct client *client, struct span *span, const struct rerun *why) {
    struct worker *worker = client->worker;
    ASSERT(!worker->is_running_client); /* client_resume from inside a command? */
    worker->is_running_client = true;
    run_span(client, span, why);
    keep_rest(client, span);
    worker->is_running_client = false;
    client_finish(client);
}

void client_continue(struct client *client) {
    if (!client->in_backlog) {
        if (is_read(client)) client_read(client); /* its transport has more */
        return;
    }
    struct span span = client_own_span(client);
    client_run(client, &span, NULL);
}
