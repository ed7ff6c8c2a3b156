/* A manifest; or a segment's text: its first line, and the records behind it. What is read is written back the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "connectors/archive/gzip.h"
#include "connectors/archive/manifest.h"
#include "connectors/archive/segment.h"
#include "connectors/runtime/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_manifest(struct slice text) {
    struct manifest manifest;
    if (!manifest_read(text, &manifest)) return;
    struct buf again = {0};
    manifest_write(&again, &manifest, manifest.n_listed == 0);
    struct manifest second;
    ASSERT(manifest_read(buf_slice(&again), &second));
    ASSERT(second.position.end_lsn == manifest.position.end_lsn);
    ASSERT(second.n_listed == manifest.n_listed && second.n_closed == manifest.n_closed);
    manifest_deinit(&second);
    manifest_deinit(&manifest);
    buf_deinit(&again);
}

static void read_record(struct slice line, const struct shape *shape) {
    struct arena *arena = arena_create(4096);
    struct record record;
    struct record second;
    struct buf again = {0};
    if (record_read(line, shape, arena, &record) && record.row) {
        struct write write = {.key = record.key, .stamp = record.stamp, .row = record.row};
        record_append(&again, shape, &write, true);
        ASSERT(record_read(buf_slice(&again), shape, arena, &second));
        for (uint16_t i = 0; i < shape->n_columns; i++) {
            ASSERT(record.row[i].kind == second.row[i].kind);
            ASSERT(record.row[i].kind != VALUE_TEXT ||
                   slice_equal(slice_make(record.row[i].data, record.row[i].len),
                               slice_make(second.row[i].data, second.row[i].len)));
        }
    }
    buf_deinit(&again);
    arena_destroy(&arena);
}

static void read_segment(struct slice text) {
    struct shape *shape = NULL;
    const char *end;
    while (text.len && (end = memchr(text.data, '\n', text.len))) {
        struct slice line = slice_make(text.data, (size_t)(end - text.data));
        uint64_t number;
        if (!shape && !(shape = segment_read_header(line, &number))) return;
        read_record(line, shape);
        text = slice_make(end + 1, text.len - line.len - 1);
    }
    shape_release(&shape);
}

static void read_gzip(struct slice bytes) {
    struct gunzip *gunzip = gunzip_create();
    struct buf out = {0};
    if (gunzip_feed(gunzip, bytes, &out)) read_segment(buf_slice(&out));
    buf_deinit(&out);
    gunzip_destroy(&gunzip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_make(data, size);
    read_manifest(text);
    read_segment(text);
    read_gzip(text);
    return 0;
}
