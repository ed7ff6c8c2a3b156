/* publisher_parts.h: what the files of the publisher share among themselves. Private to publisher*.c and
 * publish_change.c.
 *
 *     publisher.c        creation, sessions, transactions: the sink itself
 *     publish_change.c   one change: its event, its records
 *     publish_shaped.c   before that: which changes come, and what is to be seen of them
 *     publish_outbox.c   or in its place: messages of outboxes
 *     publish_record.c   one record: its headers, and what becomes of one that cannot be written
 *     publish_replay.c   dead letters, published again
 *
 * All on the feed's thread, but for the metrics. */
#ifndef FRESHET_CDC_PUBLISHER_PARTS_H
#define FRESHET_CDC_PUBLISHER_PARTS_H

#include "cdc/encode/encode.h"
#include "cdc/output/output.h"
#include "cdc/publish/heartbeat.h"
#include "cdc/publish/invalidations.h"
#include "cdc/publish/keeper.h"
#include "cdc/publish/reread.h"
#include "cdc/publish/tables.h"

enum { OP_CREATE, OP_UPDATE, OP_DELETE, OP_READ, OP_TRUNCATE, OP_MESSAGE, OP_COUNT };

#define PUBLISH_LETTERS "cudrtm" /* in events, by OP_... */

struct publisher_metrics {
    struct metric *events[OP_COUNT];
    struct metric *bytes;
    struct metric *as_text;
    struct metric *dead_letters;
    struct metric *skipped_oversize;
    struct metric *published_lsn;
    struct metric *filtered;
    struct metric *outbox;
};

/* The change in hand. */
struct publish_hand {
    const struct change *change; /* as events show it */
    uint64_t commit_lsn;         /* of its transaction */
    unsigned records;            /* written of it */
    bool durable; /* by an earlier session, as a part: nothing of it is written again */
    /* Of a replay. */
    char only;         /* the event of the change that is published again; '\0': no replay */
    unsigned attempts; /* replays that have failed */
    bool buried;       /* this one, too */
};

struct publisher {
    struct publisher_config config;
    struct publisher_deps deps;
    const struct event_encoder *encoder;
    const struct output_ops *output_ops;
    void *output;
    struct schema_registry *registry; /* NULL: the encoder has no use for one */
    struct tables *tables;
    struct shaper *shaper;
    struct outbox_topics *outbox_topics;
    struct keeper *keeper;
    struct invalidations *invalidations; /* NULL: none are asked for */
    struct heartbeat *heartbeat;         /* NULL: none are asked for */
    struct reread *reread;               /* NULL: neither events nor filters want it */
    uint64_t seen_generation;            /* the keeper's, when the catalog was last read for them */
    struct publisher_metrics metrics;

    /* Of the session; the feed's thread. */
    struct change_position position;
    struct event_source source;
    struct event_order order;
    bool noted; /* the open transaction of a snapshot has a note, and is durable with it */
    uint64_t snapshot_xid; /* told of the initial snapshot's rows; 0: not asked for yet */
    bool begin_written;    /* the open transaction's BEGIN, of transaction metadata */
    struct publish_hand hand;
    int64_t now_us; /* wall clock of the event in hand */
    struct buf key;
    struct buf value;
    struct buf header;
    struct buf placed_by;
    struct arena *scratch; /* of the change in hand */

    struct arena *names;
    void *message_topic; /* handles of the output, made at first use */
    void *transaction_topic;
    void *dead_letter_topic;
};

/* Publishes what is to be seen of the change, counted, unless its operation is skipped. The position in the transaction
 * stays the caller's. */
bool publish_change(struct publisher *p, const struct change *change, struct error *err);

/* The same of a table's change as it is; `table` NULL: a logical message. */
bool publish_table_change(struct publisher *p, struct event_table *table,
                          const struct change *change, struct error *err);

/* The letter of `op`. */
char publish_op_letter(enum change_operation operation);

/* The row filter and the shape first, then publish_table_change or the outbox. */
bool publish_shaped(struct publisher *p, struct event_table *table, const struct change *change,
                    struct error *err);

struct outbox_topics *outbox_topics_create(void);
void outbox_topics_destroy(struct outbox_topics **topics);
/* A row as events may show it. */
bool publish_outbox_row(struct publisher *p, struct event_table *table, const struct change *change,
                        struct error *err);
bool publish_outbox_message(struct publisher *p, const struct outbox_entry *entry,
                            const struct change *change, struct error *err);

/* BEGIN or END on <prefix>.transaction, of transaction metadata. */
bool publish_boundary(struct publisher *p, const char *status, uint64_t lsn, struct error *err);

/* Hands a record to the output, with the headers that tell where it comes from. All records but those of invalidations go
 * this way. */
enum write_result publish_write(struct publisher *p, const struct record *record,
                                struct error *err);

/* What the registry's ids stand for is durable with the records that bear them. */
void publish_keep_schemas(struct publisher *p);

/* Where the transaction has filled the batch and may be split: what was written of it becomes durable. */
bool publish_part(struct publisher *p, const struct transaction *tx, const struct change *change,
                  struct error *err);

/* Writes one record of an event; one that can never be written is settled as `cdc.on_oversize` says. */
bool publish_record(struct publisher *p, const struct event *event, const struct record *record,
                    struct error *err);

/* What can't be published goes to the dead letters with its cause, and the stream goes on. */
bool publish_bury(struct publisher *p, const struct event *event, const char *cause,
                  struct error *err);

/* The topic <prefix>.<name>; *handle keeps it. NULL on error. */
void *publish_side_topic(struct publisher *p, void **handle, const char *name, struct error *err);

/* The topic of a table's events, made known to the output at first use. NULL on error. */
void *publish_topic(struct publisher *p, struct event_table *table, struct error *err);

#endif
