/* Debezium's envelope as plain JSON, without schemas. */
#include <string.h>

#include "base/json.h"
#include "cdc/encode/encode_json.h"

const char *const encode_markers[] = {
    [SNAPSHOT_NONE] = "false",
    [SNAPSHOT_TRUE] = "true",
    [SNAPSHOT_FIRST] = "first",
    [SNAPSHOT_FIRST_IN_TABLE] = "first_in_data_collection",
    [SNAPSHOT_LAST_IN_TABLE] = "last_in_data_collection",
    [SNAPSHOT_LAST] = "last",
    [SNAPSHOT_INCREMENTAL] = "incremental",
};

#define APPEND(out, literal) buf_append(out, literal, sizeof(literal) - 1)

enum { DIGITS_MAX = 20 };

/* At the end of the room; returns how many. */
static size_t write_digits(char room[DIGITS_MAX], uint64_t value) {
    size_t at = DIGITS_MAX;
    do {
        room[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return DIGITS_MAX - at;
}

static void append_u64(struct buf *out, uint64_t value) {
    char room[DIGITS_MAX];
    size_t n = write_digits(room, value);
    buf_append(out, room + DIGITS_MAX - n, n);
}

static bool append_value(const struct event_column *column, const struct value *value,
                         struct encode_tally *tally, struct buf *out) {
    switch (value->kind) {
    case VALUE_NULL: APPEND(out, "null"); return true;
    case VALUE_UNCHANGED: buf_append_slice(out, column->placeholder); return true;
    case VALUE_TEXT: break;
    case VALUE_BINARY: break; /* the feed asks for text */
    }
    switch (codec_encode(column->codec, slice_make(value->data, value->len), out)) {
    case CODEC_DONE: return true;
    case CODEC_AS_TEXT: tally->as_text++; return true;
    case CODEC_REFUSED: break;
    }
    tally->refused = column->name_json.data;
    tally->why = "holds a value that format.non_finite refuses";
    return false;
}

/* An unchanged value that the old row has, be it the key alone: PostgreSQL sends a key that is stored apart. */
static const struct value *whole(const struct value *row, const struct value *old_row, uint16_t i) {
    bool there = row[i].kind == VALUE_UNCHANGED && old_row && old_row[i].kind != VALUE_NULL;
    return there ? &old_row[i] : &row[i];
}

bool encode_json_row(const struct event_table *table, const struct value *row,
                     const struct value *old_row, struct encode_tally *tally, struct buf *out) {
    if (!row) {
        APPEND(out, "null");
        return true;
    }
    buf_append_char(out, '{');
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (i) buf_append_char(out, ',');
        buf_append_slice(out, table->columns[i].name_json);
        if (!append_value(&table->columns[i], whole(row, old_row, i), tally, out)) return false;
    }
    buf_append_char(out, '}');
    return true;
}

/* The identity's values, and fillers for the rest: what the stream has of a deleted row. */
static bool append_key_row(const struct event_table *table, const struct value *row,
                           struct encode_tally *tally, struct buf *out) {
    buf_append_char(out, '{');
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct event_column *column = &table->columns[i];
        if (i) buf_append_char(out, ',');
        buf_append_slice(out, column->name_json);
        if (row[i].kind == VALUE_NULL)
            buf_append_slice(out, column->filler);
        else if (!append_value(column, &row[i], tally, out))
            return false;
    }
    buf_append_char(out, '}');
    return true;
}

/* Of a deleted row the stream has the identity alone, to which named keys need not belong. */
static bool append_named(const struct event_column *column, const struct value *value,
                         struct encode_tally *tally, struct buf *out) {
    buf_append_slice(out, column->name_json);
    if (value->kind != VALUE_NULL) return append_value(column, value, tally, out);
    buf_append_slice(out, column->filler);
    return true;
}

bool encode_json_columns(const struct event_table *table, uint16_t n, const uint16_t *places,
                         const struct value *row, const struct value *old_row,
                         struct encode_tally *tally, struct buf *out) {
    for (uint16_t i = 0; i < n; i++) {
        buf_append_char(out, i ? ',' : '{');
        if (!append_named(&table->columns[places[i]], whole(row, old_row, places[i]), tally, out))
            return false;
    }
    buf_append_char(out, '}');
    return true;
}

bool encode_json_header(const struct event_table *table, const struct value *row,
                        const struct value *old_row, struct encode_tally *tally, struct buf *out) {
    for (uint16_t i = 0; i < table->n_key; i++) {
        const struct event_column *column = &table->columns[table->key[i]];
        const struct value *value = whole(row, old_row, table->key[i]);
        buf_append_char(out, i ? ',' : '{');
        size_t before = out->len;
        buf_append_slice(out, column->name_json);
        struct slice text = slice_make(value->data, value->len);
        if (value->kind == VALUE_TEXT &&
            codec_encode_header(column->codec, text, out) == CODEC_DONE)
            continue;
        out->len = before;
        if (!append_named(column, value, tally, out)) return false;
    }
    buf_append_char(out, '}');
    return true;
}

bool encode_json_key(const struct event_table *table, const struct value *row,
                     const struct value *old_row, struct encode_tally *tally, struct buf *out) {
    if (!encode_json_columns(table, table->n_key, table->key, row, old_row, tally, out))
        return false;
    if (!table->key_field) return true;
    out->len--; /* the bracket comes behind one more field */
    buf_append_slice(out, table->key_more);
    buf_append_char(out, '}');
    return true;
}

/* *lsn_at: where the LSN stands, twice. */
static void append_source(const struct event_source *source, const struct event *event,
                          size_t lsn_at[2], struct buf *out) {
    APPEND(out, "\"source\":");
    buf_append_slice(out, buf_slice(&source->head));
    buf_append_text(out, encode_markers[event->marker]);
    buf_append_slice(out, buf_slice(&source->middle));
    lsn_at[0] = out->len;
    append_u64(out, event->lsn);
    buf_append_slice(out, buf_slice(&source->tail));
    if (event->table)
        buf_append_slice(out, event->table->source_json);
    else
        APPEND(out, "\"schema\":\"\",\"table\":\"\",\"txId\":");
    if (source->xid)
        append_u64(out, (uint32_t)source->xid);
    else
        APPEND(out, "null");
    APPEND(out, ",\"lsn\":");
    lsn_at[1] = out->len;
    append_u64(out, event->lsn);
    APPEND(out, ",\"xmin\":null}");
}

static void append_order(const struct event_source *source, const struct event *event,
                         struct buf *out) {
    if (!event->order) {
        APPEND(out, ",\"transaction\":null");
        return;
    }
    APPEND(out, ",\"transaction\":{\"id\":\"");
    append_u64(out, (uint32_t)source->xid);
    buf_append_char(out, ':');
    append_u64(out, event->lsn);
    APPEND(out, "\",\"total_order\":");
    append_u64(out, event->order->total);
    APPEND(out, ",\"data_collection_order\":");
    append_u64(out, event->order->in_collection);
    buf_append_char(out, '}');
}

void encode_json_message(const struct event_source *source, const struct event *event,
                         struct buf *out) {
    APPEND(out, "{\"prefix\":");
    json_append_string_java(out, event->message_prefix);
    APPEND(out, ",\"content\":");
    codec_bytes(source->format, event->message_content, out);
    buf_append_char(out, '}');
}

static void append_message(const struct event_source *source, const struct event *event,
                           struct buf *out) {
    size_t lsn_at[2];
    APPEND(out, "{\"op\":\"m\",\"ts_ms\":");
    buf_append_i64(out, event->now_us / 1000);
    buf_append_char(out, ',');
    append_source(source, event, lsn_at, out);
    append_order(source, event, out);
    APPEND(out, ",\"message\":");
    encode_json_message(source, event, out);
    buf_append_char(out, '}');
}

bool encode_json_images(const struct event *event, struct encode_tally *tally, struct buf *out) {
    APPEND(out, "\"before\":");
    bool done = event->before && event->before_is_key
                    ? append_key_row(event->table, event->before, tally, out)
                    : encode_json_row(event->table, event->before, NULL, tally, out);
    if (!done) return false;
    APPEND(out, ",\"after\":");
    return encode_json_row(event->table, event->after, event->old_row, tally, out);
}

/* The bytes of the event before, with this one's LSN, where nothing else is different. */
static bool append_last_tail(struct event_tail *last, const struct event *event, struct buf *out) {
    const struct event_table *table = event->table;
    if (event->order || last->table != table || last->oid != table->oid ||
        last->version != table->version || last->marker != event->marker || last->op != event->op)
        return false;
    if (last->lsn != event->lsn) {
        char digits[DIGITS_MAX];
        char before[DIGITS_MAX];
        size_t n = write_digits(digits, event->lsn);
        if (n != write_digits(before, last->lsn)) return false;
        for (int i = 0; i < 2; i++)
            memcpy(last->bytes.data + last->lsn_at[i], digits + DIGITS_MAX - n, n);
        last->lsn = event->lsn;
    }
    buf_append_slice(out, buf_slice(&last->bytes));
    return true;
}

static void keep_tail(struct event_tail *last, const struct event *event, const size_t lsn_at[2],
                      struct slice bytes, size_t start) {
    last->table = event->table;
    last->oid = event->table->oid;
    last->version = event->table->version;
    last->marker = event->marker;
    last->op = event->op;
    last->lsn = event->lsn;
    last->lsn_at[0] = lsn_at[0] - start;
    last->lsn_at[1] = lsn_at[1] - start;
    last->bytes.len = 0;
    buf_append_slice(&last->bytes, bytes);
}

/* ,"source":{...},"transaction":null,"op":"c","ts_ms": */
static void append_tail(const struct event_source *source, const struct event *event,
                        struct buf *out) {
    struct event_tail *last = source->last;
    if (last && last->table && append_last_tail(last, event, out)) return;
    size_t start = out->len;
    size_t lsn_at[2];
    buf_append_char(out, ',');
    append_source(source, event, lsn_at, out);
    append_order(source, event, out);
    APPEND(out, ",\"op\":\"");
    buf_append_char(out, event->op);
    APPEND(out, "\",\"ts_ms\":");
    if (last && last->n_made++ && !event->order)
        keep_tail(last, event, lsn_at, slice_make(out->data + start, out->len - start), start);
}

/* Milliseconds, microseconds and nanoseconds: the same digits, more or fewer of them. */
static void append_times(int64_t now_us, struct buf *out) {
    char room[DIGITS_MAX];
    size_t n = write_digits(room, (uint64_t)now_us);
    const char *digits = room + DIGITS_MAX - n;
    if (n > 3)
        buf_append(out, digits, n - 3);
    else
        buf_append_char(out, '0');
    APPEND(out, ",\"ts_us\":");
    buf_append(out, digits, n);
    APPEND(out, ",\"ts_ns\":");
    buf_append(out, digits, n);
    APPEND(out, "000}");
}

static bool json_value(const struct event_source *source, const struct event *event,
                       struct encode_tally *tally, struct buf *out) {
    if (event->op == 'm') {
        append_message(source, event, out);
        return true;
    }
    buf_append_char(out, '{');
    if (!encode_json_images(event, tally, out)) return false;
    append_tail(source, event, out);
    append_times(event->now_us, out);
    return true;
}

void encode_json_message_key(const struct event_source *source, struct slice prefix,
                             struct buf *out) {
    (void)source;
    APPEND(out, "{\"prefix\":");
    json_append_string_java(out, prefix);
    buf_append_char(out, '}');
}

void encode_json_frame(const struct event_source *source, enum event_frame frame,
                       struct slice payload, struct buf *out) {
    (void)source;
    (void)frame;
    buf_append_slice(out, payload);
}

const struct event_encoder encode_json = {
    .name = "json",
    .key = encode_json_key,
    .value = json_value,
    .message_key = encode_json_message_key,
    .frame = encode_json_frame,
};
