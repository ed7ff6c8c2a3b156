/* feed_null: the feed and the decoder alone: streams from a slot into a sink that counts, until a position is
 * reached. Beside `pg_recvlogical -f /dev/null` on the same WAL it tells what decoding costs.
 *
 *     feed_null URL SLOT PUBLICATION END_LSN        prints rows, seconds from the first row, CPU seconds */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "cdc/feed/feed.h"

struct counter {
    uint64_t end_lsn;
    uint64_t seen_lsn;
    uint64_t rows;
    uint64_t value_bytes;
    int64_t first_us;
    int64_t last_us;
    atomic_bool done;
};

static bool prepare(void *self, struct change_position *position, struct error *err) {
    (void)self;
    (void)position;
    (void)err;
    return true;
}

static bool started(void *self, const struct feed_identity *identity, struct error *err) {
    (void)self;
    (void)identity;
    (void)err;
    return true;
}

static bool begin(void *self, const struct transaction *tx, struct error *err) {
    (void)tx;
    (void)err;
    struct counter *counter = self;
    if (!counter->first_us) counter->first_us = clock_mono_us();
    return true;
}

static bool change(void *self, const struct transaction *tx, const struct change *c,
                   struct error *err) {
    (void)tx;
    (void)err;
    struct counter *counter = self;
    counter->rows++;
    for (uint16_t i = 0; c->new_row && i < c->relation->n_columns; i++)
        counter->value_bytes += c->new_row[i].len;
    return true;
}

static void note(struct counter *counter, uint64_t lsn) {
    counter->seen_lsn = lsn;
    if (lsn >= counter->end_lsn) atomic_store(&counter->done, true);
}

static bool commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct counter *counter = self;
    counter->last_us = clock_mono_us();
    note(counter, tx->end_lsn);
    return true;
}

static bool progress(void *self, uint64_t wal_end_lsn, struct error *err) {
    (void)err;
    note(self, wal_end_lsn);
    return true;
}

static uint64_t confirmed_lsn(void *self) { return ((struct counter *)self)->seen_lsn; }

static const struct change_sink_ops ops = {
    .prepare = prepare,
    .started = started,
    .begin = begin,
    .change = change,
    .commit = commit,
    .progress = progress,
    .confirmed_lsn = confirmed_lsn,
};

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    struct counter counter = {0};
    if (argc != 5 || !lsn_parse(argv[4], &counter.end_lsn)) return 2;
    struct log *log = log_create(STDERR_FILENO, LOG_WARN);
    struct metrics *metrics = metrics_create();
    struct feed_config config = {.database_url = argv[1],
                                 .application_name = "feed_null",
                                 .slot = argv[2],
                                 .publication = argv[3]};
    struct change_sink sink = {.ops = &ops, .self = &counter, .name = "null"};
    struct feed_deps deps = {.log = log, .metrics = metrics};
    struct feed *feed = feed_create(&config, sink, &deps);
    struct error err;
    if (!feed_start(feed, &err)) return 1;
    struct feed_status status;
    do {
        usleep(1000);
        feed_status(feed, &status);
    } while (!atomic_load(&counter.done) && status.state != FEED_FAILED);
    feed_stop(feed);
    double seconds = (double)(counter.last_us - counter.first_us) / 1e6;
    printf("{\"rows\": %" PRIu64 ", \"value_bytes\": %" PRIu64
           ", \"seconds\": %.3f, \"cpu_seconds\": %.3f}\n",
           counter.rows, counter.value_bytes, seconds, cpu_seconds());
    feed_destroy(&feed);
    metrics_destroy(&metrics);
    log_destroy(&log);
    return status.state == FEED_FAILED ? 1 : 0;
}
