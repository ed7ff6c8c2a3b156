/* java_hash.h: the order in which a java.util.HashMap gives its strings: consumers compare Debezium's events as text.
 *
 *     bucket = java_hash(text) & (n_buckets - 1)        by bucket; within one, as they were put
 *
 * Pure. */
#ifndef FRESHET_CDC_JAVA_HASH_H
#define FRESHET_CDC_JAVA_HASH_H

#include <stdint.h>

#include "base/slice.h"

enum { JAVA_MAP_BUCKETS = 16 /* of a new map */ };

/* java.lang.String.hashCode over UTF-16, then HashMap's spreading. */
uint32_t java_hash(struct slice text);
/* How many buckets a map of so many has that has grown to n; a map never shrinks. */
uint32_t java_map_buckets(uint32_t n_buckets, uint32_t n);

#endif
