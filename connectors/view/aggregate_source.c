#include "connectors/view/aggregate_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/catalog.h"
#include "base/mem.h"
#include "base/pg.h"
#include "connectors/source/table_reader.h"
#include "connectors/view/aggregate_reader.h"

enum { COLUMNS_MAX = 64 };

enum aggregate_kind { GROUP, COUNT_ROWS, COUNT, SUM };

/* A column of the target. */
struct aggregate {
    enum aggregate_kind kind;
    char *name;
    char *column; /* of the table; NULL for COUNT_ROWS */
};

struct aggregate_source {
    struct source_database database;
    char *schema;
    char *table;
    uint16_t n; /* groups first */
    uint16_t n_groups;
    struct aggregate aggregates[COLUMNS_MAX];
    uint64_t hash; /* of what was configured: another definition is another table */

    /* Feed's thread. */
    uint64_t next; /* names the next delta */
    uint32_t relation_oid, relation_version;
    uint16_t places[COLUMNS_MAX]; /* of the columns in that relation */
};

/* ---- the definition ---- */

static bool add(struct aggregate_source *source, enum aggregate_kind kind, struct slice name,
                struct slice column, struct error *err) {
    if (source->n == COLUMNS_MAX)
        return error_set(err, ERROR_CONFIG, false, "aggregate: more than %d columns", COLUMNS_MAX);
    source->aggregates[source->n++] = (struct aggregate){
        .kind = kind,
        .name = mem_slicedup(name),
        .column = kind == COUNT_ROWS ? NULL : mem_slicedup(column),
    };
    return true;
}

/* "a, b" */
static bool add_groups(struct aggregate_source *source, const char *text, struct error *err) {
    while (*text) {
        text += strspn(text, ", ");
        size_t len = strcspn(text, ", ");
        struct slice name = slice_make(text, len);
        if (len && !add(source, GROUP, name, name, err)) return false;
        text += len;
    }
    source->n_groups = source->n;
    return source->n_groups > 0 ||
           error_set(err, ERROR_CONFIG, false, "aggregate: by names no column");
}

static bool add_aggregate(struct aggregate_source *source, const struct connector_aggregate *from,
                          struct error *err) {
    struct slice name = slice_from(from->name);
    if (strcmp(from->what, "count") == 0)
        return add(source, COUNT_ROWS, name, (struct slice){0}, err);
    if (strncmp(from->what, "count ", 6) == 0)
        return add(source, COUNT, name, slice_from(from->what + 6), err);
    if (strncmp(from->what, "sum ", 4) == 0)
        return add(source, SUM, name, slice_from(from->what + 4), err);
    return error_set(err, ERROR_CONFIG, false,
                     "aggregate: %s: \"%s\" is neither count, count COLUMN nor sum COLUMN",
                     from->name, from->what);
}

static bool take_definition(struct aggregate_source *source,
                            const struct aggregate_source_config *config, struct error *err) {
    const char *by = "";
    bool counts = false;
    for (uint32_t i = 0; i < config->n_aggregates; i++) {
        const struct connector_aggregate *each = &config->aggregates[i];
        source->hash = XXH3_64bits_withSeed(each->name, strlen(each->name), source->hash);
        source->hash = XXH3_64bits_withSeed(each->what, strlen(each->what), source->hash);
        if (strcmp(each->name, "by") == 0) by = each->what;
        counts |= strcmp(each->what, "count") == 0;
    }
    if (!counts)
        return error_set(err, ERROR_CONFIG, false,
                         "aggregate: one column must be a plain count, by which a group without "
                         "rows is known");
    if (!add_groups(source, by, err)) return false;
    for (uint32_t i = 0; i < config->n_aggregates; i++) {
        const struct connector_aggregate *each = &config->aggregates[i];
        if (strcmp(each->name, "by") != 0 && !add_aggregate(source, each, err)) return false;
    }
    return true;
}

struct aggregate_source *aggregate_source_create(const struct aggregate_source_config *config,
                                                 struct error *err) {
    const char *dot = strchr(config->table, '.');
    struct aggregate_source *source = mem_zalloc(sizeof *source);
    source_database_init(&source->database, &config->database);
    source->schema = dot ? mem_slicedup(slice_make(config->table, (size_t)(dot - config->table)))
                         : mem_strdup("public");
    source->table = mem_strdup(dot ? dot + 1 : config->table);
    if (!take_definition(source, config, err)) aggregate_source_destroy(&source);
    return source;
}

void aggregate_source_destroy(struct aggregate_source **source) {
    struct aggregate_source *old = *source;
    *source = NULL;
    if (!old) return;
    for (uint16_t i = 0; i < old->n; i++) {
        mem_free(old->aggregates[i].name);
        mem_free(old->aggregates[i].column);
    }
    mem_free(old->schema);
    mem_free(old->table);
    source_database_deinit(&old->database);
    mem_free(old);
}

/* ---- what the database has ---- */

static const struct catalog_column *find_column(const struct catalog_table *table,
                                                const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return &table->columns[i];
    }
    return NULL;
}

static bool is_summable(const struct catalog_column *column) {
    static const char *const types[] = {"int2", "int4", "int8", "numeric"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(column->base_type_name, types[i]) == 0) return true;
    return false;
}

static bool check_column(const struct catalog_table *table, const struct aggregate *aggregate,
                         struct error *err) {
    if (!aggregate->column) return true;
    const struct catalog_column *column = find_column(table, aggregate->column);
    if (!column)
        return error_set(err, ERROR_CONFIG, false, "aggregate: there is no column \"%s\" in %s.%s",
                         aggregate->column, table->schema, table->name);
    if (aggregate->kind == SUM && !is_summable(column))
        return error_set(err, ERROR_CONFIG, false,
                         "aggregate: column \"%s\" is %s: only integers and numerics are summed "
                         "without a rest",
                         aggregate->column, column->type_name);
    return column->in_identity ||
           error_set(err, ERROR_CONFIG, false,
                     "aggregate: the old value of %s is not in the change stream of %s.%s; ALTER "
                     "TABLE %s.%s REPLICA IDENTITY FULL mends it",
                     aggregate->column, table->schema, table->name, table->schema, table->name);
}

static struct shape *make_shape(const struct aggregate_source *source,
                                const struct catalog_table *table) {
    struct shape_column columns[COLUMNS_MAX];
    uint16_t keys[COLUMNS_MAX];
    for (uint16_t i = 0; i < source->n; i++) {
        const struct aggregate *aggregate = &source->aggregates[i];
        keys[i] = i;
        columns[i] = (struct shape_column){.name = aggregate->name, .class = CLASS_NUMERIC};
        if (aggregate->kind == GROUP)
            columns[i].type_name = find_column(table, aggregate->column)->type_name;
        else
            columns[i].type_name = aggregate->kind == SUM ? "numeric" : "bigint";
    }
    char *name = mem_printf("%s.%s@%08x", source->schema, source->table, (unsigned)source->hash);
    struct shape *shape =
        shape_create("aggregate", name, source->n, columns, source->n_groups, keys);
    shape->deltas = true;
    for (uint16_t i = 0; i < source->n; i++)
        if (source->aggregates[i].kind == COUNT_ROWS) shape->count = i;
    mem_free(name);
    return shape;
}

bool aggregate_source_fits(const struct aggregate_source_config *config,
                           const struct catalog_table *table, const char **entry,
                           struct error *err) {
    struct aggregate_source *source = aggregate_source_create(config, err);
    *entry = NULL;
    if (!source) return false;
    uint16_t i = 0;
    while (i < source->n && check_column(table, &source->aggregates[i], err))
        i++;
    bool fits = i == source->n;
    for (uint32_t c = 0; c < config->n_aggregates && !fits; c++) {
        const char *name = i < source->n_groups ? "by" : source->aggregates[i].name;
        if (strcmp(config->aggregates[c].name, name) == 0) *entry = config->aggregates[c].name;
    }
    aggregate_source_destroy(&source);
    return fits;
}

static bool check_table(const struct aggregate_source *source, const struct catalog_table *table,
                        struct error *err) {
    if (!table)
        return error_set(err, ERROR_CONFIG, false, "table %s.%s does not exist", source->schema,
                         source->table);
    for (uint16_t i = 0; i < source->n; i++)
        if (!check_column(table, &source->aggregates[i], err)) return false;
    return true;
}

static bool prepare(void *self, struct shape **shape, uint64_t *system_identifier,
                    struct error *err) {
    struct aggregate_source *source = self;
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    struct catalog *catalog = catalog_load(conn, err);
    const struct catalog_table *table =
        catalog ? catalog_find(catalog, source->schema, source->table) : NULL;
    bool ready = catalog && check_table(source, table, err) &&
                 source_database_publish(&source->database, conn, 1, &table, err) &&
                 source_database_system(conn, system_identifier, err);
    if (ready) {
        *shape = make_shape(source, table);
        (*shape)->tables = source_database_tables(1, &table);
    }
    source->relation_oid = 0;
    catalog_destroy(&catalog);
    PQfinish(conn);
    return ready;
}

static bool tables_now(void *self, uint64_t *tables, struct error *err) {
    const struct aggregate_source *source = self;
    const char *const names[] = {source->schema, source->table};
    return source_database_tables_now(&source->database, 1, names, tables, err);
}

static bool load_floor(void *self, const char *slot, uint64_t *floor_lsn, struct error *err) {
    const struct aggregate_source *source = self;
    return source_database_load_floor(&source->database, slot, floor_lsn, err);
}

static bool follows(void *self, const struct relation *relation) {
    const struct aggregate_source *source = self;
    return strcmp(relation->name, source->table) == 0 &&
           strcmp(relation->schema, source->schema) == 0;
}

/* ---- changes ---- */

static bool take_relation(struct aggregate_source *source, const struct relation *relation,
                          struct error *err) {
    if (source->relation_oid == relation->oid && source->relation_version == relation->version)
        return true;
    for (uint16_t i = 0; i < source->n; i++) {
        const char *name = source->aggregates[i].column;
        uint16_t at = 0;
        while (name && at < relation->n_columns && strcmp(relation->columns[at].name, name) != 0)
            at++;
        if (name && (at == relation->n_columns || !relation->columns[at].identity))
            return error_set(err, ERROR_CONFLICT, true,
                             "table %s.%s: column \"%s\", or the replica identity, has changed",
                             relation->schema, relation->name, name);
        source->places[i] = at;
    }
    source->relation_oid = relation->oid;
    source->relation_version = relation->version;
    return true;
}

static const struct value *value_at(const struct aggregate_source *source, uint16_t i,
                                    const struct value *row, const struct value *other) {
    static const struct value none = {.kind = VALUE_NULL};
    if (!source->aggregates[i].column) return &none;
    const struct value *value = &row[source->places[i]];
    return value->kind == VALUE_UNCHANGED && other ? &other[source->places[i]] : value;
}

static bool changes_nothing(const struct aggregate_source *source, const struct value *row,
                            const struct value *old_row) {
    for (uint16_t i = 0; i < source->n; i++) {
        const struct value *now = value_at(source, i, row, old_row);
        const struct value *then = value_at(source, i, old_row, NULL);
        if (now->kind != then->kind ||
            (now->kind == VALUE_TEXT &&
             !slice_equal(slice_make(now->data, now->len), slice_make(then->data, then->len))))
            return false;
    }
    return true;
}

static struct value text_of(struct slice text) {
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)text.len, .data = text.data};
}

/* -12.5 of 12.5, and the other way. NaN is its own. */
static void negate(struct buf *out, const struct value *value) {
    bool negative = value->len && value->data[0] == '-';
    bool number = !slice_equal(slice_make(value->data, value->len), SLICE("NaN"));
    if (!negative && number) buf_append_char(out, '-');
    buf_append(out, value->data + negative, value->len - negative);
}

static void tell(struct aggregate_source *source, const struct value *row,
                 const struct value *other, bool adds, const struct touched *touched) {
    struct value delta[COLUMNS_MAX];
    struct buf negated[COLUMNS_MAX] = {0};
    const struct value none = {.kind = VALUE_NULL};
    const struct slice one = adds ? SLICE("1") : SLICE("-1");
    for (uint16_t i = 0; i < source->n; i++) {
        const struct value *value = value_at(source, i, row, other);
        bool null = value->kind != VALUE_TEXT;
        switch (source->aggregates[i].kind) {
        case GROUP: delta[i] = null ? none : *value; break;
        case COUNT_ROWS: delta[i] = text_of(one); break;
        case COUNT: delta[i] = text_of(null ? SLICE("0") : one); break;
        case SUM:
            if (!null && !adds) negate(&negated[i], value);
            delta[i] = null ? text_of(SLICE("0")) : adds ? *value : text_of(buf_slice(&negated[i]));
            break;
        }
    }
    char key[24];
    int len = snprintf(key, sizeof key, "%" PRIu64, source->next++);
    touched->row(touched->arg, slice_make(key, (size_t)len), delta);
    for (uint16_t i = 0; i < source->n; i++)
        buf_deinit(&negated[i]);
}

/* An update without an old row has left the identity alone, and with it all that is read here. */
static bool touch(void *self, const struct change *change, const struct touched *touched,
                  struct error *err) {
    struct aggregate_source *source = self;
    const struct value *row = change->new_row;
    const struct value *old_row = change->old_row;
    if (change->operation == CHANGE_TRUNCATE) {
        touched->clear(touched->arg);
        return true;
    }
    if (!take_relation(source, change->relation, err)) return false;
    if (change->operation == CHANGE_UPDATE && (!old_row || changes_nothing(source, row, old_row)))
        return true;
    if (old_row) tell(source, old_row, NULL, false, touched);
    if (row) tell(source, row, old_row, true, touched);
    return true;
}

/* As source.h has it. NOLINTNEXTLINE(readability-non-const-parameter) */
static bool reread(void *self, struct batch *batch, uint64_t *rows, struct error *err) {
    (void)self, (void)batch, (void)rows, (void)err;
    return true; /* a delta is complete */
}

/* ---- reading for a comparison; any thread ---- */

static void append_expression(const struct aggregate *aggregate, struct buf *sql) {
    static const char *const before[] = {[GROUP] = "t.",
                                         [COUNT_ROWS] = "pg_catalog.count(*)",
                                         [COUNT] = "pg_catalog.count(t.",
                                         [SUM] = "COALESCE(pg_catalog.sum(t."};
    static const char *const behind[] = {
        [GROUP] = "", [COUNT_ROWS] = "", [COUNT] = ")", [SUM] = "), 0)"};
    buf_append_text(sql, before[aggregate->kind]);
    if (aggregate->column) pg_quote_ident(sql, aggregate->column);
    buf_append_text(sql, behind[aggregate->kind]);
}

/* What the publication leaves out is in no group. */
static bool append_from(const struct aggregate_source *source, const struct catalog_table *table,
                        PGconn *conn, struct buf *sql, struct error *err) {
    const struct shape_column group = {.name = source->aggregates[0].column};
    struct shape *all =
        shape_create(source->schema, source->table, 1, &group, 1, &(const uint16_t){0});
    struct table_published published;
    bool read = table_published_read(conn, source->database.publication, all, &published, err);
    if (read) {
        buf_append_text(sql, table->kind == 'p' ? "(SELECT * FROM " : "(SELECT * FROM ONLY ");
        pg_quote_table(sql, source->schema, source->table);
        buf_printf(sql, " WHERE (%s)) AS t", published.row_filter ? published.row_filter : "true");
        table_published_deinit(&published);
    }
    shape_release(&all);
    return read;
}

static struct row_reader make_reader(const struct aggregate_source *source,
                                     const struct catalog_table *table, PGconn *conn,
                                     struct buf *from) {
    struct buf expressions[COLUMNS_MAX] = {0};
    const char *texts[COLUMNS_MAX];
    for (uint16_t i = 0; i < source->n; i++) {
        append_expression(&source->aggregates[i], &expressions[i]);
        texts[i] = buf_text(&expressions[i]);
    }
    struct row_reader reader = aggregate_reader_create(
        &(struct aggregate_reader_config){.conn = conn,
                                          .shape = make_shape(source, table),
                                          .from = buf_text(from),
                                          .expressions = texts});
    for (uint16_t i = 0; i < source->n; i++)
        buf_deinit(&expressions[i]);
    return reader;
}

static bool open_reader(void *self, struct row_reader *reader, struct error *err) {
    const struct aggregate_source *source = self;
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    struct buf from = {0};
    struct catalog *catalog = NULL;
    /* All groups are counted in one statement. */
    bool ready = pg_exec(conn, "SET row_security = off; SET statement_timeout = 0", err) &&
                 (catalog = catalog_load(conn, err)) != NULL;
    const struct catalog_table *table =
        ready ? catalog_find(catalog, source->schema, source->table) : NULL;
    ready =
        ready && check_table(source, table, err) && append_from(source, table, conn, &from, err);
    if (ready)
        *reader = make_reader(source, table, conn, &from);
    else
        PQfinish(conn);
    catalog_destroy(&catalog);
    buf_deinit(&from);
    return ready;
}

struct source aggregate_source_as_source(struct aggregate_source *source) {
    static const struct source_ops ops = {.prepare = prepare,
                                          .load_floor = load_floor,
                                          .follows = follows,
                                          .touch = touch,
                                          .reread = reread,
                                          .tables_now = tables_now,
                                          .open_reader = open_reader};
    return (struct source){.ops = &ops, .self = source};
}
