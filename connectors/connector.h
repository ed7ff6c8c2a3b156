/* connector.h: a connector keeps a sink equal to a table. As server/ sees all of them.
 *
 *     struct connector *connector = connector_create(&config, &deps, err);
 *     struct change_sink sink = connector_sink(connector);      give it to a feed on config.slot, if that is what it is from
 *     connector_start(connector, err);  ...  connector_stop(connector);  connector_destroy(&connector);
 *
 * The runtime (runtime.c) owns batching, one write in flight a key, retries, dead letters and the position;
 * a sink's folder is a row of the table in registry.c and a handful of functions (sink.h). */
#ifndef FRESHET_CONNECTORS_CONNECTOR_H
#define FRESHET_CONNECTORS_CONNECTOR_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/kafka.h"
#include "base/log.h"
#include "base/metrics.h"
#include "connectors/document/choice.h"
#include "connectors/source/topic_row.h"

/* A named query of the configuration, of which a connector keeps the results. */
struct connector_dependency {
    const char *table;
    const char *columns; /* names, SQL or "all": query_source.h */
};
struct connector_query {
    const char *name;
    const char *key; /* "orders_by_user:{user_id}" */
    const char *sql;
    bool many;            /* a result is rows; else its first one */
    const char *routing;  /* a column; NULL: none. See shape.h */
    const char *document; /* a column; NULL: none */
    uint32_t n_dependencies;
    const struct connector_dependency *dependencies;
};

struct catalog;
struct catalog_table; /* base/catalog.h */

/* Of a table of counts and sums: a column, and what is in it (view/aggregate_source.h). */
struct connector_aggregate {
    const char *name;
    const char *what;
};

struct connector_config {
    const char *name; /* unique; letters, digits, - and _ */
    const char *type; /* a row of the registry: "opensearch" */
    const char *database_url;
    const char *table;                  /* "public.users" */
    const struct shape_choice *columns; /* of the table; none: all, as they are */
    uint32_t n_columns;
    const char *query_name;
    const struct connector_query *query;          /* in place of the table; NULL: none */
    const struct connector_aggregate *aggregates; /* view: of the table; none: its rows */
    uint32_t n_aggregates;
    const char *const *views; /* refresh: materialized ones, in place of the table, too */
    uint32_t n_views;
    int64_t min_interval_ms; /* refresh: from one to the next of a view */
    int64_t
        rebuild_grace_ms; /* opensearch: the old index is kept, after the switch to the new one */
    const char *url;
    const char *index; /* default: the table's name */
    const char *into;  /* view: "public.users_copy" */
    enum connector_from { CONNECTOR_FROM_SLOT, CONNECTOR_FROM_KAFKA } from;
    const char *topic;                /* from kafka */
    const char *group;                /* default: freshet_<name> */
    const struct kafka_config *kafka; /* from kafka, or with a topic of dead letters */
    struct topic_format format;
    const char *slot;        /* default: freshet_<name> with - as _ */
    const char *publication; /* default: the same */
    const char *mapping; /* a file: mappings and settings of the index; NULL: from the columns */
    const char *const *aliases;
    uint32_t n_aliases;
    const char *pipeline; /* of ingestion; NULL: the index's own */
    const char *routing;  /* a column; NULL: by id */
    const char *document; /* a column that is the document; NULL: the row is */
    const char *api_key;
    const char *ca_file;
    const char *secret;           /* webhook: signs requests; NULL: they are not signed */
    int64_t timeout_ms;           /* webhook: of a request; 0: the default */
    const char *path;             /* archive: a folder */
    uint64_t segment_bytes;       /* archive; 0: the default */
    int64_t segment_interval_ms;  /* archive; 0: the default */
    const char *as;               /* redis: "json", "hash", "set", "sorted-set"; NULL: json */
    const char *key;              /* redis: a pattern, "users:{id}" */
    const char *member;           /* redis: a pattern; NULL: the row's key */
    const char *score;            /* redis: a column */
    int64_t ttl_ms;               /* redis; 0: none */
    const char *certificate_file; /* our own, for TLS; NULL: none */
    const char *key_file;         /* its key; NULL: in the same file */
    const char *user;
    const char *password;
    const char *state_dir;         /* positions and dead letters */
    const char *dead_letter_topic; /* in place of a file there; NULL: none */
    const char *publisher_slot;    /* from Kafka: of the process that writes the topic */
    /* Fills a new target beside the one that is served under the same name: see server/rebuilding.h. */
    bool rebuild;
    uint64_t batch_bytes;
    int64_t batch_interval_ms;
    uint64_t rate_limit; /* writes a second; 0: none */
    uint32_t breaker_failures;
    int64_t breaker_pause_ms;
    uint32_t load_readers;
    uint32_t lanes;            /* writes under way at once; 0: one */
    uint64_t max_retained_wal; /* bytes; 0: any */
};

struct connector_deps {
    struct log *log;
    struct metrics *metrics;
};

struct connector;

struct connector *connector_create(const struct connector_config *config,
                                   const struct connector_deps *deps, struct error *err);
bool connector_start(struct connector *connector, struct error *err) MUST_CHECK;
void connector_stop(struct connector *connector);
void connector_destroy(struct connector **connector);
struct change_sink connector_sink(struct connector *connector);
/* Writes nothing to the sink until it is resumed, after a restart neither. Any thread. */
bool connector_pause(struct connector *connector, bool paused, struct error *err) MUST_CHECK;
/* Rows that the sink refused are read again and tried again. *run: the number that `retried.runs` of the status has when it is
 * done. Any thread. */
bool connector_retry(struct connector *connector, uint64_t *run, struct error *err) MUST_CHECK;
/* What the server keeps for the slot: past max_retained_wal the slot is given up, and the table loaded anew once the sink
 * takes writes. Any thread. */
void connector_retains(struct connector *connector, uint64_t wal_bytes);
/* Is the table loaded anew where slot and position do not go together any more? So it is where the slot may be given up, and
 * where the position is kept in the target: an older state of that one, from a backup, has an older position, from which the
 * slot no longer streams. */
bool connector_starts_over(const struct connector_config *config);
const char *connector_name(const struct connector *connector);

/* ---- rebuilding: server/rebuilding.h ---- */

struct connector_progress {
    uint64_t opens;  /* sessions whose target was opened */
    char target[64]; /* of the last: what identifies it */
    bool loaded;
    bool paused;
    bool retrying;
    size_t queue_bytes;
    uint64_t applied_lsn;
    uint64_t saved_lsn;
    uint64_t written; /* to the sink, since it was made */
};
/* Any thread. */
void connector_progress(struct connector *connector, struct connector_progress *progress);
/* Can the connector's target be rebuilt beside the one that is served? Any thread. */
bool connector_can_rebuild(struct connector *connector, struct error *err) MUST_CHECK;
/* Of one with config.rebuild that is not started, or is stopped: see sink.h. One thread. */
bool connector_take_over(struct connector *connector, struct error *err) MUST_CHECK;
bool connector_tidy(struct connector *connector, struct error *err) MUST_CHECK;
/* Is `target` what an earlier instance of this connector filled, up to a saved position? */
bool connector_was_rebuilt(struct connector *connector, const char *target, bool *rebuilt,
                           struct error *err) MUST_CHECK;

/* Compares the sink with the source, beside the stream (verify.h). `rate`: rows a second at most; 0: the default. Any thread. */
bool connector_verify(struct connector *connector, bool repair, uint32_t rate, uint64_t *id,
                      struct error *err) MUST_CHECK;
/* Of that number, or the last (0): how far it is, and what it found; a new reference. NULL: it is not known any more. */
json_t *connector_verification(struct connector *connector, uint64_t id);

/* ---- before anything starts ---- */

/* Is the configuration right, as far as it can be told without connecting? Else *option is the one that is not (NULL: it cannot
 * be told which). */
bool connector_check(const struct connector_config *config, const char **option,
                     struct error *err) MUST_CHECK;
/* The same of the table that it follows. *entry: where the option is a map, the one that is wrong; NULL: none, or no map. */
bool connector_fits(const struct connector_config *config, const struct catalog_table *table,
                    const char **option, const char **entry, struct error *err) MUST_CHECK;
/* The same of its query, which PostgreSQL prepares; and of its materialized views. */
bool connector_query_fits(const struct connector_config *config, const struct catalog *catalog,
                          PGconn *conn, const char **option, struct error *err) MUST_CHECK;
bool connector_views_fit(const struct connector_config *config, PGconn *conn,
                         struct error *err) MUST_CHECK;
/* The same of the topic that it reads, and its group. */
bool connector_topic_probe(const struct connector_config *config, struct log *log,
                           struct error *err) MUST_CHECK;
/* The same of the topic that its dead letters go to. *known false, and true: whether it may be written to cannot be told; *err says
 * why. */
bool connector_letters_probe(const struct connector_config *config, struct log *log, bool *known,
                             struct error *err) MUST_CHECK;
/* Of a type that can tell: the same of what it is connected to, which is not changed. `table`, `catalog` and
 * `conn`, to the source's database: NULL: not known. */
bool connector_has_probe(const char *type);
bool connector_probe(const struct connector_config *config, const struct catalog *catalog,
                     const struct catalog_table *table, PGconn *conn, const char **option,
                     struct error *err) MUST_CHECK;
/* For /status: a new reference for the caller. Any thread. */
json_t *connector_status(struct connector *connector);

/* Names of the registry's types, NULL-terminated: for help and for the configuration's check. */
const char *const *connector_types(void);

/* What an option is to a type (sink.h). A type that is not in the registry takes everything. */
enum connector_option { CONNECTOR_TAKES, CONNECTOR_NEEDS, CONNECTOR_REFUSES };
enum connector_option connector_option(const char *type, const char *option);
/* May a key have several rows there? */
bool connector_takes_many(const char *type);

#endif
