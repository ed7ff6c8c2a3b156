/* pushdown.h: what of a table's shape the server can do for us in the publication (PostgreSQL 15 and newer): a column list,
 * a row filter. What it does is neither read from the WAL's transactions nor sent.
 *
 *     pushdown_plan(config, table, server_version, arena, &planned)       into a publication_table
 *
 * Only where it harms nobody: never a list that lacks a column of the replica identity, nor a filter over others, for then
 * the application's UPDATE and DELETE would fail; and a list only where columns are named one by one, since a column
 * that is added later would be missing until the list has it. And nothing where caches follow our invalidations: they need
 * every row, and every unique column. All else is done here. Pure. */
#ifndef FRESHET_CDC_PUSHDOWN_H
#define FRESHET_CDC_PUSHDOWN_H

#include "base/arena.h"
#include "base/publication.h"
#include "cdc/publish/publisher.h"

enum { PUSHDOWN_VERSION = 150000 };

/* Fills in *out's columns and row_filter; those it leaves zero where the server is to send all. */
void pushdown_plan(const struct publisher_config *config, const struct catalog_table *table,
                   int server_version, struct arena *arena, struct publication_table *out);

#endif
