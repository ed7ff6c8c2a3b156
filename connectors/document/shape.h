/* shape.h: what a sink knows of the rows that it is given: columns, the kind of value each holds, the key.
 *
 *     struct shape *shape = shape_create("public", "users", n_columns, columns, n_keys, keys);
 *     batch->shape = shape_acquire(shape);  ...  shape_release(&batch->shape);
 *
 * Immutable and counted: the feed's thread makes one for each version of a relation, the sender's thread
 * reads them, and the last batch that holds one frees it. */
#ifndef FRESHET_CONNECTORS_SHAPE_H
#define FRESHET_CONNECTORS_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"
#include "connectors/document/choice.h"

/* What a column's text stands for, as far as sinks care. */
enum value_class {
    CLASS_KEYWORD, /* a string that is taken whole: uuid, enums, inet, ranges, and all that has no rule */
    CLASS_TEXT,
    CLASS_BOOL,
    CLASS_SHORT,
    CLASS_INTEGER,
    CLASS_LONG,
    CLASS_FLOAT,
    CLASS_DOUBLE,
    CLASS_NUMERIC,
    CLASS_DATE,
    CLASS_TIMESTAMP,
    CLASS_TIMESTAMPTZ,
    CLASS_JSON,
    CLASS_BYTES,
    N_CLASSES
};

struct shape_column {
    const char *name;
    enum value_class class;
    bool array; /* of elements of that class, in any number of dimensions */
    /* As SQL writes its type, "character varying(20)"; NULL: not known. */
    const char *type_name;
    const char *source; /* what the table calls it; given as NULL: the same */
};

enum { SHAPE_NONE = -1 };

struct shape {
    _Atomic int references;
    const char *schema;
    const char *table;
    uint16_t n_columns;
    const struct shape_column *columns;
    uint16_t n_keys;
    const uint16_t *keys; /* places in columns, in the key's order */
    int routing;          /* the place of the column that chooses a shard; SHAPE_NONE */
    bool routing_apart;   /* it is none of the keys: then it stands before them in a key's text */
    int document;         /* the place of the column that is the document; SHAPE_NONE: the row is */
    bool many;            /* a key has any number of rows: those of a query's result */
    /* A row is no row's state but what is added to that of its keys' values (view/aggregate_source.h); */
    bool deltas;
    uint16_t count; /* and this column has the number of rows: none, and the keys go */
    bool computed;  /* rows are a query's: JSON in them was made for this sink */
    /* Of chosen columns (shape_choose): where each stands in the rows that are chosen from; NULL: those are these. */
    const uint16_t *places;
    uint64_t chosen; /* another choice has another one; 0: none */
    /* Which tables of the database the rows are of: another one that is made under the same name has another number. 0: not known,
     * or of no account. */
    uint64_t tables;
};

/* Copies everything. One reference is the caller's. */
struct shape *shape_create(const char *schema, const char *table, uint16_t n_columns,
                           const struct shape_column *columns, uint16_t n_keys,
                           const uint16_t *keys);
/* Of these columns alone, in this order and under these names: a new reference. NULL: one is not there, two have one name, or
 * one of the key is left out; *at is the choice that is wrong, n where it is none of them. */
struct shape *shape_choose(const struct shape *all, uint32_t n, const struct shape_choice *choices,
                           uint32_t *at, struct error *err);
/* A row of `all` as one of the chosen shape, whose n_columns values `chosen` has room for; its values stay where they are. */
void shape_take(const struct shape *shape, const struct value *row, struct value *chosen);
/* "public.users", and which columns of it were chosen, if not all: what a position is of. Appended. */
void shape_append_origin(const struct shape *shape, struct buf *out);
/* "id,shop by shop#16402": the key's columns, the routing, and `tables`: what a position is of, too. Appended. */
void shape_append_keys(const struct shape *shape, struct buf *out);
/* Is it the same? Where one does not tell its tables, by the rest. */
bool shape_same_keys(const char *kept, const char *now);
/* Before anybody else has it: the columns of those names have these parts. NULL: none has. False: there is none such. */
bool shape_set_parts(struct shape *shape, const char *routing, const char *document);
struct shape *shape_acquire(struct shape *shape);
void shape_release(struct shape **shape);

/* The class of one of PostgreSQL's own types; false where the OID is none of them. */
bool shape_builtin_type(uint32_t type_oid, struct shape_column *column);

/* Appends the row's key as users write it: the value as it is, or with several columns their values with
 * ':' and '%' percent-encoded and ':' between. False if a key column is not in the row (NULL or
 * unchanged). With routing_apart the routing (NULL: nothing) stands before it as a further part, so that a row which moves to
 * another shard changes its key. */
bool shape_append_key(const struct shape *shape, const struct value *row, struct buf *out);
/* One value so encoded, as a part of a key of several. */
void shape_append_part(struct buf *out, const struct value *value);
/* The other way: the first value of what is left of such a key, appended to *out; *rest moves behind it. */
void shape_take_key(const struct shape *shape, struct slice *rest, struct buf *out);
/* The other way: the key as users write it, and the routing; "" where there is none. Both are appended. */
void shape_split_key(const struct shape *shape, struct slice key, struct buf *id,
                     struct buf *routing);
/* Together again. */
void shape_join_key(const struct shape *shape, struct slice id, struct slice routing,
                    struct buf *key);

#endif
