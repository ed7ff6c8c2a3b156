/* mask.h: values that must not be seen as they are: salted hashes, and texts cut short. The results are those of Debezium's
 * column.mask.hash.v2 and column.truncate.to.N.chars.
 *
 *     struct masker *masker = masker_create("SHA-256", salt);
 *     masker_hash(masker, text, 20, &hex)          hex digits of hash(salt, text), the first 20 of them
 *     mask_cut(text, 100)                          its first 100 characters
 *
 * A masker belongs to one thread. */
#ifndef FRESHET_CDC_MASK_H
#define FRESHET_CDC_MASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { MASK_HASH_MAX = 128 /* hex digits of the longest hash */ };

struct masker;

/* `algorithm` by the name that Java has for it: "SHA-256". NULL: there is none of that name. */
struct masker *masker_create(const char *algorithm, const char *salt);
void masker_destroy(struct masker **masker);
/* Into `out`, with room for MASK_HASH_MAX bytes; at most `longest` of them, 0: all. Returns how many. */
uint32_t masker_hash(struct masker *masker, struct slice value, uint32_t longest, char *out);

/* The text's first characters, counted as Java does (one beyond the basic plane is two), none of them halved. */
struct slice mask_cut(struct slice text, uint32_t characters);

#endif
