#include "cache/values/elements.h"

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
