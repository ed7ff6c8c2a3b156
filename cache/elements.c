#include "cache/elements.h"

enum { GROUPS_MAX = 5 /* of a length: they are below 4 GiB */ };

static size_t length_size(size_t len) {
    size_t n = 1;
    while (len >>= 7)
        n++;
    return n;
}

size_t elements_size(size_t len) { return len + 2 * length_size(len); }

void elements_write(char *at, struct slice element) {
    size_t n = length_size(element.len);
    char *mirrored = at + n + element.len + n;
    size_t len = element.len;
    for (size_t i = 0; i < n; i++) {
        char group = (char)((len & 0x7f) | (i + 1 < n ? 0x80 : 0));
        *at++ = group;
        *--mirrored = group;
        len >>= 7;
    }
    if (element.len) memcpy(at, element.data, element.len);
}

bool elements_are_valid(struct slice run) {
    size_t at = 0;
    while (at < run.len) {
        size_t len = 0;
        size_t n = 0;
        uint8_t group;
        do {
            if (n == GROUPS_MAX || at == run.len) return false;
            group = (uint8_t)run.data[at++];
            len |= (size_t)(group & 0x7f) << (7 * n++);
        } while (group & 0x80);
        if (length_size(len) != n || len > UINT32_MAX) return false;
        if (run.len - at < len || run.len - at - len < n) return false;
        at += len;
        for (size_t i = 0; i < n; i++)
            if (run.data[at + i] != run.data[at - len - 1 - i]) return false;
        at += n;
    }
    return true;
}
