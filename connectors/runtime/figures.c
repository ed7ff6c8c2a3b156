#include "connectors/runtime/figures.h"

#include <stdio.h>

#include "base/mem.h"

void figures_init(struct figures *figures, struct metrics *metrics, const char *connector) {
    snprintf(figures->labels, sizeof figures->labels, "connector=\"%s\"", connector);
    const struct {
        struct metric **metric;
        const char *name;
        const char *help;
    } counters[] = {
        {&figures->indexed, "indexed_total", "Rows written to the sink."},
        {&figures->deleted, "deleted_total", "Deletes of rows written to the sink."},
        {&figures->stale, "stale_total",
         "Writes that the sink had already in this version or a newer one (replays)."},
        {&figures->coalesced, "coalesced_total",
         "Changes not written because a later one of the same key was in the same batch."},
        {&figures->reread, "reread_rows_total",
         "Rows read again because the stream left out an unchanged large value."},
        {&figures->cleared, "cleared_total",
         "Rows removed from the sink because of a TRUNCATE or after a load."},
        {&figures->dead_letters, "dead_letters_total",
         "Rows that the sink refused for good, written to the dead-letter file."},
        {&figures->batches, "batches_total", "Batches applied to the sink."},
        {&figures->retries, "retries_total", "Attempts at a batch that were put off and repeated."},
        {&figures->breaks, "breaker_opened_total",
         "Times that the sink failed so often in a row that it was left alone for a while."},
        {&figures->give_ups, "slots_given_up_total",
         "Times that the slot was dropped because it retained more than max_retained_wal."},
        {&figures->unreadable, "records_unreadable_total",
         "Records of its topic that are no events of rows, or could not be followed."},
        {&figures->loads, "loads_total", "Initial loads begun."},
        {&figures->position_saves, "position_saves_total", "Positions made durable."},
        {&figures->verified, "verified_rows_total",
         "Rows compared with the sink by `freshet verify`."},
        {&figures->differences, "differences_total",
         "Rows that `freshet verify` found to differ in the sink."},
        {&figures->repaired, "repaired_total", "Of those, written again and equal since."},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        char *name = mem_printf("freshet_connector_%s", counters[i].name);
        *counters[i].metric = metrics_counter(metrics, name, counters[i].help, figures->labels);
        mem_free(name);
    }
}
