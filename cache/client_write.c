#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "cache/client_state.h"
#include "cache/output_limits.h"

enum {
    WRITE_AT = 256 * 1024, /* replies gathered before they are sent in mid-batch */
    REPLIES_KEPT = WRITE_AT * 2,
};

static size_t unsent(const struct client *client) {
    return client->out.len - client->sent + client->worker->replies.len;
}

/* Sends what it can of buf[from..len); returns how much, and marks the client dead when the peer is. */
static size_t send_some(struct client *client, const struct buf *buf, size_t from) {
    if (client->full) return 0;
    ssize_t n = stream_write(&client->stream, buf->data + from, buf->len - from);
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

void client_send(struct client *client) {
    if (client->dead)
        client->worker->replies.len = 0;
    else if (client->out.len)
        send_own(client);
    else if (client->worker->replies.len)
        send_shared(client);
}

void client_push(struct client *client, struct slice head, struct slice tail) {
    if (client->closing || client->dead) return;
    buf_append_slice(&client->out, head);
    buf_append_slice(&client->out, tail);
    client_within_output_limit(client);
    if (client->pushed) return;
    client->pushed = true;
    worker_pushed(client->worker, client->card.slot);
}

void client_flush(struct client *client) {
    if (!client->pushed) return;
    client->pushed = false;
    client_finish(client);
}

void client_overrun(struct client *client) {
    struct worker *worker = client->worker;
    metric_bump(worker->metrics.output_limit_closes, 1);
    log_warn(worker->deps.log, "client_closed",
             "reason=output_limit id=%llu addr=%s unread_bytes=%zu",
             (unsigned long long)client->card.id, client->card.address, unsent(client));
    client->dead = true;
}

bool client_past_hard_limit(const struct client *client) {
    uint64_t limit = output_limits_hard(client->worker->deps.limits, client_output_class(client));
    return limit && unsent(client) > limit;
}

bool client_past_soft_limit(struct client *client, int64_t now_us) {
    const struct output_limits *limits = client->worker->deps.limits;
    enum output_class class = client_output_class(client);
    uint64_t soft = output_limits_soft(limits, class);
    if (!soft || unsent(client) <= soft) {
        client->soft_since_us = 0;
        return false;
    }
    if (!client->soft_since_us) client->soft_since_us = now_us;
    return now_us - client->soft_since_us > output_limits_soft_us(limits, class);
}

bool client_check_output_limit(struct client *client) {
    struct worker *worker = client->worker;
    uint64_t limit = output_limits_hard(worker->deps.limits, client_output_class(client));
    if (limit == 0) limit = UINT64_MAX;
    if (unsent(client) <= WRITE_AT && unsent(client) <= limit) return true;
    client_send(client);
    if (unsent(client) <= limit) return true;
    client_overrun(client);
    return false;
}
