#include "connectors/view/view.h"

#include <string.h>

#include "base/mem.h"
#include "base/pg.h"
#include "connectors/view/replace.h"
#include "connectors/view/rights.h"
#include "connectors/view/sums.h"
#include "connectors/view/viewcompare.h"
#include "connectors/view/viewtable.h"

struct sink {
    struct viewtable target;
};

static struct sink *view_create(const struct connector_config *config, const struct sink_deps *deps,
                                struct error *err) {
    const char *dot = strchr(config->into, '.');
    if (!config->into[0] || (dot && (dot == config->into || !dot[1]))) {
        error_set(err, ERROR_CONFIG, false, "into \"%s\": write schema.table", config->into);
        return NULL;
    }
    struct sink *sink = mem_zalloc(sizeof *sink);
    viewtable_init(&sink->target, config->url ? config->url : config->database_url, config->name,
                   config->into, deps->log);
    return sink;
}

static void view_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    viewtable_deinit(&old->target);
    mem_free(old);
}

static bool view_open(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                      struct sink_target *target, struct error *err) {
    return viewtable_open(&sink->target, shape, system_identifier, target, err);
}

/* Within the transaction: what is altered goes with it, if that is lost. */
static bool view_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    struct viewtable *target = &sink->target;
    if (viewtable_begin(target, err) && viewtable_reshape(target, shape, err)) return true;
    viewtable_abandon(target, err);
    return false;
}

/* What a value does that the target cannot take: data exceptions, broken constraints, a trigger's objections. All else is
 * trouble of the target's and no fault of the row. */
static bool is_refusal(const char sqlstate[6]) {
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0 ||
           strncmp(sqlstate, "P0", 2) == 0;
}

typedef bool write_rows(struct viewtable *target, struct batch *batch, size_t from, size_t to,
                        char sqlstate[6], struct error *err);

/* The writes in [from, to), halved where one of them is refused, until that one stands alone. */
static bool write_range(struct viewtable *target, write_rows *write, struct batch *batch,
                        size_t from, size_t to, struct error *err) {
    size_t at = from;
    struct write *first = batch_next(batch, &at, to);
    if (!first) return true;
    bool alone = !batch_next(batch, &(size_t){at}, to);
    char sqlstate[6];
    if (!pg_exec(target->conn, "SAVEPOINT freshet", err)) return false;
    sqlstate[0] = '\0';
    if (write(target, batch, from, to, sqlstate, err))
        return pg_exec(target->conn, "RELEASE SAVEPOINT freshet", err);
    if (!is_refusal(sqlstate)) return false;
    struct error ignored;
    if (!pg_exec(target->conn, "ROLLBACK TO SAVEPOINT freshet", &ignored)) return false;
    if (alone) {
        batch_refuse_text(batch, first, 0, slice_from(err->message));
        return true;
    }
    size_t middle = from + (to - from) / 2;
    if (middle < at) middle = at;
    return write_range(target, write, batch, from, middle, err) &&
           write_range(target, write, batch, middle, to, err);
}

static void forgive(struct batch *batch) {
    for (size_t i = 0; i < batch->n_writes; i++)
        batch->writes[i].outcome = WRITE_PENDING;
}

static void take(struct batch *batch) {
    struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));)
        write->outcome = WRITE_DONE;
}

static bool view_apply(struct sink *sink, struct batch *batch, struct error *err) {
    struct viewtable *target = &sink->target;
    write_rows *write = batch->shape->deltas ? sums_add : replace_rows;
    bool done =
        viewtable_begin(target, err) && write_range(target, write, batch, 0, batch->n_writes, err);
    if (!done) {
        forgive(batch); /* those that were refused go with the transaction, too */
        viewtable_abandon(target, err);
        return false;
    }
    target->written = true;
    take(batch);
    return true;
}

/* Everything in the table is older than what comes: the stream brings one after the other. */
static bool view_clear_older(struct sink *sink, const struct clearing *clearing, uint64_t *removed,
                             struct error *err) {
    (void)clearing;
    struct viewtable *target = &sink->target;
    struct buf sql = {0};
    buf_append_text(&sql, "DELETE FROM ");
    pg_quote_table(&sql, target->schema, target->table);
    PGresult *done =
        viewtable_begin(target, err) ? pg_query(target->conn, buf_text(&sql), err) : NULL;
    buf_deinit(&sql);
    if (!done) {
        viewtable_abandon(target, err);
        return false;
    }
    *removed = strtoull(PQcmdTuples(done), NULL, 10);
    PQclear(done);
    target->written = true;
    return true;
}

static bool view_flush(struct sink *sink, const struct change_position *position,
                       struct error *err) {
    return viewtable_commit(&sink->target, position, err);
}

static bool view_load_position(struct sink *sink, struct change_position *position,
                               struct error *err) {
    return viewtable_load_position(&sink->target, position, err);
}

/* ---- comparing, on an instance of its own ---- */

static bool view_compare(struct sink *sink, struct batch *batch, struct sink_entry *entries,
                         struct error *err) {
    return viewcompare_rows(&sink->target, batch, entries, err);
}

static bool view_scan(struct sink *sink, const struct shape *shape, bool first,
                      struct key_page *page, struct error *err) {
    return viewcompare_scan(&sink->target, shape, first, page, err);
}

static bool view_hold(struct sink *sink, struct error *err) {
    return viewcompare_hold(&sink->target, err);
}

static bool view_rewrite(struct sink *sink, struct batch *batch, struct error *err) {
    if (!write_range(&sink->target, replace_rows, batch, 0, batch->n_writes, err)) return false;
    take(batch);
    return true;
}

static bool view_release(struct sink *sink, bool keep, struct error *err) {
    return viewcompare_release(&sink->target, keep, err);
}

static bool view_collations(struct sink *sink, const struct shape *shape, struct buf *out,
                            struct error *err) {
    struct viewtable *target = &sink->target;
    return viewtable_attach(target, shape, err) &&
           key_range_collations(target->conn, target->schema, target->table, shape, false, out,
                                err);
}

static bool view_digest(struct sink *sink, const struct shape *shape, const struct key_range *range,
                        struct range_digest *digest, struct error *err) {
    return viewcompare_digest(&sink->target, shape, range, digest, err);
}

static bool view_range_keys(struct sink *sink, const struct shape *shape,
                            const struct key_range *range, struct key_page *page,
                            struct error *err) {
    return viewcompare_range_keys(&sink->target, shape, range, page, err);
}

const struct sink_type view_sink = {
    .name = "view",
    .help = "A table of PostgreSQL, in this database or another, with the position beside it",
    .needs = "into",
    .takes = "url aggregate",
    .takes_many = true,
    .probe = view_probe,
    .ops =
        {
            .create = view_create,
            .destroy = view_destroy,
            .open = view_open,
            .reshape = view_reshape,
            .apply = view_apply,
            .clear_older = view_clear_older,
            .flush = view_flush,
            .load_position = view_load_position,
            .transactional = true,
            .resumes_loads = true,
            .compare = view_compare,
            .scan = view_scan,
            .hold = view_hold,
            .rewrite = view_rewrite,
            .release = view_release,
            .collations = view_collations,
            .digest = view_digest,
            .range_keys = view_range_keys,
        },
};
