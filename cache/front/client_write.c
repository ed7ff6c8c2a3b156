#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "cache/front/client_state.h"
#include "cache/front/output_limits.h"

enum {
    WRITE_AT = 256 * 1024, /* replies gathered before they are sent in mid-batch */
    REPLIES_KEPT = WRITE_AT * 2,
};

void client_drop_replies(struct worker *worker) {
    worker->replies.len = 0;
    worker->splices.n = 0;
    worker->splices.bytes = 0;
}

/* What a write of `want` bytes has come to: how many it took; marks the client dead when the peer is. */
static size_t taken(struct client *client, ssize_t n, size_t want) {
    if (n < 0) {
        client->full = errno == EAGAIN;
        client->dead = errno != EAGAIN && errno != EINTR;
        return 0;
    }
    client->full = (size_t)n < want;
    metric_bump(client->worker->metrics.bytes_out, n);
    metric_bump(client->worker->metrics.sends, 1);
    client->progress_us = loop_now_us(client->worker->loop);
    return (size_t)n;
}

/* Sends what it can of buf[from..len); returns how much. */
static size_t send_some(struct client *client, const struct buf *buf, size_t from) {
    if (client->full) return 0;
    size_t want = buf->len - from;
    return taken(client, stream_write(&client->stream, buf->data + from, want), want);
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

/* The worker's replies with their splices, as parts in order. Returns how many. */
enum { PARTS = 2 * SPLICES + 1 };
static int cut_replies(const struct worker *worker, struct iovec parts[PARTS]) {
    const struct buf *replies = &worker->replies;
    size_t from = 0;
    int n = 0;
    for (uint32_t i = 0; i < worker->splices.n; i++) {
        const struct splice *splice = &worker->splices.all[i];
        parts[n++] = (struct iovec){replies->data + from, splice->at - from};
        /* writev takes them as not const, and writes to none */
        parts[n++] = (struct iovec){(void *)(uintptr_t)splice->value.data, splice->value.len};
        from = splice->at;
    }
    parts[n++] = (struct iovec){replies->data + from, replies->len - from};
    return n;
}

/* Sends big values from where they lie: the worker is in the reading section in which it has found them. What the socket does not
 * take is copied. */
static void send_spliced(struct client *client) {
    struct worker *worker = client->worker;
    struct iovec parts[PARTS];
    int n_parts = cut_replies(worker, parts);
    size_t want = worker->replies.len + worker->splices.bytes;
    size_t sent = 0;
    if (!client->full) sent = taken(client, stream_writev(&client->stream, parts, n_parts), want);
    for (int i = 0; i < n_parts; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        buf_append(&client->out, (const char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
        sent -= skip;
    }
}

/* Sends the worker's replies; what the socket does not take becomes the client's. */
static void send_shared(struct client *client) {
    struct buf *replies = &client->worker->replies;
    if (client->worker->splices.n) {
        send_spliced(client);
    } else {
        size_t n = send_some(client, replies, 0);
        if (n == 0) {
            struct buf swap = client->out;
            client->out = *replies;
            *replies = swap;
        } else if (n < replies->len) {
            buf_append(&client->out, replies->data + n, replies->len - n);
        }
    }
    client_drop_replies(client->worker);
    if (replies->cap > REPLIES_KEPT) buf_deinit(replies);
}

void client_overrun(struct client *client) {
    if (client->dead) return; /* counted once */
    struct worker *worker = client->worker;
    metric_bump(worker->metrics.output_limit_closes, 1);
    log_warn(worker->deps.log, "client_closed",
             "reason=output_limit id=%llu addr=%s unread_bytes=%zu",
             (unsigned long long)client->card.id, client->card.address, client_unsent(client));
    client->dead = true;
}

bool client_past_hard_limit(const struct client *client) {
    uint64_t limit = output_limits_hard(client->worker->deps.limits, client_output_class(client));
    return limit && client_unsent(client) > limit;
}

void client_send(struct client *client) {
    if (output_limits_are_strict(client->worker->deps.limits) && client_past_hard_limit(client))
        client_overrun(client);
    if (client->dead)
        client_drop_replies(client->worker);
    else if (client->out.len)
        send_own(client);
    else if (client->worker->replies.len)
        send_shared(client);
}

void client_push(struct client *client, struct slice head, struct slice tail) {
    if (client->closing || client->dead) return;
    metric_bump(client->worker->metrics.pushes, 1);
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

bool client_past_soft_limit(struct client *client, int64_t now_us) {
    const struct output_limits *limits = client->worker->deps.limits;
    enum output_class class = client_output_class(client);
    uint64_t soft = output_limits_soft(limits, class);
    if (!soft || client_unsent(client) <= soft) {
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
    if (client_unsent(client) <= WRITE_AT && client_unsent(client) <= limit) return true;
    client_send(client);
    if (client_unsent(client) <= limit) return true;
    client_overrun(client);
    return false;
}
