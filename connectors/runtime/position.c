#include "connectors/runtime/position.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"

/*   freshet-position 1
 *   table=public.users
 *   keys=id
 *   target=cboL9iXCTCGexwViuS6HUw
 *   system=7301234567890123456
 *   end_lsn=16/B374D848
 *   snapshot_done=1
 *   timeline=2
 *   timeline_lsn=16/A0000000
 *   last_end_lsn=16/B374D848
 *   note=...                  of a load that is under way
 *   checksum=6c1e...          of all lines above */
static const char first_line[] = "freshet-position 1\n";

/* Names may hold anything; a line may not hold a newline. */
static void append_line(struct buf *out, const char *name, const char *text) {
    buf_append_text(out, name);
    buf_append_char(out, '=');
    for (const char *c = text; *c; c++)
        buf_append_char(out, *c == '\n' ? ' ' : *c);
    buf_append_char(out, '\n');
}

static uint64_t checksum(const char *data, size_t len) {
    return XXH3_64bits_withSeed(data, len, 0);
}

void position_write(struct buf *out, const struct position_record *record) {
    size_t start = out->len;
    buf_append_text(out, first_line);
    append_line(out, "table", record->table);
    append_line(out, "keys", record->keys);
    append_line(out, "target", record->target);
    buf_printf(out, "system=%" PRIu64 "\nend_lsn=" LSN_FMT "\nsnapshot_done=%d\n",
               record->position.system_identifier, LSN_ARG(record->position.end_lsn),
               record->position.snapshot_done);
    buf_printf(out, "timeline=%" PRIu32 "\ntimeline_lsn=" LSN_FMT "\nlast_end_lsn=" LSN_FMT "\n",
               record->position.timeline, LSN_ARG(record->position.timeline_lsn),
               LSN_ARG(record->position.last_end_lsn));
    if (record->note[0]) append_line(out, "note", record->note);
    buf_printf(out, "checksum=%016" PRIx64 "\n", checksum(out->data + start, out->len - start));
}

/* Takes "name=value\n" off the front; the value goes into `value`, which has `size` bytes. */
static bool take_line(struct slice *text, const char *name, char *value, size_t size) {
    size_t name_len = strlen(name);
    if (text->len <= name_len || memcmp(text->data, name, name_len) != 0) return false;
    if (text->data[name_len] != '=') return false;
    const char *start = text->data + name_len + 1;
    const char *end = memchr(start, '\n', text->len - name_len - 1);
    if (!end || (size_t)(end - start) >= size || memchr(start, '\0', (size_t)(end - start)))
        return false;
    memcpy(value, start, (size_t)(end - start));
    value[end - start] = '\0';
    *text = slice_make(end + 1, text->len - (size_t)(end + 1 - text->data));
    return true;
}

static bool parse_u64(const char *text, uint64_t *value) {
    if (*text < '0' || *text > '9') return false;
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool checksum_fits(struct slice text, struct slice rest) {
    char line[32];
    if (!take_line(&rest, "checksum", line, sizeof line) || rest.len != 0) return false;
    char expected[32];
    size_t body = text.len - strlen("checksum=0123456789abcdef\n");
    snprintf(expected, sizeof expected, "%016" PRIx64, checksum(text.data, body));
    return strcmp(line, expected) == 0;
}

/* Files of older Freshets do not tell of it: nothing is known then. */
static bool take_history(struct slice *rest, struct change_position *position) {
    char timeline[32];
    char began[32];
    char last[32];
    uint64_t number;
    if (!take_line(rest, "timeline", timeline, sizeof timeline)) return true;
    if (!take_line(rest, "timeline_lsn", began, sizeof began) ||
        !take_line(rest, "last_end_lsn", last, sizeof last) || !parse_u64(timeline, &number) ||
        number > UINT32_MAX)
        return false;
    position->timeline = (uint32_t)number;
    return lsn_parse(began, &position->timeline_lsn) && lsn_parse(last, &position->last_end_lsn);
}

bool position_read(struct slice text, struct position_record *record) {
    *record = (struct position_record){0};
    struct slice rest = text;
    size_t head = sizeof first_line - 1;
    if (text.len > POSITION_FILE_MAX || text.len < head) return false;
    if (memcmp(text.data, first_line, head) != 0) return false;
    rest = slice_make(text.data + head, text.len - head);
    char system[32];
    char lsn[32];
    char done[4];
    if (!take_line(&rest, "table", record->table, sizeof record->table) ||
        !take_line(&rest, "keys", record->keys, sizeof record->keys) ||
        !take_line(&rest, "target", record->target, sizeof record->target) ||
        !take_line(&rest, "system", system, sizeof system) ||
        !take_line(&rest, "end_lsn", lsn, sizeof lsn) ||
        !take_line(&rest, "snapshot_done", done, sizeof done) ||
        !take_history(&rest, &record->position))
        return false;
    if (!take_line(&rest, "note", record->note, sizeof record->note)) record->note[0] = '\0';
    if (!checksum_fits(text, rest)) return false;
    if (!parse_u64(system, &record->position.system_identifier)) return false;
    if (!lsn_parse(lsn, &record->position.end_lsn)) return false;
    record->position.snapshot_done = done[0] == '1';
    return strcmp(done, "0") == 0 || strcmp(done, "1") == 0;
}

static bool file_error(const char *path, const char *what, struct error *err) {
    return error_set(err, ERROR_SYSTEM, errno == ENOSPC || errno == EDQUOT || errno == EINTR,
                     "%s: cannot %s it: %s", path, what, strerror(errno));
}

bool position_load(const char *path, struct position_record *record, enum position_state *state,
                   struct error *err) {
    *record = (struct position_record){0};
    *state = POSITION_ABSENT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? true : file_error(path, "open", err);
    char text[POSITION_FILE_MAX + 1];
    ssize_t len = read(fd, text, sizeof text);
    if (len < 0) file_error(path, "read", err);
    close(fd);
    if (len < 0) return false;
    *state =
        position_read(slice_make(text, (size_t)len), record) ? POSITION_LOADED : POSITION_DAMAGED;
    if (*state == POSITION_DAMAGED) *record = (struct position_record){0};
    return true;
}

static bool write_synced(const char *path, const struct buf *text, struct error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return file_error(path, "create", err);
    bool written = true;
    for (size_t at = 0; at < text->len && written;) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno != EINTR)
            written = file_error(path, "write", err);
    }
    if (written && fsync(fd) != 0) written = file_error(path, "sync", err);
    close(fd);
    return written;
}

/* A rename is durable once its directory is. */
static bool sync_directory(const char *path, struct error *err) {
    char *copy = mem_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (!synced) file_error(path, "sync the directory of", err);
    if (fd >= 0) close(fd);
    mem_free(copy);
    return synced;
}

bool position_save(const char *path, const struct position_record *record, struct error *err) {
    struct buf text = {0};
    position_write(&text, record);
    char *beside = mem_printf("%s.new", path);
    bool saved = write_synced(beside, &text, err);
    if (saved && rename(beside, path) != 0) saved = file_error(path, "replace", err);
    if (saved) saved = sync_directory(path, err);
    mem_free(beside);
    buf_deinit(&text);
    return saved;
}
