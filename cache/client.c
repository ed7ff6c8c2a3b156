#include "cache/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "cache/reply.h"
#include "cache/roster.h"
#include "cache/worker_state.h"

enum {
    BATCH = 32,      /* requests parsed before the first of them runs */
    PREFETCHED = 64, /* keys whose entries are asked for before the first command of a batch runs */
    QUANTUM = 1024,  /* requests a client may run before the others have their turn */
    WRITE_AT = 256 * 1024, /* replies gathered before they are sent in mid-batch */
    REPARSED = 1024,       /* a shorter half of a request is parsed again rather than remembered */
    ARGV_KEPT = 1024,      /* the worker's array shrinks to this after a larger request */
    REPLIES_KEPT = WRITE_AT * 2,
    KEEPALIVE_SECONDS = 300,
    STALL_US =
        10 * 1000 * 1000, /* how long a single reply may lie beyond the output limit unread */
};
static const size_t MAX_QUERY = (size_t)1
                                << 30; /* of one request; Redis's client-query-buffer-limit */

enum waiting { WAIT_NONE, WAIT_ROWS, WAIT_EVENT };

/*   query:  0 ........................ len       what was read and not run: a half request, or what waits its turn
 *   out:    0 .... sent .............. len       what was composed and not taken by the socket                   */
struct client {
    struct card card;
    struct worker *worker;
    struct loop_watch watch;
    uint8_t protocol;
    uint8_t waiting;
    bool authenticated;
    bool closing;    /* once the replies are sent; nothing more is run */
    bool draining;   /* nothing more is read; closing follows when what is here has run */
    bool dead;       /* now: the peer has gone, or broke a limit */
    bool in_backlog; /* query holds requests that can run */
    bool full;       /* the socket took less than it was given: no more until it says so */
    uint64_t min_lsn;

    struct buf query;
    struct resp_parser
        *parser; /* of the half request in query; NULL where it is parsed from its start */
    struct buf out;
    size_t sent;
    int64_t progress_us; /* when the socket last took something */

    uint64_t wait; /* the ticket's number; 0: none was given in this run */
    int64_t deadline_us;
    struct loop_timer timer;
};

/* Bytes that are being parsed and run: the worker's read buffer or the client's query. */
struct span {
    const char *bytes;
    size_t len;
    size_t at; /* the first request that was not run */
};

struct request {
    const struct command *named;
    struct slice *argv;
    uint32_t argc;
    size_t start;
};

struct batch {
    struct request requests[BATCH];
    uint32_t n;
    struct resp_parser *held; /* the last request's arguments lie in it */
};

/* Why a run is a second one. */
struct rerun {
    struct fetched_rows *fetched;
    bool woken;
    bool timed_out;
    int64_t deadline_us;
};

static void resume(struct client *client, const struct rerun *why);

/* --- writing ----------------------------------------------------------------------------------------------- */

static size_t unsent(const struct client *client) {
    return client->out.len - client->sent + client->worker->replies.len;
}

/* Sends what it can of buf[from..len); returns how much, and marks the client dead when the peer is. */
static size_t send_some(struct client *client, const struct buf *buf, size_t from) {
    if (client->full) return 0;
    ssize_t n = send(client->watch.fd, buf->data + from, buf->len - from, MSG_NOSIGNAL);
    if (n < 0) {
        client->full = errno == EAGAIN;
        client->dead = errno != EAGAIN && errno != EINTR;
        return 0;
    }
    client->full = (size_t)n < buf->len - from;
    metric_bump(client->worker->metrics.bytes_out, n);
    client->progress_us = loop_now_us(client->worker->loop);
    return (size_t)n;
}

static void send_own(struct client *client) {
    client->sent += send_some(client, &client->out, client->sent);
    if (client->sent == client->out.len) {
        buf_deinit(&client->out);
        client->sent = 0;
    } else if (client->sent > WRITE_AT && client->sent > client->out.len / 2) {
        buf_consume(&client->out, client->sent);
        client->sent = 0;
    }
}

/* Sends the worker's replies; what the socket does not take becomes the client's. */
static void send_shared(struct client *client) {
    struct buf *replies = &client->worker->replies;
    size_t n = send_some(client, replies, 0);
    if (n < replies->len && n == 0) {
        struct buf swap = client->out;
        client->out = *replies;
        *replies = swap;
    } else if (n < replies->len) {
        buf_append(&client->out, replies->data + n, replies->len - n);
    }
    replies->len = 0;
    if (replies->cap > REPLIES_KEPT) buf_deinit(replies);
}

static void send_replies(struct client *client) {
    if (client->dead)
        client->worker->replies.len = 0;
    else if (client->out.len)
        send_own(client);
    else if (client->worker->replies.len)
        send_shared(client);
}

/* Before another reply is composed: a client that does not read is not answered without end. */
static bool within_output_limit(struct client *client) {
    struct worker *worker = client->worker;
    uint64_t limit = worker->deps.config->client_output_limit_bytes;
    if (unsent(client) <= WRITE_AT && unsent(client) <= limit) return true;
    send_replies(client);
    if (unsent(client) <= limit) return true;
    metric_bump(worker->metrics.output_limit_closes, 1);
    log_warn(worker->deps.log, "client_closed",
             "reason=output_limit id=%llu addr=%s unread_bytes=%zu",
             (unsigned long long)client->card.id, client->card.address, unsent(client));
    client->dead = true;
    return false;
}

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
    worker->argv = mem_realloc(worker->argv, argc * sizeof worker->argv[0]);
    worker->argv_cap = argc;
    return true;
}

static void shrink_argv(struct worker *worker) {
    if (worker->argv_cap <= ARGV_KEPT) return;
    worker->argv = mem_realloc(worker->argv, ARGV_KEPT * sizeof worker->argv[0]);
    worker->argv_cap = ARGV_KEPT;
}

/* Asks memory for the entries of all keys of the batch at once: one after the other, each costs the time of two or three
 * cache misses; together they overlap. A single key is not worth the hash. */
static void prefetch(const struct store *store, const struct batch *batch) {
    if (batch->n == 1 && batch->requests[0].argc <= 2) return;
    uint64_t hashes[PREFETCHED];
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n; i++) {
        const struct request *request = &batch->requests[i];
        struct command_key_range range;
        if (!request->named || !command_key_range(request->named, request->argc, &range)) continue;
        for (uint32_t k = range.first; k <= range.last && n < PREFETCHED; k += range.step) {
            hashes[n] = store_hash(store, request->argv[k]);
            store_prefetch(store, hashes[n++]);
        }
    }
    for (uint32_t i = 0; i < n; i++)
        store_prefetch_entry(store, hashes[i]);
}

/* Parses requests until the batch is full or the bytes end.
 * One at a time before AUTH: the next one's limits depend on it. */
static enum resp_status gather(struct client *client, struct span *span, struct batch *batch) {
    struct worker *worker = client->worker;
    uint32_t max = client->authenticated ? BATCH : 1;
    uint32_t used = 0;
    batch->n = 0;
    batch->held = NULL;
    while (batch->n < max && !batch->held) {
        struct resp_parser *parser = client->parser ? client->parser : &worker->parser;
        parser->authenticated = client->authenticated;
        enum resp_status status = resp_parse(parser, span->bytes + span->at, span->len - span->at);
        if (status != RESP_DONE) return status;
        if (parser->argc > 0) {
            if (!reserve_argv(worker, used, parser->argc)) {
                resp_reset(parser); /* parsed again as the next batch's first */
                return RESP_DONE;
            }
            struct request *request = &batch->requests[batch->n++];
            *request = (struct request){NULL, worker->argv + used, parser->argc, span->at};
            resp_argv(parser, span->bytes + span->at, request->argv);
            request->named = command_find(worker->deps.commands, request->argv[0]);
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

static void answer_protocol_error(struct client *client) {
    struct worker *worker = client->worker;
    struct resp_parser *parser = client->parser ? client->parser : &worker->parser;
    struct reply reply = {.out = client->out.len ? &client->out : &worker->replies,
                          .protocol = client->protocol};
    reply_error(&reply, "ERR %s", parser->error);
    metric_bump(worker->metrics.protocol_errors, 1);
    metric_bump(worker->metrics.error_replies, 1);
    release_parser(client, parser);
    client->closing = true;
}

/* --- running ----------------------------------------------------------------------------------------------- */

static void fire_deadline(void *arg, int64_t now_us) {
    (void)now_us;
    struct client *client = arg;
    resume(client, &(struct rerun){.timed_out = true, .deadline_us = client->deadline_us});
}

static void suspend(struct client *client, const struct command_context *ctx) {
    struct worker *worker = client->worker;
    client->waiting = ctx->blocked ? WAIT_EVENT : WAIT_ROWS;
    card_flag(&client->card, CARD_BLOCKED, true);
    metric_bump(worker->metrics.waiting, 1);
    client->deadline_us = ctx->deadline_us;
    if (!ctx->blocked)
        ASSERT(client->wait); /* whoever said READ_PENDING has taken a ticket */
    else if (ctx->deadline_us)
        loop_timer_set(worker->loop, &client->timer, ctx->deadline_us);
}

static void run_one(struct client *client, const struct request *request, const struct rerun *why) {
    struct worker *worker = client->worker;
    struct reply reply = {.out = client->out.len ? &client->out : &worker->replies,
                          .protocol = client->protocol};
    struct command_context ctx = {
        .argv = request->argv,
        .argc = request->argc,
        .reply = &reply,
        .store = worker->deps.store,
        .keyspace = worker->keyspace,
        .client = client,
        .worker = worker,
        .now_ms = worker->now_ms,
        .now_us = loop_now_us(worker->loop),
    };
    if (why) {
        ctx.fetched = why->fetched;
        ctx.woken = why->woken;
        ctx.timed_out = why->timed_out;
        ctx.deadline_us = why->deadline_us;
    }
    size_t before = reply.out->len;
    command_run(&ctx, request->named, &worker->hashes);
    /* replies are copies: no entry is held between two commands */
    store_reader_pause(worker->deps.store, worker->index);
    if (reply.errors) metric_bump(worker->metrics.error_replies, reply.errors);
    if (ctx.n_pending || ctx.blocked) {
        ASSERT(reply.out->len == before);
        suspend(client, &ctx);
        return;
    }
    client->wait = 0;
    card_touch(&client->card, ctx.command, worker->now_ms);
}

static bool stopped(const struct client *client) {
    return client->dead || client->closing || client->waiting != WAIT_NONE;
}

/* Runs the span's requests, the first of them for the reason `why` (NULL: none ran before), until bytes or
 * quantum end, or the client stops. Leaves span->at at the first one that has not run. */
static void run_span(struct client *client, struct span *span, const struct rerun *why) {
    struct worker *worker = client->worker;
    struct batch batch;
    client->in_backlog = false;
    for (uint32_t ran = 0; ran < QUANTUM && !stopped(client);) {
        enum resp_status status = gather(client, span, &batch);
        prefetch(worker->deps.store, &batch);
        uint32_t i = 0;
        for (; i < batch.n && !stopped(client) && within_output_limit(client); i++) {
            run_one(client, &batch.requests[i], why);
            why = NULL;
        }
        if (client->waiting != WAIT_NONE) i--;
        metric_bump(worker->metrics.commands, i);
        ran += i;
        if (batch.held) release_parser(client, batch.held);
        if (i < batch.n) {
            /* The one that waits, and all behind it, are parsed again when their time comes. */
            span->at = batch.requests[i].start;
            break;
        }
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
    if (client->parser) return;

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

/* Sends, sets what to listen for, and closes a client that is done. */
static void finish(struct client *client) {
    send_replies(client);
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
    bool listen = !client->closing && !client->draining;
    if (client->waiting != WAIT_NONE) listen = (client->watch.events & LOOP_READ) != 0;
    loop_watch_events(worker->loop, &client->watch,
                      (listen ? LOOP_READ : 0U) | (pending ? LOOP_WRITE : 0U));
    if (client->in_backlog) worker_backlog(worker, client->card.slot);
}

static void run_and_finish(struct client *client, struct span *span, const struct rerun *why) {
    struct worker *worker = client->worker;
    ASSERT(!worker->is_running_client); /* client_resume from inside a command? */
    worker->is_running_client = true;
    run_span(client, span, why);
    keep_rest(client, span);
    worker->is_running_client = false;
    finish(client);
}

static struct span own_span(struct client *client) {
    return (struct span){client->query.data, client->query.len, 0};
}

void client_continue(struct client *client) {
    if (!client->in_backlog) return;
    struct span span = own_span(client);
    run_and_finish(client, &span, NULL);
}

/* --- reading ----------------------------------------------------------------------------------------------- */

/* Reads once, behind what there is. The worker's buffer does, unless half a request is here already.
 * A large bulk's memory doubles as it arrives, whatever was announced. */
static ssize_t read_some(struct client *client, struct span *span) {
    struct worker *worker = client->worker;
    if (client->query.len == 0) {
        ssize_t n = recv(client->watch.fd, worker->read_bytes, WORKER_READ_BYTES, 0);
        *span = (struct span){worker->read_bytes, n > 0 ? (size_t)n : 0, 0};
        return n;
    }
    size_t want = WORKER_READ_BYTES;
    if (client->parser && client->parser->missing > want)
        want = client->parser->missing < client->query.len ? client->parser->missing
                                                           : client->query.len;
    if (want < WORKER_READ_BYTES) want = WORKER_READ_BYTES;
    char *at = buf_reserve(&client->query, want);
    ssize_t n = recv(client->watch.fd, at, want, 0);
    if (n > 0) client->query.len += (size_t)n;
    *span = own_span(client);
    return n;
}

/* A waiting client is not read; but one that waits for an event for long should be missed when it goes. */
static void ready_while_waiting(struct client *client, unsigned events) {
    char byte;
    bool gone =
        events & LOOP_HANGUP || (client->waiting == WAIT_EVENT &&
                                 recv(client->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0);
    if (gone)
        client_close(client);
    else
        loop_watch_events(client->worker->loop, &client->watch, client->watch.events & ~LOOP_READ);
}

static void read_and_run(struct client *client) {
    struct span span;
    ssize_t n = read_some(client, &span);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        /* A half-closed peer still gets what it has asked for. */
        client->dead = n < 0;
        client->closing = true;
        finish(client);
        return;
    }
    metric_bump(client->worker->metrics.bytes_in, n);
    if (span.len > MAX_QUERY) {
        metric_bump(client->worker->metrics.protocol_errors, 1);
        client_close(client);
        return;
    }
    run_and_finish(client, &span, NULL);
}

static void on_ready(void *arg, unsigned events) {
    struct client *client = arg;
    if (events & LOOP_WRITE && client->out.len) {
        client->full = false;
        send_own(client);
        if (client->dead || (client->closing && !client->out.len)) {
            client_close(client);
            return;
        }
        if (!client->out.len)
            loop_watch_events(client->worker->loop, &client->watch,
                              client->watch.events & ~LOOP_WRITE);
    }
    if (!(events & (LOOP_READ | LOOP_HANGUP))) return;
    if (client->waiting != WAIT_NONE)
        ready_while_waiting(client, events);
    else if (client->closing && events & LOOP_HANGUP)
        client_close(client);
    else if (!client->in_backlog && !client->closing)
        read_and_run(client);
}

/* --- waiting ----------------------------------------------------------------------------------------------- */

struct client_ticket client_ticket(struct command_context *ctx) {
    struct client *client = ctx->client;
    if (!client->wait) client->wait = ++client->worker->last_wait;
    return (struct client_ticket){client->worker, client->card.slot, client->wait};
}

void client_block(struct command_context *ctx, int64_t deadline_us) {
    ctx->blocked = true;
    ctx->deadline_us = deadline_us;
}

static void resume(struct client *client, const struct rerun *why) {
    struct worker *worker = client->worker;
    client->waiting = WAIT_NONE;
    client->wait = 0;
    card_flag(&client->card, CARD_BLOCKED, false);
    metric_bump(worker->metrics.waiting, -1);
    loop_timer_clear(worker->loop, &client->timer);
    struct span span = own_span(client);
    run_and_finish(client, &span, why);
}

static struct client *find_waiting(struct client_ticket ticket) {
    if (ticket.slot >= ticket.worker->n_slots) return NULL;
    struct client *client = ticket.worker->clients[ticket.slot];
    if (!client || client->waiting == WAIT_NONE || client->wait != ticket.wait) return NULL;
    return client;
}

enum client_resumed client_resume(struct client_ticket ticket, struct fetched_rows *fetched) {
    struct client *client = find_waiting(ticket);
    if (!client) return RESUMED_GONE;
    uint64_t id = client->card.id;
    resume(client, &(struct rerun){.fetched = fetched, .deadline_us = client->deadline_us});
    client = ticket.worker->clients[ticket.slot];
    bool waits = client && client->card.id == id && client->waiting != WAIT_NONE;
    return waits ? RESUMED_WAITING : RESUMED_DONE;
}

struct wake {
    struct loop_message message;
    struct client_ticket ticket;
};

static void run_wake(struct loop_message *message, void *owner) {
    (void)message;
    struct wake *wake = owner;
    struct client *client = find_waiting(wake->ticket);
    mem_free(wake);
    if (client) resume(client, &(struct rerun){.woken = true, .deadline_us = client->deadline_us});
}

void client_wake(struct client_ticket ticket) {
    struct wake *wake = mem_alloc(sizeof *wake);
    wake->message.run = run_wake;
    wake->message.owner = wake;
    wake->ticket = ticket;
    loop_post(ticket.worker->loop, &wake->message);
}

/* --- life -------------------------------------------------------------------------------------------------- */

/* "1.2.3.4:5", "[::1]:5", as CLIENT LIST shows them. */
static void format_address(const struct sockaddr_storage *address, char *text, size_t size) {
    char ip[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        snprintf(text, size, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (const void *)address;
        inet_ntop(AF_INET, &in4->sin_addr, ip, sizeof ip);
        snprintf(text, size, "%s:%u", ip, ntohs(in4->sin_port));
    }
}

static void note_addresses(struct card *card, int fd) {
    struct sockaddr_storage address = {.ss_family = AF_INET};
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0)
        format_address(&address, card->address, sizeof card->address);
    len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        format_address(&address, card->local_address, sizeof card->local_address);
}

/* Keepalive finds out about peers that went without a word: the first probe after KEEPALIVE_SECONDS of silence. */
static void set_socket_options(int fd) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){KEEPALIVE_SECONDS}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){KEEPALIVE_SECONDS / 3}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){3}, sizeof(int));
}

struct client *client_open(struct worker *worker, uint32_t slot, int fd) {
    struct client *client = mem_zalloc(sizeof *client);
    client->worker = worker;
    client->card.worker = worker;
    client->card.slot = slot;
    client->card.fd = fd;
    client->card.since_ms = worker->now_ms;
    card_touch(&client->card, NULL, worker->now_ms);
    note_addresses(&client->card, fd);
    client->protocol = 2;
    client->watch = (struct loop_watch){fd, LOOP_READ, on_ready, client};
    client->timer.fire = fire_deadline;
    client->timer.arg = client;
    client->progress_us = loop_now_us(worker->loop);
    client_set_authenticated(client, !worker->deps.config->password);
    set_socket_options(fd);

    if (!roster_enter(worker->deps.roster, &client->card)) {
        static const char refusal[] = "-ERR max number of clients reached\r\n";
        (void)!send(fd, refusal, sizeof refusal - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        metric_bump(worker->metrics.rejected, 1);
    } else if (!loop_watch(worker->loop, &client->watch, NULL)) {
        roster_leave(worker->deps.roster, &client->card);
    } else {
        metric_bump(worker->metrics.connections, 1);
        metric_bump(worker->metrics.clients, 1);
        return client;
    }
    close(fd);
    mem_free(client);
    return NULL;
}

void client_close(struct client *client) {
    struct worker *worker = client->worker;
    loop_unwatch(worker->loop, &client->watch);
    loop_timer_clear(worker->loop, &client->timer);
    close(client->watch.fd);
    if (client->waiting != WAIT_NONE) metric_bump(worker->metrics.waiting, -1);
    metric_bump(worker->metrics.clients, -1);
    worker->replies.len = 0;
    if (client->parser) release_parser(client, client->parser);
    buf_deinit(&client->query);
    buf_deinit(&client->out);
    roster_leave(worker->deps.roster, &client->card);
    worker_release_slot(worker, client->card.slot);
    mem_free(client);
}

void client_tick(struct client *client, int64_t now_us) {
    struct worker *worker = client->worker;
    size_t waiting = client->out.len - client->sent;
    bool stalled = now_us - client->progress_us > STALL_US;
    if (!waiting || !stalled) return;
    if (!client->closing && waiting <= worker->deps.config->client_output_limit_bytes) return;
    metric_bump(worker->metrics.output_limit_closes, 1);
    client_close(client);
}

void client_drain(struct client *client) {
    client->draining = true;
    if (!client->in_backlog) finish(client);
}

uint64_t client_id(const struct client *client) { return client->card.id; }
struct card *client_card(struct client *client) {
    return &client->card;
}
bool client_is_authenticated(const struct client *client) { return client->authenticated; }
uint8_t client_protocol(const struct client *client) { return client->protocol; }
uint64_t client_min_lsn(const struct client *client) { return client->min_lsn; }

void client_set_authenticated(struct client *client, bool authenticated) {
    client->authenticated = authenticated;
    card_flag(&client->card, CARD_AUTHENTICATED, authenticated);
}

void client_set_protocol(struct client *client, uint8_t protocol) {
    client->protocol = protocol;
    card_flag(&client->card, CARD_RESP3, protocol == 3);
}

void client_close_after_reply(struct client *client) {
    client->closing = true;
    card_flag(&client->card, CARD_CLOSING, true);
}

void client_abandon(struct client *client, const char *reason) {
    metric_bump(client->worker->metrics.protocol_errors, 1);
    log_warn(client->worker->deps.log, "client_closed", "reason=%s id=%llu addr=%s", reason,
             (unsigned long long)client->card.id, client->card.address);
    client->dead = true;
}

void client_set_min_lsn(struct client *client, uint64_t min_lsn) { client->min_lsn = min_lsn; }
