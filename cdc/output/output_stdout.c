/* Events as JSON lines: {"topic":...,"key":...,"value":...,"headers":{...}}. The slot's confirmed position is the
 * only one: after a crash the tail may be printed again. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "cdc/output/output.h"

enum {
    PENDING_MAX_BYTES = 4 * 1024 * 1024,
    CHUNK_BYTES = 4096 /* PIPE_BUF: what poll promises room for */
};

struct output_stdout {
    int fd;
    struct buf pending;     /* lines that the reader has not taken yet */
    uint64_t committed_lsn; /* end of the last transaction in `pending` */
    uint64_t confirmed_lsn; /* everything before it was taken */
    bool attached;          /* this process has had the slot */
    bool loaded;            /* and is past the initial snapshot */
    struct topic *topics;
};

struct topic {
    struct topic *next;
    struct buf head; /* {"topic":"...","key": */
};

static void *create(const struct publisher_config *config, const struct publisher_deps *deps,
                    struct error *err) {
    (void)deps;
    (void)err;
    struct output_stdout *self = mem_zalloc(sizeof *self);
    self->fd = config->output_fd;
    return self;
}

static void destroy(void *arg) {
    struct output_stdout *self = arg;
    for (struct topic *topic = self->topics; topic;) {
        struct topic *next = topic->next;
        buf_deinit(&topic->head);
        mem_free(topic);
        topic = next;
    }
    buf_deinit(&self->pending);
    mem_free(self);
}

static bool prepare(void *arg, bool slot_exists, struct change_position *position,
                    struct error *err) {
    const struct output_stdout *self = arg;
    (void)err;
    /* A new process has the slot alone to tell it by. */
    *position =
        (struct change_position){.snapshot_done = self->attached ? self->loaded : slot_exists};
    if (self->attached && self->loaded) position->end_lsn = self->confirmed_lsn;
    return true;
}

/* The slot is the position, and is judged by itself. */
static bool peek(void *arg, struct change_position *position, struct error *err) {
    return prepare(arg, true, position, err);
}

static bool reset(void *arg, const struct change_position *position, struct error *err) {
    (void)arg;
    (void)position;
    (void)err;
    return true;
}

static bool started(void *arg, const struct feed_identity *identity, struct error *err) {
    (void)err;
    struct output_stdout *self = arg;
    if (!self->loaded) self->confirmed_lsn = self->committed_lsn = identity->slot_lsn;
    self->attached = true;
    if (!identity->slot_created) self->loaded = true;
    return true;
}

/* Takes as many bytes as go without blocking. */
static bool drain(struct output_stdout *self, struct error *err) {
    size_t done = 0;
    while (done < self->pending.len) {
        struct pollfd fd = {.fd = self->fd, .events = POLLOUT};
        if (poll(&fd, 1, 0) <= 0) break;
        size_t chunk = self->pending.len - done;
        if (chunk > CHUNK_BYTES) chunk = CHUNK_BYTES;
        ssize_t n = write(self->fd, self->pending.data + done, chunk);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n < 0)
            return error_set(err, ERROR_SYSTEM, false, "writing events to standard output: %s",
                             strerror(errno));
        done += (size_t)n;
    }
    buf_consume(&self->pending, done);
    if (self->pending.len == 0) self->confirmed_lsn = self->committed_lsn;
    return true;
}

static void ended(void *arg) {
    struct output_stdout *self = arg;
    drain(self, NULL);
    self->pending.len = 0; /* not confirmed, and so it comes again */
    self->committed_lsn = self->confirmed_lsn;
}

static void *topic(void *arg, const char *name, const struct topic_kind *kind, struct error *err) {
    (void)kind;
    (void)err;
    struct output_stdout *self = arg;
    struct topic *made = mem_zalloc(sizeof *made);
    buf_append_text(&made->head, "{\"topic\":");
    json_append_string(&made->head, slice_from(name));
    buf_append_text(&made->head, ",\"key\":");
    made->next = self->topics;
    self->topics = made;
    return made;
}

static void append_json(struct buf *out, struct slice json) {
    if (json.data)
        buf_append_slice(out, json);
    else
        buf_append_text(out, "null");
}

/* What is JSON stands as it is, in one line: between its tokens a newline is as good as a space. Other text is a string, and
 * what is none its base64. */
static void append_foreign(struct buf *out, struct slice bytes) {
    size_t before = out->len;
    size_t flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL;
    json_t *json = bytes.data ? json_loadb(bytes.data, bytes.len, flags, NULL) : NULL;
    json_t *text = bytes.data && !json ? json_stringn(bytes.data, bytes.len) : NULL;
    if (text) {
        json_append_string(out, bytes);
    } else if (bytes.data && !json) {
        buf_append_char(out, '"');
        base64_append(out, bytes.data, bytes.len);
        buf_append_char(out, '"');
    } else {
        append_json(out, bytes);
    }
    for (size_t i = before; json && i < out->len; i++) {
        if (out->data[i] == '\n' || out->data[i] == '\r') out->data[i] = ' ';
    }
    json_decref(json);
    json_decref(text);
}

static enum write_result write_record(void *arg, const struct record *record, struct error *err) {
    (void)err;
    struct output_stdout *self = arg;
    const struct topic *to = record->topic;
    struct buf *out = &self->pending;
    buf_append_slice(out, buf_slice(&to->head));
    void (*append)(struct buf * out, struct slice bytes) =
        record->foreign ? append_foreign : append_json;
    append(out, record->key);
    buf_append_text(out, ",\"value\":");
    append(out, record->value);
    buf_append_text(out, ",\"headers\":{");
    for (unsigned i = 0; i < record->n_headers; i++) {
        if (i) buf_append_char(out, ',');
        json_append_string(out, slice_from(record->headers[i].name));
        buf_append_char(out, ':');
        json_append_string(out, record->headers[i].value);
    }
    buf_append_text(out, "}}\n");
    return WRITE_DONE;
}

static bool commit(void *arg, const struct change_position *position, int64_t now_us,
                   struct error *err) {
    (void)now_us;
    struct output_stdout *self = arg;
    self->committed_lsn = position->end_lsn;
    self->loaded = true;
    return drain(self, err);
}

static bool progress(void *arg, uint64_t end_lsn, int64_t now_us, struct error *err) {
    (void)now_us;
    struct output_stdout *self = arg;
    self->loaded = true;
    if (self->pending.len || end_lsn <= self->committed_lsn) return true;
    self->committed_lsn = end_lsn;
    return drain(self, err);
}

/* In the middle of a transaction too: a long one streams out, and is confirmed only by its end. */
static bool tick(void *arg, int64_t now_us, struct error *err) {
    (void)now_us;
    struct output_stdout *self = arg;
    if (self->pending.len == 0) return true;
    return drain(self, err);
}

static bool ready(void *arg) {
    const struct output_stdout *self = arg;
    return self->pending.len < PENDING_MAX_BYTES;
}

static uint64_t confirmed_lsn(void *arg) {
    const struct output_stdout *self = arg;
    return self->confirmed_lsn;
}

static bool settled(void *arg) {
    const struct output_stdout *self = arg;
    return self->pending.len == 0;
}

static void status(void *arg, json_t *into) {
    (void)arg;
    json_object_set_new(into, "delivery", json_string("at-least-once"));
}

const struct output_ops output_stdout = {
    .name = "stdout",
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .peek = peek,
    .reset = reset,
    .started = started,
    .ended = ended,
    .topic = topic,
    .write = write_record,
    .commit = commit,
    .progress = progress,
    .tick = tick,
    .ready = ready,
    .confirmed_lsn = confirmed_lsn,
    .settled = settled,
    .status = status,
};
