/* The streaming part of a session: one turn after the other of
 *
 *     receive what is here -> tick the sink -> tell the server -> wait
 *
 * None of it blocks: the standby status goes out on time whatever the sink does, and a full sink is
 * backpressure by not reading. */
#include <poll.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cdc/feed/session.h"
#include "cdc/snapshot/increment.h"

enum {
    IDLE_WAIT_MS = 10,
    FULL_WAIT_MS = 2,
    FRAMES_PER_CLOCK = 64,
    RECEIVE_US = 20000, /* at most so long without a tick and a status */
    TICK_EVERY_US = 1000,
    ASK_AGAIN_US = 10000,
    LOST_ANSWER_US = 1000000,
    PROBE_EVERY_US = 5000000, /* while nothing is confirmed */
    PROBE_TIMEOUT_S = 2,
    STOP_TRANSACTION_US = 3000000, /* for the transaction in hand to end */
    STOP_CONFIRM_US = 5000000,     /* for the sink to confirm what it has */
};

static bool is_sink_ready(const struct session *s) {
    return !s->sink.ops->ready || s->sink.ops->ready(s->sink.self);
}

static bool handle_keepalive(struct session *s, const struct frame *frame, struct error *err) {
    s->asked_us = 0;
    s->unanswered_us = 0;
    if (frame->reply_requested) s->reply_requested = true;
    if (s->delivery->open || !s->sink.ops->progress) return true;
    return s->sink.ops->progress(s->sink.self, frame->wal_end_lsn, err);
}

static bool handle_frame(struct session *s, const struct frame *frame, struct error *err) {
    if (frame->wal_end_lsn > s->received_lsn) s->received_lsn = frame->wal_end_lsn;
    if (frame->kind == FRAME_KEEPALIVE) return handle_keepalive(s, frame, err);
    s->bytes += frame->payload.len;
    return delivery_frame(s->delivery, frame, err);
}

/* Once stopped, the transaction in hand is read to its end, and nothing behind it. */
static bool is_drained(const struct session *s) { return s->stopping && !s->delivery->open; }

/* A committed transaction that was kept while it was open comes before whatever the server has sent behind its commit. */
static bool replay(struct session *s, int64_t now_us, struct error *err) {
    s->last_message_us = now_us;
    return delivery_replay(s->delivery, err);
}

/* What is read beside the stream comes between its transactions. */
static bool turn_increment(struct session *s, int64_t now_us, struct error *err) {
    if (!s->increment || s->delivery->open || s->stopping) return true;
    if (!increment_turn(s->increment, now_us, err)) return false;
    if (s->config->snapshot == FEED_SNAPSHOT_INITIAL_ONLY && increment_completed(s->increment)) {
        s->done = s->stopping = true;
        s->stopped_us = now_us;
    }
    return true;
}

/* Gives the sink all that is here, as long as it has room and the time allows. */
static bool receive(struct session *s, int64_t now_us, struct error *err) {
    struct frame frame;
    s->backlog = true;
    for (unsigned n = 1; !is_drained(s); n++) {
        s->sink_full = !is_sink_ready(s);
        if (s->sink_full) return true;
        if (delivery_is_replaying(s->delivery)) {
            if (!replay(s, now_us, err)) return false;
        } else {
            switch (stream_next(s->stream, &frame, err)) {
            case STREAM_ERROR: return false;
            case STREAM_EMPTY: s->backlog = false; return true;
            case STREAM_FRAME: break;
            }
            s->last_message_us = now_us;
            if (!handle_frame(s, &frame, err)) return false;
        }
        if (s->increment && increment_is_due(s->increment) && !turn_increment(s, now_us, err))
            return false;
        if (n % FRAMES_PER_CLOCK == 0 && clock_mono_us() - now_us > RECEIVE_US) return true;
    }
    s->backlog = false;
    return true;
}

/* It may have nothing to say; or be gone. */
static bool is_silent(const struct session *s, int64_t now_us) {
    return !s->sink_full && now_us - s->last_message_us > s->silence_us / 2;
}

/* The sink waits for progress that only a keepalive brings. One question at a time. */
static bool is_question_due(struct session *s, int64_t now_us) {
    if (is_silent(s, now_us)) return !s->asked_us || now_us - s->asked_us >= LOST_ANSWER_US;
    if (!s->sink.ops->wants_progress || s->delivery->open) return false;
    if (s->asked_us && now_us - s->asked_us < LOST_ANSWER_US) return false;
    if (now_us - s->last_status_us < ASK_AGAIN_US) return false;
    return s->sink.ops->wants_progress(s->sink.self);
}

/* A session that began before the sink's position knows only of the prepared transactions that have come by (delivery_spool.h). */
static uint64_t may_confirm(const struct session *s) {
    uint64_t lsn = s->sink.ops->confirmed_lsn(s->sink.self);
    if (s->skip_lsn && lsn > s->received_lsn) lsn = s->received_lsn;
    return delivery_may_confirm(s->delivery, lsn);
}

static bool tell_server(struct session *s, int64_t now_us, struct error *err) {
    uint64_t confirmed_lsn = may_confirm(s);
    bool moved = confirmed_lsn > s->confirmed_lsn;
    bool ask = is_question_due(s, now_us);
    if (moved) s->confirmed_lsn = confirmed_lsn;
    if (!moved && !ask && !s->reply_requested && now_us - s->last_status_us < s->status_every_us)
        return !stream_wants_write(s->stream) || stream_flush(s->stream, err);
    s->last_status_us = now_us;
    s->reply_requested = false;
    if (ask) s->asked_us = now_us;
    if (ask && !s->unanswered_us) s->unanswered_us = now_us;
    return stream_send_status(s->stream, s->confirmed_lsn, clock_wall_us(), ask, err);
}

/* PQping asks as a client would: a server that is going down says so. */
static bool is_server_going_down(const struct session *s) {
    struct pg_options options = {.application_name = s->config->application_name,
                                 .connect_timeout_s = PROBE_TIMEOUT_S};
    char *conninfo = pg_conninfo(s->config->database_url, &options, NULL);
    bool rejected = conninfo && PQping(conninfo) == PQPING_REJECT;
    mem_free(conninfo);
    return rejected;
}

/* A server that shuts down first waits until its walsenders have been confirmed all that they sent. While the
 * sink is stuck that would be for ever, and Freshet must not be why a database cannot stop: let it go. What was
 * not confirmed comes again. */
static bool check_server(struct session *s, int64_t now_us, struct error *err) {
    bool pending = s->sink_full || s->confirmed_lsn < s->delivery->last_end_lsn;
    if (!pending || s->confirmed_lsn != s->stuck_lsn) {
        s->stuck_lsn = s->confirmed_lsn;
        s->probe_us = now_us + PROBE_EVERY_US;
    }
    if (now_us < s->probe_us) return true;
    s->probe_us = now_us + PROBE_EVERY_US;
    if (!is_server_going_down(s)) return true;
    return error_set(err, ERROR_UNAVAILABLE, true,
                     "streaming: the server is shutting down, and %s has not confirmed all it has",
                     s->sink.name);
}

/* A server that was frozen, or a machine that was switched off behind a patient network, closes no connection. As long as
 * the server itself would wait for us. */
static bool check_silence(struct session *s, int64_t now_us, struct error *err) {
    int64_t since_us =
        s->unanswered_us > s->last_message_us ? s->unanswered_us : s->last_message_us;
    if (!s->unanswered_us || s->sink_full || now_us - since_us < s->silence_us) return true;
    return error_set(err, ERROR_UNAVAILABLE, true,
                     "streaming: the server has been silent for %lld s",
                     (long long)(now_us - since_us) / 1000000);
}

static bool take_turn(struct session *s, int64_t now_us, struct error *err) {
    if ((s->sink_full || !s->backlog || now_us - s->last_tick_us >= TICK_EVERY_US) &&
        (!session_tick(s, now_us, err) || !turn_increment(s, now_us, err)))
        return false;
    if (!tell_server(s, now_us, err) || !check_server(s, now_us, err) ||
        !check_silence(s, now_us, err))
        return false;
    session_publish(s);
    return true;
}

/* As long as nothing comes, but not past the time that the sink has named. */
static int idle_wait_ms(const struct session *s) {
    int64_t due_us = s->sink.ops->tick_due_us ? s->sink.ops->tick_due_us(s->sink.self) : 0;
    if (!due_us) return IDLE_WAIT_MS;
    int64_t left_ms = (due_us - clock_mono_us() + 999) / 1000;
    return left_ms < 0 ? 0 : left_ms < IDLE_WAIT_MS ? (int)left_ms : IDLE_WAIT_MS;
}

static bool wait_for_bytes(struct session *s, struct error *err) {
    /* With a backlog it is not read on: libpq's buffer would grow by all that the sink is slower than the server. */
    bool reading = !s->sink_full && !s->backlog && !is_drained(s);
    int timeout_ms = s->sink_full ? FULL_WAIT_MS : s->backlog ? 0 : idle_wait_ms(s);
    short events = reading ? POLLIN : 0;
    if (stream_wants_write(s->stream)) events |= POLLOUT;
    /* POLLHUP is told even when nothing was asked for: what does not read must not spin on it. */
    struct pollfd fds[2] = {{.fd = s->stopping ? -1 : s->stop_fd, .events = POLLIN},
                            {.fd = events ? stream_socket(s->stream) : -1, .events = events}};
    if (poll(fds, 2, timeout_ms) <= 0) return true;
    if (fds[0].revents) {
        s->stopping = true;
        s->stopped_us = clock_mono_us();
    }
    if (!reading || !(fds[1].revents & (POLLIN | POLLERR | POLLHUP))) return true;
    return stream_fill(s->stream, err);
}

/* After a stop: is there nothing left that is worth waiting for? */
static bool is_finished(struct session *s, int64_t now_us) {
    if (s->delivery->open) return now_us - s->stopped_us > STOP_TRANSACTION_US;
    uint64_t confirmed_lsn = s->sink.ops->confirmed_lsn(s->sink.self);
    return confirmed_lsn >= s->delivery->last_end_lsn || now_us - s->stopped_us > STOP_CONFIRM_US;
}

/* The last status went into libpq's buffer; the COPY's end in stream_close flushes it. */
static bool end_by_stop(struct session *s, struct error *err) {
    int64_t now_us = clock_mono_us();
    if (!session_tick(s, now_us, err) || !tell_server(s, now_us, err)) return false;
    session_publish(s);
    log_info(s->log, "feed_stopping", "feed=%s delivered=" LSN_FMT " confirmed=" LSN_FMT,
             s->sink.name, LSN_ARG(s->delivery->last_end_lsn), LSN_ARG(s->confirmed_lsn));
    return error_set(err, ERROR_STOPPED, false, "stopped");
}

bool session_stream(struct session *s, struct error *err) {
    while (true) {
        int64_t now_us = clock_mono_us();
        if (!receive(s, now_us, err) || !take_turn(s, now_us, err)) return false;
        if (s->stopping && is_finished(s, now_us)) return end_by_stop(s, err);
        if (!wait_for_bytes(s, err)) return false;
    }
}
