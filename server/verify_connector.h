/* verify_connector.h: `freshet verify NAME`: the process that runs the connector compares its sink with the database. */
#ifndef FRESHET_SERVER_VERIFY_CONNECTOR_H
#define FRESHET_SERVER_VERIFY_CONNECTOR_H

#include "server/cli.h"

/* The exit code. */
int verify_connector(const struct command_line *line);

#endif
