/* encode.h: an event as the bytes of a record's key and value, by one of the encoders of a table.
 *
 *     const struct event_encoder *encoder = event_encoder_find("json");
 *     encoder->value(&source, &event, &tally, &out)
 *
 * A new encoding is one row of the table in encode.c and one function set. Encoders hold no state; the value is
 * appended in one pass over the columns, with no tree and no allocation but the buffer's growth. */
#ifndef FRESHET_CDC_ENCODE_H
#define FRESHET_CDC_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "cdc/encode/event_table.h"
#include "cdc/encode/schema_registry.h"

/* Topics that are no table's. */
enum event_side { SIDE_MESSAGE, SIDE_TRANSACTION, SIDE_HEARTBEAT, SIDE_COUNT };

/* What stands behind an event's images, up to its own time: within a transaction it differs from the event before in little
 * more than the LSN. Made by the encoder of JSON, in one transaction from the second event on. */
struct event_tail {
    uint64_t n_made;                 /* in the transaction */
    const struct event_table *table; /* of the event that the bytes are of; NULL: there are none */
    uint32_t oid;
    uint32_t version;
    enum snapshot_marker marker;
    char op;
    uint64_t lsn;
    size_t lsn_at[2]; /* its digits in the bytes */
    struct buf bytes;
};

/* The part of `source` that is the same for each event of a transaction, as bytes to copy: made by
 * event_source_begin when one begins. */
struct event_source {
    /* Set once. */
    const char *version;
    const char *prefix;
    const char *database;
    const struct event_format *format;
    struct schema_registry *registry; /* NULL: the encoder has no use for one */
    struct {
        bool known;
        uint32_t key_id, value_id;
    } sides[SIDE_COUNT]; /* their schemas, once prepare_side has been called */
    /* Of the transaction. */
    bool snapshot;
    uint64_t xid;      /* 0: null */
    uint64_t last_lsn; /* end of the transaction before, 0: none; the sequence's first element */
    int64_t commit_time_us;
    struct buf head;         /* {"version":...,"ts_ms":N,"snapshot":" */
    struct buf middle;       /* ","db":...,"sequence":"[\"last\",\" */
    struct buf tail;         /* \"]","ts_us":...,"ts_ns":..., */
    struct event_tail *last; /* of the event before; NULL: it is not kept */
};

void event_source_init(struct event_source *source, const char *version, const char *prefix,
                       const char *database, const struct event_format *format);
void event_source_deinit(struct event_source *source);
/* Call again when one of the transaction's fields has changed. */
void event_source_begin(struct event_source *source);

/* `transaction` of an event when transaction metadata is on. */
struct event_order {
    uint64_t total;
    uint64_t in_collection;
};

struct event {
    char op;                         /* c, u, d, r, t, m */
    const struct event_table *table; /* NULL for m */
    const struct value *before;      /* NULL: null */
    const struct value *after;
    bool before_is_key;          /* only the identity is in `before`: the rest gets fillers */
    const struct value *old_row; /* where unchanged values of `after` may be found, or NULL */
    uint64_t lsn;
    enum snapshot_marker marker;
    int64_t now_us;
    const struct event_order *order; /* NULL: "transaction":null */
    struct slice message_prefix;
    struct slice message_content;
};

/* What happened on the way, for the metrics and dead letters. */
struct encode_tally {
    uint64_t as_text;    /* values written as text for want of a rule */
    const char *refused; /* the column whose value is not wanted, as name_json; NULL: none */
    const char *why;     /* of such a column: "holds ..." */
};

/* Payloads that are made elsewhere, as JSON. */
enum event_frame { FRAME_TRANSACTION_KEY, FRAME_TRANSACTION, FRAME_HEARTBEAT_KEY, FRAME_HEARTBEAT };

struct event_encoder {
    const char *name;
    /* Values are rows alone: a header tells the operation, and a delete is its tombstone. */
    bool rows_only;
    /* Its schemas have ids: a registry is made for it. */
    bool registers;
    /* Once for a table: what its records share (event_table.key_head, value_head, avro). NULL: nothing. */
    bool (*prepare)(struct event_table *table, struct schema_registry *registry, struct error *err);
    /* Before the first record of a topic that is no table's, and again: it knows. NULL: nothing to do. */
    bool (*prepare_side)(struct event_source *source, enum event_side side, struct error *err);
    /* Appends the table's key of `row` (unchanged values from old_row, where it has them). False: see tally->refused. */
    bool (*key)(const struct event_table *table, const struct value *row,
                const struct value *old_row, struct encode_tally *tally, struct buf *out);
    bool (*value)(const struct event_source *source, const struct event *event,
                  struct encode_tally *tally, struct buf *out);
    void (*message_key)(const struct event_source *source, struct slice prefix, struct buf *out);
    /* Appends the payload with what goes around it. */
    void (*frame)(const struct event_source *source, enum event_frame frame, struct slice payload,
                  struct buf *out);
};

/* NULL: there is none of that name. */
const struct event_encoder *event_encoder_find(const char *name);
/* "json, ..." for an error's text. */
void event_encoder_names(struct buf *out);

extern const struct event_encoder encode_json, encode_json_schema, encode_plain, encode_cloudevents,
    encode_avro;

#endif
