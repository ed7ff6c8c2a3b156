#include "cache/signals/tracked.h"

#include <string.h>

#include "cache/front/client.h"
#include "cache/front/worker.h"
#include "cache/rows/keyspace.h"
#include "cache/signals/tracking.h"

/* OPTIN: only what CLIENT CACHING YES was said of; OPTOUT: all but what CLIENT CACHING NO was said of. */
static bool is_tracked(const struct command_context *ctx) {
    const struct tracker *tracker = client_tracker(ctx->client);
    const uint32_t flags = tracker ? tracker_flags(tracker) : 0;
    bool caching = (client_modes(ctx->client) & CLIENT_CACHING) != 0;
    if (!(ctx->command->flags & CMD_READONLY) || ctx->command->flags & CMD_PUBSUB) return false;
    if (!(flags & TRACKER_ON)) return false;
    return !(flags & TRACKER_OPTIN && !caching) && !(flags & TRACKER_OPTOUT && caching);
}

void tracked_before(struct command_context *ctx) {
    if (!is_tracked(ctx)) return;
    struct tracking *tracking = worker_deps(ctx->worker)->tracking;
    struct tracker *tracker = client_tracker(ctx->client);
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    for (uint32_t i; (i = command_next_key(&keys));)
        tracking_remember(tracking, tracker, ctx->argv[i], store_hash(ctx->store, ctx->argv[i]),
                          ctx->guard);
}

/* Rows that the database has answered, and that memory does not show now: no commit will tell of them. */
static void take_back(struct command_context *ctx) {
    struct tracker *tracker = client_tracker(ctx->client);
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    for (uint32_t i; (i = command_next_key(&keys));)
        if (!keyspace_was_kept(ctx, ctx->argv[i])) tracking_invalidate(tracker, ctx->argv[i]);
}

/* CLIENT CACHING is of the next command, or of a whole transaction. */
static void end_caching(struct command_context *ctx) {
    uint32_t modes = client_modes(ctx->client);
    if (!(modes & CLIENT_CACHING) || modes & CLIENT_IN_MULTI) return;
    const struct command *parent = command_parent(ctx->command);
    if (!parent || strcmp(parent->name, "client") != 0)
        client_set_mode(ctx->client, CLIENT_CACHING, false);
}

void tracked_after(struct command_context *ctx) {
    if (ctx->n_pending || ctx->blocked) return;
    if (ctx->fetched && is_tracked(ctx)) take_back(ctx);
    if (!ctx->in_exec) end_caching(ctx);
}
