/* tracked.h: what a client that tracks does around each of its commands (tracking.h).
 *
 *     if (ctx->unusual & CLIENT_TRACKS) tracked_before(ctx);        the keys that it will read are remembered
 *     run
 *     if (ctx->unusual & CLIENT_TRACKS) tracked_after(ctx);         those that it may not keep are taken back
 *
 * Both look at read-only commands alone, as Redis does. Within an EXEC they are called for each of its commands, under the guard. */
#ifndef FRESHET_CACHE_TRACKED_H
#define FRESHET_CACHE_TRACKED_H

#include "cache/commands/command.h"

void tracked_before(struct command_context *ctx);
void tracked_after(struct command_context *ctx);

#endif
