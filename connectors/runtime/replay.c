#include "connectors/runtime/replay.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connectors/archive/reader.h"
#include "connectors/registry.h"
#include "connectors/runtime/backoff.h"
#include "connectors/runtime/batch.h"
#include "connectors/runtime/deadletter.h"
#include "connectors/runtime/letter_topic.h"
#include "connectors/sink.h"

/* A sink that is away is tried for about a minute and a half. */
enum { TRIES_MAX = 12 };

struct replay {
    const struct connector_config *config;
    const struct sink_ops *ops;
    struct sink *sink;
    struct log *log;
    struct deadletters *letters;
    struct connector_replayed *replayed;
    struct backoff backoff;
    uint64_t system_identifier;
    bool opened;
    struct shape *shape;
    struct value *row;   /* of its columns, where they are chosen of the archive's */
    struct batch *batch; /* NULL: none */
};

/* Waits after a failure. False: it is no use. */
static bool try_again(struct replay *replay, const struct error *err) {
    if (!err->retriable || replay->backoff.tries + 1 >= TRIES_MAX) return false;
    int64_t wait_us = backoff_next_us(&replay->backoff);
    log_warn(replay->log, "replay_retrying", "connector=%s wait_ms=%lld cause=\"%s\"",
             replay->config->name, (long long)(wait_us / 1000), err->message);
    nanosleep(&(struct timespec){.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000},
              NULL);
    return true;
}

/* ---- the sink ---- */

/* Whatever the sink had before, the connector's own position does not tell of it any more. */
static bool forget_position(const struct connector_config *config, struct error *err) {
    char *path = mem_printf("%s/%s.position", config->state_dir, config->name);
    bool gone = unlink(path) == 0 || errno == ENOENT;
    if (!gone) error_set(err, ERROR_SYSTEM, false, "cannot remove %s: %s", path, strerror(errno));
    mem_free(path);
    return gone;
}

static bool open_sink(struct replay *replay, struct error *err) {
    struct sink_target target;
    bool ok;
    do
        ok =
            replay->ops->open(replay->sink, replay->shape, replay->system_identifier, &target, err);
    while (!ok && try_again(replay, err));
    if (!ok) return false;
    backoff_reset(&replay->backoff);
    replay->opened = true;
    if (target.made || target.ours || target.empty) return forget_position(replay->config, err);
    return error_set(err, ERROR_CONFLICT, false,
                     "the target holds what Freshet did not write: empty it, or name another");
}

static bool flush(struct replay *replay, struct error *err) {
    struct change_position none = {.system_identifier = replay->system_identifier};
    return replay->ops->flush(replay->sink, &none, err);
}

static void count(struct replay *replay, const struct batch *batch) {
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; i < batch->n_writes; i++) {
        const struct write *write = &batch->writes[i];
        if (write->superseded) continue;
        switch (write->outcome) {
        case WRITE_DONE: replay->replayed->applied++; break;
        case WRITE_STALE: replay->replayed->stale++; break;
        case WRITE_REFUSED:
            replay->replayed->refused++;
            deadletters_add(replay->letters, replay->config->name, batch, write, now_us);
            break;
        case WRITE_PENDING: ASSERT_UNREACHABLE();
        }
    }
}

/* What a transactional sink has taken since its last flush is lost with a failure: such a batch is not tried again. */
static bool apply(struct replay *replay, struct error *err) {
    if (!replay->batch) return true;
    bool ok;
    do
        ok = replay->ops->apply(replay->sink, replay->batch, err);
    while (!ok && !replay->ops->transactional && try_again(replay, err));
    if (!ok) return false;
    backoff_reset(&replay->backoff);
    count(replay, replay->batch);
    batch_destroy(&replay->batch);
    return deadletters_sync(replay->letters, err) &&
           (!replay->ops->transactional || flush(replay, err));
}

/* ---- what the archive gives ---- */

static bool on_begin(void *self, const struct manifest *manifest, struct error *err) {
    (void)err;
    struct replay *replay = self;
    replay->system_identifier = manifest->position.system_identifier;
    return true;
}

static bool on_shape(void *self, struct shape *shape, struct error *err) {
    struct replay *replay = self;
    if (!apply(replay, err)) return false;
    shape_release(&replay->shape);
    const struct connector_config *config = replay->config;
    uint32_t at;
    replay->shape = config->n_columns
                        ? shape_choose(shape, config->n_columns, config->columns, &at, err)
                        : shape_acquire(shape);
    if (!replay->shape) return error_prefix(err, "columns");
    replay->row = mem_realloc(replay->row, (replay->shape->n_columns + 1u) * sizeof *replay->row);
    if (!replay->opened && !open_sink(replay, err)) return false;
    return replay->ops->reshape(replay->sink, replay->shape, err);
}

/* A load's end is told to a sink as it would be of a TRUNCATE: what is newer may well be there, of an earlier replay. */
static bool clear_older(struct replay *replay, uint64_t version, struct error *err) {
    uint64_t removed;
    const struct clearing clearing = {.version = version, .newest = UINT64_MAX};
    if (!apply(replay, err)) return false;
    bool ok;
    do
        ok = replay->ops->clear_older(replay->sink, &clearing, &removed, err);
    while (!ok && !replay->ops->transactional && try_again(replay, err));
    if (ok) backoff_reset(&replay->backoff);
    return ok;
}

static bool on_record(void *self, const struct record *record, struct error *err) {
    struct replay *replay = self;
    if (record->kind == RECORD_TRUNCATE || record->kind == RECORD_LOADED)
        return clear_older(replay, record->stamp.version, err);
    if (!replay->batch) replay->batch = batch_create(BATCH_WRITES, replay->shape, 0);
    if (record->kind == RECORD_PUT) {
        shape_take(replay->shape, record->row, replay->row);
        batch_put(replay->batch, record->key, &record->stamp, replay->row, NULL);
    } else {
        batch_remove(replay->batch, record->key, &record->stamp);
    }
    return replay->batch->bytes < replay->config->batch_bytes || apply(replay, err);
}

/* ---- from end to end ---- */

static bool run(struct replay *replay, const char *archive, struct error *err) {
    const struct archive_handler handler = {
        .begin = on_begin, .shape = on_shape, .record = on_record, .self = replay};
    struct archive_sums sums = {0};
    bool ok = archive_read(archive, &handler, &sums, err) && apply(replay, err) &&
              (!replay->opened || flush(replay, err));
    replay->replayed->segments = sums.segments;
    replay->replayed->records = sums.records;
    return ok;
}

bool connector_replay(const struct connector_config *config, const char *archive,
                      const struct connector_deps *deps, struct connector_replayed *replayed,
                      struct error *err) {
    const struct sink_type *type = registry_find(config->type);
    if (!type) return error_set(err, ERROR_CONFIG, false, "there is no type \"%s\"", config->type);
    *replayed = (struct connector_replayed){0};
    const _Atomic bool never = false;
    struct replay replay = {
        .config = config, .ops = &type->ops, .log = deps->log, .replayed = replayed};
    backoff_init(&replay.backoff, (uint64_t)clock_wall_us());
    char *path = mem_printf("%s/%s.deadletters.jsonl", config->state_dir, config->name);
    replay.sink =
        type->ops.create(config, &(struct sink_deps){.log = deps->log, .stop = &never}, err);
    if (replay.sink) replay.letters = deadletters_create(path, DEADLETTER_FILE_MAX, err);
    struct letter_topic *topic = letter_topic_of(config, deps->log, &never);
    if (replay.letters)
        deadletters_to_topic(replay.letters, &topic);
    else
        letter_topic_destroy(&topic);
    bool ok = replay.letters && run(&replay, archive, err);
    mem_free(path);
    batch_destroy(&replay.batch);
    shape_release(&replay.shape);
    mem_free(replay.row);
    deadletters_destroy(&replay.letters);
    if (replay.sink) type->ops.destroy(&replay.sink);
    return ok;
}
