#include "cdc/output/murmur2.h"

enum { SHIFT = 24 };
static const uint32_t seed = 0x9747b28c, factor = 0x5bd1e995;

uint32_t murmur2(struct slice bytes) {
    const unsigned char *at = (const unsigned char *)bytes.data;
    size_t left = bytes.len;
    uint32_t hash = seed ^ (uint32_t)bytes.len;
    for (; left >= 4; at += 4, left -= 4) {
        uint32_t word =
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        word *= factor;
        word ^= word >> SHIFT;
        word *= factor;
        hash = (hash * factor) ^ word;
    }
    if (left == 3) hash ^= (uint32_t)at[2] << 16;
    if (left >= 2) hash ^= (uint32_t)at[1] << 8;
    if (left >= 1) hash = (hash ^ at[0]) * factor;
    hash ^= hash >> 13;
    hash *= factor;
    return hash ^ hash >> 15;
}
