#include "cdc/decode/types.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/pg.h"

/* Open addressing, at most half full. Types are some hundreds to thousands. */
struct types {
    struct arena *arena;
    struct type **slots;
    uint32_t n_slots; /* a power of two */
    uint32_t used;
};

struct types *types_create(void) {
    struct types *types = mem_zalloc(sizeof *types);
    types->arena = arena_create(64 * 1024);
    types->n_slots = 1024;
    types->slots = mem_calloc(types->n_slots, sizeof *types->slots);
    return types;
}

void types_destroy(struct types **types) {
    if (!*types) return;
    arena_destroy(&(*types)->arena);
    mem_free((*types)->slots);
    mem_free(*types);
    *types = NULL;
}

static struct type **place(const struct types *types, uint32_t oid) {
    uint32_t at = oid * 2654435761u;
    for (;; at++) {
        struct type **slot = &types->slots[at & (types->n_slots - 1)];
        if (!*slot || (*slot)->oid == oid) return slot;
    }
}

static void grow(struct types *types) {
    struct type **old = types->slots;
    uint32_t n_old = types->n_slots;
    types->n_slots *= 2;
    types->slots = mem_calloc(types->n_slots, sizeof *types->slots);
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i]) *place(types, old[i]->oid) = old[i];
    }
    mem_free(old);
}

void types_add(struct types *types, const struct type *type) {
    struct type **slot = place(types, type->oid);
    if (!*slot) {
        types->used++;
        *slot = arena_alloc(types->arena, sizeof **slot);
    }
    **slot = *type;
    (*slot)->name = arena_strdup(types->arena, type->name);
    if (type->labels) (*slot)->labels = arena_strdup(types->arena, type->labels);
    if (types->used * 2 > types->n_slots) grow(types);
}

const struct type *types_find(const struct types *types, uint32_t oid) {
    return *place(types, oid);
}

bool types_load(struct types *types, PGconn *conn, struct error *err) {
    /* True arrays only: name, point and their like have a typelem too. */
    PGresult *rows =
        pg_query(conn,
                 "SELECT oid, typname, typtype, typdelim, typbasetype, typtypmod,"
                 " CASE WHEN typlen = -1 AND typcategory = 'A' THEN typelem ELSE 0 END,"
                 " (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder)"
                 "  FROM pg_catalog.pg_enum WHERE enumtypid = t.oid)"
                 " FROM pg_catalog.pg_type t",
                 err);
    if (!rows) return error_prefix(err, "reading the types");
    arena_reset(types->arena);
    memset(types->slots, 0, types->n_slots * sizeof *types->slots);
    types->used = 0;
    for (int i = 0; i < PQntuples(rows); i++) {
        struct type type = {
            .oid = (uint32_t)strtoul(PQgetvalue(rows, i, 0), NULL, 10),
            .name = PQgetvalue(rows, i, 1),
            .kind = *PQgetvalue(rows, i, 2),
            .delimiter = *PQgetvalue(rows, i, 3),
            .base_oid = (uint32_t)strtoul(PQgetvalue(rows, i, 4), NULL, 10),
            .base_typmod = (int32_t)strtol(PQgetvalue(rows, i, 5), NULL, 10),
            .element_oid = (uint32_t)strtoul(PQgetvalue(rows, i, 6), NULL, 10),
            .labels = PQgetisnull(rows, i, 7) ? NULL : PQgetvalue(rows, i, 7),
        };
        types_add(types, &type);
    }
    PQclear(rows);
    return true;
}
