#include "connectors/archive/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "connectors/archive/checksum.h"
#include "connectors/archive/gzip.h"
#include "connectors/archive/segment.h"

enum {
    MEMBER_BYTES = 8 * 1024 * 1024, /* of lines: then they are compressed and written */
    READ_BYTES = 256 * 1024,
    MANIFEST_FILE_MAX = 1024 * 1024 * 1024,
};

struct store {
    char *path;
    uint64_t segment_bytes;
    int64_t segment_age_s;
    int folder;               /* fd; locked */
    struct manifest manifest; /* with what is to be committed */
    uint64_t named_closed;    /* so many closed segments stand in the manifest's file */
    bool has_manifest;        /* that file exists */
    int segment;              /* fd of manifest.open */
    struct checksum *checksum;
    struct shape *shape;
    struct buf pending; /* lines that are not in the file yet */
    struct buf packed;
};

struct store *store_create(const struct store_config *config) {
    struct store *store = mem_zalloc(sizeof *store);
    store->path = mem_strdup(config->path);
    store->segment_bytes = config->segment_bytes;
    store->segment_age_s = config->segment_age_s;
    store->folder = store->segment = -1;
    store->checksum = checksum_create();
    return store;
}

static void forget(struct store *store) {
    if (store->segment >= 0) close(store->segment);
    if (store->folder >= 0) close(store->folder);
    store->segment = store->folder = -1;
    manifest_deinit(&store->manifest);
    shape_release(&store->shape);
    store->pending.len = 0;
    store->named_closed = 0;
    store->has_manifest = false;
}

void store_destroy(struct store **store) {
    struct store *old = *store;
    *store = NULL;
    if (!old) return;
    forget(old);
    checksum_destroy(&old->checksum);
    buf_deinit(&old->pending);
    buf_deinit(&old->packed);
    mem_free(old->path);
    mem_free(old);
}

void store_segment_name(char *name, uint64_t number, bool open) {
    snprintf(name, STORE_NAME_MAX, "%012" PRIu64 ".ndjson.gz%s", number, open ? ".open" : "");
}

static bool file_error(const char *path, const char *name, const char *what, struct error *err) {
    return error_set(err, ERROR_SYSTEM, true, "archive %s: cannot %s %s: %s", path, what, name,
                     strerror(errno));
}

static bool damaged(const char *path, const char *name, const char *how, struct error *err) {
    return error_set(
        err, ERROR_CONFLICT, false,
        "archive %s: %s %s: restore it from a copy, or move the folder away, and a new "
        "archive begins with a load",
        path, name, how);
}

/* ---- reading manifest and head ---- */

static bool read_whole(int folder, const char *path, const char *name, struct buf *text,
                       bool *absent, struct error *err) {
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    *absent = fd < 0 && errno == ENOENT;
    if (fd < 0) return *absent || file_error(path, name, "open", err);
    ssize_t n;
    while ((n = read(fd, buf_reserve(text, READ_BYTES), READ_BYTES)) > 0 &&
           text->len < MANIFEST_FILE_MAX)
        text->len += (size_t)n;
    if (n < 0) file_error(path, name, "read", err);
    close(fd);
    return n >= 0;
}

static bool read_one(int folder, const char *path, const char *name, struct manifest *manifest,
                     bool *absent, struct error *err) {
    struct buf text = {0};
    bool ok = read_whole(folder, path, name, &text, absent, err);
    if (ok && !*absent && !manifest_read(buf_slice(&text), manifest))
        ok = damaged(path, name, "is damaged", err);
    buf_deinit(&text);
    return ok;
}

/* The head, where it is of this manifest and later. */
static void take_head(struct manifest *manifest, const struct manifest *head) {
    if (head->n_closed != manifest->n_closed || head->sequence <= manifest->sequence) return;
    manifest->sequence = head->sequence;
    manifest->position = head->position;
    manifest->has_open = head->has_open;
    manifest->open = head->open;
    memcpy(manifest->keys, head->keys, sizeof manifest->keys);
}

static bool read_both(int folder, const char *path, struct manifest *manifest, bool *absent,
                      struct error *err) {
    struct manifest head = {0};
    bool no_head;
    *manifest = (struct manifest){0};
    /* The head first: a manifest that replaces it meanwhile makes it stale, and never the other way round. */
    bool ok = read_one(folder, path, "head", &head, &no_head, err) &&
              read_one(folder, path, "manifest", manifest, absent, err);
    if (ok && manifest->n_listed != manifest->n_closed)
        ok = damaged(path, "manifest", "is incomplete", err);
    if (ok && !*absent && !no_head) take_head(manifest, &head);
    manifest_deinit(&head);
    if (!ok) manifest_deinit(manifest);
    return ok;
}

bool store_read_manifest(const char *path, struct manifest *manifest, bool *absent,
                         struct error *err) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return file_error(path, "the folder", "open", err);
    bool ok = read_both(folder, path, manifest, absent, err);
    close(folder);
    return ok;
}

/* ---- going back to the last commit ---- */

static bool open_folder(struct store *store, struct error *err) {
    for (char *slash = store->path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(store->path, 0700);
        *slash = '/';
    }
    mkdir(store->path, 0700);
    store->folder = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->folder < 0) return file_error(store->path, "the folder", "open", err);
    if (flock(store->folder, LOCK_EX | LOCK_NB) == 0) return true;
    return error_set(err, ERROR_CONFLICT, true, "archive %s: another process writes it",
                     store->path);
}

static bool check_identity(const struct store *store, const struct store_identity *identity,
                           struct error *err) {
    const struct manifest *manifest = &store->manifest;
    if (strcmp(manifest->table, identity->table) != 0)
        return error_set(err, ERROR_CONFLICT, false,
                         "archive %s is of %s, and this connector follows %s: name another path",
                         store->path, manifest->table, identity->table);
    if (manifest->position.system_identifier != identity->system_identifier)
        return error_set(err, ERROR_CONFLICT, false,
                         "archive %s is of PostgreSQL system %" PRIu64 ", and this is %" PRIu64
                         ": another cluster. Correct database.url, or name another path",
                         store->path, manifest->position.system_identifier,
                         identity->system_identifier);
    return true;
}

/* A file that is not closed: of a closed segment, whose renaming was interrupted; of the open one; of none, since nothing
 * that it holds was committed. */
static bool settle_file(const struct store *store, const char *name, uint64_t number,
                        struct error *err) {
    const struct manifest *manifest = &store->manifest;
    char closed[STORE_NAME_MAX];
    store_segment_name(closed, number, false);
    if (number <= manifest->n_closed)
        return renameat(store->folder, name, store->folder, closed) == 0 ||
               file_error(store->path, name, "rename", err);
    if (manifest->has_open && number == manifest->open.number) return true;
    return unlinkat(store->folder, name, 0) == 0 || file_error(store->path, name, "remove", err);
}

static bool settle_files(const struct store *store, struct error *err) {
    int fd = openat(store->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (!listing) {
        file_error(store->path, "the folder", "list", err);
        if (fd >= 0) close(fd);
        return false;
    }
    bool ok = true;
    const struct dirent *entry;
    while (ok && (entry = readdir(listing))) {
        uint64_t number = 0;
        char name[STORE_NAME_MAX];
        if (sscanf(entry->d_name, "%" SCNu64, &number) != 1) continue;
        store_segment_name(name, number, true);
        if (strcmp(entry->d_name, name) == 0) {
            ok = settle_file(store, name, number, err);
            continue;
        }
        store_segment_name(name, number, false);
        if (strcmp(entry->d_name, name) == 0 && number > store->manifest.n_closed)
            ok = damaged(store->path, name, "is not in the manifest", err);
    }
    closedir(listing);
    return ok;
}

static bool hash_file(struct store *store, int fd, uint64_t bytes, struct error *err) {
    checksum_reset(store->checksum);
    for (uint64_t at = 0; at < bytes;) {
        size_t want = bytes - at < READ_BYTES ? (size_t)(bytes - at) : READ_BYTES;
        store->packed.len = 0;
        ssize_t n = pread(fd, buf_reserve(&store->packed, want), want, (off_t)at);
        if (n < 0) return file_error(store->path, "a segment", "read", err);
        if (n == 0) break;
        checksum_add(store->checksum, slice_make(store->packed.data, (size_t)n));
        at += (uint64_t)n;
    }
    return true;
}

/* What was committed of the open segment becomes a closed one, at the next commit. */
static bool close_left_open(struct store *store, struct error *err) {
    struct manifest *manifest = &store->manifest;
    if (!manifest->has_open) return true;
    char name[STORE_NAME_MAX];
    store_segment_name(name, manifest->open.number, true);
    int fd = openat(store->folder, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return file_error(store->path, name, "open", err);
    char hex[CHECKSUM_CHARS + 1];
    bool ok = hash_file(store, fd, manifest->open.bytes, err);
    if (ok) checksum_hex(store->checksum, hex);
    if (ok && strcmp(hex, manifest->open.sha256) != 0)
        ok = damaged(store->path, name, "has not the checksum of the last commit", err);
    if (ok && (ftruncate(fd, (off_t)manifest->open.bytes) != 0 || fsync(fd) != 0))
        ok = file_error(store->path, name, "cut", err);
    close(fd);
    if (!ok) return false;
    manifest_add(manifest, &manifest->open);
    manifest->has_open = false;
    return true;
}

static void begin_manifest(struct store *store, const struct store_identity *identity) {
    struct manifest *manifest = &store->manifest;
    snprintf(manifest->table, sizeof manifest->table, "%s", identity->table);
    manifest->position.system_identifier = identity->system_identifier;
}

bool store_open(struct store *store, const struct store_identity *identity, struct error *err) {
    forget(store);
    bool absent = true;
    if (!open_folder(store, err) ||
        !read_both(store->folder, store->path, &store->manifest, &absent, err))
        return false;
    store->has_manifest = !absent;
    if (absent)
        begin_manifest(store, identity);
    else if (!check_identity(store, identity, err))
        return false;
    store->named_closed = store->manifest.n_closed;
    if (!settle_files(store, err) || !close_left_open(store, err)) return false;
    /* Keys of another form are another table's: the position is void, and a load follows. */
    if (strcmp(store->manifest.keys, identity->keys) != 0) {
        snprintf(store->manifest.keys, sizeof store->manifest.keys, "%s", identity->keys);
        store->manifest.position =
            (struct change_position){.system_identifier = identity->system_identifier};
    }
    return true;
}

const struct manifest *store_manifest(const struct store *store) { return &store->manifest; }

/* ---- the open segment ---- */

static bool begin_segment(struct store *store, int64_t now_s, struct error *err) {
    struct manifest *manifest = &store->manifest;
    ASSERT(store->shape && store->segment < 0);
    char name[STORE_NAME_MAX];
    uint64_t number = manifest->n_closed + 1;
    store_segment_name(name, number, true);
    store->segment = openat(store->folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (store->segment < 0) return file_error(store->path, name, "create", err);
    manifest->open = (struct segment){.number = number, .opened_s = now_s};
    manifest->has_open = true;
    checksum_reset(store->checksum);
    store->pending.len = 0;
    segment_write_header(&store->pending, number, store->shape);
    return true;
}

/* Compresses what is pending into the file; what a failure leaves behind is written over. */
static bool write_member(struct store *store, struct error *err) {
    struct segment *open = &store->manifest.open;
    if (store->pending.len == 0) return true;
    store->packed.len = 0;
    gzip_append(&store->packed, buf_slice(&store->pending));
    for (size_t at = 0; at < store->packed.len;) {
        ssize_t n = pwrite(store->segment, store->packed.data + at, store->packed.len - at,
                           (off_t)(open->bytes + at));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(store->path, "a segment", "write", err);
        at += (size_t)n;
    }
    checksum_add(store->checksum, buf_slice(&store->packed));
    open->bytes += store->packed.len;
    store->pending.len = 0;
    return true;
}

static bool write_synced(struct store *store, struct error *err) {
    if (!write_member(store, err)) return false;
    if (fsync(store->segment) != 0) return file_error(store->path, "a segment", "sync", err);
    checksum_hex(store->checksum, store->manifest.open.sha256);
    return true;
}

/* The manifest names it from the next commit on. */
static bool close_segment(struct store *store, struct error *err) {
    if (!store->manifest.has_open) return true;
    if (!write_synced(store, err)) return false;
    close(store->segment);
    store->segment = -1;
    manifest_add(&store->manifest, &store->manifest.open);
    store->manifest.has_open = false;
    return true;
}

static bool same_shape(const struct shape *a, const struct shape *b) {
    struct buf texts[2] = {0};
    segment_write_header(&texts[0], 0, a);
    segment_write_header(&texts[1], 0, b);
    bool same = slice_equal(buf_slice(&texts[0]), buf_slice(&texts[1]));
    buf_deinit(&texts[0]);
    buf_deinit(&texts[1]);
    return same;
}

bool store_reshape(struct store *store, const struct shape *shape, struct error *err) {
    if (store->shape && same_shape(store->shape, shape)) return true;
    if (!close_segment(store, err)) return false;
    shape_release(&store->shape);
    store->shape = shape_create(shape->schema, shape->table, shape->n_columns, shape->columns,
                                shape->n_keys, shape->keys);
    return true;
}

bool store_append(struct store *store, const struct store_lines *lines, int64_t now_s,
                  struct error *err) {
    struct segment *open = &store->manifest.open;
    if (lines->n == 0) return true;
    if (store->manifest.has_open && store->pending.len >= MEMBER_BYTES && !write_member(store, err))
        return false;
    if (store->manifest.has_open && open->bytes >= store->segment_bytes &&
        !close_segment(store, err))
        return false;
    if (!store->manifest.has_open && !begin_segment(store, now_s, err)) return false;
    if (open->lines == 0) open->first_lsn = lines->first_lsn;
    open->last_lsn = lines->last_lsn;
    open->lines += lines->n;
    buf_append_slice(&store->pending, lines->text);
    return true;
}

/* ---- committing ---- */

static bool replace_file(struct store *store, const char *name, const struct buf *text,
                         struct error *err) {
    char beside[STORE_NAME_MAX];
    snprintf(beside, sizeof beside, "%s.new", name);
    int fd = openat(store->folder, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return file_error(store->path, beside, "create", err);
    bool ok = true;
    for (size_t at = 0; at < text->len && ok;) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            ok = file_error(store->path, beside, "write", err);
    }
    if (ok && fsync(fd) != 0) ok = file_error(store->path, beside, "sync", err);
    close(fd);
    if (ok && renameat(store->folder, beside, store->folder, name) != 0)
        ok = file_error(store->path, name, "replace", err);
    if (ok && fsync(store->folder) != 0) ok = file_error(store->path, "the folder", "sync", err);
    return ok;
}

/* Those that the manifest names from now on. An interruption is made good by store_open. */
static bool rename_closed(struct store *store, struct error *err) {
    for (; store->named_closed < store->manifest.n_closed; store->named_closed++) {
        char open[STORE_NAME_MAX];
        char closed[STORE_NAME_MAX];
        store_segment_name(open, store->named_closed + 1, true);
        store_segment_name(closed, store->named_closed + 1, false);
        if (renameat(store->folder, open, store->folder, closed) != 0)
            return file_error(store->path, open, "rename", err);
    }
    return true;
}

static bool is_due(const struct store *store, int64_t now_s) {
    const struct segment *open = &store->manifest.open;
    return store->manifest.has_open &&
           (open->bytes >= store->segment_bytes || now_s - open->opened_s >= store->segment_age_s);
}

bool store_commit(struct store *store, const struct change_position *position, int64_t now_s,
                  struct error *err) {
    struct manifest *manifest = &store->manifest;
    if (store->folder < 0)
        return error_set(err, ERROR_UNAVAILABLE, true, "archive %s is not open", store->path);
    if (manifest->has_open && !write_synced(store, err)) return false;
    if (is_due(store, now_s) && !close_segment(store, err)) return false;
    manifest->sequence++;
    manifest->position = *position;
    manifest->position.note = NULL; /* not ours to keep */
    bool head = store->has_manifest && store->named_closed == manifest->n_closed;
    struct buf text = {0};
    manifest_write(&text, manifest, head);
    bool ok = replace_file(store, head ? "head" : "manifest", &text, err);
    buf_deinit(&text);
    if (ok && !head) {
        store->has_manifest = true;
        ok = rename_closed(store, err);
    }
    return ok;
}
