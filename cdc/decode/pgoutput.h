/* pgoutput.h: decoder of the logical replication messages of the pgoutput plugin, protocol versions 1 to 4
 * (PostgreSQL documentation, "Logical Replication Message Formats"). Pure: bytes in, struct out.
 *
 *     struct pgoutput_decoder *decoder = pgoutput_create();
 *     if (!pgoutput_decode(decoder, payload, &message)) ...      invalid: the server breaks its own protocol
 *
 * Each XLogData carries one whole message, so there is no "need more". Everything in the result points into
 * the payload or into the decoder, and holds until the next call. No call allocates. One thread. */
#ifndef FRESHET_CDC_PGOUTPUT_H
#define FRESHET_CDC_PGOUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"
#include "base/slice.h"

enum {
    PGOUTPUT_MAX_COLUMNS = 1664,    /* MaxTupleAttributeNumber */
    PGOUTPUT_MAX_TRUNCATED = 65536, /* relations of one TRUNCATE */
    PGOUTPUT_MAX_NAME_BYTES = 1024, /* NAMEDATALEN is 64; builds with longer names exist */
};

enum pgoutput_kind {
    PGOUTPUT_BEGIN,
    PGOUTPUT_COMMIT,
    PGOUTPUT_ORIGIN,
    PGOUTPUT_RELATION,
    PGOUTPUT_TYPE,
    PGOUTPUT_INSERT,
    PGOUTPUT_UPDATE,
    PGOUTPUT_DELETE,
    PGOUTPUT_TRUNCATE,
    PGOUTPUT_MESSAGE,
    PGOUTPUT_STREAM_START,
    PGOUTPUT_STREAM_STOP,
    PGOUTPUT_STREAM_COMMIT,
    PGOUTPUT_STREAM_ABORT,
    PGOUTPUT_BEGIN_PREPARE,
    PGOUTPUT_PREPARE,
    PGOUTPUT_COMMIT_PREPARED,
    PGOUTPUT_ROLLBACK_PREPARED,
    PGOUTPUT_STREAM_PREPARE,
};

struct pgoutput_column {
    bool identity;
    struct slice name;
    uint32_t type_oid;
    int32_t typmod;
};

struct pgoutput_row {
    uint16_t n_values;
    const struct value *values; /* NULL: not in the message */
};

struct pgoutput_message {
    enum pgoutput_kind kind;
    /* Of the (sub)transaction: in BEGIN, the STREAM and the PREPARE kinds; within a stream in every kind; else 0. */
    uint32_t xid;
    union {
        struct {
            uint64_t final_lsn;     /* start of the commit record */
            int64_t commit_time_us; /* Unix epoch */
        } begin;
        struct { /* COMMIT, STREAM_COMMIT, COMMIT_PREPARED */
            uint64_t commit_lsn;
            uint64_t end_lsn;
            int64_t commit_time_us;
        } commit;
        struct {
            uint64_t commit_lsn;
            struct slice name;
        } origin;
        struct {
            uint32_t oid;
            struct slice schema; /* "pg_catalog" is sent as "" and told as "pg_catalog" */
            struct slice name;
            char replica_identity;
            uint16_t n_columns;
            const struct pgoutput_column *columns;
        } relation;
        struct {
            uint32_t oid;
            struct slice schema;
            struct slice name;
        } type;
        struct { /* INSERT, UPDATE, DELETE */
            uint32_t relation_oid;
            bool old_is_key; /* 'K': the identity columns; 'O': the whole old row */
            struct pgoutput_row old_row;
            struct pgoutput_row new_row;
        } row;
        struct {
            bool cascade;
            bool restart_identity;
            uint32_t n_relations;
            struct slice relation_oids; /* n times 4 bytes, big-endian: pgoutput_truncated() */
        } truncate;
        struct {
            bool transactional;
            uint64_t lsn; /* end of the message's record */
            struct slice prefix;
            struct slice content;
        } message;
        struct {
            bool first_segment;
        } stream_start;
        struct {
            uint32_t subxid; /* equal to xid: all of it is aborted */
        } stream_abort;
        struct {                  /* BEGIN_PREPARE, PREPARE, STREAM_PREPARE, ROLLBACK_PREPARED */
            uint64_t prepare_lsn; /* start of its record; of ROLLBACK_PREPARED 0 */
            uint64_t end_lsn;     /* end of its record */
            int64_t prepare_time_us;
        } prepare;
    };
};

struct pgoutput_decoder;

struct pgoutput_decoder *pgoutput_create(void);
void pgoutput_destroy(struct pgoutput_decoder **decoder);
/* A new session begins: no stream of an open transaction is under way. */
void pgoutput_reset(struct pgoutput_decoder *decoder);

/* False: the message is invalid; the decoder is as before the call. */
bool pgoutput_decode(struct pgoutput_decoder *decoder, struct slice payload,
                     struct pgoutput_message *message) MUST_CHECK;

/* The same for a message that was kept, apart from the stream that it came in: `in_stream` as it was then. */
bool pgoutput_decode_kept(struct pgoutput_decoder *decoder, struct slice payload, bool in_stream,
                          struct pgoutput_message *message) MUST_CHECK;

/* OID of the i-th truncated relation. */
uint32_t pgoutput_truncated(const struct pgoutput_message *message, uint32_t i);

/* For error messages: "relation", "insert", ... */
const char *pgoutput_kind_name(enum pgoutput_kind kind);

#endif
