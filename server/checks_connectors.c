/* Connectors: what they read from the database, beside tables and columns (config_connectors.c), and what they write to. */
#include <unistd.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "server/checks.h"

static void fail(struct check_context *context, uint32_t i, const char *option,
                 const struct error *err) {
    const struct config *config = context->config;
    const char *where = option ? config_record_where(config, "connectors", i, option) : NULL;
    if (!where) where = config->connector_places[i];
    char *mend = mem_printf("mend the target, or connectors[%u]%s%s", i, option ? "." : "",
                            option ? option : "");
    check_report(context, CHECK_FAIL, mend, "\"%s\": %s: %s", config->connectors[i].name, where,
                 err->message);
    mem_free(mend);
}

/* ---- what they read ---- */

void check_connector_sources(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CONNECTORS) || !context->catalog) return;
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        const struct connector_config *connector = &config->connectors[i];
        struct error err;
        const char *option = "views";
        if (connector->n_views && !connector_views_fit(connector, context->conn, &err))
            fail(context, i, option, &err);
        if (connector->query &&
            !connector_query_fits(connector, context->catalog, context->conn, &option, &err))
            fail(context, i, option, &err);
    }
}

/* ---- and what they are connected to ---- */

static const struct catalog_table *find_table(const struct check_context *context,
                                              const struct connector_config *connector) {
    const struct catalog *catalog = context->catalog;
    for (uint32_t i = 0; catalog && connector->table && i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (pattern_match(connector->table, table->schema, table->name)) return table;
    }
    return NULL;
}

static void probe_target(struct check_context *context, uint32_t i) {
    const struct connector_config *connector = &context->config->connectors[i];
    const char *option;
    struct error err;
    if (connector_probe(connector, context->catalog, find_table(context, connector), context->conn,
                        &option, &err))
        check_report(context, CHECK_OK, NULL, "\"%s\": the %s target is there and fits",
                     connector->name, connector->type);
    else
        fail(context, i, option, &err);
}

/* A publisher makes the topic, perhaps after this. */
static void probe_topic(struct check_context *context, uint32_t i) {
    const struct connector_config *connector = &context->config->connectors[i];
    struct log *log = log_create(STDERR_FILENO, LOG_ERROR);
    struct error err;
    if (connector_topic_probe(connector, log, &err))
        check_report(context, CHECK_OK, NULL, "\"%s\": topic %s can be read", connector->name,
                     connector->topic);
    else if (err.code == ERROR_NOT_FOUND)
        check_report(context, CHECK_WARN, "it is made by the publisher, with cdc.tables",
                     "\"%s\": there is no topic %s yet", connector->name, connector->topic);
    else
        fail(context, i, "from", &err);
    log_destroy(&log);
}

static void probe_letters(struct check_context *context, uint32_t i) {
    const struct connector_config *connector = &context->config->connectors[i];
    struct log *log = log_create(STDERR_FILENO, LOG_ERROR);
    struct error err;
    bool known;
    if (!connector_letters_probe(connector, log, &known, &err))
        fail(context, i, "dead_letter_topic", &err);
    else if (!known)
        check_report(context, CHECK_WARN, "let it be written to",
                     "\"%s\": dead_letter_topic %s: whether it may be written to is not known: %s",
                     connector->name, connector->dead_letter_topic, err.message);
    else
        check_report(context, CHECK_OK, NULL, "\"%s\": dead_letter_topic %s can be written to",
                     connector->name, connector->dead_letter_topic);
    log_destroy(&log);
}

void check_connectors(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CONNECTORS)) return;
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        if (connector_has_probe(config->connectors[i].type)) probe_target(context, i);
        if (config->connectors[i].from == CONNECTOR_FROM_KAFKA) probe_topic(context, i);
        if (config->connectors[i].dead_letter_topic) probe_letters(context, i);
    }
}
