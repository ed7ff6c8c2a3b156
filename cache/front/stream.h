/* stream.h: a connection's bytes, in and out: plain (TCP, unix socket), or through a transport such as TLS.
 *
 *     struct stream stream;
 *     if (!stream_open(&stream, fd, transport)) ...        transport NULL: plain
 *     ssize_t n = stream_read(&stream, bytes, size);       as recv(2): 0 at the end, -1 and errno, EAGAIN: later
 *     ssize_t n = stream_write(&stream, bytes, len);       as send(2)
 *     stream_close(&stream);
 *
 * The descriptor is non-blocking and stays the caller's to watch and to close. A plain stream costs one comparison more than
 * the system call; a transport's functions are behind a table, so that client.c knows of no TLS.
 *
 * What a transport has to keep to:
 *   read    fills as much of `size` as it can at once (several records), so that little stays behind inside it; shakes hands
 *           on the first reads. Refused hands are an error: errno EPROTO.
 *   write   either takes bytes or says EAGAIN; a call after EAGAIN has the same bytes first, perhaps at another address.
 *   wants   after EAGAIN of read (or write): what the descriptor has to be ready for, LOOP_READ or LOOP_WRITE.
 *   has_more  bytes are readable that the descriptor will not tell of.
 *   has_gone  the peer has closed; what it has sent before may still be read. For a connection that is not read now.
 *   is_overdue  hands should have been shaken by now. Asked once a second.
 * All on the worker's thread of the connection. */
#ifndef FRESHET_CACHE_STREAM_H
#define FRESHET_CACHE_STREAM_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/loop.h"

struct transport_ops {
    const char *name;
    void *(*open)(void *context, int fd); /* NULL: it cannot */
    ssize_t (*read)(void *state, void *bytes, size_t size);
    ssize_t (*write)(void *state, const void *bytes, size_t len);
    unsigned (*read_wants)(const void *state);
    unsigned (*write_wants)(const void *state);
    bool (*has_more)(const void *state);
    bool (*has_gone)(void *state);
    bool (*is_overdue)(const void *state, int64_t now_us);
    void (*close)(void *state); /* says goodbye if it can without waiting; frees the state */
};

/* A listener's: what its connections speak. Immutable while they live. */
struct transport {
    const struct transport_ops *ops;
    void *context;
};

struct stream {
    int fd;
    const struct transport *transport; /* NULL: plain */
    void *state;
};

static inline bool stream_open(struct stream *stream, int fd, const struct transport *transport) {
    *stream = (struct stream){fd, transport, NULL};
    if (transport) stream->state = transport->ops->open(transport->context, fd);
    return !transport || stream->state;
}

static inline void stream_close(struct stream *stream) {
    if (stream->state) stream->transport->ops->close(stream->state);
    stream->state = NULL;
}

static inline ssize_t stream_read(struct stream *stream, void *bytes, size_t size) {
    if (__builtin_expect(!stream->transport, 1)) return recv(stream->fd, bytes, size, 0);
    return stream->transport->ops->read(stream->state, bytes, size);
}

static inline ssize_t stream_write(struct stream *stream, const void *bytes, size_t len) {
    if (__builtin_expect(!stream->transport, 1))
        return send(stream->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return stream->transport->ops->write(stream->state, bytes, len);
}

/* All parts in order, or as many bytes of them as are taken. */
static inline ssize_t stream_writev(struct stream *stream, struct iovec *parts, int n) {
    if (__builtin_expect(!stream->transport, 1)) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
        return sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    ssize_t total = 0;
    for (int i = 0; i < n; i++) {
        ssize_t sent = stream_write(stream, parts[i].iov_base, parts[i].iov_len);
        if (sent < 0) return total ? total : sent;
        total += sent;
        if ((size_t)sent < parts[i].iov_len) break;
    }
    return total;
}

static inline unsigned stream_read_wants(const struct stream *stream) {
    if (!stream->transport) return LOOP_READ;
    return stream->transport->ops->read_wants(stream->state);
}

static inline unsigned stream_write_wants(const struct stream *stream) {
    if (!stream->transport) return LOOP_WRITE;
    return stream->transport->ops->write_wants(stream->state);
}

static inline bool stream_has_more(const struct stream *stream) {
    return stream->transport && stream->transport->ops->has_more(stream->state);
}

static inline bool stream_has_gone(struct stream *stream) {
    struct pollfd ended = {.fd = stream->fd, .events = POLLRDHUP};
    if (poll(&ended, 1, 0) > 0) return true;
    return stream->transport && stream->transport->ops->has_gone(stream->state);
}

static inline bool stream_is_overdue(const struct stream *stream, int64_t now_us) {
    return stream->transport && stream->transport->ops->is_overdue(stream->state, now_us);
}

#endif
