#include "cache/rows/rowjson.h"

#include "base/json.h"

/* pg_type.dat: these numbers are part of the protocol, and the same in all versions. */
enum { OID_JSON = 114 };

static const struct {
    uint32_t oid;
    enum rowjson_kind kind;
} kinds[] = {
    {16, ROWJSON_BOOLEAN},     /* bool */
    {17, ROWJSON_STRING},      /* bytea */
    {18, ROWJSON_STRING},      /* "char" */
    {19, ROWJSON_STRING},      /* name */
    {20, ROWJSON_PLAIN},       /* int8 */
    {21, ROWJSON_PLAIN},       /* int2 */
    {23, ROWJSON_PLAIN},       /* int4 */
    {25, ROWJSON_STRING},      /* text */
    {26, ROWJSON_STRING},      /* oid */
    {OID_JSON, ROWJSON_PLAIN}, /* json */
    {142, ROWJSON_STRING},     /* xml */
    {650, ROWJSON_STRING},     /* cidr */
    {700, ROWJSON_NUMBER},     /* float4 */
    {701, ROWJSON_NUMBER},     /* float8 */
    {829, ROWJSON_STRING},     /* macaddr */
    {869, ROWJSON_STRING},     /* inet */
    {1042, ROWJSON_STRING},    /* bpchar */
    {1043, ROWJSON_STRING},    /* varchar */
    {1083, ROWJSON_STRING},    /* time */
    {1186, ROWJSON_STRING},    /* interval */
    {1700, ROWJSON_NUMBER},    /* numeric */
    {2950, ROWJSON_STRING},    /* uuid */
    {3802, ROWJSON_PLAIN},     /* jsonb */
};

enum rowjson_kind rowjson_kind(uint32_t type_oid) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].oid == type_oid) return kinds[i].kind;
    }
    return ROWJSON_SERVERS;
}

bool rowjson_fits(const struct rowjson_column *columns, uint16_t n, const PGresult *result,
                  int first) {
    for (uint16_t i = 0; i < n; i++) {
        uint32_t oid = columns[i].kind == ROWJSON_SERVERS ? OID_JSON : columns[i].type_oid;
        if (PQftype(result, first + i) != oid) return false;
    }
    return true;
}

/* 1, -1.5e-7; not NaN, -Infinity. */
static bool is_number(struct slice text) {
    char c = text.len > 1 && text.data[0] == '-' ? text.data[1] : text.data[0];
    return c >= '0' && c <= '9';
}

static void append_value(struct buf *json, enum rowjson_kind kind, struct slice text) {
    switch (kind) {
    case ROWJSON_BOOLEAN:
        buf_append_slice(json, text.data[0] == 't' ? SLICE("true") : SLICE("false"));
        return;
    case ROWJSON_NUMBER:
        if (!is_number(text)) break;
        buf_append_slice(json, text);
        return;
    case ROWJSON_SERVERS:
    case ROWJSON_PLAIN: buf_append_slice(json, text); return;
    case ROWJSON_STRING: break;
    }
    json_append_string_postgres(json, text);
}

void rowjson_append(struct buf *json, const struct rowjson_column *columns, uint16_t n,
                    const PGresult *result, int place, int first) {
    buf_append_char(json, '{');
    for (uint16_t i = 0; i < n; i++) {
        int column = first + i;
        if (i > 0) buf_append_char(json, ',');
        buf_append(json, columns[i].name, columns[i].name_len);
        if (PQgetisnull(result, place, column))
            buf_append(json, "null", 4);
        else
            append_value(json, columns[i].kind,
                         slice_make(PQgetvalue(result, place, column),
                                    (size_t)PQgetlength(result, place, column)));
    }
    buf_append_char(json, '}');
}
