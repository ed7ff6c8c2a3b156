/* config.h: the whole configuration, typed, from its four sources: flag > environment > file > default.
 *
 *     struct config *config = config_load(&sources, mistakes);
 *     if (mistakes_count(mistakes)) ...                               all of them; the config is for reading only
 *     config_finish(config, database_name);                           what depends on the database's name
 *
 * The structs of the wings lie in it and are filled through the option table; strings live as long as it. */
#ifndef FRESHET_SERVER_CONFIG_H
#define FRESHET_SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/log.h"
#include "cache/cache.h"
#include "cdc/feed/feed.h"
#include "cdc/publish/publisher.h"
#include "connectors/connector.h"
#include "server/mistakes.h"
#include "server/options.h"

enum config_strength { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG };

/* What was said of one option, by the strongest that said anything. */
struct config_value {
    enum config_strength strength;
    bool wrong;        /* something was said, and it was a mistake */
    const char *where; /* "freshet.yml:3:5", "FRESHET_CACHE_TTL", "--listen" */
    const char *text;  /* as written, expanded; a secret's stays in memory alone */
};

/* Where a pair of a map, or a field of a record ("connectors[0].url"), was said last. */
struct config_pair {
    const char *path;
    const char *where;
};

enum { ROLE_CACHE = 1, ROLE_CDC = 2, ROLE_CONNECTORS = 4 /* the order of the option's choices */ };

struct config {
    struct arena *arena;
    const char *database_url;
    uint32_t roles; /* ROLE_*: after config_load those that run */
    uint32_t log_level;
    const char *state_dir;

    struct cache_config cache;
    struct kafka_config cache_kafka; /* cache.feed: kafka */
    const char *cache_topic;
    bool cache_read_through;
    bool cache_protected_mode;
    const char *cache_unix_mode; /* octal; config_check makes cache.unix_mode of it */

    struct publisher_config cdc;
    uint32_t cdc_snapshot; /* enum config_snapshot */
    uint32_t cdc_snapshot_readers;
    uint64_t cdc_snapshot_chunk_bytes;
    bool cdc_streaming;
    bool cdc_two_phase;
    struct feed_spool cdc_spool;
    bool cdc_failover;
    uint64_t retained_wal_alarm_bytes; /* 0: half of what the server allows */

    /* server/sources.h: several databases. */
    uint32_t n_sources;
    struct config **sources;
    const struct yaml_node *sources_said; /* as they were written; NULL: they were not */
    const struct layer *sources_layer;    /* where */
    const char *source;                   /* of a source: its name; NULL: the main configuration */
    const char *source_place;
    const char *main_database; /* as its URL names it */

    const char *admin_listen;
    bool admin_allow_remote;

    uint32_t n_connectors;
    struct connector_config *connectors;

    /* Where things were said, for messages: one a row of options[]; one a key of
     * cache.tables, of cache.users, of cache.queries, of cdc.shape, cdc.outbox, cdc.outbox_messages, cdc.topics; one a
     * connector. */
    struct config_value *values;
    const char **table_places;
    const char **user_places;
    const char **query_places;
    const char **connector_places;
    const char **shape_places;
    const char **outbox_places;
    const char **outbox_message_places;
    const char **topic_places;
    uint32_t n_pairs; /* of the maps: "cdc.kafka.properties.acks"; and of lists of records */
    struct config_pair *pairs;
};

/* What an operator may choose where the publisher's position and the slot do not fit. */
#define CDC_WAY_ON                                                                                 \
    "`freshet cdc reset --from snapshot` publishes all rows anew; `freshet cdc reset --from now` " \
    "goes on without the changes in between"

enum config_snapshot {
    CONFIG_SNAPSHOT_INITIAL,
    CONFIG_SNAPSHOT_NEVER,
    CONFIG_SNAPSHOT_INITIAL_ONLY,
    CONFIG_SNAPSHOT_WHEN_NEEDED,
    CONFIG_SNAPSHOT_INCREMENTAL
};

/* `path` as in the table; or beyond it into a map or a structure ("cdc.kafka.properties.compression.type"). */
struct config_flag {
    const char *name; /* as the user wrote it: "--listen", "--set cache.ttl" */
    const char *path;
    const char *text;
};

struct config_sources {
    const char *file; /* NULL: none */
    char *const *environment;
    uint32_t n_flags;
    const struct config_flag *flags;
    bool partial; /* each option is judged alone, and none is missing */
};

/* Never NULL; what could not be read has its default. */
struct config *config_load(const struct config_sources *sources, struct mistakes *mistakes);
/* The same with the file's text at hand; `file` is its name in messages. For tests. */
struct config *config_load_text(const struct config_sources *sources, const char *text, size_t len,
                                struct mistakes *mistakes);
void config_destroy(struct config **config);

/* The next variable from *at on that begins with FRESHET_ and is none of ours: worth a warning, since it may be a slip
 * of the pen; not a mistake, since others may use such names. NULL: there is none. *len is its name's. */
const char *config_unknown_variable(char *const *environment, uint32_t *at, size_t *len);

/* Fills in what defaults to the database's name. */
void config_finish(struct config *config, const char *database);

/* What fits each option alone and not together, and what is missing; decides the roles. config_load calls it. */
void config_check(struct config *config, const struct config_sources *sources,
                  struct mistakes *mistakes);

/* What concerns a publisher: of a source. config_check does the same for the main one. */
void config_check_publisher(struct config *config, const struct config_sources *sources,
                            struct mistakes *mistakes);

/* Tables and columns that are named but not there. */
void config_verify(const struct config *config, const struct catalog *catalog,
                   struct mistakes *mistakes);

/* Its part of the encoding and its schema registry. `file`: NULL, there is none. */
void config_check_registry(const struct config *config, const char *file,
                           struct mistakes *mistakes);
/* Their parts of cdc.message_key. */
void config_check_message_keys(const struct config *config, struct mistakes *mistakes);
void config_verify_message_keys(const struct config *config, const struct catalog *catalog,
                                struct mistakes *mistakes);

/* Their parts of what shapes the change stream. */
void config_check_shapes(const struct config *config, struct mistakes *mistakes);
/* Their parts of connectors. config_check_connectors fills in the names that follow from a connector's. */
void config_check_connectors(struct config *config, struct mistakes *mistakes);
/* View tables in a ring, and targets that two would keep. */
void config_check_rings(const struct config *config, struct mistakes *mistakes);
uint32_t
config_slot_connectors(const struct config *config); /* how many have a slot of their own */
void config_finish_connectors(struct config *config);
void config_verify_connectors(const struct config *config, const struct catalog *catalog,
                              struct mistakes *mistakes);

void config_verify_shapes(const struct config *config, const struct catalog *catalog,
                          struct mistakes *mistakes);
/* Patterns with stars that match nothing: a start does not fail for them, since their tables may come or go. */
void config_verify_patterns(const struct config *config, const struct catalog *catalog,
                            struct mistakes *mistakes);

const struct config_value *config_value(const struct config *config, const char *path);
/* Where the pair `name` of the map `path` was said. */
const char *config_pair_where(const struct config *config, const char *path, const char *name);
/* Where the field of the i-th of a list of records was said; NULL: it was not. */
const char *config_record_where(const struct config *config, const char *path, uint32_t i,
                                const char *field);
/* The text of a value as it may be shown: secrets and passwords in URLs are hidden. Into `out`. */
void config_show(const struct option *option, const char *text, struct buf *out);

#endif
