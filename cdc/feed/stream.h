/* stream.h: one replication connection in COPY BOTH mode: frames in, standby status updates out (PostgreSQL
 * documentation, "Streaming Replication Protocol"). Never blocks.
 *
 *     struct stream *stream = stream_open(&conn);             after START_REPLICATION answered COPY_BOTH
 *     switch (stream_next(stream, &frame, err)) ...           until STREAM_EMPTY; then
 *     stream_send_status(stream, lsn, wall_us, ask, err); stream_wants_write(stream) -> poll -> stream_flush
 *
 * Backpressure is not reading: stream_fill is the only call that takes bytes from the socket, and statuses go
 * out without it. One thread. */
#ifndef FRESHET_CDC_STREAM_H
#define FRESHET_CDC_STREAM_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum frame_kind { FRAME_DATA, FRAME_KEEPALIVE };

struct frame {
    enum frame_kind kind;
    uint64_t start_lsn;   /* DATA: of the WAL record that the payload tells of */
    uint64_t wal_end_lsn; /* the server has sent everything before it */
    int64_t sent_us;      /* the server's clock, Unix epoch */
    bool reply_requested; /* KEEPALIVE */
    struct slice payload; /* DATA; good until the next call of stream_next */
};

enum stream_result {
    STREAM_FRAME, /* *frame is filled */
    STREAM_EMPTY, /* no whole frame is here; stream_fill when the socket is readable */
    STREAM_ERROR, /* *err is filled; the connection is of no more use */
};

/* Parses one CopyData of the server. False: malformed. Pure. */
bool frame_parse(struct slice bytes, struct frame *frame) MUST_CHECK;

enum { STATUS_BYTES = 34 };
/* A standby status update that confirms lsn as written, flushed and applied. Pure. */
void status_write(char out[STATUS_BYTES], uint64_t confirmed_lsn, int64_t wall_us,
                  bool reply_requested);

struct stream;

/* Takes the connection over. */
struct stream *stream_open(PGconn **conn);
/* Ends the COPY politely where the connection still works, waiting for the server at most a second, so that
 * the slot is free when this returns; closes the connection. */
void stream_close(struct stream **stream);

enum stream_result stream_next(struct stream *stream, struct frame *frame, struct error *err);
/* Takes in what the socket holds. False: the connection is lost. */
bool stream_fill(struct stream *stream, struct error *err) MUST_CHECK;
/* Queues a status update and sends as much as the socket takes. */
bool stream_send_status(struct stream *stream, uint64_t confirmed_lsn, int64_t wall_us,
                        bool reply_requested, struct error *err) MUST_CHECK;
/* Sends what is queued. */
bool stream_flush(struct stream *stream, struct error *err) MUST_CHECK;
bool stream_wants_write(const struct stream *stream);
int stream_socket(const struct stream *stream);

#endif
