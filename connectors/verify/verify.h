/* verify.h: a connector's sink is compared with its source, beside the stream, and what differs is named, or written again.
 *
 *     struct verifier *verifier = verifier_create(&deps);
 *     verifier_begin(verifier, &options, &id, err);
 *     json_t *state = verifier_status(verifier, id, true);        "state": running, done, failed
 *     verifier_destroy(&verifier);
 *
 * Rows are read in pages, by ranges of the key, and compared with what the sink has under their keys; then the sink's keys, in
 * pages, are looked up in the source. Where both sides can, ranges are compared by digests first, and those that are equal are not
 * read. What differs is suspect, and is looked at again (verify_judge.h) until it is told
 * from what the stream was about to change. One run at a time, on a thread of its own, with a connection to the database and an
 * instance of the sink of its own; memory is that of a page, of VERIFY_MAX_SUSPECTS rows, and of what is named. */
#ifndef FRESHET_CONNECTORS_VERIFY_H
#define FRESHET_CONNECTORS_VERIFY_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "connectors/runtime/figures.h"
#include "connectors/sink.h"
#include "connectors/source.h"

enum {
    VERIFY_DEFAULT_RATE = 20000, /* rows a second */
    VERIFY_PAGE_ROWS = 500,
    VERIFY_MAX_SUSPECTS = 1000, /* that are looked at again together */
    VERIFY_MAX_NAMED = 10000,   /* of what differs; more is counted */
};

struct verify_options {
    bool repair;
    uint32_t rate; /* rows, and keys of the sink, a second */
};

/* How far the connector is. */
struct verify_position {
    bool loaded;
    uint64_t applied_lsn;
};

/* Where the feed is none that brings LSNs: how far it is, instead. Of the verifier's thread. */
struct verify_feed {
    void *self; /* NULL: the position's applied_lsn says all */
    bool (*published)(void *self, uint64_t *lsn,
                      struct error *err); /* all up to here has been given to it */
    /* All that had been given when this was asked with `first` is in the sink. *floor: a version that nothing is below that came
     * later. */
    bool (*drained)(void *self, bool first, bool *drained, uint64_t *floor, struct error *err);
};

struct verify_deps {
    const char *connector;
    const struct sink_ops *ops;
    struct sink *
        sink; /* an instance of its own, never opened; the verifier's from now on; NULL: cannot be compared */
    _Atomic bool *stop; /* that the instance was given; the verifier's to set */
    struct source source;
    void (*position)(void *arg, struct verify_position *position); /* any thread */
    void *arg;
    struct verify_feed feed;
    struct figures *figures;
    struct log *log;
};

struct verifier;

struct verifier *verifier_create(const struct verify_deps *deps);
/* Ends a run that is under way. Before the source and the connector's sender are destroyed. */
void verifier_destroy(struct verifier **verifier);

/* Any thread. False: one is under way, or the sink or the source cannot be compared, or not be repaired so. */
bool verifier_begin(struct verifier *verifier, const struct verify_options *options, uint64_t *id,
                    struct error *err) MUST_CHECK;
/* The last run, if its number is `id` or that is 0: a new reference; NULL where there is none. `named`: with what it found, once it
 * is over. Any thread. */
json_t *verifier_status(struct verifier *verifier, uint64_t id, bool named);

#endif
