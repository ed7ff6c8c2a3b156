/* key_range.h: ranges of a table's key, and what stands in them in one number, for comparing two tables of PostgreSQL without
 * fetching their rows.
 *
 *     if (key_range_orders(shape)) ...                          both servers have the keys in one order
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

/* False: text is ordered by collations, which servers may have different ones of; or a key has many rows. */
bool key_range_orders(const struct shape *shape);

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
