/* cmd_pubsub.c: SUBSCRIBE, PUBLISH and their like, PUBSUB, MONITOR. What is answered to a subscription is a push, one a name; who is
 * subscribed to what is pubsub.h's. */
#include "cache/commands/cmd.h"
#include "cache/front/client.h"
#include "cache/front/gate.h"
#include "cache/front/reply.h"
#include "cache/front/worker.h"
#include "cache/signals/pubsub.h"
#include "cache/values/glob.h"

static struct pubsub *pubsub_of(struct command_context *ctx) {
    return worker_deps(ctx->worker)->pubsub;
}

/* --- subscribing ------------------------------------------------------------------------------------------- */

static const struct {
    const char *subscribed, *unsubscribed;
} words[PUBSUB_KINDS] = {
    {"subscribe", "unsubscribe"}, {"psubscribe", "punsubscribe"}, {"ssubscribe", "sunsubscribe"}};

/* Channels and patterns are counted together, shard channels by themselves. */
static uint32_t count_beside(const struct subscriptions *of, enum pubsub_kind kind) {
    if (kind == PUBSUB_SHARD) return subscriptions_count(of, kind);
    return subscriptions_count(of, PUBSUB_CHANNEL) + subscriptions_count(of, PUBSUB_PATTERN);
}

/* name NULL: there was none to take back. */
static void confirm(struct command_context *ctx, const char *word, const struct slice *name,
                    uint32_t count) {
    ctx->pushes = true;
    reply_push(ctx->reply, 3);
    reply_text(ctx->reply, word);
    if (name)
        reply_bulk(ctx->reply, *name);
    else
        reply_null(ctx->reply);
    reply_integer(ctx->reply, count);
}

static void subscribe(struct command_context *ctx, enum pubsub_kind kind) {
    struct subscriptions *of = client_subscriptions(ctx->client);
    for (uint32_t i = 1; i < ctx->argc; i++) {
        pubsub_subscribe(pubsub_of(ctx), of, client_mailbox(ctx->client), kind, ctx->argv[i]);
        confirm(ctx, words[kind].subscribed, &ctx->argv[i], count_beside(of, kind));
    }
    client_note_subscriptions(ctx->client);
}

static void unsubscribe_from_all(struct command_context *ctx, enum pubsub_kind kind) {
    struct subscriptions *of = client_subscriptions(ctx->client);
    struct buf name = {0};
    bool any = false;
    for (struct named *first; (first = names_next(&of->of[kind], NULL)); any = true) {
        name.len = 0;
        buf_append_slice(&name, first->name);
        struct slice kept = buf_slice(&name);
        pubsub_unsubscribe(pubsub_of(ctx), of, kind, kept);
        confirm(ctx, words[kind].unsubscribed, &kept, count_beside(of, kind));
    }
    if (!any) confirm(ctx, words[kind].unsubscribed, NULL, count_beside(of, kind));
    buf_deinit(&name);
}

static void unsubscribe(struct command_context *ctx, enum pubsub_kind kind) {
    struct subscriptions *of = client_subscriptions(ctx->client);
    if (ctx->argc == 1) unsubscribe_from_all(ctx, kind);
    for (uint32_t i = 1; i < ctx->argc; i++) {
        pubsub_unsubscribe(pubsub_of(ctx), of, kind, ctx->argv[i]);
        confirm(ctx, words[kind].unsubscribed, &ctx->argv[i], count_beside(of, kind));
    }
    client_note_subscriptions(ctx->client);
}

static void cmd_subscribe(struct command_context *ctx) { subscribe(ctx, PUBSUB_CHANNEL); }
static void cmd_psubscribe(struct command_context *ctx) { subscribe(ctx, PUBSUB_PATTERN); }
static void cmd_ssubscribe(struct command_context *ctx) {
    if (ctx->in_exec)
        reply_error(ctx->reply, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
    else
        subscribe(ctx, PUBSUB_SHARD);
}
static void cmd_unsubscribe(struct command_context *ctx) { unsubscribe(ctx, PUBSUB_CHANNEL); }
static void cmd_punsubscribe(struct command_context *ctx) { unsubscribe(ctx, PUBSUB_PATTERN); }
static void cmd_sunsubscribe(struct command_context *ctx) { unsubscribe(ctx, PUBSUB_SHARD); }

/* --- publishing -------------------------------------------------------------------------------------------- */

static void cmd_publish(struct command_context *ctx) {
    reply_integer(ctx->reply,
                  pubsub_publish(pubsub_of(ctx), PUBSUB_CHANNEL, ctx->argv[1], ctx->argv[2]));
}

static void cmd_spublish(struct command_context *ctx) {
    reply_integer(ctx->reply,
                  pubsub_publish(pubsub_of(ctx), PUBSUB_SHARD, ctx->argv[1], ctx->argv[2]));
}

/* --- PUBSUB ------------------------------------------------------------------------------------------------- */

struct listing {
    struct slice pattern; /* data NULL: all */
    struct reply names;   /* into a buffer of its own, since the number of names comes first */
    size_t n;
};

static void list_topic(struct slice name, uint32_t subscribers, void *arg) {
    (void)subscribers;
    struct listing *listing = arg;
    if (listing->pattern.data && !glob_match(listing->pattern, name)) return;
    reply_bulk(&listing->names, name);
    listing->n++;
}

static void list_topics(struct command_context *ctx, enum pubsub_kind kind) {
    if (ctx->argc > 3) {
        cmd_answer_sub_arity(ctx);
        return;
    }
    struct buf names = {0};
    struct listing listing = {.names = {.out = &names, .protocol = ctx->reply->protocol}};
    if (ctx->argc == 3) listing.pattern = ctx->argv[2];
    pubsub_each(pubsub_of(ctx), kind, list_topic, &listing);
    reply_array(ctx->reply, listing.n);
    buf_append_slice(ctx->reply->out, buf_slice(&names));
    buf_deinit(&names);
}

static void pubsub_cmd_channels(struct command_context *ctx) { list_topics(ctx, PUBSUB_CHANNEL); }
static void pubsub_cmd_shardchannels(struct command_context *ctx) {
    list_topics(ctx, PUBSUB_SHARD);
}

static void count_subscribers(struct command_context *ctx, enum pubsub_kind kind) {
    reply_array(ctx->reply, 2 * ((size_t)ctx->argc - 2));
    for (uint32_t i = 2; i < ctx->argc; i++) {
        reply_bulk(ctx->reply, ctx->argv[i]);
        reply_integer(ctx->reply, pubsub_subscribers(pubsub_of(ctx), kind, ctx->argv[i]));
    }
}

static void pubsub_cmd_numsub(struct command_context *ctx) {
    count_subscribers(ctx, PUBSUB_CHANNEL);
}
static void pubsub_cmd_shardnumsub(struct command_context *ctx) {
    count_subscribers(ctx, PUBSUB_SHARD);
}
static void pubsub_cmd_numpat(struct command_context *ctx) {
    reply_integer(ctx->reply, pubsub_topics(pubsub_of(ctx), PUBSUB_PATTERN));
}

/* --- MONITOR ------------------------------------------------------------------------------------------------ */

/* A second one is not answered, as with Redis. */
static void cmd_monitor(struct command_context *ctx) {
    if (ctx->in_exec) {
        reply_error(ctx->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if (client_modes(ctx->client) & CLIENT_MONITORS) return;
    gate_add_monitor(worker_deps(ctx->worker)->gate, client_mailbox(ctx->client));
    client_set_mode(ctx->client, CLIENT_MONITORS, true);
    reply_ok(ctx->reply);
}

/* --- the table ---------------------------------------------------------------------------------------------- */

enum {
    ANY_TIME = CMD_PUBSUB | CMD_LOADING | CMD_STALE,
    SUBSCRIBES = ANY_TIME | CMD_NOSCRIPT | CMD_SUBSCRIBED,
    PUBLISHES = ANY_TIME | CMD_FAST | CMD_MAY_REPLICATE,
};

static const struct command pubsub_subcommands[] = {
    {"channels", pubsub_cmd_channels, -2, ANY_TIME, NO_KEYS, "2.8.0", GROUP_PUBSUB,
     "Returns the active channels.",
     "O(N) where N is the number of active channels, and assuming constant time pattern matching",
     NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "6.2.0", GROUP_PUBSUB,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"numpat", pubsub_cmd_numpat, 2, ANY_TIME, NO_KEYS, "2.8.0", GROUP_PUBSUB,
     "Returns a count of unique pattern subscriptions.", "O(1)", NULL},
    {"numsub", pubsub_cmd_numsub, -2, ANY_TIME, NO_KEYS, "2.8.0", GROUP_PUBSUB,
     "Returns a count of subscribers to channels.", "O(N) for the NUMSUB subcommand", NULL},
    {"shardchannels", pubsub_cmd_shardchannels, -2, ANY_TIME, NO_KEYS, "7.0.0", GROUP_PUBSUB,
     "Returns the active shard channels.", "O(N) where N is the number of active shard channels",
     NULL},
    {"shardnumsub", pubsub_cmd_shardnumsub, -2, ANY_TIME, NO_KEYS, "7.0.0", GROUP_PUBSUB,
     "Returns the count of subscribers of shard channels.",
     "O(N) where N is the number of requested shard channels", NULL},
    {0},
};

const struct command commands_pubsub[] = {
    {"monitor", cmd_monitor, 1, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "1.0.0", GROUP_SERVER, "Listens for all requests received by the server in real-time.", "O(1)",
     NULL},
    {"psubscribe", cmd_psubscribe, -2, SUBSCRIBES, NO_KEYS, "2.0.0", GROUP_PUBSUB,
     "Listens for messages published to channels that match one or more patterns.",
     "O(N) where N is the number of patterns", NULL},
    {"publish", cmd_publish, 3, PUBLISHES, NO_KEYS, "2.0.0", GROUP_PUBSUB,
     "Posts a message to a channel.",
     "O(N+M) with the clients subscribed to the channel and the patterns subscribed to", NULL},
    {"pubsub", NULL, -2, 0, NO_KEYS, "2.8.0", GROUP_PUBSUB, "A container for Pub/Sub commands.",
     "Depends on subcommand.", pubsub_subcommands},
    {"punsubscribe", cmd_punsubscribe, -1, SUBSCRIBES, NO_KEYS, "2.0.0", GROUP_PUBSUB,
     "Stops listening to messages published to channels that match one or more patterns.",
     "O(N) where N is the number of patterns", NULL},
    {"spublish", cmd_spublish, 3, PUBLISHES, KEYS(1, 1, 1), "7.0.0", GROUP_PUBSUB,
     "Posts a message to a shard channel.",
     "O(N) where N is the number of clients subscribed to the shard channel", NULL},
    {"ssubscribe", cmd_ssubscribe, -2, SUBSCRIBES, KEYS(1, -1, 1), "7.0.0", GROUP_PUBSUB,
     "Listens for messages published to shard channels.",
     "O(N) where N is the number of shard channels", NULL},
    {"subscribe", cmd_subscribe, -2, SUBSCRIBES, NO_KEYS, "2.0.0", GROUP_PUBSUB,
     "Listens for messages published to channels.", "O(N) where N is the number of channels", NULL},
    {"sunsubscribe", cmd_sunsubscribe, -1, SUBSCRIBES, KEYS(1, -1, 1), "7.0.0", GROUP_PUBSUB,
     "Stops listening to messages posted to shard channels.",
     "O(N) where N is the number of shard channels", NULL},
    {"unsubscribe", cmd_unsubscribe, -1, SUBSCRIBES, NO_KEYS, "2.0.0", GROUP_PUBSUB,
     "Stops listening to messages posted to channels.", "O(N) where N is the number of channels",
     NULL},
    {0},
};
