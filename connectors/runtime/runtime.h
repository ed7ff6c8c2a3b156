/* runtime.h: a feed's change sink that turns changes into batches for the sender.
 *
 *     struct change_sink sink = runtime_sink(runtime);
 *
 * Runs on the feed's thread and never waits for the sink: when the sender's queue is full it is not ready, and
 * the feed stops reading. It keeps one batch open, which closes when it is full, when it is old enough, or
 * before a barrier (load, truncate, another shape).
 *
 * Versions: a streamed change has the LSN of its row's WAL record. For one key these rise, within a
 * transaction and from one to the next (the row's lock and the unique index keep writers of a key apart), and a
 * replay gives the same again; the transaction's end would not tell two changes of a key in one transaction
 * apart. A row of the initial load has a version below every change that the new slot can stream and above all that
 * an earlier slot did: restart_lsn - 1. */
#ifndef FRESHET_CONNECTORS_RUNTIME_H
#define FRESHET_CONNECTORS_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/log.h"
#include "connectors/runtime/figures.h"
#include "connectors/runtime/sender.h"
#include "connectors/source.h"

struct runtime_config {
    const char *name;
    const char *database_url;
    const char *slot;
    size_t batch_bytes;
    size_t batch_writes; /* 0: any number */
    int64_t batch_interval_us;
};

struct runtime_deps {
    struct sender *sender;
    struct source source;
    struct figures *figures;
    struct log *log;
};

struct runtime;

struct runtime *runtime_create(const struct runtime_config *config,
                               const struct runtime_deps *deps);
void runtime_destroy(struct runtime **runtime);
struct change_sink runtime_sink(struct runtime *runtime);
/* What the rows come through, where versions are no LSNs: versions that came through another compare with nothing. Feed's thread,
 * before `prepare`. */
void runtime_fed_by(struct runtime *runtime, uint64_t hash);

/* The slot retains too much: the session ends, the slot is dropped, and the table is loaded anew as soon as the sink can be
 * opened and is not paused. For a feed that makes a slot anew where the sink's position needs one that is gone. Any thread. */
void runtime_give_up(struct runtime *runtime, uint64_t wal_bytes);

struct runtime_status {
    bool loading;
    uint64_t seen_lsn;      /* the furthest that the feed has told of */
    int64_t open_commit_us; /* of the oldest transaction in the open batch; Unix epoch; 0: none */
};

/* Any thread. */
void runtime_status(struct runtime *runtime, struct runtime_status *status);

#endif
