/* event_table.h: all that events of one table need and that does not change from row to row: its topic, its
 * key, each column's name and codec, as JSON where that can be made beforehand.
 *
 *     struct event_table *table = event_table_create(&plan);     at each Relation message that is new
 *     event_table_destroy(&table);
 *
 * Immutable but for `topic_handle` and the counters, which belong to the feed's thread. */
#ifndef FRESHET_CDC_EVENT_TABLE_H
#define FRESHET_CDC_EVENT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/change.h"
#include "cdc/decode/types.h"
#include "cdc/encode/codec.h"
#include "cdc/encode/format.h"
#include "cdc/shape/mask.h"
#include "cdc/shape/shape.h"

struct event_column {
    struct slice name_json; /* "id": */
    const struct codec *codec;
    struct slice filler;      /* in a delete, where the stream has no value */
    struct slice placeholder; /* of an unchanged TOASTed value */
    struct connect_field field;
};

struct event_table {
    uint32_t oid;
    uint32_t version; /* of the relation it was made from */
    const char *schema;
    const char *name;
    const char *topic;
    void *topic_handle;          /* the output's */
    struct slice source_json;    /* "schema":"public","table":"users","txId": */
    struct slice collection;     /* schema.table, of transaction metadata */
    uint64_t transaction_events; /* in the open transaction, of transaction metadata */
    uint16_t n_columns;
    const struct event_column *columns;
    uint64_t facts;      /* event_table_facts of the catalog's table that it was made from */
    uint16_t n_key;      /* 0: no key */
    const uint16_t *key; /* places in columns, in the key's order */
    /* One more field of the key, which tells the tables of one topic apart: its name (NULL: none), and ,"name":"text" */
    const char *key_field;
    struct slice key_more;
    struct table_shape *shape; /* owned; NULL: changes are published as they come */
    struct row_filter *filter; /* owned; NULL: of all rows, or of those that the server sends */
    struct outbox *outbox;     /* owned; not NULL: its rows are messages for others' topics */
    /* What the table's encoder keeps here of what all its records share: see event_encoder.prepare. */
    struct slice key_head, value_head;
    const struct avro_table *avro; /* encode_avro.c */
    struct arena *arena;
};

struct event_table_plan {
    const struct relation *relation;     /* as events show it */
    struct masker *masker;               /* for what is hashed, or NULL */
    const struct table_shape *shape;     /* or NULL */
    const struct catalog_table *catalog; /* NULL: gone, or not to be seen */
    const struct types *types;
    const struct event_format *format;
    const char *prefix;
    const char
        *message_key; /* the key's columns, with commas between them; NULL: the table's own */
};

struct event_table *event_table_create(const struct event_table_plan *plan);
void event_table_destroy(struct event_table **table);

/* A hash of what an event_table takes from the catalog alone: NOT NULL, defaults, indexes. 0: no table. */
uint64_t event_table_facts(const struct catalog_table *catalog);

/* <prefix>.<schema>.<table>, each byte outside [A-Za-z0-9._-] an underscore. */
char *event_topic(struct arena *arena, const char *prefix, const char *schema, const char *name);

/* The next name of "a, b" (cdc.message_key), and *at behind it; empty: there is no more. */
struct slice event_key_word(const char **at);

/* Do the key columns differ between the rows? Unchanged TOASTed values are equal. */
bool event_key_changed(const struct event_table *table, const struct value *old_row,
                       const struct value *new_row);

#endif
