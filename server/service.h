/* service.h: the composition root: builds the wings that the roles ask for, ties feeds to sinks, and knows how each is.
 *
 *     struct service *service = service_create(config, &deps, err);
 *     service_start(service, err)   ...   service_stop(service);   service_destroy(&service);
 *
 * A publisher or connector that fails for good does not take the cache down, nor another publisher: its state is in /status and
 * in the log, and the process stays ready for the reads that it can serve. Where the cache is no role of the process, readiness is
 * that of its feeds, and when all of them have failed for good the process ends. A feed that was refused, because an operator has
 * to choose, has not: it looks again. */
#ifndef FRESHET_SERVER_SERVICE_H
#define FRESHET_SERVER_SERVICE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/config.h"

struct service_deps {
    struct log *log;
    struct metrics *metrics;
};

struct service;

/* The configuration, finished, must outlive the service. */
struct service *service_create(const struct config *config, const struct service_deps *deps,
                               struct error *err);
void service_destroy(struct service **service);
/* False: nothing runs. */
bool service_start(struct service *service, struct error *err) MUST_CHECK;
/* Answers what is on its way, confirms what is done. */
void service_stop(struct service *service);

/* Main thread, a few times a second: takes rates, and starts the cache's feed again where it failed: its slot is
 * temporary, so nothing can be lost by that. */
void service_supervise(struct service *service, int64_t now_us);

/* All that was to be done is done (cdc.snapshot: initial_only, and nothing else runs). */
bool service_done(struct service *service);
/* Nothing of it works or ever will again: no cache, and every feed has failed for good. */
bool service_failed(struct service *service);

struct service_health {
    bool ready;
    char reason[600];   /* why not */
    char degraded[600]; /* what does not work although the process is ready; "" */
};
/* Any thread. */
void service_health(struct service *service, struct service_health *health);
/* For /status: a new reference for the caller. Any thread. */
json_t *service_status(struct service *service);
/* Has a table's rows published beside the stream, of the publisher of a source (NULL: the only one, or the main one). *id names
 * it in service_snapshots: what is being read so, and what was; a new reference, or NULL. Any thread. */
bool service_snapshot(struct service *service, const char *source, const char *schema,
                      const char *name, const char *where, uint64_t *id,
                      struct error *err) MUST_CHECK;
json_t *service_snapshots(struct service *service, const char *source);
/* What the server keeps for a slot. Any thread. */
void service_retains(struct service *service, const char *slot, uint64_t wal_bytes);
/* Any thread. False: there is no such connector here, or it could not. */
bool service_pause(struct service *service, const char *connector, bool paused,
                   struct error *err) MUST_CHECK;
bool service_retry(struct service *service, const char *connector, uint64_t *run,
                   struct error *err) MUST_CHECK;
/* See connector_verify; `rate` 0: the default. */
bool service_verify(struct service *service, const char *connector, bool repair, uint32_t rate,
                    uint64_t *id, struct error *err) MUST_CHECK;
json_t *service_verification(struct service *service, const char *connector, uint64_t id,
                             struct error *err);
/* See cache_verify. False: no cache runs here, or it has no database. Any thread, both. */
bool service_verify_cache(struct service *service, uint32_t rate, struct error *err) MUST_CHECK;
json_t *service_cache_verification(struct service *service, struct error *err);
/* See rebuilding.h; how far it is, is told by service_connector. */
bool service_rebuild(struct service *service, const char *connector, struct error *err) MUST_CHECK;
/* As in service_status: a new reference. Any thread. NULL: there is no such connector here. */
json_t *service_connector(struct service *service, const char *connector, struct error *err);
uint16_t service_cache_port(const struct service *service); /* 0: no cache */
uint16_t service_tls_port(const struct service *service);   /* 0: no TLS */
/* SIGHUP: certificates are read again. Main thread. */
void service_reload(struct service *service);

#endif
