#include "cdc/encode/encode.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

static const struct event_encoder *const encoders[] = {
    &encode_json, &encode_json_schema, &encode_plain, &encode_cloudevents, &encode_avro};

const struct event_encoder *event_encoder_find(const char *name) {
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (strcmp(encoders[i]->name, name) == 0) return encoders[i];
    }
    return NULL;
}

void event_encoder_names(struct buf *out) {
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++)
        buf_printf(out, "%s%s", i ? ", " : "", encoders[i]->name);
}

void event_source_init(struct event_source *source, const char *version, const char *prefix,
                       const char *database, const struct event_format *format) {
    *source = (struct event_source){
        .version = version, .prefix = prefix, .database = database, .format = format};
    source->last = mem_zalloc(sizeof *source->last);
}

void event_source_deinit(struct event_source *source) {
    buf_deinit(&source->head);
    buf_deinit(&source->middle);
    buf_deinit(&source->tail);
    if (source->last) buf_deinit(&source->last->bytes);
    mem_free(source->last);
    source->last = NULL;
}

static int64_t to_millis(int64_t us) { return us / 1000 - (us % 1000 < 0); }

void event_source_begin(struct event_source *source) {
    if (source->last) {
        source->last->n_made = 0;
        source->last->table = NULL;
    }
    struct buf *head = &source->head;
    head->len = 0;
    buf_append_text(head, "{\"version\":");
    json_append_string_java(head, slice_from(source->version));
    buf_append_text(head, ",\"connector\":\"postgresql\",\"name\":");
    json_append_string_java(head, slice_from(source->prefix));
    buf_append_text(head, ",\"ts_ms\":");
    buf_append_i64(head, to_millis(source->commit_time_us));
    buf_append_text(head, ",\"snapshot\":\"");

    struct buf *middle = &source->middle;
    middle->len = 0;
    buf_append_text(middle, "\",\"db\":");
    json_append_string_java(middle, slice_from(source->database));
    buf_append_text(middle, ",\"sequence\":\"[");
    if (source->last_lsn && !source->snapshot) {
        buf_append_text(middle, "\\\"");
        buf_append_u64(middle, source->last_lsn);
        buf_append_text(middle, "\\\"");
    } else {
        buf_append_text(middle, "null");
    }
    buf_append_text(middle, ",\\\"");

    struct buf *tail = &source->tail;
    tail->len = 0;
    buf_append_text(tail, "\\\"]\",\"ts_us\":");
    buf_append_i64(tail, source->commit_time_us);
    buf_append_text(tail, ",\"ts_ns\":");
    buf_append_i64(tail, source->commit_time_us);
    /* 0: of a message outside a transaction, before the session's first commit. */
    buf_append_text(tail, source->commit_time_us ? "000," : ",");
}
