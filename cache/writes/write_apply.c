#include "cache/writes/write_apply.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/rows/coherence.h"
#include "cache/rows/keep.h"
#include "cache/rows/rowttl.h"
#include "cache/rows/sources.h"
#include "cache/rows/statement.h"
#include "cache/rows/touched.h"
#include "cache/values/fields.h"
#include "cache/writes/write_sql.h"

enum { MAX_KEYS = 1 << 18 };

static struct slice field_of(const PGresult *result, int column) {
    if (PQgetisnull(result, 0, column)) return (struct slice){0};
    return slice_make(PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column));
}

/* ---- which keys a write touches ---- */

/* Identities from a column of the result on; false: one of them is NULL. */
static bool read_identities(const PGresult *result, int at, uint16_t n, struct slice *identities) {
    for (uint16_t i = 0; i < n; i++) {
        identities[i] = field_of(result, at + i);
        if (!identities[i].data) return false;
    }
    return true;
}

static void touch(struct core *core, struct touched *touched, const struct table *table,
                  struct slice key) {
    touched_key(touched, table->number, store_hash(core->store, key), key);
}

/* One image of the row: see write_sql.h for what it holds. */
static void touch_image(struct core *core, struct touched *touched, const struct write_op *op,
                        int at) {
    const struct table *table = op->table;
    const PGresult *result = op->result;
    struct slice identities[ROWKEY_MAX_COLUMNS];
    struct buf key = {0};
    bool there = read_identities(result, at, table->n_keys, identities);
    if (there) {
        rowkey_compose(table, identities, &key);
        touch(core, touched, table, buf_slice(&key));
    }
    at += table->n_keys;
    for (uint16_t u = 0; u < table->n_uniques; u++) {
        const struct unique_key *unique = &table->uniques[u];
        if (!unique->exact) continue;
        key.len = 0;
        if (read_identities(result, at, unique->n_columns, identities)) {
            rowkey_compose_unique(table, unique, identities, &key);
            touch(core, touched, table, buf_slice(&key));
        }
        at += unique->n_columns;
    }
    for (uint16_t d = 0; d < table->n_dependents; d++) {
        const struct table *query = table->dependents[d].query;
        if (!table->dependents[d].columns) continue;
        key.len = 0;
        if (read_identities(result, at, query->n_keys, identities)) {
            rowkey_compose(query, identities, &key);
            touch(core, touched, query, buf_slice(&key));
        }
        at += query->n_keys;
    }
    buf_deinit(&key);
}

static void touch_op(struct core *core, struct touched *touched, const struct write_op *op) {
    const struct table *table = op->table;
    int width = write_sql_image_width(table);
    if (!table->identified) touched_table(touched, table->number);
    for (uint16_t d = 0; d < table->n_dependents; d++)
        if (!table->dependents[d].columns)
            touched_table(touched, table->dependents[d].query->number);
    touch_image(core, touched, op, WRITE_SQL_IMAGE);
    touch_image(core, touched, op, WRITE_SQL_IMAGE + width);
    /* As it was asked for: who watches, or tracks, that very key is told. */
    touched_key(touched, table->number, op->hash, op->key);
}

static void collect(struct core *core, const struct write *write, struct touched *touched) {
    *touched =
        (struct touched){.max_keys = MAX_KEYS, .lsn = write->lsn, .client_id = write->client_id};
    for (uint32_t i = 0; i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        if (op->result && op->changed) touch_op(core, touched, op);
    }
}

/* ---- what memory then holds ---- */

static void pack_columns(const struct write_op *op, const PGresult *result, struct buf *packed) {
    struct statement statement = write_reads(op, FORM_HASH);
    int first = statement_row_at(&statement);
    buf_grow(packed, 64); /* a row of NULLs alone is there all the same: data is not NULL */
    for (uint16_t i = 0; i < op->table->n_columns; i++) {
        struct slice value = field_of(result, first + i);
        if (value.data) fields_append(packed, slice_from(op->table->columns[i]), value);
    }
}

/* False: the row has ended by its own column, or is absent. */
static bool read_ttl(const struct core *core, const struct write_op *op,
                     const struct write_stored *stored, struct rowttl *ttl) {
    const PGresult *result = stored->result;
    *ttl = (struct rowttl){.ttl_ms = op->table->ttl_ms,
                           .jitter_percent = core->config->ttl_jitter_percent,
                           .seed = op->hash + (uint64_t)clock_mono_us()};
    bool there = *PQgetvalue(result, 0, STATEMENT_PRESENT) == 't';
    struct statement statement = write_reads(op, stored->form);
    int left = statement_left_at(&statement);
    if (there && op->table->left_sql && !PQgetisnull(result, 0, left)) {
        ttl->ends = true;
        ttl->left_ms = strtoll(PQgetvalue(result, 0, left), NULL, 10);
    }
    if (there && (!ttl->ends || ttl->left_ms > 0)) return true;
    ttl->ends = false;
    ttl->ttl_ms = core->config->negative_ttl_ms;
    return false;
}

/* Under the row's own key: the transaction's way through the stream leaves that alone, and takes the others. */
static void keep(struct core *core, const struct write *write, const struct write_stored *stored,
                 const struct pgsnapshot *snapshot) {
    const struct write_op *op = &write->ops[stored->op];
    const struct table *table = op->table;
    struct slice identities[ROWKEY_MAX_COLUMNS];
    struct buf key = {0};
    struct buf packed = {0};
    struct rowttl ttl;
    bool there = read_ttl(core, op, stored, &ttl);
    if (!table->identified || (!there && op->row.unique) ||
        !read_identities(stored->result, STATEMENT_IDENTITY, table->n_keys, identities))
        return;
    rowkey_compose(table, identities, &key);
    struct keep_row row = {
        .table = table,
        .key = buf_slice(&key),
        .hash = store_hash(core->store, buf_slice(&key)),
        .form = stored->form,
        .canonical = buf_slice(&key),
        .exact = table->exact,
        .lasting = true,
        .filled_at_us = clock_wall_us(),
        .written_by = write->xid,
    };
    row.expire_at_ms = rowttl_expiry(&ttl, row.filled_at_us / 1000);
    if (there && stored->form == FORM_HASH) {
        pack_columns(op, stored->result, &packed);
        row.bytes = buf_slice(&packed);
    } else if (there) {
        struct statement statement = write_reads(op, stored->form);
        row.bytes = field_of(stored->result, statement_row_at(&statement));
    }
    keep_row(core, &row, snapshot);
    buf_deinit(&key);
    buf_deinit(&packed);
}

/* The snapshot is one of the transaction's own: it sees what others had committed, and itself. A row that the write has
 * locked shows all of them; what touched a row that it found absent is judged by the snapshot. */
static void keep_stored(struct core *core, const struct write *write,
                        const struct write_stored *stored) {
    struct pgsnapshot snapshot;
    if (PQntuples(stored->result) != 1 ||
        !pgsnapshot_parse(field_of(stored->result, STATEMENT_SNAPSHOT), &snapshot))
        return;
    /* After a failover the stream may be another server's. */
    snapshot.serves = source_serves(sources_at(core->sources, 0));
    snapshot.served = write->server_start_us;
    if (write->xid == 0 || pgsnapshot_include(&snapshot, write->xid))
        keep(core, write, stored, &snapshot);
    pgsnapshot_deinit(&snapshot);
}

void write_apply(struct core *core, const struct write *write, const struct write_stored *stored,
                 uint32_t n) {
    struct touched touched;
    if (!core_rule_holds(core, RULE_OWN_WRITES)) return;
    collect(core, write, &touched);
    if (core_streams(core) && write->xid)
        coherence_apply(core, &touched, write->xid);
    else
        coherence_evict(core, &touched);
    touched_deinit(&touched);
    for (uint32_t i = 0; i < n; i++)
        if (write->ops[stored[i].op].changed) keep_stored(core, write, &stored[i]);
}

/* With its xid known, nothing that was read before it is over is kept; without, the stream will tell of it. */
void write_forget_rows(struct core *core, const struct write *write) {
    struct touched touched;
    collect(core, write, &touched);
    for (uint32_t i = 0; i < write->n_ops; i++) {
        const struct write_op *op = &write->ops[i];
        if (!write_changes(op) || (op->result && !op->changed)) continue;
        touched_key(&touched, op->table->number, op->hash, op->key);
        if (op->row.unique || op->result) continue;
        struct buf key = {0};
        rowkey_compose(op->table, op->row.values, &key);
        touch(core, &touched, op->table, buf_slice(&key));
        buf_deinit(&key);
    }
    coherence_evict(core, &touched);
    if (core_streams(core) && write->xid) coherence_apply(core, &touched, write->xid);
    touched_deinit(&touched);
}
