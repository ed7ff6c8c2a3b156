#include "server/checks.h"

#include <stdarg.h>
#include <stdio.h>

/* In the order in which a user would mend things. `database`: needs a connection. */
static const struct check {
    const char *name;
    void (*run)(struct check_context *context);
    bool database;
    bool at_start;
} checks[] = {
    {"database", check_connection, false, true},
    {"server version", check_version, true, true},
    {"primary", check_primary, true, true},
    {"replica", check_replicas, true, false},
    {"pooler", check_pooler, true, true},
    {"wal_level", check_wal_level, true, true},
    {"replication right", check_replication_right, true, true},
    {"replication slots", check_slots, true, true},
    {"wal senders", check_senders, true, true},
    {"sync standby", check_standbys, true, false},
    {"named tables", check_names, true, true},
    {"row filter", check_shapes, true, true},
    {"shape", check_shaped_tables, true, false},
    {"publication", check_publications, true, true},
    {"table", check_tables, true, false},
    {"query", check_queries, true, false},
    {"delete_expired", check_deletions, true, false},
    {"writes", check_writes, true, false},
    {"kafka", check_kafka, false, false},
    {"position", check_position, true, false},
    {"schema registry", check_schema_registry, false, false},
    {"cache feed", check_fleet, true, false},
    {"connector", check_connector_sources, true, false},
    {"connector", check_connectors, false, false},
    {"state_dir", check_state_dir, false, true},
    {"spool", check_spool, false, true},
    {"listener", check_listeners, false, false},
    {"certificate", check_certificates, false, false},
    {"acl_file", check_acl_file, false, false},
};

void check_report(struct check_context *context, enum check_result result, const char *mend,
                  const char *format, ...) {
    char what[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (result == CHECK_FAIL) context->failures++;
    if (result == CHECK_WARN) context->warnings++;
    context->report(context->arg, context->check, result, what, mend);
}

bool check_cache_has_slot(const struct config *config) {
    return config->roles & ROLE_CACHE && config->cache_read_through &&
           config->cache.coherence == COHERENCE_STREAM && config->cache.feed == CACHE_FEED_SLOT;
}

bool check_streams(const struct check_context *context) {
    const struct config *config = context->config;
    if (config->roles & (ROLE_CDC | ROLE_CONNECTORS)) return true;
    return check_cache_has_slot(config);
}

void checks_run(struct check_context *context, enum check_scope scope) {
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (scope == CHECK_START && !checks[i].at_start) continue;
        bool of_source =
            checks[i].database || checks[i].run == check_connection || checks[i].run == check_kafka;
        if (scope == CHECK_SOURCE && !of_source) continue;
        if (checks[i].database && !context->conn) continue;
        context->check = checks[i].name;
        checks[i].run(context);
    }
}

void checks_deinit(struct check_context *context) {
    catalog_destroy(&context->catalog);
    PQfinish(context->conn);
    context->conn = NULL;
}
