/* Any bytes as a key of a table: what is parsed composes to a key that is parsed to the same values; nothing is read out of
 * bounds; an error text is one line. The same bytes as a snapshot, and as the stream's text of a value. The first byte chooses
 * the table. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/pgarray.h"
#include "base/pgsnapshot.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/statement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kinds[][2] = {
    {"int4", NULL},        {"text", NULL},      {"int8", "text"},
    {"timestamptz", NULL}, {"uuid", "numeric"}, {"date", NULL},
    {"text", "text"},      {"bytea", "bpchar"}, {"bool", NULL},
};

static void check_round_trip(const struct table *table, const struct rowkey *key) {
    struct buf text = {0};
    struct buf scratch = {0};
    struct buf failure = {0};
    struct rowkey again;
    if (key->unique)
        rowkey_compose_unique(table, key->unique, key->values, &text);
    else
        rowkey_compose(table, key->values, &text);
    size_t prefix = strlen(table->prefix) + 1;
    struct slice rest = slice_make(text.data + prefix, text.len - prefix);
    if (rest.len <= ROWKEY_MAX_BYTES) {
        ASSERT(rowkey_parse(table, rest, &scratch, &again, &failure));
        ASSERT(again.unique == key->unique);
        for (uint16_t i = 0; i < key->n; i++)
            ASSERT(slice_equal(again.values[i], key->values[i]));
    }
    buf_deinit(&text);
    buf_deinit(&scratch);
    buf_deinit(&failure);
}

static void check_array(const struct rowkey *key) {
    struct buf literal = {0};
    pgarray_begin(&literal);
    for (uint16_t i = 0; i < key->n; i++)
        pgarray_add(&literal, key->values[i]);
    pgarray_end(&literal);
    ASSERT(strlen(literal.data) == literal.len - 1); /* no value holds a NUL */
    buf_deinit(&literal);
}

static void check_key(const struct table *table, struct slice rest) {
    struct buf scratch = {0};
    struct buf failure = {0};
    struct rowkey key;
    if (rowkey_parse(table, rest, &scratch, &key, &failure)) {
        check_round_trip(table, &key);
        check_array(&key);
    } else {
        ASSERT(failure.len > 4 && memcmp(failure.data, "ERR ", 4) == 0);
        ASSERT(!memchr(failure.data, '\n', failure.len) &&
               !memchr(failure.data, '\0', failure.len));
    }
    buf_deinit(&scratch);
    buf_deinit(&failure);
}

static void check_snapshot(struct slice text) {
    struct pgsnapshot snapshot;
    if (!pgsnapshot_parse(text, &snapshot)) return;
    for (uint32_t i = 0; i < snapshot.n_running; i++)
        ASSERT(!pgsnapshot_sees(&snapshot, snapshot.running[i]));
    ASSERT(!pgsnapshot_sees(&snapshot, snapshot.xmax));
    pgsnapshot_deinit(&snapshot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const char *const *kind = kinds[data[0] % (sizeof kinds / sizeof kinds[0])];
    struct key_column keys[2] = {
        {.name = "id", .type = keytype_find(kind[0], 'b', true), .type_name = kind[0]},
        {.name = "b",
         .type = keytype_find(kind[1] ? kind[1] : "text", 'b', true),
         .type_name = "x"},
    };
    struct key_column columns[2] = {keys[1], keys[0]};
    columns[0].name = "w";
    columns[1].name = "u";
    struct unique_key uniques[2] = {{.index = "one", .n_columns = 1, .columns = &columns[1]},
                                    {.index = "two", .n_columns = 2, .columns = columns}};
    struct table table = {.prefix = "t",
                          .n_keys = kind[1] ? 2 : 1,
                          .keys = keys,
                          .n_uniques = data[0] & 0x80 ? 2 : 0,
                          .uniques = uniques};
    /* A copy of the exact size: whoever reads past it is found out. */
    struct slice bytes = slice_make(mem_alloc(size), size - 1);
    char *copy;
    memcpy(&copy, &bytes.data, sizeof copy);
    memcpy(copy, data + 1, size - 1);
    check_key(&table, bytes);
    check_snapshot(bytes);
    struct buf identity = {0};
    if (keys[0].type->normalise) keys[0].type->normalise(bytes, &identity);
    buf_deinit(&identity);
    mem_free(copy);
    return 0;
}
