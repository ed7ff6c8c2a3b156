/* permit.h: may this client run this command, by the rights of its user (acl.h)? Asked before each command whose client is not cleared
 * for everything, and once more for each command of an EXEC.
 *
 *     if (!client_is_cleared(ctx->client) && !permit(ctx)) return;      it was answered, and noted in the ACL log */
#ifndef FRESHET_CACHE_PERMIT_H
#define FRESHET_CACHE_PERMIT_H

#include <stdbool.h>

#include "cache/access/acl_rights.h"
#include "cache/commands/command.h"

/* False: NOAUTH or NOPERM was answered; or the user has been deleted, and the client is closed. ctx->command is set. */
bool permit(struct command_context *ctx);
/* The same without an answer, for EXEC: what is denied is noted. */
enum acl_verdict permit_queued(struct command_context *ctx);
/* As EXEC words it: "no permission to touch the specified keys". */
const char *permit_reason(enum acl_verdict verdict);
/* Channels were taken away from the user: has each of its clients looked at by its worker, which closes one that is subscribed to
 * what it may not be any more. The command waits for them all (client_block), until deadline_us at most. */
void permit_sweep_subscribers(struct command_context *ctx, struct slice user, int64_t deadline_us);
/* Notes a login that failed. */
void permit_note_login(struct command_context *ctx, struct slice user);

#endif
