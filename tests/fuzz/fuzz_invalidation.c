/* Records of invalidations: whatever is read is written again as the same bytes, and a follower takes any of it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "cdc/feed/follower.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(struct slice bytes, const struct invalidation *record) {
    struct buf relations = {0};
    struct buf changes = {0};
    struct buf again = {0};
    for (uint32_t i = 0; i < record->n_relations; i++)
        invalidation_write_relation(&relations, &record->relations[i]);
    for (uint32_t i = 0; i < record->n_changes; i++)
        invalidation_write_change(&changes, &record->changes[i]);
    invalidation_write(&again, record, record->n_relations, buf_slice(&relations),
                       record->n_changes, buf_slice(&changes));
    ASSERT(slice_equal(buf_slice(&again), bytes));
    buf_deinit(&relations);
    buf_deinit(&changes);
    buf_deinit(&again);
}

static bool on_started(void *self, const struct feed_identity *identity, struct error *err) {
    (void)identity;
    (void)err;
    bool *attached = self;
    ASSERT(!*attached);
    return *attached = true;
}

static void on_ended(void *self, const struct error *cause) {
    (void)cause;
    bool *attached = self;
    ASSERT(*attached);
    *attached = false;
}

static bool on_transaction(void *self, const struct transaction *tx, struct error *err) {
    (void)tx;
    (void)err;
    return *(bool *)self;
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    (void)tx;
    (void)err;
    for (uint16_t i = 0; change->new_row && i < change->relation->n_columns; i++)
        ASSERT(change->new_row[i].kind <= VALUE_BINARY);
    return *(bool *)self;
}

static bool on_progress(void *self, uint64_t end_lsn, struct error *err) {
    (void)end_lsn;
    (void)err;
    return *(bool *)self;
}

static const struct change_sink_ops ops = {.started = on_started,
                                           .ended = on_ended,
                                           .begin = on_transaction,
                                           .change = on_change,
                                           .commit = on_transaction,
                                           .progress = on_progress};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size);
    struct arena *arena = arena_create(4096);
    struct invalidation record;
    struct error err;
    bool attached = false;
    struct follower follower;
    follower_init(&follower, (struct change_sink){.ops = &ops, .self = &attached, .name = "fuzz"});
    follower.topic = "t";
    bool read = invalidation_read(bytes, arena, &record) == INVALIDATION_READ;
    if (read) {
        write_again(bytes, &record);
        char database[64] = "";
        char publication[64] = "";
        memcpy(database, record.source.database.data,
               record.source.database.len < 63 ? record.source.database.len : 63);
        memcpy(publication, record.source.publication.data,
               record.source.publication.len < 63 ? record.source.publication.len : 63);
        follower.database = database;
        follower.publication = publication;
        for (int i = 0; i < 2; i++)
            (void)!follower_take(&follower, bytes, &err);
    }
    follower_end(&follower, NULL);
    follower_deinit(&follower);
    arena_destroy(&arena);
    return 0;
}
