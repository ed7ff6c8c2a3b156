#include "connectors/archive/manifest.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/archive/checksum.h"

static const char format[] = "freshet-archive 1";

void manifest_deinit(struct manifest *manifest) {
    mem_free(manifest->closed);
    *manifest = (struct manifest){0};
}

void manifest_add(struct manifest *manifest, const struct segment *segment) {
    ASSERT(manifest->n_listed == manifest->n_closed);
    /* Grown at powers of two. */
    if ((manifest->n_listed & (manifest->n_listed - 1)) == 0)
        manifest->closed = mem_realloc(
            manifest->closed, (manifest->n_listed ? manifest->n_listed * 2 : 1) * sizeof *segment);
    manifest->closed[manifest->n_listed++] = *segment;
    manifest->n_closed++;
}

/* ---- writing ---- */

static void write_time(struct buf *out, int64_t seconds) {
    time_t time = (time_t)seconds;
    struct tm tm;
    char text[32];
    gmtime_r(&time, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_append_text(out, text);
}

static void write_segment(struct buf *out, const struct segment *segment, bool open) {
    buf_printf(out,
               "{\"segment\":%" PRIu64 "%s,\"lines\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"first\":\"" LSN_FMT "\",\"last\":\"" LSN_FMT "\",\"opened\":\"",
               segment->number, open ? ",\"open\":true" : "", segment->lines, segment->bytes,
               LSN_ARG(segment->first_lsn), LSN_ARG(segment->last_lsn));
    write_time(out, segment->opened_s);
    buf_printf(out, "\",\"sha256\":\"%s\"}\n", segment->sha256);
}

void manifest_write(struct buf *out, const struct manifest *manifest, bool head) {
    size_t start = out->len;
    buf_printf(out, "{\"format\":\"%s\",\"sequence\":%" PRIu64 ",\"table\":", format,
               manifest->sequence);
    json_append_string(out, slice_from(manifest->table));
    buf_append_text(out, ",\"keys\":");
    json_append_string(out, slice_from(manifest->keys));
    const struct change_position *position = &manifest->position;
    buf_printf(out,
               ",\"system\":\"%" PRIu64 "\",\"position\":\"" LSN_FMT
               "\",\"loaded\":%s,\"timeline\":%" PRIu32 ",\"timeline_began\":\"" LSN_FMT
               "\",\"last_end\":\"" LSN_FMT "\",\"closed\":%" PRIu64 "}\n",
               position->system_identifier, LSN_ARG(position->end_lsn),
               position->snapshot_done ? "true" : "false", position->timeline,
               LSN_ARG(position->timeline_lsn), LSN_ARG(position->last_end_lsn),
               manifest->n_closed);
    for (size_t i = 0; i < manifest->n_listed && !head; i++)
        write_segment(out, &manifest->closed[i], false);
    if (manifest->has_open) write_segment(out, &manifest->open, true);
    char sum[CHECKSUM_CHARS + 1];
    checksum_of(slice_make(out->data + start, out->len - start), sum);
    buf_printf(out, "{\"sha256\":\"%s\"}\n", sum);
}

/* ---- reading ---- */

/* The next line without its newline. False: none, or it is too long. */
static bool take_line(struct slice *text, struct slice *line) {
    const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    if (!end || end - text->data > MANIFEST_LINE_MAX) return false;
    *line = slice_make(text->data, (size_t)(end - text->data));
    *text = slice_make(end + 1, text->len - line->len - 1);
    return true;
}

static json_t *parse(struct slice line) {
    json_t *json = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES, NULL);
    if (json && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

static bool get_text(const json_t *json, const char *name, char *text, size_t size) {
    const char *value = json_string_value(json_object_get(json, name));
    if (!value || strlen(value) >= size) return false;
    memcpy(text, value, strlen(value) + 1);
    return true;
}

static bool get_count(const json_t *json, const char *name, uint64_t *count) {
    const json_t *value = json_object_get(json, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *count = (uint64_t)json_integer_value(value);
    return true;
}

static bool get_lsn(const json_t *json, const char *name, uint64_t *lsn) {
    const char *text = json_string_value(json_object_get(json, name));
    return text && lsn_parse(text, lsn);
}

static bool get_bool(const json_t *json, const char *name, bool *value) {
    const json_t *found = json_object_get(json, name);
    *value = json_is_true(found);
    return json_is_boolean(found);
}

static bool get_time(const json_t *json, const char *name, int64_t *seconds) {
    const char *text = json_string_value(json_object_get(json, name));
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
    if (!end || *end) return false;
    *seconds = timegm(&tm);
    return true;
}

static bool get_system(const json_t *json, uint64_t *system) {
    const char *text = json_string_value(json_object_get(json, "system"));
    char *end;
    if (!text || *text < '0' || *text > '9') return false;
    *system = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool read_position(const json_t *json, struct change_position *position) {
    uint64_t timeline;
    if (!get_system(json, &position->system_identifier) ||
        !get_lsn(json, "position", &position->end_lsn) ||
        !get_bool(json, "loaded", &position->snapshot_done) ||
        !get_count(json, "timeline", &timeline) || timeline > UINT32_MAX ||
        !get_lsn(json, "timeline_began", &position->timeline_lsn) ||
        !get_lsn(json, "last_end", &position->last_end_lsn))
        return false;
    position->timeline = (uint32_t)timeline;
    return true;
}

static bool read_header(const json_t *json, struct manifest *manifest) {
    const char *name = json_string_value(json_object_get(json, "format"));
    return name && strcmp(name, format) == 0 && get_count(json, "sequence", &manifest->sequence) &&
           get_text(json, "table", manifest->table, sizeof manifest->table) &&
           get_text(json, "keys", manifest->keys, sizeof manifest->keys) &&
           read_position(json, &manifest->position) &&
           get_count(json, "closed", &manifest->n_closed) &&
           manifest->n_closed <= MANIFEST_SEGMENTS_MAX;
}

static bool read_segment(const json_t *json, struct segment *segment, bool *open) {
    *open = json_is_true(json_object_get(json, "open"));
    return get_count(json, "segment", &segment->number) &&
           get_count(json, "lines", &segment->lines) && get_count(json, "bytes", &segment->bytes) &&
           get_lsn(json, "first", &segment->first_lsn) &&
           get_lsn(json, "last", &segment->last_lsn) &&
           get_time(json, "opened", &segment->opened_s) &&
           get_text(json, "sha256", segment->sha256, sizeof segment->sha256) &&
           strlen(segment->sha256) == MANIFEST_SHA256_CHARS;
}

/* One line behind the first. Closed segments come in order, and the open one last. */
static bool take_segment(const json_t *json, struct manifest *manifest, uint64_t n_closed) {
    struct segment segment = {0};
    bool open;
    if (manifest->has_open || !read_segment(json, &segment, &open)) return false;
    if (open) {
        manifest->has_open = true;
        manifest->open = segment;
        return segment.number == n_closed + 1;
    }
    manifest_add(manifest, &segment);
    return segment.number == manifest->n_closed && segment.number <= n_closed;
}

static bool read_lines(struct slice text, struct manifest *manifest) {
    struct slice line;
    struct slice rest = text;
    json_t *json = take_line(&rest, &line) ? parse(line) : NULL;
    bool ok = json && read_header(json, manifest);
    json_decref(json);
    uint64_t n_closed = manifest->n_closed;
    manifest->n_closed = 0; /* as they are read */
    while (ok) {
        struct slice body = slice_make(text.data, text.len - rest.len);
        json = take_line(&rest, &line) ? parse(line) : NULL;
        char sum[CHECKSUM_CHARS + 1];
        char said[CHECKSUM_CHARS + 1];
        if (json && json_object_size(json) == 1 && get_text(json, "sha256", said, sizeof said)) {
            checksum_of(body, sum);
            json_decref(json);
            ok = rest.len == 0 && strcmp(sum, said) == 0 &&
                 (manifest->n_listed == 0 || manifest->n_listed == n_closed);
            break;
        }
        ok = json && take_segment(json, manifest, n_closed);
        json_decref(json);
    }
    manifest->n_closed = n_closed;
    return ok;
}

bool manifest_read(struct slice text, struct manifest *manifest) {
    *manifest = (struct manifest){0};
    if (read_lines(text, manifest)) return true;
    manifest_deinit(manifest);
    return false;
}
