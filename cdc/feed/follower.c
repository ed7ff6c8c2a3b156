#include "cdc/feed/follower.h"

#include <stdio.h>
#include <string.h>

#include "base/lsn.h"
#include "base/mem.h"

enum { ARENA_BYTES = 64 * 1024 };

void follower_init(struct follower *follower, struct change_sink sink) {
    *follower = (struct follower){
        .sink = sink, .relations = relations_create(), .arena = arena_create(ARENA_BYTES)};
}

void follower_deinit(struct follower *follower) {
    relations_destroy(&follower->relations);
    arena_destroy(&follower->arena);
}

/* ---- sessions ---- */

void follower_end(struct follower *f, const struct error *cause) {
    if (!f->attached) return;
    f->attached = f->open = false;
    if (f->sink.ops->ended) f->sink.ops->ended(f->sink.self, cause);
}

static bool same_text(const char *text, struct slice slice) {
    return slice_equal(slice_from(text), slice);
}

static bool is_ours(const struct follower *f, const struct invalidation *record,
                    struct error *err) {
    const struct invalidation_source *source = &record->source;
    if (!same_text(f->database, source->database))
        return error_set(err, ERROR_CONFLICT, true,
                         "topic \"%s\" holds changes of database \"%.*s\", and this one is \"%s\"",
                         f->topic, (int)source->database.len, source->database.data, f->database);
    if (!same_text(f->publication, source->publication))
        return error_set(err, ERROR_CONFLICT, true,
                         "topic \"%s\" holds what publication \"%.*s\" publishes, and "
                         "cache.publication is \"%s\"",
                         f->topic, (int)source->publication.len, source->publication.data,
                         f->publication);
    return true;
}

static bool same_server(const struct follower *f, const struct invalidation_source *source) {
    return f->identity.system_identifier == source->system_identifier &&
           f->identity.timeline == source->timeline &&
           f->identity.server_start_us == source->server_start_us;
}

static bool attach(struct follower *f, const struct invalidation *record, struct error *err) {
    f->identity = (struct feed_identity){.system_identifier = record->source.system_identifier,
                                         .timeline = record->source.timeline,
                                         .server_start_us = record->source.server_start_us,
                                         .database = f->database,
                                         .slot = f->topic,
                                         .slot_lsn = record->since_lsn,
                                         .slot_created = true};
    f->through_lsn = record->since_lsn;
    f->open = false;
    relations_new_session(f->relations);
    f->attached = f->sink.ops->started(f->sink.self, &f->identity, err);
    return f->attached;
}

/* Why the session cannot go on with this record. */
static bool breaks_chain(struct follower *f, const struct invalidation *record,
                         struct error *cause) {
    if (!same_server(f, &record->source)) {
        error_set(cause, ERROR_CONFLICT, true,
                  "the records come from another server, timeline or server start now");
        return true;
    }
    bool torn = record->kind == INVALIDATION_TRANSACTION && record->part > 0 &&
                (!f->open || record->part != f->next_part || record->xid != f->tx.xid);
    if (record->since_lsn <= f->through_lsn && !torn) return false;
    error_set(cause, ERROR_CONFLICT, true,
              "records are missing in topic \"%s\" between " LSN_FMT " and " LSN_FMT, f->topic,
              LSN_ARG(f->through_lsn), LSN_ARG(record->since_lsn));
    return true;
}

/* ---- transactions ---- */

static bool describe(struct follower *f, const struct invalidation_relation *relation,
                     const struct relation **known, struct error *err) {
    struct pgoutput_column *columns =
        arena_alloc(f->arena, (relation->n_columns + 1u) * sizeof *columns);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct invalidation_column *column = &relation->columns[i];
        columns[i] = (struct pgoutput_column){.identity = column->identity,
                                              .name = column->name,
                                              .type_oid = column->type_oid,
                                              .typmod = column->typmod};
    }
    struct relation_draft draft = {.oid = relation->oid,
                                   .schema = relation->schema,
                                   .name = relation->name,
                                   .replica_identity = relation->replica_identity,
                                   .n_columns = relation->n_columns,
                                   .columns = columns,
                                   .fingerprint = relation->fingerprint};
    bool announce;
    *known = relations_put(f->relations, &draft, &announce);
    return !announce || !f->sink.ops->relation || f->sink.ops->relation(f->sink.self, *known, err);
}

static bool give_changes(struct follower *f, const struct invalidation *record, struct error *err) {
    const struct relation **known =
        arena_alloc(f->arena, (record->n_relations + (size_t)1) * sizeof *known);
    bool ok = true;
    for (uint32_t i = 0; i < record->n_relations && ok; i++)
        ok = describe(f, &record->relations[i], &known[i], err);
    for (uint32_t i = 0; i < record->n_changes && ok; i++) {
        const struct invalidation_change *from = &record->changes[i];
        struct change change = {.operation = from->operation,
                                .relation = known[from->relation],
                                .row_lsn = record->commit_lsn,
                                .index = f->next_index++,
                                .old_row = from->old_row,
                                .new_row = from->new_row,
                                .old_is_key = from->old_is_key};
        ok = f->sink.ops->change(f->sink.self, &f->tx, &change, err);
        f->changes++;
    }
    relations_sweep(f->relations);
    return ok;
}

static void advance(struct follower *f, uint64_t end_lsn) {
    if (end_lsn > f->through_lsn) f->through_lsn = end_lsn;
}

static bool take_transaction(struct follower *f, const struct invalidation *record,
                             struct error *err) {
    if (record->part == 0) {
        f->tx = (struct transaction){.xid = record->xid,
                                     .commit_lsn = record->commit_lsn,
                                     .commit_time_us = record->commit_time_us};
        f->next_index = 0;
        f->open = true;
        if (!f->sink.ops->begin(f->sink.self, &f->tx, err)) return false;
    }
    f->next_part = record->part + 1;
    if (!give_changes(f, record, err)) return false;
    if (!record->last) return true;
    f->open = false;
    f->tx.end_lsn = record->end_lsn;
    if (!f->sink.ops->commit(f->sink.self, &f->tx, err)) return false;
    f->transactions++;
    f->last_commit_time_us = record->commit_time_us;
    advance(f, record->end_lsn);
    return true;
}

static bool take_heartbeat(struct follower *f, const struct invalidation *record,
                           struct error *err) {
    f->open = false;
    f->heartbeats++;
    f->interval_ms = record->interval_ms;
    advance(f, record->end_lsn);
    return !f->sink.ops->progress || f->sink.ops->progress(f->sink.self, f->through_lsn, err);
}

bool follower_take(struct follower *f, struct slice bytes, struct error *err) {
    struct invalidation record;
    arena_reset(f->arena);
    switch (invalidation_read(bytes, f->arena, &record)) {
    case INVALIDATION_READ: break;
    case INVALIDATION_NEWER:
        f->invalid++;
        return error_set(err, ERROR_PROTOCOL, true,
                         "topic \"%s\" is written by a newer Freshet: its records cannot be read",
                         f->topic);
    case INVALIDATION_MALFORMED:
        f->invalid++;
        return error_set(err, ERROR_PROTOCOL, true,
                         "topic \"%s\": a record of %zu bytes is malformed", f->topic, bytes.len);
    }
    if (!is_ours(f, &record, err)) return false;
    struct error cause;
    if (f->attached && breaks_chain(f, &record, &cause)) {
        f->breaks++;
        snprintf(f->broken, sizeof f->broken, "%.255s", cause.message);
        follower_end(f, &cause);
    }
    if (!f->attached) {
        /* In the middle of a transaction no chain can begin. */
        if (record.kind == INVALIDATION_TRANSACTION && record.part > 0) return true;
        if (!attach(f, &record, err)) return false;
    }
    return record.kind == INVALIDATION_HEARTBEAT ? take_heartbeat(f, &record, err)
                                                 : take_transaction(f, &record, err);
}
