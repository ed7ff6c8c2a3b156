#include "connectors/source/table_reader.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/pg.h"
#include "connectors/source/key_select.h"

enum {
    FIRST_COLUMN_LISTS = 150000,
    FIRST_PUBLISHED_GENERATED = 180000,
};

/* Before the row's columns in a result. */
enum { FIELD_PLACE, FIELD_XMIN, FIELD_FLUX, FIRST_VALUE };

struct reader {
    PGconn *conn;
    struct shape *shape;
    struct buf columns;
    struct buf from;   /* "FROM table WHERE ...": AND follows */
    struct buf select; /* both: "SELECT ... FROM table WHERE ..." */
    bool has_last;     /* false: before the first page */
    struct buf last;   /* the last row's key */
};

/* ---- what is published ---- */

static bool names_column(const PGresult *rows, const char *name) {
    for (int i = 0; i < PQntuples(rows); i++) {
        if (strcmp(PQgetvalue(rows, i, 0), name) == 0) return true;
    }
    return false;
}

/* Each published column, and the filter beside it. */
static PGresult *query_published(PGconn *conn, const char *publication, const struct shape *all,
                                 struct error *err) {
    int version = PQserverVersion(conn);
    struct buf sql = {0};
    buf_append_text(&sql, "SELECT a.attname, ");
    buf_append_text(&sql, version >= FIRST_COLUMN_LISTS ? "p.rowfilter" : "NULL");
    buf_append_text(&sql, " FROM pg_catalog.pg_publication_tables p "
                          "JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname "
                          "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid "
                          "AND c.relname = p.tablename "
                          "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
                          "AND a.attnum > 0 AND NOT a.attisdropped "
                          "WHERE p.pubname = $1 AND p.schemaname = $2 AND p.tablename = $3");
    if (version >= FIRST_COLUMN_LISTS) buf_append_text(&sql, " AND a.attname = ANY(p.attnames)");
    if (version < FIRST_PUBLISHED_GENERATED) buf_append_text(&sql, " AND a.attgenerated = ''");
    const char *params[] = {publication, all->schema, all->table};
    PGresult *rows = pg_query_params(conn, buf_text(&sql), 3, params, err);
    buf_deinit(&sql);
    return rows;
}

/* NULL: a column of the key is not published. */
static struct shape *narrow(const struct shape *all, const PGresult *rows) {
    struct shape_column *columns = mem_calloc(all->n_columns + 1u, sizeof *columns);
    uint16_t *keys = mem_calloc(all->n_keys, sizeof *keys);
    uint16_t n = 0;
    uint16_t n_keys = 0;
    for (uint16_t i = 0; i < all->n_columns; i++) {
        if (!names_column(rows, all->columns[i].source)) continue;
        for (uint16_t k = 0; k < all->n_keys; k++) {
            if (all->keys[k] != i) continue;
            keys[k] = n;
            n_keys++;
        }
        columns[n++] = all->columns[i];
    }
    struct shape *shape = n_keys == all->n_keys
                              ? shape_create(all->schema, all->table, n, columns, n_keys, keys)
                              : NULL;
    mem_free(columns);
    mem_free(keys);
    return shape;
}

bool table_published_read(PGconn *conn, const char *publication, const struct shape *all,
                          struct table_published *published, struct error *err) {
    *published = (struct table_published){0};
    PGresult *rows = query_published(conn, publication, all, err);
    if (!rows) return false;
    published->shape = narrow(all, rows);
    if (published->shape && !PQgetisnull(rows, 0, 1))
        published->row_filter = mem_strdup(PQgetvalue(rows, 0, 1));
    PQclear(rows);
    return published->shape ||
           error_set(err, ERROR_CONFLICT, true, "publication \"%s\" does not hold table %s.%s",
                     publication, all->schema, all->table);
}

void table_published_deinit(struct table_published *published) {
    shape_release(&published->shape);
    mem_free(published->row_filter);
    published->row_filter = NULL;
}

/* ---- statements ---- */

static void compose(struct reader *reader, const char *row_filter, bool partitioned) {
    const struct shape *shape = reader->shape;
    struct buf *columns = &reader->columns;
    struct buf *from = &reader->from;
    buf_append_text(columns, "tableoid::text || ctid::text || xmin::text, xmin::text, "
                             "xmax::text <> '0'");
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        buf_append_text(columns, ", ");
        pg_quote_ident(columns, shape->columns[i].source);
    }
    buf_append_text(from, partitioned ? "FROM " : "FROM ONLY ");
    pg_quote_table(from, shape->schema, shape->table);
    buf_printf(from, " WHERE (%s)", row_filter ? row_filter : "true");
    buf_printf(&reader->select, "SELECT %s %s", buf_text(columns), buf_text(from));
}

/* ---- rows ---- */

static void take_values(const struct reader *reader, const PGresult *rows, int row,
                        struct value *values) {
    for (uint16_t i = 0; i < reader->shape->n_columns; i++) {
        int field = FIRST_VALUE + i;
        if (PQgetisnull(rows, row, field))
            values[i] = (struct value){.kind = VALUE_NULL};
        else
            values[i] = (struct value){.kind = VALUE_TEXT,
                                       .len = (uint32_t)PQgetlength(rows, row, field),
                                       .data = PQgetvalue(rows, row, field)};
    }
}

static void put(const struct reader *reader, const PGresult *rows, int row, struct slice key,
                struct value *values, struct batch *batch) {
    struct write_stamp none = {0};
    take_values(reader, rows, row, values);
    batch_put(batch, key, &none, values, NULL);
}

static struct reader_row describe(const PGresult *rows, int row) {
    struct slice place =
        slice_make(PQgetvalue(rows, row, FIELD_PLACE), (size_t)PQgetlength(rows, row, FIELD_PLACE));
    return (struct reader_row){
        .identity = XXH3_64bits(place.data, place.len) | 1,
        .xmin = (uint32_t)strtoul(PQgetvalue(rows, row, FIELD_XMIN), NULL, 10),
        .in_flux = PQgetvalue(rows, row, FIELD_FLUX)[0] == 't',
    };
}

static struct ranged_table ranged(struct reader *reader) {
    return (struct ranged_table){
        .conn = reader->conn, .from = buf_slice(&reader->from), .shape = reader->shape};
}

static bool reader_rows(void *self, const struct key_range *range, uint32_t limit,
                        struct batch **batch, struct error *err) {
    struct reader *reader = self;
    const struct shape *shape = reader->shape;
    struct ranged_table table = ranged(reader);
    struct buf tail = {0};
    buf_append_text(&tail, " ORDER BY ");
    key_select_columns(shape, &tail);
    buf_printf(&tail, " LIMIT %u", limit);
    PGresult *rows =
        key_range_select(&table, range, buf_text(&reader->columns), buf_text(&tail), err);
    buf_deinit(&tail);
    if (!rows) return false;
    *batch = batch_create(BATCH_WRITES, reader->shape, 0);
    struct value *values = mem_calloc(shape->n_columns, sizeof *values);
    struct buf key = {0};
    for (int i = 0; i < PQntuples(rows); i++) {
        key.len = 0;
        take_values(reader, rows, i, values);
        if (shape_append_key(shape, values, &key))
            put(reader, rows, i, buf_slice(&key), values, *batch);
    }
    buf_deinit(&key);
    mem_free(values);
    PQclear(rows);
    return true;
}

static bool reader_page(void *self, uint32_t limit, struct batch **batch, struct error *err) {
    struct reader *reader = self;
    struct key_range range = {.after = buf_slice(&reader->last), .has_after = reader->has_last};
    if (!reader_rows(reader, &range, limit, batch, err)) return false;
    size_t n = (*batch)->n_writes;
    if (n == 0) return true;
    reader->last.len = 0;
    buf_append_slice(&reader->last, (*batch)->writes[n - 1].key);
    reader->has_last = true;
    return true;
}

static struct shape *reader_shape(void *self) {
    const struct reader *reader = self;
    return reader->shape;
}

static bool reader_bound(void *self, const struct key_range *range, uint32_t n, struct buf *key,
                         bool *found, struct error *err) {
    struct ranged_table table = ranged(self);
    return key_range_bound(&table, range, n, key, found, err);
}

static bool reader_collations(void *self, struct buf *out, struct error *err) {
    const struct reader *reader = self;
    const struct shape *shape = reader->shape;
    return key_range_collations(reader->conn, shape->schema, shape->table, shape, true, out, err);
}

static bool reader_digest(void *self, const struct key_range *range, struct range_digest *digest,
                          struct error *err) {
    struct ranged_table table = ranged(self);
    return key_range_digest(&table, range, digest, err);
}

/* ---- rows by their keys ---- */

/* Rows that were found, by the text of their key. */
struct found {
    struct slice key; /* in the arena */
    PGresult *rows;
    int row;
};

struct finding {
    struct reader *reader;
    const struct slice *keys;
    struct arena *arena;
    struct value *values;
    struct found *found;
    size_t n_found;
    PGresult **results; /* that hold them */
    size_t n_results;
};

static int compare_found(const void *a, const void *b) {
    return slice_compare(((const struct found *)a)->key, ((const struct found *)b)->key);
}

static void take_found(void *arg, PGresult *rows) {
    struct finding *finding = arg;
    const struct shape *shape = finding->reader->shape;
    struct buf key = {0};
    finding->results[finding->n_results++] = rows;
    for (int i = 0; i < PQntuples(rows); i++) {
        key.len = 0;
        take_values(finding->reader, rows, i, finding->values);
        if (!shape_append_key(shape, finding->values, &key)) continue;
        finding->found[finding->n_found++] =
            (struct found){arena_dup(finding->arena, buf_slice(&key)), rows, i};
    }
    buf_deinit(&key);
}

static void compose_batch(struct finding *finding, size_t n, struct batch *batch,
                          struct reader_row *described) {
    struct write_stamp none = {0};
    if (finding->n_found)
        qsort(finding->found, finding->n_found, sizeof *finding->found, compare_found);
    for (size_t i = 0; i < n; i++) {
        struct found wanted = {.key = finding->keys[i]};
        const struct found *found = finding->n_found
                                        ? bsearch(&wanted, finding->found, finding->n_found,
                                                  sizeof *finding->found, compare_found)
                                        : NULL;
        if (found) {
            put(finding->reader, found->rows, found->row, finding->keys[i], finding->values, batch);
            described[i] = describe(found->rows, found->row);
        } else {
            batch_remove(batch, finding->keys[i], &none);
            described[i] = (struct reader_row){0};
        }
    }
}

static bool reader_find(void *self, const struct slice *keys, size_t n, struct batch **batch,
                        struct reader_row *rows, struct error *err) {
    struct reader *reader = self;
    struct finding finding = {.reader = reader, .keys = keys, .arena = arena_create(16 * 1024)};
    finding.values = arena_alloc(finding.arena, reader->shape->n_columns * sizeof *finding.values);
    /* Two texts may be equal to one value; rows that are found twice are the same. */
    finding.found = mem_calloc(2 * n + 1, sizeof *finding.found);
    finding.results = mem_calloc(2 * n + 1, sizeof *finding.results);
    bool done = key_select(reader->conn, buf_slice(&reader->select), reader->shape, keys, n,
                           take_found, &finding, err);
    if (done) {
        *batch = batch_create(BATCH_WRITES, reader->shape, 0);
        compose_batch(&finding, n, *batch, rows);
    }
    for (size_t i = 0; i < finding.n_results; i++)
        PQclear(finding.results[i]);
    mem_free(finding.results);
    mem_free(finding.found);
    arena_destroy(&finding.arena);
    return done;
}

static bool reader_moment(void *self, struct reader_moment *moment, struct error *err) {
    const struct reader *reader = self;
    return row_reader_moment(reader->conn, moment, err);
}

static void reader_close(void *self) {
    struct reader *reader = self;
    PQfinish(reader->conn);
    shape_release(&reader->shape);
    buf_deinit(&reader->last);
    buf_deinit(&reader->columns);
    buf_deinit(&reader->from);
    buf_deinit(&reader->select);
    mem_free(reader);
}

struct row_reader table_reader_create(PGconn **conn, struct table_published *published,
                                      bool partitioned) {
    static const struct row_reader_ops ops = {.close = reader_close,
                                              .moment = reader_moment,
                                              .page = reader_page,
                                              .find = reader_find,
                                              .shape = reader_shape,
                                              .bound = reader_bound,
                                              .collations = reader_collations,
                                              .digest = reader_digest,
                                              .rows = reader_rows};
    struct reader *reader = mem_zalloc(sizeof *reader);
    reader->conn = *conn;
    *conn = NULL;
    reader->shape = published->shape;
    published->shape = NULL;
    compose(reader, published->row_filter, partitioned);
    table_published_deinit(published);
    return (struct row_reader){.ops = &ops, .self = reader};
}
