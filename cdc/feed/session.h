/* session.h: one session of a feed: prepare the sink, connect, attach the slot, snapshot where it is due, stream
 * until something ends it.
 *
 *     session_run(&session, err);     always comes back with the cause in *err; ERROR_STOPPED after a stop
 *
 * The feed's thread. What outlives sessions (relations, counts) is in the delivery, which the feed owns. */
#ifndef FRESHET_CDC_SESSION_H
#define FRESHET_CDC_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/log.h"
#include "cdc/feed/board.h"
#include "cdc/feed/delivery.h"
#include "cdc/feed/feed.h"
#include "cdc/feed/holder.h"
#include "cdc/feed/lineage.h"
#include "cdc/feed/pgwait.h"
#include "cdc/feed/standin.h"
#include "cdc/feed/stream.h"
#include "cdc/snapshot/snapshot.h"

struct increment;

struct session {
    /* Given by the feed. */
    const struct feed_config *config;
    struct change_sink sink;
    struct delivery *delivery;
    struct increment *increment; /* NULL: the sink keeps no notes */
    struct board *board;
    struct log *log;
    int stop_fd;
    uint64_t random; /* for a temporary slot's name */
    /* The last session was: the sink is asked, and nobody fenced, before it is tried again. */
    bool refused;

    /* Told to the feed: the stream ran, so what stands in the way later may well go away by itself. */
    bool streamed;
    bool stood_by; /* another process had the slot */
    bool done;     /* FEED_SNAPSHOT_INITIAL_ONLY has given everything */

    /* The session's own. */
    PGconn *conn;
    struct holder *holder; /* of a permanent slot, until the stream has it; else NULL */
    struct stream *stream;
    struct standin
        *standin;       /* while the slot is made, where commits wait for the feed; else NULL */
    int64_t standin_us; /* when to look whether one is needed */
    char *server_options;
    struct pgwait wait;
    struct feed_identity identity;
    char database[64];
    char slot[64];
    struct change_position position;
    uint64_t start_lsn;
    uint64_t
        skip_lsn; /* transactions that committed before it the sink has; 0: none of those that come */
    bool streaming; /* open transactions are asked for */
    bool snapshot_due;
    char exported_snapshot[64];
    struct snapshot_counts snapshot_counts;
    int64_t snapshot_began_us;
    uint64_t changes_before_snapshot;
    uint64_t bytes_before_snapshot;
    int64_t status_every_us;
    uint64_t xid_reference;
    struct lineage lineage;
    int64_t tell_blocker_us; /* when to say what the slot's creation waits for; 0: not now */

    uint64_t received_lsn;
    uint64_t confirmed_lsn; /* last told to the server */
    uint64_t bytes;
    bool reply_requested;
    bool sink_full; /* nothing is read until it has room */
    bool stopping;  /* since stopped_us */
    int64_t stopped_us;
    bool backlog; /* frames are left that need no waiting for */
    int64_t last_message_us;
    int64_t last_status_us;
    int64_t last_tick_us;
    uint64_t stuck_lsn; /* confirmed_lsn when the probe of the server was last put off */
    int64_t probe_us;
    int64_t silence_us;    /* so long may a question be open with no word from the server */
    int64_t unanswered_us; /* since when; 0: none is */
    int64_t asked_us;      /* for a keepalive; 0: no question is open */
};

/* Always false: a session ends by its cause. */
bool session_run(struct session *session, struct error *err);
/* In its place: the slot and the sink's position are given up, and the next session begins with a snapshot, or `now`. */
bool session_reset(struct session *session, bool now, struct error *err) MUST_CHECK;

/* Of both. */
void session_begin(struct session *session);
bool session_connect(struct session *session, struct error *err) MUST_CHECK;
void session_end(struct session *session);

/* Parts of it, each in a file of its own. */
/* session_slot.c: waits until the slot is this process's; would it be attached? attaches it. */
bool session_hold_slot(struct session *session, struct error *err) MUST_CHECK;
bool session_may_attach(struct session *session, struct error *err) MUST_CHECK;
bool session_attach_slot(struct session *session, struct error *err) MUST_CHECK;
bool session_stream(struct session *session, struct error *err); /* session_stream.c */
void session_publish(struct session *session);
bool session_tick(struct session *session, int64_t now_us, struct error *err) MUST_CHECK;

#endif
