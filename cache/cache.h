/* cache.h: the cache wing as server/ sees it: RESP listeners and workers, one store, read-through, coherence.
 *
 *     struct cache *cache = cache_create(&config, &deps, err);
 *     cache_start(cache, err);                           listens and answers from here on
 *     struct change_sink sink = cache_sink(cache);       give it to a feed over config.slot and publication
 *     cache_stop(cache); cache_destroy(&cache);          drains: replies on the way are sent first
 *
 * Strings in the configuration are borrowed and must outlive the cache. */
#ifndef FRESHET_CACHE_CACHE_H
#define FRESHET_CACHE_CACHE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/front/tls.h"

enum cache_coherence { COHERENCE_STREAM, COHERENCE_TTL };
enum cache_feed { CACHE_FEED_SLOT, CACHE_FEED_KAFKA };
enum cache_writes { WRITES_REFUSE, WRITES_THROUGH };
enum cache_on_stale { ON_STALE_BYPASS, ON_STALE_SERVE, ON_STALE_ERROR };

/* cache.tables: one entry of the map. */
struct cache_table_config {
    const char *table;      /* "schema.table" as written */
    const char *prefix;     /* NULL: the default */
    int64_t ttl_ms;         /* -1: cache.ttl */
    const char *ttl_column; /* tells when the row ends (rowttl.h); NULL: none */
    bool delete_expired;    /* rows that have ended by it are deleted */
    const char *writes;     /* "refuse" or "through"; NULL: cache.writes */
    bool mapped;            /* false: this table's name is an ordinary prefix */
    uint32_t n_columns;     /* 0: all; else only these are readable */
    const char *const *columns;
};

/* cache.queries: one entry of the map. */
enum cache_shape { SHAPE_ROWS, SHAPE_ROW, SHAPE_VALUE, SHAPE_HASH, SHAPE_LIST, SHAPE_ZSET };
struct cache_dependency {
    const char *table;   /* "schema.table", or the name of one in public */
    const char *columns; /* "all", or names with commas between */
};
struct cache_query_config {
    const char *name;
    const char *key; /* "orders_by_user:{user_id}" */
    const char *sql;
    enum cache_shape shape;
    int64_t ttl_ms; /* -1: cache.ttl */
    uint64_t max_result_bytes;
    uint32_t n_dependencies;
    const struct cache_dependency *dependencies;
};

/* A listening socket that was handed over. */
struct cache_socket {
    int fd;
    bool speaks_tls;
};

/* cache.users: one entry of the map. */
struct cache_user_config {
    const char *name;
    const char *rules;    /* "on ~cache:* +@read", as ACL SETUSER takes them */
    const char *password; /* NULL: those of the rules */
};

struct cache_config {
    const char *database_url; /* NULL: no read-through, plain keys only */
    uint32_t pool;            /* connections a worker, to each server that rows are read from */
    const char
        *pooler_url; /* NULL: rows are read over database_url; else a pooler in transaction mode */
    uint32_t write_pool; /* connections a worker for writing, where anything is written through */
    uint32_t n_replicas;
    const char *const *replicas;  /* URLs of hot standbys that rows may be read from */
    int64_t statement_timeout_ms; /* of a statement that reads rows; 0: fill_timeout_ms */
    const char *application_name; /* of all connections but the feed's */
    const char *listen;           /* "host:port", "[::1]:6380" */
    const char *password;         /* NULL: none */
    uint32_t workers;             /* 0: one a core */
    uint64_t max_memory_bytes;
    int64_t ttl_ms;
    int64_t negative_ttl_ms;
    uint32_t ttl_jitter_percent; /* by up to so much each entry's TTL is shortened */
    uint32_t early_refresh;      /* ahead.h: its eagerness */
    int64_t stale_while_revalidate_ms;
    int64_t min_refill_interval_ms; /* pace.h; 0: none */
    uint32_t delete_rate;           /* of ended rows: so many a second at most */
    uint32_t delete_batch;          /* ... and so many in one transaction */
    int64_t fill_timeout_ms;        /* the deadline of a read that has to ask the database */
    uint32_t
        max_pending_reads;    /* rows that a worker's clients may wait for at once; 0: any number */
    enum cache_writes writes; /* what SET and HSET do on the key of a table's row */
    int64_t write_timeout_ms; /* the deadline of such a write */
    enum cache_coherence coherence;
    /* KAFKA: the publication is a publisher's, which keeps it up; and freshness is proved by the feed's own word alone. */
    enum cache_feed feed;
    int64_t max_staleness_ms;
    enum cache_on_stale on_stale;
    int64_t sample_interval_ms;       /* of (now, insert LSN) */
    int64_t catalog_poll_interval_ms; /* the bound for DDL */
    uint32_t max_clients;
    uint64_t client_output_limit_bytes;
    const char *client_output_buffer_limit; /* NULL, or classes as output_limits.h words them */
    const char *notify_keyspace_events;     /* NULL, or letters as notify.h has them */
    const char *slot;                       /* of the feed, permanent; NULL: one for each session */
    const char *warm_path;                  /* of the hottest rows' names (warm.h); NULL: none */
    int64_t warm_interval_ms;
    uint32_t warm_keys;
    uint32_t warm_rate;      /* rows a second that are read at the start */
    const char *feed_name;   /* application_name of the feed */
    const char *publication; /* "freshet_cache" */
    uint32_t n_tables;
    const struct cache_table_config *tables;
    uint32_t n_queries;
    const struct cache_query_config *queries; /* in the order of their names */
    uint32_t n_users;
    const struct cache_user_config *users;
    const char *acl_file; /* NULL: none; not together with users */
    struct tls_config tls;
    const char *unix_socket; /* NULL: none */
    uint32_t unix_mode;
    uint32_t n_sockets; /* that systemd has handed over: then nothing else is listened on */
    const struct cache_socket *sockets;
    uint32_t verify_rate; /* entries a second that are compared with the database; 0: none */
    bool debug_commands;  /* DEBUG is answered */
};

struct cache_deps {
    struct log *log;
    struct metrics *metrics;
    const char *version; /* Freshet's own */
};

struct cache;

struct cache *cache_create(const struct cache_config *config, const struct cache_deps *deps,
                           struct error *err);
bool cache_start(struct cache *cache, struct error *err) MUST_CHECK;
void cache_stop(struct cache *cache);
void cache_destroy(struct cache **cache);

/* Evicts what a transaction touched, then advances the applied LSN, which it confirms. */
struct change_sink cache_sink(struct cache *cache);

/* Listening and, where coherence is by stream, the feed streams and rule 5 has been passed. If not, *why is
 * one line (static or owned by the cache until the next call from the same thread). */
bool cache_ready(struct cache *cache, const char **why);

/* For /status: a new reference for the caller. */
json_t *cache_status(struct cache *cache);

/* Entries are compared with the database, so many a second, over and over; 0: no more. False: there is no database. Any thread. */
bool cache_verify(struct cache *cache, uint32_t rate, struct error *err) MUST_CHECK;
/* How far that is, and what it found: a new reference; NULL: there is no database. Any thread. */
json_t *cache_verification(struct cache *cache);

/* Reads the certificates again, and the ACL file is left to ACL LOAD. False: they are those from before. Any thread. */
bool cache_reload(struct cache *cache, struct error *err) MUST_CHECK;

/* 0: no TLS. */
uint16_t cache_tls_port(const struct cache *cache);
/* The port that was bound (a configuration of port 0 picks a free one). */
uint16_t cache_port(const struct cache *cache);

#endif
