/* rebuilding.h: a connector's target is filled anew beside the one that is served, and takes its place in one step.
 *
 *     struct rebuilding *r = rebuilding_create(&config, &deps);
 *     rebuilding_resume(r, err);   a rebuild that an earlier process was cut off in goes on, or begins again
 *     rebuilding_begin(r, err);    ...  rebuilding_status(r)
 *     rebuilding_stop(r);  rebuilding_destroy(&r);
 *
 * A second connector, NAME.rebuild, with a slot and a position of its own, loads the table into the new target and follows
 * the stream, while the first goes on as ever. Once it has caught up:
 *
 *     the first's feed is stopped; what it has read is applied, and its position P saved
 *     the second follows until its own position is P or later, and is stopped
 *     the new target takes over (sink.h: take_over)
 *     the first's feed is started again: its sink finds the new target, and its position in NAME.rebuild.position (resume.h)
 *
 * So readers see the new target as new as the old was, and nothing is in neither: changes past P come through the first's slot.
 * A kill at any point leaves one of the two: before take_over the old target is served and NAME.rebuilding makes the next
 * process go on with the new one where that was, if it would make the same, or begin again; after it the first connector adopts the new one's position, and only what is left is cleared away. */
#ifndef FRESHET_SERVER_REBUILDING_H
#define FRESHET_SERVER_REBUILDING_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cdc/feed/feed.h"
#include "connectors/connector.h"

struct rebuilding_config {
    const struct connector_config *connector;
    const struct feed_config *feed; /* the connector's own */
};

struct rebuilding_deps {
    struct connector
        *connector; /* the one that is served, and its feed, which is stopped and started */
    struct feed *feed;
    struct log *log;
    struct metrics *metrics;
};

struct rebuilding;

/* Copies the structs; the configuration's strings must outlive it. */
struct rebuilding *rebuilding_create(const struct rebuilding_config *config,
                                     const struct rebuilding_deps *deps);
void rebuilding_destroy(struct rebuilding **rebuilding);

/* Once the connector is started. */
bool rebuilding_resume(struct rebuilding *rebuilding, struct error *err) MUST_CHECK;
/* Any thread. False: the connector cannot be rebuilt, or it is being so. */
bool rebuilding_begin(struct rebuilding *rebuilding, struct error *err) MUST_CHECK;
/* Before the connector's feed is stopped for good. What is not done begins again at the next start. */
void rebuilding_stop(struct rebuilding *rebuilding);

/* The connector's feed is stopped for the moment of the switch. Any thread. */
bool rebuilding_holds(struct rebuilding *rebuilding);
/* For /status, a new reference: {"state":"loading",...}: preparing, loading, following, switching, finishing, done, failed.
 * NULL: there was none since the start. Any thread. */
json_t *rebuilding_status(struct rebuilding *rebuilding);

#endif
