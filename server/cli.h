/* cli.h: the command line: which command, and what was said with it.
 *
 *     struct command_line line;
 *     cli_parse(&line, argc, argv, environ, mistakes);       all mistakes; nothing is read or started yet
 *     return line.command->run(&line);                       the exit code
 */
#ifndef FRESHET_SERVER_CLI_H
#define FRESHET_SERVER_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "server/config.h"
#include "server/mistakes.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_MISUSED = 2 };

struct command_line;

/* A flag of one command alone: "--from snapshot", or a switch, which takes no value. The last of a table has a NULL name. */
struct cli_flag {
    const char *name;
    const char
        *argument; /* what the help calls its value; with neither this nor choices it is a switch */
    const char *choices; /* "snapshot|now"; NULL: any text */
    bool required;
    const char *help;
};

/* One row a command. */
struct cli_command {
    const char *name; /* one word, or two: "cdc reset" */
    int (*run)(const struct command_line *line);
    bool configured; /* takes -c, --set and the options' own flags */
    bool partial; /* uses some of the options alone: what is missing for a run is not its matter */
    bool prints_json;             /* takes --json */
    const char *operand;          /* what must follow it, as the help calls it: "TABLE"; or NULL */
    const struct cli_flag *flags; /* its own; NULL: none */
    const char *summary;
    const char *details; /* for `freshet help NAME` */
};

/* Ends with a NULL name. */
extern const struct cli_command cli_commands[];

enum { CLI_FLAGS_MAX = 8 };

struct command_line {
    struct arena *arena;
    const struct cli_command *command; /* NULL: none was named */
    struct config_sources sources;
    bool help;
    bool version;
    bool json;
    const char *topic; /* `freshet help TOPIC` */
    const char *operand;
    const char *flag_values[CLI_FLAGS_MAX]; /* of command->flags, in their order; NULL: not given */
};

/* What was given with a flag of the command's own; NULL: nothing. */
const char *cli_flag(const struct command_line *line, const char *name);

void cli_parse(struct command_line *line, int argc, char **argv, char *const *environment,
               struct mistakes *mistakes);
void cli_deinit(struct command_line *line);

/* The configuration of the line; NULL after printing each mistake on standard error. */
struct config *cli_config(const struct command_line *line);

#endif
