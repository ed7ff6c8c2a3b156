#include "connectors/view/aggregate_reader.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"
#include "connectors/view/arrays.h"
#include "connectors/view/groupkey.h"

struct reader {
    PGconn *conn;
    struct shape *shape;
    char *from;
    struct buf columns; /* the expressions, with commas between */
    struct buf *groups; /* the key's: n_keys of them */
    bool begun;         /* the first page was asked for */
    struct value *row;
};

static void take_row(struct reader *reader, const PGresult *rows, int row, int first) {
    for (uint16_t i = 0; i < reader->shape->n_columns; i++) {
        bool null = PQgetisnull(rows, row, first + i);
        reader->row[i] = (struct value){.kind = null ? VALUE_NULL : VALUE_TEXT,
                                        .len = (uint32_t)PQgetlength(rows, row, first + i),
                                        .data = PQgetvalue(rows, row, first + i)};
    }
}

static void append_group_by(const struct reader *reader, struct buf *sql) {
    for (uint16_t k = 0; k < reader->shape->n_keys; k++)
        buf_printf(sql, "%s%s", k ? ", " : "", buf_text(&reader->groups[k]));
}

/* ---- all groups ---- */

/* Counted once, and kept by the server: what changes meanwhile is looked at again. */
static bool begin_pages(struct reader *reader, struct error *err) {
    struct buf sql = {0};
    buf_printf(&sql, "DECLARE freshet_groups CURSOR WITH HOLD FOR SELECT %s FROM %s GROUP BY ",
               buf_text(&reader->columns), reader->from);
    append_group_by(reader, &sql);
    reader->begun = pg_exec(reader->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    return reader->begun;
}

static bool reader_page(void *self, uint32_t limit, struct batch **batch, struct error *err) {
    struct reader *reader = self;
    struct write_stamp none = {0};
    struct buf key = {0};
    if (!reader->begun && !begin_pages(reader, err)) return false;
    char *sql = mem_printf("FETCH %u FROM freshet_groups", limit);
    PGresult *rows = pg_query(reader->conn, sql, err);
    mem_free(sql);
    if (!rows) return false;
    *batch = batch_create(BATCH_WRITES, reader->shape, 0);
    for (int i = 0; i < PQntuples(rows); i++) {
        key.len = 0;
        take_row(reader, rows, i, 0);
        groupkey_append(reader->shape, reader->row, &key);
        batch_put(*batch, buf_slice(&key), &none, reader->row, NULL);
    }
    buf_deinit(&key);
    PQclear(rows);
    return true;
}

/* ---- some of them ---- */

struct finding {
    struct reader *reader;
    const struct slice *keys;
    struct batch *found; /* in any order */
    size_t *places;      /* of each key, + 1: in `found`; 0: it is not there */
};

/* The parts of a key, and its number behind them. False: a part is NULL. */
static bool add_key(const struct shape *shape, struct slice key, size_t number,
                    struct arrays *arrays) {
    struct buf part = {0};
    bool whole = true;
    for (uint16_t k = 0; k < shape->n_keys; k++) {
        part.len = 0;
        bool null = !groupkey_take(shape, &key, &part);
        if (null || memchr(buf_text(&part), '\0', part.len))
            pgarray_add_null(&arrays->literals[k]);
        else
            pgarray_add(&arrays->literals[k], buf_slice(&part));
        whole &= !null;
    }
    buf_deinit(&part);
    char *text = mem_printf("%zu", number);
    pgarray_add(&arrays->literals[shape->n_keys], slice_from(text));
    mem_free(text);
    return whole;
}

static void compose_find(const struct reader *reader, bool nulls, struct buf *sql) {
    const struct shape *shape = reader->shape;
    buf_printf(sql, "SELECT r.v%u, %s FROM ", shape->n_keys + 1u, reader->columns.data);
    arrays_append_relation(sql, (uint16_t)(shape->n_keys + 1));
    buf_printf(sql, " JOIN %s ON ", reader->from);
    for (uint16_t k = 0; k < shape->n_keys; k++)
        buf_printf(sql, "%s%s %s r.v%u::%s", k ? " AND " : "", buf_text(&reader->groups[k]),
                   nulls ? "IS NOT DISTINCT FROM" : "=", k + 1u,
                   shape->columns[shape->keys[k]].type_name);
    buf_printf(sql, " GROUP BY 1, ");
    append_group_by(reader, sql);
}

static void take_found(const struct finding *finding, const PGresult *rows) {
    struct write_stamp none = {0};
    for (int i = 0; i < PQntuples(rows); i++) {
        size_t at = strtoull(PQgetvalue(rows, i, 0), NULL, 10);
        take_row(finding->reader, rows, i, 1);
        batch_put(finding->found, finding->keys[at], &none, finding->reader->row, NULL);
        finding->places[at] = finding->found->n_writes;
    }
}

/* keys[from, to) that have NULLs, or have none. */
static bool find_range(const struct finding *finding, size_t from, size_t to, bool nulls,
                       struct error *err) {
    struct reader *reader = finding->reader;
    struct buf sql = {0};
    char sqlstate[6] = "";
    size_t n = 0;
    struct arrays arrays;
    arrays_init(&arrays, (uint16_t)(reader->shape->n_keys + 1));
    for (size_t i = from; i < to; i++) {
        bool whole = !memmem(finding->keys[i].data, finding->keys[i].len, "%N", 2);
        if (whole == nulls) continue;
        (void)!add_key(reader->shape, finding->keys[i], i, &arrays);
        n++;
    }
    compose_find(reader, nulls, &sql);
    PGresult *rows = n ? arrays_run(reader->conn, &sql, &arrays, sqlstate, err) : NULL;
    if (rows) take_found(finding, rows);
    bool done = n == 0 || rows;
    PQclear(rows);
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    if (done || strncmp(sqlstate, "22", 2) != 0) return done;
    if (to - from == 1) return true; /* no value of its column's type: there is no such group */
    size_t middle = from + (to - from) / 2;
    return find_range(finding, from, middle, nulls, err) &&
           find_range(finding, middle, to, nulls, err);
}

static uint64_t identity_of(const struct shape *shape, const struct write *write) {
    uint64_t hash = 0;
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        bool text = write->row[i].kind == VALUE_TEXT;
        hash = XXH3_64bits_withSeed(text ? write->row[i].data : "", text ? write->row[i].len : 0,
                                    hash + text);
    }
    return hash | 1;
}

static bool reader_find(void *self, const struct slice *keys, size_t n, struct batch **batch,
                        struct reader_row *rows, struct error *err) {
    struct reader *reader = self;
    struct write_stamp none = {0};
    struct finding finding = {.reader = reader,
                              .keys = keys,
                              .found = batch_create(BATCH_WRITES, reader->shape, 0),
                              .places = mem_calloc(n + 1, sizeof *finding.places)};
    bool done = find_range(&finding, 0, n, false, err) && find_range(&finding, 0, n, true, err);
    if (done) *batch = batch_create(BATCH_WRITES, reader->shape, 0);
    for (size_t i = 0; i < n && done; i++) {
        const struct write *write =
            finding.places[i] ? &finding.found->writes[finding.places[i] - 1] : NULL;
        rows[i] = (struct reader_row){0};
        if (write) {
            rows[i] =
                (struct reader_row){.identity = identity_of(reader->shape, write), .in_flux = true};
            batch_copy(*batch, write, &none);
        } else {
            batch_remove(*batch, keys[i], &none);
        }
    }
    mem_free(finding.places);
    batch_destroy(&finding.found);
    return done;
}

/* ---- the rest ---- */

static bool reader_moment(void *self, struct reader_moment *moment, struct error *err) {
    const struct reader *reader = self;
    return row_reader_moment(reader->conn, moment, err);
}

static void reader_close(void *self) {
    struct reader *reader = self;
    PQfinish(reader->conn);
    for (uint16_t k = 0; k < reader->shape->n_keys; k++)
        buf_deinit(&reader->groups[k]);
    mem_free(reader->groups);
    buf_deinit(&reader->columns);
    mem_free(reader->from);
    mem_free(reader->row);
    shape_release(&reader->shape);
    mem_free(reader);
}

struct row_reader aggregate_reader_create(const struct aggregate_reader_config *config) {
    static const struct row_reader_ops ops = {
        .close = reader_close, .moment = reader_moment, .page = reader_page, .find = reader_find};
    struct reader *reader = mem_zalloc(sizeof *reader);
    reader->conn = config->conn;
    reader->shape = config->shape;
    reader->from = mem_strdup(config->from);
    reader->groups = mem_calloc(reader->shape->n_keys + 1u, sizeof *reader->groups);
    reader->row = mem_calloc(reader->shape->n_columns, sizeof *reader->row);
    for (uint16_t i = 0; i < reader->shape->n_columns; i++)
        buf_printf(&reader->columns, "%s%s", i ? ", " : "", config->expressions[i]);
    for (uint16_t k = 0; k < reader->shape->n_keys; k++)
        buf_append_text(&reader->groups[k], config->expressions[reader->shape->keys[k]]);
    return (struct row_reader){.ops = &ops, .self = reader};
}
