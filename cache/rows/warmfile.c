#include "cache/rows/warmfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char head[] = "freshet warm 1\n";
static const char forms[] = "shlz";

enum { HEAD_BYTES = sizeof head - 1, MAX_END_BYTES = 64 };

/* ---- writing ---- */

void warmfile_begin(struct buf *text) { buf_append_text(text, head); }

static bool is_plain(unsigned char c) { return c > 32 && c != '%' && c != 127; }

static size_t encoded_bytes(struct slice key) {
    size_t bytes = 0;
    for (size_t i = 0; i < key.len; i++)
        bytes += is_plain((unsigned char)key.data[i]) ? 1 : 3;
    return bytes;
}

void warmfile_add(struct buf *text, char form, struct slice key) {
    if (key.len == 0 || encoded_bytes(key) > WARMFILE_MAX_KEY_BYTES) return;
    buf_append_char(text, form);
    buf_append_char(text, ' ');
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.data[i];
        if (is_plain(c))
            buf_append_char(text, (char)c);
        else
            buf_printf(text, "%%%02X", c);
    }
    buf_append_char(text, '\n');
}

void warmfile_end(struct buf *text) {
    uint64_t n = 0;
    for (size_t i = HEAD_BYTES; i < text->len; i++)
        n += text->data[i] == '\n';
    unsigned long long sum = XXH3_64bits(text->data, text->len);
    buf_printf(text, "end %llu %016llx\n", (unsigned long long)n, sum);
}

/* ---- reading ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* A line's key, decoded into the scratch where it has to be. False: it is malformed. */
static bool decode(struct slice encoded, struct slice *key, struct buf *scratch) {
    *key = encoded;
    if (encoded.len == 0 || encoded.len > WARMFILE_MAX_KEY_BYTES) return false;
    scratch->len = 0;
    for (size_t i = 0; i < encoded.len; i++) {
        unsigned char c = (unsigned char)encoded.data[i];
        if (is_plain(c)) {
            buf_append_char(scratch, (char)c);
            continue;
        }
        int high = c == '%' && i + 2 < encoded.len ? hex_digit(encoded.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(encoded.data[i + 2]) : -1;
        if (low < 0) return false;
        buf_append_char(scratch, (char)(high << 4 | low));
        i += 2;
    }
    *key = buf_slice(scratch);
    return true;
}

static bool take_line(struct slice *rest, struct slice *line) {
    const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    if (!end) return false;
    *line = slice_make(rest->data, (size_t)(end - rest->data));
    *rest = slice_make(end + 1, rest->len - line->len - 1);
    return true;
}

static bool read_line(struct slice line, struct slice *key, char *form, struct buf *scratch) {
    if (line.len < 3 || line.data[1] != ' ' || !line.data[0] || !strchr(forms, line.data[0]))
        return false;
    *form = line.data[0];
    return decode(slice_make(line.data + 2, line.len - 2), key, scratch);
}

/* The last line's place: it is short. */
static size_t find_end(struct slice bytes) {
    size_t at = bytes.len - 1;
    while (at > HEAD_BYTES && bytes.len - at < MAX_END_BYTES && bytes.data[at - 1] != '\n')
        at--;
    return at;
}

static bool is_signed(struct slice bytes, size_t end, uint64_t *n_keys) {
    char line[MAX_END_BYTES + 1], expected[MAX_END_BYTES + 1];
    size_t len = bytes.len - end;
    if (len > MAX_END_BYTES) return false;
    memcpy(line, bytes.data + end, len);
    line[len] = '\0';
    unsigned long long n;
    if (sscanf(line, "end %20llu ", &n) != 1) return false;
    unsigned long long sum = XXH3_64bits(bytes.data, end);
    snprintf(expected, sizeof expected, "end %llu %016llx\n", n, sum);
    *n_keys = n;
    return strcmp(line, expected) == 0;
}

static bool check_lines(struct slice lines, uint64_t n_keys) {
    struct slice line, key;
    struct buf scratch = {0};
    char form;
    uint64_t n = 0;
    bool well = true;
    while (well && lines.len > 0) {
        well = take_line(&lines, &line) && read_line(line, &key, &form, &scratch);
        n++;
    }
    buf_deinit(&scratch);
    return well && n == n_keys;
}

bool warmfile_open(struct slice bytes, struct warmfile *file, const char **why) {
    *file = (struct warmfile){0};
    if (bytes.len < HEAD_BYTES || memcmp(bytes.data, head, HEAD_BYTES) != 0) {
        *why = "it is no list of keys of Freshet, or of another version";
        return false;
    }
    if (bytes.len == HEAD_BYTES || bytes.len > WARMFILE_MAX_BYTES) {
        *why = "it is cut off, or too long";
        return false;
    }
    uint64_t n_keys;
    size_t end = find_end(bytes);
    if (!is_signed(bytes, end, &n_keys)) {
        *why = "it is cut off, or was altered";
        return false;
    }
    struct slice lines = slice_make(bytes.data + HEAD_BYTES, end - HEAD_BYTES);
    if (n_keys > WARMFILE_MAX_KEYS || !check_lines(lines, n_keys)) {
        *why = "it has lines that are none of its format";
        return false;
    }
    *file = (struct warmfile){lines, n_keys};
    return true;
}

bool warmfile_next(struct warmfile *file, struct slice *key, char *form, struct buf *scratch) {
    struct slice line;
    return take_line(&file->rest, &line) && read_line(line, key, form, scratch);
}
