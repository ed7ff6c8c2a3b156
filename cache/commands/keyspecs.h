/* keyspecs.h: where a command's keys are and what it does with them, as COMMAND INFO tells it (redis.io/docs/reference/key-specs):
 * the tables of commands say where, keyuse.h says what. */
#ifndef FRESHET_CACHE_KEYSPECS_H
#define FRESHET_CACHE_KEYSPECS_H

#include "cache/commands/command.h"
#include "cache/front/reply.h"

/* `parent` is the container of a subcommand, else NULL. */
void keyspecs_answer(struct reply *reply, const struct command *command,
                     const struct command *parent);

#endif
