#include "connectors/archive/archive.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "connectors/archive/vault.h"
#include "connectors/runtime/record.h"

enum { DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024, DEFAULT_SEGMENT_AGE_MS = 60 * 60 * 1000 };

struct sink {
    struct vault *vault;
    struct buf lines;
};

static int64_t now_s(void) { return clock_wall_us() / 1000000; }

static struct sink *archive_create(const struct connector_config *config,
                                   const struct sink_deps *deps, struct error *err) {
    (void)deps;
    if (!config->path || !config->path[0]) {
        error_set(err, ERROR_CONFIG, false, "an archive needs a path: the folder to write to");
        return NULL;
    }
    struct sink *sink = mem_zalloc(sizeof *sink);
    int64_t age_ms =
        config->segment_interval_ms ? config->segment_interval_ms : DEFAULT_SEGMENT_AGE_MS;
    sink->vault = vault_create(&(struct vault_config){
        .path = config->path,
        .segment_bytes = config->segment_bytes ? config->segment_bytes : DEFAULT_SEGMENT_BYTES,
        .segment_age_s = (age_ms + 999) / 1000});
    return sink;
}

static void archive_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    vault_destroy(&old->vault);
    buf_deinit(&old->lines);
    mem_free(old);
}

static bool archive_open(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                         struct sink_target *target, struct error *err) {
    struct buf keys = {0};
    shape_append_keys(shape, &keys);
    struct buf table = {0};
    shape_append_origin(shape, &table);
    bool opened = vault_open(sink->vault,
                             &(struct vault_identity){.table = buf_text(&table),
                                                      .keys = buf_text(&keys),
                                                      .system_identifier = system_identifier},
                             err);
    buf_deinit(&keys);
    buf_deinit(&table);
    /* A TRUNCATE may come before the first row. */
    opened = opened && vault_reshape(sink->vault, shape, err);
    bool empty = opened && vault_manifest(sink->vault)->n_closed == 0;
    *target = (struct sink_target){.id = "archive", .made = empty, .ours = true, .empty = empty};
    return opened;
}

static bool archive_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    return vault_reshape(sink->vault, shape, err);
}

static bool archive_apply(struct sink *sink, struct batch *batch, struct error *err) {
    struct vault_lines lines = {0};
    sink->lines.len = 0;
    const struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        record_append(&sink->lines, batch->shape, write, true);
        buf_append_char(&sink->lines, '\n');
        if (lines.n++ == 0) lines.first_lsn = write->stamp.version;
        lines.last_lsn = write->stamp.version;
    }
    lines.text = buf_slice(&sink->lines);
    if (!vault_append(sink->vault, &lines, now_s(), err)) return false;
    struct write *done;
    for (size_t at = 0; (done = batch_next(batch, &at, batch->n_writes));)
        done->outcome = WRITE_DONE;
    return true;
}

/* What is older stays: it is history. A reader is told that it is gone from the table. */
static bool archive_clear_older(struct sink *sink, const struct clearing *clearing,
                                uint64_t *removed, struct error *err) {
    *removed = 0;
    sink->lines.len = 0;
    record_append_clear(&sink->lines, clearing->version, clearing->loaded);
    buf_append_char(&sink->lines, '\n');
    struct vault_lines lines = {.text = buf_slice(&sink->lines),
                                .n = 1,
                                .first_lsn = clearing->version,
                                .last_lsn = clearing->version};
    return vault_append(sink->vault, &lines, now_s(), err);
}

static bool archive_flush(struct sink *sink, const struct change_position *position,
                          struct error *err) {
    return vault_commit(sink->vault, position, now_s(), err);
}

static bool archive_load_position(struct sink *sink, struct change_position *position,
                                  struct error *err) {
    (void)err;
    const struct change_position *kept = &vault_manifest(sink->vault)->position;
    if (kept->snapshot_done) *position = *kept;
    return true;
}

static bool archive_check(const struct connector_config *config, const char **option,
                          struct error *err) {
    *option = "from";
    return config->from != CONNECTOR_FROM_KAFKA ||
           error_set(err, ERROR_CONFIG, false,
                     "is kafka, and records that come twice would be kept twice: archive wants a "
                     "slot");
}

/* The folder is made at the start; one that is there must be an archive of this table, or empty. */
static bool archive_probe(const struct connector_config *config, const struct shape *shape,
                          const char **option, struct error *err) {
    *option = "path";
    if (access(config->path, F_OK) != 0) return true;
    if (access(config->path, W_OK | X_OK) != 0)
        return error_set(err, ERROR_SYSTEM, false, "%s cannot be written", config->path);
    struct manifest manifest;
    bool absent;
    if (!vault_read_manifest(config->path, &manifest, &absent, err)) return false;
    struct buf table = {0};
    if (shape) shape_append_origin(shape, &table);
    bool ok = absent || !shape || strcmp(manifest.table, buf_text(&table)) == 0 ||
              error_set(err, ERROR_CONFLICT, false, "%s is an archive of %s", config->path,
                        manifest.table);
    buf_deinit(&table);
    manifest_deinit(&manifest);
    return ok;
}

const struct sink_type archive_sink = {
    .name = "archive",
    .help = "A folder of compressed files with every change, one JSON object a line",
    .needs = "path",
    .takes = "segment_size segment_interval",
    .check = archive_check,
    .probe = archive_probe,
    .ops =
        {
            .create = archive_create,
            .destroy = archive_destroy,
            .open = archive_open,
            .reshape = archive_reshape,
            .apply = archive_apply,
            .clear_older = archive_clear_older,
            .flush = archive_flush,
            .load_position = archive_load_position,
            .transactional = true,
        },
};
