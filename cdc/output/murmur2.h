/* murmur2.h: the hash by which Java's Kafka client places records: partition = murmur2(bytes) & 0x7fffffff, modulo their
 * number (org.apache.kafka.common.utils.Utils.murmur2). */
#ifndef FRESHET_CDC_MURMUR2_H
#define FRESHET_CDC_MURMUR2_H

#include <stdint.h>

#include "base/slice.h"

uint32_t murmur2(struct slice bytes);

#endif
