/* sources.h: several databases in one process: the entries of `sources`, each a configuration of its own.
 *
 *     sources_load(config, mistakes);                  after all layers: config->sources
 *     sources_check(config, &sources, mistakes);       what does not fit together
 *     struct config *one = sources_find(config, "orders");
 *
 * A source begins as the main configuration is, and says what differs: `database.url`, and any option of `cdc`. What must
 * not be shared (the slot, the publication, the prefix) begins with defaults of its own. It runs a publisher and nothing
 * else: the cache and the connectors stay with the main `database`. */
#ifndef FRESHET_SERVER_SOURCES_H
#define FRESHET_SERVER_SOURCES_H

#include "server/config.h"

void sources_load(struct config *config, struct mistakes *mistakes);
void sources_check(struct config *config, const struct config_sources *said,
                   struct mistakes *mistakes);
/* NULL: there is none of that name. */
struct config *sources_find(const struct config *config, const char *name);

/* For a command: the one of that name; NULL: the main one, or the only one there is. NULL and *why: none can be meant. */
struct config *sources_choose(struct config *config, const char *name, const char **why);

/* Does the main `database` have a publisher? */
static inline bool sources_main_publishes(const struct config *config) {
    return config->roles & ROLE_CDC && config->database_url;
}

#endif
