/* heartbeat.h: records on a topic of their own, `__debezium-heartbeat.<prefix>`, which say that the stream is alive though none
 * of the tables changes: {"serverName":"<prefix>"} -> {"ts_ms":...}, as Debezium's heartbeat.interval.ms makes them.
 *
 *     if (heartbeat_is_due(heartbeat, now_us)) heartbeat_write(heartbeat, ..., err);
 *
 * One is written between transactions, in the output's transaction that holds the position reached. The feed's thread. */
#ifndef FRESHET_CDC_HEARTBEAT_H
#define FRESHET_CDC_HEARTBEAT_H

#include "cdc/encode/encode.h"
#include "cdc/output/output.h"

struct heartbeat;

/* NULL where the configuration asks for none; each function but `write` takes it so. `config` must outlive it. */
struct heartbeat *heartbeat_create(const struct publisher_config *config,
                                   const struct publisher_deps *deps,
                                   const struct event_encoder *encoder, struct event_source *source,
                                   const struct output_ops *output_ops, void *output);
void heartbeat_destroy(struct heartbeat **heartbeat);

/* A session begins: the first one comes after the interval. */
void heartbeat_start(struct heartbeat *heartbeat, int64_t now_us);
bool heartbeat_is_due(const struct heartbeat *heartbeat, int64_t now_us);
bool heartbeat_write(struct heartbeat *heartbeat, int64_t now_us, struct error *err) MUST_CHECK;

#endif
