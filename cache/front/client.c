#include "cache/front/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "cache/commands/transaction.h"
#include "cache/front/client_state.h"
#include "cache/front/gate.h"
#include "cache/front/settings.h"
#include "cache/signals/keywaits.h"
#include "cache/signals/tracking.h"

enum {
    STALL_US = 10 * 1000 * 1000, /* how long a reply may lie beyond the output limit unread */
};

/* --- reading ----------------------------------------------------------------------------------------------- */

/* Reads once, behind what there is. The worker's buffer does, unless half a request is here already.
 * A large bulk's memory doubles as it arrives, whatever was announced. */
static ssize_t read_some(struct client *client, struct span *span) {
    struct worker *worker = client->worker;
    if (client->query.len == 0) {
        ssize_t n = stream_read(&client->stream, worker->read_bytes, WORKER_READ_BYTES);
        *span = (struct span){worker->read_bytes, n > 0 ? (size_t)n : 0, 0};
        return n;
    }
    size_t want = WORKER_READ_BYTES;
    if (client->parser && client->parser->missing > want)
        want = client->parser->missing < client->query.len ? client->parser->missing
                                                           : client->query.len;
    if (want < WORKER_READ_BYTES) want = WORKER_READ_BYTES;
    char *at = buf_reserve(&client->query, want);
    ssize_t n = stream_read(&client->stream, at, want);
    if (n > 0) client->query.len += (size_t)n;
    *span = client_own_span(client);
    return n;
}

/* A waiting client is not read; but one that waits for an event, for long perhaps, is missed when it goes, whatever it has
 * sent behind its request. */
static void ready_while_waiting(struct client *client, unsigned events) {
    bool for_event = client->waiting == WAIT_EVENT;
    if (events & (LOOP_HANGUP | LOOP_ENDED) || (for_event && stream_has_gone(&client->stream)))
        client_close(client);
    else
        loop_watch_events(client->worker->loop, &client->watch,
                          (client->watch.events & ~LOOP_READ) | (for_event ? LOOP_ENDED : 0U));
}

void client_read(struct client *client) {
    struct span span;
    ssize_t n = read_some(client, &span);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        client_listen(client);
        return;
    }
    if (n <= 0) {
        /* A half-closed peer still gets what it has asked for. */
        client->dead = n < 0;
        client->closing = true;
        client_finish(client);
        return;
    }
    client->received += (uint64_t)n;
    metric_bump(client->worker->metrics.bytes_in, n);
    metric_bump(client->worker->metrics.reads, 1);
    if (span.len > (size_t)setting(client->worker->deps.settings, SETTING_QUERY_LIMIT)) {
        client_abandon(client, "query_limit");
        client_close(client);
        return;
    }
    client_run(client, &span, NULL);
}

static void on_ready(void *arg, unsigned events) {
    struct client *client = arg;
    /* A transport may have to write in order to read, and the other way round. */
    if (client->stream.transport && events & (LOOP_READ | LOOP_WRITE))
        events |= LOOP_READ | LOOP_WRITE;
    if (events & LOOP_WRITE && client->out.len) {
        client->full = false;
        client_send(client);
        if (client->dead || (client->closing && !client->out.len)) {
            client_close(client);
            return;
        }
        if (!client->out.len) client_listen(client);
    }
    if (!(events & (LOOP_READ | LOOP_HANGUP | LOOP_ENDED))) return;
    if (client->waiting != WAIT_NONE)
        ready_while_waiting(client, events);
    else if (client->closing && events & LOOP_HANGUP)
        client_close(client);
    else if (!client->in_backlog && !client->closing)
        client_read(client);
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
    client_count_wait(client, -1);
    client->waiting = WAIT_NONE;
    client->wait = 0;
    card_flag(&client->card, CARD_BLOCKED | CARD_UNBLOCKABLE, false);
    loop_timer_clear(worker->loop, &client->timer);
    struct span span = client_own_span(client);
    client_run(client, &span, why);
}

void client_unblock(struct client *client, bool error) {
    /* one that waits for keys may have its answer on the way: keywaits.h */
    if (client->waiting != WAIT_EVENT || client->modes & CLIENT_PAUSED || client->keywait) return;
    client_set_mode(client, CLIENT_UNBLOCKED, error);
    resume(client, &(struct rerun){.timed_out = true, .deadline_us = client->deadline_us});
}

static void fire_deadline(void *arg, int64_t now_us) {
    (void)now_us;
    struct client *client = arg;
    resume(client, &(struct rerun){.timed_out = true, .deadline_us = client->deadline_us});
}

struct client *client_of(struct client_ticket ticket) {
    if (ticket.slot >= ticket.worker->n_slots) return NULL;
    struct client *client = ticket.worker->clients[ticket.slot];
    if (!client || client->waiting == WAIT_NONE || client->wait != ticket.wait) return NULL;
    return client;
}

enum client_resumed client_resume(struct client_ticket ticket, struct fetched_rows *fetched) {
    struct client *client = client_of(ticket);
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
    struct client *client = client_of(wake->ticket);
    mem_free(wake);
    if (!client) return;
    if (client->waiting == WAIT_EVENT && stream_has_gone(&client->stream))
        client_close(client); /* what it was about to be given can still be given to another */
    else
        resume(client, &(struct rerun){.woken = true, .deadline_us = client->deadline_us});
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
    if (address->ss_family == AF_UNIX) {
        snprintf(text, size, "%.60s:0",
                 ((const struct sockaddr_un *)(const void *)address)->sun_path);
        return;
    }
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
    /* The other end of a unix socket has no name: it is called by ours, as Redis does. */
    if (address.ss_family == AF_UNIX)
        memcpy(card->address, card->local_address, sizeof card->address);
}

/* Keepalive finds out about peers that went without a word: the first probe after that many seconds of silence. */
static void set_socket_options(int fd, int keepalive_s) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (!keepalive_s) return;
    int between_s = keepalive_s >= 3 ? keepalive_s / 3 : 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive_s, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){3}, sizeof(int));
}

struct client *client_open(struct worker *worker, uint32_t slot, int fd,
                           const struct transport *transport) {
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
    client->acl_version = acl_version_cell(worker->deps.acl);
    acl_open(worker->deps.acl, &client->session);
    set_socket_options(fd, (int)setting(worker->deps.settings, SETTING_KEEPALIVE));

    if (!roster_enter(worker->deps.roster, &client->card)) {
        static const char refusal[] = "-ERR max number of clients reached\r\n";
        (void)!send(fd, refusal, sizeof refusal - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        metric_bump(worker->metrics.rejected, 1);
    } else if (!stream_open(&client->stream, fd, transport) ||
               !loop_watch(worker->loop, &client->watch, NULL)) {
        stream_close(&client->stream);
        roster_leave(worker->deps.roster, &client->card);
    } else {
        metric_bump(worker->metrics.connections, 1);
        metric_bump(worker->metrics.clients, 1);
        return client;
    }
    acl_close(worker->deps.acl, &client->session);
    close(fd);
    mem_free(client);
    return NULL;
}

void client_close(struct client *client) {
    struct worker *worker = client->worker;
    loop_unwatch(worker->loop, &client->watch);
    loop_timer_clear(worker->loop, &client->timer);
    keywaits_leave(worker, &client->keywait);
    stream_close(&client->stream);
    close(client->stream.fd);
    if (client->waiting != WAIT_NONE) client_count_wait(client, -1);
    metric_bump(worker->metrics.clients, -1);
    client_drop_replies(worker);
    acl_close(worker->deps.acl, &client->session);
    client_drop_parser(client);
    buf_deinit(&client->query);
    buf_deinit(&client->out);
    client_reset_modes(client);
    roster_leave(worker->deps.roster, &client->card);
    worker_release_slot(worker, client->card.slot);
    mem_free(client);
}

/* As Redis's `timeout`: who waits for an event, or for messages, is not idle. */
static bool is_idle(const struct client *client) {
    int64_t limit_ms = setting(client->worker->deps.settings, SETTING_TIMEOUT) * 1000;
    if (!limit_ms || client->waiting != WAIT_NONE) return false;
    if (client->modes & (CLIENT_SUBSCRIBED | CLIENT_MONITORS)) return false;
    int64_t active_ms = atomic_load_explicit(&client->card.active_ms, memory_order_relaxed);
    return client->worker->now_ms - active_ms > limit_ms;
}

void client_tick(struct client *client, int64_t now_us) {
    if (is_idle(client) || stream_is_overdue(&client->stream, now_us)) {
        client_close(client);
        return;
    }
    size_t waiting = client->out.len - client->sent;
    if (!waiting) return;
    bool stalled = now_us - client->progress_us > STALL_US;
    bool over = client->closing || client_past_hard_limit(client);
    if ((stalled && over) || client_past_soft_limit(client, now_us)) {
        client_overrun(client);
        client_close(client);
    }
}

void client_drain(struct client *client) {
    client->draining = true;
    if (!client->in_backlog) client_finish(client);
}

struct transaction *client_transaction(const struct client *client) {
    return client->transaction;
}
struct tracker *client_tracker(const struct client *client) {
    return client->tracker;
}
void client_set_transaction(struct client *client, struct transaction *tx) {
    client->transaction = tx;
}
void client_set_tracker(struct client *client, struct tracker *tracker) {
    client->tracker = tracker;
}

uint64_t client_id(const struct client *client) { return client->card.id; }
struct card *client_card(struct client *client) {
    return &client->card;
}
uint32_t client_modes(const struct client *client) { return client->modes; }
void client_set_mode(struct client *client, uint32_t modes, bool on) {
    static const struct {
        enum client_mode mode;
        enum card_flag flag;
    } shown[] = {{CLIENT_SUBSCRIBED, CARD_SUBSCRIBED},
                 {CLIENT_MONITORS, CARD_MONITORS},
                 {CLIENT_IN_MULTI, CARD_IN_MULTI},
                 {CLIENT_TRACKS, CARD_TRACKS}};
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        if (modes & shown[i].mode) card_flag(&client->card, shown[i].flag, on);
    client->modes = on ? client->modes | modes : client->modes & ~modes;
}
void client_reset_modes(struct client *client) {
    const struct worker_deps *deps = &client->worker->deps;
    if (client->modes & CLIENT_MONITORS) gate_remove_monitor(deps->gate, client_mailbox(client));
    pubsub_forget(deps->pubsub, &client->subscriptions);
    client_note_subscriptions(client);
    transaction_destroy(&client->transaction);
    tracker_close(&client->tracker);
    client_set_mode(client, CLIENT_IN_MULTI | CLIENT_QUEUED_WRITES, false);
    client_set_mode(client, CLIENT_TRACKS | CLIENT_CACHING, false);
    client_set_mode(client, CLIENT_MONITORS, false);
    client_set_mode(client, CLIENT_REPLY_OFF, false);
    client_set_mode(client, CLIENT_REPLY_SKIP_NEXT, false);
}
void client_note_subscriptions(struct client *client) {
    uint32_t all = 0;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) {
        uint32_t n = subscriptions_count(&client->subscriptions, (enum pubsub_kind)kind);
        atomic_store_explicit(&client->card.subscribed[kind], n, memory_order_relaxed);
        all += n;
    }
    client_set_mode(client, CLIENT_SUBSCRIBED, all != 0);
}
struct mailbox *client_mailbox(struct client *client) {
    return roster_own_mailbox(client->worker->deps.roster, &client->card);
}
struct subscriptions *client_subscriptions(struct client *client) {
    return &client->subscriptions;
}
struct acl_session *client_session(struct client *client) {
    return &client->session;
}
bool client_is_cleared(const struct client *client) {
    return acl_is_cleared(client->acl_version, &client->session);
}
uint8_t client_protocol(const struct client *client) { return client->protocol; }
const struct consistency *client_consistency(const struct client *client) {
    return &client->consistency;
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

struct keywait *client_keywait(const struct client *client) {
    return client->keywait;
}
void client_set_keywait(struct client *client, struct keywait *wait) { client->keywait = wait; }

void client_set_consistency(struct client *client, const struct consistency *asked) {
    client->consistency = *asked;
    client_set_mode(client, CLIENT_ASKS, asked->level != CONSISTENCY_DEFAULT || asked->min_lsn);
}
