/* write.h: rows that a client's commands change: one transaction of the database, made of operations in the order of the
 * commands. Data alone; who makes it is row_write.h, who carries it out writer.h.
 *
 *     write = write_create(map);
 *     op = write_add(write, WRITE_UPDATE, table, key, hash, &row);
 *     write_set(write, op, column, value);                     value.data NULL: SQL's NULL
 *     writer_submit(writer, &write);  ...  write->outcome, op->found, op->changed, op->text
 *     write_destroy(&write);
 *
 * Everything that an operation points to lies in the write's own memory. One worker's. */
#ifndef FRESHET_CACHE_WRITE_H
#define FRESHET_CACHE_WRITE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"
#include "cache/front/client.h"
#include "cache/rows/fetch.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/statement.h"
#include "cache/rows/tablemap.h"

enum write_kind {
    WRITE_UPDATE,     /* columns of a row that is there: HSET, HDEL */
    WRITE_UPDATE_NEW, /* the same, of columns that are NULL: HSETNX */
    WRITE_ADD,        /* a number to a column: HINCRBY, HINCRBYFLOAT */
    WRITE_UPSERT,     /* the fields of a JSON object, into the row or into a new one: SET */
    WRITE_INSERT,     /* ... into a new one alone: SET NX */
    WRITE_REPLACE,    /* ... into the row that is there: SET XX */
    WRITE_DELETE,     /* DEL */
    WRITE_READ,       /* the row as it is at this place of the transaction: reads between writes */
    WRITE_HOLD,       /* the same of a watched row, which nobody else may change from here on */
};

struct write_field {
    uint16_t column;    /* its place in table->columns */
    struct slice value; /* NUL-terminated; data NULL: SQL's NULL. Of JSON kinds: unused */
};

struct write_op {
    enum write_kind kind;
    uint32_t command; /* whose: its place in the EXEC; 0 */
    const struct table *table;
    struct slice key; /* as asked */
    uint64_t hash;
    uint32_t place; /* as it was given, where several are sorted by their hashes */
    struct rowkey row;
    struct slice json; /* of JSON kinds, NUL-terminated */
    uint16_t n_fields;
    struct write_field *fields;
    bool whole_number;   /* WRITE_ADD: the result has to be one */
    enum key_form form;  /* WRITE_READ, WRITE_HOLD: STRING or HASH */
    struct slice before; /* WRITE_HOLD: what it was when it was watched; data NULL: absent */

    /* What became of it: */
    bool fits;          /* JSON kinds: it did not name another row's key */
    bool found;         /* the row was there before */
    bool changed;       /* the row was written, or deleted */
    int64_t count;      /* WRITE_UPDATE: of its columns, those that were NULL before */
    struct slice text;  /* WRITE_ADD: the column's new value */
    PGresult *result;   /* owned; the rest points into it */
    int64_t expiry_ms;  /* WRITE_READ: of what was read */
    struct slice image; /* WRITE_READ, WRITE_HOLD: JSON or packed fields; data NULL: absent */
};

enum write_outcome {
    WRITE_PENDING,
    WRITE_DONE,    /* committed, and applied here */
    WRITE_REFUSED, /* nothing was written: `failure` says why, code first */
    WRITE_TOUCHED, /* nothing was written: a watched key has changed */
    WRITE_UNKNOWN, /* it was committed, or it was not: `failure` */
};

/* Why nothing was written, or it is not known; for the metrics. */
enum write_reason {
    WRITE_REASON_NONE,
    WRITE_REASON_CONSTRAINT,  /* SQLSTATE class 23 */
    WRITE_REASON_CONFLICT,    /* class 40: serialization failure, deadlock */
    WRITE_REASON_ABSENT,      /* there is no such row */
    WRITE_REASON_INVALID,     /* a value, or a column, that the table does not take */
    WRITE_REASON_RIGHTS,      /* 42501 */
    WRITE_REASON_READ_ONLY,   /* 25006: not the primary any more */
    WRITE_REASON_TIMEOUT,     /* 57014, 55P03 */
    WRITE_REASON_UNAVAILABLE, /* no connection, or it was lost before COMMIT */
    WRITE_REASON_UNKNOWN,     /* it was lost, or slow, behind COMMIT */
    WRITE_REASON_OTHER,
    WRITE_REASONS
};

struct write {
    struct write *next; /* the writer's */
    struct arena *arena;
    struct tablemap *map; /* held */
    struct client_ticket ticket;
    uint64_t client_id;
    uint32_t n_ops, cap_ops;
    struct write_op *ops;
    bool watches; /* the client's transaction is looked at before the COMMIT */
    int64_t begun_us, deadline_us;
    uint64_t xid;            /* 0: not known, or none was needed */
    uint64_t lsn;            /* no less than where its commit ends; 0: not known */
    int64_t server_start_us; /* of the server that it went to; 0: not known */
    enum write_outcome outcome;
    enum write_reason reason;
    struct buf failure;
    struct fetched_rows rows; /* for client_resume: leads back here */
};

struct write *write_create(struct tablemap *map);
void write_destroy(struct write **write);

/* The operation moves when the next is added. */
struct write_op *write_add(struct write *write, enum write_kind kind, const struct table *table,
                           struct slice key, uint64_t hash, const struct rowkey *row);
/* A column that was set already takes the newer value. */
void write_set(struct write *write, struct write_op *op, uint16_t column, struct slice value);
/* Does it change anything, if it finds its row? */
static inline bool write_changes(const struct write_op *op) { return op->kind < WRITE_READ; }
static inline bool write_is_json(const struct write_op *op) {
    return op->kind >= WRITE_UPSERT && op->kind <= WRITE_REPLACE;
}

/* The statement of a row's reading within a write: the fill's, for one row (of a named query, for any number of keys). The JSON is the
 * server's: what was written is read once. */
static inline struct statement write_reads(const struct write_op *op, enum key_form form) {
    return (struct statement){.table = op->table,
                              .unique = op->row.unique,
                              .form = form,
                              .way = op->table->query ? STATEMENT_EACH : STATEMENT_ONE,
                              .whole = true};
}

#endif
