/* bits.h: a string as a row of bits: bit 0 is the highest of the first byte, as SETBIT and its kin number them. Pure. */
#ifndef FRESHET_CACHE_BITS_H
#define FRESHET_CACHE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Past the end there are zeros. */
static inline bool bits_at(struct slice string, uint64_t offset) {
    uint64_t byte = offset >> 3;
    return byte < string.len && (unsigned char)string.data[byte] >> (7 - (offset & 7)) & 1;
}

/* The ones from bit `first` to bit `last`, both included; first <= last, and both lie within. */
uint64_t bits_count(struct slice string, uint64_t first, uint64_t last);
/* The first bit in that range which is `wanted`; -1: there is none. */
int64_t bits_find(struct slice string, uint64_t first, uint64_t last, bool wanted);

enum bits_operation { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT };

/* Lays `operand` over the `len` bytes at `out`; where it is shorter, zeros stand for the rest. NOT does without an operand. */
void bits_apply(enum bits_operation operation, char *out, size_t len, struct slice operand);

/* --- whole numbers of any width in it: BITFIELD --- */

struct bits_type {
    bool is_signed; /* two's complement, 1 to 64 bits; else 1 to 63 */
    unsigned width;
};

/* "i16", "u8". */
bool bits_parse_type(struct slice text, struct bits_type *type);

int64_t bits_get(struct slice string, uint64_t offset, struct bits_type type);
/* The low bits of value; offset + width lies within the string. */
void bits_set(char *string, uint64_t offset, struct bits_type type, int64_t value);

enum bits_overflow { OVERFLOW_WRAP, OVERFLOW_SATURATE, OVERFLOW_FAIL };

/* old + increment as far as the type holds it; what does not fit wraps around or stops at the limit. False: it does not fit,
 * and that is to fail. */
bool bits_add(struct bits_type type, int64_t old, int64_t increment, enum bits_overflow overflow,
              int64_t *sum);
/* As above, of a value by itself; a negative one counts as a very large one where the type has no sign. */
bool bits_fit(struct bits_type type, int64_t value, enum bits_overflow overflow, int64_t *fitting);

#endif
