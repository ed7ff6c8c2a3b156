/* oversize.h: records that the brokers refuse for their size, known again when the stream comes by once more.
 *
 * A refusal comes after the call that produced the record, for a whole batch of records, and fails the Kafka transaction. So the
 * session ends, the next one sends each record in a batch of its own (`alone`), and what is refused then is noted here: when the
 * session after that comes to it, it is not sent. Noted by a hash of topic, key and value without its digits, since the wall
 * clock is in them.
 *
 * One thread, the feed's. */
#ifndef FRESHET_CDC_OVERSIZE_H
#define FRESHET_CDC_OVERSIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { OVERSIZE_MOST = 1024 }; /* then the oldest is forgotten, and refused again */

struct oversize {
    bool alone; /* this session sends records one by one */
    bool seen;  /* a refusal, of a batch */
    uint32_t n;
    uint32_t next;
    uint64_t refused[OVERSIZE_MOST];
};

/* A session begins. */
void oversize_begin(struct oversize *oversize);
/* The brokers refused it for its size, or one of its batch. */
void oversize_note(struct oversize *oversize, const char *topic, struct slice key,
                   struct slice value);
/* Was it refused alone? */
bool oversize_knows(const struct oversize *oversize, const char *topic, struct slice key,
                    struct slice value);

#endif
