/* preflight.h: before `run` starts anything: can it work at all? */
#ifndef FRESHET_SERVER_PREFLIGHT_H
#define FRESHET_SERVER_PREFLIGHT_H

#include "base/log.h"
#include "server/config.h"

/* The exit code: 0 all is well and the configuration is finished (config_finish); 1 the database is not there or lacks
 * something, each with its line in the log that says what to do; 2 the configuration names what is not there. */
int preflight(struct config *config, struct log *log);

#endif
