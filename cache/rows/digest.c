#include "cache/rows/digest.h"

#include <xxhash.h>

#include "cache/values/elements.h"
#include "cache/values/fields.h"

static uint64_t hash(struct slice bytes) { return XXH3_64bits(bytes.data, bytes.len); }

/* Past a JSON string's closing quote; `at` is behind the opening one. */
static const char *skip_string(const char *at, const char *end) {
    while (at < end && *at != '"')
        at += *at == '\\' ? 2 : 1;
    return at < end ? at + 1 : end; /* an escape at the very end leads past it */
}

/* Past one element of an array: to the comma or bracket behind it. */
static const char *skip_element(const char *at, const char *end) {
    uint32_t depth = 0;
    while (at < end) {
        char c = *at;
        if (depth == 0 && (c == ',' || c == ']')) return at;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at = c == '"' ? skip_string(at + 1, end) : at + 1;
    }
    return end;
}

static uint64_t digest_rows(struct slice json) {
    const char *at = json.data + (json.len > 0); /* behind the bracket */
    const char *end = json.data + json.len;
    uint64_t sum = json.len;
    while (at < end) {
        const char *behind = skip_element(at, end);
        sum += hash(slice_make(at, (size_t)(behind - at)));
        at = behind + 1;
    }
    return sum;
}

static uint64_t digest_list(struct slice run) {
    const char *at = run.data;
    uint64_t sum = run.len;
    while (at < run.data + run.len)
        sum += hash(elements_forward(&at));
    return sum;
}

static uint64_t digest_fields(struct slice packed) {
    struct fields_cursor cursor = fields_begin(packed);
    struct slice field;
    struct slice value;
    uint64_t sum = packed.len;
    while (fields_next(&cursor, &field, &value))
        sum += XXH3_64bits_withSeed(value.data, value.len, hash(field));
    return sum;
}

uint64_t digest_of(const struct table *table, struct slice bytes) {
    if (!table->query) return hash(bytes);
    switch (table->query->shape) {
    case SHAPE_ROWS: return digest_rows(bytes);
    case SHAPE_LIST: return digest_list(bytes);
    case SHAPE_HASH: return digest_fields(bytes);
    case SHAPE_ROW:
    case SHAPE_VALUE:
    case SHAPE_ZSET: break;
    }
    return hash(bytes);
}
