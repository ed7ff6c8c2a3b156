#include "cache/front/command_stats.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/values/number.h"

enum {
    SUB_BITS = 3,     /* eight bins for each doubling */
    ERRORS_MAX = 128, /* kinds of errors; what comes after them is not told apart */
    ERROR_NAME_MAX = 32,
    PERCENTILES_MAX = 16,
    CALIBRATION_US = 2000,
};

struct command_cell {
    _Atomic int64_t calls, failed, rejected;
    _Atomic uint64_t ticks;
    _Atomic(_Atomic uint64_t *) bins; /* made with the first call */
};

struct command_cells {
    const struct command_ids *ids;
    const struct settings *settings;
    /* The last command's, since the same one often comes again. */
    const struct command *command;
    struct command_cell *cell;
    struct command_cell all[COMMAND_IDS_MAX];
};

struct error_count {
    char name[ERROR_NAME_MAX];
    int64_t count, base;
};

struct command_stats {
    const struct command_ids *ids;
    const struct settings *settings;
    uint32_t n_workers;
    struct command_cells **cells;
    _Atomic uint64_t slow_ticks;
    _Atomic uint64_t ticks_per_ms;
    uint64_t start_ticks;
    int64_t start_us;

    pthread_mutex_t lock; /* a leaf; of all below */
    struct error_count errors[ERRORS_MAX];
    uint32_t n_errors;
    struct command_total *bases[COMMAND_IDS_MAX]; /* as of the last reset; NULL: nothing */
    double percentiles[PERCENTILES_MAX];
    uint32_t n_percentiles;
};

/* --- counting ----------------------------------------------------------------------------------------------- */

static inline void bump(_Atomic int64_t *cell) {
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline void add(_Atomic uint64_t *cell, uint64_t n) {
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/*   ticks:  1 x x x y y y y   the highest bit's place and the three behind it make the bin */
static inline uint32_t bin_of(uint64_t ticks) {
    if (ticks < 1 << SUB_BITS) return (uint32_t)ticks;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(ticks);
    uint32_t sub = ticks >> (top - SUB_BITS) & ((1 << SUB_BITS) - 1);
    return ((top - SUB_BITS + 1) << SUB_BITS) + sub;
}

/* The first value of the bin after it. */
static double bin_end(uint32_t bin) {
    uint32_t octave = bin >> SUB_BITS;
    uint32_t sub = (bin & ((1 << SUB_BITS) - 1)) + 1;
    if (octave == 0) return sub;
    return ldexp((double)((1U << SUB_BITS) + sub), (int)octave - 1);
}

static struct command_cell *cell_of(struct command_cells *cells, const struct command *command) {
    if (cells->command == command) return cells->cell;
    cells->command = command;
    cells->cell = &cells->all[command_id(cells->ids, command)];
    return cells->cell;
}

void command_stats_add(struct command_cells *cells, const struct command *command, uint64_t ticks,
                       bool failed) {
    struct command_cell *cell = cell_of(cells, command);
    if ((int64_t)ticks < 0) ticks = 0; /* counters of two processors that differ */
    bump(&cell->calls);
    add(&cell->ticks, ticks);
    if (__builtin_expect(failed, 0)) bump(&cell->failed);
    if (!setting(cells->settings, SETTING_LATENCY_TRACKING)) return;
    _Atomic uint64_t *bins = atomic_load_explicit(&cell->bins, memory_order_relaxed);
    if (__builtin_expect(!bins, 0)) {
        bins = mem_calloc(LATENCY_BINS, sizeof *bins);
        atomic_store_explicit(&cell->bins, bins, memory_order_release);
    }
    add(&bins[bin_of(ticks)], 1);
}

void command_stats_reject(struct command_cells *cells, const struct command *command) {
    bump(&cell_of(cells, command)->rejected);
}

void command_stats_error(struct command_stats *stats, struct slice text) {
    if (text.len && text.data[0] == '-') text = slice_make(text.data + 1, text.len - 1);
    size_t len = 0;
    while (len < text.len && len < ERROR_NAME_MAX - 1 && text.data[len] > ' ')
        len++;
    struct slice name = slice_make(text.data, len);
    pthread_mutex_lock(&stats->lock);
    uint32_t i = 0;
    while (i < stats->n_errors && !slice_equal(name, slice_from(stats->errors[i].name)))
        i++;
    if (i == stats->n_errors && i < ERRORS_MAX) {
        memcpy(stats->errors[i].name, name.data, name.len);
        stats->n_errors++;
    }
    if (i < stats->n_errors) stats->errors[i].count++;
    pthread_mutex_unlock(&stats->lock);
}

/* --- ticks -------------------------------------------------------------------------------------------------- */

int64_t command_stats_us(const struct command_stats *stats, uint64_t ticks) {
    double per_us = (double)atomic_load_explicit(&stats->ticks_per_ms, memory_order_relaxed) / 1000;
    return (int64_t)((double)ticks / per_us);
}

static uint64_t ticks_of_us(const struct command_stats *stats, int64_t us) {
    double per_us = (double)atomic_load_explicit(&stats->ticks_per_ms, memory_order_relaxed) / 1000;
    return (uint64_t)((double)us * per_us);
}

void command_stats_calibrate(struct command_stats *stats) {
    int64_t elapsed_us = clock_mono_us() - stats->start_us;
    uint64_t ticks = ticks_now() - stats->start_ticks;
    if (elapsed_us > 0)
        atomic_store(&stats->ticks_per_ms,
                     (uint64_t)((double)ticks * 1000 / (double)elapsed_us) + 1);
    int64_t slow_us = setting(stats->settings, SETTING_SLOWLOG_SLOWER_THAN);
    int64_t monitored_ms = setting(stats->settings, SETTING_LATENCY_THRESHOLD);
    uint64_t slow = UINT64_MAX;
    if (slow_us >= 0) slow = ticks_of_us(stats, slow_us);
    if (monitored_ms > 0 && ticks_of_us(stats, monitored_ms * 1000) < slow)
        slow = ticks_of_us(stats, monitored_ms * 1000);
    atomic_store(&stats->slow_ticks, slow);
}

const _Atomic uint64_t *command_stats_slow(const struct command_stats *stats) {
    return &stats->slow_ticks;
}

/* --- life --------------------------------------------------------------------------------------------------- */

struct command_stats *command_stats_create(const struct command_ids *ids, uint32_t n_workers,
                                           const struct settings *settings) {
    struct command_stats *stats = mem_zalloc(sizeof *stats);
    stats->ids = ids;
    stats->settings = settings;
    stats->n_workers = n_workers;
    stats->cells = mem_calloc(n_workers, sizeof stats->cells[0]);
    for (uint32_t i = 0; i < n_workers; i++) {
        stats->cells[i] = mem_zalloc(sizeof *stats->cells[i]);
        stats->cells[i]->ids = ids;
        stats->cells[i]->settings = settings;
    }
    pthread_mutex_init(&stats->lock, NULL);
    command_stats_set_percentiles(stats, SLICE("50 99 99.9"), true);
    stats->start_us = clock_mono_us();
    stats->start_ticks = ticks_now();
    while (clock_mono_us() - stats->start_us < CALIBRATION_US)
        ;
    command_stats_calibrate(stats);
    return stats;
}

void command_stats_destroy(struct command_stats **stats) {
    struct command_stats *s = *stats;
    if (!s) return;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        for (uint32_t id = 0; id < COMMAND_IDS_MAX; id++)
            mem_free((void *)(uintptr_t)s->cells[i]->all[id].bins);
        mem_free(s->cells[i]);
    }
    for (uint32_t id = 0; id < COMMAND_IDS_MAX; id++)
        mem_free(s->bases[id]);
    mem_free(s->cells);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
    *stats = NULL;
}

struct command_cells *command_stats_cells(struct command_stats *stats, uint32_t worker) {
    return stats->cells[worker];
}

/* --- showing ------------------------------------------------------------------------------------------------ */

double command_stats_bin_us(const struct command_stats *stats, uint32_t bin) {
    return bin_end(bin) * 1000 / (double)atomic_load(&stats->ticks_per_ms);
}

/* Since the start. */
static void sum(struct command_stats *stats, uint32_t id, struct command_total *total) {
    uint64_t ticks = 0;
    *total = (struct command_total){0};
    for (uint32_t i = 0; i < stats->n_workers; i++) {
        struct command_cell *cell = &stats->cells[i]->all[id];
        total->calls += atomic_load(&cell->calls);
        total->failed += atomic_load(&cell->failed);
        total->rejected += atomic_load(&cell->rejected);
        ticks += atomic_load(&cell->ticks);
        _Atomic uint64_t *bins = atomic_load_explicit(&cell->bins, memory_order_acquire);
        for (uint32_t bin = 0; bins && bin < LATENCY_BINS; bin++)
            total->bins[bin] += atomic_load_explicit(&bins[bin], memory_order_relaxed);
    }
    total->us = command_stats_us(stats, ticks);
}

void command_stats_total(struct command_stats *stats, uint32_t id, struct command_total *total) {
    sum(stats, id, total);
    pthread_mutex_lock(&stats->lock);
    const struct command_total *base = stats->bases[id];
    if (base) {
        total->calls -= base->calls;
        total->failed -= base->failed;
        total->rejected -= base->rejected;
        total->us = total->us > base->us ? total->us - base->us : 0;
        for (uint32_t bin = 0; bin < LATENCY_BINS; bin++)
            total->bins[bin] -= base->bins[bin];
    }
    pthread_mutex_unlock(&stats->lock);
}

void command_stats_reset(struct command_stats *stats) {
    for (uint32_t id = 0; id < command_ids_count(stats->ids); id++) {
        struct command_total total;
        sum(stats, id, &total);
        pthread_mutex_lock(&stats->lock);
        if (total.calls || total.rejected) {
            if (!stats->bases[id]) stats->bases[id] = mem_alloc(sizeof total);
            *stats->bases[id] = total;
        }
        pthread_mutex_unlock(&stats->lock);
    }
    pthread_mutex_lock(&stats->lock);
    memset(stats->errors, 0, sizeof stats->errors);
    stats->n_errors = 0;
    pthread_mutex_unlock(&stats->lock);
}

void command_stats_info(struct command_stats *stats, struct buf *out) {
    struct command_total total;
    for (uint32_t id = 0; id < command_ids_count(stats->ids); id++) {
        char name[COMMAND_NAME_MAX];
        command_stats_total(stats, id, &total);
        if (!total.calls && !total.rejected) continue;
        command_full_name(stats->ids, id, name);
        buf_printf(out,
                   "cmdstat_%s:calls=%" PRId64 ",usec=%" PRId64
                   ",usec_per_call=%.2f,rejected_calls=%" PRId64 ",failed_calls=%" PRId64 "\r\n",
                   name, total.calls, total.us,
                   total.calls ? (double)total.us / (double)total.calls : 0.0, total.rejected,
                   total.failed);
    }
}

void command_stats_errors(struct command_stats *stats, struct buf *out) {
    pthread_mutex_lock(&stats->lock);
    for (uint32_t i = 0; i < stats->n_errors; i++)
        buf_printf(out, "errorstat_%s:count=%" PRId64 "\r\n", stats->errors[i].name,
                   stats->errors[i].count);
    pthread_mutex_unlock(&stats->lock);
}

static double percentile_us(const struct command_stats *stats, const struct command_total *total,
                            double percentile) {
    uint64_t all = 0, seen = 0;
    for (uint32_t bin = 0; bin < LATENCY_BINS; bin++)
        all += total->bins[bin];
    double wanted = (double)all * percentile / 100;
    for (uint32_t bin = 0; bin < LATENCY_BINS; bin++) {
        seen += total->bins[bin];
        if (seen && (double)seen >= wanted) return command_stats_bin_us(stats, bin);
    }
    return 0;
}

void command_stats_latencies(struct command_stats *stats, struct buf *out) {
    struct command_total total;
    for (uint32_t id = 0; id < command_ids_count(stats->ids); id++) {
        char name[COMMAND_NAME_MAX];
        uint64_t any = 0;
        command_stats_total(stats, id, &total);
        for (uint32_t bin = 0; bin < LATENCY_BINS; bin++)
            any |= total.bins[bin];
        if (!any) continue;
        command_full_name(stats->ids, id, name);
        buf_printf(out, "latency_percentiles_usec_%s:", name);
        for (uint32_t i = 0; i < stats->n_percentiles; i++)
            buf_printf(out, "%sp%g=%.3f", i ? "," : "", stats->percentiles[i],
                       percentile_us(stats, &total, stats->percentiles[i]));
        buf_append_text(out, "\r\n");
    }
}

const char *command_stats_set_percentiles(struct command_stats *stats, struct slice text,
                                          bool apply) {
    double values[PERCENTILES_MAX];
    uint32_t n = 0;
    while (text.len) {
        const char *space = memchr(text.data, ' ', text.len);
        size_t len = space ? (size_t)(space - text.data) : text.len;
        long double value;
        if (len) {
            if (n == PERCENTILES_MAX ||
                !number_parse_long_double(slice_make(text.data, len), &value))
                return "Invalid latency-tracking-info-percentiles parameters";
            if (value < 0 || value > 100)
                return "latency-tracking-info-percentiles parameters should sit between "
                       "[0.0,100.0]";
            values[n++] = (double)value;
        }
        len += space != NULL;
        text = slice_make(text.data + len, text.len - len);
    }
    if (!apply) return NULL;
    pthread_mutex_lock(&stats->lock);
    memcpy(stats->percentiles, values, n * sizeof values[0]);
    stats->n_percentiles = n;
    pthread_mutex_unlock(&stats->lock);
    return NULL;
}

void command_stats_percentiles(struct command_stats *stats, struct buf *out) {
    pthread_mutex_lock(&stats->lock);
    for (uint32_t i = 0; i < stats->n_percentiles; i++)
        buf_printf(out, "%s%g", i ? " " : "", stats->percentiles[i]);
    pthread_mutex_unlock(&stats->lock);
}
