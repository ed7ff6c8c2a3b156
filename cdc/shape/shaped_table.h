/* shaped_table.h: an event_table as the configuration shapes it: with its shape, and as an outbox where it is one.
 *
 *     struct event_table *table = shaped_table_create(config, &plan);      plan.relation as the stream has it */
#ifndef FRESHET_CDC_SHAPED_TABLE_H
#define FRESHET_CDC_SHAPED_TABLE_H

#include "cdc/encode/event_table.h"
#include "cdc/publish/publisher.h"

/* `config` must outlive it. */
struct event_table *shaped_table_create(const struct publisher_config *config,
                                        const struct event_table_plan *plan);

#endif
