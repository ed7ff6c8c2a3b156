/* tablemap_build.h: what the two builders of a map share: tables (tablemap.c), named queries (querymap.c). Private to them. */
#ifndef FRESHET_CACHE_TABLEMAP_BUILD_H
#define FRESHET_CACHE_TABLEMAP_BUILD_H

#include "base/arena.h"
#include "cache/rows/tablemap.h"

/* A map that is being made. */
struct tablemap_parts {
    struct arena *arena;
    const struct catalog *catalog;
    uint32_t n_tables;
    struct table *tables; /* named queries first */
};

/* Once all tables are there: named query i of the configuration. */
void tablemap_fill_query(const struct tablemap_parts *parts, const struct tablemap_plan *plan,
                         uint32_t i, struct table *table);

/* "schema.table", or "table" of public. */
bool tablemap_names_table(const char *written, const struct catalog_table *table);
bool tablemap_is_collated(const struct tablemap_plan *plan, uint32_t table_oid, int16_t attnum);
bool tablemap_is_streamed(const struct tablemap_plan *plan, const struct catalog_table *from,
                          uint16_t column);
/* The stream's coverage is part of what a kept row depends on. */
void tablemap_set_version(const struct tablemap_plan *plan, struct table *table);
/* What the stream never tells of is kept for a time: for so long as the user has said of it, or else for what memory may be
 * behind the database in any case. */
void tablemap_keep_by_ttl(const struct tablemap_plan *plan, bool configured, struct table *table);

#endif
