/* change.h: the two types in which the wings meet: a change transaction and the sink that takes one.
 *
 *     feed thread:  prepare -> started -> { begin -> change... -> commit | progress | tick }... -> ended
 *
 * A feed (a replication slot, a snapshot, later a Kafka topic) calls a sink's functions, all on the feed's
 * one thread. Everything passed in is borrowed until the function returns. Transactions come in commit
 * order; nothing of an aborted transaction is ever seen (but by a sink that asks for open ones); a transaction is
 * not collected in memory first, so a sink that needs all of it keeps what it needs between begin and commit.
 *
 * The identity of an event is (end_lsn of its transaction, index in it). Row LSNs are not unique. */
#ifndef FRESHET_BASE_CHANGE_H
#define FRESHET_BASE_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/lsn.h"
#include "base/slice.h"

enum change_operation {
    CHANGE_INSERT,
    CHANGE_UPDATE,
    CHANGE_DELETE,
    CHANGE_TRUNCATE, /* one a table */
    CHANGE_MESSAGE,  /* pg_logical_emit_message; relation is NULL */
    CHANGE_READ,     /* a row of a snapshot */
};

/* As the Relation message describes it (pgoutput, "Logical Replication Message Formats"). */
struct relation_column {
    const char *name;
    uint32_t type_oid; /* a domain's own OID, not its base type's */
    int32_t typmod;    /* -1: none */
    bool identity;     /* part of the replica identity (all columns under FULL) */
};

/* Immutable. A pointer is valid until the feed replaces the relation, which it announces by
 * the sink's `relation` function; `version` tells versions apart. */
struct relation {
    uint32_t oid;
    uint32_t version; /* 1, and one more with each Relation message that differs */
    const char *schema;
    const char *name;
    char replica_identity; /* d, n, f, i as pg_class.relreplident */
    uint16_t n_columns;
    const struct relation_column *columns;
};

enum value_kind {
    VALUE_NULL,
    VALUE_UNCHANGED, /* a TOASTed value that the update did not touch: not in the stream */
    VALUE_TEXT,      /* what the type's output function prints, in the feed session's settings */
    VALUE_BINARY,    /* what the type's send function gives */
};

struct value {
    enum value_kind kind;
    uint32_t len;
    const char *data; /* not NUL-terminated */
};

/* Where a snapshot's row stands: the `source.snapshot` marker of its event. */
enum snapshot_marker {
    SNAPSHOT_NONE,
    SNAPSHOT_TRUE,
    SNAPSHOT_FIRST,
    SNAPSHOT_FIRST_IN_TABLE,
    SNAPSHOT_LAST_IN_TABLE,
    SNAPSHOT_LAST,
    SNAPSHOT_INCREMENTAL,
};

struct change {
    enum change_operation operation;
    const struct relation *relation;
    uint64_t row_lsn; /* LSN of the row's WAL record (the message header's dataStart) */
    uint64_t index;   /* place in the transaction, from 0 */
    /* relation->n_columns values each, or NULL where the stream has none. */
    const struct value
        *old_row; /* whole row (FULL) or only its identity columns, the rest VALUE_NULL */
    const struct value *new_row;
    bool old_is_key; /* old_row holds the identity columns alone ('K', not 'O') */
    enum snapshot_marker marker;
    /* CHANGE_TRUNCATE */
    bool cascade;
    bool restart_identity;
    /* CHANGE_MESSAGE */
    bool transactional;
    struct slice message_prefix;
    struct slice message_content;
};

struct transaction {
    uint64_t
        xid; /* extended to 64 bits by the feed; 0 for a snapshot and a non-transactional message */
    uint64_t commit_lsn; /* start of the commit record */
    uint64_t
        end_lsn; /* end of the commit record: the transaction's position. Known from commit on; 0 before */
    int64_t commit_time_us; /* Unix epoch */
    /* Rows of CHANGE_READ. Of the initial snapshot: all tables in one such transaction, or for a sink that keeps notes in several;
     * commit_lsn = end_lsn = the slot's consistent point, commit_time_us = when it began. Of a table that is read beside the
     * stream (`incremental`): a chunk of it, between two transactions of the stream; end_lsn and xid are those of the one
     * before. Only a sink that keeps notes is given such. */
    bool snapshot;
    bool incremental;
};

/* What the feed is attached to. A sink compares it with what its position was made under. */
struct feed_identity {
    uint64_t system_identifier;
    uint32_t timeline;
    uint64_t timeline_lsn;   /* where it began; 0: with the cluster */
    int64_t server_start_us; /* pg_postmaster_start_time(), Unix epoch */
    const char *database;
    const char *slot;
    uint64_t slot_lsn; /* the slot's consistent point (new) or confirmed_flush_lsn (old) */
    bool slot_created; /* by this very start */
    /* The stream begins here: the sink's position, or before it where that lies beyond what a promoted server has of the
     * history in which it was made (and nothing was given between). */
    uint64_t start_lsn;
};

/* How far a transaction that is being taken in parts has come. */
struct change_part {
    uint64_t commit_lsn; /* whose */
    uint64_t changes;    /* so many of its changes are in the sink */
    uint32_t number;     /* of parts; 0: none, and no such transaction */
};

/* A sink's durable position; zero for a sink that has none yet. */
struct change_position {
    uint64_t end_lsn; /* everything up to here is in the sink, nothing after but `part` */
    bool snapshot_done;
    /* The history that these LSNs are of (cdc/feed/lineage.h). */
    uint64_t system_identifier; /* 0: unknown */
    uint32_t timeline;          /* 0: unknown */
    uint64_t timeline_lsn;      /* where that began; 0: with the cluster */
    uint64_t last_end_lsn;      /* of the last transaction in the sink; 0: unknown */
    struct change_part part;    /* of the transaction after that */
    /* The sink has `note`, and what it was given last. NULL: nothing. Valid until the next `prepare`. */
    bool keeps_notes;
    const char *note;
};

struct change_sink;

/* Functions that may be NULL are marked. Those that return bool fill *err on false; the feed then ends the
 * session, and starts again (retriable) or stops for good (not). */
struct change_sink_ops {
    /* Of a snapshot's rows, those of the table that the sink wants: SQL over its columns, appended to *out; nothing: all. Any
     * thread. NULL: all. */
    void (*snapshot_where)(void *self, const char *schema, const char *table, struct buf *out);

    /* Before the feed connects its stream: make the publication, fence older processes, read the position. */
    bool (*prepare)(void *self, struct change_position *position, struct error *err);
    /* What `prepare` would read, and nobody is fenced: asked after a refusal, before `prepare` is tried again. NULL: `prepare`
     * hurts nobody. */
    bool (*peek)(void *self, struct change_position *position, struct error *err);
    /* Between `prepare` and `started`: this is the position from now on, when it returns true; zero: none. Somebody has asked
     * for it. NULL: the sink cannot. */
    bool (*reset)(void *self, const struct change_position *position, struct error *err);
    /* The slot exists and its stream, or the snapshot before it, is about to run / runs. */
    bool (*started)(void *self, const struct feed_identity *identity, struct error *err);
    /* The session is over (connection lost, sink failed, stop): an open transaction never came. Called once for
     * each `started` that returned true. NULL allowed. */
    void (*ended)(void *self, const struct error *cause);
    /* Between `ended` and `started`: lets go of everything that a commit could make wrong, so that the feed may confirm for it
     * what it has not seen. NULL: it cannot. */
    void (*empty)(void *self);

    /* A relation was described: for the first time in this session, or anew. Compare `version`: it grows only
     * when something differs, across sessions too. NULL allowed. */
    bool (*relation)(void *self, const struct relation *relation, struct error *err);
    /* A relation was described once more in this session, with no difference: something else of the table may be altered, a
     * default, NOT NULL, an index. NULL allowed. */
    bool (*described_again)(void *self, const struct relation *relation, struct error *err);

    /* Where the feed is a topic: a begin, or progress, without a commit before it: what came since the last begin never
     * happened, or comes again. */
    bool (*begin)(void *self, const struct transaction *tx, struct error *err);
    bool (*change)(void *self, const struct transaction *tx, const struct change *change,
                   struct error *err);
    bool (*commit)(void *self, const struct transaction *tx, struct error *err);
    /* Transactions that are still open, in pieces as they run, for a sink that can hold them: all three, or NULL for none. A
     * large one then does not come all at once at its commit, when it would hold back every other. Its changes have no
     * index; it has no `begin`, and `open_commit` in the place of `commit`. Pieces of several stand between each other. */
    bool (*open_change)(void *self, uint64_t xid, uint64_t subxid, const struct change *change,
                        struct error *err);
    /* subxid equal to xid: all of it. What is told of may not have been given at all. */
    bool (*open_abort)(void *self, uint64_t xid, uint64_t subxid, struct error *err);
    bool (*open_commit)(void *self, const struct transaction *tx, struct error *err);
    /* The initial snapshot's rows have all been given; the stream goes on from slot_lsn, or has got that far. NULL allowed. */
    bool (*snapshot_done)(void *self, uint64_t slot_lsn, struct error *err);
    /* A text to keep beside the position (which an initial snapshot does not move before it is done), in the place of the last
     * one: between `begin` and `commit` of a snapshot's transaction,
     * and durable with that or not at all. Empty: none any more. See change_position.keeps_notes. NULL: it cannot. */
    bool (*note)(void *self, struct slice text, struct error *err);

    /* The server has sent everything before wal_end_lsn, and no transaction is open. NULL allowed. */
    bool (*progress)(void *self, uint64_t wal_end_lsn, struct error *err);
    /* Called often (at least each 50 ms) with the monotonic time, in mid-transaction too. NULL allowed. */
    bool (*tick)(void *self, int64_t now_us, struct error *err);

    /* By when a tick is wanted, monotonic; 0: there is no hurry. NULL: never. */
    int64_t (*tick_due_us)(void *self);

    /* False: no room for one more change now; the feed reads no further, keeps the connection alive and
     * asks again after a tick. NULL: always. */
    bool (*ready)(void *self);
    /* True: ask the server for a keepalive now (the sink waits for progress). NULL: never. */
    bool (*wants_progress)(void *self);
    /* The LSN that may be confirmed to the server as written, flushed and applied. Of a sink with a durable
     * position never more than `prepare` would read after a crash now: a slot that has confirmed more than the
     * position is taken for one that somebody else has used. */
    uint64_t (*confirmed_lsn)(void *self);
};

struct change_sink {
    const struct change_sink_ops *ops;
    void *self;
    const char *name; /* for logs and metrics */
};

#endif
