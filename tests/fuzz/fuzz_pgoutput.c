/* The decoder of pgoutput and the delivery behind it: the input is a session of messages, each behind its length in 4
 * bytes. The sink checks what base/change.h promises it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cdc/decode/reader.h"
#include "cdc/feed/delivery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct checker {
    bool open;
    uint64_t next_index;
    uint64_t sum; /* of all bytes: each value is really read */
};

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)tx;
    (void)err;
    struct checker *checker = self;
    ASSERT(!checker->open);
    checker->open = true;
    checker->next_index = 0;
    return true;
}

static void read_values(struct checker *checker, uint16_t n, const struct value *values) {
    for (uint16_t i = 0; values && i < n; i++) {
        ASSERT(values[i].data);
        for (uint32_t at = 0; at < values[i].len; at++)
            checker->sum += (unsigned char)values[i].data[at];
    }
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    (void)tx;
    (void)err;
    struct checker *checker = self;
    ASSERT(checker->open && change->index == checker->next_index);
    ASSERT((change->relation == NULL) == (change->operation == CHANGE_MESSAGE));
    checker->next_index++;
    if (!change->relation) {
        checker->sum += change->message_prefix.len + change->message_content.len;
        return true;
    }
    const struct relation *relation = change->relation;
    checker->sum += strlen(relation->schema) + strlen(relation->name);
    for (uint16_t i = 0; i < relation->n_columns; i++)
        checker->sum += strlen(relation->columns[i].name);
    read_values(checker, relation->n_columns, change->old_row);
    read_values(checker, relation->n_columns, change->new_row);
    return true;
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)tx;
    (void)err;
    struct checker *checker = self;
    ASSERT(checker->open);
    checker->open = false;
    return true;
}

static const struct change_sink_ops ops = {
    .begin = on_begin, .change = on_change, .commit = on_commit};

/* A copy of its own for each message: a read beyond it is one beyond an allocation. */
static bool deliver_copy(struct delivery *delivery, struct slice message) {
    char *copy = malloc(message.len ? message.len : 1);
    if (message.len) memcpy(copy, message.data, message.len);
    struct frame frame = {
        .kind = FRAME_DATA, .start_lsn = 1, .payload = slice_make(copy, message.len)};
    struct error err;
    bool ok = delivery_frame(delivery, &frame, &err);
    free(copy);
    while (ok && delivery_is_replaying(delivery))
        ok = delivery_replay(delivery, &err);
    return ok;
}

static void decode_all(struct slice file) {
    struct pgoutput_decoder *decoder = pgoutput_create();
    struct pgoutput_message message;
    struct reader in = reader_make(file);
    while (reader_left(&in)) {
        struct slice bytes = reader_bytes(&in, reader_u32(&in));
        if (!pgoutput_decode(decoder, bytes, &message)) break;
        ASSERT(pgoutput_kind_name(message.kind));
    }
    pgoutput_destroy(&decoder);
}

/* With a spool open and prepared transactions are kept and replayed; without, they are an error. */
static void deliver_all(struct slice file, struct spool *spool) {
    struct checker checker = {0};
    struct delivery delivery;
    delivery_init(&delivery, (struct change_sink){.ops = &ops, .self = &checker, .name = "fuzz"});
    if (spool) delivery_use_spool(&delivery, spool);
    delivery_new_session(&delivery, 1000);
    struct reader in = reader_make(file);
    /* A sink that is done with a session after an error, as the feed is. */
    while (reader_left(&in)) {
        struct slice message = reader_bytes(&in, reader_u32(&in));
        if (in.failed || !deliver_copy(&delivery, message)) break;
    }
    delivery_deinit(&delivery);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice file = slice_make(data, size);
    decode_all(file);
    deliver_all(file, NULL);
    struct metrics *metrics = metrics_create();
    struct spool_config config = {.directory = "/tmp/freshet-fuzz-spool",
                                  .name = "fuzz",
                                  .feed = "fuzz",
                                  .memory_bytes = 2048};
    struct spool *spool = spool_create(&config, metrics);
    deliver_all(file, spool);
    spool_destroy(&spool);
    metrics_destroy(&metrics);
    return 0;
}
