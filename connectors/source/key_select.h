/* key_select.h: rows of PostgreSQL by the texts of their keys, for comparing: texts that no row could have among them.
 *
 *     key_select(conn, SLICE("SELECT ... FROM t WHERE true"), shape, keys, n, take, arg, err)
 *
 * Several statements, each with a snapshot of its own. */
#ifndef FRESHET_CONNECTORS_KEY_SELECT_H
#define FRESHET_CONNECTORS_KEY_SELECT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "connectors/document/shape.h"

/* Given the result (PQclear). */
typedef void key_select_take(void *arg, PGresult *rows);

/* `select` goes on with AND: rows whose key columns have these values are given in any order, in up to 2n results. A text that is
 * equal to no row's as text may find one that is equal as value: "007" finds 7. */
bool key_select(PGconn *conn, struct slice select, const struct shape *shape,
                const struct slice *keys, size_t n, key_select_take *take, void *arg,
                struct error *err) MUST_CHECK;

/* Its parts. "a, b": the key's columns; "(a, b)", or `a`; "($1, $2)", or "$1": parameters from `first` on. */
void key_select_columns(const struct shape *shape, struct buf *sql);
void key_select_operand(const struct shape *shape, struct buf *sql);
void key_select_params(const struct shape *shape, size_t first, struct buf *sql);

#endif
