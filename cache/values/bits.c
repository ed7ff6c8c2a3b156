#include "cache/values/bits.h"

#include <endian.h>
#include <string.h>

#include "cache/values/number.h"

static uint64_t load64(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint64_t count_bytes(const char *at, size_t len) {
    uint64_t count = 0;
    for (; len >= 8; at += 8, len -= 8)
        count += (uint64_t)__builtin_popcountll(load64(at));
    for (; len > 0; at++, len--)
        count += (uint64_t)__builtin_popcount((unsigned char)*at);
    return count;
}

uint64_t bits_count(struct slice string, uint64_t first, uint64_t last) {
    uint64_t count = 0;
    for (; first <= last && first & 7; first++)
        count += bits_at(string, first);
    for (; first <= last && (last & 7) != 7; last--) {
        count += bits_at(string, last);
        if (last == 0) return count;
    }
    if (first > last) return count;
    return count + count_bytes(string.data + (first >> 3), (last - first + 1) >> 3);
}

int64_t bits_find(struct slice string, uint64_t first, uint64_t last, bool wanted) {
    uint64_t at = first;
    while (at <= last) {
        if ((at & 7) == 0 && last - at >= 63) {
            /* what is wanted is a one in here, the first bit highest */
            uint64_t word = be64toh(load64(string.data + (at >> 3)));
            if (!wanted) word = ~word;
            if (word) return (int64_t)(at + (uint64_t)__builtin_clzll(word));
            at += 64;
        } else {
            if (bits_at(string, at) == wanted) return (int64_t)at;
            at++;
        }
    }
    return -1;
}

/* Plain loops over bytes: the compiler makes vectors of them. */
void bits_apply(enum bits_operation operation, char *out, size_t len, struct slice operand) {
    size_t common = operand.len < len ? operand.len : len;
    const char *in = operand.data;
    switch (operation) {
    case BITS_AND:
        for (size_t i = 0; i < common; i++)
            out[i] &= in[i];
        memset(out + common, 0, len - common);
        return;
    case BITS_OR:
        for (size_t i = 0; i < common; i++)
            out[i] |= in[i];
        return;
    case BITS_XOR:
        for (size_t i = 0; i < common; i++)
            out[i] ^= in[i];
        return;
    case BITS_NOT:
        for (size_t i = 0; i < len; i++)
            out[i] = (char)~out[i];
        return;
    }
}

bool bits_parse_type(struct slice text, struct bits_type *type) {
    int64_t width;
    if (text.len < 2 || (text.data[0] != 'i' && text.data[0] != 'u')) return false;
    type->is_signed = text.data[0] == 'i';
    if (!number_parse_i64(slice_make(text.data + 1, text.len - 1), &width)) return false;
    if (width < 1 || width > (type->is_signed ? 64 : 63)) return false;
    type->width = (unsigned)width;
    return true;
}

/* The value's lowest `width` bits, the highest of them its sign where the type has one. */
static int64_t narrow(struct bits_type type, uint64_t bits) {
    unsigned above = 64 - type.width;
    bits <<= above;
    return type.is_signed ? (int64_t)bits >> above : (int64_t)(bits >> above);
}

int64_t bits_get(struct slice string, uint64_t offset, struct bits_type type) {
    uint64_t value = 0;
    for (unsigned i = 0; i < type.width; i++)
        value = value << 1 | bits_at(string, offset + i);
    return narrow(type, value);
}

void bits_set(char *string, uint64_t offset, struct bits_type type, int64_t value) {
    for (unsigned i = 0; i < type.width; i++) {
        uint64_t at = offset + i;
        unsigned char mask = (unsigned char)(0x80 >> (at & 7));
        bool one = (uint64_t)value >> (type.width - 1 - i) & 1;
        string[at >> 3] = (char)(one ? string[at >> 3] | mask : string[at >> 3] & ~mask);
    }
}

static __int128 most_of(struct bits_type type) {
    return ((__int128)1 << (type.is_signed ? type.width - 1 : type.width)) - 1;
}

static bool settle(struct bits_type type, __int128 value, enum bits_overflow overflow,
                   int64_t *result) {
    __int128 most = most_of(type);
    __int128 least = type.is_signed ? -most - 1 : 0;
    bool fits = value >= least && value <= most;
    if (fits)
        *result = (int64_t)value;
    else if (overflow == OVERFLOW_SATURATE)
        *result = (int64_t)(value > most ? most : least);
    else
        *result = narrow(type, (uint64_t)value);
    return fits || overflow != OVERFLOW_FAIL;
}

bool bits_add(struct bits_type type, int64_t old, int64_t increment, enum bits_overflow overflow,
              int64_t *sum) {
    return settle(type, (__int128)old + increment, overflow, sum);
}

/* A negative value so far down that its distance from the most does not fit in 64 bits stops at the most: Redis reckons
 * in 64 bits there, and replies are to be Redis's. */
bool bits_fit(struct bits_type type, int64_t value, enum bits_overflow overflow, int64_t *fitting) {
    __int128 wide = type.is_signed ? (__int128)value : (__int128)(uint64_t)value;
    bool turns_over = type.is_signed && type.width < 64 && most_of(type) - wide > INT64_MAX;
    if (turns_over && overflow == OVERFLOW_SATURATE) wide = INT64_MAX;
    return settle(type, wide, overflow, fitting);
}
