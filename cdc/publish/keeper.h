/* keeper.h: keeps a publisher's publication up while it streams: tables that are made later, and that the
 * patterns name, join by themselves.
 *
 * A thread with a connection of its own, which polls the catalog's fingerprint; what it cannot do it logs and
 * tries again. It also writes the heartbeats of `cdc.wal_heartbeat`. Start and stop as often as sessions come and go. */
#ifndef FRESHET_CDC_KEEPER_H
#define FRESHET_CDC_KEEPER_H

#include "base/log.h"
#include "cdc/publish/publisher.h"

struct keeper;

/* `config` must outlive it. */
struct keeper *keeper_create(const struct publisher_config *config, struct log *log);
void keeper_destroy(struct keeper **keeper);
void keeper_start(struct keeper *keeper);
/* Differs after the catalog has changed in what decides which columns identify a row. Any thread. */
uint64_t keeper_generation(struct keeper *keeper);
/* Returns when its thread has ended. */
void keeper_stop(struct keeper *keeper);

#endif
