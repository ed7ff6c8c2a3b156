#include "cdc/publish/dead_letter.h"

#include "base/json.h"
#include "base/mem.h"

enum { SHOWN_BYTES = 1024, KEY_MAX_BYTES = 16 * 1024 };

/* Too long for the first record. */
struct long_value {
    const char *row; /* "before", "after", "message" */
    const char *column;
    struct slice text;
};

struct composer {
    const struct dead_letter *letter;
    size_t record_bytes;
    struct slice content; /* of a logical message, as base64 */
    struct buf head;      /* the first record */
    size_t n_long;
    struct long_value *long_values;
};

/* Cut at a character's beginning, so that each record stays UTF-8. */
static size_t cut(struct slice text, size_t most) {
    if (text.len <= most) return text.len;
    while (most > 1 && ((unsigned char)text.data[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static void append_value(struct composer *c, const char *row, const char *column,
                         struct slice text) {
    struct buf *out = &c->head;
    if (out->len + text.len <= c->record_bytes / 2) {
        json_append_string(out, text);
        return;
    }
    size_t shown = out->len < c->record_bytes / 2 ? cut(text, SHOWN_BYTES) : 0;
    json_append_string(out, slice_make(text.data, shown));
    c->long_values = mem_realloc(c->long_values, (c->n_long + 1) * sizeof *c->long_values);
    c->long_values[c->n_long++] = (struct long_value){.row = row, .column = column, .text = text};
}

static void append_row(struct composer *c, const char *name, const struct value *row) {
    const struct relation *relation = c->letter->change->relation;
    struct buf *out = &c->head;
    if (!row || !relation) {
        buf_append_text(out, "null");
        return;
    }
    buf_append_char(out, '{');
    bool first = true;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (row[i].kind == VALUE_UNCHANGED) continue;
        if (!first) buf_append_char(out, ',');
        first = false;
        json_append_string(out, slice_from(relation->columns[i].name));
        buf_append_char(out, ':');
        if (row[i].kind == VALUE_TEXT)
            append_value(c, name, relation->columns[i].name, slice_make(row[i].data, row[i].len));
        else
            buf_append_text(out, "null");
    }
    buf_append_char(out, '}');
}

static void append_relation(const struct relation *relation, struct buf *out) {
    buf_printf(out, ",\"oid\":%u,\"identity\":\"%c\",\"columns\":[", relation->oid,
               relation->replica_identity);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct relation_column *column = &relation->columns[i];
        buf_append_text(out, i ? ",[" : "[");
        json_append_string(out, slice_from(column->name));
        buf_printf(out, ",%u,%d,%d]", column->type_oid, column->typmod, column->identity);
    }
    buf_append_char(out, ']');
}

static void append_change(struct composer *c) {
    const struct dead_letter *letter = c->letter;
    const struct change *change = letter->change;
    struct buf *out = &c->head;
    buf_printf(out,
               ",\"change\":{\"operation\":%d,\"marker\":%d,\"old_is_key\":%d,\"snapshot\":%d,"
               "\"xid\":%llu,\"commit_lsn\":%llu,\"last_lsn\":%llu,\"index\":%llu",
               (int)change->operation, (int)change->marker, change->old_is_key,
               letter->source->snapshot, (unsigned long long)letter->source->xid,
               (unsigned long long)letter->commit_lsn, (unsigned long long)letter->source->last_lsn,
               (unsigned long long)change->index);
    const struct event_order *order = letter->event->order;
    if (order)
        buf_printf(out, ",\"total\":%llu,\"in_collection\":%llu", (unsigned long long)order->total,
                   (unsigned long long)order->in_collection);
    if (change->relation) append_relation(change->relation, out);
    buf_append_char(out, '}');
}

static void append_message(struct composer *c) {
    const struct change *change = c->letter->change;
    struct buf *out = &c->head;
    if (change->operation != CHANGE_MESSAGE) return;
    buf_printf(out, ",\"message\":{\"transactional\":%d,\"prefix\":", change->transactional);
    json_append_string(out, change->message_prefix);
    buf_append_text(out, ",\"content\":");
    append_value(c, "message", "content", c->content);
    buf_append_char(out, '}');
}

static void append_position(const struct dead_letter *letter, struct buf *out) {
    buf_printf(out, "\"position\":\"%llu:%llu\"", (unsigned long long)letter->commit_lsn,
               (unsigned long long)letter->change->index);
}

static void append_pieces(struct composer *c) {
    struct buf *out = &c->head;
    buf_append_text(out, ",\"pieces\":[");
    for (size_t i = 0; i < c->n_long; i++) {
        const struct long_value *value = &c->long_values[i];
        buf_printf(out, "%s[\"%s\",", i ? "," : "", value->row);
        json_append_string(out, slice_from(value->column));
        buf_printf(out, ",%zu]", value->text.len);
    }
    buf_append_char(out, ']');
}

static void compose_head(struct composer *c) {
    const struct dead_letter *letter = c->letter;
    const struct event *event = letter->event;
    const struct relation *relation = letter->change->relation;
    struct buf *out = &c->head;
    buf_append_text(out, "{\"cause\":");
    json_append_string(out, slice_from(letter->cause));
    buf_printf(out, ",\"op\":\"%c\",\"schema\":", event->op);
    json_append_string(out, slice_from(relation ? relation->schema : ""));
    buf_append_text(out, ",\"table\":");
    json_append_string(out, slice_from(relation ? relation->name : ""));
    buf_append_text(out, ",\"key\":");
    struct slice key = letter->key;
    if (key.len && key.len <= KEY_MAX_BYTES && key.data[0] == '{' && key.data[key.len - 1] == '}')
        buf_append_slice(out, key);
    else
        buf_append_text(out, "null");
    buf_printf(
        out, ",\"lsn\":%llu,\"txId\":%u,\"ts_us\":%lld,\"before\":", (unsigned long long)event->lsn,
        (unsigned)(uint32_t)letter->source->xid, (long long)letter->source->commit_time_us);
    append_row(c, "before", letter->change->old_row);
    buf_append_text(out, ",\"after\":");
    append_row(c, "after", letter->change->new_row);
    append_message(c);
    buf_append_char(out, ',');
    append_position(letter, out);
    buf_printf(out, ",\"attempts\":%u", letter->attempts);
    append_pieces(c);
    append_change(c);
    buf_append_char(out, '}');
}

struct letter_sink {
    dead_letter_writer *write;
    void *arg;
    struct slice key;
};

static enum write_result write_pieces(const struct composer *c, const struct long_value *value,
                                      const struct letter_sink *sink, struct error *err) {
    enum write_result result = WRITE_DONE;
    struct slice rest = value->text;
    struct buf piece = {0};
    while (rest.len && result == WRITE_DONE) {
        size_t n = cut(rest, c->record_bytes / 2);
        piece.len = 0;
        buf_append_char(&piece, '{');
        append_position(c->letter, &piece);
        buf_printf(&piece, ",\"row\":\"%s\",\"column\":", value->row);
        json_append_string(&piece, slice_from(value->column));
        buf_append_text(&piece, ",\"text\":");
        json_append_string(&piece, slice_make(rest.data, n));
        buf_append_char(&piece, '}');
        result = sink->write(sink->arg, sink->key, buf_slice(&piece), err);
        rest = slice_make(rest.data + n, rest.len - n);
    }
    buf_deinit(&piece);
    return result;
}

enum write_result dead_letter_write(const struct dead_letter *letter, size_t record_bytes,
                                    dead_letter_writer *write, void *arg, struct error *err) {
    struct composer c = {.letter = letter, .record_bytes = record_bytes};
    struct buf content = {0};
    struct buf key = {0};
    if (letter->change->operation == CHANGE_MESSAGE)
        base64_append(&content, letter->change->message_content.data,
                      letter->change->message_content.len);
    c.content = buf_slice(&content);
    compose_head(&c);
    buf_append_char(&key, '{');
    append_position(letter, &key);
    buf_append_char(&key, '}');
    struct letter_sink sink = {.write = write, .arg = arg, .key = buf_slice(&key)};
    enum write_result result = write(arg, sink.key, buf_slice(&c.head), err);
    for (size_t i = 0; i < c.n_long && result == WRITE_DONE; i++)
        result = write_pieces(&c, &c.long_values[i], &sink, err);
    mem_free(c.long_values);
    buf_deinit(&c.head);
    buf_deinit(&content);
    buf_deinit(&key);
    return result;
}
