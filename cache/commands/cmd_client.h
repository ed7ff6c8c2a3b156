/* cmd_client.h: CLIENT's parts. */
#ifndef FRESHET_CACHE_CMD_CLIENT_H
#define FRESHET_CACHE_CMD_CLIENT_H

#include <stdbool.h>

#include "base/slice.h"
#include "cache/commands/command.h"

extern const struct command client_subcommands[]; /* cmd_client.c */

/* cmd_tracking.c */
void client_cmd_caching(struct command_context *ctx);
void client_cmd_getredir(struct command_context *ctx);
void client_cmd_tracking(struct command_context *ctx);
void client_cmd_trackinginfo(struct command_context *ctx);

/* cmd_client_list.c */
void client_cmd_info(struct command_context *ctx);
void client_cmd_kill(struct command_context *ctx);
void client_cmd_list(struct command_context *ctx);

/* A name that a client may give itself; answers the error where it is none. */
bool cmd_client_name_fits(struct command_context *ctx, struct slice name);

#endif
