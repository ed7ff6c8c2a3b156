/* Column values as events have them: the input is a type, a typmod, a mode, and the text that PostgreSQL is supposed
 * to have printed. Whatever comes, the codec ends, keeps within its buffers, and writes one JSON value. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cdc/encode/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
    "bool",   "int4",   "int8",       "float4",      "float8",   "numeric", "money",   "date",
    "time",   "timetz", "timestamp",  "timestamptz", "interval", "bytea",   "bit",     "varbit",
    "hstore", "point",  "int2vector", "text",        "jsonb",    "uuid",    "strange",
};

enum { N_NAMES = sizeof names / sizeof *names, HEADER_BYTES = 4 };

/* Type i has OID i + 1, its array OID i + 101. */
static struct types *make_types(void) {
    struct types *types = types_create();
    for (uint32_t i = 0; i < N_NAMES; i++) {
        char name[64];
        snprintf(name, sizeof name, "_%s", names[i]);
        struct type type = {
            .oid = i + 1, .name = names[i], .kind = 'b', .delimiter = ',', .base_typmod = -1};
        struct type array = {.oid = i + 101,
                             .name = name,
                             .kind = 'b',
                             .delimiter = ',',
                             .base_typmod = -1,
                             .element_oid = i + 1};
        types_add(types, &type);
        types_add(types, &array);
    }
    return types;
}

static struct event_format format_of(uint8_t choice) {
    return (struct event_format){.decimals = choice % 3,
                                 .times = choice / 3 % 3,
                                 .bytes = choice / 9 % 3,
                                 .intervals = choice & 1,
                                 .hstore = choice >> 1 & 1,
                                 .non_finite = choice / 27 % 3};
}

/* Without NUL: PostgreSQL has none, and jansson takes none in a key. */
static bool is_ascii(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] >= 0x80 || data[i] == 0) return false;
    }
    return true;
}

/* jansson wants UTF-8; what PostgreSQL sends is, and random bytes are not. */
static void check_json(const struct buf *out) {
    json_error_t error;
    json_t *json = json_loadb(out->data, out->len,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    bool range = !json && json_error_code(&error) == json_error_numeric_overflow;
    ASSERT(json || range);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEADER_BYTES) return 0;
    static struct types *types;
    if (!types) types = make_types();
    struct arena *arena = arena_create(4096);
    struct event_format format = format_of(data[1]);
    uint32_t oid = data[0] % N_NAMES + (data[0] & 0x80 ? 101 : 1);
    int32_t typmod = (int32_t)(int8_t)data[2] + (data[3] << 8);
    const struct codec *codec = codec_resolve(types, oid, typmod, &format, arena);
    struct buf out = {0};
    struct slice text = slice_make(data + HEADER_BYTES, size - HEADER_BYTES);
    enum codec_result result = codec_encode(codec, text, &out);
    if (result == CODEC_REFUSED)
        ASSERT(out.len == 0);
    else if (is_ascii(data + HEADER_BYTES, text.len))
        check_json(&out);
    /* As a column's default. */
    char *sql = malloc(text.len + 1);
    memcpy(sql, text.data, text.len);
    sql[text.len] = '\0';
    out.len = 0;
    codec_filler(codec, sql, &out);
    codec_placeholder(codec, &out);
    free(sql);
    buf_deinit(&out);
    arena_destroy(&arena);
    return 0;
}
