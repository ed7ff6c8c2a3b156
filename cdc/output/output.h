/* output.h: where a publisher's records go: one of a table of outputs.
 *
 *     prepare -> started -> { write... -> commit | progress | tick }... -> ended
 *
 * All calls on the feed's thread, as base/change.h has them. A new output is one row of the table in output.c. */
#ifndef FRESHET_CDC_OUTPUT_H
#define FRESHET_CDC_OUTPUT_H

#include "base/change.h"
#include "cdc/output/positions.h"
#include "cdc/publish/publisher.h"

enum { RECORD_HEADERS_MAX = 10 /* an outbox's, and where the record comes from */ };

struct record_header {
    const char *name;
    struct slice value;
};

/* Borrowed for the call. */
struct record {
    void *topic;        /* of output_ops.topic */
    struct slice key;   /* data NULL: null */
    struct slice value; /* data NULL: a tombstone */
    bool foreign; /* key and value are somebody's bytes (an outbox's), which need be no JSON */
    /* Its partition is theirs, by the Java client's hash; data NULL: the key's. */
    struct slice placed_by;
    unsigned n_headers;
    struct record_header headers[RECORD_HEADERS_MAX];
};

struct topic_kind {
    bool ordered;
    int64_t retention_ms;       /* 0: the broker's */
    uint32_t max_message_bytes; /* 0: the broker's */
};
extern const struct topic_kind topic_of_rows;
extern const struct topic_kind topic_of_letters;

enum write_result {
    WRITE_DONE,
    WRITE_REFUSED, /* *err says why: this record can never be written; the stream may go on without it */
    WRITE_FAILED,
};

struct output_ops {
    const char *name;
    void *(*create)(const struct publisher_config *config, const struct publisher_deps *deps,
                    struct error *err);
    void (*destroy)(void *self);

    /* Fences older processes and reads the position. slot_exists: for an output without a store of its own. */
    bool (*prepare)(void *self, bool slot_exists, struct change_position *position,
                    struct error *err);
    /* As the sink's functions of these names (base/change.h). */
    bool (*peek)(void *self, struct change_position *position, struct error *err);
    bool (*reset)(void *self, const struct change_position *position, struct error *err);
    bool (*started)(void *self, const struct feed_identity *identity, struct error *err);
    void (*ended)(void *self);

    /* A handle that lives as long as the output. NULL on error. `kind`: how it is made where it is not there, and of an
     * ordered one that all its records go into one partition. */
    void *(*topic)(void *self, const char *name, const struct topic_kind *kind, struct error *err);
    /* Records for this topic are about to come: time to make it. NULL allowed. */
    bool (*announce)(void *self, void *topic, struct error *err);
    enum write_result (*write)(void *self, const struct record *record, struct error *err);
    /* What was written since the last commit is a whole transaction: it becomes durable together with the
     * position, now or, with others, at a later tick. */
    bool (*commit)(void *self, const struct change_position *position, int64_t now_us,
                   struct error *err);
    /* Inside a transaction: has the batch become so large that it may end here? `part` then makes what was written
     * durable with the position, which tells the part, soon; ready() is false until it is. NULL: never. */
    bool (*part_due)(void *self);
    void (*part)(void *self, const struct change_position *position);
    /* A note to keep beside the position, from the next commit on; it is copied. NULL: there is no place for one. */
    void (*note)(void *self, enum position_note note, struct slice text);
    /* What `prepare` found there; empty: none. NULL as `note`. */
    struct slice (*noted)(void *self, enum position_note note);
    /* Nothing is to be published up to end_lsn. */
    bool (*progress)(void *self, uint64_t end_lsn, int64_t now_us, struct error *err);
    bool (*tick)(void *self, int64_t now_us, struct error *err);
    int64_t (*tick_due_us)(void *self); /* as the sink's; NULL: never */
    bool (*ready)(void *self);
    uint64_t (*confirmed_lsn)(void *self);
    /* True: everything written is durable. */
    bool (*settled)(void *self);
    void (*status)(void *self, json_t *into);
};

const struct output_ops *output_find(enum publisher_output output);

extern const struct output_ops output_kafka;
extern const struct output_ops output_stdout;

#endif
