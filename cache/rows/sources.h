/* sources.h: the servers that rows are read from: the primary, and hot standbys (database.replicas). Control threads find
 * and measure them (warden, replica.h), workers read what they know.
 *
 *     struct source *primary = sources_at(sources, 0);          the others are standbys
 *     source_found(source, conn, &address);                     its control thread: connect there from now on
 *     if (source_version(source) != version) ...                a worker's connection leads to the server of before
 *
 * The origin is the server whose change stream we follow. What was read on another, or on a standby with another history, must
 * not be kept: each kind of source has a number that says for what it is good (source_serves), which a read remembers when
 * it is sent and keep_row compares when it is over. Any thread. */
#ifndef FRESHET_CACHE_SOURCES_H
#define FRESHET_CACHE_SOURCES_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "base/pg.h"
#include "cache/cache.h"

enum { SOURCES_MAX_STANDBYS = 64 };

struct sources;
struct source;

/* Of the feed's session. */
struct origin {
    uint64_t system_identifier;
    uint32_t timeline;
    int64_t server_start_us; /* 0: no feed has begun yet, or it does not know */
    bool streams;            /* now; if not, it is the last one's */
};

/* Why a read of a standby was of no use. */
enum refusal {
    REFUSED_LSN,   /* it has not replayed what touched the row */
    REFUSED_STALE, /* it is too old for a read at all */
    REFUSED_MOVED, /* it is no standby with our history any more, or another server than was looked at */
    REFUSED_ERROR,
    REFUSALS,
};

struct source_metrics {
    struct metric *fills, *refused[REFUSALS];
};

struct sources *sources_create(const struct cache_config *config, struct metrics *metrics);
void sources_destroy(struct sources **sources);
uint32_t sources_count(const struct sources *sources);
struct source *sources_at(struct sources *sources, uint32_t i);

/* From here on reads of other servers are not kept. Before what is kept is cleared. */
void sources_set_origin(struct sources *sources, const struct origin *origin);
struct origin sources_origin(struct sources *sources);
void sources_stream_ended(struct sources *sources);
/* When the server was started that the stream comes from; 0: it does not run, or does not know. For each unit: no lock. */
int64_t sources_streams_from(const struct sources *sources);
/* The least LSN that a standby which is in use has replayed; UINT64_MAX: there is none. */
uint64_t sources_least_replayed(struct sources *sources);
/* Of those in use the one that is furthest; 0: there is none. */
uint64_t sources_most_replayed(struct sources *sources);

const char *source_name(const struct source *source); /* "host:port,host:port" */
const char *source_url(const struct source *source);
bool source_is_standby(const struct source *source);
/* Statements and settings must not outlive a transaction. */
bool source_is_pooled(const struct source *source);
struct source_metrics *source_metrics(struct source *source);

/* A control thread's connection has led to the server: the workers' go there too. */
void source_found(struct source *source, const PGconn *conn);
/* Changes with the server; 0: none was found yet. */
uint64_t source_version(const struct source *source);
/* Appends the conninfo of a connection to read rows over; returns its version. */
uint64_t source_conninfo(struct source *source, struct buf *conninfo);

/* When the server was started that the primary's reads are good for, or a standby's number: 0: none, do not ask it. */
const _Atomic int64_t *source_serves(const struct source *source);

/* ---- of a standby, by its control thread ---- */

struct source_measure {
    bool fit; /* a standby with the origin's history, and near enough */
    int64_t server_start_us;
    uint64_t replayed_lsn;
    int64_t lag_us;    /* -1: not known */
    const char *cause; /* where not fit: why, in a few words */
};
/* Returns whether that has changed. */
bool source_measured(struct source *source, const struct source_measure *measure);
/* Whatever was read from it and is on its way is not kept. */
void source_disown(struct source *source);
/* Its history is the origin's: a new number. */
void source_own(struct source *source, const struct origin *origin);

/* Measured just now, and found fit. */
bool source_is_fit(const struct source *source);
uint64_t source_replayed_lsn(const struct source *source);
int64_t source_lag_us(const struct source *source);
int64_t source_server_start_us(const struct source *source);
void source_cause(struct source *source, struct buf *cause);

#endif
