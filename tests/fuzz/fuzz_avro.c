/* JSON that gives way to its Avro: the input is a schema's number and what a codec is supposed to have written. Whatever comes, the
 * conversion ends and keeps within its buffer; what fits the schema is a whole value of it, which a reader of Avro passes over to
 * its last byte; what does not leaves nothing behind. */
#include <stdint.h>

#include "base/assert.h"
#include "cdc/encode/avro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct connect_schema number = {.kind = CONNECT_INT32, .optional = true};
static const struct connect_schema text = {.kind = CONNECT_STRING, .optional = true};
static const struct connect_schema numbers = {.kind = CONNECT_ARRAY, .items = &number};
static const struct connect_field parts[] = {{"x", {.kind = CONNECT_DOUBLE}},
                                             {"wkb", {.kind = CONNECT_BYTES, .optional = true}}};
static const struct connect_schema point = {
    .kind = CONNECT_STRUCT, .n_fields = 2, .fields = parts, .optional = true};
static const struct connect_schema flag = {
    .kind = CONNECT_BOOLEAN, .optional = true, .default_json = {"true", 4}};
static const struct connect_schema single = {.kind = CONNECT_FLOAT};
static const struct connect_schema small = {.kind = CONNECT_INT16};
static const struct connect_schema texts = {.kind = CONNECT_ARRAY, .items = &text};
static const struct connect_schema points = {.kind = CONNECT_ARRAY, .items = &point};
static const struct connect_schema nested = {.kind = CONNECT_ARRAY, .items = &numbers};
static const struct connect_schema map = {.kind = CONNECT_MAP, .items = &text};

static const struct connect_schema *const schemas[] = {
    &number, &text,  &numbers, &point,  &flag, &single,
    &small,  &texts, &points,  &nested, &map,  &connect_transaction_value,
};

struct reader {
    const unsigned char *at;
    const unsigned char *end;
};

static int64_t read_long(struct reader *in) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        ASSERT(in->at < in->end && shift < 70);
        unsigned char byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    }
}

static void pass_bytes(struct reader *in, int64_t n) {
    ASSERT(n >= 0 && n <= in->end - in->at);
    in->at += n;
}

static void pass(struct reader *in, const struct connect_schema *schema) {
    if (schema->optional) {
        int64_t branch = read_long(in);
        ASSERT(branch == 0 || branch == 1);
        if (branch == (schema->default_json.data ? 1 : 0)) return;
    }
    switch (schema->kind) {
    case CONNECT_INT16:
    case CONNECT_INT32:
    case CONNECT_INT64: read_long(in); break;
    case CONNECT_FLOAT: pass_bytes(in, 4); break;
    case CONNECT_DOUBLE: pass_bytes(in, 8); break;
    case CONNECT_BOOLEAN: pass_bytes(in, 1); break;
    case CONNECT_STRING:
    case CONNECT_BYTES: pass_bytes(in, read_long(in)); break;
    case CONNECT_ARRAY:
    case CONNECT_MAP:
        for (int64_t n; (n = read_long(in)) != 0;) {
            for (; n > 0; n--) {
                if (schema->kind == CONNECT_MAP) pass_bytes(in, read_long(in));
                pass(in, schema->items);
            }
        }
        break;
    case CONNECT_STRUCT:
        for (uint16_t i = 0; i < schema->n_fields; i++)
            pass(in, &schema->fields[i].schema);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const struct connect_schema *schema = schemas[data[0] % (sizeof schemas / sizeof *schemas)];
    struct buf out = {0};
    buf_append(&out, "head", 4);
    buf_append(&out, data + 1, size - 1);
    bool fits = avro_replace_json(schema, &out, 4);
    ASSERT(out.len >= 4 && memcmp(out.data, "head", 4) == 0);
    if (fits) {
        struct reader in = {(const unsigned char *)out.data + 4,
                            (const unsigned char *)out.data + out.len};
        pass(&in, schema);
        ASSERT(in.at == in.end);
    } else {
        ASSERT(out.len == 4);
    }
    buf_deinit(&out);
    return 0;
}
