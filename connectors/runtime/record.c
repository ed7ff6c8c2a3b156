#include "connectors/runtime/record.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "connectors/document/document.h"
#include "connectors/document/document_read.h"

static const struct {
    const char *name;
    bool has_row; /* is of one row, and has its id */
} kinds[] = {
    [RECORD_PUT] = {"put", true},
    [RECORD_DELETE] = {"delete", true},
    [RECORD_TRUNCATE] = {"truncate", false},
    [RECORD_LOADED] = {"loaded", false},
};

static void append_exact(struct buf *out, const struct shape *shape, const struct value *row) {
    bool any = false;
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (document_exact(&shape->columns[i], &row[i])) continue;
        buf_append_text(out, any ? "," : ",\"exact\":{");
        any = true;
        json_append_string(out, slice_from(shape->columns[i].name));
        buf_append_char(out, ':');
        json_append_string(out, slice_make(row[i].data, row[i].len));
    }
    if (any) buf_append_char(out, '}');
}

void record_append(struct buf *out, const struct shape *shape, const struct write *write,
                   bool exact) {
    bool put = write->operation == WRITE_PUT;
    buf_printf(out, "{\"operation\":\"%s\",\"id\":", kinds[put ? RECORD_PUT : RECORD_DELETE].name);
    json_append_string(out, write->key);
    buf_printf(out, ",\"version\":%" PRIu64 ",\"xid\":%" PRIu64, write->stamp.version,
               write->stamp.xid);
    if (put) {
        buf_append_text(out, ",\"document\":");
        document_append(out, shape, write->row);
        if (exact) append_exact(out, shape, write->row);
    }
    buf_append_char(out, '}');
}

void record_append_clear(struct buf *out, uint64_t version, bool loaded) {
    buf_printf(out, "{\"operation\":\"%s\",\"version\":%" PRIu64 "}",
               kinds[loaded ? RECORD_LOADED : RECORD_TRUNCATE].name, version);
}

/* ---- reading: what is written above, and nothing else ---- */

static bool take(struct slice *in, const char *text) {
    size_t len = strlen(text);
    if (in->len < len || memcmp(in->data, text, len) != 0) return false;
    *in = slice_make(in->data + len, in->len - len);
    return true;
}

static bool take_number(struct slice *in, uint64_t *number) {
    size_t n = 0;
    *number = 0;
    for (; n < in->len && in->data[n] >= '0' && in->data[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(in->data[n] - '0');
        if (*number > (UINT64_MAX - digit) / 10) return false;
        *number = *number * 10 + digit;
    }
    *in = slice_make(in->data + n, in->len - n);
    return n > 0;
}

static bool take_kind(struct slice *in, enum record_kind *kind) {
    if (!take(in, "{\"operation\":\"")) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!take(in, kinds[i].name)) continue;
        *kind = (enum record_kind)i;
        return take(in, "\"");
    }
    return false;
}

static bool take_text(struct slice *in, struct arena *arena, struct slice *text) {
    struct buf unescaped = {0};
    bool ok = document_take_string(in, &unescaped);
    if (ok) *text = arena_dup(arena, buf_slice(&unescaped));
    buf_deinit(&unescaped);
    return ok;
}

static bool take_name(struct slice *in, struct arena *arena, const struct shape *shape,
                      uint16_t *column) {
    struct slice name;
    if (!take_text(in, arena, &name) || !take(in, ":")) return false;
    for (*column = 0; *column < shape->n_columns; ++*column) {
        if (slice_equal(name, slice_from(shape->columns[*column].name))) return true;
    }
    return false;
}

static bool take_exact(struct slice *in, const struct shape *shape, struct arena *arena,
                       struct value *row) {
    do {
        uint16_t column;
        struct slice text;
        if (!take_name(in, arena, shape, &column) || !take_text(in, arena, &text)) return false;
        row[column] =
            (struct value){.kind = VALUE_TEXT, .data = text.data, .len = (uint32_t)text.len};
    } while (take(in, ","));
    return take(in, "}");
}

static bool is_whole(const struct shape *shape, const struct value *row) {
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (row[i].kind == VALUE_UNCHANGED) return false;
    }
    return true;
}

bool record_read(struct slice line, const struct shape *shape, struct arena *arena,
                 struct record *record) {
    *record = (struct record){0};
    struct slice in = line;
    if (!take_kind(&in, &record->kind)) return false;
    bool has_row = kinds[record->kind].has_row;
    if (has_row && (!take(&in, ",\"id\":") || !take_text(&in, arena, &record->key))) return false;
    if (!take(&in, ",\"version\":") || !take_number(&in, &record->stamp.version)) return false;
    if (has_row && (!take(&in, ",\"xid\":") || !take_number(&in, &record->stamp.xid))) return false;
    if (record->kind == RECORD_PUT) {
        struct value *row = arena_zalloc(arena, shape->n_columns * sizeof *row);
        if (!take(&in, ",\"document\":") || !document_take(&in, shape, arena, row)) return false;
        if (take(&in, ",\"exact\":{") && !take_exact(&in, shape, arena, row)) return false;
        if (!is_whole(shape, row)) return false;
        record->row = row;
    }
    return take(&in, "}") && in.len == 0;
}
