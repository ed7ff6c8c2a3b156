/* sender_parts.h: what the sender's own files share: its parts, and the steps of its thread. For nobody else.
 *
 *     sender.c         the queue, the thread's loop, and what others ask of it
 *     sender_place.c   where the sink is: a session's opening, the position saved, a target lost
 *     sender_apply.c   one batch, once
 *
 * All functions are of the sender's thread. */
#ifndef FRESHET_CONNECTORS_SENDER_PARTS_H
#define FRESHET_CONNECTORS_SENDER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "connectors/runtime/backoff.h"
#include "connectors/runtime/position.h"
#include "connectors/runtime/sender.h"

struct opening {
    bool asked;
    bool answered;
    bool ok;
    const struct shape *shape;
    uint64_t system_identifier;
    struct change_position position;
    struct error err;
};

struct sender {
    char *name;
    char *position_path;
    char *rebuilt_path;
    bool resumes_loads;
    bool keeps_notes; /* of the load of this session; the sender's thread alone */
    size_t queue_max_bytes;
    int64_t save_interval_us;
    const struct sink_ops *ops;
    struct sink *sink;
    struct lanes *lanes; /* NULL: the sink alone */
    struct source source;
    struct deadletters *deadletters;
    struct figures *figures;
    struct log *log;
    _Atomic bool *stop; /* the request in hand is to be given up */
    pthread_t thread;
    bool started;

    /* The sender's thread alone. */
    struct backoff backoff;
    struct position_record record;
    const struct shape *shape; /* that the sink was last told of; held by `held_shape` */
    struct shape *held_shape;
    struct shape *opened_shape; /* of this session's start */
    struct retry_counts retrying;
    struct sink_target target;
    int64_t saved_us; /* monotonic */
    int64_t looked_us;
    int64_t tables_us; /* when the source's tables were looked at */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;  /* the sender's thread waits */
    pthread_cond_t done;  /* others wait for it */
    struct batch *head;   /* the first is the one in hand */
    struct batch *tail;
    size_t queued_bytes;
    uint64_t session;
    struct opening opening;
    struct gate gate;
    bool retry_due; /* of dead letters: somebody has asked */
    struct retry_counts retried;
    uint64_t retry_runs;
    bool draining; /* end once the queue is empty, or at the first failure */
    bool quit;     /* end now */
    bool finished;
    bool abandoned; /* the queue is to be dropped */
    bool restart;
    uint64_t opens;
    char opened_target[64];
    struct error restart_cause;
    uint64_t applied_lsn;
    uint64_t last_end_lsn; /* of the last transaction that is applied */
    uint32_t timeline;     /* that these are of */
    uint64_t timeline_lsn;
    uint64_t saved_lsn;
    bool loaded;
    char *note; /* what is applied of a load that is under way; NULL: nothing is noted */
    bool unsaved;
    bool uncommitted;      /* transactional sinks: since the last save something was applied */
    uint64_t walked;       /* keys of the walk in hand */
    bool mid_transaction;  /* transactional sinks: of what was applied last, more is to come */
    int64_t load_began_us; /* Unix epoch, while a load runs */
    enum sender_state state;
    int64_t last_error_us;
    struct error last_error;
};

/* ---- holding the lock, which the last two let go meanwhile ---- */

void sender_drop_queue(struct sender *sender);
void sender_note_error(struct sender *sender, const struct error *err);
/* The target is gone, or what was applied last is not in it: the next session starts over from what the sink has. */
void sender_lose_target(struct sender *sender, const struct error *err);
struct change_position sender_position_now(const struct sender *sender);
/* Makes durable what was applied. True: saved, or nothing to save. */
bool sender_save_applied(struct sender *sender);
void sender_answer_opening(struct sender *sender);

/* ---- not holding the lock ---- */

bool sender_save_record(struct sender *sender, const struct change_position *position,
                        struct error *err) MUST_CHECK;
/* False: the batch is to be tried again, from where this came to. */
bool sender_attempt(struct sender *sender, struct batch *batch, struct error *err) MUST_CHECK;
/* Metrics and dead letters of a batch that was applied. */
void sender_count_outcomes(struct sender *sender, struct batch *batch);

#endif
