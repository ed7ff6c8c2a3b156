#include "connectors/source/query_reader.h"

#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"

struct reader {
    struct source source;
    void (*destroy_source)(void *self);
    struct shape *shape;
    PGconn *conn;
    struct batch *walk; /* all keys, from the first page on */
    struct buf parts;
    struct value *row;
};

/* ---- keys as writes that are to be completed ---- */

/* The key's columns into reader->row. False: it is none of this shape. */
static bool take_key(struct reader *reader, struct slice key) {
    const struct shape *shape = reader->shape;
    size_t colons = 0;
    for (size_t i = 0; i < key.len; i++)
        colons += key.data[i] == ':';
    if (shape->n_keys > 1 && colons != shape->n_keys - 1u) return false;
    if (key.len && memchr(key.data, '\0', key.len)) return false;
    for (uint16_t i = 0; i < shape->n_columns; i++)
        reader->row[i] = (struct value){.kind = VALUE_UNCHANGED};
    reader->parts.len = 0;
    buf_reserve(&reader->parts, key.len + 1); /* parts are no longer than they are in the key */
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        size_t start = reader->parts.len;
        if (key.len) shape_take_key(shape, &key, &reader->parts);
        reader->row[shape->keys[i]] = (struct value){.kind = VALUE_TEXT,
                                                     .data = reader->parts.data + start,
                                                     .len = (uint32_t)(reader->parts.len - start)};
    }
    return true;
}

/* As batch_put of a touched key: its rows are still to be read. */
static bool put_key(struct reader *reader, struct batch *batch, struct slice key) {
    struct write_stamp none = {0};
    if (!take_key(reader, key)) return false;
    batch_put(batch, key, &none, reader->row, NULL);
    batch->writes[batch->n_writes - 1].incomplete = true;
    return true;
}

static bool complete(struct reader *reader, struct batch *batch, struct error *err) {
    uint64_t rows = 0;
    return reader->source.ops->reread(reader->source.self, batch, &rows, err);
}

/* ---- the calls ---- */

static bool reader_moment(void *self, struct reader_moment *moment, struct error *err) {
    const struct reader *reader = self;
    return row_reader_moment(reader->conn, moment, err);
}

/* The source's chunks are as large as they are. */
static bool reader_page(void *self, uint32_t limit, struct batch **batch, struct error *err) {
    (void)limit;
    struct reader *reader = self;
    struct write_stamp none = {0};
    if (!reader->walk) {
        reader->walk = batch_create(BATCH_WALK, reader->shape, clock_mono_us());
        batch_set_walk(reader->walk, WALK_ALL, 0, NULL, &none);
    }
    struct batch *part = batch_create(BATCH_WRITES, reader->shape, clock_mono_us());
    bool read = reader->source.ops->walk(reader->source.self, reader->walk, part, err) &&
                complete(reader, part, err);
    if (read)
        *batch = part;
    else
        batch_destroy(&part);
    return read;
}

static uint64_t identity_of(const struct shape *shape, const struct write *write) {
    uint64_t hash = write->n_rows;
    for (size_t i = 0; i < (size_t)write->n_rows * shape->n_columns; i++) {
        const struct value *value = &write->row[i];
        bool text = value->kind == VALUE_TEXT;
        hash = XXH3_64bits_withSeed(text ? value->data : "", text ? value->len : 0,
                                    hash + value->kind);
    }
    return hash | 1;
}

static struct reader_row describe(const struct shape *shape, const struct write *write) {
    if (write->operation == WRITE_REMOVE || write->vanished) return (struct reader_row){0};
    return (struct reader_row){.identity = identity_of(shape, write), .in_flux = true};
}

/* A text that is no value of its parameter's type is none that a row could have; it spoils the query for all. */
static bool is_bad_text(const struct error *err) { return strstr(err->message, "(SQLSTATE 22"); }

static void add_write(struct batch *batch, struct slice key, const struct write *read) {
    struct write_stamp none = {0};
    if (!read || read->operation == WRITE_REMOVE || read->vanished) {
        batch_remove(batch, key, &none);
        return;
    }
    batch_copy(batch, read, &none);
}

/* keys[from, to), each as a write of `batch`, in their order. */
static bool find_range(struct reader *reader, const struct slice *keys, size_t from, size_t to,
                       struct batch *batch, struct reader_row *rows, struct error *err) {
    struct batch *part = batch_create(BATCH_WRITES, reader->shape, clock_mono_us());
    size_t *places = mem_calloc(to - from + 1, sizeof *places); /* + 1; 0: no such key can be */
    for (size_t i = from; i < to; i++) {
        if (put_key(reader, part, keys[i])) places[i - from] = part->n_writes;
    }
    bool read = complete(reader, part, err);
    for (size_t i = from; i < to && read; i++) {
        const struct write *write = places[i - from] ? &part->writes[places[i - from] - 1] : NULL;
        rows[i] = write ? describe(reader->shape, write) : (struct reader_row){0};
        add_write(batch, keys[i], write);
    }
    mem_free(places);
    batch_destroy(&part);
    if (read || !is_bad_text(err)) return read;
    if (to - from == 1) {
        rows[from] = (struct reader_row){0};
        add_write(batch, keys[from], NULL);
        return true;
    }
    size_t middle = from + (to - from) / 2;
    return find_range(reader, keys, from, middle, batch, rows, err) &&
           find_range(reader, keys, middle, to, batch, rows, err);
}

static bool reader_find(void *self, const struct slice *keys, size_t n, struct batch **batch,
                        struct reader_row *rows, struct error *err) {
    struct reader *reader = self;
    *batch = batch_create(BATCH_WRITES, reader->shape, clock_mono_us());
    if (n == 0 || find_range(reader, keys, 0, n, *batch, rows, err)) return true;
    batch_destroy(batch);
    return false;
}

static void reader_close(void *self) {
    struct reader *reader = self;
    if (reader->walk) reader->source.ops->forget(reader->source.self);
    batch_destroy(&reader->walk);
    reader->destroy_source(reader->source.self);
    PQfinish(reader->conn);
    shape_release(&reader->shape);
    buf_deinit(&reader->parts);
    mem_free(reader->row);
    mem_free(reader);
}

struct row_reader query_reader_create(const struct query_reader_config *config) {
    static const struct row_reader_ops ops = {
        .close = reader_close, .moment = reader_moment, .page = reader_page, .find = reader_find};
    struct reader *reader = mem_zalloc(sizeof *reader);
    reader->source = config->source;
    reader->destroy_source = config->destroy_source;
    reader->shape = config->shape;
    reader->conn = config->conn;
    reader->row = mem_calloc(reader->shape->n_columns, sizeof *reader->row);
    return (struct row_reader){.ops = &ops, .self = reader};
}
