#include "cdc/feed/stream.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cdc/decode/reader.h"

static const int64_t postgres_epoch_us = INT64_C(946684800) * 1000000;

enum { CLOSE_WAIT_US = 1000000 };

struct stream {
    PGconn *conn;
    char *copied;       /* the CopyData that the last frame points into */
    bool write_pending; /* libpq holds bytes that the socket did not take */
    bool copy_ended;    /* the server ended the COPY, or the connection is lost */
    bool left_out;      /* it has passed over a publication, and what that publishes */
};

/*  XLogData    'w' start(8) end(8) sent(8) payload...
 *  keepalive   'k' end(8) sent(8) reply(1)              */
bool frame_parse(struct slice bytes, struct frame *frame) {
    struct reader in = reader_make(bytes);
    uint8_t kind = reader_u8(&in);
    if (kind == 'w') {
        frame->kind = FRAME_DATA;
        frame->start_lsn = reader_u64(&in);
        frame->wal_end_lsn = reader_u64(&in);
        frame->sent_us = (int64_t)(reader_u64(&in) + (uint64_t)postgres_epoch_us);
        frame->reply_requested = false;
        frame->payload = reader_bytes(&in, reader_left(&in));
    } else if (kind == 'k') {
        frame->kind = FRAME_KEEPALIVE;
        frame->start_lsn = 0;
        frame->wal_end_lsn = reader_u64(&in);
        frame->sent_us = (int64_t)(reader_u64(&in) + (uint64_t)postgres_epoch_us);
        frame->reply_requested = reader_u8(&in) == 1;
        frame->payload = (struct slice){0};
    } else {
        return false;
    }
    return reader_done(&in);
}

static char *put_u64(char *at, uint64_t value) {
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/*  status      'r' written(8) flushed(8) applied(8) sent(8) reply(1)  */
void status_write(char out[STATUS_BYTES], uint64_t confirmed_lsn, int64_t wall_us,
                  bool reply_requested) {
    char *at = out;
    *at++ = 'r';
    at = put_u64(at, confirmed_lsn);
    at = put_u64(at, confirmed_lsn);
    at = put_u64(at, confirmed_lsn);
    at = put_u64(at, (uint64_t)(wall_us - postgres_epoch_us));
    *at = reply_requested ? 1 : 0;
}

/* A publication that was not there when a change was made: up to 17 that is an error, which ends the stream; from 18 on only this
 * warning tells that the change does not come. */
static void take_notice(void *arg, const PGresult *result) {
    struct stream *stream = arg;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (state && severity && strcmp(state, "55000") == 0 && strcmp(severity, "WARNING") == 0)
        stream->left_out = true;
}

struct stream *stream_open(PGconn **conn) {
    struct stream *stream = mem_zalloc(sizeof *stream);
    stream->conn = *conn;
    *conn = NULL;
    PQsetnonblocking(stream->conn, 1);
    PQsetNoticeReceiver(stream->conn, take_notice, stream);
    return stream;
}

static void drop_copied(struct stream *stream) {
    PQfreemem(stream->copied);
    stream->copied = NULL;
}

/* Reads past what is still under way to the server's own end of the COPY. */
static void end_copy(struct stream *stream) {
    int64_t deadline_us = clock_mono_us() + CLOSE_WAIT_US;
    if (PQputCopyEnd(stream->conn, NULL) != 1) return;
    while (!stream->copy_ended && clock_mono_us() < deadline_us) {
        if (PQflush(stream->conn) < 0) return;
        struct pollfd fd = {.fd = PQsocket(stream->conn), .events = POLLIN};
        poll(&fd, 1, 20);
        if (!PQconsumeInput(stream->conn)) return;
        int len;
        while ((len = PQgetCopyData(stream->conn, &stream->copied, 1)) > 0)
            drop_copied(stream);
        stream->copy_ended = len < 0;
    }
}

void stream_close(struct stream **stream) {
    struct stream *self = *stream;
    if (!self) return;
    drop_copied(self);
    if (!self->copy_ended && PQstatus(self->conn) == CONNECTION_OK) end_copy(self);
    PQfinish(self->conn);
    mem_free(self);
    *stream = NULL;
}

/* The COPY is over: by an error of the server (the usual end), or by its shutdown. */
static enum stream_result copy_ended(struct stream *stream, struct error *err) {
    stream->copy_ended = true;
    PGresult *result = PQgetResult(stream->conn);
    if (result && PQresultStatus(result) != PGRES_FATAL_ERROR &&
        PQstatus(stream->conn) == CONNECTION_OK) {
        error_set(err, ERROR_UNAVAILABLE, true,
                  "streaming: the server ended the stream (it is shutting down, or the slot was "
                  "taken away)");
    } else {
        pg_error(err, stream->conn, result, "streaming");
    }
    PQclear(result);
    return STREAM_ERROR;
}

enum stream_result stream_next(struct stream *stream, struct frame *frame, struct error *err) {
    drop_copied(stream);
    int len = PQgetCopyData(stream->conn, &stream->copied, 1);
    if (stream->left_out) {
        error_set(err, ERROR_NOT_FOUND, false,
                  "streaming: the publication does not exist at this point in the WAL");
        return STREAM_ERROR;
    }
    if (len == 0) return STREAM_EMPTY;
    if (len == -1) return copy_ended(stream, err);
    if (len < 0) {
        stream->copy_ended = true;
        pg_error(err, stream->conn, NULL, "streaming");
        return STREAM_ERROR;
    }
    if (!frame_parse(slice_make(stream->copied, (size_t)len), frame)) {
        error_set(err, ERROR_PROTOCOL, true,
                  "streaming: malformed replication frame (type byte 0x%02x, %d bytes)",
                  (unsigned char)stream->copied[0], len);
        return STREAM_ERROR;
    }
    return STREAM_FRAME;
}

bool stream_fill(struct stream *stream, struct error *err) {
    if (PQconsumeInput(stream->conn)) return true;
    return pg_error(err, stream->conn, NULL, "streaming");
}

bool stream_send_status(struct stream *stream, uint64_t confirmed_lsn, int64_t wall_us,
                        bool reply_requested, struct error *err) {
    char status[STATUS_BYTES];
    status_write(status, confirmed_lsn, wall_us, reply_requested);
    int put = PQputCopyData(stream->conn, status, sizeof status);
    if (put < 0) return pg_error(err, stream->conn, NULL, "sending a standby status update");
    /* 0: libpq's own buffer is full. The next status tells all that this one did. */
    if (put == 0) {
        stream->write_pending = true;
        return true;
    }
    return stream_flush(stream, err);
}

bool stream_flush(struct stream *stream, struct error *err) {
    int left = PQflush(stream->conn);
    if (left < 0) return pg_error(err, stream->conn, NULL, "sending a standby status update");
    stream->write_pending = left > 0;
    return true;
}

bool stream_wants_write(const struct stream *stream) { return stream->write_pending; }

int stream_socket(const struct stream *stream) { return PQsocket(stream->conn); }
