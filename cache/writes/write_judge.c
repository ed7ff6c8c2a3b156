#include "cache/writes/write_judge.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/commands/transaction.h"
#include "cache/rows/result.h"
#include "cache/rows/statement.h"
#include "cache/values/fields.h"
#include "cache/values/number.h"
#include "cache/writes/write_sql.h"

/* ---- errors ---- */

static const char *code_of(enum write_reason reason) {
    switch (reason) {
    case WRITE_REASON_CONSTRAINT: return "CONSTRAINT";
    case WRITE_REASON_CONFLICT: return "CONFLICT";
    case WRITE_REASON_ABSENT: return "NOROW";
    case WRITE_REASON_READ_ONLY: return "READONLY";
    case WRITE_REASON_UNKNOWN: return "UNKNOWN";
    default: return "ERR";
    }
}

void write_refuse(struct write *write, enum write_reason reason, const char *format, ...) {
    va_list args;
    write->reason = reason;
    write->failure.len = 0;
    buf_printf(&write->failure, "%s %s: ", code_of(reason), write->ops[0].table->prefix);
    va_start(args, format);
    buf_vprintf(&write->failure, format, args);
    va_end(args);
    buf_text(&write->failure);
}

/* By the longest beginning of the SQLSTATE. */
static enum write_reason reason_of(const char *state) {
    static const struct {
        const char *begins;
        enum write_reason reason;
    } reasons[] = {
        {"23", WRITE_REASON_CONSTRAINT},   {"40", WRITE_REASON_CONFLICT},
        {"42501", WRITE_REASON_RIGHTS},    {"25006", WRITE_REASON_READ_ONLY},
        {"57014", WRITE_REASON_TIMEOUT},   {"55P03", WRITE_REASON_TIMEOUT},
        {"57P", WRITE_REASON_UNAVAILABLE}, {"53", WRITE_REASON_UNAVAILABLE},
        {"22", WRITE_REASON_INVALID},      {"42", WRITE_REASON_INVALID},
        {"428C9", WRITE_REASON_INVALID},   {"08", WRITE_REASON_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (strncmp(state, reasons[i].begins, strlen(reasons[i].begins)) == 0)
            return reasons[i].reason;
    }
    return WRITE_REASON_OTHER;
}

void write_refuse_by(struct write *write, const struct write_op *op, const PGresult *error) {
    const char *state = PQresultErrorField(error, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(error, PG_DIAG_MESSAGE_DETAIL);
    enum write_reason reason = reason_of(state);
    write->reason = reason;
    write->failure.len = 0;
    buf_printf(&write->failure, "%s %s %s: %s", code_of(reason), state, op->table->prefix,
               primary ? primary : "the database's error tells nothing");
    if (detail) buf_printf(&write->failure, " (%s)", detail);
    buf_text(&write->failure);
}

/* ---- answers ---- */

static struct slice field_of(const PGresult *result, int column) {
    if (PQgetisnull(result, 0, column)) return (struct slice){0};
    return slice_make(PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column));
}

static bool is_true(const PGresult *result, int column) {
    return *PQgetvalue(result, 0, column) == 't';
}

static void take_change(struct write *write, struct write_op *op) {
    const PGresult *result = op->result;
    struct slice extra = field_of(result, WRITE_SQL_EXTRA);
    op->fits = is_true(result, WRITE_SQL_FITS);
    op->found = is_true(result, WRITE_SQL_FOUND);
    op->changed = !PQgetisnull(result, 0, WRITE_SQL_XID);
    if (op->changed) write->xid = strtoull(PQgetvalue(result, 0, WRITE_SQL_XID), NULL, 10);
    if (op->kind == WRITE_ADD)
        op->text = extra;
    else if (extra.data)
        op->count = strtoll(extra.data, NULL, 10);
}

/* NULL columns are left out. */
static struct slice pack_columns(struct write *write, const struct write_op *op) {
    struct buf packed = {0};
    struct statement statement = write_reads(op, FORM_HASH);
    int first = statement_row_at(&statement);
    for (uint16_t i = 0; i < op->table->n_columns; i++) {
        struct slice value = field_of(op->result, first + i);
        if (value.data) fields_append(&packed, slice_from(op->table->columns[i]), value);
    }
    struct slice image = arena_dup(write->arena, buf_slice(&packed));
    buf_deinit(&packed);
    return image;
}

/* A row that has ended by its own column is absent. */
static bool has_ended(const struct write_op *op) {
    struct statement statement = write_reads(op, op->form);
    if (!op->table->left_sql) return false;
    struct slice left = field_of(op->result, statement_left_at(&statement));
    return left.data && strtoll(left.data, NULL, 10) <= 0;
}

/* A named query's result, in its shape. */
static struct slice pack_result(struct write *write, const struct write_op *op) {
    struct buf packed = {0};
    const char *why = NULL;
    struct statement statement = write_reads(op, op->form);
    struct slice text = field_of(op->result, statement_row_at(&statement));
    struct slice image = {0};
    if (!result_pack(op->table->query, text, &packed, &why))
        write_refuse(write, WRITE_REASON_INVALID, "%s: %s", op->table->prefix, why);
    else if (packed.len > 0)
        image = arena_dup(write->arena, buf_slice(&packed));
    buf_deinit(&packed);
    return image;
}

static struct slice row_json(const struct write_op *op) {
    struct statement statement = write_reads(op, op->form);
    return field_of(op->result, statement_row_at(&statement));
}

static void take_row(struct write *write, struct write_op *op) {
    if (!is_true(op->result, STATEMENT_PRESENT) || has_ended(op)) return;
    op->found = true;
    if (statement_kind(op->table) != ENTRY_STRING)
        op->image = pack_result(write, op);
    else if (op->form == FORM_HASH)
        op->image = pack_columns(write, op);
    else
        op->image = row_json(op);
}

void write_take_result(struct write *write, uint32_t i, PGresult *result) {
    struct write_op *op = &write->ops[i];
    PQclear(op->result);
    op->result = result;
    if (PQntuples(result) != 1) return;
    if (write_changes(op))
        take_change(write, op);
    else
        take_row(write, op);
}

/* ---- judgements ---- */

bool write_needs_no_judgement(const struct write *write) {
    const struct write_op *op = &write->ops[0];
    if (write->n_ops != 1 || write->watches) return false;
    return op->kind != WRITE_ADD || !op->whole_number;
}

/* HDEL: of a row that is not there no field is there. */
static bool only_removes(const struct write_op *op) {
    for (uint16_t i = 0; i < op->n_fields; i++)
        if (op->fields[i].value.data) return false;
    return true;
}

static bool needs_row(const struct write_op *op) {
    switch (op->kind) {
    case WRITE_UPDATE: return !only_removes(op);
    case WRITE_UPDATE_NEW:
    case WRITE_ADD: return true;
    default: return false;
    }
}

/* The object's key columns say which row it is; a primary key that is not the found row's says another. */
static bool names_other_row(const struct write_op *op) {
    if (!write_is_json(op)) return false;
    if (!op->fits) return true;
    bool writes = op->kind == WRITE_UPSERT || (op->kind == WRITE_REPLACE && op->found);
    if (op->changed || !writes) return false;
    for (uint16_t i = 0; i < op->n_fields; i++) {
        const char *name = op->table->columns[op->fields[i].column];
        for (uint16_t k = 0; op->row.unique && k < op->table->n_keys; k++)
            if (strcmp(op->table->keys[k].name, name) == 0) return true;
    }
    return false;
}

bool write_is_well(struct write *write) {
    if (write->reason != WRITE_REASON_NONE) return false;
    for (uint32_t i = 0; i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        int64_t number;
        if (!write_changes(op)) continue;
        if (needs_row(op) && !op->found) {
            write_refuse(write, WRITE_REASON_ABSENT,
                         "there is no row '%.*s' to change: SET inserts one",
                         op->key.len < 128 ? (int)op->key.len : 128, op->key.data);
            return false;
        }
        if (names_other_row(op)) {
            write_refuse(write, WRITE_REASON_INVALID,
                         "the object's key columns are those of another row than '%.*s'",
                         op->key.len < 128 ? (int)op->key.len : 128, op->key.data);
            return false;
        }
        if (op->whole_number && !number_parse_i64(op->text, &number)) {
            write_refuse(write, WRITE_REASON_INVALID, "hash value is not an integer");
            return false;
        }
    }
    return true;
}

static bool is_as_watched(const struct write_op *op) {
    if (!op->before.data || !op->image.data) return !op->before.data && !op->image.data;
    return slice_equal(op->before, op->image);
}

bool write_is_touched(struct write *write) {
    if (!write->watches) return false;
    for (uint32_t i = 0; i < write->n_ops; i++) {
        if (write->ops[i].kind == WRITE_HOLD && !is_as_watched(&write->ops[i])) return true;
    }
    struct client *client = client_of(write->ticket);
    return !client || transaction_is_touched(client_transaction(client));
}
