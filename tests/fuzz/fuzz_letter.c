/* Records of the topic of dead letters: whatever is read as a letter has rows that fit its relation and gaps that can be
 * filled. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "cdc/publish/dead_letter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_row(const struct relation *relation, const struct value *row) {
    size_t bytes = 0;
    for (uint16_t i = 0; row && i < relation->n_columns; i++) {
        ASSERT(row[i].kind <= VALUE_TEXT);
        for (uint32_t k = 0; row[i].kind == VALUE_TEXT && k < row[i].len; k++)
            bytes += row[i].data[k] != 0;
    }
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_create(4096);
    struct dead_letter_parsed parsed;
    struct dead_letter_piece piece;
    struct buf content = {0};
    if (dead_letter_read(slice_make(data, size), arena, &parsed, &piece) == DEAD_LETTER_WHOLE) {
        for (size_t i = 0; i < parsed.n_gaps; i++) {
            ASSERT(parsed.gaps[i].value && parsed.gaps[i].bytes);
            parsed.gaps[i].value->len = 0;
        }
        read_row(&parsed.relation, parsed.change.old_row);
        read_row(&parsed.relation, parsed.change.new_row);
        if (dead_letter_settle(&parsed, &content)) ASSERT(parsed.op);
    }
    buf_deinit(&content);
    arena_destroy(&arena);
    return 0;
}
