/* tables.h: what a publisher knows of the database: its publication, and an event_table for each relation of the
 * stream, made from the Relation message and the catalog.
 *
 *     tables_prepare(tables, &facts, err)                 at each session's start: connect, read, publish
 *     table = tables_find(tables, change->relation, err)  at each change
 *
 * The feed's thread. Blocking, on a connection of its own that serves nothing else. */
#ifndef FRESHET_CDC_TABLES_H
#define FRESHET_CDC_TABLES_H

#include "base/change.h"
#include "base/log.h"
#include "base/publication.h"
#include "cdc/encode/event_table.h"
#include "cdc/publish/publisher.h"
#include "cdc/shape/row_filter.h"

struct tables;
struct schema_registry;

struct tables_facts {
    bool slot_exists;
};

/* `config` and `registry` (NULL: the encoder has no use for one) must outlive it. */
struct tables *tables_create(const struct publisher_config *config,
                             struct schema_registry *registry, struct log *log);
void tables_destroy(struct tables **tables);

/* Makes the publication, or adds to it what the patterns name and lacks; a role that may not is told the SQL,
 * unless a publication of that name is there. */
bool tables_prepare(struct tables *tables, struct tables_facts *facts,
                    struct error *err) MUST_CHECK;

/* Valid until the relation's version grows. NULL on error. */
struct event_table *tables_find(struct tables *tables, const struct relation *relation,
                                struct error *err);

/* The same of a relation that was described, be it for the first time in a session or with no difference: what the stream does
 * not show of its table, a default or an index, may have changed. */
struct event_table *tables_look(struct tables *tables, const struct relation *relation,
                                struct error *err);

/* As the catalog was when it was last read; NULL: not in it. */
const struct catalog_table *tables_catalog(const struct tables *tables, uint32_t oid);
/* Reads the catalog anew. */
bool tables_refresh(struct tables *tables, struct error *err) MUST_CHECK;

/* For what is told of a snapshot: the next transaction's id, 0 where it cannot be had. */
uint64_t tables_next_xid(struct tables *tables);

/* The transaction that is being given; 0: none of the stream. What it made of a table is looked up only once others can see
 * it, for the stream is told of a commit a moment earlier. */
void tables_begin(struct tables *tables, uint64_t xid);

/* One more event of the table in the open transaction. */
void tables_count_event(struct tables *tables, struct event_table *table);
/* After each transaction: the counts of transaction metadata start over. */
void tables_reset_counts(struct tables *tables);
/* {"data_collection":"public.t","event_count":2},... of the open transaction, in the order of Debezium's map of them. */
void tables_append_counts(struct tables *tables, struct buf *out);

/* Is the row one of those that are published? Of a table with a filter. */
enum row_verdict tables_judge(struct tables *tables, const struct event_table *table,
                              const struct value *row, const struct value *whole,
                              bool identity_only, struct error *err);

/* What the publication should hold, into `members` (room for all of the catalog's tables). Returns how many. */
uint32_t tables_plan(const struct publisher_config *config, const struct catalog *catalog,
                     struct arena *arena, struct publication_table *members);
/* Brings the publication to that, on any connection. *as_planned: it is so; false where a role that may not change it
 * found one of its name. */
bool tables_publish(PGconn *conn, const struct publisher_config *config, struct log *log,
                    const struct catalog *catalog, bool *as_planned, struct error *err) MUST_CHECK;

#endif
