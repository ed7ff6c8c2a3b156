/* reload.h: SIGHUP: the configuration is read again; what can be taken over is, and what cannot is said. */
#ifndef FRESHET_SERVER_RELOAD_H
#define FRESHET_SERVER_RELOAD_H

#include "base/log.h"
#include "server/cli.h"
#include "server/config.h"

/* Main thread. `config` keeps what needs a restart and gets the rest. A file with mistakes changes nothing. */
void reload(const struct command_line *line, struct config *config, struct log *log);

#endif
