/* help.h: what `--help` prints, from the tables of commands and options. */
#ifndef FRESHET_SERVER_HELP_H
#define FRESHET_SERVER_HELP_H

#include <stdio.h>

#include "server/cli.h"

/* Of one command; NULL: of all. */
void help_print(FILE *out, const struct cli_command *command);

/* "5m", "every table with a key", "none": the default as a reader wants it. */
const char *help_default(const struct option *option);
/* "one of stream, ttl", "duration", ... Into `out`, NUL-terminated. */
void help_type(const struct option *option, char *out, size_t size);

#endif
