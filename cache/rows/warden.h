/* warden.h: the control thread of read-through: it looks at the database at intervals so that nobody else has to.
 *
 * - the catalog (catalog_poll_interval): tables, keys, types become the table map; a table whose fingerprint has changed is
 *   cleared; the publication is kept up;
 * - the lease's samples (sample_interval), with a nudge where WAL that nobody flushes holds the stream back;
 * - snapshots: the one of rule 5 once the stream runs and has passed all that the table map covers, and the ones by which
 *   the recent set forgets (rule 4).
 *
 * It has one blocking connection of its own, made again when it is lost. */
#ifndef FRESHET_CACHE_WARDEN_H
#define FRESHET_CACHE_WARDEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "cache/rows/core.h"

struct warden;

struct warden *warden_create(struct core *core);
void warden_destroy(struct warden **warden);
bool warden_start(struct warden *warden, struct error *err) MUST_CHECK;
void warden_stop(struct warden *warden);
/* control_watch. */
void warden_watch(struct warden *warden, int64_t now_us);

/* Any thread, all of the following. */

/* A statement found the table other than the map has it: the table is cleared, the catalog read soon. */
void warden_table_changed(struct warden *warden, const struct table *table);
/* The catalog should be read soon: a relation has changed. */
void warden_poll_soon(struct warden *warden);

/* When the last look at the catalog that came to its end had begun (monotonic); 0: there was none. */
int64_t warden_polled_us(struct warden *warden);

/* The feed's session has begun at this LSN, with an empty memory: rule 5 starts over. */
void warden_stream_started(struct warden *warden);
void warden_stream_ended(struct warden *warden, const char *cause);

/* Waits until the publication is there, for the feed to name; false: it cannot be made, or not yet. */
bool warden_await_publication(struct warden *warden, struct error *err) MUST_CHECK;

/* Every table of the map that can be covered is. If not: *why, a constant. */
bool warden_ready(struct warden *warden, const char **why);
/* Appends what keeps memory from being trusted, in a few words; nothing where nothing does. */
void warden_trouble(struct warden *warden, struct buf *text);
/* Adds what it knows to a status object. */
void warden_status(struct warden *warden, json_t *status);

#endif
