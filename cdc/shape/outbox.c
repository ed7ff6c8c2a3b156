#include "cdc/shape/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "cdc/encode/event_table.h"

enum { TOPIC_MAX_BYTES = 249 /* Kafka's limit */, OID_BYTEA = 17 };

const struct outbox_entry *outbox_find(uint32_t n, const struct outbox_entry *entries,
                                       const char *schema, const char *table) {
    for (uint32_t i = 0; i < n; i++) {
        if (pattern_match(entries[i].name, schema, table)) return &entries[i];
    }
    return NULL;
}

const struct outbox_entry *outbox_find_prefix(uint32_t n, const struct outbox_entry *entries,
                                              struct slice prefix) {
    for (uint32_t i = 0; i < n; i++) {
        if (slice_equal(slice_from(entries[i].name), prefix)) return &entries[i];
    }
    return NULL;
}

static int place_of(const struct relation *relation, const char *name) {
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (strcmp(relation->columns[i].name, name) == 0) return i;
    }
    return -1;
}

struct outbox *outbox_create(const struct outbox_entry *entry, const struct relation *relation) {
    ASSERT(entry->n_headers <= OUTBOX_MAX_HEADERS);
    struct outbox *outbox = mem_zalloc(sizeof *outbox);
    outbox->entry = entry;
    outbox->route = place_of(relation, entry->route_by);
    outbox->key = place_of(relation, entry->key);
    outbox->payload = place_of(relation, entry->payload);
    outbox->payload_is_bytes =
        outbox->payload >= 0 && relation->columns[outbox->payload].type_oid == OID_BYTEA;
    outbox->id = place_of(relation, entry->id);
    for (uint32_t i = 0; i < entry->n_headers; i++)
        outbox->headers[i] = place_of(relation, entry->headers[i].value);
    return outbox;
}

void outbox_destroy(struct outbox **outbox) {
    mem_free(*outbox);
    *outbox = NULL;
}

static struct slice text_at(const struct value *row, int place) {
    if (place < 0 || row[place].kind != VALUE_TEXT) return (struct slice){0};
    return slice_make(row[place].data ? row[place].data : "", row[place].len);
}

/* A bytea's text is \\x and two digits a byte. */
static struct slice bytes_of(struct slice text, struct arena *arena) {
    if (text.len < 2 || text.data[0] != '\\' || text.data[1] != 'x') return text;
    char *bytes = arena_alloc(arena, text.len / 2 + 1);
    for (size_t i = 1; i < text.len / 2; i++) {
        char digits[] = {text.data[2 * i], text.data[2 * i + 1], '\0'};
        bytes[i - 1] = (char)strtoul(digits, NULL, 16);
    }
    return slice_make(bytes, text.len / 2 - 1);
}

const char *outbox_read_row(const struct outbox *outbox, const struct value *row,
                            struct arena *arena, struct outbox_message *message) {
    const struct outbox_entry *entry = outbox->entry;
    if (outbox->route < 0) return "the outbox has no column that route_by names";
    if (outbox->payload < 0) return "the outbox has no column that payload names";
    *message = (struct outbox_message){
        .route = text_at(row, outbox->route),
        .key = text_at(row, outbox->key),
        .payload = text_at(row, outbox->payload),
        .id = text_at(row, outbox->id),
    };
    if (outbox->payload_is_bytes && entry->encoding == OUTBOX_RAW && message->payload.data)
        message->payload = bytes_of(message->payload, arena);
    for (; message->n_headers < entry->n_headers; message->n_headers++)
        message->headers[message->n_headers] = text_at(row, outbox->headers[message->n_headers]);
    return NULL;
}

/* Past the value that begins at `at`, in text that is known to be JSON. */
static const char *skip_value(const char *at) {
    int depth = 0;
    bool quoted = false;
    for (;; at++) {
        if (quoted) {
            if (*at == '\\')
                at++;
            else if (*at == '"')
                quoted = false;
            if (!quoted && depth == 0) return at + 1;
            continue;
        }
        if (*at == '"') quoted = true;
        if (*at == '{' || *at == '[') depth++;
        if (depth == 0 && strchr(",}] \t\r\n", *at)) return at;
        if ((*at == '}' || *at == ']') && --depth == 0) return at + 1;
    }
}

/* `quoted`: a string of JSON, in which any character may be written as an escape. */
static bool is_name(struct slice quoted, const char *name) {
    if (!memchr(quoted.data, '\\', quoted.len))
        return slice_equal(slice_make(quoted.data + 1, quoted.len - 2), slice_from(name));
    json_t *string = json_loadb(quoted.data, quoted.len, JSON_DECODE_ANY, NULL);
    bool same = json_is_string(string) && strcmp(json_string_value(string), name) == 0;
    json_decref(string);
    return same;
}

/* The bytes of an object's field as they stand there: a parser's numbers would not be those that were written. */
static struct slice raw_field(struct slice object, const char *name) {
    static const char space[] = " \t\r\n,:";
    const char *at = memchr(object.data, '{', object.len);
    for (at++;;) {
        at += strspn(at, space);
        if (*at == '}') return (struct slice){0};
        const char *key = at;
        at = skip_value(at);
        bool found = is_name(slice_make(key, (size_t)(at - key)), name);
        at += strspn(at, space);
        const char *value = at;
        at = skip_value(at);
        if (found) return slice_make(value, (size_t)(at - value));
    }
}

/* A string's own text, unless its JSON is wanted; of all else its JSON. */
static struct slice field(const json_t *object, struct slice content, const char *name,
                          bool as_json) {
    json_t *value = json_object_get(object, name);
    if (!value || json_is_null(value)) return (struct slice){0};
    if (json_is_string(value) && !as_json)
        return slice_make(json_string_value(value), json_string_length(value));
    return raw_field(content, name);
}

const char *outbox_read_content(const struct outbox_entry *entry, struct slice content,
                                json_t **parsed, struct arena *arena,
                                struct outbox_message *message) {
    bool as_json = entry->encoding == OUTBOX_JSON;
    json_error_t unused;
    *parsed = NULL;
    /* The parser takes one for blank. */
    if (memchr(content.data, '\0', content.len)) return "the logical message holds a zero byte";
    /* Numbers of any length: they are taken from the text, as they stand there. */
    *parsed =
        json_loadb(content.data, content.len,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &unused);
    content = arena_dup(arena, content); /* with a NUL behind it */
    if (!json_is_object(*parsed)) return "the logical message is no JSON object";
    *message = (struct outbox_message){
        .route = field(*parsed, content, entry->route_by, false),
        .key = field(*parsed, content, entry->key, as_json),
        .payload = field(*parsed, content, entry->payload, as_json),
        .id = field(*parsed, content, entry->id, false),
    };
    for (; message->n_headers < entry->n_headers; message->n_headers++)
        message->headers[message->n_headers] =
            field(*parsed, content, entry->headers[message->n_headers].value, false);
    return NULL;
}

const char *outbox_topic(const struct outbox_entry *entry, const struct outbox_message *message,
                         struct arena *arena) {
    if (!message->route.len) return NULL;
    struct buf name = {0};
    for (const char *at = entry->topic; *at; at++) {
        if (at[0] == '$' && at[1] == '1') {
            buf_append_slice(&name, message->route);
            at++;
        } else {
            buf_append_char(&name, *at);
        }
    }
    bool fits = name.len <= TOPIC_MAX_BYTES && !memchr(name.data, '\0', name.len);
    const char *topic = fits ? event_topic(arena, buf_text(&name), NULL, NULL) : NULL;
    buf_deinit(&name);
    bool special = topic && (strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0);
    return special ? NULL : topic;
}
