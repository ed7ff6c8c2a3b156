#include "base/invalidation.h"

#include <string.h>

#include "base/assert.h"

enum {
    ROW_OLD = 1,
    ROW_NEW = 2,
    ROW_OLD_IS_KEY = 4,
    COLUMN_IDENTITY = 1,
    NUMBER_MAX_BYTES = 10,
};

/* The letters of operations, and their kinds of values: places in these texts. */
static const struct {
    char letter;
    enum change_operation operation;
} operations[] = {
    {'I', CHANGE_INSERT}, {'U', CHANGE_UPDATE}, {'D', CHANGE_DELETE}, {'T', CHANGE_TRUNCATE}};

/* ---- writing ---- */

static void write_number(struct buf *out, uint64_t number) {
    char *at = buf_reserve(out, NUMBER_MAX_BYTES);
    size_t n = 0;
    for (; number >= 0x80; number >>= 7)
        at[n++] = (char)(number | 0x80);
    at[n++] = (char)number;
    out->len += n;
}

static void write_text(struct buf *out, struct slice text) {
    write_number(out, text.len);
    buf_append_slice(out, text);
}

void invalidation_write_relation(struct buf *out, const struct invalidation_relation *relation) {
    ASSERT(relation->n_columns <= INVALIDATION_MAX_COLUMNS);
    write_number(out, relation->oid);
    write_number(out, relation->fingerprint);
    write_text(out, relation->schema);
    write_text(out, relation->name);
    buf_append_char(out, relation->replica_identity);
    write_number(out, relation->n_columns);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct invalidation_column *column = &relation->columns[i];
        write_text(out, column->name);
        write_number(out, column->type_oid);
        write_number(out, (uint32_t)column->typmod);
        buf_append_char(out, column->identity ? COLUMN_IDENTITY : 0);
    }
}

static void write_row(struct buf *out, const struct value *row, uint16_t n_columns) {
    for (uint16_t i = 0; row && i < n_columns; i++) {
        bool has_bytes = row[i].kind == VALUE_TEXT || row[i].kind == VALUE_BINARY;
        uint64_t len = has_bytes ? row[i].len : 0;
        write_number(out, len << 2 | row[i].kind);
        if (has_bytes) buf_append(out, row[i].data, len);
    }
}

void invalidation_write_change(struct buf *out, const struct invalidation_change *change) {
    size_t i = 0;
    while (operations[i].operation != change->operation) {
        i++;
        ASSERT(i < sizeof operations / sizeof *operations);
    }
    buf_append_char(out, operations[i].letter);
    write_number(out, change->relation);
    buf_append_char(out, (char)((change->old_row ? ROW_OLD : 0) | (change->new_row ? ROW_NEW : 0) |
                                (change->old_is_key ? ROW_OLD_IS_KEY : 0)));
    write_row(out, change->old_row, change->n_columns);
    write_row(out, change->new_row, change->n_columns);
}

static void write_source(struct buf *out, const struct invalidation_source *source) {
    write_number(out, source->system_identifier);
    write_number(out, source->timeline);
    write_number(out, (uint64_t)source->server_start_us);
    write_text(out, source->database);
    write_text(out, source->publication);
}

void invalidation_write(struct buf *out, const struct invalidation *head, uint32_t n_relations,
                        struct slice relations, uint32_t n_changes, struct slice changes) {
    buf_append_text(out, "FI");
    buf_append_char(out, INVALIDATION_VERSION);
    buf_append_char(out, (char)head->kind);
    write_source(out, &head->source);
    write_number(out, head->since_lsn);
    if (head->kind == INVALIDATION_HEARTBEAT) {
        write_number(out, head->end_lsn);
        write_number(out, head->interval_ms);
        return;
    }
    write_number(out, head->xid);
    write_number(out, head->commit_lsn);
    write_number(out, head->end_lsn);
    write_number(out, (uint64_t)head->commit_time_us);
    write_number(out, head->part);
    buf_append_char(out, head->last ? 1 : 0);
    write_number(out, n_relations);
    buf_append_slice(out, relations);
    write_number(out, n_changes);
    buf_append_slice(out, changes);
}

/* ---- reading: a failure sticks, and every read after it gives nothing ---- */

struct input {
    const char *at;
    const char *end;
    bool failed;
    struct arena *arena;
};

static uint64_t fail(struct input *in) {
    in->failed = true;
    in->at = in->end;
    return 0;
}

static size_t left(const struct input *in) { return (size_t)(in->end - in->at); }

static uint8_t read_byte(struct input *in) {
    return in->at < in->end ? (uint8_t)*in->at++ : (uint8_t)fail(in);
}

/* In the shortest form alone, so that a record has one spelling. */
static uint64_t read_number(struct input *in) {
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_byte(in);
        uint64_t bits = byte & 0x7f;
        if (in->failed || (shift == 63 && bits > 1)) return fail(in);
        number |= bits << shift;
        if (!(byte & 0x80)) return byte == 0 && shift > 0 ? fail(in) : number;
    }
    return fail(in);
}

static uint64_t read_bounded(struct input *in, uint64_t most) {
    uint64_t number = read_number(in);
    return number <= most ? number : fail(in);
}

/* A count of things that take at least a byte each: it never asks for more memory than the record bears out. */
static uint32_t read_count(struct input *in, uint64_t most) {
    uint64_t here = left(in);
    return (uint32_t)read_bounded(in, here < most ? here : most);
}

static struct slice read_bytes(struct input *in, uint64_t len) {
    if (len > left(in)) len = fail(in);
    struct slice bytes = slice_make(in->at, len);
    in->at += len;
    return bytes;
}

static struct slice read_text(struct input *in) { return read_bytes(in, read_number(in)); }

static bool read_flag(struct input *in) {
    uint8_t byte = read_byte(in);
    return (byte <= 1 ? byte : fail(in)) != 0;
}

static void read_relation(struct input *in, struct invalidation_relation *relation) {
    *relation = (struct invalidation_relation){
        .oid = (uint32_t)read_bounded(in, UINT32_MAX),
        .fingerprint = read_number(in),
    };
    relation->schema = read_text(in);
    relation->name = read_text(in);
    relation->replica_identity = (char)read_byte(in);
    uint16_t n = (uint16_t)read_count(in, INVALIDATION_MAX_COLUMNS);
    struct invalidation_column *columns = arena_alloc(in->arena, (n + 1u) * sizeof *columns);
    for (uint16_t i = 0; i < n && !in->failed; i++) {
        columns[i].name = read_text(in);
        columns[i].type_oid = (uint32_t)read_bounded(in, UINT32_MAX);
        columns[i].typmod = (int32_t)(uint32_t)read_bounded(in, UINT32_MAX);
        columns[i].identity = read_flag(in);
    }
    relation->n_columns = n;
    relation->columns = columns;
}

static const struct value *read_row(struct input *in, uint16_t n_columns) {
    /* Each value takes a byte: a row that is longer than what is left is none. */
    if (n_columns > left(in)) fail(in);
    if (in->failed) return NULL;
    struct value *row = arena_alloc(in->arena, (n_columns + 1u) * sizeof *row);
    for (uint16_t i = 0; i < n_columns; i++) {
        uint64_t head = read_bounded(in, UINT32_MAX);
        enum value_kind kind = (enum value_kind)(head & 3);
        bool has_bytes = kind == VALUE_TEXT || kind == VALUE_BINARY;
        if (!has_bytes && head >> 2) fail(in);
        struct slice bytes = read_bytes(in, head >> 2);
        row[i] = (struct value){
            .kind = kind, .len = (uint32_t)bytes.len, .data = has_bytes ? bytes.data : NULL};
    }
    return row;
}

static enum change_operation read_operation(struct input *in) {
    char letter = (char)read_byte(in);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (operations[i].letter == letter) return operations[i].operation;
    }
    fail(in);
    return CHANGE_TRUNCATE;
}

static void read_change(struct input *in, const struct invalidation *record,
                        struct invalidation_change *change) {
    *change = (struct invalidation_change){.operation = read_operation(in)};
    uint64_t place = read_number(in);
    uint8_t rows = read_byte(in);
    if (place >= record->n_relations || rows > (ROW_OLD | ROW_NEW | ROW_OLD_IS_KEY)) fail(in);
    if (in->failed) return;
    change->relation = (uint32_t)place;
    change->n_columns = record->relations[place].n_columns;
    change->old_is_key = rows & ROW_OLD_IS_KEY;
    if (rows & ROW_OLD) change->old_row = read_row(in, change->n_columns);
    if (rows & ROW_NEW) change->new_row = read_row(in, change->n_columns);
}

static void read_transaction(struct input *in, struct invalidation *record) {
    record->xid = read_number(in);
    record->commit_lsn = read_number(in);
    record->end_lsn = read_number(in);
    record->commit_time_us = (int64_t)read_number(in);
    record->part = (uint32_t)read_bounded(in, UINT32_MAX);
    record->last = read_flag(in);
    if (record->last != (record->end_lsn != 0)) fail(in);
    record->n_relations = read_count(in, UINT32_MAX);
    struct invalidation_relation *relations =
        arena_alloc(in->arena, (record->n_relations + (size_t)1) * sizeof *relations);
    record->relations = relations;
    for (uint32_t i = 0; i < record->n_relations && !in->failed; i++)
        read_relation(in, &relations[i]);
    record->n_changes = read_count(in, UINT32_MAX);
    struct invalidation_change *changes =
        arena_alloc(in->arena, (record->n_changes + (size_t)1) * sizeof *changes);
    record->changes = changes;
    for (uint32_t i = 0; i < record->n_changes && !in->failed; i++)
        read_change(in, record, &changes[i]);
}

enum invalidation_result invalidation_read(struct slice bytes, struct arena *arena,
                                           struct invalidation *record) {
    struct input in = {.at = bytes.data, .end = bytes.data + bytes.len, .arena = arena};
    *record = (struct invalidation){0};
    if (bytes.len < 4 || memcmp(bytes.data, "FI", 2) != 0) return INVALIDATION_MALFORMED;
    if (bytes.data[2] != INVALIDATION_VERSION) return INVALIDATION_NEWER;
    in.at += 3;
    char kind = (char)read_byte(&in);
    record->kind = (enum invalidation_kind)kind;
    record->source.system_identifier = read_number(&in);
    record->source.timeline = (uint32_t)read_bounded(&in, UINT32_MAX);
    record->source.server_start_us = (int64_t)read_number(&in);
    record->source.database = read_text(&in);
    record->source.publication = read_text(&in);
    record->since_lsn = read_number(&in);
    if (kind == INVALIDATION_TRANSACTION) {
        read_transaction(&in, record);
    } else if (kind == INVALIDATION_HEARTBEAT) {
        record->end_lsn = read_number(&in);
        record->interval_ms = (uint32_t)read_bounded(&in, UINT32_MAX);
    } else {
        fail(&in);
    }
    return in.failed || in.at != in.end ? INVALIDATION_MALFORMED : INVALIDATION_READ;
}
