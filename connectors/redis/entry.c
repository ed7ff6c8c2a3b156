#include "connectors/redis/entry.h"

#include <inttypes.h>

void entry_write(struct buf *out, const struct entry *entry) {
    buf_printf(out, "%c%" PRIX64 " %zu ", (char)entry->kind, entry->version, entry->key.len);
    buf_append_slice(out, entry->key);
    buf_append_slice(out, entry->member);
}

/* A number without leading zeros and the space behind it. */
static bool take_number(struct slice *in, unsigned base, uint64_t *number) {
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    *number = 0;
    for (; n < in->len && in->data[n] != ' '; n++) {
        const char *digit = memchr(digits, in->data[n], base);
        if (!digit) return false;
        uint64_t value = (uint64_t)(digit - digits);
        if (*number > (UINT64_MAX - value) / base) return false;
        *number = *number * base + value;
    }
    if (n == 0 || n == in->len || (n > 1 && in->data[0] == '0')) return false;
    *in = slice_make(in->data + n + 1, in->len - n - 1);
    return true;
}

bool entry_read(struct slice text, struct entry *entry) {
    *entry = (struct entry){0};
    if (text.len == 0) return false;
    char kind = text.data[0];
    if (kind != ENTRY_KEY && kind != ENTRY_SET && kind != ENTRY_SORTED_SET) return false;
    struct slice rest = slice_make(text.data + 1, text.len - 1);
    uint64_t key_len;
    if (!take_number(&rest, 16, &entry->version) || !take_number(&rest, 10, &key_len) ||
        key_len > rest.len)
        return false;
    entry->kind = (enum entry_kind)kind;
    entry->key = slice_make(rest.data, key_len);
    entry->member = slice_make(rest.data + key_len, rest.len - key_len);
    return kind != ENTRY_KEY || entry->member.len == 0;
}
