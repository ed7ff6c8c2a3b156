/* event_schema.h: the Connect schemas of a table's key and of its events, as Debezium makes them: <topic>.Key, and
 * <topic>.Envelope (version 2) with two rows of <topic>.Value.
 *
 *     struct connect_schema key = event_schema_key(table, table->topic, columns, arena);
 *
 * What they point to lives in the arena. Pure. */
#ifndef FRESHET_CDC_EVENT_SCHEMA_H
#define FRESHET_CDC_EVENT_SCHEMA_H

#include "cdc/encode/event_table.h"

/* The fields of the table's columns, in their order. */
struct connect_field *event_schema_columns(const struct event_table *table, struct arena *arena);

/* `space`: what stands before .Key, .Value, .Envelope. `columns`: n_columns of them. */
struct connect_schema event_schema_key(const struct event_table *table, const char *space,
                                       const struct connect_field *columns, struct arena *arena);
struct connect_schema event_schema_envelope(const struct event_table *table, const char *space,
                                            const struct connect_field *columns,
                                            struct arena *arena);

#endif
