#include "connectors/source/topic_event.h"

#include <string.h>

/* With its schema it is {"schema":..., "payload":...}. */
static const json_t *payload_of(const json_t *root) {
    const json_t *payload = json_object_get(root, "payload");
    bool wrapped = payload && json_object_get(root, "schema") && json_object_size(root) == 2;
    return wrapped ? payload : root;
}

static const json_t *object_or_null(const json_t *json) {
    return json_is_object(json) ? json : NULL;
}

static int64_t commit_time_us(const json_t *source) {
    const json_t *micros = json_object_get(source, "ts_us");
    if (json_is_integer(micros)) return json_integer_value(micros);
    const json_t *millis = json_object_get(source, "ts_ms");
    bool told = json_is_integer(millis) && json_integer_value(millis) < INT64_MAX / 1000 &&
                json_integer_value(millis) > 0;
    return told ? json_integer_value(millis) * 1000 : 0;
}

static bool read_envelope(const json_t *envelope, struct topic_event *event) {
    const char *operation = json_string_value(json_object_get(envelope, "op"));
    const json_t *source = json_object_get(envelope, "source");
    if (!operation || strlen(operation) != 1 || !strchr("curdtm", *operation)) return false;
    event->operation = *operation;
    event->before = object_or_null(json_object_get(envelope, "before"));
    event->after = object_or_null(json_object_get(envelope, "after"));
    event->commit_time_us = commit_time_us(source);
    const json_t *xid = json_object_get(source, "txId");
    /* What a snapshot's rows have there is no transaction that wrote them. */
    if (*operation != 'r' && json_is_integer(xid) && json_integer_value(xid) > 0)
        event->xid = (uint64_t)json_integer_value(xid);
    bool has_row = strchr("cur", *operation) == NULL || event->after;
    return has_row && (*operation != 'd' || event->before || event->key);
}

bool topic_event_read(struct slice key, struct slice value, struct topic_event *event) {
    *event = (struct topic_event){0};
    if (!value.data) return true;
    if (key.data) {
        event->key_root = json_loadb(key.data, key.len, JSON_ALLOW_NUL, NULL);
        event->key = object_or_null(payload_of(event->key_root));
    }
    event->value_root = json_loadb(value.data, value.len, JSON_ALLOW_NUL, NULL);
    return json_is_object(event->value_root) && read_envelope(payload_of(event->value_root), event);
}

void topic_event_deinit(struct topic_event *event) {
    json_decref(event->key_root);
    json_decref(event->value_root);
    *event = (struct topic_event){0};
}
