/* increment.h: tables that are read beside the stream, chunk by chunk: the rest of an initial snapshot that was interrupted, tables
 * that join the publication with rows in them, and what somebody asks for. The stream is never paused.
 *
 *     order a chunk --> the reader's thread reads it, and writes a message into the WAL (cdc/snapshot/chunk_reader.h)
 *          |  meanwhile: the keys that the stream touches are noted (cdc/snapshot/window.h)
 *          v
 *     the message comes: all that the chunk saw has been given --> the chunk's rows that were not overtaken, in slices, each with
 *     a note of how far the table is read (cdc/snapshot/snapshot_state.h) --> the next chunk
 *
 * A slice is given between two transactions, as one of its own (base/change.h, `incremental`), and is durable with its note: killed
 * at any point, what was given is not read again.
 *
 * All on the feed's thread, but for increment_request and increment_status. */
#ifndef FRESHET_CDC_INCREMENT_H
#define FRESHET_CDC_INCREMENT_H

#include <jansson.h>

#include "base/change.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cdc/decode/relations.h"
#include "cdc/snapshot/snapshot_state.h"
#include "cdc/snapshot/snapshot_tables.h"

struct increment;

struct increment *increment_create(struct change_sink sink, struct log *log,
                                   struct metrics *metrics);
void increment_destroy(struct increment **increment);

/* ---- a session's start and end ---- */

/* Takes the sink's note in. False: it is malformed. */
bool increment_load(struct increment *increment, const struct change_position *position,
                    struct error *err) MUST_CHECK;
/* Has an initial snapshot been interrupted whose rest is to be read here? Its slot's consistent point; else 0. */
uint64_t increment_resumes(const struct increment *increment);
/* For an initial snapshot, which begins it anew: empties it. */
struct snapshot_state *increment_state(struct increment *increment);

/* Lists every table of the choice, to be read beside the stream that begins at start_lsn. */
bool increment_plan_all(struct increment *increment, const struct pgwait *wait, PGconn *conn,
                        const struct snapshot_choice *choice, uint64_t start_lsn,
                        struct error *err) MUST_CHECK;

struct increment_plan {
    const char *database_url;
    const char *server_options;
    const char *publication;
    uint64_t chunk_bytes;        /* of rows, about */
    bool joins;                  /* tables that join later are read */
    bool whole;                  /* no table of the initial snapshot may be left out */
    struct relations *relations; /* the stream's */
    uint64_t *changes;           /* counts the rows given, too */
    uint64_t start_lsn;          /* of the stream */
};

/* The stream is about to run. The plan's texts must outlive the session. */
bool increment_start(struct increment *increment, const struct increment_plan *plan,
                     struct error *err) MUST_CHECK;
void increment_stop(struct increment *increment);

/* ---- the stream ---- */

void increment_saw_change(struct increment *increment, const struct transaction *tx,
                          const struct change *change);
/* One of Freshet's own messages. */
void increment_saw_message(struct increment *increment, struct slice prefix, struct slice content);
void increment_saw_commit(struct increment *increment, const struct transaction *tx);

/* Between two transactions: gives what is due as far as the sink has room. To be called often. */
bool increment_turn(struct increment *increment, int64_t now_us, struct error *err) MUST_CHECK;
/* There is something to give right now. */
bool increment_is_due(const struct increment *increment);
/* The rest of the initial snapshot has been given in this session. */
bool increment_completed(const struct increment *increment);

/* ---- any thread ---- */

/* Asks for a table's rows; returns when it is on the list. *id names it in the status. */
bool increment_request(struct increment *increment, const char *schema, const char *name,
                       const char *where, uint64_t *id, struct error *err) MUST_CHECK;
/* {"now":{"id":1,"table":"public.t","origin":"requested","rows":0,...,"tables_left":1},"tables":[{...}],"done":[...]}: the one
 * in hand, all that are to be read, and those that were; a new reference. */
json_t *increment_status(struct increment *increment);

#endif
