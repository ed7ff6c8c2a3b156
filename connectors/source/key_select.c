#include "connectors/source/key_select.h"

#include <string.h>

#include "base/arena.h"
#include "base/pg.h"

enum { ARENA_BLOCK_BYTES = 16 * 1024 };

struct selection {
    PGconn *conn;
    struct slice select;
    const struct shape *shape;
    const struct slice *keys;
    key_select_take *take;
    void *arg;
    struct arena *arena;
};

void key_select_columns(const struct shape *shape, struct buf *sql) {
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        if (i) buf_append_text(sql, ", ");
        pg_quote_ident(sql, shape->columns[shape->keys[i]].source);
    }
}

void key_select_operand(const struct shape *shape, struct buf *sql) {
    buf_append_text(sql, shape->n_keys > 1 ? "(" : "");
    key_select_columns(shape, sql);
    buf_append_text(sql, shape->n_keys > 1 ? ")" : "");
}

void key_select_params(const struct shape *shape, size_t first, struct buf *sql) {
    buf_append_text(sql, shape->n_keys > 1 ? "(" : "");
    for (uint16_t i = 0; i < shape->n_keys; i++)
        buf_printf(sql, "%s$%zu", i ? ", " : "", first + i);
    buf_append_text(sql, shape->n_keys > 1 ? ")" : "");
}

/* The values of the key's columns; false where the text is that of no key. */
static bool split(const struct selection *selection, struct slice key, const char **params) {
    const struct shape *shape = selection->shape;
    if (key.len && memchr(key.data, '\0', key.len)) return false;
    struct buf id = {0};
    struct buf part = {0};
    shape_split_key(shape, key, &id, &part);
    struct slice rest = buf_slice(&id);
    size_t colons = 0;
    for (size_t i = 0; i < rest.len; i++)
        colons += rest.data[i] == ':';
    bool whole = shape->n_keys == 1 || colons == shape->n_keys - 1u;
    for (uint16_t i = 0; i < shape->n_keys && whole; i++) {
        part.len = 0;
        if (rest.len) shape_take_key(shape, &rest, &part);
        params[i] = arena_dup(selection->arena, buf_slice(&part)).data;
    }
    buf_deinit(&id);
    buf_deinit(&part);
    return whole;
}

static size_t compose(const struct selection *selection, size_t from, size_t to,
                      const char **params, struct buf *sql) {
    size_t n = 0;
    buf_append_slice(sql, selection->select);
    buf_append_text(sql, " AND ");
    key_select_operand(selection->shape, sql);
    buf_append_text(sql, " IN (");
    for (size_t i = from; i < to; i++) {
        if (!split(selection, selection->keys[i], params + n)) continue;
        if (n) buf_append_text(sql, ", ");
        key_select_params(selection->shape, n + 1, sql);
        n += selection->shape->n_keys;
    }
    buf_append_char(sql, ')');
    return n;
}

/* keys[from, to) in one statement. *none: some of them have no text that their columns' types take. */
static bool select_at_once(const struct selection *selection, size_t from, size_t to, bool *none,
                           struct error *err) {
    const char **params =
        arena_alloc(selection->arena, (to - from) * selection->shape->n_keys * sizeof *params);
    struct buf sql = {0};
    size_t n = compose(selection, from, to, params, &sql);
    bool done = n == 0;
    *none = false;
    if (n) {
        PGresult *rows =
            PQexecParams(selection->conn, buf_text(&sql), (int)n, NULL, params, NULL, NULL, 0);
        const char *state = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
        *none = state && strncmp(state, "22", 2) == 0; /* data exception */
        done = PQresultStatus(rows) == PGRES_TUPLES_OK;
        if (done) {
            selection->take(selection->arg, rows);
        } else {
            pg_error(err, selection->conn, rows, "reading rows by their keys");
            PQclear(rows);
        }
    }
    buf_deinit(&sql);
    return done;
}

/* A key that is no value of its column's type spoils the statement: halves tell which it is. */
static bool select_range(const struct selection *selection, size_t from, size_t to,
                         struct error *err) {
    bool none;
    if (from == to || select_at_once(selection, from, to, &none, err)) return true;
    if (!none || to - from == 1) return none;
    size_t middle = from + (to - from) / 2;
    return select_range(selection, from, middle, err) && select_range(selection, middle, to, err);
}

bool key_select(PGconn *conn, struct slice select, const struct shape *shape,
                const struct slice *keys, size_t n, key_select_take *take, void *arg,
                struct error *err) {
    struct selection selection = {.conn = conn,
                                  .select = select,
                                  .shape = shape,
                                  .keys = keys,
                                  .take = take,
                                  .arg = arg,
                                  .arena = arena_create(ARENA_BLOCK_BYTES)};
    bool done = select_range(&selection, 0, n, err);
    arena_destroy(&selection.arena);
    return done;
}
