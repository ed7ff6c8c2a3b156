#include "connectors/archive/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "connectors/archive/checksum.h"
#include "connectors/archive/gzip.h"
#include "connectors/archive/segment.h"
#include "connectors/archive/vault.h"

enum { READ_BYTES = 64 * 1024, ARENA_BLOCK_BYTES = 64 * 1024 };

struct reader {
    const char *path;
    const struct archive_handler *handler;
    struct archive_sums *sums;
    struct arena *arena; /* of one record */
    struct buf bytes;
    struct buf text; /* lines, of which the last may be incomplete */
    /* Of the segment in hand. */
    char name[VAULT_NAME_MAX];
    const struct segment *segment;
    struct shape *shape;
    uint64_t lines;
    enum archive_flaw flaw; /* after a failure */
    archive_flawed *flawed; /* NULL: the first ends the reading */
    void *arg;
};

static bool file_error(struct reader *reader, const char *what, struct error *err) {
    reader->flaw = errno == ENOENT ? ARCHIVE_MISSING : ARCHIVE_DAMAGED;
    return error_set(err, errno == ENOENT ? ERROR_CONFLICT : ERROR_SYSTEM, false,
                     "archive %s: cannot %s segment %s: %s", reader->path, what, reader->name,
                     strerror(errno));
}

static bool damaged(struct reader *reader, const char *how, struct error *err) {
    reader->flaw = ARCHIVE_DAMAGED;
    return error_set(err, ERROR_CONFLICT, false,
                     "archive %s: segment %s is damaged: %s; nothing of it was taken, nor of what "
                     "follows",
                     reader->path, reader->name, how);
}

/* Gives each piece of the first `bytes` bytes to `take`. */
static bool each_piece(struct reader *reader, int fd,
                       bool (*take)(struct reader *, struct slice, void *, struct error *),
                       void *arg, struct error *err) {
    for (uint64_t at = 0; at < reader->segment->bytes;) {
        uint64_t left = reader->segment->bytes - at;
        reader->bytes.len = 0;
        char *to = buf_reserve(&reader->bytes, READ_BYTES);
        ssize_t n = pread(fd, to, left < READ_BYTES ? (size_t)left : READ_BYTES, (off_t)at);
        if (n < 0) return file_error(reader, "read", err);
        if (n == 0) {
            (void)!damaged(reader, "it is cut off", err);
            reader->flaw = ARCHIVE_TRUNCATED;
            return false;
        }
        if (!take(reader, slice_make(to, (size_t)n), arg, err)) return false;
        at += (uint64_t)n;
    }
    return true;
}

static bool add_to_checksum(struct reader *reader, struct slice piece, void *arg,
                            struct error *err) {
    (void)reader, (void)err;
    checksum_add(arg, piece);
    return true;
}

static bool check_sum(struct reader *reader, int fd, struct error *err) {
    struct checksum *checksum = checksum_create();
    char hex[CHECKSUM_CHARS + 1];
    bool ok = each_piece(reader, fd, add_to_checksum, checksum, err);
    checksum_hex(checksum, hex);
    checksum_destroy(&checksum);
    if (ok && strcmp(hex, reader->segment->sha256) != 0)
        ok = damaged(reader, "its checksum is not the manifest's", err);
    return ok;
}

static bool take_line(struct reader *reader, struct slice line, struct error *err) {
    const struct archive_handler *handler = reader->handler;
    if (!reader->shape) {
        uint64_t number;
        reader->shape = segment_read_header(line, &number);
        if (!reader->shape || number != reader->segment->number)
            return damaged(reader, "its first line tells no shape", err);
        return handler->shape(handler->self, reader->shape, err);
    }
    struct record record;
    arena_reset(reader->arena);
    if (!record_read(line, reader->shape, reader->arena, &record))
        return damaged(reader, "a line is no record", err);
    reader->lines++;
    return handler->record(handler->self, &record, err);
}

static bool take_text(struct reader *reader, struct slice piece, void *arg, struct error *err) {
    struct gunzip *gunzip = arg;
    if (!gunzip_feed(gunzip, piece, &reader->text))
        return damaged(reader, "it cannot be uncompressed", err);
    size_t start = 0;
    const char *end;
    while ((end = memchr(reader->text.data + start, '\n', reader->text.len - start))) {
        size_t len = (size_t)(end - reader->text.data) - start;
        if (!take_line(reader, slice_make(reader->text.data + start, len), err)) return false;
        start += len + 1;
    }
    buf_consume(&reader->text, start);
    return true;
}

static bool read_lines(struct reader *reader, int fd, struct error *err) {
    struct gunzip *gunzip = gunzip_create();
    reader->text.len = 0;
    reader->lines = 0;
    bool ok = each_piece(reader, fd, take_text, gunzip, err);
    if (ok &&
        (!gunzip_complete(gunzip) || reader->text.len || reader->lines != reader->segment->lines))
        ok = damaged(reader, "it has not the lines that the manifest tells of", err);
    gunzip_destroy(&gunzip);
    shape_release(&reader->shape);
    return ok;
}

/* One that was closed since the manifest was read has another name now. */
static int open_segment(struct reader *reader, int folder, bool open) {
    vault_segment_name(reader->name, reader->segment->number, open);
    int fd = openat(folder, reader->name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT) return fd;
    char other[VAULT_NAME_MAX];
    vault_segment_name(other, reader->segment->number, !open);
    fd = openat(folder, other, O_RDONLY | O_CLOEXEC);
    return fd;
}

static bool read_segment(struct reader *reader, int folder, const struct segment *segment,
                         bool open, struct error *err) {
    reader->segment = segment;
    int fd = open_segment(reader, folder, open);
    bool ok = fd >= 0 || file_error(reader, "open", err);
    ok = ok && check_sum(reader, fd, err) && read_lines(reader, fd, err);
    if (fd >= 0) close(fd);
    if (!ok && reader->flawed) reader->flawed(reader->arg, reader->name, reader->flaw, err);
    if (!ok) return reader->flawed != NULL;
    reader->sums->segments++;
    reader->sums->records += reader->lines;
    return true;
}

static bool read_all(struct reader *reader, const struct manifest *manifest, struct error *err) {
    int folder = open(reader->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return error_set(err, ERROR_SYSTEM, false, "archive %s: cannot open the folder: %s",
                         reader->path, strerror(errno));
    bool ok = reader->handler->begin(reader->handler->self, manifest, err);
    for (uint64_t i = 0; i < manifest->n_closed && ok; i++)
        ok = read_segment(reader, folder, &manifest->closed[i], false, err);
    if (ok && manifest->has_open) ok = read_segment(reader, folder, &manifest->open, true, err);
    close(folder);
    return ok;
}

static bool read_archive(struct reader *reader, struct error *err) {
    struct manifest manifest;
    bool absent;
    *reader->sums = (struct archive_sums){0};
    if (!vault_read_manifest(reader->path, &manifest, &absent, err)) return false;
    if (absent) {
        manifest_deinit(&manifest);
        return error_set(err, ERROR_NOT_FOUND, false, "%s is no archive: it has no manifest",
                         reader->path);
    }
    reader->arena = arena_create(ARENA_BLOCK_BYTES);
    bool ok = read_all(reader, &manifest, err);
    arena_destroy(&reader->arena);
    shape_release(&reader->shape);
    buf_deinit(&reader->bytes);
    buf_deinit(&reader->text);
    manifest_deinit(&manifest);
    return ok;
}

bool archive_read(const char *path, const struct archive_handler *handler,
                  struct archive_sums *sums, struct error *err) {
    struct reader reader = {.path = path, .handler = handler, .sums = sums};
    return read_archive(&reader, err);
}

/* ---- reading for nothing but its being readable ---- */

static bool pass_manifest(void *self, const struct manifest *manifest, struct error *err) {
    (void)self, (void)manifest, (void)err;
    return true;
}

/* As reader.h has it. NOLINTNEXTLINE(readability-non-const-parameter) */
static bool pass_shape(void *self, struct shape *shape, struct error *err) {
    (void)self, (void)shape, (void)err;
    return true;
}

static bool pass_record(void *self, const struct record *record, struct error *err) {
    (void)self, (void)record, (void)err;
    return true;
}

bool archive_examine(const char *path, archive_flawed *flawed, void *arg, struct archive_sums *sums,
                     struct error *err) {
    struct archive_handler handler = {
        .begin = pass_manifest, .shape = pass_shape, .record = pass_record};
    struct reader reader = {
        .path = path, .handler = &handler, .sums = sums, .flawed = flawed, .arg = arg};
    return read_archive(&reader, err);
}

const char *archive_flaw_name(enum archive_flaw flaw) {
    static const char *const names[N_ARCHIVE_FLAWS] = {[ARCHIVE_MISSING] = "missing",
                                                       [ARCHIVE_TRUNCATED] = "truncated",
                                                       [ARCHIVE_DAMAGED] = "damaged"};
    return names[flaw];
}
