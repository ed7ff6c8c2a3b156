/* tablemap.h: which keys are rows: from a key's prefix, or a relation's name, to the table. Immutable; a new map replaces
 * the old one when the catalog changes, and the old lives until its last user has let go.
 *
 *     map = tablemap_build(catalog, &plan);                control thread
 *     tablemap_publish(maps, &map);
 *     map = tablemap_acquire(maps);  ...  tablemap_release(&map);       any thread
 *     table = tablemap_find_key(map, key, &rest);          rest: what stands behind "users:"
 *
 * The prefix of a table is its name in schema public, `schema.table` elsewhere, unless configured. Names are taken as
 * they are stored: no case is folded. Of two tables that claim one prefix, the first by schema and name has it. */
#ifndef FRESHET_CACHE_TABLEMAP_H
#define FRESHET_CACHE_TABLEMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/slice.h"
#include "cache/cache.h"
#include "cache/rows/keytype.h"
#include "cache/rows/named.h"
#include "cache/rows/rowjson.h"
#include "cache/rows/tablestate.h"

struct key_column {
    const char *name;
    const struct keytype *type;
    const char *sql_type;  /* to cast a text to, with no length or precision that would cut it */
    const char *type_name; /* for people */
};

/* Another way to ask for one row: the columns of a UNIQUE index. */
struct unique_key {
    const char *index;
    uint16_t n_columns;
    const struct key_column *columns; /* in the index's order */
    /* Equal values have one identity, and the change stream shows them: absent rows may be remembered. */
    bool exact;
    const char *
        refusal; /* why it cannot be used: "is partial"; NULL: it can. The columns are then those that it mentions. */
};

/* A named query whose results depend on a table's rows. */
struct dependent {
    const struct table *query;
    /* The column that has the value of each parameter: a row touches the key of its values, old and new. NULL: a change of
     * any row touches every result. */
    const char *const *columns;
};

/* A table; or a named query, whose parameters are its key (named.h); or a partition, whose rows are its root's to the change
 * stream and by all that is kept of them. */
struct table {
    const struct table
        *root; /* of a partition: the table whose key a change of its rows names; else NULL */
    uint32_t statement;              /* its number among those that are read by SQL of their own */
    const struct named_query *query; /* NULL: a table. Else schema is "", and it has no columns */
    uint16_t n_dependents;           /* of a table */
    const struct dependent *dependents;
    uint32_t number;
    uint64_t version; /* of this description; a changed one has another */
    uint64_t fingerprint;
    uint64_t
        coverage; /* of its place in the publication: differs after it was taken out and put back */
    struct tablestate *state;
    const char *prefix;
    const char *schema;
    const char *name;
    int64_t ttl_ms;
    const char *left_sql; /* the milliseconds that a row has left by itself (rowttl.h), or NULL */
    const char *
        ended_sql; /* the condition that it has ended, where such rows are to be deleted, or NULL */
    bool partitioned;
    bool lockable;       /* the role may SELECT all of it, and so LOCK it in that mode */
    bool identified;     /* every key column's type has an identity: rows are evicted one by one */
    bool exact;          /* ... and absent rows may be remembered */
    const char *refusal; /* why its rows cannot be read, or NULL */
    const char *uncovered; /* why the change stream does not cover it, or NULL */
    bool by_ttl;           /* ... and never will: its rows are kept for a time, and not evicted */
    uint16_t n_keys;
    const struct key_column *keys;
    uint16_t n_uniques;
    const struct unique_key *uniques;
    bool all_columns; /* false: only these are readable */
    uint16_t n_columns;
    const char *const *columns;
    const struct rowjson_column *json; /* of each column; NULL: the server makes the row's JSON */
    uint16_t n_denied; /* columns that Freshet's role may not SELECT: left out of the row */
    const char *const *denied;
    const bool *generated; /* of each column: the database computes it */
    bool writes;           /* what is written to its keys goes to the database */
};

/* A key type's name as SQL, and what the catalog does not tell. From the control thread's query. */
struct tablemap_type {
    uint32_t oid;
    const char *sql_name;
    const char *name; /* pg_type.typname */
    char typtype;
};
/* A partition that may be read by its own name. */
struct tablemap_leaf {
    const char *schema;
    const char *name;
    uint32_t root_oid;
    bool partitioned;
};
/* What PostgreSQL says of a named query, one of config->queries each. */
struct tablemap_query {
    const char *refusal; /* why it cannot be run, or NULL */
    uint16_t n_parameters;
    const uint32_t *type_oids;
    uint16_t n_columns; /* of its result */
    const char *const *columns;
    uint64_t columns_hash; /* with their types */
    bool single;           /* not to be asked for several keys at once */
};
struct tablemap_collated { /* a column whose collation is not deterministic */
    uint32_t table_oid;
    int16_t attnum;
};

struct tablemap_plan {
    const struct cache_config *config;
    struct tablestates *states;
    const struct tablemap
        *previous;    /* a table whose description is the same keeps its version; NULL */
    uint64_t version; /* of this map; grows */
    uint32_t n_types;
    struct tablemap_type *types;
    uint32_t n_collated;
    struct tablemap_collated *collated;
    const struct tablemap_query *queries; /* config->n_queries of them */
    uint32_t n_leaves;
    struct tablemap_leaf *leaves;
    /* Why the stream does not cover the table, or NULL where it does. */
    const char *(*uncovered)(void *arg, const struct catalog_table *table);
    uint64_t (*coverage)(void *arg, const struct catalog_table *table);
    /* Does the stream show this column (by its place)? NULL: all of them. */
    bool (*streamed)(void *arg, const struct catalog_table *table, uint16_t column);
    void *arg;
};

struct tablemap;

/* NULL: none of those that can be a key's. */
const struct tablemap_type *tablemap_find_type(const struct tablemap_plan *plan, uint32_t oid);
struct tablemap *tablemap_build(const struct catalog *catalog, const struct tablemap_plan *plan);
struct tablemap *tablemap_ref(struct tablemap *map);
void tablemap_release(struct tablemap **map);

uint64_t tablemap_version(const struct tablemap *map);
uint32_t tablemap_count(const struct tablemap *map);
const struct table *tablemap_at(const struct tablemap *map, uint32_t i);
/* Differs where other partitions have a key. */
uint64_t tablemap_leaves(const struct tablemap *map);
/* NULL: not a key of a table. */
const struct table *tablemap_find_key(const struct tablemap *map, struct slice key,
                                      struct slice *rest);
const struct table *tablemap_find(const struct tablemap *map, const char *schema, const char *name);

/* The current map, shared. */
struct tablemaps;
struct tablemaps *tablemaps_create(void);
void tablemaps_destroy(struct tablemaps **maps);
/* Takes the map. */
void tablemaps_publish(struct tablemaps *maps, struct tablemap **map);
/* NULL before the first. */
struct tablemap *tablemaps_acquire(struct tablemaps *maps);
/* Replaces *map where it is not the current one any more; cheap where it is. */
void tablemaps_refresh(struct tablemaps *maps, struct tablemap **map);

#endif
