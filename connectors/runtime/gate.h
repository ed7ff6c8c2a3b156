/* gate.h: when a connector may write to its sink: not while it is paused, not faster than its rate, and after a row of failures
 * only now and then (a circuit breaker).
 *
 *     wait_us = gate_wait_us(&gate, now_us)           0: go on; GATE_CLOSED: until somebody resumes
 *     gate_passed(&gate, n_writes, now_us)            so many were applied
 *     wait_us = gate_failed(&gate, &backoff)          a try failed: so long until the next
 *
 * The breaker is closed while tries succeed; then every failure is followed by a backoff. After `breaker_failures` of them in a
 * row it is open: the sink is left alone for `breaker_pause_us`, then one try is made, and what that comes to decides. Pure. */
#ifndef FRESHET_CONNECTORS_GATE_H
#define FRESHET_CONNECTORS_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectors/runtime/backoff.h"

#define GATE_CLOSED INT64_MAX

struct gate_config {
    uint64_t writes_per_second; /* 0: as fast as the sink takes them */
    uint32_t breaker_failures;  /* 0: never open */
    int64_t breaker_pause_us;
};

struct gate {
    struct gate_config config;
    bool paused;
    int64_t due_us; /* monotonic: not before, by the rate */
    uint32_t failures;
};

int64_t gate_wait_us(const struct gate *gate, int64_t now_us);
void gate_passed(struct gate *gate, size_t n_writes, int64_t now_us);
int64_t gate_failed(struct gate *gate, struct backoff *backoff);
bool gate_broken(const struct gate *gate);
/* So many writes a batch holds at most, that the rate is kept within a part of a second; 0: any. */
size_t gate_batch_writes(const struct gate_config *config);

#endif
