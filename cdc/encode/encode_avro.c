/* Debezium's envelope as Avro, in Confluent's wire format: a zero byte, the schema's id in four, and the record. Schemas and
 * names are those that Debezium's events get from the Avro converters of Kafka Connect, with names adjusted to Avro's rules.
 *
 * A table's schemas get their ids as the table is prepared. Rows go from PostgreSQL's text into the record in one pass; types
 * that text does not nearly stand for (times, decimals, arrays) pass through the codec's JSON, which gives way to its Avro where it
 * stands. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cdc/encode/avro.h"
#include "cdc/encode/encode_json.h"
#include "cdc/encode/event_schema.h"

enum { MAGIC = 0, HEAD_BYTES = 5, LONG_DIGITS = 18, NULL_BRANCH = 0, VALUE_BRANCH = 2 };

struct avro_column {
    enum codec_form form;
    const struct connect_schema *schema;
    char branch;         /* of a value, where the schema is optional */
    struct slice null;   /* what stands for NULL; empty: nothing can */
    struct slice filler; /* as event_column has them; empty: there is none of this type */
    struct slice placeholder;
};

struct avro_table {
    const struct avro_column *columns;
    struct slice source;   /* the fields schema and table of `source` */
    struct slice key_more; /* the field behind the columns of the key, or empty */
};

/* ---- what is made once ---- */

static void write_head(uint32_t id, char head[HEAD_BYTES]) {
    uint32_t big_endian = __builtin_bswap32(id);
    head[0] = MAGIC;
    memcpy(head + 1, &big_endian, sizeof big_endian);
}

static void append_head(struct buf *out, uint32_t id) {
    write_head(id, buf_reserve(out, HEAD_BYTES));
    out->len += HEAD_BYTES;
}

/* The id of a topic's schema; `side` is "key" or "value". */
static bool find_id(struct schema_registry *registry, const char *topic, const char *side,
                    const struct connect_schema *schema, uint32_t *id, struct error *err) {
    ASSERT(registry);
    char *subject = mem_printf("%s-%s", topic, side);
    struct buf text = {0};
    avro_schema_append(schema, &text);
    bool ok = schema_registry_id(registry, subject, buf_slice(&text), id, err);
    buf_deinit(&text);
    mem_free(subject);
    return ok;
}

static struct slice make_head(struct arena *arena, uint32_t id) {
    char *head = arena_alloc(arena, HEAD_BYTES);
    write_head(id, head);
    return slice_make(head, HEAD_BYTES);
}

static const char *adjusted(const char *name, void (*append)(const char *, struct buf *),
                            struct arena *arena) {
    struct buf text = {0};
    append(name, &text);
    const char *kept = arena_strdup(arena, buf_text(&text));
    buf_deinit(&text);
    return kept;
}

static bool is_taken(const struct connect_field *fields, uint16_t n, const char *name) {
    for (uint16_t i = 0; i < n; i++) {
        if (strcmp(fields[i].name, name) == 0) return true;
    }
    return false;
}

/* "a-b" and "a_b" are one name in Avro: the second is a_b_. */
static void adjust_fields(struct connect_field *fields, uint16_t n, struct arena *arena) {
    for (uint16_t i = 0; i < n; i++) {
        struct buf name = {0};
        avro_field_name_append(fields[i].name, &name);
        while (is_taken(fields, i, buf_text(&name)))
            buf_append_char(&name, '_');
        fields[i].name = arena_strdup(arena, buf_text(&name));
        buf_deinit(&name);
    }
}

/* Debezium says of an enum's elements that none is null; where one is, the row is to come all the same. */
static void admit_null_elements(struct connect_schema *schema, struct arena *arena) {
    if (schema->kind != CONNECT_ARRAY || schema->items->optional) return;
    struct connect_schema *items = arena_alloc(arena, sizeof *items);
    *items = *schema->items;
    items->optional = true;
    schema->items = items;
}

/* What the JSON becomes; empty where Avro has nothing for it. */
static struct slice from_json(const struct connect_schema *schema, struct slice json,
                              struct arena *arena) {
    struct buf text = {0};
    buf_append_slice(&text, json);
    struct slice made = {0};
    if (avro_replace_json(schema, &text, 0)) made = arena_dup(arena, buf_slice(&text));
    buf_deinit(&text);
    return made;
}

static void make_column(struct avro_column *column, const struct event_column *from,
                        const struct connect_schema *schema, struct arena *arena) {
    column->form = codec_form(from->codec);
    column->schema = schema;
    column->branch = avro_branch(schema, false);
    column->null = from_json(schema, SLICE("null"), arena);
    column->filler = from_json(schema, from->filler, arena);
    column->placeholder = from_json(schema, from->placeholder, arena);
}

static struct slice make_source(const struct event_table *table, struct arena *arena) {
    struct buf text = {0};
    avro_append_bytes(&text, slice_from(table->schema));
    avro_append_bytes(&text, slice_from(table->name));
    struct slice source = arena_dup(arena, buf_slice(&text));
    buf_deinit(&text);
    return source;
}

/* From ,"name":"text". */
static struct slice make_key_more(const struct event_table *table, struct arena *arena) {
    static const struct connect_schema string = {.kind = CONNECT_STRING};
    struct slice json = table->key_more;
    if (!table->key_field) return (struct slice){0};
    size_t skip = strlen(table->key_field) + strlen(",\"\":");
    return from_json(&string, slice_make(json.data + skip, json.len - skip), arena);
}

static bool avro_prepare(struct event_table *table, struct schema_registry *registry,
                         struct error *err) {
    struct arena *arena = table->arena;
    const char *space = adjusted(table->topic, avro_full_name_append, arena);
    struct connect_field *fields = event_schema_columns(table, arena);
    struct avro_column *columns = arena_zalloc(arena, (table->n_columns + 1u) * sizeof *columns);
    struct avro_table *avro = arena_zalloc(arena, sizeof *avro);
    adjust_fields(fields, table->n_columns, arena);
    for (uint16_t i = 0; i < table->n_columns; i++) {
        admit_null_elements(&fields[i].schema, arena);
        make_column(&columns[i], &table->columns[i], &fields[i].schema, arena);
    }
    avro->columns = columns;
    avro->source = make_source(table, arena);
    avro->key_more = make_key_more(table, arena);
    table->avro = avro;
    struct connect_schema key = event_schema_key(table, space, fields, arena);
    struct connect_schema envelope = event_schema_envelope(table, space, fields, arena);
    uint32_t key_id = 0, value_id;
    if (table->n_key && !find_id(registry, table->topic, "key", &key, &key_id, err)) return false;
    if (!find_id(registry, table->topic, "value", &envelope, &value_id, err)) return false;
    table->key_head = make_head(arena, key_id);
    table->value_head = make_head(arena, value_id);
    return true;
}

static const struct connect_schema *message_schema(const struct event_source *source) {
    return source->format->bytes == BYTES_BASE64 ? &connect_message_value
                                                 : &connect_text_message_value;
}

static bool avro_prepare_side(struct event_source *source, enum event_side side,
                              struct error *err) {
    const char *prefix = source->prefix;
    const struct {
        const char *first, *second; /* of the topic's name */
        const struct connect_schema *key, *value;
    } sides[] = {
        [SIDE_MESSAGE] = {prefix, "message", &connect_message_key, message_schema(source)},
        [SIDE_TRANSACTION] = {prefix, "transaction", &connect_transaction_key,
                              &connect_transaction_value},
        [SIDE_HEARTBEAT] = {"__debezium-heartbeat", prefix, &connect_heartbeat_key,
                            &connect_heartbeat_value},
    };
    if (source->sides[side].known) return true;
    struct arena *arena = arena_create(512);
    const char *topic = event_topic(arena, sides[side].first, sides[side].second, NULL);
    source->sides[side].known = find_id(source->registry, topic, "key", sides[side].key,
                                        &source->sides[side].key_id, err) &&
                                find_id(source->registry, topic, "value", sides[side].value,
                                        &source->sides[side].value_id, err);
    arena_destroy(&arena);
    return source->sides[side].known;
}

/* ---- rows ---- */

/* 18 digits at most; a sign or none. */
static bool append_integer(struct slice text, int64_t limit, struct buf *out) {
    bool negative = text.len && text.data[0] == '-';
    int64_t value = 0;
    if (text.len == negative || text.len - negative > LONG_DIGITS) return false;
    for (size_t i = negative; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        value = value * 10 + (text.data[i] - '0');
    }
    if (negative) value = -value;
    if (value > limit || value < -limit - 1) return false;
    avro_append_long(out, value);
    return true;
}

static int nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \x00ff */
static bool append_hex(struct slice text, struct buf *out) {
    if (text.len < 2 || text.len % 2 || memcmp(text.data, "\\x", 2) != 0) return false;
    size_t n = (text.len - 2) / 2;
    avro_append_long(out, (int64_t)n);
    char *to = buf_reserve(out, n);
    for (size_t i = 0; i < n; i++) {
        int high = nibble(text.data[2 + 2 * i]);
        int low = nibble(text.data[3 + 2 * i]);
        if (high < 0 || low < 0) return false;
        to[i] = (char)(high << 4 | low);
    }
    out->len += n;
    return true;
}

/* By the short way. False: there is none for this text, and *out is to be cut back. */
static bool append_direct(const struct avro_column *column, struct slice text, struct buf *out) {
    if (column->schema->optional) buf_append_char(out, column->branch);
    switch (column->form) {
    case FORM_TEXT: avro_append_bytes(out, text); return true;
    case FORM_HEX: return append_hex(text, out);
    case FORM_BOOLEAN:
        if (text.len != 1 || (*text.data != 't' && *text.data != 'f')) return false;
        buf_append_char(out, *text.data == 't');
        return true;
    case FORM_INTEGER:
        switch (column->schema->kind) {
        case CONNECT_INT16: return append_integer(text, INT16_MAX, out);
        case CONNECT_INT32: return append_integer(text, INT32_MAX, out);
        default: return append_integer(text, INT64_MAX, out);
        }
    case FORM_JSON: break;
    }
    return false;
}

static bool refuse(const struct event_column *column, const char *why, struct encode_tally *tally) {
    tally->refused = column->name_json.data;
    tally->why = why;
    return false;
}

static bool append_text(const struct event_column *from, const struct avro_column *column,
                        struct slice text, struct encode_tally *tally, struct buf *out) {
    size_t at = out->len;
    if (append_direct(column, text, out)) return true;
    out->len = at;
    switch (codec_encode(from->codec, text, out)) {
    case CODEC_DONE: break;
    case CODEC_AS_TEXT: tally->as_text++; break;
    case CODEC_REFUSED: return refuse(from, "holds a value that format.non_finite refuses", tally);
    }
    if (avro_replace_json(column->schema, out, at)) return true;
    return refuse(from, "holds a value that its Avro type has no form for", tally);
}

static bool append_ready(const struct event_column *from, struct slice bytes, const char *why,
                         struct encode_tally *tally, struct buf *out) {
    if (!bytes.len) return refuse(from, why, tally);
    buf_append_slice(out, bytes);
    return true;
}

static bool append_value(const struct event_column *from, const struct avro_column *column,
                         const struct value *value, struct encode_tally *tally, struct buf *out) {
    switch (value->kind) {
    case VALUE_NULL:
        return append_ready(from, column->null, "is NULL, and NOT NULL in the catalog", tally, out);
    case VALUE_UNCHANGED:
        return append_ready(from, column->placeholder,
                            "is unchanged and not in the stream, and its Avro type has no form for "
                            "that: REPLICA IDENTITY FULL has it there",
                            tally, out);
    case VALUE_TEXT:
    case VALUE_BINARY: break; /* the feed asks for text */
    }
    return append_text(from, column, slice_make(value->len ? value->data : "", value->len), tally,
                       out);
}

/* An unchanged value that the old row has, be it the key alone: PostgreSQL sends a key that is stored apart. */
static const struct value *whole(const struct value *row, const struct value *old_row, uint16_t i) {
    bool there = row[i].kind == VALUE_UNCHANGED && old_row && old_row[i].kind != VALUE_NULL;
    return there ? &old_row[i] : &row[i];
}

/* The record of a row, with the branch of its union. `is_key`: what is not of the identity gets its filler. */
static bool append_row(const struct event_table *table, const struct value *row,
                       const struct value *old_row, bool is_key, struct encode_tally *tally,
                       struct buf *out) {
    buf_append_char(out, row ? VALUE_BRANCH : NULL_BRANCH);
    for (uint16_t i = 0; row && i < table->n_columns; i++) {
        const struct event_column *from = &table->columns[i];
        const struct avro_column *column = &table->avro->columns[i];
        const struct value *value = whole(row, old_row, i);
        bool done = is_key && value->kind == VALUE_NULL
                        ? append_ready(from, column->filler, "has no filler", tally, out)
                        : append_value(from, column, value, tally, out);
        if (!done) return false;
    }
    return true;
}

static bool avro_key(const struct event_table *table, const struct value *row,
                     const struct value *old_row, struct encode_tally *tally, struct buf *out) {
    buf_append_slice(out, table->key_head);
    for (uint16_t i = 0; i < table->n_key; i++) {
        const struct event_column *from = &table->columns[table->key[i]];
        const struct avro_column *column = &table->avro->columns[table->key[i]];
        const struct value *value = whole(row, old_row, table->key[i]);
        /* Of a deleted row the stream has the identity alone, to which named keys need not belong. */
        bool done = value->kind == VALUE_NULL
                        ? append_ready(from, column->filler, "has no filler", tally, out)
                        : append_value(from, column, value, tally, out);
        if (!done) return false;
    }
    buf_append_slice(out, table->avro->key_more);
    return true;
}

/* ---- the envelope ---- */

static void append_optional_long(struct buf *out, bool present, int64_t value) {
    buf_append_char(out, present ? VALUE_BRANCH : NULL_BRANCH);
    if (present) avro_append_long(out, value);
}

static int64_t to_millis(int64_t us) { return us / 1000 - (us % 1000 < 0); }

/* Wraps behind the year 2262, as Java's does. */
static int64_t to_nanos(int64_t us) { return (int64_t)((uint64_t)us * 1000); }

/* ["last","lsn"], or [null,"lsn"]. Its length stands in one byte: it is below 64. */
static void append_sequence(const struct event_source *source, uint64_t lsn, struct buf *out) {
    size_t mark = out->len;
    buf_append_char(out, 0);
    if (source->last_lsn && !source->snapshot) {
        buf_append(out, "[\"", 2);
        buf_append_u64(out, source->last_lsn);
        buf_append(out, "\",\"", 3);
    } else {
        buf_append_text(out, "[null,\"");
    }
    buf_append_u64(out, lsn);
    buf_append(out, "\"]", 2);
    out->data[mark] = (char)((out->len - mark - 1) * 2);
}

/* As connect_source has the fields. */
static void append_source(const struct event_source *source, const struct event *event,
                          struct buf *out) {
    avro_append_bytes(out, slice_from(source->version));
    avro_append_bytes(out, SLICE("postgresql"));
    avro_append_bytes(out, slice_from(source->prefix));
    avro_append_long(out, to_millis(source->commit_time_us));
    buf_append_char(out, 0); /* of a string with a default, or null */
    avro_append_bytes(out, slice_from(encode_markers[event->marker]));
    avro_append_bytes(out, slice_from(source->database));
    buf_append_char(out, VALUE_BRANCH);
    append_sequence(source, event->lsn, out);
    append_optional_long(out, true, source->commit_time_us);
    append_optional_long(out, true, to_nanos(source->commit_time_us));
    buf_append_slice(out, event->table->avro->source);
    append_optional_long(out, source->xid != 0, (uint32_t)source->xid);
    append_optional_long(out, true, (int64_t)event->lsn);
    append_optional_long(out, false, 0); /* xmin */
}

static void append_order(const struct event_source *source, const struct event *event,
                         struct buf *out) {
    buf_append_char(out, event->order ? VALUE_BRANCH : NULL_BRANCH);
    if (!event->order) return;
    char id[64];
    int n = snprintf(id, sizeof id, "%u:%llu", (unsigned)(uint32_t)source->xid,
                     (unsigned long long)event->lsn);
    avro_append_bytes(out, slice_make(id, (size_t)n));
    avro_append_long(out, (int64_t)event->order->total);
    avro_append_long(out, (int64_t)event->order->in_collection);
}

/* Logical messages and the events of transactions are few: they go by way of JSON. */
static void append_framed(const struct connect_schema *schema, uint32_t id, struct slice payload,
                          struct buf *out) {
    append_head(out, id);
    size_t at = out->len;
    buf_append_slice(out, payload);
    bool fits = avro_replace_json(schema, out, at);
    ASSERT(fits); /* we have written both */
}

static bool avro_message(const struct event_source *source, const struct event *event,
                         struct encode_tally *tally, struct buf *out) {
    append_head(out, source->sides[SIDE_MESSAGE].value_id);
    size_t at = out->len;
    return encode_json.value(source, event, tally, out) &&
           avro_replace_json(message_schema(source), out, at);
}

static bool avro_value(const struct event_source *source, const struct event *event,
                       struct encode_tally *tally, struct buf *out) {
    if (!event->table) return avro_message(source, event, tally, out);
    buf_append_slice(out, event->table->value_head);
    if (!append_row(event->table, event->before, NULL, event->before_is_key, tally, out) ||
        !append_row(event->table, event->after, event->old_row, false, tally, out))
        return false;
    append_source(source, event, out);
    append_order(source, event, out);
    avro_append_bytes(out, slice_make(&event->op, 1));
    append_optional_long(out, true, event->now_us / 1000);
    append_optional_long(out, true, event->now_us);
    append_optional_long(out, true, to_nanos(event->now_us));
    return true;
}

static void avro_message_key(const struct event_source *source, struct slice prefix,
                             struct buf *out) {
    struct buf json = {0};
    encode_json.message_key(source, prefix, &json);
    append_framed(&connect_message_key, source->sides[SIDE_MESSAGE].key_id, buf_slice(&json), out);
    buf_deinit(&json);
}

static void avro_frame(const struct event_source *source, enum event_frame frame,
                       struct slice payload, struct buf *out) {
    static const struct {
        const struct connect_schema *schema;
        enum event_side side;
        bool key;
    } frames[] = {
        [FRAME_TRANSACTION_KEY] = {&connect_transaction_key, SIDE_TRANSACTION, true},
        [FRAME_TRANSACTION] = {&connect_transaction_value, SIDE_TRANSACTION, false},
        [FRAME_HEARTBEAT_KEY] = {&connect_heartbeat_key, SIDE_HEARTBEAT, true},
        [FRAME_HEARTBEAT] = {&connect_heartbeat_value, SIDE_HEARTBEAT, false},
    };
    enum event_side side = frames[frame].side;
    append_framed(frames[frame].schema,
                  frames[frame].key ? source->sides[side].key_id : source->sides[side].value_id,
                  payload, out);
}

const struct event_encoder encode_avro = {
    .name = "avro",
    .registers = true,
    .prepare = avro_prepare,
    .prepare_side = avro_prepare_side,
    .key = avro_key,
    .value = avro_value,
    .message_key = avro_message_key,
    .frame = avro_frame,
};
