#include "cache/rows/rowkey.h"

#include <string.h>

enum { SHOWN_VALUE_BYTES = 64 };

/* Values come from clients: what would break a line of the protocol or of a log is shown as '?'. */
static void append_shown(struct buf *out, struct slice value) {
    size_t shown = value.len < SHOWN_VALUE_BYTES ? value.len : SHOWN_VALUE_BYTES;
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)value.data[i];
        buf_append_char(out, c < 0x20 || c == 0x7F ? '?' : (char)c);
    }
    if (shown < value.len) buf_append_text(out, "...");
}

void rowkey_bad_value(const struct table *table, uint16_t column, struct slice value,
                      struct buf *failure) {
    const struct key_column *key = &table->keys[column];
    buf_printf(failure, "ERR %s: \"", table->prefix);
    append_shown(failure, value);
    if (key->type->noun)
        buf_printf(failure, "\" is not %s (column %s)", key->type->noun, key->name);
    else
        buf_printf(failure, "\" is not a value of type %s (column %s)", key->type_name, key->name);
}

static void append_shape(const struct table *table, struct buf *out) {
    buf_printf(out, "%s:", table->prefix);
    for (uint16_t i = 0; i < table->n_keys; i++)
        buf_printf(out, "%s<%s>", i ? ":" : "", table->keys[i].name);
}

static bool bad_shape(const struct table *table, uint16_t n_given, struct buf *failure) {
    buf_printf(failure, "ERR %s: the key has %u parts (", table->prefix, table->n_keys);
    append_shape(table, failure);
    buf_printf(failure, "), %u given", n_given);
    return false;
}

/* Replaces %3A and %25; any other '%' stays what it is. */
static struct slice decode(struct slice part, struct buf *scratch) {
    if (!memchr(part.data, '%', part.len)) return part;
    size_t start = scratch->len;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.data[i];
        struct slice code = slice_make(part.data + i, part.len - i < 3 ? part.len - i : 3);
        bool colon = slice_equal_nocase(code, SLICE("%3A"));
        if (colon || slice_equal(code, SLICE("%25"))) {
            c = colon ? ':' : '%';
            i += 2;
        }
        buf_append_char(scratch, c);
    }
    return slice_make(scratch->data + start, scratch->len - start);
}

static void encode(struct slice value, struct buf *out) {
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == ':')
            buf_append_text(out, "%3A");
        else if (value.data[i] == '%')
            buf_append_text(out, "%25");
        else
            buf_append_char(out, value.data[i]);
    }
}

/* What stands before the first '=': does it name the key column? */
static bool names_column(const struct table *table, struct slice text, size_t *value_at) {
    const char *equals = text.len ? memchr(text.data, '=', text.len) : NULL;
    if (!equals) return false;
    size_t len = (size_t)(equals - text.data);
    *value_at = len + 1;
    return slice_equal(slice_make(text.data, len), slice_from(table->keys[0].name));
}

static bool split(const struct table *table, struct slice rest, struct buf *scratch,
                  struct rowkey *key, struct buf *failure) {
    uint16_t n_given = 1;
    for (size_t i = 0; i < rest.len && n_given < UINT16_MAX; i++)
        n_given += rest.data[i] == ':';
    if (n_given != table->n_keys) return bad_shape(table, n_given, failure);
    buf_grow(scratch, rest.len + 1); /* so that it does not move while slices point into it */
    for (uint16_t i = 0; i < table->n_keys; i++) {
        const char *colon = rest.len ? memchr(rest.data, ':', rest.len) : NULL;
        size_t len = colon ? (size_t)(colon - rest.data) : rest.len;
        key->values[i] = decode(slice_make(rest.data, len), scratch);
        if (colon) rest = slice_make(colon + 1, rest.len - len - 1);
    }
    return true;
}

static bool check(const struct table *table, struct rowkey *key, struct buf *failure) {
    key->lasting = true;
    for (uint16_t i = 0; i < key->n; i++) {
        const struct keytype *type = table->keys[i].type;
        struct slice value = key->values[i];
        enum keytype_verdict verdict = KEY_VALUE_BAD;
        if (keytype_is_text(value)) verdict = type->check ? type->check(value) : KEY_VALUE_UNSURE;
        if (verdict == KEY_VALUE_BAD) {
            rowkey_bad_value(table, i, value, failure);
            return false;
        }
        key->unsure |= verdict == KEY_VALUE_UNSURE;
        key->lasting &= !type->lasting || type->lasting(value);
    }
    return true;
}

bool rowkey_parse(const struct table *table, struct slice rest, struct buf *scratch,
                  struct rowkey *key, struct buf *failure) {
    *key = (struct rowkey){.n = table->n_keys};
    if (rest.len > ROWKEY_MAX_BYTES) {
        buf_printf(failure, "ERR %s: the key is longer than %d bytes", table->prefix,
                   ROWKEY_MAX_BYTES);
        return false;
    }
    size_t value_at;
    if (table->n_keys > 1) {
        if (!split(table, rest, scratch, key, failure)) return false;
    } else if (names_column(table, rest, &value_at)) {
        key->values[0] = slice_make(rest.data + value_at, rest.len - value_at);
    } else {
        key->values[0] = rest;
    }
    return check(table, key, failure);
}

void rowkey_compose(const struct table *table, const struct slice *identities, struct buf *text) {
    buf_append_text(text, table->prefix);
    buf_append_char(text, ':');
    size_t value_at;
    if (table->n_keys > 1) {
        for (uint16_t i = 0; i < table->n_keys; i++) {
            if (i > 0) buf_append_char(text, ':');
            encode(identities[i], text);
        }
        return;
    }
    /* A text that itself looks like `id=...` needs the name before it, or it would be read as that. */
    if (names_column(table, identities[0], &value_at)) buf_printf(text, "%s=", table->keys[0].name);
    buf_append_slice(text, identities[0]);
}
