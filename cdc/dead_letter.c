#include "cdc/dead_letter.h"

#include "base/json.h"

enum { VALUE_MAX_BYTES = 4096, LETTER_MAX_BYTES = 256 * 1024, KEY_MAX_BYTES = 16 * 1024 };

/* Cut at a character's beginning, so that the letter stays UTF-8. */
static struct slice cut(struct slice text) {
    if (text.len <= VALUE_MAX_BYTES) return text;
    text.len = VALUE_MAX_BYTES;
    while (text.len && ((unsigned char)text.data[text.len] & 0xc0) == 0x80)
        text.len--;
    return text;
}

static void append_row(const struct event_table *table, const struct value *row, struct buf *out) {
    if (!row || !table) {
        buf_append_text(out, "null");
        return;
    }
    buf_append_char(out, '{');
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (i) buf_append_char(out, ',');
        buf_append_slice(out, table->columns[i].name_json);
        bool text = row[i].kind == VALUE_TEXT && out->len < LETTER_MAX_BYTES;
        if (text)
            json_append_string(out, cut(slice_make(row[i].data, row[i].len)));
        else
            buf_append_text(out, "null");
    }
    buf_append_char(out, '}');
}

void dead_letter_compose(const struct event_source *source, const struct event *event,
                         struct slice key, const char *cause, struct buf *out) {
    buf_append_text(out, "{\"cause\":");
    json_append_string(out, slice_from(cause));
    buf_printf(out, ",\"op\":\"%c\",\"schema\":", event->op);
    json_append_string(out, slice_from(event->table ? event->table->schema : ""));
    buf_append_text(out, ",\"table\":");
    json_append_string(out, slice_from(event->table ? event->table->name : ""));
    buf_append_text(out, ",\"key\":");
    if (key.len && key.len <= KEY_MAX_BYTES && key.data[key.len - 1] == '}')
        buf_append_slice(out, key);
    else
        buf_append_text(out, "null");
    buf_printf(
        out, ",\"lsn\":%llu,\"txId\":%u,\"ts_us\":%lld,\"before\":", (unsigned long long)event->lsn,
        (unsigned)(uint32_t)source->xid, (long long)source->commit_time_us);
    append_row(event->table, event->before, out);
    buf_append_text(out, ",\"after\":");
    append_row(event->table, event->after, out);
    buf_append_char(out, '}');
}
