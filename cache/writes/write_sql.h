/* write_sql.h: the SQL of a write's operation: one statement, one row of a result, whatever became of it.
 *
 *     write_sql_compose(op, &sql);
 *     n = write_sql_parameters(op, params);                 WRITE_SQL_MAX_PARAMETERS of them at the most
 *     image = write_sql_image(op->result, op->table, WRITE_SQL_NEW)
 *
 * Values are parameters without a type: PostgreSQL takes them for their columns'. What the keys of caches need to know of a
 * row, before and after, is its *image*: the identities (keytype.h) of its primary key, of its exact unique keys, and of
 * the columns that named queries depend on, one behind the other, NULL where there is none.
 *
 * Pure. */
#ifndef FRESHET_CACHE_WRITE_SQL_H
#define FRESHET_CACHE_WRITE_SQL_H

#include "base/buf.h"
#include "cache/writes/write.h"

/* Columns of the result. */
enum {
    WRITE_SQL_FITS,  /* JSON kinds: its key columns are those of the key */
    WRITE_SQL_FOUND, /* the row was there before */
    WRITE_SQL_EXTRA, /* WRITE_UPDATE: how many columns were NULL; WRITE_ADD: the new value */
    WRITE_SQL_XID,   /* NULL: nothing was written */
    WRITE_SQL_IMAGE, /* the row after, then before */
};

enum { WRITE_SQL_MAX_PARAMETERS = ROWKEY_MAX_COLUMNS + 1600 };

/* Appends it, NUL-terminated. Of kinds that change rows alone. */
void write_sql_compose(const struct write_op *op, struct buf *sql);
/* SELECT ... FOR NO KEY UPDATE of the operation's row: nobody else changes it before the transaction's end. */
void write_sql_compose_hold(const struct write_op *op, struct buf *sql);
int write_sql_parameters(const struct write_op *op, const char **parameters);

/* How many columns an image has. */
int write_sql_image_width(const struct table *table);

#endif
