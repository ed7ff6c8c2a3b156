#include "connectors/runtime/deadletter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/document/document.h"
#include "connectors/runtime/letter_topic.h"

struct deadletters {
    char *path;
    int fd;
    uint64_t size; /* of the file */
    uint64_t max_bytes;
    struct letter_topic *topic; /* NULL: the file is where they go */
    struct buf pending;
};

static bool file_error(const char *path, const char *what, struct error *err) {
    return error_set(err, ERROR_SYSTEM, errno == ENOSPC || errno == EDQUOT,
                     "dead letters: %s: cannot %s it: %s", path, what, strerror(errno));
}

static bool open_file(struct deadletters *letters, struct error *err) {
    letters->fd = open(letters->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (letters->fd < 0) return file_error(letters->path, "open", err);
    off_t size = lseek(letters->fd, 0, SEEK_END);
    letters->size = size > 0 ? (uint64_t)size : 0;
    char last = '\n';
    if (size > 0 && pread(letters->fd, &last, 1, size - 1) == 1 && last != '\n')
        buf_append_char(&letters->pending, '\n');
    return true;
}

struct deadletters *deadletters_create(const char *path, uint64_t max_bytes, struct error *err) {
    struct deadletters *letters = mem_zalloc(sizeof *letters);
    letters->path = mem_strdup(path);
    letters->max_bytes = max_bytes;
    if (!open_file(letters, err)) deadletters_destroy(&letters);
    return letters;
}

void deadletters_to_topic(struct deadletters *letters, struct letter_topic **topic) {
    letters->topic = *topic;
    *topic = NULL;
}

void deadletters_destroy(struct deadletters **letters) {
    struct deadletters *old = *letters;
    *letters = NULL;
    if (!old) return;
    if (old->fd >= 0) close(old->fd);
    letter_topic_destroy(&old->topic);
    buf_deinit(&old->pending);
    mem_free(old->path);
    mem_free(old);
}

static void append_time(struct buf *out, int64_t wall_us) {
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(out, "\"%s.%03dZ\"", stamp, (int)(wall_us / 1000 % 1000));
}

void deadletters_add(struct deadletters *letters, const char *connector, const struct batch *batch,
                     const struct write *write, int64_t now_wall_us) {
    struct buf *out = &letters->pending;
    buf_append_text(out, "{\"time\":");
    append_time(out, now_wall_us);
    buf_append_text(out, ",\"connector\":");
    json_append_string(out, slice_from(connector));
    buf_append_text(out, ",\"schema\":");
    json_append_string(out, slice_from(batch->shape->schema));
    buf_append_text(out, ",\"table\":");
    json_append_string(out, slice_from(batch->shape->table));
    buf_append_text(out, ",\"id\":");
    json_append_string(out, write->key);
    buf_printf(out, ",\"operation\":\"%s\",\"version\":%" PRIu64 ",\"lsn\":\"" LSN_FMT "\"",
               write->operation == WRITE_REMOVE ? "delete" : "index", write->stamp.version,
               LSN_ARG(write->stamp.version));
    buf_printf(out, ",\"status\":%d,\"cause\":%s,\"document\":", write->status,
               write->cause ? write->cause : "null");
    if (write->operation == WRITE_REMOVE)
        buf_append_text(out, "null");
    else
        document_append(out, batch->shape, write->row);
    buf_append_text(out, "}\n");
}

static bool rotate(struct deadletters *letters, struct error *err) {
    char *older = mem_printf("%s.1", letters->path);
    bool moved = rename(letters->path, older) == 0 || file_error(letters->path, "rename", err);
    mem_free(older);
    if (!moved) return false;
    close(letters->fd);
    return open_file(letters, err);
}

/* False: there is no such file, or *err. */
static bool set_aside(struct deadletters *letters, const char *suffix, const char *path,
                      struct error *err) {
    char *from = mem_printf("%s%s", letters->path, suffix);
    bool moved = rename(from, path) == 0;
    if (!moved && errno != ENOENT) file_error(from, "rename", err);
    mem_free(from);
    return moved;
}

bool deadletters_take(struct deadletters *letters, enum deadletters_stage stage, char **path,
                      struct error *err) {
    *path = NULL;
    char *aside = mem_printf("%s.retry", letters->path);
    struct error cause = {0};
    bool there = false;
    if (stage == LETTERS_LEFT) there = access(aside, F_OK) == 0;
    if (stage == LETTERS_OLDER) there = set_aside(letters, ".1", aside, &cause);
    if (stage == LETTERS_NEWER && letters->size) {
        there = set_aside(letters, "", aside, &cause);
        if (there) {
            close(letters->fd);
            if (!open_file(letters, &cause)) letters->fd = -1; /* deadletters_sync tries again */
        }
    }
    if (stage == LETTERS_TOPIC && letters->topic) {
        bool fetched = letter_topic_fetch(letters->topic, aside, &there, &cause);
        if (!fetched || !there) unlink(aside); /* what it has of others' stays in the topic */
    }
    if (there)
        *path = aside;
    else
        mem_free(aside);
    if (cause.code == ERROR_NONE || there) return true;
    *err = cause;
    return false;
}

bool deadletters_done(struct deadletters *letters, struct error *err) {
    char *aside = mem_printf("%s.retry", letters->path);
    bool removed = unlink(aside) == 0 || errno == ENOENT || file_error(aside, "remove", err);
    mem_free(aside);
    return removed;
}

bool deadletters_sync(struct deadletters *letters, struct error *err) {
    if (letters->pending.len == 0) return true;
    if (letters->topic) {
        bool sent = letter_topic_send(letters->topic, buf_slice(&letters->pending), err);
        if (sent) letters->pending.len = 0;
        return sent;
    }
    if (letters->fd < 0 && !open_file(letters, err)) return false;
    if (letters->size && letters->size + letters->pending.len > letters->max_bytes &&
        !rotate(letters, err))
        return false;
    while (letters->pending.len) {
        ssize_t n = write(letters->fd, letters->pending.data, letters->pending.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(letters->path, "write", err);
        letters->size += (uint64_t)n;
        buf_consume(&letters->pending, (size_t)n);
    }
    return fsync(letters->fd) == 0 || file_error(letters->path, "sync", err);
}
