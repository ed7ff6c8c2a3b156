/* matviews.h: materialized views of a database: which tables each reads, through other views too, and in which order they are to
 * be refreshed.
 *
 *     struct matviews *views = matviews_load(conn, n, names, err);
 *     matviews_destroy(&views);
 *
 * Immutable. Blocking. */
#ifndef FRESHET_CONNECTORS_REFRESH_MATVIEWS_H
#define FRESHET_CONNECTORS_REFRESH_MATVIEWS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct matview {
    char *schema;
    char *name;
    char *qualified; /* "public.totals": its key */
    bool populated;
    bool owned;      /* by our role, or one that it is of */
    bool concurrent; /* it has a unique index, as REFRESH ... CONCURRENTLY wants */
    uint32_t n_tables;
    uint32_t *tables; /* by OID; partitions by their root */
};

struct matviews {
    uint32_t n;
    struct matview *views; /* each after those that it reads */
};

/* `names`: "schema.name", or the name of one in public. NULL: one is not there, *err says which. */
struct matviews *matviews_load(PGconn *conn, uint32_t n, const char *const *names,
                               struct error *err);
void matviews_destroy(struct matviews **views);

bool matviews_reads(const struct matview *view, uint32_t table);

#endif
