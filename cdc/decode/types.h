/* types.h: what PostgreSQL's catalog says of types, by OID.
 *
 *     types_load(types, conn, err)              all of pg_type; again when a relation names an OID that is not known
 *     const struct type *type = types_find(types, oid);
 *
 * One thread. */
#ifndef FRESHET_CDC_TYPES_H
#define FRESHET_CDC_TYPES_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct type {
    uint32_t oid;
    const char *name;     /* pg_type.typname */
    char kind;            /* pg_type.typtype: b, c, d, e, m, p, r */
    char delimiter;       /* between the elements of an array of it */
    uint32_t base_oid;    /* of a domain, else 0 */
    int32_t base_typmod;  /* of a domain */
    uint32_t element_oid; /* of an array, else 0 */
    const char *labels;   /* of an enum, in its order: a,b,c; else NULL */
};

struct types;

struct types *types_create(void);
void types_destroy(struct types **types);
/* Replaces what it holds. */
bool types_load(struct types *types, PGconn *conn, struct error *err) MUST_CHECK;
/* Copies it in; for tests and for the built-in ones. */
void types_add(struct types *types, const struct type *type);
/* NULL: unknown. */
const struct type *types_find(const struct types *types, uint32_t oid);

#endif
