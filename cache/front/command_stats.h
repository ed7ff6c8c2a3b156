/* command_stats.h: how often each command was run, how long it took, how it failed: for INFO's commandstats, errorstats and
 * latencystats, for LATENCY HISTOGRAM; and which runs are slow.
 *
 *     struct command_cells *cells = command_stats_cells(stats, index);           one set a worker, which alone writes it
 *     command_stats_add(cells, command, ticks, failed);                          some nanoseconds
 *     if (ticks >= command_stats_slow(stats)) ...                                slowlog.h, latency.h
 *
 * Counts never go back: CONFIG RESETSTAT remembers them, and what is shown is the difference. Any thread reads. */
#ifndef FRESHET_CACHE_COMMAND_STATS_H
#define FRESHET_CACHE_COMMAND_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/ticks.h"
#include "cache/commands/command_ids.h"
#include "cache/front/settings.h"

struct command_cells;
struct command_stats;

struct command_stats *command_stats_create(const struct command_ids *ids, uint32_t n_workers,
                                           const struct settings *settings);
void command_stats_destroy(struct command_stats **stats);
struct command_cells *command_stats_cells(struct command_stats *stats, uint32_t worker);

/* By the worker that the cells are of. */
void command_stats_add(struct command_cells *cells, const struct command *command, uint64_t ticks,
                       bool failed);
void command_stats_reject(struct command_cells *cells, const struct command *command);
/* Any thread: an error reply, its text with or without the "-": counted by its first word. */
void command_stats_error(struct command_stats *stats, struct slice text);

/* A run of so many ticks is worth a look: by slowlog-log-slower-than or latency-monitor-threshold. */
const _Atomic uint64_t *command_stats_slow(const struct command_stats *stats);
/* After one of the two has changed, and once a second: ticks are measured anew. */
void command_stats_calibrate(struct command_stats *stats);
int64_t command_stats_us(const struct command_stats *stats, uint64_t ticks);

/* --- showing ------------------------------------------------------------------------------------------------ */

enum { LATENCY_BINS = 512 };

struct command_total {
    int64_t calls, failed, rejected;
    int64_t us;
    uint64_t bins[LATENCY_BINS]; /* of the runs' lengths */
};
/* Of a command since the last reset. */
void command_stats_total(struct command_stats *stats, uint32_t id, struct command_total *total);
/* A bin's upper end. */
double command_stats_bin_us(const struct command_stats *stats, uint32_t bin);

void command_stats_info(struct command_stats *stats, struct buf *out);   /* # Commandstats */
void command_stats_errors(struct command_stats *stats, struct buf *out); /* # Errorstats */
void command_stats_latencies(struct command_stats *stats, struct buf *out);
void command_stats_reset(struct command_stats *stats);

/* latency-tracking-info-percentiles: "50 99 99.9". */
const char *command_stats_set_percentiles(struct command_stats *stats, struct slice text,
                                          bool apply);
void command_stats_percentiles(struct command_stats *stats, struct buf *out);

#endif
