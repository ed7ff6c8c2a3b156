/* metrics.h: the registry behind /metrics (Prometheus text format 0.0.4).
 *
 *     struct metric *hits = metrics_counter(metrics, "freshet_cache_hits_total", "Reads answered ...", NULL);
 *     metric_add(hits, 1);
 *
 * Each call of metrics_counter or metrics_gauge gives a cell of its own; cells of one name and label set
 * are summed when rendered. So each thread that counts on a hot path takes its own cell and no cache line
 * is shared. Cells and help texts live as long as the registry. Any thread may create, add and render.
 * Names carry the unit (`_seconds`, `_bytes`, `_total`); labels are written as `outcome="installed"`. */
#ifndef FRESHET_BASE_METRICS_H
#define FRESHET_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct metrics;
struct histogram;

struct metric {
    _Alignas(64) _Atomic int64_t value;
};

struct metrics *metrics_create(void);
/* The same registry for somebody whose series all have one more label, `source="orders"`. Destroyed before it; its series stay. */
struct metrics *metrics_labelled(struct metrics *metrics, const char *label);
void metrics_destroy(struct metrics **metrics);

struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const char *labels);
struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                             const char *labels);

/* A gauge whose value is asked for at render time; `read` must be safe on any thread. `owner` must outlive
 * the registry or call metrics_forget(metrics, owner) first. */
typedef double metric_reader(void *owner);
void metrics_gauge_fn(struct metrics *metrics, const char *name, const char *help,
                      const char *labels, metric_reader *read, void *owner);
void metrics_forget(struct metrics *metrics, void *owner);

/* Upper bounds ascend; +Inf is implied. */
struct histogram *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
                                    const char *labels, const double *bounds, size_t n_bounds);
void histogram_observe(struct histogram *histogram, double value);

static inline void metric_add(struct metric *metric, int64_t n) {
    atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

/* For a cell that one thread alone writes: no locked instruction. */
static inline void metric_bump(struct metric *metric, int64_t n) {
    atomic_store_explicit(&metric->value,
                          atomic_load_explicit(&metric->value, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void metric_set(struct metric *metric, int64_t value) {
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

/* Sum over the cells of one series; 0 where there is none. For INFO and /status. */
int64_t metrics_sum(struct metrics *metrics, const char *name, const char *labels);

void metrics_render(struct metrics *metrics, struct buf *out);

#endif
