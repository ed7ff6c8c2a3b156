/* The tables: which publication names them, which can be read and evicted, what their events lack. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "base/publication.h"
#include "cdc/publish/tables.h"
#include "server/checks.h"

void check_names(struct check_context *context) {
    struct mistakes *mistakes = mistakes_create();
    config_verify(context->config, context->catalog, mistakes);
    context->mistakes += mistakes_count(mistakes);
    for (uint32_t i = 0; mistakes_line(mistakes, i); i++)
        check_report(context, CHECK_FAIL, NULL, "%s", mistakes_line(mistakes, i));
    mistakes_destroy(&mistakes);
}

static bool is_mapped(const struct config *config, const struct catalog_table *table) {
    for (uint32_t i = 0; i < config->cache.n_tables; i++) {
        const struct cache_table_config *each = &config->cache.tables[i];
        if (pattern_match(each->table, table->schema, table->name)) return each->mapped;
    }
    return true;
}

static bool cdc_wants(const struct config *config, const struct catalog_table *table) {
    return publisher_wants(&config->cdc, table->schema, table->name);
}

/* What a publication should hold, and who asks for it. */
struct wish {
    struct check_context *context;
    const char *owner; /* "the cache", "cdc", a connector's name */
    const char *name;
    struct publication_table *tables;
    uint32_t n_tables;
    bool unfiltered;
    bool all_owned;
};

static void wish_add(struct wish *wish, const struct catalog_table *table) {
    if (!catalog_table_publishable(table)) return;
    wish->tables[wish->n_tables++] = (struct publication_table){.table = table};
    if (!table->owned) wish->all_owned = false;
}

static bool may_create(struct check_context *context) {
    struct error err;
    PGresult *row = pg_query(context->conn,
                             "SELECT has_database_privilege(current_database(), 'CREATE')", &err);
    bool may = row && *PQgetvalue(row, 0, 0) == 't';
    PQclear(row);
    return may;
}

static void judge_wish(struct wish *wish, const char *sql, const struct publication *now) {
    struct check_context *context = wish->context;
    bool makes = may_create(context) && wish->all_owned;
    bool exists = now->exists;
    if (now->all_tables || now->schemas)
        check_report(context, CHECK_WARN,
                     "let it name its tables: DROP PUBLICATION, and Freshet makes it",
                     "\"%s\" for %s is FOR ALL TABLES or IN SCHEMA: UPDATE and DELETE fail on its "
                     "tables without a replica identity",
                     wish->name, wish->owner);
    else if (!*sql)
        check_report(context, CHECK_OK, NULL, "\"%s\" for %s names what it should (%u tables)",
                     wish->name, wish->owner, wish->n_tables);
    else if (makes)
        check_report(context, CHECK_OK, sql, "\"%s\" for %s will be %s:", wish->name, wish->owner,
                     exists ? "changed" : "made");
    else if (exists)
        check_report(context, CHECK_WARN, sql,
                     "\"%s\" for %s lacks something that role \"%s\" may not add: those tables are "
                     "read uncached and bring no events; an owner must run:",
                     wish->name, wish->owner, PQuser(context->conn));
    else
        check_report(context, CHECK_FAIL, sql,
                     "\"%s\" for %s does not exist, and role \"%s\" may not make it; an owner of "
                     "the tables must run:",
                     wish->name, wish->owner, PQuser(context->conn));
}

static void check_wish(struct wish *wish) {
    struct check_context *context = wish->context;
    struct publication_plan plan = {.name = wish->name,
                                    .n_tables = wish->n_tables,
                                    .tables = wish->tables,
                                    .shared = wish->unfiltered,
                                    .unfiltered = wish->unfiltered};
    struct buf sql = {0};
    struct error err;
    struct publication *now = publication_load(context->conn, wish->name, &err);
    if (!now || !publication_sql(context->conn, &plan, &sql, &err))
        check_report(context, CHECK_FAIL, NULL, "%s", err.message);
    else
        judge_wish(wish, buf_text(&sql), now);
    publication_destroy(&now);
    buf_deinit(&sql);
}

static void check_cache_publication(struct check_context *context, struct wish wish) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CACHE) || !config->cache_read_through) return;
    if (!check_cache_has_slot(config)) return; /* the publisher's, then */
    wish.owner = "the cache";
    wish.name = config->cache.publication;
    wish.unfiltered = true;
    for (uint32_t i = 0; i < context->catalog->n_tables; i++) {
        const struct catalog_table *table = &context->catalog->tables[i];
        if (table->primary_key) wish_add(&wish, table);
    }
    check_wish(&wish);
}

static void check_cdc_publication(struct check_context *context, struct wish wish) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CDC)) return;
    wish.owner = "cdc";
    wish.name = config->cdc.publication;
    struct arena *arena = arena_create(4096);
    wish.n_tables = tables_plan(&config->cdc, context->catalog, arena, wish.tables);
    for (uint32_t i = 0; i < wish.n_tables; i++)
        wish.all_owned &= wish.tables[i].table->owned;
    check_wish(&wish);
    arena_destroy(&arena);
}

static void check_connector_publications(struct check_context *context, struct wish blank) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CONNECTORS)) return;
    for (uint32_t c = 0; c < config->n_connectors; c++) {
        struct wish wish = blank;
        if (config->connectors[c].from != CONNECTOR_FROM_SLOT || !config->connectors[c].table)
            continue;
        wish.owner = config->connectors[c].name;
        wish.name = config->connectors[c].publication;
        for (uint32_t i = 0; i < context->catalog->n_tables; i++) {
            const struct catalog_table *table = &context->catalog->tables[i];
            if (pattern_match(config->connectors[c].table, table->schema, table->name))
                wish_add(&wish, table);
        }
        check_wish(&wish);
    }
}

void check_publications(struct check_context *context) {
    struct wish wish = {
        .context = context,
        .tables = mem_calloc(context->catalog->n_tables + 1, sizeof *wish.tables),
        .all_owned = true,
    };
    check_cache_publication(context, wish);
    check_cdc_publication(context, wish);
    check_connector_publications(context, wish);
    mem_free(wish.tables);
}

static void append_key(struct buf *out, const struct catalog_table *table) {
    for (uint16_t i = 0; i < table->primary_key->n_columns; i++)
        buf_printf(out, "%s%s", i ? ", " : "", table->columns[table->primary_key->columns[i]].name);
}

/* Why a table with a key cannot be followed, and what mends it; NULL: it can. */
static const char *why_unpublished(const struct catalog_table *table, struct buf *mend) {
    if (table->unlogged) {
        buf_append_text(mend, "ALTER TABLE ");
        pg_quote_table(mend, table->schema, table->name);
        buf_append_text(mend, " SET LOGGED;");
        return "it is unlogged";
    }
    buf_append_text(mend, "ALTER TABLE ");
    pg_quote_table(mend, table->schema, table->name);
    if (!table->primary_key) {
        buf_append_text(mend, " ADD PRIMARY KEY (...);");
        return "it has no primary key";
    }
    if (!table->partitions_identified) {
        buf_deinit(mend);
        *mend = (struct buf){0};
        buf_append_text(mend, "ALTER TABLE ... REPLICA IDENTITY DEFAULT;  -- of each partition");
        return "a partition has no replica identity";
    }
    if (table->identity_generated) {
        buf_append_text(
            mend, table->replica_identity == 'f'
                      ? " REPLICA IDENTITY DEFAULT;"
                      : " REPLICA IDENTITY USING INDEX ...;  -- of columns that are not generated");
        return "its replica identity has a generated column, which a publication refuses";
    }
    if (!table->primary_key->usable_as_key && table->replica_identity == 'd') {
        buf_append_text(mend, " REPLICA IDENTITY FULL;");
        return "its primary key is deferrable, which is no replica identity";
    }
    buf_append_text(mend, " REPLICA IDENTITY DEFAULT;");
    return table->replica_identity == 'n' ? "its replica identity is NOTHING"
                                          : "its replica identity is an index that is not in force";
}

static const char *identity_name(const struct catalog_table *table) {
    switch (table->replica_identity) {
    case 'f': return "full";
    case 'i': return "an index";
    case 'n': return "nothing";
    default: return "the primary key";
    }
}

static void describe_events(const struct check_context *context, const struct catalog_table *table,
                            struct buf *what) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CDC) || !cdc_wants(config, table)) return;
    if (!catalog_table_publishable(table)) {
        buf_append_text(what, "; no events");
    } else if (table->replica_identity == 'f') {
        buf_append_text(what, "; events hold the whole row before");
    } else {
        buf_append_text(what, "; events lack the row before (but its key)");
    }
}

static bool may_read_key(const struct catalog_table *table) {
    for (uint16_t i = 0; i < table->primary_key->n_columns; i++) {
        if (!table->columns[table->primary_key->columns[i]].selectable) return false;
    }
    return table->readable;
}

/* The columns that are left out of its rows, and the GRANT that brings them. */
static void mend_rights(const struct check_context *context, const struct catalog_table *table,
                        struct buf *what, struct buf *mend) {
    const char *separator = "; not its columns: ";
    buf_append_text(mend, "GRANT SELECT ");
    if (table->readable) {
        const char *bracket = "(";
        for (uint16_t i = 0; i < table->n_columns; i++) {
            if (table->columns[i].selectable) continue;
            buf_printf(what, "%s%s", separator, table->columns[i].name);
            separator = ", ";
            buf_append_text(mend, bracket);
            pg_quote_ident(mend, table->columns[i].name);
            bracket = ", ";
        }
        buf_append_text(mend, ") ");
        buf_append_text(what, " (no right to SELECT)");
    }
    buf_append_text(mend, "ON ");
    pg_quote_table(mend, table->schema, table->name);
    buf_append_text(mend, " TO ");
    pg_quote_ident(mend, PQuser(context->conn));
    buf_append_text(mend, ";");
}

static void describe_reads(const struct check_context *context, const struct catalog_table *table,
                           struct buf *what) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CACHE) || !config->cache_read_through) return;
    bool streams = config->cache.coherence == COHERENCE_STREAM;
    if (!table->primary_key || !is_mapped(config, table))
        buf_append_text(what, "; not readable");
    else if (!may_read_key(table))
        buf_append_text(what, "; not readable: no right to SELECT its key");
    else if (!streams)
        buf_append_text(what, "; readable, kept for its TTL");
    else if (catalog_table_publishable(table))
        buf_append_text(what, "; readable, evictable");
    else if (table->unlogged)
        buf_append_text(what,
                        "; readable, not evictable: kept for a TTL, cache.max_staleness at the "
                        "most where none is configured for it");
    else
        buf_append_text(what, "; readable, not evictable: read uncached");
}

static void check_row_security(struct check_context *context, const struct catalog_table *table) {
    if (!table->row_security_active) return;
    check_report(context, CHECK_WARN,
                 "give Freshet's role BYPASSRLS, or know that every client reads as that role",
                 "%s.%s: row-level security is in force: its rows are read as role \"%s\", whoever "
                 "asks",
                 table->schema, table->name, PQuser(context->conn));
}

static void check_table(struct check_context *context, const struct catalog_table *table) {
    struct buf what = {0};
    struct buf mend = {0};
    bool publishable = catalog_table_publishable(table);
    buf_printf(&what, "%s.%s: ", table->schema, table->name);
    if (table->primary_key) {
        buf_append_text(&what, "key ");
        append_key(&what, table);
        buf_printf(&what, ", replica identity %s", identity_name(table));
    } else {
        buf_printf(&what, "no primary key, replica identity %s",
                   table->replica_identity == 'd' ? "none" : identity_name(table));
    }
    describe_reads(context, table, &what);
    describe_events(context, table, &what);
    if (!publishable)
        buf_printf(&what, " (%s)", why_unpublished(table, &mend));
    else if (!table->selectable)
        mend_rights(context, table, &what, &mend);
    check_report(context, mend.len ? CHECK_WARN : CHECK_OK, mend.len ? buf_text(&mend) : NULL, "%s",
                 buf_text(&what));
    buf_deinit(&what);
    buf_deinit(&mend);
    check_row_security(context, table);
}

void check_tables(struct check_context *context) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < context->catalog->n_tables; i++) {
        const struct catalog_table *table = &context->catalog->tables[i];
        if (table->kind != 'r' && table->kind != 'p') continue;
        check_table(context, table);
        n++;
    }
    if (n == 0)
        check_report(context, CHECK_WARN, NULL, "there are no tables in \"%s\"",
                     context->catalog->database);
}
