#include "cache/access/permit.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/front/client.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"
#include "cache/signals/pubsub.h"

static struct acl *acl_of(struct command_context *ctx) { return worker_deps(ctx->worker)->acl; }

static bool is_in_multi(const struct command_context *ctx) {
    return ctx->in_exec || client_modes(ctx->client) & CLIENT_IN_MULTI;
}

static void note(struct command_context *ctx, enum acl_verdict reason, struct slice object,
                 struct slice user, bool in_multi) {
    struct buf client = {0};
    roster_describe(worker_deps(ctx->worker)->roster, client_card(ctx->client), ctx->now_ms,
                    &client);
    acl_note(acl_of(ctx), &(struct acl_event){.reason = reason,
                                              .context = in_multi ? "multi" : "toplevel",
                                              .object = object,
                                              .user = user,
                                              .client = buf_slice(&client),
                                              .at_ms = ctx->now_ms});
    buf_deinit(&client);
}

static enum acl_verdict check(struct command_context *ctx, bool in_multi) {
    const struct acl_session *session = client_session(ctx->client);
    const struct command_ids *ids = acl_ids(acl_of(ctx));
    uint32_t at;
    enum acl_verdict verdict =
        acl_rights_check(session->rights, ids, ctx->command, ctx->argv, ctx->argc, &at);
    if (verdict == ACL_PERMITTED) return verdict;
    char name[COMMAND_NAME_MAX];
    command_full_name(ids, command_id(ids, ctx->command), name);
    note(ctx, verdict, verdict == ACL_DENIED_COMMAND ? slice_from(name) : ctx->argv[at],
         acl_session_name(session), in_multi);
    return verdict;
}

static void refuse(struct command_context *ctx, enum acl_verdict verdict) {
    char name[COMMAND_NAME_MAX];
    const struct command_ids *ids = acl_ids(acl_of(ctx));
    command_full_name(ids, command_id(ids, ctx->command), name);
    if (verdict == ACL_DENIED_COMMAND)
        reply_error(ctx->reply, "NOPERM this user has no permissions to run the '%s' command",
                    name);
    else
        reply_error(ctx->reply,
                    "NOPERM this user has no permissions to access one of the %s used as arguments",
                    verdict == ACL_DENIED_KEY ? "keys" : "channels");
}

bool permit(struct command_context *ctx) {
    struct acl *acl = acl_of(ctx);
    struct acl_session *session = client_session(ctx->client);
    if (!acl_refresh(acl, session)) {
        client_close_after_reply(ctx->client);
        return false;
    }
    if (acl_is_cleared(acl_version_cell(acl), session)) return true;
    if (ctx->command->flags & CMD_NO_AUTH) return true;
    if (!acl_is_admitted(acl, session)) {
        reply_error(ctx->reply, "NOAUTH Authentication required.");
        return false;
    }
    enum acl_verdict verdict = check(ctx, is_in_multi(ctx));
    if (verdict != ACL_PERMITTED) refuse(ctx, verdict);
    return verdict == ACL_PERMITTED;
}

enum acl_verdict permit_queued(struct command_context *ctx) {
    struct acl *acl = acl_of(ctx);
    struct acl_session *session = client_session(ctx->client);
    if (!acl_refresh(acl, session)) return ACL_DENIED_COMMAND;
    if (acl_is_cleared(acl_version_cell(acl), session)) return ACL_PERMITTED;
    return check(ctx, true);
}

const char *permit_reason(enum acl_verdict verdict) {
    switch (verdict) {
    case ACL_DENIED_COMMAND: return "no permission to execute the command or subcommand";
    case ACL_DENIED_KEY: return "no permission to touch the specified keys";
    case ACL_DENIED_CHANNEL:
        return "no permission to access one of the channels used as arguments to the command";
    case ACL_DENIED_AUTH:
    case ACL_PERMITTED: break;
    }
    return "no permission";
}

void permit_note_login(struct command_context *ctx, struct slice user) {
    note(ctx, ACL_DENIED_AUTH, ctx->argv[0], user, is_in_multi(ctx));
}

/* --- subscribers that lose their channels -------------------------------------------------------------------- */

/* One for all the clients that are looked at; the last to be done frees it and wakes who waits. */
struct sweep {
    struct client_ticket ticket;
    _Atomic uint32_t left;
};

struct judgement {
    struct loop_message message;
    struct worker *worker;
    uint32_t slot;
    uint64_t client_id;
    struct sweep *sweep;
};

static bool keeps_channels(struct client *client, const struct acl_rights *rights) {
    const struct subscriptions *of = client_subscriptions(client);
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        for (const struct named *one = NULL; (one = names_next(&of->of[kind], one));)
            if (!acl_rights_has_channel(rights, one->name, kind == PUBSUB_PATTERN)) return false;
    return true;
}

static void finish_one(struct sweep *sweep) {
    if (atomic_fetch_sub(&sweep->left, 1) != 1) return;
    if (sweep->ticket.worker) client_wake(sweep->ticket);
    mem_free(sweep);
}

static void run_judgement(struct loop_message *message, void *owner) {
    (void)message;
    struct judgement *judgement = owner;
    struct client *client = worker_client(judgement->worker, judgement->slot, judgement->client_id);
    struct acl *acl = worker_deps(judgement->worker)->acl;
    if (client) {
        struct acl_session *session = client_session(client);
        if (!acl_refresh(acl, session) || !keeps_channels(client, session->rights))
            client_close(client);
    }
    finish_one(judgement->sweep);
    mem_free(judgement);
}

static void post_judgement(const struct card *card, void *arg) {
    struct sweep *sweep = arg;
    struct judgement *judgement = mem_alloc(sizeof *judgement);
    *judgement = (struct judgement){.message = {.run = run_judgement, .owner = judgement},
                                    .worker = card->worker,
                                    .slot = card->slot,
                                    .client_id = card->id,
                                    .sweep = sweep};
    atomic_fetch_add(&sweep->left, 1);
    loop_post(worker_loop(card->worker), &judgement->message);
}

void permit_sweep_subscribers(struct command_context *ctx, struct slice user, int64_t deadline_us) {
    struct sweep *sweep = mem_zalloc(sizeof *sweep);
    sweep->left = 1;     /* our own, until all are posted */
    if (!ctx->in_exec) { /* there nothing waits */
        sweep->ticket = client_ticket(ctx);
        client_block(ctx, deadline_us);
    }
    struct roster_filter filter = {.user = user, .skip_id = client_id(ctx->client)};
    roster_each(worker_deps(ctx->worker)->roster, &filter, ctx->now_ms, post_judgement, sweep);
    finish_one(sweep);
}
