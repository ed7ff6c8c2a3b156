/* increment_parts.h: what the files of the increment share among themselves. Private to increment*.c.
 *
 *     increment.c          its life and sessions, the list of tables, orders of chunks
 *     increment_give.c     what the stream touches meanwhile; chunks, given in slices
 *     increment_status.c   requests, and what is told of all this
 *
 *     IDLE --order--> DESCRIBING --key--> READING --rows and message--> GIVING --all given--> IDLE --next chunk--> READING
 *
 * All on the feed's thread, but for what the lock guards. */
#ifndef FRESHET_CDC_INCREMENT_PARTS_H
#define FRESHET_CDC_INCREMENT_PARTS_H

#include <pthread.h>

#include "base/buf.h"
#include "cdc/snapshot/chunk_reader.h"
#include "cdc/snapshot/increment.h"
#include "cdc/snapshot/window.h"

enum { INCREMENT_TELL_EVERY_US = 10000000, INCREMENT_STATUS_EVERY_US = 200000, DONE_KEPT = 32 };

enum phase {
    PHASE_IDLE,
    PHASE_DESCRIBING, /* the table's key is asked for */
    PHASE_READING,    /* a chunk is read, or its message on its way */
    PHASE_GIVING,
};

/* Of another thread, which waits for it to be taken. */
struct request {
    struct request *next;
    char *schema;
    char *name;
    char *where;
    uint64_t id; /* 0: not taken yet */
};

/* A table that is off the list, and how it ended. */
struct done {
    uint64_t id;
    char table[160];
    uint64_t rows;
    char error[256]; /* "": all of it was given */
};

/* The table in hand, as it was described. */
struct target {
    uint64_t task_id; /* 0: none */
    uint32_t oid;
    uint32_t n_keys;
    char **keys;
    uint16_t *key_places; /* in the relation's columns, of key_version */
    uint32_t key_version;
    double estimated_rows;
    double row_bytes;
    uint64_t min_xmin;
    int64_t began_us;
    uint64_t began_rows;
};

struct increment {
    struct change_sink sink;
    struct log *log;
    struct metric *rows_given, *rows_overtaken, *chunks, *chunks_again;

    /* The feed's thread. */
    struct increment_plan plan;
    struct snapshot_state *state;
    struct window *window;
    struct chunk_reader *reader; /* NULL: no session that can */
    bool completed, note_due, marked;
    char broken[256]; /* why the initial snapshot cannot go on; "": it can */
    enum phase phase;
    struct target target;
    struct chunk *chunk;
    struct buf given_key;   /* of the last row that was given, or dropped */
    unsigned halts;         /* before one row, lately */
    size_t chunk_at;        /* rows before it are given, or dropped */
    uint32_t order_version; /* the relation's, when the chunk was ordered; 0: not known */
    char token[64];
    uint64_t n_orders;
    uint64_t session; /* random */
    uint64_t last_end_lsn, last_xid;
    int64_t retry_us, status_us, progress_us;
    struct value *values;
    struct buf key;
    struct done done[DONE_KEPT]; /* a ring */
    uint64_t n_done;

    pthread_mutex_t lock;
    pthread_cond_t taken;
    bool running;
    struct request *requests;
    json_t *status;
    uint64_t published_id; /* tasks up to this one are in it */
};

/* ---- increment.c ---- */

/* The task in hand; NULL: none. */
struct snapshot_task *increment_current(const struct increment *inc);
void increment_forget_target(struct increment *inc);
/* Drops the chunk; the next order is not before retry_us. */
void increment_go_idle(struct increment *inc, int64_t retry_us);
/* The task is done (error: ""), or given up. */
void increment_strike(struct increment *inc, struct snapshot_task *task, const char *error);
/* The chunk in hand cannot be given. */
void increment_read_again(struct increment *inc, const char *cause);
/* Of the stream's relation; 0: not known. */
uint32_t increment_version_of(const struct increment *inc, uint32_t oid);

/* ---- increment_give.c; the sink is ready, and between two transactions ---- */

bool increment_is_ready(const struct increment *inc);
/* The list has changed, and no row comes along. */
bool increment_give_note(struct increment *inc, struct error *err) MUST_CHECK;
bool increment_give_slice(struct increment *inc, struct error *err) MUST_CHECK;
/* Tells the sink that the initial snapshot is all given, once it is. */
bool increment_complete(struct increment *inc, struct error *err) MUST_CHECK;

/* ---- increment_status.c ---- */

void increment_take_requests(struct increment *inc);
void increment_set_running(struct increment *inc, bool running);
void increment_publish(struct increment *inc, int64_t now_us);
void increment_tell_progress(struct increment *inc, int64_t now_us);

#endif
