/* table_source.h: the source of a connector that follows one table of PostgreSQL.
 *
 *     struct table_source *source = table_source_create(&config, err);
 *     runtime ... table_source_as_source(source) ...
 *     table_source_destroy(&source);
 *
 * Two connections: a short one at each session's start (feed's thread) and one for reading rows again that is opened when
 * it is first needed (sender's thread). */
#ifndef FRESHET_CONNECTORS_TABLE_SOURCE_H
#define FRESHET_CONNECTORS_TABLE_SOURCE_H

#include <stdbool.h>

#include "base/catalog.h"
#include "base/error.h"
#include "base/log.h"
#include "connectors/connector.h"
#include "connectors/source.h"
#include "connectors/source/source_database.h"

/* What of a row a sink is given, and what its columns are for: see shape.h. */
struct table_parts {
    uint32_t n_choices; /* 0: all columns, as they are */
    const struct shape_choice *choices;
    const char *routing;  /* a column; NULL: none */
    const char *document; /* a column; NULL: none */
};

struct table_parts table_parts_of(const struct connector_config *config);

struct table_source_config {
    struct source_database database;
    const char *table; /* "public.users"; without a schema: public */
    struct table_parts parts;
};

struct table_source;

/* Copies the configuration. */
struct table_source *table_source_create(const struct table_source_config *config,
                                         struct error *err);
void table_source_destroy(struct table_source **source);

/* A new reference: the shape of the table's rows as the catalog has it. NULL: it cannot be followed, or not with these columns;
 * *choice is the one that is wrong, n_choices where it is none of them. */
struct shape *table_source_shape(const struct catalog_table *table, const struct table_parts *parts,
                                 uint32_t *choice, struct error *err);
struct source table_source_as_source(struct table_source *source);
/* As the last `prepare` found it; valid until the next. The feed's thread. */
const struct catalog_table *table_source_described(const struct table_source *source);

#endif
