/* checks.h: the checks of `freshet check`, one row and one function each; `run` takes those that it cannot start without.
 *
 *     struct check_context context = {.config = config, .report = print, .arg = stdout};
 *     checks_run(&context, CHECK_ALL);
 *     if (context.failures) ...
 *     checks_deinit(&context);
 *
 * Nothing is changed anywhere. */
#ifndef FRESHET_SERVER_CHECKS_H
#define FRESHET_SERVER_CHECKS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/catalog.h"
#include "server/config.h"

enum check_result { CHECK_OK, CHECK_WARN, CHECK_FAIL };
enum check_scope {
    CHECK_ALL,
    CHECK_START,  /* what `run` looks at before it starts */
    CHECK_SOURCE, /* what concerns a source of server/sources.h */
};

struct check_context {
    struct config *config;
    /* One finding: what was seen, and what mends it, which may be several lines of SQL (NULL: nothing needs to be). */
    void (*report)(void *arg, const char *check, enum check_result result, const char *what,
                   const char *mend);
    void *arg;
    /* Filled in by the checks as they go. */
    const char *check; /* the row that runs */
    PGconn *conn;      /* NULL: no database, or none that answers */
    struct catalog *catalog;
    bool kafka_failed; /* the brokers do not answer, or not well */
    unsigned failures;
    unsigned warnings;
    unsigned mistakes; /* failures of the configuration's own */
};

void checks_run(struct check_context *context, enum check_scope scope);
void checks_deinit(struct check_context *context);

/* For the checks' own files. */
void check_report(struct check_context *context, enum check_result result, const char *mend,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Does a role that runs read the WAL? */
bool check_streams(const struct check_context *context);

/* Does a cache follow a slot of its own? */
bool check_cache_has_slot(const struct config *config);

/* checks_database.c */
void check_connection(struct check_context *context);
void check_version(struct check_context *context);
void check_primary(struct check_context *context);
void check_wal_level(struct check_context *context);
void check_replication_right(struct check_context *context);
void check_slots(struct check_context *context);
void check_senders(struct check_context *context);
/* checks_position.c */
void check_position(struct check_context *context);
/* checks_replicas.c */
void check_replicas(struct check_context *context);
void check_pooler(struct check_context *context);
/* checks_tables.c */
void check_names(struct check_context *context);
void check_publications(struct check_context *context);
void check_tables(struct check_context *context);
/* checks_shapes.c */
void check_shapes(struct check_context *context);
void check_shaped_tables(struct check_context *context);
/* checks_queries.c */
void check_queries(struct check_context *context);
/* checks_connectors.c */
void check_connector_sources(struct check_context *context);
void check_connectors(struct check_context *context);
/* checks_writes.c */
void check_writes(struct check_context *context);
/* checks_cache.c */
void check_standbys(struct check_context *context);
void check_deletions(struct check_context *context);
/* checks_outside.c */
void check_kafka(struct check_context *context);
void check_schema_registry(struct check_context *context);
void check_fleet(struct check_context *context); /* checks_fleet.c */
void check_state_dir(struct check_context *context);
void check_spool(struct check_context *context);
void check_listeners(struct check_context *context);
void check_certificates(struct check_context *context);
void check_acl_file(struct check_context *context);

#endif
