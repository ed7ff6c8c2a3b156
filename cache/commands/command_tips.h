/* command_tips.h: what COMMAND INFO tells proxies and clients of clusters: whether an answer repeats itself, and how a command is spread
 * over servers and its answers are put together (Redis's documentation, "Command tips"). */
#ifndef FRESHET_CACHE_COMMAND_TIPS_H
#define FRESHET_CACHE_COMMAND_TIPS_H

#include "cache/commands/command.h"
#include "cache/front/reply.h"

/* `parent` is the container of a subcommand, else NULL. */
void command_tips_answer(struct reply *reply, const struct command *command,
                         const struct command *parent);

#endif
