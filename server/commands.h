/* commands.h: the functions behind the rows of cli_commands[]; each answers the exit code. */
#ifndef FRESHET_SERVER_COMMANDS_H
#define FRESHET_SERVER_COMMANDS_H

#include "server/cli.h"

int cli_run(const struct command_line *line);              /* run.c */
int cli_check(const struct command_line *line);            /* check.c */
int cli_status(const struct command_line *line);           /* status.c */
int cli_cdc_reset(const struct command_line *line);        /* cdc_reset.c */
int cli_rebuild(const struct command_line *line);          /* rebuild.c */
int cli_connector_pause(const struct command_line *line);  /* connector_commands.c */
int cli_connector_resume(const struct command_line *line); /* connector_commands.c */
int cli_connector_retry(const struct command_line *line);  /* connector_commands.c */
int cli_snapshot(const struct command_line *line);         /* snapshot.c */
int cli_verify(const struct command_line *line);           /* verify.c */
int cli_cdc_replay(const struct command_line *line);       /* cdc_replay.c */
int cli_replay(const struct command_line *line);           /* replay.c */
int cli_reference(const struct command_line *line);        /* reference.c */
int cli_help(const struct command_line *line);             /* help.c */

#endif
