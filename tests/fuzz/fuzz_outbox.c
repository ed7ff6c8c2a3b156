/* The content of an outbox's logical message: its fields lie within it, and are what a JSON reader makes of them. The first line of
 * the input is the field's name. Beside it the text of a row filter, which must be read to its end. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cdc/shape/outbox.h"
#include "cdc/shape/row_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_filter(const char *text, const char *name) {
    const struct catalog_column columns[] = {
        {.name = name, .type_oid = 23, .in_identity = true},
        {.name = "other", .type_oid = 23},
    };
    struct catalog_table table = {.n_columns = 2, .columns = columns, .replica_identity = 'd'};
    bool pushable = row_filter_pushable(text, &table);
    if (pushable && strcmp(name, "other") != 0) ASSERT(!row_filter_mentions(text, "other"));
}

static void read_message(struct slice content, const char *name) {
    struct outbox_entry entry = {
        .topic = "$1", .route_by = "r", .key = name, .payload = name, .id = "i"};
    struct arena *arena = arena_create(1024);
    struct outbox_message message;
    json_t *parsed;
    if (!outbox_read_content(&entry, content, &parsed, arena, &message) && message.payload.data) {
        json_error_t unused;
        json_t *again = json_loadb(message.payload.data, message.payload.len,
                                   JSON_DECODE_ANY | JSON_REJECT_DUPLICATES |
                                       JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
                                   &unused);
        json_t *wanted = json_object_get(parsed, name);
        ASSERT(json_is_string(wanted) || (again && json_equal(again, wanted)));
        json_decref(again);
        outbox_topic(&entry, &message, arena);
    }
    json_decref(parsed);
    arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = memchr(data, '\n', size);
    if (!end) return 0;
    char *name = mem_slicedup(slice_make(data, (size_t)(end - data)));
    struct slice rest = slice_make(end + 1, size - (size_t)(end - data) - 1);
    char *text = mem_slicedup(rest);
    read_filter(text, name);
    read_message(rest, name);
    mem_free(text);
    mem_free(name);
    return 0;
}
