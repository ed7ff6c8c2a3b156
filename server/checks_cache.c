/* The cache: what commits wait for that wait for it (strict reads for all), and the deletion of rows that have ended. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "base/standbys.h"
#include "server/checks.h"

static bool caches(const struct check_context *context) {
    const struct config *config = context->config;
    return config->roles & ROLE_CACHE && config->cache_read_through;
}

/* ---- synchronous_standby_names ---- */

/* A commit would wait for a standby that never comes. */
static bool follows_topic(struct check_context *context, const char *names) {
    if (context->config->cache.feed != CACHE_FEED_KAFKA) return false;
    check_report(
        context, CHECK_WARN, "cache.feed: slot, or take the name out of the list",
        "'%s' names the cache \"%s\", which follows a topic: no standby of that name comes", names,
        context->config->cache.feed_name);
    return true;
}

static void tell_stopped(struct check_context *context, const struct standbys *standbys,
                         const char *names) {
    const char *name = context->config->cache.feed_name;
    static const char mend[] =
        "know it, or let another standby confirm in its place:\n"
        "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (%s, another_standby)';\n"
        "SELECT pg_reload_conf();  -- strict while the cache streams; without it the other "
        "confirms\n"
        "-- to let held commits go at once: ALTER SYSTEM RESET synchronous_standby_names; "
        "SELECT pg_reload_conf();";
    struct buf text = {0};
    buf_printf(&text, mend, name);
    switch (standbys_role(standbys, name)) {
    case STANDBY_NOT_NAMED: break;
    case STANDBY_NEEDED:
        check_report(context, CHECK_WARN, buf_text(&text),
                     "'%s': commits wait until the cache \"%s\" has evicted: reads are strict, and "
                     "while that cache is stopped or cut off every COMMIT hangs (a frozen one is "
                     "noticed after wal_sender_timeout)",
                     names, name);
        break;
    case STANDBY_PREFERRED:
        check_report(context, CHECK_OK, NULL,
                     "'%s': commits wait until the cache \"%s\" has evicted: reads are strict; "
                     "while it is stopped another standby confirms in its place, and commits go on",
                     names, name);
        break;
    case STANDBY_OPTIONAL:
        check_report(
            context, CHECK_WARN,
            "for strict reads let the cache come first: FIRST n (cache, ...), n as many as "
            "there are caches, or more",
            "'%s': commits may return before the cache \"%s\" has evicted: reads are not "
            "strict; commits go on without it",
            names, name);
        break;
    }
    buf_deinit(&text);
}

/* Nothing is said where nobody waits for the cache. */
void check_standbys(struct check_context *context) {
    const char *name = context->config->cache.feed_name;
    if (!caches(context) || context->config->cache.coherence != COHERENCE_STREAM) return;
    struct error err;
    PGresult *row =
        pg_query_params(context->conn,
                        "SELECT current_setting('synchronous_standby_names'), "
                        "current_setting('synchronous_commit'),"
                        " (SELECT count(*) FROM pg_stat_replication WHERE application_name = $1)",
                        1, &name, &err);
    if (!row) {
        check_report(context, CHECK_FAIL, NULL, "%s", err.message);
        return;
    }
    const char *names = PQgetvalue(row, 0, 0);
    const char *level = PQgetvalue(row, 0, 1);
    struct standbys standbys;
    if (standbys_parse(names, &standbys) && standbys_role(&standbys, name) != STANDBY_NOT_NAMED) {
        if (!follows_topic(context, names)) tell_stopped(context, &standbys, names);
        if (strcmp(level, "remote_apply") != 0 && strcmp(level, "on") != 0)
            check_report(
                context, CHECK_WARN,
                "SET synchronous_commit = remote_apply;  -- of the server, or of the role or "
                "the transactions that need it",
                "synchronous_commit is %s here: such commits do not wait for the cache", level);
        if (atoi(PQgetvalue(row, 0, 2)) > 1)
            check_report(context, CHECK_WARN,
                         "give each cache a cache.name of its own, and name them all",
                         "%s feeds are called \"%s\": a commit waits for one of them only",
                         PQgetvalue(row, 0, 2), name);
    }
    standbys_deinit(&standbys);
    PQclear(row);
}

/* ---- delete_expired ---- */

static const struct catalog_table *find_table(const struct check_context *context,
                                              const char *name) {
    for (uint32_t i = 0; i < context->catalog->n_tables; i++) {
        const struct catalog_table *table = &context->catalog->tables[i];
        if (pattern_match(name, table->schema, table->name)) return table;
    }
    return NULL;
}

static void check_deletion(struct check_context *context, const struct catalog_table *table,
                           const char *column) {
    struct buf name = {0};
    struct buf sql = {0};
    struct buf mend = {0};
    struct error err;
    pg_quote_table(&name, table->schema, table->name);
    buf_append_text(&sql,
                    "SELECT has_table_privilege(t, 'DELETE'), EXISTS (SELECT FROM pg_index i "
                    "JOIN pg_attribute a ON a.attrelid = t AND a.attnum = i.indkey[0] "
                    "WHERE i.indrelid = t AND i.indisvalid AND i.indpred IS NULL AND a.attname = ");
    pg_quote_literal(&sql, column);
    buf_append_text(&sql, ") FROM CAST(");
    pg_quote_literal(&sql, buf_text(&name));
    buf_append_text(&sql, " AS regclass) t");
    PGresult *row = pg_query(context->conn, buf_text(&sql), &err);
    if (row && *PQgetvalue(row, 0, 0) != 't') {
        buf_printf(&mend, "GRANT DELETE ON %s TO ", buf_text(&name));
        pg_quote_ident(&mend, PQuser(context->conn));
        buf_append_text(&mend, ";\n");
    }
    if (row && *PQgetvalue(row, 0, 1) != 't') {
        buf_printf(&mend, "CREATE INDEX CONCURRENTLY ON %s (", buf_text(&name));
        pg_quote_ident(&mend, column);
        buf_append_text(&mend, ");  -- else each look for ended rows reads the whole table\n");
    }
    if (mend.len) mend.len--; /* the last newline */
    check_report(context, mend.len || !row ? CHECK_WARN : CHECK_OK,
                 mend.len ? buf_text(&mend) : NULL,
                 "%s.%s: rows that have ended by \"%s\" are deleted%s", table->schema, table->name,
                 column, mend.len ? ", which lacks:" : "");
    PQclear(row);
    buf_deinit(&mend);
    buf_deinit(&sql);
    buf_deinit(&name);
}

void check_deletions(struct check_context *context) {
    const struct cache_config *cache = &context->config->cache;
    for (uint32_t i = 0; caches(context) && i < cache->n_tables; i++) {
        const struct cache_table_config *wanted = &cache->tables[i];
        const struct catalog_table *table = find_table(context, wanted->table);
        if (table && wanted->delete_expired && wanted->ttl_column)
            check_deletion(context, table, wanted->ttl_column);
    }
}
