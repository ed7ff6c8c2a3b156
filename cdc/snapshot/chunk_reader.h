/* chunk_reader.h: reads chunks of tables on a thread and a connection of its own, while the feed's thread streams.
 *
 *     chunk_reader_order(reader, &order);                     takes it over
 *     struct chunk *chunk = chunk_reader_take(reader);        NULL: not yet
 *     chunk_destroy(&chunk);
 *
 * A chunk is the next rows of a table by its key (without one, the next pages), read under a snapshot that it brings along. When
 * the reading is over the reader writes a logical message with the order's token into the WAL: once the stream has come
 * to it, everything that the snapshot saw has been streamed.
 *
 *     LOCK TABLE, snapshot | description, key, upper end | COPY | message
 *
 * The lock (ACCESS SHARE, before the snapshot) keeps a rewrite of the table from hiding its rows. One order at a time. */
#ifndef FRESHET_CDC_CHUNK_READER_H
#define FRESHET_CDC_CHUNK_READER_H

#include "base/log.h"
#include "base/pg.h"
#include "base/pgsnapshot.h"
#include "cdc/snapshot/snapshot_state.h"
#include "cdc/snapshot/snapshot_tables.h"

#define CHUNK_MESSAGE_PREFIX "freshet.snapshot"

struct chunk_order {
    struct snapshot_task task; /* copies of what is asked by; next and id mean nothing */
    char *exported;            /* of a TASK_INITIAL: what the interrupted snapshot saw */
    uint64_t min_xmin;         /* all transactions before this one must be over; 0: any may run */
    uint32_t n_rows;           /* so many at the most; 0: the description alone */
    char token[64];
};

enum chunk_outcome {
    CHUNK_READ,
    CHUNK_DESCRIBED,
    CHUNK_NOT_YET,    /* min_xmin: some run still; nothing but `error` is set, as in the next two */
    CHUNK_FAILED,     /* order it again later */
    CHUNK_IMPOSSIBLE, /* no order for this table will do */
};

struct chunk {
    enum chunk_outcome outcome;
    struct error error;
    struct snapshot_tables *tables; /* this one alone */
    struct pgsnapshot snapshot;
    uint32_t n_keys; /* 0: the table has none that rows could be told apart by in the stream */
    char **keys;     /* its columns' names */
    struct buf rows; /* as COPY gives them, in the key's order */
    bool last;
    char **bound;                /* not last: the key up to which the rows go */
    uint32_t from_page, to_page; /* without a key */
};

struct chunk_reader_config {
    const char *database_url;
    const char *server_options;
    const char *publication;
    const struct change_sink *sink;
    struct log *log;
};

struct chunk_reader;

/* The texts and the sink must outlive it. NULL on error. */
struct chunk_reader *chunk_reader_start(const struct chunk_reader_config *config,
                                        struct error *err);
void chunk_reader_stop(struct chunk_reader **reader);

void chunk_reader_order(struct chunk_reader *reader, struct chunk_order **order);
struct chunk *chunk_reader_take(struct chunk_reader *reader);
void chunk_destroy(struct chunk **chunk);

/* A copy of the task, without its place in a list. */
struct chunk_order *chunk_order_create(const struct snapshot_task *task);

/* The tables that the publication lists, if that has changed since the last call that gave them; looked at once a second. NULL:
 * nothing new. The caller destroys them. */
struct snapshot_members *chunk_reader_members(struct chunk_reader *reader);

#endif
