/* What differs is written again: with a version between what is there and what is to come, where the sink keeps versions; else
 * while the stream's writes wait, if neither the row nor the entry is another one by then. */
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "connectors/verify/verify_parts.h"

static bool attempt_apply(struct verify_run *run, void *what, struct error *err) {
    const struct verifier *verifier = run->verifier;
    return verifier->ops->apply(verifier->sink, what, err);
}

/* again->writes[i] is that of suspects[places[i]]. */
static void take_outcomes(struct verify_run *run, const struct batch *again, const size_t *places,
                          bool *done) {
    for (size_t i = 0; i < again->n_writes; i++) {
        struct suspect *suspect = &run->suspects[places[i]];
        const struct write *write = &again->writes[i];
        suspect->judged = (struct verify_suspect){0};
        if (write->outcome == WRITE_DONE) suspect->repaired = true;
        if (write->outcome == WRITE_REFUSED) {
            verify_report_refused(&run->verifier->report, suspect->difference,
                                  write->cause ? write->cause : "the sink refuses it");
            done[places[i]] = true;
        }
    }
}

static bool repair_by_version(struct verify_run *run, const struct batch *batch,
                              const size_t *places, const uint64_t *versions, size_t n, bool *done,
                              struct error *err) {
    struct batch *again = batch_create(BATCH_WRITES, batch->shape, clock_mono_us());
    for (size_t i = 0; i < n; i++) {
        struct write_stamp stamp = {.version = versions[i]};
        batch_copy(again, &batch->writes[places[i]], &stamp);
    }
    bool applied = verify_persist(run, attempt_apply, again, err);
    if (applied) take_outcomes(run, again, places, done);
    batch_destroy(&again);
    return applied;
}

/* ---- while the stream's writes wait ---- */

struct held {
    struct batch *now;   /* what should be there, read while it is held; a write for each */
    struct batch *again; /* those of them that are written */
    size_t *places;      /* of their suspects */
    struct slice *keys;
    struct reader_row *rows;
    struct sink_entry *entries;
};

/* What the stream has not brought yet comes afterwards, and is written over this. What it has brought since the last look has left
 * another entry; what it is yet to bring of before the row was read now, another row, or the same once more. */
static bool is_as_judged(const struct verify_run *run, const struct held *held, size_t i,
                         size_t place) {
    const struct sink_entry *entry = &held->entries[i];
    const struct sink_entry *judged = &run->entries[place];
    return !entry->equal && entry->found == judged->found && entry->digest == judged->digest &&
           held->rows[i].identity == run->rows[place].identity;
}

/* False with *sink_failed: the sink has. */
static bool write_held(struct verify_run *run, struct held *held, const size_t *places, size_t n,
                       bool *sink_failed, struct error *err) {
    const struct verifier *verifier = run->verifier;
    struct write_stamp none = {0};
    size_t n_again = 0;
    for (size_t i = 0; i < n; i++)
        held->keys[i] = slice_make(run->suspects[places[i]].key, run->suspects[places[i]].key_len);
    if (!run->reader.ops->find(run->reader.self, held->keys, n, &held->now, held->rows, err))
        return false;
    *sink_failed = true;
    if (!verifier->ops->compare(verifier->sink, held->now, held->entries, err)) return false;
    held->again = batch_create(BATCH_WRITES, held->now->shape, clock_mono_us());
    for (size_t i = 0; i < n; i++) {
        if (!is_as_judged(run, held, i, places[i])) continue;
        batch_copy(held->again, &held->now->writes[i], &none);
        held->places[n_again++] = places[i];
    }
    return n_again == 0 || verifier->ops->rewrite(verifier->sink, held->again, err);
}

static bool repair_held(struct verify_run *run, const size_t *places, size_t n, bool *done,
                        struct error *err) {
    const struct verifier *verifier = run->verifier;
    bool sink_failed = false;
    if (!verifier->ops->hold(verifier->sink, err)) return err->retriable;
    struct held held = {.places = mem_calloc(n, sizeof *held.places),
                        .keys = mem_calloc(n, sizeof *held.keys),
                        .rows = mem_calloc(n, sizeof *held.rows),
                        .entries = mem_calloc(n, sizeof *held.entries)};
    bool written = write_held(run, &held, places, n, &sink_failed, err);
    struct error ignored;
    bool kept = verifier->ops->release(verifier->sink, written, written ? err : &ignored);
    if (written && kept && held.again) take_outcomes(run, held.again, held.places, done);
    bool go_on = written ? kept || err->retriable : sink_failed && err->retriable;
    batch_destroy(&held.now);
    batch_destroy(&held.again);
    mem_free(held.places);
    mem_free(held.keys);
    mem_free(held.rows);
    mem_free(held.entries);
    return go_on;
}

bool verify_repair(struct verify_run *run, const struct batch *batch, const size_t *places,
                   const uint64_t *versions, size_t n, bool *done, struct error *err) {
    return run->verifier->ops->hold ? repair_held(run, places, n, done, err)
                                    : repair_by_version(run, batch, places, versions, n, done, err);
}
