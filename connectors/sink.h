/* sink.h: what a connector's sink implements: a row in registry.c and these functions.
 *
 *     open -> { reshape | apply | clear_older | flush }... -> open (a new session) ...
 *
 * All calls of one sink come one at a time, from the connector's sender thread (`apply` of a sink that takes the option
 * `lanes` also from a lane's own, for a sink of that lane's own), and may block; a blocking call looks at
 * deps->stop at least once a second and gives up while it is set. The runtime retries, keeps order, writes dead
 * letters and the position. A sink does one attempt of one thing and says how it went:
 *
 * - false with a retriable error: nothing is lost, the runtime calls again after a backoff;
 * - false with ERROR_NOT_FOUND: the target that `open` found is gone; the runtime loads it anew;
 * - false with another error: tried again, slowly, and shown as the connector's last error. */
#ifndef FRESHET_CONNECTORS_SINK_H
#define FRESHET_CONNECTORS_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"
#include "base/log.h"
#include "connectors/connector.h"
#include "connectors/document/shape.h"
#include "connectors/runtime/batch.h"
#include "connectors/source/key_page.h"
#include "connectors/source/key_range.h"

struct sink; /* each type's own */

struct sink_deps {
    struct log *log;
    const _Atomic bool *stop;
};

/* What the rows go into. */
struct sink_target {
    char id
        [64]; /* differs after it was dropped and made anew, or restored: its position is void then */
    bool made; /* by this very call: it is empty */
    bool ours; /* made by a connector for this table, whether now or in the past */
    bool empty;
};

/* What a sink has under the key of a write. */
struct sink_entry {
    bool found;
    bool equal;       /* to what the write leaves there: the row, or nothing */
    uint64_t version; /* of what is found; 0: the sink keeps none */
    uint64_t digest;  /* of what is found: another content has another one */
};

/* What was written with a version below `version` goes, and nothing that is newer. */
struct clearing {
    uint64_t version;
    bool loaded; /* since a load of that version is complete; else by a TRUNCATE */
    /* Nothing newer can be there: what is comes from another history (the database was set back to an earlier point), and the
     * target must go as a whole: ERROR_NOT_FOUND once it has. UINT64_MAX: nothing is known. */
    uint64_t newest;
};

struct sink_ops {
    /* Checks the configuration; no I/O. */
    struct sink *(*create)(const struct connector_config *config, const struct sink_deps *deps,
                           struct error *err);
    void (*destroy)(struct sink **sink);

    /* Connects and makes the target where it is absent. `system_identifier` is the database's: what was
     * filled from another one must go, since its versions compare with nothing. */
    bool (*open)(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                 struct sink_target *target, struct error *err);
    /* The rows have other columns from now on. */
    bool (*reshape)(struct sink *sink, const struct shape *shape, struct error *err);
    /* One attempt at the writes that batch_next gives. True: each has its outcome. False: *err says why some are
     * still WRITE_PENDING; what the others came to stays. No two writes of a batch have one key. */
    bool (*apply)(struct sink *sink, struct batch *batch, struct error *err);
    bool (*clear_older)(struct sink *sink, const struct clearing *clearing, uint64_t *removed,
                        struct error *err);
    /* What was applied will survive the target's crash, and the target is still the one that was opened.
     * `position` is what the runtime is about to record; a sink that can keep it with its data does, and
     * gives it back in load_position; with the note of a load that is under way, where it `resumes_loads`. */
    bool (*flush)(struct sink *sink, const struct change_position *position, struct error *err);
    /* NULL: the runtime's position file is used. */
    bool (*load_position)(struct sink *sink, struct change_position *position, struct error *err);
    /* Is the target still the one that was opened? Asked now and then while nothing is written. False: as of `apply`. NULL: the
     * next write tells. */
    bool (*look)(struct sink *sink, struct error *err);
    /* What was applied since the last flush is seen by nobody until the next, which comes at the ends of the source's
     * transactions and makes it seen together with its position: all of it or nothing. Then:
     * - a false `flush`, or ERROR_NOT_FOUND, means that all since the last flush is lost: the session starts over from
     *   load_position;
     * - a load begins with clear_older, of its version, and does not end with it: readers have the old rows until the flush. */
    bool transactional;
    /* A load that was interrupted goes on where it was: rows of it may be written twice, and changes between them. For a
     * transactional sink one into an empty target alone: its parts are seen as they come. */
    bool resumes_loads;

    /* ---- comparing (verify.h). NULL: this sink cannot be compared. Called, and `apply` with them where `versioned`, on an
     * instance of `create` of its own, on a thread of its own, never opened. ---- */

    /* Fills entries[i] for batch->writes[i]: what is there now, not as of the last refresh. */
    bool (*compare)(struct sink *sink, struct batch *batch, struct sink_entry *entries,
                    struct error *err);
    /* Adds a page of the sink's keys, as rows of that shape have them, in any order; with none, the end. What was there when the
     * first page was asked for and stays is given at least once. `first`: begins anew. */
    bool (*scan)(struct sink *sink, const struct shape *shape, bool first, struct key_page *page,
                 struct error *err);
    /* A write that is older than what is there has no effect, whoever else writes: a single row may be written again beside the
     * stream. */
    bool versioned;
    /* Where it is not, all or none: a row is written again while the stream's writes wait. `hold` begins that; false and retriable:
     * not now. `rewrite` is an `apply` that leaves the rows as they are given, `release` makes seen what it wrote (keep), or
     * undoes it, and lets the stream go on. */
    bool (*hold)(struct sink *sink, struct error *err);
    bool (*rewrite)(struct sink *sink, struct batch *batch, struct error *err);
    bool (*release)(struct sink *sink, bool keep, struct error *err);
    /* All or none: by what the keys are ordered (key_range_collations), what stands in a range, as the source's reader tells it of
     * its own; and the range's keys. */
    bool (*collations)(struct sink *sink, const struct shape *shape, struct buf *out,
                       struct error *err);
    bool (*digest)(struct sink *sink, const struct shape *shape, const struct key_range *range,
                   struct range_digest *digest, struct error *err);
    bool (*range_keys)(struct sink *sink, const struct shape *shape, const struct key_range *range,
                       struct key_page *page, struct error *err);

    /* Both or none: a sink that can be rebuilt. The sink was created with config->rebuild: its `open` makes a new
     * target beside the one that is served under the configured name. They are called while no other call is under way.
     *
     * What this sink filled is served from now on, in one step, under every name that the one before had. Called again
     * after it was done, it does nothing. What was served before may stay until `tidy`. */
    bool (*take_over)(struct sink *sink, struct error *err);
    /* Removes what earlier and abandoned rebuilds have left: targets of this connector that are not served. */
    bool (*tidy)(struct sink *sink, struct error *err);
};

/* Of the options of a connector, those that any sink's `needs` or `takes` names belong to the sinks that name them; the
 * configuration's check refuses them elsewhere. The others are everybody's. Names with spaces between. */
struct sink_type {
    const char *name;
    const char *help;
    bool takes_many;   /* a key may have several rows (shape->many) */
    const char *needs; /* NULL: none */
    const char *takes; /* NULL: none but those that it needs */
    /* Is the configuration right, as far as it can be told without connecting? Else *option is the one that is not. May be
     * NULL. */
    bool (*check)(const struct connector_config *config, const char **option, struct error *err);
    /* The same of the rows that it would be given: no I/O. May be NULL. */
    bool (*fits)(const struct connector_config *config, const struct shape *shape,
                 const char **option, struct error *err);
    /* The same of what the sink is connected to, which is not changed. `shape` is the table's; NULL: not known. May be NULL. */
    bool (*probe)(const struct connector_config *config, const struct shape *shape,
                  const char **option, struct error *err);
    struct sink_ops ops;
};

#endif
