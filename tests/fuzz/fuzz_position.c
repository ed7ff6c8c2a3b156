/* The position file, and the note of a walk in it: whatever is read as one is written back as the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "connectors/runtime/load_note.h"
#include "connectors/runtime/position.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_note(const char *text) {
    uint64_t lsn;
    uint64_t again_lsn;
    char *after;
    char *again;
    if (!load_note_read_walk(text, &lsn, &after)) return;
    struct buf note = {0};
    load_note_append_walk(&note, 1, lsn, after);
    ASSERT(load_note_read_walk(buf_text(&note) + strlen("1 "), &again_lsn, &again));
    ASSERT(lsn == again_lsn && strcmp(after, again) == 0);
    buf_deinit(&note);
    mem_free(after);
    mem_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct position_record record;
    char *text = mem_slicedup(slice_make(data, size));
    read_note(text);
    mem_free(text);
    if (!position_read(slice_make(data, size), &record)) return 0;
    struct buf again = {0};
    position_write(&again, &record);
    struct position_record second;
    ASSERT(position_read(buf_slice(&again), &second));
    ASSERT(second.position.end_lsn == record.position.end_lsn);
    ASSERT(strcmp(second.target, record.target) == 0);
    buf_deinit(&again);
    return 0;
}
