#include "cdc/shape/java_hash.h"

uint32_t java_hash(struct slice text) {
    uint32_t hash = 0;
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t more = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        uint32_t point = more == 0 ? c : c & (0x3fu >> more);
        for (size_t k = 1; k <= more && i + k < text.len; k++)
            point = point << 6 | ((unsigned char)text.data[i + k] & 0x3f);
        i += more + 1;
        if (point >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
            hash = hash * 31 + (0xdc00 + ((point - 0x10000) & 0x3ff));
        } else {
            hash = hash * 31 + point;
        }
    }
    return hash ^ hash >> 16;
}

uint32_t java_map_buckets(uint32_t n_buckets, uint32_t n) {
    while (n > n_buckets / 4 * 3)
        n_buckets *= 2;
    return n_buckets;
}
