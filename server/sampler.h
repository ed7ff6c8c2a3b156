/* sampler.h: what our replication slots hold back on the server, asked at intervals on a thread of its own.
 *
 *     struct sampler *sampler = sampler_create(url, &deps);      its thread runs
 *     json_t *slots = sampler_slots(sampler);                    [{"slot": "freshet", "retained_bytes": ...}, ...]
 *
 * A slot that nobody reads retains WAL until the disk is full, or until max_slot_wal_keep_size, when the server gives it up.
 * So this is asked also while the feeds are down, and there is an alarm well before: in the log, the status and a metric. */
#ifndef FRESHET_SERVER_SAMPLER_H
#define FRESHET_SERVER_SAMPLER_H

#include <jansson.h>
#include <stdint.h>

#include "base/log.h"
#include "base/metrics.h"

/* Told of each of `slots` at each look, on the sampler's thread. NULL: nobody. */
struct sampler_listener {
    void (*retains)(void *arg, const char *slot, uint64_t wal_bytes);
    void *arg;
};

struct sampler_deps {
    struct log *log;
    struct metrics *metrics;
    int64_t interval_ms;
    uint64_t alarm_bytes; /* of WAL that a slot retains; 0: half of what the server allows */
    uint32_t n_slots;     /* permanent ones; the cache's temporary ones are found by their prefix */
    const char *const *slots;
    struct sampler_listener listener;
    const char *source; /* whose they are, for the status; NULL: the main database's */
};

struct sampler;

struct sampler *sampler_create(const char *database_url, const struct sampler_deps *deps);
void sampler_destroy(struct sampler **sampler);
/* A new reference for the caller. Any thread. */
json_t *sampler_slots(struct sampler *sampler);

#endif
