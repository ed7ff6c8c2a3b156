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

void rowkey_bad_value(const struct table *table, const struct key_column *key, struct slice value,
                      struct buf *failure) {
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

/* What stands between the parts of a key is written in another way within them. */
static const struct {
    char c;
    const char *code;
} codes[] = {{':', "%3A"}, {',', "%2C"}, {'=', "%3D"}, {'%', "%25"}};

#define KEY_PARTS    ":=%" /* of a primary key of several columns */
#define UNIQUE_PARTS ",%"  /* of the values of several named columns */

/* Replaces the codes of those characters; any other '%' stays what it is. */
static struct slice decode(struct slice part, const char *coded, struct buf *scratch) {
    if (part.len == 0 || !memchr(part.data, '%', part.len)) return part;
    size_t start = scratch->len;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.data[i];
        struct slice code = slice_make(part.data + i, part.len - i < 3 ? part.len - i : 3);
        for (size_t k = 0; c == '%' && k < sizeof codes / sizeof codes[0]; k++) {
            if (!strchr(coded, codes[k].c) || !slice_equal_nocase(code, slice_from(codes[k].code)))
                continue;
            c = codes[k].c;
            i += 2;
            break;
        }
        buf_append_char(scratch, c);
    }
    return slice_make(scratch->data + start, scratch->len - start);
}

static void encode(struct slice value, const char *coded, struct buf *out) {
    for (size_t i = 0; i < value.len; i++) {
        size_t k = 0;
        while (k < sizeof codes / sizeof codes[0] &&
               (codes[k].c != value.data[i] || !strchr(coded, codes[k].c)))
            k++;
        if (k < sizeof codes / sizeof codes[0])
            buf_append_text(out, codes[k].code);
        else
            buf_append_char(out, value.data[i]);
    }
}

/* ---- columns named before a '=' ---- */

/* What a key's text names. */
struct named {
    bool found;
    const struct unique_key *unique; /* NULL: the primary key's columns */
    uint16_t n;                      /* columns; 1: the value is all behind the first '=' */
};

/* Takes one `name=value` off the front. False: there is none. */
static bool take_part(struct slice *text, struct slice *name, struct slice *value) {
    const char *end = text->len ? memchr(text->data, ',', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->data) : text->len;
    const char *equals = len ? memchr(text->data, '=', len) : NULL;
    if (!equals) return false;
    *name = slice_make(text->data, (size_t)(equals - text->data));
    *value = slice_make(equals + 1, len - name->len - 1);
    *text = end ? slice_make(end + 1, text->len - len - 1) : slice_make(text->data + len, 0);
    return true;
}

static uint16_t find_column(const struct key_column *columns, uint16_t n, struct slice name) {
    uint16_t i = 0;
    while (i < n && !slice_equal(name, slice_from(columns[i].name)))
        i++;
    return i;
}

/* Are these columns named, each once? */
static bool names_all(const struct key_column *columns, uint16_t n, struct slice text) {
    bool seen[ROWKEY_MAX_COLUMNS] = {false};
    uint16_t n_named = 0;
    struct slice name, value;
    for (bool more = true; more; more = value.data + value.len < text.data) {
        if (n_named == n || !take_part(&text, &name, &value)) return false;
        uint16_t i = find_column(columns, n, name);
        if (i == n || seen[i]) return false;
        seen[i] = true;
        n_named++;
    }
    return n_named == n;
}

static bool names(const struct key_column *columns, uint16_t n, struct slice text) {
    if (n == 0 || n > ROWKEY_MAX_COLUMNS) return false;
    if (n > 1) return names_all(columns, n, text);
    size_t len = (size_t)((const char *)memchr(text.data, '=', text.len) - text.data);
    return slice_equal(slice_make(text.data, len), slice_from(columns[0].name));
}

static struct named find_named(const struct table *table, struct slice text) {
    if (text.len == 0 || !memchr(text.data, '=', text.len)) return (struct named){0};
    if (names(table->keys, table->n_keys, text)) return (struct named){true, NULL, table->n_keys};
    /* A single column's value is taken as it is, whatever it looks like; so these come first, and
     * what cannot be used last. */
    for (int turn = 0; turn < 4; turn++) {
        for (uint16_t i = 0; i < table->n_uniques; i++) {
            const struct unique_key *unique = &table->uniques[i];
            if ((unique->refusal ? 2 : 0) + (unique->n_columns > 1) == turn &&
                names(unique->columns, unique->n_columns, text))
                return (struct named){true, unique, unique->n_columns};
        }
    }
    return (struct named){0};
}

static bool refuse(const struct table *table, const struct unique_key *unique,
                   struct buf *failure) {
    buf_printf(failure, "ERR %s: no key by ", table->prefix);
    for (uint16_t i = 0; i < unique->n_columns; i++)
        buf_printf(failure, "%s%s", i ? ", " : "", unique->columns[i].name);
    buf_printf(failure, ": the unique index %s %s", unique->index, unique->refusal);
    return false;
}

static void read_named(const struct table *table, const struct named *named, struct slice text,
                       struct buf *scratch, struct rowkey *key) {
    const struct key_column *columns = rowkey_columns(table, named->unique);
    key->unique = named->unique;
    key->n = named->n;
    if (named->n == 1) {
        const char *value = (const char *)memchr(text.data, '=', text.len) + 1;
        key->values[0] = slice_make(value, text.len - (size_t)(value - text.data));
        return;
    }
    buf_grow(scratch, text.len + 1); /* so that it does not move while slices point into it */
    struct slice name, value;
    for (uint16_t i = 0; i < named->n && take_part(&text, &name, &value); i++)
        key->values[find_column(columns, named->n, name)] = decode(value, UNIQUE_PARTS, scratch);
}

/* ---- the primary key ---- */

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
        key->values[i] = decode(slice_make(rest.data, len), KEY_PARTS, scratch);
        if (colon) rest = slice_make(colon + 1, rest.len - len - 1);
    }
    return true;
}

/* A text that is no value of the key column, but names another column of the table: that is what was meant. */
static void bad_value(const struct table *table, const struct rowkey *key, uint16_t i,
                      struct buf *failure) {
    struct slice value = key->values[i];
    const char *equals = value.len ? memchr(value.data, '=', value.len) : NULL;
    for (uint16_t c = 0; equals && !key->unique && c < table->n_columns; c++) {
        size_t len = (size_t)(equals - value.data);
        if (!slice_equal(slice_make(value.data, len), slice_from(table->columns[c]))) continue;
        buf_printf(failure, "ERR %s: no key by %s: it has no unique index of its own",
                   table->prefix, table->columns[c]);
        return;
    }
    rowkey_bad_value(table, &rowkey_columns(table, key->unique)[i], value, failure);
}

static bool check(const struct table *table, struct rowkey *key, struct buf *failure) {
    const struct key_column *columns = rowkey_columns(table, key->unique);
    key->lasting = true;
    for (uint16_t i = 0; i < key->n; i++) {
        const struct keytype *type = columns[i].type;
        struct slice value = key->values[i];
        enum keytype_verdict verdict = KEY_VALUE_BAD;
        if (keytype_is_text(value)) verdict = type->check ? type->check(value) : KEY_VALUE_UNSURE;
        if (verdict == KEY_VALUE_BAD) {
            bad_value(table, key, i, failure);
            return false;
        }
        key->unsure |= verdict == KEY_VALUE_UNSURE;
        key->lasting &= !type->lasting || type->lasting(value);
    }
    if (key->n == 1 && !key->unique && columns[0].type->plain)
        key->plain = columns[0].type->plain(key->values[0]);
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
    if (table->n_keys == 0) return check(table, key, failure);
    struct named named = find_named(table, rest);
    if (named.found && named.unique && named.unique->refusal)
        return refuse(table, named.unique, failure);
    if (named.found) {
        read_named(table, &named, rest, scratch, key);
    } else if (table->n_keys > 1) {
        if (!split(table, rest, scratch, key, failure)) return false;
    } else {
        key->values[0] = rest;
    }
    return check(table, key, failure);
}

void rowkey_compose(const struct table *table, const struct slice *identities, struct buf *text) {
    buf_append_text(text, table->prefix);
    if (table->n_keys == 0) return; /* a named query without parameters */
    buf_append_char(text, ':');
    if (table->n_keys > 1) {
        for (uint16_t i = 0; i < table->n_keys; i++) {
            if (i > 0) buf_append_char(text, ':');
            encode(identities[i], KEY_PARTS, text);
        }
        return;
    }
    /* A text that itself looks like `id=...` needs the name before it, or it would be read as that. */
    if (find_named(table, identities[0]).found) buf_printf(text, "%s=", table->keys[0].name);
    buf_append_slice(text, identities[0]);
}

void rowkey_compose_unique(const struct table *table, const struct unique_key *unique,
                           const struct slice *identities, struct buf *text) {
    buf_printf(text, "%s:", table->prefix);
    for (uint16_t i = 0; i < unique->n_columns; i++) {
        buf_printf(text, "%s%s=", i ? "," : "", unique->columns[i].name);
        if (unique->n_columns > 1)
            encode(identities[i], UNIQUE_PARTS, text);
        else
            buf_append_slice(text, identities[i]);
    }
}
