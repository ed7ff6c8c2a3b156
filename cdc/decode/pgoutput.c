#include "cdc/decode/pgoutput.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cdc/decode/reader.h"

/* PostgreSQL counts microseconds from 2000-01-01. */
static const int64_t postgres_epoch_us = INT64_C(946684800) * 1000000;

enum { TRUNCATE_CASCADE = 1, TRUNCATE_RESTART_IDENTITY = 2, MESSAGE_TRANSACTIONAL = 1 };

struct pgoutput_decoder {
    bool in_stream; /* between Stream Start and Stream Stop each message carries an xid */
    struct value old_values[PGOUTPUT_MAX_COLUMNS];
    struct value new_values[PGOUTPUT_MAX_COLUMNS];
    struct pgoutput_column columns[PGOUTPUT_MAX_COLUMNS];
};

struct pgoutput_decoder *pgoutput_create(void) {
    return mem_zalloc(sizeof(struct pgoutput_decoder));
}

void pgoutput_destroy(struct pgoutput_decoder **decoder) {
    mem_free(*decoder);
    *decoder = NULL;
}

void pgoutput_reset(struct pgoutput_decoder *decoder) { decoder->in_stream = false; }

/* Wraps rather than overflows: a hostile server's time is wrong, not undefined. */
static int64_t read_time_us(struct reader *in) {
    return (int64_t)(reader_u64(in) + (uint64_t)postgres_epoch_us);
}

static struct slice read_name(struct reader *in) {
    struct slice name = reader_cstring(in);
    if (name.len > PGOUTPUT_MAX_NAME_BYTES) reader_fail(in);
    return name;
}

static struct slice read_schema(struct reader *in) {
    struct slice schema = read_name(in);
    return schema.len ? schema : SLICE("pg_catalog");
}

/* TupleData. The hot loop of the whole stream: one pass, values point into the payload. */
static struct pgoutput_row read_row(struct reader *in, struct value *values) {
    uint16_t n = reader_u16(in);
    if (n > PGOUTPUT_MAX_COLUMNS) reader_fail(in);
    for (uint16_t i = 0; i < n && !in->failed; i++) {
        struct value *value = &values[i];
        uint8_t kind = reader_u8(in);
        if (kind == 't' || kind == 'b') {
            struct slice bytes = reader_bytes(in, reader_u32(in));
            value->kind = kind == 't' ? VALUE_TEXT : VALUE_BINARY;
            value->len = (uint32_t)bytes.len;
            value->data = bytes.data;
            continue;
        }
        if (kind != 'n' && kind != 'u') reader_fail(in);
        *value = (struct value){.kind = kind == 'u' ? VALUE_UNCHANGED : VALUE_NULL, .data = ""};
    }
    return (struct pgoutput_row){.n_values = n, .values = values};
}

typedef void decode_function(struct pgoutput_decoder *decoder, struct reader *in,
                             struct pgoutput_message *m);

static void decode_begin(struct pgoutput_decoder *decoder, struct reader *in,
                         struct pgoutput_message *m) {
    (void)decoder;
    m->begin.final_lsn = reader_u64(in);
    m->begin.commit_time_us = read_time_us(in);
    m->xid = reader_u32(in);
}

static void read_commit(struct reader *in, struct pgoutput_message *m) {
    reader_u8(in); /* flags: none are defined */
    m->commit.commit_lsn = reader_u64(in);
    m->commit.end_lsn = reader_u64(in);
    m->commit.commit_time_us = read_time_us(in);
}

static void decode_commit(struct pgoutput_decoder *decoder, struct reader *in,
                          struct pgoutput_message *m) {
    (void)decoder;
    read_commit(in, m);
}

static void decode_origin(struct pgoutput_decoder *decoder, struct reader *in,
                          struct pgoutput_message *m) {
    (void)decoder;
    m->origin.commit_lsn = reader_u64(in);
    m->origin.name = reader_cstring(in);
}

static void decode_relation(struct pgoutput_decoder *decoder, struct reader *in,
                            struct pgoutput_message *m) {
    m->relation.oid = reader_u32(in);
    m->relation.schema = read_schema(in);
    m->relation.name = read_name(in);
    m->relation.replica_identity = (char)reader_u8(in);
    uint16_t n = reader_u16(in);
    if (n > PGOUTPUT_MAX_COLUMNS) reader_fail(in);
    for (uint16_t i = 0; i < n && !in->failed; i++) {
        struct pgoutput_column *column = &decoder->columns[i];
        column->identity = reader_u8(in) & 1;
        column->name = read_name(in);
        column->type_oid = reader_u32(in);
        column->typmod = (int32_t)reader_u32(in);
    }
    m->relation.n_columns = n;
    m->relation.columns = decoder->columns;
}

static void decode_type(struct pgoutput_decoder *decoder, struct reader *in,
                        struct pgoutput_message *m) {
    (void)decoder;
    m->type.oid = reader_u32(in);
    m->type.schema = read_schema(in);
    m->type.name = read_name(in);
}

static void decode_insert(struct pgoutput_decoder *decoder, struct reader *in,
                          struct pgoutput_message *m) {
    m->row.relation_oid = reader_u32(in);
    if (reader_u8(in) != 'N') reader_fail(in);
    m->row.new_row = read_row(in, decoder->new_values);
    m->row.old_row = (struct pgoutput_row){0};
    m->row.old_is_key = false;
}

static void decode_update(struct pgoutput_decoder *decoder, struct reader *in,
                          struct pgoutput_message *m) {
    m->row.relation_oid = reader_u32(in);
    m->row.old_row = (struct pgoutput_row){0};
    uint8_t part = reader_u8(in);
    m->row.old_is_key = part == 'K';
    if (part == 'K' || part == 'O') {
        m->row.old_row = read_row(in, decoder->old_values);
        part = reader_u8(in);
    }
    if (part != 'N') reader_fail(in);
    m->row.new_row = read_row(in, decoder->new_values);
}

static void decode_delete(struct pgoutput_decoder *decoder, struct reader *in,
                          struct pgoutput_message *m) {
    m->row.relation_oid = reader_u32(in);
    uint8_t part = reader_u8(in);
    if (part != 'K' && part != 'O') reader_fail(in);
    m->row.old_is_key = part == 'K';
    m->row.old_row = read_row(in, decoder->old_values);
    m->row.new_row = (struct pgoutput_row){0};
}

static void decode_truncate(struct pgoutput_decoder *decoder, struct reader *in,
                            struct pgoutput_message *m) {
    (void)decoder;
    uint32_t n = reader_u32(in);
    uint8_t flags = reader_u8(in);
    if (n > PGOUTPUT_MAX_TRUNCATED) {
        reader_fail(in);
        return;
    }
    m->truncate.cascade = flags & TRUNCATE_CASCADE;
    m->truncate.restart_identity = flags & TRUNCATE_RESTART_IDENTITY;
    m->truncate.n_relations = n;
    m->truncate.relation_oids = reader_bytes(in, (size_t)n * 4);
}

static void decode_message(struct pgoutput_decoder *decoder, struct reader *in,
                           struct pgoutput_message *m) {
    (void)decoder;
    m->message.transactional = reader_u8(in) & MESSAGE_TRANSACTIONAL;
    m->message.lsn = reader_u64(in);
    m->message.prefix = reader_cstring(in);
    m->message.content = reader_bytes(in, reader_u32(in));
}

static void decode_stream_start(struct pgoutput_decoder *decoder, struct reader *in,
                                struct pgoutput_message *m) {
    if (decoder->in_stream) reader_fail(in);
    m->xid = reader_u32(in);
    m->stream_start.first_segment = reader_u8(in) == 1;
}

static void decode_stream_stop(struct pgoutput_decoder *decoder, struct reader *in,
                               struct pgoutput_message *m) {
    (void)m;
    if (!decoder->in_stream) reader_fail(in);
}

static void decode_stream_commit(struct pgoutput_decoder *decoder, struct reader *in,
                                 struct pgoutput_message *m) {
    (void)decoder;
    m->xid = reader_u32(in);
    read_commit(in, m);
}

static void decode_stream_abort(struct pgoutput_decoder *decoder, struct reader *in,
                                struct pgoutput_message *m) {
    (void)decoder;
    m->xid = reader_u32(in);
    m->stream_abort.subxid = reader_u32(in);
    /* Protocol 4 with streaming 'parallel' adds the abort's LSN and time. */
    if (reader_left(in) == 16) reader_bytes(in, 16);
}

/* The global id names a prepared transaction to people; to us its xid does. */
static void read_gid(struct reader *in, struct pgoutput_message *m) {
    m->xid = reader_u32(in);
    reader_cstring(in);
}

static void read_prepare(struct reader *in, struct pgoutput_message *m) {
    m->prepare.prepare_lsn = reader_u64(in);
    m->prepare.end_lsn = reader_u64(in);
    m->prepare.prepare_time_us = read_time_us(in);
    read_gid(in, m);
}

static void decode_begin_prepare(struct pgoutput_decoder *decoder, struct reader *in,
                                 struct pgoutput_message *m) {
    (void)decoder;
    read_prepare(in, m);
}

static void decode_prepare(struct pgoutput_decoder *decoder, struct reader *in,
                           struct pgoutput_message *m) {
    (void)decoder;
    reader_u8(in); /* flags: none are defined */
    read_prepare(in, m);
}

static void decode_commit_prepared(struct pgoutput_decoder *decoder, struct reader *in,
                                   struct pgoutput_message *m) {
    (void)decoder;
    read_commit(in, m);
    read_gid(in, m);
}

static void decode_rollback_prepared(struct pgoutput_decoder *decoder, struct reader *in,
                                     struct pgoutput_message *m) {
    (void)decoder;
    reader_u8(in); /* flags: none are defined */
    m->prepare.prepare_lsn = 0;
    m->prepare.end_lsn = reader_u64(in);
    reader_u64(in); /* end of the rollback's record */
    m->prepare.prepare_time_us = read_time_us(in);
    reader_u64(in); /* time of the rollback */
    read_gid(in, m);
}

/* Where a message may stand, and whether a stream puts an xid in front of it. */
static const struct message_type {
    char byte;
    enum pgoutput_kind kind;
    bool in_stream; /* may come within a stream, then with an xid */
    decode_function *decode;
    const char *name;
} types[] = {
    {'I', PGOUTPUT_INSERT, true, decode_insert, "insert"},
    {'U', PGOUTPUT_UPDATE, true, decode_update, "update"},
    {'D', PGOUTPUT_DELETE, true, decode_delete, "delete"},
    {'B', PGOUTPUT_BEGIN, false, decode_begin, "begin"},
    {'C', PGOUTPUT_COMMIT, false, decode_commit, "commit"},
    {'R', PGOUTPUT_RELATION, true, decode_relation, "relation"},
    {'Y', PGOUTPUT_TYPE, true, decode_type, "type"},
    {'T', PGOUTPUT_TRUNCATE, true, decode_truncate, "truncate"},
    {'M', PGOUTPUT_MESSAGE, true, decode_message, "message"},
    {'O', PGOUTPUT_ORIGIN, false, decode_origin, "origin"},
    {'S', PGOUTPUT_STREAM_START, false, decode_stream_start, "stream start"},
    {'E', PGOUTPUT_STREAM_STOP, false, decode_stream_stop, "stream stop"},
    {'c', PGOUTPUT_STREAM_COMMIT, false, decode_stream_commit, "stream commit"},
    {'A', PGOUTPUT_STREAM_ABORT, false, decode_stream_abort, "stream abort"},
    {'b', PGOUTPUT_BEGIN_PREPARE, false, decode_begin_prepare, "begin prepare"},
    {'P', PGOUTPUT_PREPARE, false, decode_prepare, "prepare"},
    {'K', PGOUTPUT_COMMIT_PREPARED, false, decode_commit_prepared, "commit prepared"},
    {'r', PGOUTPUT_ROLLBACK_PREPARED, false, decode_rollback_prepared, "rollback prepared"},
    {'p', PGOUTPUT_STREAM_PREPARE, false, decode_prepare, "stream prepare"},
};
enum { N_TYPES = sizeof types / sizeof types[0] };

static const struct message_type *find_type(uint8_t byte) {
    for (size_t i = 0; i < N_TYPES; i++) {
        if ((uint8_t)types[i].byte == byte) return &types[i];
    }
    return NULL;
}

bool pgoutput_decode_kept(struct pgoutput_decoder *decoder, struct slice payload, bool in_stream,
                          struct pgoutput_message *message) {
    struct reader in = reader_make(payload);
    const struct message_type *type = find_type(reader_u8(&in));
    if (!type) return false;
    message->kind = type->kind;
    message->xid = in_stream && type->in_stream ? reader_u32(&in) : 0;
    type->decode(decoder, &in, message);
    return reader_done(&in);
}

bool pgoutput_decode(struct pgoutput_decoder *decoder, struct slice payload,
                     struct pgoutput_message *message) {
    if (!pgoutput_decode_kept(decoder, payload, decoder->in_stream, message)) return false;
    if (message->kind == PGOUTPUT_STREAM_START) decoder->in_stream = true;
    if (message->kind == PGOUTPUT_STREAM_STOP) decoder->in_stream = false;
    return true;
}

uint32_t pgoutput_truncated(const struct pgoutput_message *message, uint32_t i) {
    ASSERT(message->kind == PGOUTPUT_TRUNCATE && i < message->truncate.n_relations);
    struct slice oids = message->truncate.relation_oids;
    struct reader in = reader_make(slice_make(oids.data + (size_t)i * 4, 4));
    return reader_u32(&in);
}

const char *pgoutput_kind_name(enum pgoutput_kind kind) {
    for (size_t i = 0; i < N_TYPES; i++) {
        if (types[i].kind == kind) return types[i].name;
    }
    ASSERT_UNREACHABLE();
}
