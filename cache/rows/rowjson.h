/* rowjson.h: a row's JSON, composed here from its columns: byte for byte what PostgreSQL's row_to_json gives, at a fifth of its CPU
 * (it looks up each column's type for each row).
 *
 *     column.kind = rowjson_kind(type_oid);                 ROWJSON_SERVERS: ask for to_json(column), which is then taken as it is
 *     if (!rowjson_fits(columns, n, result, first)) ...     the table is not what it was described as
 *     rowjson_append(&json, columns, n, result, place, first);
 *
 * Only of PostgreSQL's own types whose JSON is their text, bare or quoted, whatever the session's settings are. Dates, times, arrays,
 * composites, domains and types of extensions the server makes itself. Pure. */
#ifndef FRESHET_CACHE_ROWJSON_H
#define FRESHET_CACHE_ROWJSON_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum rowjson_kind {
    ROWJSON_SERVERS, /* JSON already, by the server's to_json */
    ROWJSON_PLAIN,   /* as its text: integers, json, jsonb */
    ROWJSON_NUMBER,  /* as its text, but NaN and Infinity quoted */
    ROWJSON_BOOLEAN,
    ROWJSON_STRING,
};

struct rowjson_column {
    const char *name; /* quoted, escaped, with its colon: "\"id\":" */
    uint32_t name_len;
    uint32_t type_oid;
    enum rowjson_kind kind;
};

/* pg_type.oid of the column's own type (a domain's is its own). */
enum rowjson_kind rowjson_kind(uint32_t type_oid);

/* Are the result's columns, from `first` on, of the types that the description has? */
bool rowjson_fits(const struct rowjson_column *columns, uint16_t n, const PGresult *result,
                  int first);
void rowjson_append(struct buf *json, const struct rowjson_column *columns, uint16_t n,
                    const PGresult *result, int place, int first);

#endif
