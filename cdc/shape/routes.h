/* routes.h: topics that take the rows of several tables with nothing in their keys to tell them apart. To a compacted topic, and
 * to whoever keeps the last record of a key, rows of equal keys are one there.
 *
 *     routes_find_shared(config, catalog, tell, arg);
 *
 * Pure. */
#ifndef FRESHET_CDC_ROUTES_H
#define FRESHET_CDC_ROUTES_H

#include "base/catalog.h"
#include "cdc/publish/publisher.h"

struct shared_topic {
    const char *name;
    uint32_t n_tables;
    const struct catalog_table *first, *second; /* two of them; one lacks a key_field */
};

/* Calls `tell` for each, in the order of their names. Of the tables those count that are published, have a key, and are no
 * outboxes. */
void routes_find_shared(const struct publisher_config *config, const struct catalog *catalog,
                        void (*tell)(void *arg, const struct shared_topic *topic), void *arg);

#endif
