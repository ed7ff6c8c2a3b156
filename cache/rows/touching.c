#include "cache/rows/touching.h"

#include <string.h>

#include "base/mem.h"
#include "cache/rows/rowkey.h"

enum { RELATION_SLOTS = 256 /* remembered resolutions; a collision resolves again */ };

/* The columns by which a named query depends on a table. */
struct dependent_places {
    bool whole;    /* a change does not tell which results it touches */
    bool old_told; /* the values before a change are in the stream */
    uint16_t places[NAMED_MAX_PARAMETERS];
};

/* A relation of the stream, as the table map has it. */
struct resolved {
    const struct relation *relation;
    uint32_t relation_version;
    uint64_t map_version;
    const struct table *table; /* NULL: no rows of it are ever kept */
    bool whole;                /* its changes do not tell which keys they touch */
    uint16_t places[ROWKEY_MAX_COLUMNS];
    uint16_t *unique_places; /* of the columns of each exact unique key, one behind the other */
    struct dependent_places *dependents; /* one each of the table's */
};

struct touching {
    const struct core *core;
    const struct tablemap *map; /* for the call, as the next */
    struct touched *touched;
    struct buf key;
    struct buf identities;
    struct resolved resolved[RELATION_SLOTS];
};

/* ---- what a relation's columns mean ---- */

static bool find_place(const struct relation *relation, const char *name, uint16_t *place) {
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (strcmp(relation->columns[i].name, name) != 0) continue;
        *place = i;
        return true;
    }
    return false;
}

void touching_forget(struct touching *touching) {
    for (size_t i = 0; i < RELATION_SLOTS; i++) {
        mem_free(touching->resolved[i].unique_places);
        mem_free(touching->resolved[i].dependents);
    }
    memset(touching->resolved, 0, sizeof touching->resolved);
}

/* Where a column of such a key is not in the stream, any change may make a row that was remembered as absent. */
static void resolve_uniques(const struct relation *relation, struct resolved *resolved) {
    const struct table *table = resolved->table;
    size_t n = 0;
    for (uint16_t u = 0; u < table->n_uniques; u++)
        n += table->uniques[u].n_columns;
    if (n == 0) return;
    resolved->unique_places = mem_calloc(n, sizeof *resolved->unique_places);
    uint16_t *place = resolved->unique_places;
    for (uint16_t u = 0; u < table->n_uniques; u++) {
        const struct unique_key *unique = &table->uniques[u];
        for (uint16_t i = 0; unique->exact && i < unique->n_columns; i++, place++)
            resolved->whole |= !find_place(relation, unique->columns[i].name, place);
    }
}

static void resolve_dependents(const struct relation *relation, struct resolved *resolved) {
    const struct table *table = resolved->table;
    if (table->n_dependents == 0) return;
    resolved->dependents = mem_calloc(table->n_dependents, sizeof *resolved->dependents);
    for (uint16_t d = 0; d < table->n_dependents; d++) {
        const struct dependent *dependent = &table->dependents[d];
        struct dependent_places *at = &resolved->dependents[d];
        at->whole = !dependent->columns;
        at->old_told = true;
        for (uint16_t i = 0; !at->whole && i < dependent->query->n_keys; i++) {
            at->whole = !find_place(relation, dependent->columns[i], &at->places[i]);
            at->old_told &= !at->whole && relation->columns[at->places[i]].identity;
        }
    }
}

static void resolve(struct touching *touching, const struct relation *relation,
                    struct resolved *resolved) {
    mem_free(resolved->unique_places);
    mem_free(resolved->dependents);
    *resolved = (struct resolved){
        .relation = relation,
        .relation_version = relation->version,
        .map_version = touching->map ? tablemap_version(touching->map) : 0,
    };
    if (!touching->map) return;
    const struct table *table = tablemap_find(touching->map, relation->schema, relation->name);
    resolved->table = table;
    if (!table) return;
    resolved->whole = !table->identified;
    for (uint16_t i = 0; i < table->n_keys; i++) {
        uint16_t place;
        bool there = find_place(relation, table->keys[i].name, &place);
        /* Where the replica identity lacks a key column, a change of that key would not show its old value. */
        if (!there || !relation->columns[place].identity) resolved->whole = true;
        resolved->places[i] = there ? place : 0;
    }
    resolve_uniques(relation, resolved);
    resolve_dependents(relation, resolved);
}

static const struct resolved *lookup(struct touching *touching, const struct relation *relation) {
    struct resolved *resolved = &touching->resolved[relation->oid % RELATION_SLOTS];
    uint64_t map_version = touching->map ? tablemap_version(touching->map) : 0;
    if (resolved->relation != relation || resolved->relation_version != relation->version ||
        resolved->map_version != map_version)
        resolve(touching, relation, resolved);
    return resolved;
}

/* ---- its rows' keys ---- */

/* The identities of a row's key as one run of bytes each. False: a value is not in the stream, or of a form unknown. */
static bool read_identities(struct touching *touching, const struct key_column *columns,
                            const uint16_t *places, uint16_t n, const struct value *row,
                            struct slice *identities) {
    size_t ends[ROWKEY_MAX_COLUMNS];
    struct buf *bytes = &touching->identities;
    bytes->len = 0;
    for (uint16_t i = 0; i < n; i++) {
        const struct value *value = &row[places[i]];
        const struct keytype *type = columns[i].type;
        if (value->kind != VALUE_TEXT) return false;
        struct slice text = slice_make(value->data, value->len);
        if (!type->normalise)
            buf_append_slice(bytes, text);
        else if (!type->normalise(text, bytes))
            return false;
        ends[i] = bytes->len;
    }
    buf_grow(bytes, 1);
    for (uint16_t i = 0; i < n; i++) {
        size_t start = i ? ends[i - 1] : 0;
        identities[i] = slice_make(bytes->data + start, ends[i] - start);
    }
    return true;
}

static void touch_key(struct touching *touching, const struct table *table) {
    struct slice key = buf_slice(&touching->key);
    touched_key(touching->touched, table->number, store_hash(touching->core->store, key), key);
}

static void touch_row(struct touching *touching, const struct resolved *resolved,
                      const struct value *row) {
    const struct table *table = resolved->table;
    struct slice identities[ROWKEY_MAX_COLUMNS];
    if (!row) return;
    if (resolved->whole ||
        !read_identities(touching, table->keys, resolved->places, table->n_keys, row, identities)) {
        touched_table(touching->touched, table->number);
        return;
    }
    touching->key.len = 0;
    rowkey_compose(table, identities, &touching->key);
    touch_key(touching, table);
}

/* A row with a NULL in it is found by no such key. One whose columns the change leaves as they were, too big to be sent
 * again, was found by it before. */
static bool makes_key(const struct unique_key *unique, const uint16_t *places,
                      const struct value *row) {
    uint16_t unchanged = 0;
    for (uint16_t i = 0; i < unique->n_columns; i++) {
        if (row[places[i]].kind == VALUE_NULL) return false;
        unchanged += row[places[i]].kind == VALUE_UNCHANGED;
    }
    return unchanged < unique->n_columns;
}

/* The unique keys under which a changed row is found from now on: that it was absent may be remembered. What is kept of
 * the row under its old ones goes by the links from its primary key. */
static void touch_uniques(struct touching *touching, const struct resolved *resolved,
                          const struct value *row) {
    const struct table *table = resolved->table;
    const uint16_t *places = resolved->unique_places;
    if (!row || resolved->whole || !core_rule_holds(touching->core, RULE_UNIQUE)) return;
    for (uint16_t u = 0; u < table->n_uniques; u++) {
        const struct unique_key *unique = &table->uniques[u];
        struct slice identities[ROWKEY_MAX_COLUMNS];
        if (!unique->exact) continue;
        if (makes_key(unique, places, row)) {
            if (!read_identities(touching, unique->columns, places, unique->n_columns, row,
                                 identities)) {
                touched_table(touching->touched, table->number);
                return;
            }
            touching->key.len = 0;
            rowkey_compose_unique(table, unique, identities, &touching->key);
            touch_key(touching, table);
        }
        places += unique->n_columns;
    }
}

/* ---- named queries ---- */

void touching_whole(const struct table *table, struct touched *touched) {
    touched_table(touched, table->number);
    for (uint16_t d = 0; d < table->n_dependents; d++)
        touched_table(touched, table->dependents[d].query->number);
}

/* The result whose parameters are the row's values. No key is asked for with a NULL. */
static void touch_result(struct touching *touching, const struct table *query,
                         const struct dependent_places *at, const struct value *row) {
    struct slice identities[ROWKEY_MAX_COLUMNS];
    if (!row) return;
    for (uint16_t i = 0; i < query->n_keys; i++) {
        if (row[at->places[i]].kind == VALUE_NULL) return;
    }
    if (!read_identities(touching, query->keys, at->places, query->n_keys, row, identities)) {
        touched_table(touching->touched, query->number);
        return;
    }
    touching->key.len = 0;
    rowkey_compose(query, identities, &touching->key);
    touch_key(touching, query);
}

/* Where the replica identity holds the columns, an update that brings no old row has not changed them. */
static void touch_dependents(struct touching *touching, const struct resolved *resolved,
                             const struct change *change) {
    const struct table *table = resolved->table;
    for (uint16_t d = 0; d < table->n_dependents; d++) {
        const struct dependent_places *at = &resolved->dependents[d];
        const struct table *query = table->dependents[d].query;
        bool untold = change->operation != CHANGE_INSERT && !at->old_told;
        if (!core_rule_holds(touching->core, RULE_DEPENDENTS)) continue;
        if (at->whole || (untold && core_rule_holds(touching->core, RULE_UNTOLD))) {
            touched_table(touching->touched, query->number);
            continue;
        }
        touch_result(touching, query, at, change->old_row);
        touch_result(touching, query, at, change->new_row);
    }
}

/* ---- the whole ---- */

const struct table *touching_table(struct touching *touching, const struct tablemap *map,
                                   const struct relation *relation) {
    touching->map = map;
    return lookup(touching, relation)->table;
}

void touching_change(struct touching *touching, const struct tablemap *map,
                     const struct change *change, struct touched *touched) {
    touching->map = map;
    touching->touched = touched;
    const struct resolved *resolved = lookup(touching, change->relation);
    if (!resolved->table) return;
    if (change->operation == CHANGE_TRUNCATE) {
        touching_whole(resolved->table, touched);
        return;
    }
    touch_dependents(touching, resolved, change);
    touch_row(touching, resolved, change->old_row);
    touch_row(touching, resolved, change->new_row);
    touch_uniques(touching, resolved, change->new_row);
}

struct touching *touching_create(const struct core *core) {
    struct touching *touching = mem_zalloc(sizeof *touching);
    touching->core = core;
    return touching;
}

void touching_destroy(struct touching **touching) {
    struct touching *old = *touching;
    *touching = NULL;
    if (!old) return;
    touching_forget(old);
    buf_deinit(&old->key);
    buf_deinit(&old->identities);
    mem_free(old);
}
