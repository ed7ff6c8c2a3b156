#include "connectors/archive/vault.h"

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

struct vault {
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

struct vault *vault_create(const struct vault_config *config) {
    struct vault *vault = mem_zalloc(sizeof *vault);
    vault->path = mem_strdup(config->path);
    vault->segment_bytes = config->segment_bytes;
    vault->segment_age_s = config->segment_age_s;
    vault->folder = vault->segment = -1;
    vault->checksum = checksum_create();
    return vault;
}

static void forget(struct vault *vault) {
    if (vault->segment >= 0) close(vault->segment);
    if (vault->folder >= 0) close(vault->folder);
    vault->segment = vault->folder = -1;
    manifest_deinit(&vault->manifest);
    shape_release(&vault->shape);
    vault->pending.len = 0;
    vault->named_closed = 0;
    vault->has_manifest = false;
}

void vault_destroy(struct vault **vault) {
    struct vault *old = *vault;
    *vault = NULL;
    if (!old) return;
    forget(old);
    checksum_destroy(&old->checksum);
    buf_deinit(&old->pending);
    buf_deinit(&old->packed);
    mem_free(old->path);
    mem_free(old);
}

void vault_segment_name(char *name, uint64_t number, bool open) {
    snprintf(name, VAULT_NAME_MAX, "%012" PRIu64 ".ndjson.gz%s", number, open ? ".open" : "");
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

bool vault_read_manifest(const char *path, struct manifest *manifest, bool *absent,
                         struct error *err) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return file_error(path, "the folder", "open", err);
    bool ok = read_both(folder, path, manifest, absent, err);
    close(folder);
    return ok;
}

/* ---- going back to the last commit ---- */

static bool open_folder(struct vault *vault, struct error *err) {
    for (char *slash = vault->path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(vault->path, 0700);
        *slash = '/';
    }
    mkdir(vault->path, 0700);
    vault->folder = open(vault->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (vault->folder < 0) return file_error(vault->path, "the folder", "open", err);
    if (flock(vault->folder, LOCK_EX | LOCK_NB) == 0) return true;
    return error_set(err, ERROR_CONFLICT, true, "archive %s: another process writes it",
                     vault->path);
}

static bool check_identity(const struct vault *vault, const struct vault_identity *identity,
                           struct error *err) {
    const struct manifest *manifest = &vault->manifest;
    if (strcmp(manifest->table, identity->table) != 0)
        return error_set(err, ERROR_CONFLICT, false,
                         "archive %s is of %s, and this connector follows %s: name another path",
                         vault->path, manifest->table, identity->table);
    if (manifest->position.system_identifier != identity->system_identifier)
        return error_set(err, ERROR_CONFLICT, false,
                         "archive %s is of PostgreSQL system %" PRIu64 ", and this is %" PRIu64
                         ": another cluster. Correct database.url, or name another path",
                         vault->path, manifest->position.system_identifier,
                         identity->system_identifier);
    return true;
}

/* A file that is not closed: of a closed segment, whose renaming was interrupted; of the open one; of none, since nothing
 * that it holds was committed. */
static bool settle_file(const struct vault *vault, const char *name, uint64_t number,
                        struct error *err) {
    const struct manifest *manifest = &vault->manifest;
    char closed[VAULT_NAME_MAX];
    vault_segment_name(closed, number, false);
    if (number <= manifest->n_closed)
        return renameat(vault->folder, name, vault->folder, closed) == 0 ||
               file_error(vault->path, name, "rename", err);
    if (manifest->has_open && number == manifest->open.number) return true;
    return unlinkat(vault->folder, name, 0) == 0 || file_error(vault->path, name, "remove", err);
}

static bool settle_files(const struct vault *vault, struct error *err) {
    int fd = openat(vault->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (!listing) {
        file_error(vault->path, "the folder", "list", err);
        if (fd >= 0) close(fd);
        return false;
    }
    bool ok = true;
    const struct dirent *entry;
    while (ok && (entry = readdir(listing))) {
        uint64_t number = 0;
        char name[VAULT_NAME_MAX];
        if (sscanf(entry->d_name, "%" SCNu64, &number) != 1) continue;
        vault_segment_name(name, number, true);
        if (strcmp(entry->d_name, name) == 0) {
            ok = settle_file(vault, name, number, err);
            continue;
        }
        vault_segment_name(name, number, false);
        if (strcmp(entry->d_name, name) == 0 && number > vault->manifest.n_closed)
            ok = damaged(vault->path, name, "is not in the manifest", err);
    }
    closedir(listing);
    return ok;
}

static bool hash_file(struct vault *vault, int fd, uint64_t bytes, struct error *err) {
    checksum_reset(vault->checksum);
    for (uint64_t at = 0; at < bytes;) {
        size_t want = bytes - at < READ_BYTES ? (size_t)(bytes - at) : READ_BYTES;
        vault->packed.len = 0;
        ssize_t n = pread(fd, buf_reserve(&vault->packed, want), want, (off_t)at);
        if (n < 0) return file_error(vault->path, "a segment", "read", err);
        if (n == 0) break;
        checksum_add(vault->checksum, slice_make(vault->packed.data, (size_t)n));
        at += (uint64_t)n;
    }
    return true;
}

/* What was committed of the open segment becomes a closed one, at the next commit. */
static bool close_left_open(struct vault *vault, struct error *err) {
    struct manifest *manifest = &vault->manifest;
    if (!manifest->has_open) return true;
    char name[VAULT_NAME_MAX];
    vault_segment_name(name, manifest->open.number, true);
    int fd = openat(vault->folder, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return file_error(vault->path, name, "open", err);
    char hex[CHECKSUM_CHARS + 1];
    bool ok = hash_file(vault, fd, manifest->open.bytes, err);
    if (ok) checksum_hex(vault->checksum, hex);
    if (ok && strcmp(hex, manifest->open.sha256) != 0)
        ok = damaged(vault->path, name, "has not the checksum of the last commit", err);
    if (ok && (ftruncate(fd, (off_t)manifest->open.bytes) != 0 || fsync(fd) != 0))
        ok = file_error(vault->path, name, "cut", err);
    close(fd);
    if (!ok) return false;
    manifest_add(manifest, &manifest->open);
    manifest->has_open = false;
    return true;
}

static void begin_manifest(struct vault *vault, const struct vault_identity *identity) {
    struct manifest *manifest = &vault->manifest;
    snprintf(manifest->table, sizeof manifest->table, "%s", identity->table);
    manifest->position.system_identifier = identity->system_identifier;
}

bool vault_open(struct vault *vault, const struct vault_identity *identity, struct error *err) {
    forget(vault);
    bool absent = true;
    if (!open_folder(vault, err) ||
        !read_both(vault->folder, vault->path, &vault->manifest, &absent, err))
        return false;
    vault->has_manifest = !absent;
    if (absent)
        begin_manifest(vault, identity);
    else if (!check_identity(vault, identity, err))
        return false;
    vault->named_closed = vault->manifest.n_closed;
    if (!settle_files(vault, err) || !close_left_open(vault, err)) return false;
    /* Other keys are another table's: the position is void, and a load follows. */
    if (!shape_same_keys(vault->manifest.keys, identity->keys))
        vault->manifest.position =
            (struct change_position){.system_identifier = identity->system_identifier};
    snprintf(vault->manifest.keys, sizeof vault->manifest.keys, "%s", identity->keys);
    return true;
}

const struct manifest *vault_manifest(const struct vault *vault) { return &vault->manifest; }

/* ---- the open segment ---- */

static bool begin_segment(struct vault *vault, int64_t now_s, struct error *err) {
    struct manifest *manifest = &vault->manifest;
    ASSERT(vault->shape && vault->segment < 0);
    char name[VAULT_NAME_MAX];
    uint64_t number = manifest->n_closed + 1;
    vault_segment_name(name, number, true);
    vault->segment = openat(vault->folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (vault->segment < 0) return file_error(vault->path, name, "create", err);
    manifest->open = (struct segment){.number = number, .opened_s = now_s};
    manifest->has_open = true;
    checksum_reset(vault->checksum);
    vault->pending.len = 0;
    segment_write_header(&vault->pending, number, vault->shape);
    return true;
}

/* Compresses what is pending into the file; what a failure leaves behind is written over. */
static bool write_member(struct vault *vault, struct error *err) {
    struct segment *open = &vault->manifest.open;
    if (vault->pending.len == 0) return true;
    vault->packed.len = 0;
    gzip_append(&vault->packed, buf_slice(&vault->pending));
    for (size_t at = 0; at < vault->packed.len;) {
        ssize_t n = pwrite(vault->segment, vault->packed.data + at, vault->packed.len - at,
                           (off_t)(open->bytes + at));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(vault->path, "a segment", "write", err);
        at += (size_t)n;
    }
    checksum_add(vault->checksum, buf_slice(&vault->packed));
    open->bytes += vault->packed.len;
    vault->pending.len = 0;
    return true;
}

static bool write_synced(struct vault *vault, struct error *err) {
    if (!write_member(vault, err)) return false;
    if (fsync(vault->segment) != 0) return file_error(vault->path, "a segment", "sync", err);
    checksum_hex(vault->checksum, vault->manifest.open.sha256);
    return true;
}

/* The manifest names it from the next commit on. */
static bool close_segment(struct vault *vault, struct error *err) {
    if (!vault->manifest.has_open) return true;
    if (!write_synced(vault, err)) return false;
    close(vault->segment);
    vault->segment = -1;
    manifest_add(&vault->manifest, &vault->manifest.open);
    vault->manifest.has_open = false;
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

bool vault_reshape(struct vault *vault, const struct shape *shape, struct error *err) {
    if (vault->shape && same_shape(vault->shape, shape)) return true;
    if (!close_segment(vault, err)) return false;
    shape_release(&vault->shape);
    vault->shape = shape_create(shape->schema, shape->table, shape->n_columns, shape->columns,
                                shape->n_keys, shape->keys);
    return true;
}

bool vault_append(struct vault *vault, const struct vault_lines *lines, int64_t now_s,
                  struct error *err) {
    struct segment *open = &vault->manifest.open;
    if (lines->n == 0) return true;
    if (vault->manifest.has_open && vault->pending.len >= MEMBER_BYTES && !write_member(vault, err))
        return false;
    if (vault->manifest.has_open && open->bytes >= vault->segment_bytes &&
        !close_segment(vault, err))
        return false;
    if (!vault->manifest.has_open && !begin_segment(vault, now_s, err)) return false;
    if (open->lines == 0) open->first_lsn = lines->first_lsn;
    open->last_lsn = lines->last_lsn;
    open->lines += lines->n;
    buf_append_slice(&vault->pending, lines->text);
    return true;
}

/* ---- committing ---- */

static bool replace_file(struct vault *vault, const char *name, const struct buf *text,
                         struct error *err) {
    char beside[VAULT_NAME_MAX];
    snprintf(beside, sizeof beside, "%s.new", name);
    int fd = openat(vault->folder, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return file_error(vault->path, beside, "create", err);
    bool ok = true;
    for (size_t at = 0; at < text->len && ok;) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            ok = file_error(vault->path, beside, "write", err);
    }
    if (ok && fsync(fd) != 0) ok = file_error(vault->path, beside, "sync", err);
    close(fd);
    if (ok && renameat(vault->folder, beside, vault->folder, name) != 0)
        ok = file_error(vault->path, name, "replace", err);
    if (ok && fsync(vault->folder) != 0) ok = file_error(vault->path, "the folder", "sync", err);
    return ok;
}

/* Those that the manifest names from now on. An interruption is made good by vault_open. */
static bool rename_closed(struct vault *vault, struct error *err) {
    for (; vault->named_closed < vault->manifest.n_closed; vault->named_closed++) {
        char open[VAULT_NAME_MAX];
        char closed[VAULT_NAME_MAX];
        vault_segment_name(open, vault->named_closed + 1, true);
        vault_segment_name(closed, vault->named_closed + 1, false);
        if (renameat(vault->folder, open, vault->folder, closed) != 0)
            return file_error(vault->path, open, "rename", err);
    }
    return true;
}

static bool is_due(const struct vault *vault, int64_t now_s) {
    const struct segment *open = &vault->manifest.open;
    return vault->manifest.has_open &&
           (open->bytes >= vault->segment_bytes || now_s - open->opened_s >= vault->segment_age_s);
}

bool vault_commit(struct vault *vault, const struct change_position *position, int64_t now_s,
                  struct error *err) {
    struct manifest *manifest = &vault->manifest;
    if (vault->folder < 0)
        return error_set(err, ERROR_UNAVAILABLE, true, "archive %s is not open", vault->path);
    if (manifest->has_open && !write_synced(vault, err)) return false;
    if (is_due(vault, now_s) && !close_segment(vault, err)) return false;
    manifest->sequence++;
    manifest->position = *position;
    manifest->position.note = NULL; /* not ours to keep */
    bool head = vault->has_manifest && vault->named_closed == manifest->n_closed;
    struct buf text = {0};
    manifest_write(&text, manifest, head);
    bool ok = replace_file(vault, head ? "head" : "manifest", &text, err);
    buf_deinit(&text);
    if (ok && !head) {
        vault->has_manifest = true;
        ok = rename_closed(vault, err);
    }
    return ok;
}
