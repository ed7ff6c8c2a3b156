/* write_metrics.h: what a worker's writes count. */
#ifndef FRESHET_CACHE_WRITE_METRICS_H
#define FRESHET_CACHE_WRITE_METRICS_H

#include "base/metrics.h"
#include "cache/writes/write.h"

struct write_metrics {
    struct metric *done, *refused, *touched, *unknown;
    struct metric *rows_written;
    struct metric *failures[WRITE_REASONS];
    struct metric *waiting, *connections;
    struct histogram *seconds;
};

void write_metrics_register(struct write_metrics *count, struct metrics *metrics);
/* It is answered now. */
void write_count(const struct write_metrics *count, const struct write *write, int64_t now_us);

#endif
