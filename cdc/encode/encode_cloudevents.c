/* CloudEvents 1.0 in their structured JSON form, with the attributes that Debezium's converter gives them. Numbers among the
 * attributes are strings, as CloudEvents has no larger ones than 32 bits. Logical messages, for which the converter has no form
 * and writes null, stay as they are. */
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "cdc/encode/encode_json.h"

static void append_number(struct buf *out, const char *name, uint64_t value, const char *more) {
    buf_printf(out, ",\"%s\":\"%llu%s\"", name, (unsigned long long)value, more);
}

static void append_string(struct buf *out, const char *name, struct slice value) {
    buf_printf(out, ",\"%s\":", name);
    json_append_string_java(out, value);
}

/* [\"last\",\"lsn\"] inside a string. */
static void append_sequence(const struct event_source *source, const struct event *event,
                            struct buf *out) {
    if (source->last_lsn && !source->snapshot)
        buf_printf(out, "[\\\"%llu\\\"", (unsigned long long)source->last_lsn);
    else
        buf_append_text(out, "[null");
    buf_printf(out, ",\\\"%llu\\\"]", (unsigned long long)event->lsn);
}

/* Inside a string. */
static void append_escaped(struct buf *out, const char *text) {
    size_t at = out->len;
    json_append_string_java(out, slice_from(text));
    out->len -= 2;
    memmove(out->data + at, out->data + at + 1, out->len - at);
}

static void append_txid(const struct event_source *source, struct buf *out) {
    if (source->xid)
        buf_append_u64(out, (uint32_t)source->xid);
    else
        buf_append_text(out, "null");
}

static void append_time(int64_t us, struct buf *out) {
    int64_t ms = us / 1000 - (us % 1000 < 0);
    time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0));
    struct tm parts;
    gmtime_r(&seconds, &parts);
    char text[64];
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    buf_append(out, text, n);
    buf_printf(out, ".%03dZ", (int)(ms - (int64_t)seconds * 1000));
}

static void append_context(const struct event_source *source, const struct event *event,
                           struct buf *out) {
    buf_append_text(out, "{\"id\":\"name:");
    append_escaped(out, source->prefix);
    buf_printf(out, ";lsn:%llu;txId:", (unsigned long long)event->lsn);
    append_txid(source, out);
    buf_append_text(out, ";sequence:");
    append_sequence(source, event, out);
    buf_append_text(out, "\",\"source\":\"/debezium/postgresql/");
    append_escaped(out, source->prefix);
    buf_append_text(out,
                    "\",\"specversion\":\"1.0\","
                    "\"type\":\"io.debezium.connector.postgresql.DataChangeEvent\",\"time\":\"");
    append_time(source->commit_time_us, out);
    buf_append_text(out, "\",\"datacontenttype\":\"application/json\"");
}

static void append_origin(const struct event_source *source, const struct event *event,
                          struct buf *out) {
    uint64_t us = (uint64_t)source->commit_time_us;
    append_string(out, "iodebeziumop", slice_make(&event->op, 1));
    append_string(out, "iodebeziumversion", slice_from(source->version));
    append_string(out, "iodebeziumconnector", SLICE("postgresql"));
    append_string(out, "iodebeziumname", slice_from(source->prefix));
    append_number(out, "iodebeziumtsms", us / 1000, "");
    append_string(out, "iodebeziumsnapshot", slice_from(encode_markers[event->marker]));
    append_string(out, "iodebeziumdb", slice_from(source->database));
    buf_append_text(out, ",\"iodebeziumsequence\":\"");
    append_sequence(source, event, out);
    buf_append_char(out, '"');
    append_number(out, "iodebeziumtsus", us, "");
    append_number(out, "iodebeziumtsns", us, us ? "000" : "");
    append_string(out, "iodebeziumschema", slice_from(event->table->schema));
    append_string(out, "iodebeziumtable", slice_from(event->table->name));
    if (source->xid)
        append_number(out, "iodebeziumtxId", (uint32_t)source->xid, "");
    else
        buf_append_text(out, ",\"iodebeziumtxId\":null");
    append_number(out, "iodebeziumlsn", event->lsn, "");
    buf_append_text(out, ",\"iodebeziumxmin\":null");
    if (!event->order) {
        buf_append_text(out, ",\"iodebeziumtxid\":null,\"iodebeziumtxtotalorder\":null,"
                             "\"iodebeziumtxdatacollectionorder\":null");
        return;
    }
    buf_printf(out, ",\"iodebeziumtxid\":\"%u:%llu\"", (unsigned)(uint32_t)source->xid,
               (unsigned long long)event->lsn);
    append_number(out, "iodebeziumtxtotalorder", event->order->total, "");
    append_number(out, "iodebeziumtxdatacollectionorder", event->order->in_collection, "");
}

static bool cloud_value(const struct event_source *source, const struct event *event,
                        struct encode_tally *tally, struct buf *out) {
    if (!event->table) return encode_json.value(source, event, tally, out);
    append_context(source, event, out);
    append_origin(source, event, out);
    buf_append_text(out, ",\"data\":{");
    if (!encode_json_images(event, tally, out)) return false;
    buf_append_text(out, "}}");
    return true;
}

const struct event_encoder encode_cloudevents = {
    .name = "cloudevents",
    .key = encode_json_key,
    .value = cloud_value,
    .message_key = encode_json_message_key,
    .frame = encode_json_frame,
};
