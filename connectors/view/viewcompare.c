#include "connectors/view/viewcompare.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"
#include "connectors/view/arrays.h"
#include "connectors/view/groupkey.h"

enum { SCAN_PAGE = 2000 };

/* Before the row's columns in a result. */
enum { FIELD_WRITE, FIELD_PLACE, FIRST_VALUE };

/* What a key should have, and has: sums over its rows, whose order says nothing. */
struct side {
    uint64_t rows;
    uint64_t content;
};

struct comparison {
    struct viewtable *target;
    struct batch *batch;
    struct sink_entry *entries;
    struct side *found;
};

/* ---- contents ---- */

static uint64_t hash_value(const struct shape *shape, uint16_t column, const struct value *value,
                           uint64_t seed) {
    if (value->kind != VALUE_TEXT) return XXH3_64bits_withSeed("", 0, seed + 1);
    size_t len = value->len;
    /* 13.00 is what is left of 12.50 and 0.5, though 13.0 would be counted: a sum keeps the longest scale that it has seen. */
    if (shape->deltas && column >= shape->n_keys && memchr(value->data, '.', len)) {
        while (value->data[len - 1] == '0')
            len--;
        if (value->data[len - 1] == '.') len--;
    }
    return XXH3_64bits_withSeed(value->data, len, seed);
}

static uint64_t hash_row(const struct shape *shape, const struct value *row) {
    uint64_t hash = 0;
    for (uint16_t i = 0; i < shape->n_columns; i++)
        hash = hash_value(shape, i, &row[i], hash + i);
    return hash;
}

static void take_row(const struct shape *shape, const PGresult *rows, int row, int first,
                     struct value *values) {
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        bool null = PQgetisnull(rows, row, first + i);
        values[i] = (struct value){.kind = null ? VALUE_NULL : VALUE_TEXT,
                                   .len = (uint32_t)PQgetlength(rows, row, first + i),
                                   .data = PQgetvalue(rows, row, first + i)};
    }
}

static struct side wanted_side(const struct shape *shape, const struct write *write) {
    struct side side = {0};
    if (write->operation != WRITE_PUT || write->vanished) return side;
    for (uint32_t i = 0; i < write->n_rows; i++) {
        side.rows++;
        side.content += hash_row(shape, &write->row[(size_t)i * shape->n_columns]);
    }
    return side;
}

/* ---- what is there ---- */

/* The parts of a key as the elements of arrays, and the write's place behind them. False: the key has a NULL, or has none. */
static bool add_key(const struct shape *shape, struct slice key, struct arrays *arrays) {
    struct buf part = {0};
    bool whole = true;
    for (uint16_t k = 0; k < shape->n_keys; k++) {
        part.len = 0;
        if (groupkey_take(shape, &key, &part)) {
            pgarray_add(&arrays->literals[k], buf_slice(&part));
        } else {
            pgarray_add_null(&arrays->literals[k]);
            whole = false;
        }
    }
    buf_deinit(&part);
    return whole;
}

static bool has_null(const struct shape *shape, struct slice key) {
    struct buf part = {0};
    bool null = false;
    for (uint16_t k = 0; k < shape->n_keys && shape->deltas; k++)
        null |= !groupkey_take(shape, &key, &part);
    buf_deinit(&part);
    return null;
}

static void add_number(struct arrays *arrays, uint16_t column, size_t number) {
    char *text = mem_printf("%zu", number);
    pgarray_add(&arrays->literals[column], slice_from(text));
    mem_free(text);
}

static void compose_find(const struct comparison *comparison, bool nulls, struct buf *sql) {
    const struct viewtable *target = comparison->target;
    const struct shape *shape = comparison->batch->shape;
    buf_printf(sql, "SELECT r.v%u, t.tableoid::text || t.ctid::text || t.xmin::text",
               shape->n_keys + 1u);
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        buf_append_text(sql, ", t.");
        pg_quote_ident(sql, shape->columns[i].name);
    }
    buf_append_text(sql, " FROM ");
    arrays_append_relation(sql, (uint16_t)(shape->n_keys + 1));
    buf_append_text(sql, " JOIN ");
    pg_quote_table(sql, target->schema, target->table);
    for (uint16_t k = 0; k < shape->n_keys; k++) {
        buf_append_text(sql, k ? " AND t." : " AS t ON t.");
        pg_quote_ident(sql, shape->columns[shape->keys[k]].name);
        buf_printf(sql, " %s r.v%u::%s", nulls ? "IS NOT DISTINCT FROM" : "=", k + 1u,
                   target->columns[shape->keys[k]].type);
    }
}

static void take_found(const struct comparison *comparison, const PGresult *rows) {
    const struct shape *shape = comparison->batch->shape;
    struct value *values = mem_calloc(shape->n_columns, sizeof *values);
    for (int i = 0; i < PQntuples(rows); i++) {
        size_t at = strtoull(PQgetvalue(rows, i, FIELD_WRITE), NULL, 10);
        take_row(shape, rows, i, FIRST_VALUE, values);
        comparison->found[at].rows++;
        comparison->found[at].content += hash_row(shape, values);
        comparison->entries[at].found = true;
        comparison->entries[at].digest += XXH3_64bits(PQgetvalue(rows, i, FIELD_PLACE),
                                                      (size_t)PQgetlength(rows, i, FIELD_PLACE));
    }
    mem_free(values);
}

/* Of the writes whose keys have NULLs, or have none: an index serves those alone. */
static bool find(const struct comparison *comparison, bool nulls, struct error *err) {
    const struct batch *batch = comparison->batch;
    uint16_t n_keys = batch->shape->n_keys;
    struct arrays arrays;
    struct buf sql = {0};
    char sqlstate[6];
    size_t n = 0;
    arrays_init(&arrays, (uint16_t)(n_keys + 1));
    for (size_t i = 0; i < batch->n_writes; i++) {
        if (has_null(batch->shape, batch->writes[i].key) != nulls) continue;
        (void)!add_key(batch->shape, batch->writes[i].key, &arrays);
        add_number(&arrays, n_keys, i);
        n++;
    }
    compose_find(comparison, nulls, &sql);
    PGresult *rows = n ? arrays_run(comparison->target->conn, &sql, &arrays, sqlstate, err) : NULL;
    if (rows) take_found(comparison, rows);
    PQclear(rows);
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    return n == 0 || rows != NULL;
}

/* ---- what should be there, in the table's own types ---- */

static bool same_types(const struct viewtable *target, const struct shape *shape) {
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        const char *type = shape->columns[i].type_name;
        if (!type || strcmp(type, target->columns[i].exact_type) != 0) return false;
    }
    return true;
}

/* The rows of these writes, as the table would have them, into their sides. False: a value is none of its column's type. */
static bool cast(const struct comparison *comparison, const size_t *places, size_t n,
                 struct side *wanted, struct error *err) {
    const struct shape *shape = comparison->batch->shape;
    struct arrays arrays;
    struct buf sql = {0};
    char sqlstate[6];
    arrays_init(&arrays, (uint16_t)(shape->n_columns + 1));
    for (size_t i = 0; i < n; i++) {
        const struct write *write = &comparison->batch->writes[places[i]];
        for (uint32_t r = 0; r < write->n_rows; r++) {
            add_number(&arrays, shape->n_columns, i);
            for (uint16_t c = 0; c < shape->n_columns; c++)
                arrays_add(&arrays, c, &write->row[(size_t)r * shape->n_columns + c]);
        }
    }
    buf_printf(&sql, "SELECT r.v%u", shape->n_columns + 1u);
    for (uint16_t i = 0; i < shape->n_columns; i++)
        buf_printf(&sql, ", r.v%u::%s", i + 1u, comparison->target->columns[i].exact_type);
    buf_append_text(&sql, " FROM ");
    arrays_append_relation(&sql, (uint16_t)(shape->n_columns + 1));
    PGresult *rows = arrays_run(comparison->target->conn, &sql, &arrays, sqlstate, err);
    struct value *values = mem_calloc(shape->n_columns, sizeof *values);
    for (int i = 0; rows && i < PQntuples(rows); i++) {
        struct side *side = &wanted[strtoull(PQgetvalue(rows, i, 0), NULL, 10)];
        take_row(shape, rows, i, 1, values);
        side->rows++;
        side->content += hash_row(shape, values);
    }
    mem_free(values);
    PQclear(rows);
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    return rows != NULL;
}

static bool equal_sides(const struct side *a, const struct side *b) {
    return a->rows == b->rows && a->content == b->content;
}

/* Each alone, since one that the table cannot have, and does not, spoils the statement for all. */
static void look_closer(const struct comparison *comparison, const size_t *places, size_t n) {
    struct side *wanted = mem_calloc(n, sizeof *wanted);
    struct error ignored; /* then it differs */
    if (cast(comparison, places, n, wanted, &ignored)) {
        for (size_t i = 0; i < n; i++)
            comparison->entries[places[i]].equal =
                equal_sides(&wanted[i], &comparison->found[places[i]]);
    } else if (n > 1) {
        look_closer(comparison, places, n / 2);
        look_closer(comparison, places + n / 2, n - n / 2);
    }
    mem_free(wanted);
}

static void judge(const struct comparison *comparison) {
    const struct batch *batch = comparison->batch;
    size_t *unequal = mem_calloc(batch->n_writes, sizeof *unequal);
    size_t n = 0;
    for (size_t i = 0; i < batch->n_writes; i++) {
        struct side wanted = wanted_side(batch->shape, &batch->writes[i]);
        comparison->entries[i].equal = equal_sides(&wanted, &comparison->found[i]);
        if (!comparison->entries[i].equal && comparison->found[i].rows && wanted.rows)
            unequal[n++] = i;
    }
    if (n && !comparison->target->begun && !same_types(comparison->target, batch->shape))
        look_closer(comparison, unequal, n);
    mem_free(unequal);
}

bool viewcompare_rows(struct viewtable *target, struct batch *batch, struct sink_entry *entries,
                      struct error *err) {
    struct comparison comparison = {.target = target, .batch = batch, .entries = entries};
    if (batch->n_writes == 0) return true;
    if (!viewtable_attach(target, batch->shape, err)) return false;
    comparison.found = mem_calloc(batch->n_writes, sizeof *comparison.found);
    memset(entries, 0, batch->n_writes * sizeof *entries);
    bool done = find(&comparison, false, err) && find(&comparison, true, err);
    if (done) judge(&comparison);
    mem_free(comparison.found);
    return done;
}

/* ---- keys ---- */

/* A snapshot of them, kept by the server beyond its transaction: rows are compared and written again meanwhile. */
static bool begin_scan(struct viewtable *target, const struct shape *shape, struct error *err) {
    struct buf sql = {0};
    struct error ignored; /* there is none of before */
    if (!viewtable_attach(target, shape, err)) return false;
    (void)!pg_exec(target->conn, "CLOSE freshet_keys", &ignored);
    buf_append_text(&sql, "DECLARE freshet_keys CURSOR WITH HOLD FOR SELECT DISTINCT ");
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        if (i) buf_append_text(&sql, ", ");
        pg_quote_ident(&sql, shape->columns[shape->keys[i]].name);
    }
    buf_append_text(&sql, " FROM ");
    pg_quote_table(&sql, target->schema, target->table);
    bool begun = pg_exec(target->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    return begun;
}

bool viewcompare_scan(struct viewtable *target, const struct shape *shape, bool first,
                      struct key_page *page, struct error *err) {
    if (first && !begin_scan(target, shape, err)) return false;
    char *sql = mem_printf("FETCH %d FROM freshet_keys", SCAN_PAGE);
    PGresult *rows = pg_query(target->conn, sql, err);
    mem_free(sql);
    if (!rows) return false;
    struct value *values = mem_calloc(shape->n_columns, sizeof *values);
    struct buf key = {0};
    for (int i = 0; i < PQntuples(rows); i++) {
        for (uint16_t k = 0; k < shape->n_keys; k++)
            values[shape->keys[k]] =
                (struct value){.kind = PQgetisnull(rows, i, k) ? VALUE_NULL : VALUE_TEXT,
                               .len = (uint32_t)PQgetlength(rows, i, k),
                               .data = PQgetvalue(rows, i, k)};
        key.len = 0;
        groupkey_append(shape, values, &key);
        key_page_add(page, buf_slice(&key));
    }
    bool ended = PQntuples(rows) == 0;
    buf_deinit(&key);
    mem_free(values);
    PQclear(rows);
    return !ended || pg_exec(target->conn, "CLOSE freshet_keys", err);
}

/* ---- ranges ---- */

/* By the names that the source has for the columns, as ranges are asked for. */
static void append_from(const struct viewtable *target, const struct shape *shape,
                        struct buf *sql) {
    buf_append_text(sql, "FROM (SELECT ");
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (i) buf_append_text(sql, ", ");
        pg_quote_ident(sql, shape->columns[i].name);
        buf_append_text(sql, " AS ");
        pg_quote_ident(sql, shape->columns[i].source);
    }
    buf_append_text(sql, " FROM ");
    pg_quote_table(sql, target->schema, target->table);
    buf_append_text(sql, ") AS t WHERE true");
}

bool viewcompare_digest(struct viewtable *target, const struct shape *shape,
                        const struct key_range *range, struct range_digest *digest,
                        struct error *err) {
    struct buf from = {0};
    if (!viewtable_attach(target, shape, err)) return false;
    append_from(target, shape, &from);
    struct ranged_table table = {target->conn, buf_slice(&from), shape};
    bool done = key_range_digest(&table, range, digest, err);
    buf_deinit(&from);
    return done;
}

bool viewcompare_range_keys(struct viewtable *target, const struct shape *shape,
                            const struct key_range *range, struct key_page *page,
                            struct error *err) {
    struct buf from = {0};
    if (!viewtable_attach(target, shape, err)) return false;
    append_from(target, shape, &from);
    struct ranged_table table = {target->conn, buf_slice(&from), shape};
    bool done = key_range_keys(&table, range, page, err);
    buf_deinit(&from);
    return done;
}

/* ---- writing beside the stream ---- */

/* The stream's transaction has the table's ROW EXCLUSIVE lock from its first write to its commit. Behind our waiting the stream
 * waits, too: so not for long, though longer than an autovacuum takes to give way (deadlock_timeout). */
bool viewcompare_hold(struct viewtable *target, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SET LOCAL lock_timeout = '1500ms'; LOCK TABLE ");
    pg_quote_table(&sql, target->schema, target->table);
    buf_append_text(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    bool held = viewtable_begin(target, err) && pg_exec(target->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (held) return true;
    struct error ignored;
    (void)!viewcompare_release(target, false, &ignored);
    err->retriable = true;
    return false;
}

bool viewcompare_release(struct viewtable *target, bool keep, struct error *err) {
    bool done = target->begun ? pg_exec(target->conn, keep ? "COMMIT" : "ROLLBACK", err)
                              : error_set(err, ERROR_UNAVAILABLE, true,
                                          "table %s.%s: the connection that held it was lost",
                                          target->schema, target->table);
    target->begun = target->written = false;
    return done;
}
