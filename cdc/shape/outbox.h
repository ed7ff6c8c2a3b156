/* outbox.h: the outbox pattern: rows of a table, or logical messages of a prefix, that are no change of anything but
 * messages for others, each on the topic that it names. As Debezium's EventRouter has it: inserts alone count, so that
 * rows may be deleted at once.
 *
 *     entry = outbox_find(n, entries, schema, table);                 at a relation
 *     struct outbox *outbox = outbox_create(entry, &relation);
 *     outbox_read_row(outbox, row, arena, &message)                          at a row
 *     outbox_read_content(entry, content, &parsed, arena, &message)   at a logical message */
#ifndef FRESHET_CDC_OUTBOX_H
#define FRESHET_CDC_OUTBOX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/change.h"
#include "base/kafka.h"

enum { OUTBOX_MAX_HEADERS = 6 };

enum outbox_encoding {
    OUTBOX_RAW, /* key and payload as the text that they are (a bytea: its bytes) */
    OUTBOX_JSON /* as JSON values: what Kafka Connect's JSON converter writes */
};

/* An entry of cdc.outbox (by a pattern of tables) or cdc.outbox_messages (by a prefix). What is named are columns, or
 * fields of the message's JSON object. */
struct outbox_entry {
    const char *name;
    const char *topic; /* $1: what route_by holds */
    const char *route_by;
    const char *key;
    const char *payload;
    const char *id; /* the header `id`; where there is none, there is no header */
    uint32_t n_headers;
    const struct kafka_property *headers; /* header: column; at most OUTBOX_MAX_HEADERS */
    uint32_t encoding;                    /* enum outbox_encoding */
};

/* data NULL: null. */
struct outbox_message {
    struct slice route, key, payload, id;
    unsigned n_headers;
    struct slice headers[OUTBOX_MAX_HEADERS]; /* in the order of the entry's */
};

struct outbox {
    const struct outbox_entry *entry;
    int route, key, payload, id; /* places in the relation; -1: it is not there */
    int headers[OUTBOX_MAX_HEADERS];
    bool payload_is_bytes; /* a bytea */
};

/* The first that names the table; NULL: none. */
const struct outbox_entry *outbox_find(uint32_t n, const struct outbox_entry *entries,
                                       const char *schema, const char *table);
/* The one of exactly this prefix; NULL: none. */
const struct outbox_entry *outbox_find_prefix(uint32_t n, const struct outbox_entry *entries,
                                              struct slice prefix);

struct outbox *outbox_create(const struct outbox_entry *entry, const struct relation *relation);
void outbox_destroy(struct outbox **outbox);

/* Slices of the row's values, or in the arena. NULL, or what is wrong with it. */
const char *outbox_read_row(const struct outbox *outbox, const struct value *row,
                            struct arena *arena, struct outbox_message *message);
/* The same of a logical message; texts are *parsed's or the arena's. */
const char *outbox_read_content(const struct outbox_entry *entry, struct slice content,
                                json_t **parsed, struct arena *arena,
                                struct outbox_message *message);
/* The topic's name in the arena; NULL: it cannot be one. */
const char *outbox_topic(const struct outbox_entry *entry, const struct outbox_message *message,
                         struct arena *arena);

#endif
