#include "cache/writes/write_metrics.h"

#include <stdio.h>

static const char *const reason_names[WRITE_REASONS] = {
    [WRITE_REASON_CONSTRAINT] = "constraint",   [WRITE_REASON_CONFLICT] = "conflict",
    [WRITE_REASON_ABSENT] = "absent",           [WRITE_REASON_INVALID] = "invalid",
    [WRITE_REASON_RIGHTS] = "rights",           [WRITE_REASON_READ_ONLY] = "read_only",
    [WRITE_REASON_TIMEOUT] = "timeout",         [WRITE_REASON_UNAVAILABLE] = "unavailable",
    [WRITE_REASON_UNKNOWN] = "outcome_unknown", [WRITE_REASON_OTHER] = "other",
};

void write_metrics_register(struct write_metrics *count, struct metrics *metrics) {
    static const char writes[] = "Transactions written through, by what became of them.";
    static const double bounds[] = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05,
                                    0.1,    0.25,  0.5,   1,     2.5,  5};
#define WRITES(outcome)                                                                            \
    metrics_counter(metrics, "freshet_cache_writes_total", writes, "outcome=\"" outcome "\"")
    count->done = WRITES("done");
    count->refused = WRITES("refused");
    count->touched = WRITES("watch");
    count->unknown = WRITES("unknown");
#undef WRITES
    count->rows_written = metrics_counter(metrics, "freshet_cache_rows_written_total",
                                          "Rows that writes have changed or deleted.", NULL);
    for (uint32_t i = WRITE_REASON_NONE + 1; i < WRITE_REASONS; i++) {
        char label[48];
        snprintf(label, sizeof label, "reason=\"%s\"", reason_names[i]);
        count->failures[i] =
            metrics_counter(metrics, "freshet_cache_write_failures_total",
                            "Writes that were not done, or not known to be, by why.", label);
    }
    count->waiting = metrics_gauge(metrics, "freshet_cache_writes_waiting",
                                   "Writes that wait for a connection.", NULL);
    count->connections = metrics_gauge(metrics, "freshet_cache_write_connections",
                                       "Connections to write rows that are up.", NULL);
    count->seconds = metrics_histogram(metrics, "freshet_cache_write_seconds",
                                       "From a write's arrival to its answer.", NULL, bounds,
                                       sizeof bounds / sizeof bounds[0]);
}

void write_count(const struct write_metrics *count, const struct write *write, int64_t now_us) {
    struct metric *outcome = write->outcome == WRITE_DONE      ? count->done
                             : write->outcome == WRITE_TOUCHED ? count->touched
                             : write->outcome == WRITE_UNKNOWN ? count->unknown
                                                               : count->refused;
    metric_add(outcome, 1);
    if (write->reason != WRITE_REASON_NONE) metric_add(count->failures[write->reason], 1);
    for (uint32_t i = 0; write->outcome == WRITE_DONE && i < write->n_ops; i++)
        metric_add(count->rows_written, write->ops[i].changed);
    histogram_observe(count->seconds, (double)(now_us - write->begun_us) / 1e6);
}
