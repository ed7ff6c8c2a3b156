#include "base/catalog.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/pg.h"

enum {
    CATALOG_BLOCK_BYTES = 256 * 1024,
    FIRST_NULLS_NOT_DISTINCT = 150000,
    FIRST_REFUSED_GENERATED =
        180000, /* UPDATE fails where a generated column is not published with its identity */
};

/* The tables that we look at; every query below starts from it. %s: which of them. */
#define SUBJECTS                                                                                   \
    "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "              \
    "WHERE c.relkind IN ('r','p','f','v','m') "                                                    \
    "AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' %s"

/* In a partition: is there an identity that PostgreSQL would use? (RelationGetReplicaIndex's rule.) */
#define PARTITION_LACKS_IDENTITY                                                                   \
    "l.relkind = 'r' AND l.relreplident <> 'f' AND NOT EXISTS ("                                   \
    "SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = l.oid AND i.indisunique "              \
    "AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL "                                   \
    "AND CASE l.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident "         \
    "ELSE false END)"

/* A partitioned table's rows come and go with its partitions, so these are part of the fingerprint. (pg_partition_tree would tell
 * them as well, and wait for whoever has locked one.) The xmin of what describes a table changes with each ALTER, GRANT, ATTACH
 * ..., so that one which is undone before the next look has left its trace. First and second %s: which tables. */
static const char tables_sql[] =
    "WITH RECURSIVE tree AS (SELECT c.oid AS root, c.oid AS relid FROM pg_catalog.pg_class c "
    "WHERE c.relkind = 'p' %s UNION ALL SELECT t.root, i.inhrelid FROM tree t "
    "JOIN pg_catalog.pg_inherits i ON i.inhparent = t.relid AND NOT i.inhdetachpending), "
    "trees AS MATERIALIZED (SELECT t.root, bool_and(NOT (" PARTITION_LACKS_IDENTITY
    ")) AS identified, string_agg(concat_ws(':', l.oid, l.relfilenode, l.xmin), ',' "
    "ORDER BY l.oid) AS storage "
    "FROM tree t JOIN pg_catalog.pg_class l ON l.oid = t.relid GROUP BY t.root) "
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relpersistence = 'u', "
    "row_security_active(c.oid), "
    "has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'), "
    "has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), "
    "pg_has_role(c.relowner, 'USAGE'), c.reltuples, "
    "CASE WHEN c.relkind = 'p' THEN (SELECT t.identified FROM trees t WHERE t.root = c.oid) "
    "ELSE true END, "
    "concat_ws(' ', c.relfilenode, c.xmin, n.xmin, "
    "CASE WHEN c.relkind = 'p' THEN (SELECT t.storage FROM trees t WHERE t.root = c.oid) END, "
    "CASE WHEN c.relkind = 'v' THEN (SELECT string_agg(r.oid || ':' || r.xmin::text, ',' "
    "ORDER BY r.oid) FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid) END, "
    "CASE WHEN c.relrowsecurity THEN (SELECT string_agg(p.oid || ':' || p.xmin::text, ',' "
    "ORDER BY p.oid) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid) END) "
    "FROM " SUBJECTS "ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

enum table_field {
    T_OID,
    T_SCHEMA,
    T_NAME,
    T_KIND,
    T_IDENTITY,
    T_UNLOGGED,
    T_ROW_SECURITY,
    T_READABLE,
    T_SELECTABLE,
    T_OWNED,
    T_ROWS,
    T_PARTITIONS,
    T_STORAGE,
};

/* `base` walks each domain down to the type that it is made of. */
#define DOMAINS                                                                                    \
    "walk AS (SELECT oid AS type, oid AS at, typtype, typbasetype, -1 AS typmod "                  \
    "FROM pg_catalog.pg_type WHERE typtype = 'd' UNION ALL "                                       \
    "SELECT w.type, b.oid, b.typtype, b.typbasetype, d.typtypmod FROM walk w "                     \
    "JOIN pg_catalog.pg_type d ON d.oid = w.at "                                                   \
    "JOIN pg_catalog.pg_type b ON b.oid = w.typbasetype WHERE w.typtype = 'd'), "                  \
    "base AS (SELECT type, at, typmod FROM walk WHERE typtype <> 'd') "

static const char columns_sql[] =
    "WITH RECURSIVE " DOMAINS "SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod, "
    "format_type(a.atttypid, a.atttypmod), t.oid, coalesce(b.typmod, a.atttypmod), t.typname, "
    "t.typtype, CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END, "
    "a.attnotnull OR (o.typtype = 'd' AND o.typnotnull), "
    "a.attgenerated <> '', "
    "CASE WHEN %s AND a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END, "
    "CASE WHEN coalesce(e.typtype, t.typtype) = 'e' THEN "
    "(SELECT string_agg(x.enumlabel || ' ' || x.xmin, ',' ORDER BY x.enumsortorder) "
    "FROM pg_catalog.pg_enum x "
    "WHERE x.enumtypid = coalesce(e.oid, t.oid)) "
    "WHEN coalesce(e.typtype, t.typtype) = 'c' THEN "
    "(SELECT string_agg(concat_ws(' ', x.attname, x.atttypid, x.xmin), ',' ORDER BY x.attnum) "
    "FROM pg_catalog.pg_attribute x WHERE x.attrelid = coalesce(e.typrelid, t.typrelid) "
    "AND x.attnum > 0 AND NOT x.attisdropped) END, "
    "has_column_privilege(a.attrelid, a.attnum, 'SELECT'), a.xmin "
    "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type o ON o.oid = a.atttypid "
    "LEFT JOIN base b ON b.type = a.atttypid "
    "JOIN pg_catalog.pg_type t ON t.oid = coalesce(b.at, a.atttypid) "
    "LEFT JOIN pg_catalog.pg_type e ON t.typlen = -1 AND e.oid = t.typelem "
    "LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE a.attnum > 0 AND NOT a.attisdropped "
    "AND a.attrelid IN (SELECT c.oid FROM " SUBJECTS ") ORDER BY a.attrelid, a.attnum";

enum column_field {
    C_TABLE,
    C_NAME,
    C_ATTNUM,
    C_TYPE,
    C_TYPMOD,
    C_TYPE_NAME,
    C_BASE,
    C_BASE_TYPMOD,
    C_BASE_NAME,
    C_TYPTYPE,
    C_ELEMENT,
    C_NOT_NULL,
    C_GENERATED,
    C_DEFAULT,
    C_TYPE_DETAIL,
    C_SELECTABLE,
    C_CHANGED,
};

/* First %s: indnullsnotdistinct where the server has it. */
static const char indexes_sql[] =
    "WITH RECURSIVE " DOMAINS "SELECT i.indrelid, x.relname, i.indisprimary, "
    "i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL, "
    "i.indisreplident, %s, i.indnkeyatts, i.indkey, "
    "concat_ws(' ', i.indcollation, i.indclass, i.indisvalid, i.indpred, i.indexprs), "
    "CASE WHEN NOT i.indisvalid THEN 'is not valid' WHEN i.indpred IS NOT NULL THEN 'is partial' "
    "WHEN i.indexprs IS NOT NULL THEN 'is on an expression' WHEN EXISTS ("
    "SELECT FROM ROWS FROM (unnest(i.indkey::int2[]), unnest(i.indclass::oid[]), "
    "unnest(i.indcollation::oid[])) AS k(attnum, class, coll) "
    "JOIN pg_catalog.pg_opclass o ON o.oid = k.class JOIN pg_catalog.pg_type ot "
    "ON ot.oid = o.opcintype JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid "
    "AND a.attnum = k.attnum LEFT JOIN base b ON b.type = a.atttypid "
    "LEFT JOIN pg_catalog.pg_collation ic ON ic.oid = k.coll "
    "LEFT JOIN pg_catalog.pg_collation ac ON ac.oid = a.attcollation "
    "WHERE k.class IS NOT NULL AND NOT ((o.opcintype = coalesce(b.at, a.atttypid) OR ot.typtype = "
    "'p' "
    "OR (o.opcintype = 'text'::regtype AND coalesce(b.at, a.atttypid) = 'varchar'::regtype) "
    "OR (o.opcintype = 'inet'::regtype AND coalesce(b.at, a.atttypid) = 'cidr'::regtype)) "
    "AND (o.opcdefault OR o.opcname IN ('text_pattern_ops', 'varchar_pattern_ops')) "
    "AND (k.coll = a.attcollation OR (coalesce(ic.collisdeterministic, true) "
    "AND coalesce(ac.collisdeterministic, true))))) THEN 'compares by another rule than its "
    "column' "
    "END, "
    "(SELECT string_agg(DISTINCT d.refobjsubid::text, ' ') FROM pg_catalog.pg_depend d "
    "WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid "
    "AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0) "
    "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid "
    "WHERE i.indisunique AND i.indrelid IN (SELECT c.oid FROM " SUBJECTS ") "
    "ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid";

enum index_field {
    I_TABLE,
    I_NAME,
    I_PRIMARY,
    I_USABLE,
    I_IDENTITY,
    I_NULLS,
    I_N_KEYS,
    I_KEYS,
    I_RULES, /* all that decides about its equality */
    I_UNASKABLE,
    I_MENTIONED,
};

/* While it is being made; the catalog's tables are const to everyone else. */
struct builder {
    struct catalog *catalog;
    struct arena *arena;
    char only[32]; /* "AND NOT c.relispartition ", or "AND c.oid = 16384 " */
    bool defaults;
    struct catalog_table *tables;
};

static bool field_bool(const PGresult *rows, int row, int field) {
    return *PQgetvalue(rows, row, field) == 't';
}

static uint32_t field_u32(const PGresult *rows, int row, int field) {
    return (uint32_t)strtoul(PQgetvalue(rows, row, field), NULL, 10);
}

static int32_t field_i32(const PGresult *rows, int row, int field) {
    return (int32_t)strtol(PQgetvalue(rows, row, field), NULL, 10);
}

static const char *field_text(struct builder *b, const PGresult *rows, int row, int field) {
    if (PQgetisnull(rows, row, field)) return NULL;
    return arena_strdup(b->arena, PQgetvalue(rows, row, field));
}

/* A fingerprint is a chain: each field is hashed with what came before it as the seed. */
static void hash_field(struct catalog_table *table, const PGresult *rows, int row, int field) {
    table->fingerprint = XXH3_64bits_withSeed(
        PQgetvalue(rows, row, field), (size_t)PQgetlength(rows, row, field), table->fingerprint);
}

static struct catalog_table *table_of(struct builder *b, uint32_t oid) {
    const struct catalog_table *table = catalog_find_oid(b->catalog, oid);
    return table ? &b->tables[table - b->tables] : NULL;
}

static int by_table_oid(const void *a, const void *b, void *arg) {
    const struct catalog_table *tables = arg;
    uint32_t left = tables[*(const uint32_t *)a].oid;
    uint32_t right = tables[*(const uint32_t *)b].oid;
    return (left > right) - (left < right);
}

static PGresult *query_subjects(const struct builder *b, PGconn *conn, const char *format,
                                const char *first, struct error *err) {
    struct buf sql = {0};
    buf_printf(&sql, format, first, b->only);
    PGresult *rows = pg_query(conn, buf_text(&sql), err);
    buf_deinit(&sql);
    return rows;
}

static bool load_tables(struct builder *b, PGconn *conn, struct error *err) {
    PGresult *rows = query_subjects(b, conn, tables_sql, b->only, err);
    if (!rows) return false;
    uint32_t n = (uint32_t)PQntuples(rows);
    b->tables = arena_zalloc(b->arena, (n + 1) * sizeof *b->tables);
    for (uint32_t i = 0; i < n; i++) {
        struct catalog_table *table = &b->tables[i];
        int row = (int)i;
        table->oid = field_u32(rows, row, T_OID);
        table->schema = field_text(b, rows, row, T_SCHEMA);
        table->name = field_text(b, rows, row, T_NAME);
        table->kind = *PQgetvalue(rows, row, T_KIND);
        table->replica_identity = *PQgetvalue(rows, row, T_IDENTITY);
        table->unlogged = field_bool(rows, row, T_UNLOGGED);
        table->row_security_active = field_bool(rows, row, T_ROW_SECURITY);
        table->readable = field_bool(rows, row, T_READABLE);
        table->selectable = field_bool(rows, row, T_SELECTABLE);
        table->owned = field_bool(rows, row, T_OWNED);
        table->estimated_rows = atof(PQgetvalue(rows, row, T_ROWS));
        table->partitions_identified = field_bool(rows, row, T_PARTITIONS);
        for (int field = T_OID; field <= T_SELECTABLE; field++)
            hash_field(table, rows, row, field);
        hash_field(table, rows, row, T_PARTITIONS);
        hash_field(table, rows, row, T_STORAGE);
    }
    PQclear(rows);

    uint32_t *by_oid = arena_alloc(b->arena, (n + 1) * sizeof *by_oid);
    for (uint32_t i = 0; i < n; i++)
        by_oid[i] = i;
    qsort_r(by_oid, n, sizeof *by_oid, by_table_oid, b->tables);
    b->catalog->n_tables = n;
    b->catalog->tables = b->tables;
    b->catalog->by_oid = by_oid;
    return true;
}

/* How many rows from `row` on belong to the same table. */
static int run_length(const PGresult *rows, int row) {
    int n = 1;
    while (row + n < PQntuples(rows) &&
           strcmp(PQgetvalue(rows, row, 0), PQgetvalue(rows, row + n, 0)) == 0)
        n++;
    return n;
}

static void read_column(struct builder *b, const PGresult *rows, int row,
                        struct catalog_column *column) {
    column->name = field_text(b, rows, row, C_NAME);
    column->attnum = (int16_t)field_i32(rows, row, C_ATTNUM);
    column->type_oid = field_u32(rows, row, C_TYPE);
    column->typmod = field_i32(rows, row, C_TYPMOD);
    column->type_name = field_text(b, rows, row, C_TYPE_NAME);
    column->base_type_oid = field_u32(rows, row, C_BASE);
    column->base_typmod = field_i32(rows, row, C_BASE_TYPMOD);
    column->base_type_name = field_text(b, rows, row, C_BASE_NAME);
    column->base_typtype = *PQgetvalue(rows, row, C_TYPTYPE);
    column->element_type_oid = field_u32(rows, row, C_ELEMENT);
    column->not_null = field_bool(rows, row, C_NOT_NULL);
    column->generated = field_bool(rows, row, C_GENERATED);
    column->selectable = field_bool(rows, row, C_SELECTABLE);
    column->default_sql = field_text(b, rows, row, C_DEFAULT);
}

static bool load_columns(struct builder *b, PGconn *conn, struct error *err) {
    static const enum column_field hashed[] = {
        C_NAME,        C_ATTNUM,    C_TYPE,        C_TYPMOD,     C_BASE,
        C_BASE_TYPMOD, C_GENERATED, C_TYPE_DETAIL, C_SELECTABLE, C_CHANGED,
    };
    PGresult *rows = query_subjects(b, conn, columns_sql, b->defaults ? "true" : "false", err);
    if (!rows) return false;
    for (int row = 0, n; row < PQntuples(rows); row += n) {
        n = run_length(rows, row);
        struct catalog_table *table = table_of(b, field_u32(rows, row, C_TABLE));
        if (!table) continue;
        struct catalog_column *columns = arena_zalloc(b->arena, (size_t)n * sizeof *columns);
        for (int i = 0; i < n; i++) {
            read_column(b, rows, row + i, &columns[i]);
            columns[i].in_identity = table->replica_identity == 'f';
            for (size_t f = 0; f < sizeof hashed / sizeof *hashed; f++)
                hash_field(table, rows, row + i, hashed[f]);
        }
        table->n_columns = (uint16_t)n;
        table->columns = columns;
    }
    PQclear(rows);
    return true;
}

/* An int2vector prints as "1 3"; 0 stands for an expression, which names no column. */
static void read_index_columns(struct builder *b, const struct catalog_table *table,
                               const char *keys, uint32_t n_keys, struct catalog_index *index) {
    uint16_t *places = arena_alloc(b->arena, (n_keys + 1) * sizeof *places);
    char *at = NULL;
    for (uint32_t i = 0; i < n_keys; i++, keys = at) {
        long attnum = strtol(keys, &at, 10);
        for (uint16_t c = 0; c < table->n_columns; c++) {
            if (table->columns[c].attnum == attnum) places[index->n_columns++] = c;
        }
    }
    index->columns = places;
    if (index->n_columns != n_keys) index->usable_as_key = false;
}

/* "3 1", in any order. */
static void read_mentioned(struct builder *b, const struct catalog_table *table,
                           const char *attnums, struct catalog_index *index) {
    uint16_t *places = arena_alloc(b->arena, (table->n_columns + 1u) * sizeof *places);
    for (uint16_t c = 0; c < table->n_columns; c++) {
        char *end;
        for (const char *at = attnums; *at; at = end) {
            if (strtol(at, &end, 10) == table->columns[c].attnum) places[index->n_mentioned++] = c;
            if (end == at) break;
        }
    }
    index->mentioned = places;
}

static bool identifies(const struct catalog_table *table, const struct catalog_index *index) {
    if (!index->usable_as_key) return false;
    if (table->replica_identity == 'd') return index->primary;
    return table->replica_identity == 'i' && index->replica_identity;
}

static void mark_identity(const struct catalog_index *index, struct catalog_table *table) {
    struct catalog_column *columns = (struct catalog_column *)(uintptr_t)table->columns;
    for (uint16_t i = 0; i < index->n_columns; i++)
        columns[index->columns[i]].in_identity = true;
}

static bool load_indexes(struct builder *b, PGconn *conn, struct error *err) {
    struct buf sql = {0};
    buf_printf(&sql, indexes_sql,
               PQserverVersion(conn) >= FIRST_NULLS_NOT_DISTINCT ? "i.indnullsnotdistinct"
                                                                 : "false",
               b->only);
    PGresult *rows = pg_query(conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return false;
    for (int row = 0, n; row < PQntuples(rows); row += n) {
        n = run_length(rows, row);
        struct catalog_table *table = table_of(b, field_u32(rows, row, I_TABLE));
        if (!table) continue;
        struct catalog_index *indexes = arena_zalloc(b->arena, (size_t)n * sizeof *indexes);
        for (int i = 0; i < n; i++) {
            struct catalog_index *index = &indexes[i];
            index->name = field_text(b, rows, row + i, I_NAME);
            index->primary = field_bool(rows, row + i, I_PRIMARY);
            index->usable_as_key = field_bool(rows, row + i, I_USABLE);
            index->replica_identity = field_bool(rows, row + i, I_IDENTITY);
            index->nulls_not_distinct = field_bool(rows, row + i, I_NULLS);
            read_index_columns(b, table, PQgetvalue(rows, row + i, I_KEYS),
                               field_u32(rows, row + i, I_N_KEYS), index);
            index->unaskable = field_text(b, rows, row + i, I_UNASKABLE);
            read_mentioned(b, table, PQgetvalue(rows, row + i, I_MENTIONED), index);
            if (index->primary) table->primary_key = index;
            if (identifies(table, index)) mark_identity(index, table);
            for (int field = I_PRIMARY; field <= I_RULES; field++)
                hash_field(table, rows, row + i, field);
        }
        table->n_indexes = (uint16_t)n;
        table->indexes = indexes;
    }
    PQclear(rows);
    return true;
}

static void judge_generated(struct catalog_table *table, int server_version) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct catalog_column *column = &table->columns[i];
        if (server_version >= FIRST_REFUSED_GENERATED && column->generated && column->in_identity)
            table->identity_generated = true;
    }
}

static bool load_all(struct builder *b, PGconn *conn, struct error *err) {
    if (!load_tables(b, conn, err)) return false;
    if (!load_columns(b, conn, err) || !load_indexes(b, conn, err)) return false;
    for (uint32_t i = 0; i < b->catalog->n_tables; i++)
        judge_generated(&b->tables[i], PQserverVersion(conn));
    return true;
}

/* oid 0: all of them. */
static struct catalog *load(PGconn *conn, uint32_t oid, bool defaults, struct error *err) {
    bool own_transaction = PQtransactionStatus(conn) == PQTRANS_IDLE;
    if (own_transaction && !pg_exec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err))
        return NULL;

    struct arena *arena = arena_create(CATALOG_BLOCK_BYTES);
    struct catalog *catalog = arena_zalloc(arena, sizeof *catalog);
    catalog->arena = arena;
    catalog->database = arena_strdup(arena, PQdb(conn));
    catalog->server_version = PQserverVersion(conn);
    struct builder builder = {.catalog = catalog, .arena = arena, .defaults = defaults};
    if (oid)
        snprintf(builder.only, sizeof builder.only, "AND c.oid = %u ", (unsigned)oid);
    else
        snprintf(builder.only, sizeof builder.only, "AND NOT c.relispartition ");
    bool loaded = load_all(&builder, conn, err);

    /* A failed COMMIT of a reading transaction means a lost connection, which the next call reports. */
    if (own_transaction) PQclear(PQexec(conn, loaded ? "COMMIT" : "ROLLBACK"));
    if (!loaded) catalog_destroy(&catalog);
    return catalog;
}

struct catalog *catalog_load(PGconn *conn, struct error *err) {
    return load(conn, 0, true, err);
}

struct catalog *catalog_load_shapes(PGconn *conn, struct error *err) {
    return load(conn, 0, false, err);
}

struct catalog *catalog_load_table(PGconn *conn, uint32_t oid, struct error *err) {
    return load(conn, oid, true, err);
}

void catalog_destroy(struct catalog **catalog) {
    if (!*catalog) return;
    struct arena *arena = (*catalog)->arena; /* the catalog itself lies in it */
    *catalog = NULL;
    arena_destroy(&arena);
}

static int by_name(const void *key, const void *element) {
    const struct catalog_table *wanted = key;
    const struct catalog_table *table = element;
    int order = strcmp(wanted->schema, table->schema);
    return order ? order : strcmp(wanted->name, table->name);
}

const struct catalog_table *catalog_find(const struct catalog *catalog, const char *schema,
                                         const char *name) {
    if (catalog->n_tables == 0) return NULL;
    struct catalog_table wanted = {.schema = schema, .name = name};
    return bsearch(&wanted, catalog->tables, catalog->n_tables, sizeof *catalog->tables, by_name);
}

const struct catalog_table *catalog_find_oid(const struct catalog *catalog, uint32_t oid) {
    uint32_t low = 0;
    uint32_t high = catalog->n_tables;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct catalog_table *table = &catalog->tables[catalog->by_oid[middle]];
        if (oid == table->oid) return table;
        if (oid < table->oid)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* A partitioned table needs a primary key: REPLICA IDENTITY FULL is not inherited, so a partition made
 * tomorrow would have none, and its writes would fail. */
bool catalog_table_publishable(const struct catalog_table *table) {
    if (table->unlogged) return false;
    if (table->kind != 'r' && table->kind != 'p') return false;
    if (!table->partitions_identified || table->identity_generated) return false;
    for (uint16_t i = 0; i < table->n_indexes; i++) {
        if (identifies(table, &table->indexes[i])) return true;
    }
    if (table->replica_identity != 'f') return false;
    return table->kind == 'r' || (table->primary_key && table->primary_key->usable_as_key);
}
