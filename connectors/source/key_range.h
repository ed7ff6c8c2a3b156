/* key_range.h: ranges of a table's key, and what stands in them in one number, for comparing two tables of PostgreSQL without
 * fetching their rows.
 *
 *     key_range_order(shape)                                    do both servers have the keys in one order?
 *     key_range_bound(&table, &range, 16000, &to, &more, err);  where the next 16000 rows end
 *     key_range_digest(&table, &range, &digest, err);           equal of two tables: their rows in the range are
 *     key_range_keys(&table, &range, &page, err);
 *
 * A digest is of the rows' texts, so both sessions must have the same settings of output. Blocking; one thread a connection. */
#ifndef FRESHET_CONNECTORS_KEY_RANGE_H
#define FRESHET_CONNECTORS_KEY_RANGE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "connectors/document/shape.h"
#include "connectors/source/key_page.h"

/* Keys as shape_append_key writes them. */
struct key_range {
    struct slice after; /* behind this one; empty and !has_after: from the first on */
    struct slice upto;  /* and up to this one, it included; !has_upto: to the last */
    bool has_after;
    bool has_upto;
};

struct range_digest {
    uint64_t rows;
    char sum[64]; /* of the rows' hashes */
};

struct ranged_table {
    PGconn *conn;
    struct slice from; /* "FROM ... WHERE ...": AND follows */
    const struct shape *shape;
};

enum key_order {
    KEY_ORDER_NONE,         /* types of which nothing is known here, or a key has many rows */
    KEY_ORDER_BY_COLLATION, /* text: where both sides have it by the same, as key_range_collations tells */
    KEY_ORDER_EVERYWHERE,
};

enum key_order key_range_order(const struct shape *shape);

/* By what a table orders the text of its key, appended: equal texts are one order. `source`: by the names that the source has for
 * the columns; false, by the shape's own. A collation is known to be another's where it is C, or of the same database. */
bool key_range_collations(PGconn *conn, const char *schema, const char *table,
                          const struct shape *shape, bool source, struct buf *out,
                          struct error *err) MUST_CHECK;

/* The n-th key of the range into `key`, which is emptied before. *found: there is one. */
bool key_range_bound(const struct ranged_table *table, const struct key_range *range, uint32_t n,
                     struct buf *key, bool *found, struct error *err) MUST_CHECK;
bool key_range_digest(const struct ranged_table *table, const struct key_range *range,
                      struct range_digest *digest, struct error *err) MUST_CHECK;
/* All of them. */
bool key_range_keys(const struct ranged_table *table, const struct key_range *range,
                    struct key_page *page, struct error *err) MUST_CHECK;
/* "SELECT `columns` `from` AND (in the range) `tail`": the rows are the caller's. */
PGresult *key_range_select(const struct ranged_table *table, const struct key_range *range,
                           const char *columns, const char *tail, struct error *err);

#endif
