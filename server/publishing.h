/* publishing.h: the feed that `cdc` of a configuration asks for, in one place for whoever makes one.
 *
 *     struct feed_config feed = publishing_feed(config);     its strings are the configuration's */
#ifndef FRESHET_SERVER_PUBLISHING_H
#define FRESHET_SERVER_PUBLISHING_H

#include "server/config.h"

struct feed_config publishing_feed(const struct config *config);

/* For commands beside `run`: asks for the database's name, which the prefix may be. */
bool publishing_learn_database(struct config *config, struct error *err) MUST_CHECK;

#endif
