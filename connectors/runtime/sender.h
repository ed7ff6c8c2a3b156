/* sender.h: the thread that applies batches to a sink, in order, and knows how far it got.
 *
 *     sender_open(sender, shape, system_identifier, &position, err);    a session begins: where are we?
 *     sender_enqueue(sender, &batch);  ...                              never blocks
 *     sender_reached(sender, end_lsn, ...);                             nothing up to here is left to enqueue
 *     sender_confirmed_lsn(sender)                                      all up to here is in the sink, durably
 *
 *     feed's thread ──batches──► queue ──► sender's thread ──► sink
 *                                             │ retry with backoff; dead letters; position file
 *
 * One batch is in hand at a time, and a batch holds a key once: so a key has one write in flight, in one
 * lane or in several (lanes.h). A batch is tried until it is applied: a sink that is away costs nothing but the queue's bound, at which the
 * feed stops reading. Functions are for the feed's thread unless they say otherwise. */
#ifndef FRESHET_CONNECTORS_SENDER_H
#define FRESHET_CONNECTORS_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/log.h"
#include "connectors/runtime/batch.h"
#include "connectors/runtime/deadletter.h"
#include "connectors/runtime/figures.h"
#include "connectors/runtime/gate.h"
#include "connectors/runtime/lanes.h"
#include "connectors/runtime/retry.h"
#include "connectors/sink.h"
#include "connectors/source.h"

struct sender_config {
    const char *name;
    const char *table;         /* "public.users" */
    const char *position_path; /* of the position file; NULL: the feed keeps its position itself */
    const char *rebuilt_path;  /* of the one that a rebuild of the target leaves: resume_adopt */
    size_t queue_bytes;        /* batches waiting and in hand */
    int64_t save_interval_us;  /* between two saves of the position */
    uint64_t seed;             /* of the backoff's jitter */
    struct gate_config gate;
    bool paused; /* from the start */
};

struct sender_deps {
    const struct sink_ops *ops;
    struct sink *
        sink; /* used on the sender's thread alone; the caller's to destroy, after sender_destroy */
    struct lanes *lanes; /* of several sinks, of which `sink` is the first; NULL: of it alone */
    struct source source;
    struct deadletters *deadletters;
    struct figures *figures;
    struct log *log;
};

enum sender_state {
    SENDER_IDLE,     /* nothing to do */
    SENDER_OPENING,  /* looking at the sink */
    SENDER_SENDING,  /* a batch is in hand */
    SENDER_RETRYING, /* waiting to try again; the status has the cause */
    SENDER_STOPPED
};

struct sender_status {
    enum sender_state state;
    bool loaded;         /* the initial load is complete */
    uint64_t opens;      /* sessions whose target was opened */
    char target[64];     /* of the last */
    uint64_t retry_runs; /* so many times dead letters were read again; what the last came to: */
    struct retry_counts retried;
    bool paused;
    bool broken;     /* the circuit breaker is open */
    uint64_t walked; /* keys of a walk that is under way (source.h); 0: none is */
    uint64_t applied_lsn;
    uint64_t saved_lsn;
    uint64_t seen_lsn; /* who reads the sink finds everything up to here */
    size_t queue_bytes;
    int64_t oldest_commit_us; /* of what is not applied; Unix epoch; 0: nothing waits */
    int64_t last_error_us;    /* Unix epoch; 0: none yet */
    char last_error[512];
};

struct sender;

/* Copies the configuration. `stop` is what the sink was given as deps.stop: set while the request in hand is to be
 * given up. */
struct sender *sender_create(const struct sender_config *config, const struct sender_deps *deps,
                             _Atomic bool *stop);
bool sender_start(struct sender *sender, struct error *err) MUST_CHECK;
/* Applies what is queued as long as that goes well and is quick, saves the position, ends the thread. */
void sender_stop(struct sender *sender);
void sender_destroy(struct sender **sender);

/* Drops what is queued of an earlier session, opens the sink, tells the position (zero: load anew). Waits for the
 * sender's thread, at most as long as a request of the sink takes. */
bool sender_open(struct sender *sender, const struct shape *shape, uint64_t system_identifier,
                 struct change_position *position, struct error *err) MUST_CHECK;
/* Takes the batch. */
void sender_enqueue(struct sender *sender, struct batch **batch);
/* `last_end_lsn`: of the last transaction that had changes. */
void sender_reached(struct sender *sender, uint64_t end_lsn, uint64_t last_end_lsn);
/* The session's stream begins: on which history, and where. */
void sender_attached(struct sender *sender, const struct feed_identity *identity);
bool sender_has_room(struct sender *sender);
uint64_t sender_confirmed_lsn(struct sender *sender);
/* True after the sink's target was lost, until sender_open: the session must end and start over. */
bool sender_must_restart(struct sender *sender, struct error *err);

/* Of the target that sender_open has found: sink_target.id. */
void sender_target(struct sender *sender, char *id, size_t size);
/* What is queued must not be written any more: it is somebody else's now. Waits for the request that is under way, until
 * `timeout_us` have passed. */
void sender_abandon(struct sender *sender, int64_t timeout_us);

/* Any thread. A request that is under way ends; what is read meanwhile waits in the queue, then at the server. */
void sender_pause(struct sender *sender, bool paused);
/* Dead letters are read again, before what is queued. The run that it will be, as sender_status numbers them. */
uint64_t sender_retry(struct sender *sender);
void sender_status(struct sender *sender, struct sender_status *status);
const char *sender_state_name(enum sender_state state);

#endif
