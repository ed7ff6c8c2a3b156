/* A recorded session made into events by every encoder that writes JSON: the input is one of fuzz_pgoutput's, and its last byte
 * chooses the format. Whatever the stream holds, an event is one JSON value. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cdc/decode/reader.h"
#include "cdc/encode/encode.h"
#include "cdc/feed/delivery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Those that tests/fuzz/record_pgoutput records. */
static const struct type builtins[] = {
    {.oid = 16, .name = "bool"},
    {.oid = 17, .name = "bytea"},
    {.oid = 18, .name = "char"},
    {.oid = 20, .name = "int8"},
    {.oid = 21, .name = "int2"},
    {.oid = 23, .name = "int4"},
    {.oid = 25, .name = "text"},
    {.oid = 26, .name = "oid"},
    {.oid = 114, .name = "json"},
    {.oid = 142, .name = "xml"},
    {.oid = 600, .name = "point"},
    {.oid = 650, .name = "cidr"},
    {.oid = 700, .name = "float4"},
    {.oid = 701, .name = "float8"},
    {.oid = 790, .name = "money"},
    {.oid = 829, .name = "macaddr"},
    {.oid = 869, .name = "inet"},
    {.oid = 1042, .name = "bpchar"},
    {.oid = 1082, .name = "date"},
    {.oid = 1083, .name = "time"},
    {.oid = 1114, .name = "timestamp"},
    {.oid = 1184, .name = "timestamptz"},
    {.oid = 1186, .name = "interval"},
    {.oid = 1266, .name = "timetz"},
    {.oid = 1560, .name = "bit"},
    {.oid = 1562, .name = "varbit"},
    {.oid = 1700, .name = "numeric"},
    {.oid = 2950, .name = "uuid"},
    {.oid = 3614, .name = "tsvector"},
    {.oid = 3802, .name = "jsonb"},
    {.oid = 3904, .name = "int4range"},
    {.oid = 1007, .name = "_int4", .element_oid = 23},
    {.oid = 1009, .name = "_text", .element_oid = 25},
};

static struct types *make_types(void) {
    struct types *types = types_create();
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++) {
        struct type type = builtins[i];
        type.kind = 'b';
        type.delimiter = ',';
        type.base_typmod = -1;
        types_add(types, &type);
    }
    return types;
}

static const struct event_encoder *const encoders[] = {&encode_json, &encode_json_schema,
                                                       &encode_plain, &encode_cloudevents};

struct maker {
    struct types *types;
    const struct event_encoder *encoder;
    struct event_format format;
    struct event_source source;
    struct event_table *table; /* of the relation that came last */
    struct buf out;
};

/* jansson wants UTF-8, and no NUL in a key: PostgreSQL sends so, random bytes need not. */
static bool is_plain(const struct buf *out) {
    for (size_t i = 0; i < out->len; i++) {
        if ((unsigned char)out->data[i] >= 0x80) return false;
    }
    return memmem(out->data, out->len, "\\u0000", 6) == NULL;
}

static void check_json(const struct buf *out) {
    if (!out->len || !is_plain(out)) return;
    json_error_t error;
    json_t *json =
        json_loadb(out->data, out->len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    ASSERT(json || json_error_code(&error) == json_error_numeric_overflow);
    json_decref(json);
}

static const struct event_table *table_of(struct maker *maker, const struct relation *relation) {
    if (maker->table && maker->table->oid == relation->oid &&
        maker->table->version == relation->version)
        return maker->table;
    event_table_destroy(&maker->table);
    struct event_table_plan plan = {
        .relation = relation, .types = maker->types, .format = &maker->format, .prefix = "fuzz"};
    maker->table = event_table_create(&plan);
    struct error err;
    if (maker->encoder->prepare) ASSERT(maker->encoder->prepare(maker->table, NULL, &err));
    return maker->table;
}

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    struct maker *maker = self;
    (void)err;
    maker->source.xid = tx->xid;
    maker->source.commit_time_us = tx->commit_time_us;
    event_source_begin(&maker->source);
    return true;
}

static void write_key(struct maker *maker, const struct event_table *table,
                      const struct value *row) {
    struct encode_tally tally = {0};
    maker->out.len = 0;
    if (table->n_key && row && maker->encoder->key(table, row, NULL, &tally, &maker->out))
        check_json(&maker->out);
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    static const char letters[] = {
        [CHANGE_INSERT] = 'c',   [CHANGE_UPDATE] = 'u',  [CHANGE_DELETE] = 'd',
        [CHANGE_TRUNCATE] = 't', [CHANGE_MESSAGE] = 'm',
    };
    struct maker *maker = self;
    (void)tx;
    (void)err;
    struct event event = {.op = letters[change->operation],
                          .lsn = change->row_lsn,
                          .now_us = 1700000000000000,
                          .before = change->old_row,
                          .after = change->new_row,
                          .before_is_key = change->old_is_key,
                          .old_row = change->old_row,
                          .message_prefix = change->message_prefix,
                          .message_content = change->message_content};
    if (change->relation) event.table = table_of(maker, change->relation);
    struct encode_tally tally = {0};
    maker->out.len = 0;
    if (maker->encoder->value(&maker->source, &event, &tally, &maker->out)) check_json(&maker->out);
    if (event.table) {
        write_key(maker, event.table, change->old_row);
        write_key(maker, event.table, change->new_row);
    }
    return true;
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)self;
    (void)tx;
    (void)err;
    return true;
}

static const struct change_sink_ops ops = {
    .begin = on_begin, .change = on_change, .commit = on_commit};

static struct event_format format_of(uint8_t choice) {
    return (struct event_format){.decimals = choice % 3,
                                 .times = choice / 3 % 3,
                                 .bytes = choice / 9 % 3,
                                 .intervals = choice & 1,
                                 .hstore = choice >> 1 & 1,
                                 .non_finite = choice / 27 % 3};
}

static void make_events(struct slice file, struct maker *maker) {
    struct delivery delivery;
    delivery_init(&delivery, (struct change_sink){.ops = &ops, .self = maker, .name = "fuzz"});
    delivery_new_session(&delivery, 1000);
    struct reader in = reader_make(file);
    while (reader_left(&in)) {
        struct slice message = reader_bytes(&in, reader_u32(&in));
        struct frame frame = {.kind = FRAME_DATA, .start_lsn = 1, .payload = message};
        struct error err;
        if (in.failed || !delivery_frame(&delivery, &frame, &err)) break;
    }
    delivery_deinit(&delivery);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct types *types;
    if (!types) types = make_types();
    if (size == 0) return 0;
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        struct maker maker = {
            .types = types, .encoder = encoders[i], .format = format_of(data[size - 1])};
        event_source_init(&maker.source, "1", "fuzz", "db", &maker.format);
        make_events(slice_make(data, size), &maker);
        event_source_deinit(&maker.source);
        event_table_destroy(&maker.table);
        buf_deinit(&maker.out);
    }
    return 0;
}
