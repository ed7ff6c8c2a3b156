/* sampler.h: what our replication slots hold back on the server, asked at intervals on a thread of its own.
 *
 *     struct sampler *sampler = sampler_create(url, &deps);      its thread runs
 *     json_t *slots = sampler_slots(sampler);                    [{"slot": "freshet", "retained_bytes": ...}, ...]
 *
 * A slot that nobody reads retains WAL until the disk is full, so this is asked also while the feeds are down. */
#ifndef FRESHET_SERVER_SAMPLER_H
#define FRESHET_SERVER_SAMPLER_H

#include <jansson.h>
#include <stdint.h>

#include "base/log.h"
#include "base/metrics.h"

struct sampler_deps {
    struct log *log;
    struct metrics *metrics;
    int64_t interval_ms;
    uint32_t n_slots; /* permanent ones; the cache's temporary ones are found by their prefix */
    const char *const *slots;
};

struct sampler;

struct sampler *sampler_create(const char *database_url, const struct sampler_deps *deps);
void sampler_destroy(struct sampler **sampler);
/* A new reference for the caller. Any thread. */
json_t *sampler_slots(struct sampler *sampler);

#endif
