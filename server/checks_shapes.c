/* What shapes the change stream: which rules find nothing, and for each table what is done where. */
#include <string.h>

#include "base/buf.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "cdc/shape/pushdown.h"
#include "cdc/shape/routes.h"
#include "server/checks.h"

static void count_fates(const struct shape_rules *rules, const struct catalog_table *table,
                        struct buf *what) {
    static const char *const words[] = {[FATE_AS_IS] = "as they are",
                                        [FATE_MASKED] = "masked",
                                        [FATE_HASHED] = "hashed",
                                        [FATE_TRUNCATED] = "cut",
                                        [FATE_DROPPED] = "left out"};
    const char *separator = "columns ";
    for (enum shape_fate fate = FATE_MASKED; fate <= FATE_DROPPED; fate++) {
        bool any = false;
        for (uint16_t i = 0; i < table->n_columns; i++) {
            const struct catalog_column *column = &table->columns[i];
            uint32_t length;
            if (shape_fate(rules, table->schema, table->name, column->name, column->base_type_name,
                           column->base_typmod, &length) != fate)
                continue;
            buf_printf(what, "%s%s", any ? ", " : separator, column->name);
            any = true;
        }
        if (!any) continue;
        buf_printf(what, " %s", words[fate]);
        separator = "; ";
    }
}

/* Does the server take it for a condition on the table's rows? */
static void check_where(struct check_context *context, const struct catalog_table *table,
                        const struct shape_entry *entry, const char *place) {
    struct buf sql = {0};
    struct error err;
    buf_printf(&sql, "SELECT FROM ");
    pg_quote_table(&sql, table->schema, table->name);
    buf_printf(&sql, " WHERE (%s\n) LIMIT 0", entry->where);
    PGresult *rows = pg_query(context->conn, buf_text(&sql), &err);
    buf_deinit(&sql);
    PQclear(rows);
    if (rows) return;
    check_report(context, CHECK_FAIL, NULL, "%s: cdc.shape.%s: where: %s", place, entry->table,
                 err.message);
    context->mistakes++;
}

static void describe(struct check_context *context, const struct catalog_table *table) {
    const struct publisher_config *cdc = &context->config->cdc;
    struct buf what = {0};
    struct buf where = {0};
    struct arena *arena = arena_create(4096);
    struct publication_table planned = {.table = table};
    pushdown_plan(cdc, table, context->catalog->server_version, arena, &planned);
    count_fates(&cdc->shape, table, &what);
    if (planned.n_columns)
        buf_printf(&what, "%slisted in the publication", what.len ? "; " : "columns ");
    if (shape_where(&cdc->shape, table->schema, table->name, &where))
        buf_printf(&what, "%srows where %s, %s", what.len ? "; " : "", buf_text(&where),
                   planned.row_filter ? "by the publication"
                                      : "by a query for each change: a publication may not filter "
                                        "by it, or not here");
    if (what.len)
        check_report(context, CHECK_OK, NULL, "%s.%s: %s", table->schema, table->name,
                     buf_text(&what));
    arena_destroy(&arena);
    buf_deinit(&what);
    buf_deinit(&where);
}

static void check_entry(struct check_context *context, uint32_t i) {
    const struct config *config = context->config;
    const struct shape_entry *entry = &config->cdc.shape.entries[i];
    for (uint32_t t = 0; t < context->catalog->n_tables; t++) {
        const struct catalog_table *table = &context->catalog->tables[t];
        bool wanted = publisher_wants(&config->cdc, table->schema, table->name) &&
                      pattern_match(entry->table, table->schema, table->name);
        if (!wanted) continue;
        if (entry->where) check_where(context, table, entry, config->shape_places[i]);
        if (entry->view && strcmp(entry->view, "OLD_IMAGE") == 0 && table->replica_identity != 'f')
            check_report(context, CHECK_WARN, "ALTER TABLE ... REPLICA IDENTITY FULL;",
                         "%s.%s: OLD_IMAGE: the stream has no row before an update", table->schema,
                         table->name);
    }
}

static bool has_entry(const struct config *config, const struct catalog_table *table) {
    for (uint32_t i = 0; i < config->cdc.shape.n_entries; i++) {
        if (pattern_match(config->cdc.shape.entries[i].table, table->schema, table->name))
            return true;
    }
    return false;
}

void check_shapes(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CDC)) return;
    for (uint32_t i = 0; i < config->cdc.shape.n_entries; i++)
        check_entry(context, i);
}

/* It brings less than the configuration asks for: a user's own doing, or an earlier configuration's. */
static void check_narrowed(struct check_context *context, const struct publication *publication,
                           const struct catalog_table *table) {
    const struct publisher_config *cdc = &context->config->cdc;
    struct arena *arena = arena_create(4096);
    struct publication_table planned = {.table = table};
    struct buf what = {0}, mend = {0};
    pushdown_plan(cdc, table, context->catalog->server_version, arena, &planned);
    if (publication_narrows(publication, &planned, &what)) {
        buf_printf(&mend, "ALTER PUBLICATION ");
        pg_quote_ident(&mend, cdc->publication);
        buf_append_text(&mend, " DROP TABLE ");
        pg_quote_table(&mend, table->schema, table->name);
        buf_append_text(&mend, "; the next start adds it whole");
        check_report(context, CHECK_WARN, buf_text(&mend),
                     "%s.%s: publication \"%s\" brings %s, which cdc.shape does not ask for",
                     table->schema, table->name, cdc->publication, buf_text(&what));
    }
    buf_deinit(&what);
    buf_deinit(&mend);
    arena_destroy(&arena);
}

static void tell_shared(void *arg, const struct shared_topic *topic) {
    check_report(
        arg, CHECK_WARN, "cdc.shape: give each of them a key_field",
        "topic %s takes the rows of %u tables, %s.%s and %s.%s among them, with no key_field "
        "to tell them apart: rows of equal keys are one there",
        topic->name, topic->n_tables, topic->first->schema, topic->first->name,
        topic->second->schema, topic->second->name);
}

void check_shaped_tables(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CDC)) return;
    struct mistakes *mistakes = mistakes_create();
    config_verify_patterns(config, context->catalog, mistakes);
    context->mistakes += mistakes_count(mistakes);
    for (uint32_t i = 0; mistakes_line(mistakes, i); i++)
        check_report(context, CHECK_FAIL, NULL, "%s", mistakes_line(mistakes, i));
    mistakes_destroy(&mistakes);
    struct publication *publication =
        publication_load(context->conn, config->cdc.publication, NULL);
    for (uint32_t i = 0; i < context->catalog->n_tables; i++) {
        const struct catalog_table *table = &context->catalog->tables[i];
        if (!publisher_wants(&config->cdc, table->schema, table->name)) continue;
        if (has_entry(config, table)) describe(context, table);
        if (publication) check_narrowed(context, publication, table);
    }
    if (publication) publication_destroy(&publication);
    routes_find_shared(&config->cdc, context->catalog, tell_shared, context);
}
