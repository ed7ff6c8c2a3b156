/* The parser of COPY's text rows: the first byte is the number of columns, the rest rows. Values must lie within
 * their row, one behind the other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cdc/decode/copytext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *row, size_t len, uint16_t n, const struct value *values) {
    const char *at = row;
    for (uint16_t i = 0; i < n; i++) {
        if (values[i].kind == VALUE_NULL) continue;
        ASSERT(values[i].kind == VALUE_TEXT);
        ASSERT(values[i].data >= at && values[i].data + values[i].len <= row + len);
        at = values[i].data + values[i].len;
    }
}

/* Tries the seed's own number of columns as well, so that mutations of a row stay interesting. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    uint16_t tabs = 1;
    for (size_t i = 0; i < size; i++)
        tabs += data[i] == '\t';
    const uint16_t counts[] = {data[0], tabs};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct value *values = malloc((counts[i] + 1U) * sizeof *values);
        char *row = malloc(size);
        memcpy(row, data, size);
        size_t taken;
        for (size_t at = 0; (taken = copytext_take(row + at, size - at, counts[i], values));
             at += taken) {
            ASSERT(taken <= size - at && row[at + taken - 1] == '\n');
            check(row + at, taken, counts[i], values);
        }
        free(row);
        free(values);
    }
    return 0;
}
