/* A value of an event, as JSON, for a column of any type and any settings of the format: what is told is text without a NUL, and the
 * rest is left to be read again. First bytes: type, format, typmod (two). */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "connectors/source/topic_row.h"

enum { HEAD = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* bool, int8, int2, int4, oid, text, bpchar, varchar, name, json, jsonb, xml, float4, float8, date, timestamp, timestamptz,
 * numeric, bytea, uuid, interval, int4[], and none of those. */
static const uint32_t types[] = {16,   20,   21,   23,   26,   25,   1042, 1043,
                                 19,   114,  3802, 142,  700,  701,  1082, 1114,
                                 1184, 1700, 17,   2950, 1186, 1007, 70000};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    uint32_t type = types[data[0] % (sizeof types / sizeof *types)];
    struct catalog_column column = {.name = "c",
                                    .type_oid = type,
                                    .base_type_oid = type,
                                    .base_type_name = data[0] & 0x80 ? "citext" : "t",
                                    .base_typtype = data[0] & 0x40 ? 'e' : 'b',
                                    .base_typmod = (data[2] << 8 | data[3]) - 1};
    struct topic_format format = {
        .decimals = data[1] % 3, .times = data[1] / 3 % 3, .bytes = data[1] / 9 % 3};
    json_t *json =
        json_loadb((const char *)data + HEAD, size - HEAD, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    struct arena *arena = arena_create(4096);
    struct value value = topic_row_value(&column, &format, json, arena);
    ASSERT(value.kind == VALUE_TEXT || value.kind == VALUE_NULL || value.kind == VALUE_UNCHANGED);
    ASSERT(value.kind != VALUE_NULL || json_is_null(json));
    size_t read = 0;
    for (uint32_t i = 0; value.kind == VALUE_TEXT && i < value.len; i++)
        read += value.data[i] != 0;
    ASSERT(value.kind != VALUE_TEXT || json_is_string(json) || read == value.len);
    arena_destroy(&arena);
    json_decref(json);
    return 0;
}
