#include "connectors/source/source_database.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"
#include "base/publication.h"

static const char session_settings[] =
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c timezone=UTC"
    " -c bytea_output=hex -c default_transaction_isolation=read\\ committed"
    " -c statement_timeout=30s";

void source_database_init(struct source_database *database, const struct source_database *from) {
    *database = (struct source_database){
        .url = mem_strdup(from->url),
        .application_name = mem_strdup(from->application_name),
        .publication = from->publication ? mem_strdup(from->publication) : NULL,
        .shared_publication = from->shared_publication,
        .log = from->log};
}

void source_database_deinit(struct source_database *database) {
    mem_free((void *)(uintptr_t)database->url);
    mem_free((void *)(uintptr_t)database->application_name);
    mem_free((void *)(uintptr_t)database->publication);
}

PGconn *source_database_connect(const struct source_database *database, struct error *err) {
    return pg_connect(database->url,
                      &(struct pg_options){.application_name = database->application_name,
                                           .server_options = session_settings},
                      err);
}

static bool find_in_publication(const struct source_database *database, PGconn *conn,
                                const struct catalog_table *table, bool *exists, bool *holds,
                                struct error *err) {
    const char *params[] = {database->publication, table->schema, table->name};
    PGresult *rows = pg_query_params(conn,
                                     "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication_tables "
                                     "WHERE pubname = p.pubname AND schemaname = $2 "
                                     "AND tablename = $3) FROM pg_catalog.pg_publication p "
                                     "WHERE p.pubname = $1",
                                     3, params, err);
    if (!rows) return false;
    *exists = PQntuples(rows) == 1;
    *holds = *exists && PQgetvalue(rows, 0, 0)[0] == 't';
    PQclear(rows);
    return true;
}

/* Its other tables are none of our business. */
static bool lacks(const struct source_database *database, const struct catalog_table *table,
                  struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "ALTER PUBLICATION ");
    pg_quote_ident(&sql, database->publication);
    buf_append_text(&sql, " ADD TABLE ");
    pg_quote_table(&sql, table->schema, table->name);
    error_set(err, ERROR_CONFIG, false, "publication \"%s\" does not hold table %s.%s; %s",
              database->publication, table->schema, table->name, buf_text(&sql));
    buf_deinit(&sql);
    return false;
}

static bool ensure(const struct source_database *database, PGconn *conn, uint32_t n,
                   const struct catalog_table *const *tables, struct error *err) {
    struct publication_table *planned = mem_calloc(n + 1u, sizeof *planned);
    for (uint32_t i = 0; i < n; i++)
        planned[i].table = tables[i];
    struct publication_plan plan = {
        .name = database->publication, .n_tables = n, .tables = planned};
    bool changed = false;
    bool done = publication_ensure(conn, &plan, &changed, err);
    mem_free(planned);
    if (changed)
        log_info(database->log, "publication_changed", "publication=%s table=%s.%s tables=%u",
                 database->publication, tables[0]->schema, tables[0]->name, n);
    return done;
}

bool source_database_publish(const struct source_database *database, PGconn *conn, uint32_t n,
                             const struct catalog_table *const *tables, struct error *err) {
    if (!database->publication) return true;
    for (uint32_t i = 0; i < n && database->shared_publication; i++) {
        bool exists;
        bool holds;
        if (!find_in_publication(database, conn, tables[i], &exists, &holds, err)) return false;
        if (!exists) return ensure(database, conn, n, tables, err);
        if (!holds) return lacks(database, tables[i], err);
    }
    return database->shared_publication || ensure(database, conn, n, tables, err);
}

bool source_database_system(PGconn *conn, uint64_t *system_identifier, struct error *err) {
    PGresult *rows =
        pg_query(conn, "SELECT system_identifier FROM pg_catalog.pg_control_system()", err);
    if (!rows) return false;
    *system_identifier = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    return true;
}

static uint64_t add_table(uint64_t tables, uint32_t oid) {
    return tables ? XXH3_64bits_withSeed(&oid, sizeof oid, tables) | 1 : oid;
}

uint64_t source_database_tables(uint32_t n, const struct catalog_table *const *tables) {
    uint64_t all = 0;
    for (uint32_t i = 0; i < n; i++)
        all = add_table(all, tables[i]->oid);
    return all;
}

static bool add_table_now(PGconn *conn, const char *schema, const char *table, uint64_t *now,
                          bool *found, struct error *err) {
    const char *params[] = {schema, table};
    PGresult *rows = pg_query_params(conn,
                                     "SELECT c.oid FROM pg_catalog.pg_class c JOIN "
                                     "pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                     "WHERE n.nspname = $1 AND c.relname = $2",
                                     2, params, err);
    if (!rows) return false;
    *found = PQntuples(rows) == 1;
    if (*found) *now = add_table(*now, (uint32_t)strtoul(PQgetvalue(rows, 0, 0), NULL, 10));
    PQclear(rows);
    return true;
}

bool source_database_tables_now(const struct source_database *database, uint32_t n,
                                const char *const *names, uint64_t *now, struct error *err) {
    *now = 0;
    PGconn *conn = source_database_connect(database, err);
    bool done = conn != NULL;
    bool found = true;
    for (uint32_t i = 0; i < n && done && found; i++)
        done = add_table_now(conn, names[2 * i], names[2 * i + 1], now, &found, err);
    if (conn) PQfinish(conn);
    if (!found) *now = 0;
    return done;
}

/* The slot decodes from restart_lsn on. Its consistent point will not do: a transaction that wrote before it
 * and commits after it is streamed. */
bool source_database_load_floor(const struct source_database *database, const char *slot,
                                uint64_t *floor_lsn, struct error *err) {
    PGconn *conn = source_database_connect(database, err);
    if (!conn) return false;
    const char *params[] = {slot};
    PGresult *rows = pg_query_params(
        conn, "SELECT restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = $1", 1,
        params, err);
    bool found = rows && PQntuples(rows) == 1 && lsn_parse(PQgetvalue(rows, 0, 0), floor_lsn);
    if (rows && !found)
        error_set(err, ERROR_CONFLICT, true, "slot \"%s\" has no restart_lsn", slot);
    PQclear(rows);
    PQfinish(conn);
    return found;
}
