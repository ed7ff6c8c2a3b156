/* xid.h: pgoutput tells 32 bits of a transaction id; snapshots have 64. The upper half (the epoch) comes from a
 * reference: any full xid assigned within 2^31 of this one, which PostgreSQL's own wraparound rules ensure for
 * one that is read at the session's start and then follows the stream. */
#ifndef FRESHET_CDC_XID_H
#define FRESHET_CDC_XID_H

#include <stdint.h>

/* The full xid nearest to the reference whose lower half is xid. 0 stays 0. */
static inline uint64_t xid_extend(uint64_t reference, uint32_t xid) {
    if (xid == 0) return 0;
    int32_t ahead = (int32_t)(xid - (uint32_t)reference);
    if (ahead < 0 && reference < (uint64_t)(-(int64_t)ahead)) return xid; /* before epoch 0 */
    return reference + (uint64_t)(int64_t)ahead;
}

#endif
