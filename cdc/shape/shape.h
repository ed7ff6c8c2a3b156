/* shape.h: what the configuration makes of a table's changes before they become events: which columns are there, which of
 * them are masked, hashed or cut, which images, and where the records go.
 *
 *     struct table_shape *shape = table_shape_create(&plan);                 once for a relation; NULL: as it comes
 *     shaper_change(shaper, shape, &change);                     once a change: rows as events may show them
 *
 * Whoever comes behind shaper_change (keys, images, headers, dead letters) sees no more than what it leaves: that is how
 * a masked value stays inside. Shapes are immutable; a shaper belongs to one thread. */
#ifndef FRESHET_CDC_SHAPE_H
#define FRESHET_CDC_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/change.h"
#include "base/kafka.h"

/* ---- the configuration ---- */

/* As DynamoDB Streams has them. */
enum shape_view { VIEW_NEW_AND_OLD_IMAGES, VIEW_NEW_IMAGE, VIEW_OLD_IMAGE, VIEW_KEYS_ONLY };

/* An entry of cdc.shape. All entries whose pattern names a table apply to it: lists add up; of single values the last one
 * holds. Columns are named by patterns (pattern_match_name). */
struct shape_entry {
    const char *table; /* a pattern */
    uint32_t n_columns;
    const char *const *columns; /* that are kept; none: all */
    uint32_t n_excluded;
    const char *const *excluded;
    uint32_t n_masked;
    const struct kafka_property *masked; /* column: number of asterisks */
    uint32_t n_hashed;
    const char *const *hashed;
    uint32_t n_truncated;
    const struct kafka_property *truncated; /* column: number of characters */
    const char *where;                      /* SQL over the row's columns; NULL: all rows */
    const char *view;                       /* NULL: both images */
    const char *topic;     /* $1, $2: what the pattern's stars stand for; NULL: the usual one */
    const char *key_field; /* of the record's key: the usual topic's name; NULL: none */
    uint32_t n_partition_by;
    const char *const *partition_by; /* names of columns; none: by the key */
};

struct shape_rules {
    uint32_t n_exclude;
    const char *const *exclude; /* patterns of tables */
    uint32_t n_entries;
    const struct shape_entry *entries;
    const char *hash_algorithm;
    const char *hash_salt; /* NULL: nothing is hashed */
};

/* Is the table none of the excluded ones? */
bool shape_admits(const struct shape_rules *rules, const char *schema, const char *table);
/* "NEW_IMAGE|OLD_IMAGE|...", in the order of enum shape_view. */
#define SHAPE_VIEWS "NEW_AND_OLD_IMAGES|NEW_IMAGE|OLD_IMAGE|KEYS_ONLY"

/* ---- of one table ---- */

enum shape_fate { FATE_AS_IS, FATE_MASKED, FATE_HASHED, FATE_TRUNCATED, FATE_DROPPED };

/* What becomes of a column by its name and type. *length: asterisks; hex digits (0: all); characters. */
enum shape_fate shape_fate(const struct shape_rules *rules, const char *schema, const char *table,
                           const char *column, const char *type_name, int32_t typmod,
                           uint32_t *length);
/* Can values of the type (pg_type.typname) be cut? */
bool shape_can_truncate(const char *type_name);

struct shape_column {
    uint16_t place; /* in the stream's relation */
    enum shape_fate fate;
    uint32_t length;
    struct slice mask; /* FATE_MASKED */
    bool bytes;        /* a bytea */
};

struct table_shape {
    bool excluded; /* nothing of it is published */
    bool whole;    /* every column is there, as it is */
    /* The relation as events show it: masked and hashed columns are texts. Names are the shape's own. */
    struct relation relation;
    const struct shape_column *columns; /* relation.n_columns */
    uint16_t n_hidden;                  /* the stream's columns */
    const bool *hidden; /* by place in the stream's relation: its values must not be shown */
    const char *where;  /* NULL: all rows */
    enum shape_view view;
    const char *topic;     /* NULL: the usual one */
    const char *key_field; /* NULL: none */
    uint16_t n_partition_by;
    const uint16_t *partition_by; /* places in `relation` */
    struct arena *arena;          /* owns all of it */
};

struct shape_plan {
    const struct shape_rules *rules;
    const struct relation *relation;
    const struct catalog_table *catalog; /* NULL: gone, or not to be seen */
    bool admitted;                       /* cdc.tables names it, and nothing excludes it */
};

/* NULL: no rule concerns the table. */
struct table_shape *table_shape_create(const struct shape_plan *plan);
void table_shape_destroy(struct table_shape **shape);
/* Keeps the columns at these places of `relation` alone. */
void table_shape_keep(struct table_shape *shape, uint16_t n, const uint16_t *places);

/* `where` of the entries that name the table, joined by AND, in *out; false: none. */
struct buf;
bool shape_where(const struct shape_rules *rules, const char *schema, const char *table,
                 struct buf *out);
enum shape_view shape_view(const struct shape_rules *rules, const char *schema, const char *table);

/* Where its records go. */
struct shape_route {
    const char *topic;     /* NULL: the usual one */
    const char *key_field; /* NULL: none */
};
struct arena;
struct shape_route shape_route(const struct shape_rules *rules, const char *schema,
                               const char *table, struct arena *arena);

/* ---- of one change ---- */

struct shaper;

/* NULL: the algorithm is not to be had. */
struct shaper *shaper_create(const struct shape_rules *rules, struct error *err);
void shaper_destroy(struct shaper **shaper);
/* The rows as events show them, valid until the next call. */
void shaper_change(struct shaper *shaper, const struct table_shape *shape, struct change *change);

#endif
