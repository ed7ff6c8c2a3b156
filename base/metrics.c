#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_GAUGE_FN, KIND_HISTOGRAM };

struct cell {
    struct cell *next;
    struct metric metric;
};

struct bucket {
    _Atomic int64_t n;
};

struct histogram {
    size_t n_bounds;
    double *bounds;
    struct bucket *counts; /* n_bounds + 1, not cumulative */
    pthread_mutex_t lock;  /* guards sum */
    double sum;
};

/* One labelled line of a family. */
struct series {
    struct series *next;
    char *labels; /* "" for none */
    struct cell *cells;
    metric_reader *read;
    void *owner;
    struct histogram *histogram;
};

struct family {
    struct family *next;
    char *name;
    char *help;
    enum kind kind;
    struct series *series;
};

struct metrics {
    pthread_mutex_t lock; /* guards the lists, not the values */
    struct family *families;
    /* Of a labelled one, which has no families of its own. */
    struct metrics *parent;
    char *label;
};

struct metrics *metrics_create(void) {
    struct metrics *metrics = mem_zalloc(sizeof *metrics);
    pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

struct metrics *metrics_labelled(struct metrics *metrics, const char *label) {
    struct metrics *labelled = metrics_create();
    labelled->parent = metrics;
    labelled->label = mem_strdup(label);
    return labelled;
}

enum { MAX_LABELS = 512 };

/* The registry itself, and the labels with those of the labelled ones on the way to it; `text` may be used for them. */
static struct metrics *resolve(struct metrics *metrics, const char **labels,
                               char text[MAX_LABELS]) {
    if (!*labels) *labels = "";
    for (; metrics->parent; metrics = metrics->parent) {
        char joined[MAX_LABELS];
        snprintf(joined, sizeof joined, "%s%s%s", *labels, **labels ? "," : "", metrics->label);
        memcpy(text, joined, sizeof joined);
        *labels = text;
    }
    return metrics;
}

static void series_destroy(struct series *series) {
    for (struct cell *cell = series->cells; cell;) {
        struct cell *next = cell->next;
        mem_free(cell);
        cell = next;
    }
    if (series->histogram) {
        pthread_mutex_destroy(&series->histogram->lock);
        mem_free(series->histogram->bounds);
        mem_free(series->histogram->counts);
        mem_free(series->histogram);
    }
    mem_free(series->labels);
    mem_free(series);
}

void metrics_destroy(struct metrics **metrics) {
    if (!*metrics) return;
    for (struct family *family = (*metrics)->families; family;) {
        struct family *next_family = family->next;
        for (struct series *series = family->series; series;) {
            struct series *next = series->next;
            series_destroy(series);
            series = next;
        }
        mem_free(family->name);
        mem_free(family->help);
        mem_free(family);
        family = next_family;
    }
    pthread_mutex_destroy(&(*metrics)->lock);
    mem_free((*metrics)->label);
    mem_free(*metrics);
    *metrics = NULL;
}

/* Appends at the end, so that the page keeps the order of registration. */
static struct family *family_acquire(struct metrics *metrics, const char *name, const char *help,
                                     enum kind kind) {
    struct family **at = &metrics->families;
    for (; *at; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            ASSERT((*at)->kind == kind);
            return *at;
        }
    }
    struct family *family = mem_zalloc(sizeof *family);
    family->name = mem_strdup(name);
    family->help = mem_strdup(help);
    family->kind = kind;
    *at = family;
    return family;
}

static struct series *series_acquire(struct family *family, const char *labels) {
    struct series **at = &family->series;
    for (; *at; at = &(*at)->next) {
        if (strcmp((*at)->labels, labels) == 0) return *at;
    }
    struct series *series = mem_zalloc(sizeof *series);
    series->labels = mem_strdup(labels);
    *at = series;
    return series;
}

static struct metric *cell_create(struct metrics *metrics, const char *name, const char *help,
                                  const char *labels, enum kind kind) {
    struct cell *cell = mem_aligned(_Alignof(struct cell), sizeof *cell);
    memset(cell, 0, sizeof *cell);
    char text[MAX_LABELS];
    metrics = resolve(metrics, &labels, text);
    pthread_mutex_lock(&metrics->lock);
    struct series *series = series_acquire(family_acquire(metrics, name, help, kind), labels);
    cell->next = series->cells;
    series->cells = cell;
    pthread_mutex_unlock(&metrics->lock);
    return &cell->metric;
}

struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help,
                               const char *labels) {
    return cell_create(metrics, name, help, labels, KIND_COUNTER);
}

struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help,
                             const char *labels) {
    return cell_create(metrics, name, help, labels, KIND_GAUGE);
}

void metrics_gauge_fn(struct metrics *metrics, const char *name, const char *help,
                      const char *labels, metric_reader *read, void *owner) {
    char text[MAX_LABELS];
    metrics = resolve(metrics, &labels, text);
    pthread_mutex_lock(&metrics->lock);
    struct series *series =
        series_acquire(family_acquire(metrics, name, help, KIND_GAUGE_FN), labels);
    series->read = read;
    series->owner = owner;
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_forget(struct metrics *metrics, void *owner) {
    while (metrics->parent)
        metrics = metrics->parent;
    pthread_mutex_lock(&metrics->lock);
    for (struct family *family = metrics->families; family; family = family->next) {
        for (struct series *series = family->series; series; series = series->next) {
            if (series->owner != owner) continue;
            series->read = NULL;
            series->owner = NULL;
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}

struct histogram *metrics_histogram(struct metrics *metrics, const char *name, const char *help,
                                    const char *labels, const double *bounds, size_t n_bounds) {
    char text[MAX_LABELS];
    metrics = resolve(metrics, &labels, text);
    pthread_mutex_lock(&metrics->lock);
    struct series *series =
        series_acquire(family_acquire(metrics, name, help, KIND_HISTOGRAM), labels);
    if (!series->histogram) {
        struct histogram *histogram = mem_zalloc(sizeof *histogram);
        histogram->n_bounds = n_bounds;
        histogram->bounds = mem_calloc(n_bounds, sizeof *bounds);
        memcpy(histogram->bounds, bounds, n_bounds * sizeof *bounds);
        histogram->counts = mem_calloc(n_bounds + 1, sizeof *histogram->counts);
        pthread_mutex_init(&histogram->lock, NULL);
        series->histogram = histogram;
    }
    struct histogram *histogram = series->histogram;
    pthread_mutex_unlock(&metrics->lock);
    return histogram;
}

void histogram_observe(struct histogram *histogram, double value) {
    size_t i = 0;
    while (i < histogram->n_bounds && value > histogram->bounds[i])
        i++;
    atomic_fetch_add_explicit(&histogram->counts[i].n, 1, memory_order_relaxed);
    pthread_mutex_lock(&histogram->lock);
    histogram->sum += value;
    pthread_mutex_unlock(&histogram->lock);
}

static int64_t series_sum(const struct series *series) {
    int64_t sum = 0;
    for (const struct cell *cell = series->cells; cell; cell = cell->next) {
        sum += atomic_load_explicit(&cell->metric.value, memory_order_relaxed);
    }
    return sum;
}

int64_t metrics_sum(struct metrics *metrics, const char *name, const char *labels) {
    int64_t sum = 0;
    char text[MAX_LABELS];
    metrics = resolve(metrics, &labels, text);
    pthread_mutex_lock(&metrics->lock);
    for (struct family *family = metrics->families; family; family = family->next) {
        if (strcmp(family->name, name) != 0) continue;
        for (struct series *series = family->series; series; series = series->next) {
            if (strcmp(series->labels, labels) == 0) sum += series_sum(series);
        }
    }
    pthread_mutex_unlock(&metrics->lock);
    return sum;
}

static void render_value(struct buf *out, double value) {
    if (isnan(value)) {
        buf_append_text(out, "NaN\n");
    } else if (isinf(value)) {
        buf_append_text(out, value > 0 ? "+Inf\n" : "-Inf\n");
    } else {
        buf_printf(out, "%.10g\n", value);
    }
}

static void render_name(struct buf *out, const char *name, const char *labels) {
    if (*labels) {
        buf_printf(out, "%s{%s} ", name, labels);
    } else {
        buf_printf(out, "%s ", name);
    }
}

static void render_histogram(struct buf *out, const char *name, const struct series *series) {
    struct histogram *histogram = series->histogram;
    const char *comma = *series->labels ? "," : "";
    int64_t total = 0;
    for (size_t i = 0; i <= histogram->n_bounds; i++) {
        total += atomic_load_explicit(&histogram->counts[i].n, memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", name, series->labels, comma);
        if (i < histogram->n_bounds) {
            buf_printf(out, "%g\"} ", histogram->bounds[i]);
        } else {
            buf_append_text(out, "+Inf\"} ");
        }
        buf_append_i64(out, total);
        buf_append_char(out, '\n');
    }
    pthread_mutex_lock(&histogram->lock);
    double sum = histogram->sum;
    pthread_mutex_unlock(&histogram->lock);
    const char *open = *series->labels ? "{" : "";
    const char *close = *series->labels ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s %.9g\n", name, open, series->labels, close, sum);
    buf_printf(out, "%s_count%s%s%s %lld\n", name, open, series->labels, close, (long long)total);
}

static void render_series(struct buf *out, const struct family *family,
                          const struct series *series) {
    switch (family->kind) {
    case KIND_COUNTER:
    case KIND_GAUGE:
        render_name(out, family->name, series->labels);
        buf_append_i64(out, series_sum(series));
        buf_append_char(out, '\n');
        break;
    case KIND_GAUGE_FN:
        if (!series->read) break;
        render_name(out, family->name, series->labels);
        render_value(out, series->read(series->owner));
        break;
    case KIND_HISTOGRAM: render_histogram(out, family->name, series); break;
    }
}

void metrics_render(struct metrics *metrics, struct buf *out) {
    static const char *const types[] = {"counter", "gauge", "gauge", "histogram"};
    pthread_mutex_lock(&metrics->lock);
    for (struct family *family = metrics->families; family; family = family->next) {
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                   types[family->kind]);
        for (struct series *series = family->series; series; series = series->next) {
            render_series(out, family, series);
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}
