#include "connectors/runtime/retry.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { BATCH_LETTERS = 500 };

/* A file of letters that is being read. */
struct reading {
    const char *path;
    FILE *file;
    char *line;
    size_t cap;
    struct buf key;
    struct buf id;
    struct buf parts;
    struct value *row;
    uint64_t unreadable;
};

static bool open_reading(struct reading *reading, const char *path, const struct shape *shape,
                         struct error *err) {
    *reading = (struct reading){.path = path, .file = fopen(path, "re")};
    if (!reading->file)
        return error_set(err, ERROR_SYSTEM, true, "dead letters: %s: cannot open it: %s", path,
                         strerror(errno));
    reading->row = mem_calloc(shape->n_columns + 1u, sizeof *reading->row);
    return true;
}

static void close_reading(struct reading *reading) {
    fclose(reading->file);
    free(reading->line); /* getline's */
    buf_deinit(&reading->key);
    buf_deinit(&reading->id);
    buf_deinit(&reading->parts);
    mem_free(reading->row);
}

bool retry_read_letter(struct slice line, struct buf *key, uint64_t *version) {
    json_t *letter = json_loadb(line.data, line.len, JSON_ALLOW_NUL, NULL);
    const json_t *id = json_object_get(letter, "id");
    const json_t *at = json_object_get(letter, "version");
    bool is_letter = json_is_string(id) && json_is_integer(at) && json_integer_value(at) > 0;
    if (is_letter) {
        key->len = 0;
        buf_append(key, json_string_value(id), json_string_length(id));
        *version = (uint64_t)json_integer_value(at);
    }
    json_decref(letter);
    return is_letter;
}

/* The key's columns into the row; their texts lie in `parts`, one behind the other. */
static bool take_key(struct reading *reading, const struct shape *shape) {
    struct buf routing = {0};
    reading->id.len = reading->parts.len = 0;
    shape_split_key(shape, buf_slice(&reading->key), &reading->id, &routing);
    buf_deinit(&routing);
    struct slice rest = buf_slice(&reading->id);
    buf_reserve(&reading->parts, rest.len + 1); /* parts are no longer than they are in the key */
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        size_t start = reading->parts.len;
        shape_take_key(shape, &rest, &reading->parts);
        reading->row[shape->keys[i]] =
            (struct value){.kind = VALUE_TEXT,
                           .data = reading->parts.data + start,
                           .len = (uint32_t)(reading->parts.len - start)};
    }
    return rest.len == 0;
}

static bool put_letter(struct reading *reading, struct batch *batch, struct slice line) {
    const struct shape *shape = batch->shape;
    struct write_stamp stamp = {0};
    if (!retry_read_letter(line, &reading->key, &stamp.version)) return false;
    for (uint16_t i = 0; i < shape->n_columns; i++)
        reading->row[i] = (struct value){.kind = VALUE_UNCHANGED};
    if (!take_key(reading, shape)) return false;
    batch_put(batch, buf_slice(&reading->key), &stamp, reading->row, NULL);
    /* Where the key is all of the row, that it is there still has to be found out. */
    batch->writes[batch->n_writes - 1].incomplete = true;
    return true;
}

/* False: the file cannot be read. */
static bool fill_batch(struct reading *reading, struct batch *batch, struct error *err) {
    ssize_t len = 0;
    while (batch->n_writes < BATCH_LETTERS &&
           (len = getline(&reading->line, &reading->cap, reading->file)) > 0) {
        if (!put_letter(reading, batch, slice_make(reading->line, (size_t)len)))
            reading->unreadable++;
    }
    if (len >= 0 || !ferror(reading->file)) return true;
    return error_set(err, ERROR_SYSTEM, true, "dead letters: %s: cannot read it: %s", reading->path,
                     strerror(errno));
}

static void count(struct retry_counts *counts, const struct batch *batch) {
    for (size_t i = 0; i < batch->n_writes; i++) {
        if (batch->writes[i].superseded) continue;
        counts->letters++;
        counts->refused += batch->writes[i].outcome == WRITE_REFUSED;
    }
}

static bool retry_file(const struct retry_plan *plan, const char *path, struct retry_counts *counts,
                       struct error *err) {
    struct reading reading;
    if (!open_reading(&reading, path, plan->shape, err)) return false;
    bool ok = true;
    while (ok && !feof(reading.file)) {
        struct batch *batch = batch_create(BATCH_WRITES, plan->shape, clock_mono_us());
        ok = fill_batch(&reading, batch, err) &&
             (!batch->n_writes || plan->apply(plan->arg, batch, err));
        if (ok) count(counts, batch);
        batch_destroy(&batch);
    }
    counts->unreadable += reading.unreadable;
    close_reading(&reading);
    /* Those that were refused once more are safe before the file that has them goes. */
    return ok && deadletters_sync(plan->letters, err) && deadletters_done(plan->letters, err);
}

bool retry_run(const struct retry_plan *plan, struct retry_counts *counts, struct error *err) {
    *counts = (struct retry_counts){0};
    for (int stage = LETTERS_LEFT; stage < N_LETTERS_STAGES; stage++) {
        char *path;
        if (!deadletters_take(plan->letters, (enum deadletters_stage)stage, &path, err))
            return false;
        bool done = !path || retry_file(plan, path, counts, err);
        mem_free(path);
        if (!done) return false;
    }
    return true;
}

/* A row that another shard has by now is another key's, which has had its own change. */
static bool has_moved(const struct batch *batch, const struct write *write, struct buf *key) {
    key->len = 0;
    return !shape_append_key(batch->shape, write->row, key) ||
           !slice_equal(buf_slice(key), write->key);
}

void retry_settle(struct batch *batch) {
    struct buf key = {0};
    for (size_t i = 0; i < batch->n_writes; i++) {
        struct write *write = &batch->writes[i];
        if (write->superseded || write->operation == WRITE_REMOVE) continue;
        bool moved = !write->vanished && !batch->shape->many && has_moved(batch, write, &key);
        if (!write->vanished && !moved) continue;
        write->vanished = write->incomplete = false;
        write->operation = WRITE_REMOVE;
        write->row = NULL;
    }
    buf_deinit(&key);
}
