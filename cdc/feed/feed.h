/* feed.h: a feed from a logical replication slot, or from a publisher's topic of invalidations, into one change sink, on a
 * thread of its own.
 *
 *     struct feed *feed = feed_create(&config, sink, &deps);
 *     feed_start(feed, err);  ...  feed_stop(feed);  feed_destroy(&feed);
 *
 * It connects, makes the slot where it must (temporary: at each session; permanent: once), runs the initial
 * snapshot on the slot's exported snapshot where the sink has none yet, streams, confirms what the sink
 * confirms, and after a retriable error starts over with a jittered backoff. A slot that is lost, or ahead
 * of the sink's position, or another system's, is a loud error and never a silent gap: the feed has FAILED, and looks
 * again at intervals whether somebody has mended it.
 *
 * A permanent slot is one process's at a time. A feed that finds it taken is its STANDBY: it asks for it a few times a
 * second, and takes over when the other's connection is gone. Before its stream runs, who has the slot is said by a lock in the
 * database (holder.h); so two cannot fence each other in turn.
 *
 * A topic is followed from its end on: a sink with a position of its own is not for it. See follower.h. */
#ifndef FRESHET_CDC_FEED_H
#define FRESHET_CDC_FEED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/kafka.h"
#include "base/log.h"
#include "base/metrics.h"

enum feed_snapshot {
    FEED_SNAPSHOT_NEVER,
    FEED_SNAPSHOT_INITIAL,      /* once: before the stream */
    FEED_SNAPSHOT_INITIAL_ONLY, /* that, and no stream: then the feed stops, and its slot goes */
    FEED_SNAPSHOT_WHEN_NEEDED, /* as initial; and again where the stream cannot go on from the sink's position */
    FEED_SNAPSHOT_INCREMENTAL, /* beside the stream, from the start */
};

/* A topic to follow in place of a slot. */
struct feed_topic {
    struct kafka_config kafka; /* its strings must outlive the feed */
    const char *name;
    const char *database; /* whose changes they must be, */
    /* and feed_config.publication, by which they must have come */
};

/* See cdc/feed/spool.h. */
struct feed_spool {
    const char *directory;
    uint64_t memory_bytes;
    uint64_t limit_bytes; /* 0: the disk's */
};

struct feed_config {
    const struct feed_topic *topic; /* NULL: a slot. The next five are a slot's */
    const char *database_url;
    const char *application_name;
    const char *slot; /* permanent: its name; temporary: a prefix, made unique by the feed */
    bool temporary;
    bool
        disposable; /* nothing is lost with a permanent slot: one that the server has given up is made anew */
    const char *publication;
    enum feed_snapshot snapshot;
    uint32_t snapshot_readers;    /* connections that read the initial one; 0: one */
    uint64_t snapshot_part_bytes; /* about so many of rows are read at a time; 0: 2 MiB */
    uint32_t n_patterns;          /* of tables for the snapshot: "public.*", "sales.orders" */
    const char *const *patterns;
    bool messages; /* logical messages are wanted */
    /* An interrupted snapshot of which a table cannot be read any more begins anew (the sink is given an empty note); else that
     * table is left out, and the log says so. */
    bool whole_snapshot;
    const char *server_options; /* for the session, e.g. "-c logical_decoding_work_mem=1MB"; NULL */
    int64_t status_interval_ms; /* of standby status updates; default 1000 */
    bool
        streaming; /* transactions are sent while they are open, where the sink or a spool takes them */
    bool
        two_phase; /* prepared ones when they are prepared; wants a spool. For good: the slot keeps it */
    const struct feed_spool *spool; /* for a sink that takes only whole transactions; NULL: none */
    bool failover; /* a permanent slot may be kept by standbys too, where the server can (17+) */
    const char *way_on; /* what an operator may choose after a refusal; NULL: the general words */
};

struct feed_deps {
    struct log *log;
    struct metrics *metrics;
};

enum feed_state {
    FEED_STOPPED,
    FEED_CONNECTING,
    FEED_SNAPSHOTTING,
    FEED_STREAMING,
    FEED_WAITING,
    FEED_DONE,    /* FEED_SNAPSHOT_INITIAL_ONLY: all of it is given */
    FEED_STANDBY, /* another process has the slot: when that one goes, this one goes on */
    FEED_FAILED
};

struct feed_status {
    enum feed_state state;
    char slot[64];
    uint64_t received_lsn;       /* end of WAL as the server last told */
    uint64_t confirmed_lsn;      /* what we told the server */
    int64_t last_commit_time_us; /* of the last transaction delivered; Unix epoch; 0: none */
    int64_t last_message_us;     /* monotonic time of the last byte from the server */
    uint64_t transactions;
    uint64_t changes; /* snapshot rows too */
    int64_t lag_us;   /* age of the oldest commit that the sink has not confirmed; 0: none */
    /* Of SNAPSHOTTING. */
    struct feed_snapshot_status {
        uint64_t tables, all_tables, rows, rows_per_second;
        double share, seconds_left; /* 0 to 1; 0: not known */
        char table[160];
    } snapshot;
    char cause[512];  /* of WAITING, STANDBY and FAILED; else "" */
    bool looks_again; /* FAILED, and it goes on by itself once an operator has mended the cause */
    /* What the server has sent of transactions that have not committed. */
    uint64_t open_transactions;
    uint64_t spool_memory_bytes;
    uint64_t spool_disk_bytes;
};

struct feed;

/* Copies the configuration; the sink's `self` must outlive the feed. */
struct feed *feed_create(const struct feed_config *config, struct change_sink sink,
                         const struct feed_deps *deps);
bool feed_start(struct feed *feed, struct error *err) MUST_CHECK;
/* Ends the session after the transaction in hand, confirms, joins the thread. */
void feed_stop(struct feed *feed);
void feed_destroy(struct feed **feed);

enum feed_reset { FEED_RESET_SNAPSHOT, FEED_RESET_NOW };
/* Without a feed, and while no feed has the slot: its slot and the sink's position are given up. What follows is a snapshot
 * of all rows, or the stream from this moment on. The sink must know `reset`. */
bool feed_reset(const struct feed_config *config, struct change_sink sink, enum feed_reset from,
                const struct feed_deps *deps, struct error *err) MUST_CHECK;

/* Asks for the rows of a table that is published, beside the stream: those for which `where` (SQL; NULL: all) holds. *id names
 * it in feed_increment. Any thread; waits until it is taken. */
bool feed_snapshot_table(struct feed *feed, const char *schema, const char *name, const char *where,
                         uint64_t *id, struct error *err) MUST_CHECK;
/* What is read beside the stream (cdc/snapshot/increment.h): a new reference; NULL: nothing can be. Any thread. */
json_t *feed_increment(struct feed *feed);

/* Any thread. */
void feed_status(struct feed *feed, struct feed_status *status);
const char *feed_state_name(enum feed_state state);

#endif
