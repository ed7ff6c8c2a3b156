/* lanes.h: several writes under way at once: a batch is parted by a hash of its keys, each part goes through a sink of its own.
 *
 *     struct lanes *lanes = lanes_create(ops, n, sinks, err);
 *     lanes_apply(lanes, batch, err)            as ops->apply, on all of them; back when all are
 *
 * A key has one lane, and no batch begins before the one before has ended in every lane: so a key has one write in flight, and
 * barriers, positions and retries are what they are with one sink. The caller's thread is the first lane's; the others have
 * their own, which wait between batches. For sinks whose `apply` alone writes: none that keeps the position or a transaction. */
#ifndef FRESHET_CONNECTORS_LANES_H
#define FRESHET_CONNECTORS_LANES_H

#include "connectors/sink.h"

enum { LANES_MAX = 16 };

struct lanes;

/* Borrows the sinks, all made from one configuration. NULL: no thread was to be had. */
struct lanes *lanes_create(const struct sink_ops *ops, uint32_t n, struct sink *const *sinks,
                           struct error *err);
void lanes_destroy(struct lanes **lanes);

/* As the functions of sink_ops; the target is what the first one finds. */
bool lanes_open(struct lanes *lanes, const struct shape *shape, uint64_t system_identifier,
                struct sink_target *target, struct error *err) MUST_CHECK;
bool lanes_reshape(struct lanes *lanes, const struct shape *shape, struct error *err) MUST_CHECK;
bool lanes_apply(struct lanes *lanes, struct batch *batch, struct error *err) MUST_CHECK;
bool lanes_flush(struct lanes *lanes, const struct change_position *position,
                 struct error *err) MUST_CHECK;

#endif
