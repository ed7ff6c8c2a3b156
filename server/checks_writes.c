/* Tables that are written through: what the role may do to their rows. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "server/checks.h"

static bool is_through(const struct config *config, const struct catalog_table *table) {
    for (uint32_t i = 0; i < config->cache.n_tables; i++) {
        const struct cache_table_config *each = &config->cache.tables[i];
        if (!pattern_match(each->table, table->schema, table->name)) continue;
        if (!each->mapped) return false;
        if (each->writes) return strcmp(each->writes, "through") == 0;
    }
    return config->cache.writes == WRITES_THROUGH;
}

/* A right that is given for some columns is one: the others are refused as they are written. */
static const char rights_sql[] =
    "SELECT pg_catalog.concat_ws(', ',"
    " CASE WHEN NOT pg_catalog.has_any_column_privilege($1::pg_catalog.oid, 'INSERT') THEN "
    "'INSERT' END,"
    " CASE WHEN NOT pg_catalog.has_any_column_privilege($1::pg_catalog.oid, 'UPDATE') THEN "
    "'UPDATE' END,"
    " CASE WHEN NOT pg_catalog.has_table_privilege($1::pg_catalog.oid, 'DELETE') THEN 'DELETE' "
    "END)";

static void check_rights(struct check_context *context, const struct catalog_table *table) {
    char oid[16];
    struct error err;
    struct buf mend = {0};
    snprintf(oid, sizeof oid, "%u", table->oid);
    PGresult *row = pg_query_params(context->conn, rights_sql, 1, (const char *const[]){oid}, &err);
    if (!row) {
        check_report(context, CHECK_FAIL, NULL, "%s.%s: %s", table->schema, table->name,
                     err.message);
        return;
    }
    const char *missing = PQgetvalue(row, 0, 0);
    buf_printf(&mend, "GRANT %s ON ", missing);
    pg_quote_table(&mend, table->schema, table->name);
    buf_append_text(&mend, " TO ");
    pg_quote_ident(&mend, PQuser(context->conn));
    buf_append_text(&mend, ";");
    if (*missing)
        check_report(context, CHECK_WARN, buf_text(&mend),
                     "%s.%s: written through, but role \"%s\" lacks the right to %s", table->schema,
                     table->name, PQuser(context->conn), missing);
    else
        check_report(context, CHECK_OK, NULL, "%s.%s: written through", table->schema, table->name);
    PQclear(row);
    buf_deinit(&mend);
}

void check_writes(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CACHE) || !config->cache_read_through) return;
    for (uint32_t i = 0; i < context->catalog->n_tables; i++) {
        const struct catalog_table *table = &context->catalog->tables[i];
        if (table->primary_key && is_through(config, table)) check_rights(context, table);
    }
}
