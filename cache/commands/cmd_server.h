/* cmd_server.h: the parts of the server group that lie in files of their own. */
#ifndef FRESHET_CACHE_CMD_SERVER_H
#define FRESHET_CACHE_CMD_SERVER_H

#include "cache/commands/command.h"

void cmd_command(struct command_context *ctx); /* cmd_command.c: COMMAND without a subcommand */
extern const struct command command_subcommands[];

void cmd_info(struct command_context *ctx);   /* cmd_info.c */
void info_reset(struct command_context *ctx); /* what INFO counts begins anew: CONFIG RESETSTAT */

extern const struct command config_subcommands[]; /* cmd_config.c */

#endif
