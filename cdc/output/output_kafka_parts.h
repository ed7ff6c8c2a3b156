/* output_kafka_parts.h: what the files of the Kafka output share among themselves. Private to output_kafka*.c.
 *
 *     output_kafka.c           life, sessions, topics
 *     output_kafka_batch.c     records, and batches of them that become durable together with a position
 *     output_kafka_producer.c  the producer: its settings, and what it reports
 *
 *          write            interval or records reached            acknowledged
 *   IDLE ---------> OPEN ------------------------------> CLOSING ---------------> IDLE
 *                    ^  write, commit                       | ready() is false meanwhile
 *                    +-- (still inside a transaction)
 *
 * exactly-once: a batch is a Kafka transaction, which holds the position record too: CLOSING writes it,
 * flushes and commits. at-least-once: a batch is flushed, then its position record is written and flushed; a crash between
 * repeats the batch. Either way the server is told no more than the positions topic holds.
 *
 * A PostgreSQL transaction lies in one batch. Where the configuration splits huge ones, a batch may end inside: its position
 * then says how many changes of the transaction are durable, and a start goes on behind them.
 *
 * Nothing here blocks for longer than a second while a session streams: librdkafka's calls are resumed from tick
 * to tick. Any error ends the session, and with it the producer: the next one fences it, which aborts what it had open, and
 * starts over from the position. */
#ifndef FRESHET_CDC_OUTPUT_KAFKA_PARTS_H
#define FRESHET_CDC_OUTPUT_KAFKA_PARTS_H

#include <stdatomic.h>

#include "cdc/output/kafka_topics.h"
#include "cdc/output/output.h"
#include "cdc/publish/oversize.h"

/* In a record's opaque, beside the hash that tells its partition. */
#define OUTPUT_KAFKA_PLACED (UINT64_C(1) << 32)

enum batch_state { BATCH_IDLE, BATCH_OPEN, BATCH_CLOSING };

/* A topic's name, and its handle in the session's producer. */
struct topic {
    struct topic *next;
    char *name;
    struct topic_kind kind;
    rd_kafka_topic_t *handle; /* NULL: not used in this session yet */
    bool announced;           /* in this session: it is there, or under way */
};

struct output_kafka {
    const struct publisher_config *config;
    struct log *log;
    bool exactly_once;
    char *transactional_id;
    struct kafka_topics *cluster;
    struct topic *topics;
    struct topic *positions;

    /* Of the session. */
    rd_kafka_t *producer;
    enum batch_state state;
    bool partial;                /* records of a transaction that has not ended yet */
    bool split;                  /* it ends inside a transaction, as `next` says */
    bool position_written;       /* CLOSING: its record is produced */
    int64_t opened_us;           /* of the batch */
    uint64_t batch_records;      /* in the batch */
    int64_t closing_us;          /* since when it is being closed */
    int64_t average_closing_us;  /* how long the last ones took */
    int64_t told_us;             /* when it was last said that this takes long */
    int64_t closed_us;           /* when the last batch was done */
    struct change_position next; /* what the next batch makes durable */
    struct kept_note {
        struct buf text;         /* the last one given, or found at the start */
        bool due;                /* it is not in a batch yet */
    } notes[N_POSITION_NOTES];   /* beside it */
    rd_kafka_resp_err_t failure; /* of a delivery; 0: none */
    char failed_topic[256];
    bool flushed;        /* CLOSING: every record is acknowledged */
    atomic_bool guessed; /* any thread: librdkafka has taken one for persisted without a word */
    struct oversize oversize;

    /* Backpressure. */
    uint64_t queue_bytes;   /* the bound: the configured one, or what the brokers take at a time */
    uint64_t average_bytes; /* of the records lately, with overhead */
    unsigned unchecked;     /* records since the queue was looked at */
    bool full;
    int stuck_records; /* in the full queue, since stuck_us */
    int64_t stuck_us;

    /* Any thread. */
    _Atomic uint64_t confirmed_lsn;
    _Atomic bool connected;
    _Atomic int64_t unacknowledged_since_us; /* a batch is being closed; monotonic; 0: none is */
    struct metric *batches;
    struct metric *aborted;
    struct metric *queue_records;
    struct metric *failures;
    struct metric *unacknowledged;
};

/* ---- output_kafka_producer.c ---- */

/* The session's producer, opened; NULL on error. */
rd_kafka_t *output_kafka_open(struct output_kafka *k, struct error *err);
/* What the brokers have refused meanwhile or not said to have taken, or what is fatal to the producer. False: the session is
 * to end. */
bool output_kafka_check(struct output_kafka *k, struct error *err) MUST_CHECK;

/* ---- output_kafka.c ---- */

/* Makes the topic where that was not begun yet, and its handle. */
bool output_kafka_open_topic(struct output_kafka *k, struct topic *to,
                             struct error *err) MUST_CHECK;

/* ---- output_kafka_batch.c: the output's functions of these names ---- */

enum write_result output_kafka_write(void *self, const struct record *record, struct error *err);
bool output_kafka_commit(void *self, const struct change_position *position, int64_t now_us,
                         struct error *err);
bool output_kafka_part_due(void *self);
void output_kafka_part(void *self, const struct change_position *position);
void output_kafka_note(void *self, enum position_note note, struct slice text);
struct slice output_kafka_noted(void *self, enum position_note note);
bool output_kafka_progress(void *self, uint64_t end_lsn, int64_t now_us, struct error *err);
bool output_kafka_tick(void *self, int64_t now_us, struct error *err);
int64_t output_kafka_tick_due_us(void *self);
bool output_kafka_ready(void *self);
/* Makes the position in `next` durable, and nothing else. */
bool output_kafka_store(struct output_kafka *k, int timeout_ms, struct error *err) MUST_CHECK;
/* Closes what is whole, if Kafka lets us in this time; what is cut short is left to be dropped. */
void output_kafka_finish(struct output_kafka *k, int timeout_ms);

#endif
