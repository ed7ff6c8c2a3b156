/* fleet.h: the options of caches that follow one publisher's topic, and of that publisher.
 *
 *     fleet_check(config, file, mistakes);      what does not fit together
 *     fleet_finish(config);                     what follows from other options, once the database's name is known */
#ifndef FRESHET_SERVER_FLEET_H
#define FRESHET_SERVER_FLEET_H

#include "server/config.h"

/* Does the cache follow a topic? */
bool fleet_follows(const struct config *config);
/* `file`: where what was not said could have been. */
void fleet_check(struct config *config, const char *file, struct mistakes *mistakes);
void fleet_finish(struct config *config);

#endif
