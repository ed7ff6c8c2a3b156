/* cmd_client.c: CLIENT: what a client says of itself, and the modes that it is put in. LIST, INFO and KILL are in
 * cmd_client_list.c. */
#include "cache/commands/cmd_client.h"

#include "cache/commands/cmd.h"
#include "cache/front/client.h"
#include "cache/front/gate.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"
#include "cache/signals/keywaits.h"
#include "cache/values/number.h"

enum { SHOWN_MAX = 128, EXPIRE_BUDGET = 2000 };

static bool is_word(struct slice argument, const char *word) {
    return slice_equal_nocase(argument, slice_from(word));
}

/* For %.*s: what of the client's own words goes into an error. */
static int shown_len(struct slice word) {
    return (int)(word.len < SHOWN_MAX ? word.len : SHOWN_MAX);
}

static struct roster *roster_of(struct command_context *ctx) {
    return worker_deps(ctx->worker)->roster;
}

/* Redis takes '!' to '~' in the names that clients give themselves. */
static bool is_plain_word(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '!' || text.data[i] > '~') return false;
    return true;
}

bool cmd_client_name_fits(struct command_context *ctx, struct slice name) {
    if (is_plain_word(name)) return true;
    reply_error(ctx->reply,
                "ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
}

static void client_cmd_id(struct command_context *ctx) {
    reply_integer(ctx->reply, (int64_t)client_id(ctx->client));
}

static void client_cmd_setname(struct command_context *ctx) {
    if (!cmd_client_name_fits(ctx, ctx->argv[2])) return;
    roster_set_word(roster_of(ctx), client_card(ctx->client), CARD_NAME, ctx->argv[2]);
    reply_ok(ctx->reply);
}

static void client_cmd_getname(struct command_context *ctx) {
    struct buf name = {0};
    roster_word(roster_of(ctx), client_card(ctx->client), CARD_NAME, &name);
    if (name.len)
        reply_bulk(ctx->reply, buf_slice(&name));
    else
        reply_null(ctx->reply);
    buf_deinit(&name);
}

static void client_cmd_setinfo(struct command_context *ctx) {
    static const struct {
        const char *option;
        enum card_word word;
    } options[] = {{"lib-name", CARD_LIB_NAME}, {"lib-ver", CARD_LIB_VERSION}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!is_word(ctx->argv[2], options[i].option)) continue;
        if (!is_plain_word(ctx->argv[3])) {
            reply_error(ctx->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                        options[i].option);
            return;
        }
        roster_set_word(roster_of(ctx), client_card(ctx->client), options[i].word, ctx->argv[3]);
        reply_ok(ctx->reply);
        return;
    }
    reply_error(ctx->reply, "ERR Unrecognized option '%.*s'", shown_len(ctx->argv[2]),
                ctx->argv[2].data);
}

static void set_card_flag(struct command_context *ctx, enum card_flag flag) {
    bool on = is_word(ctx->argv[2], "on");
    if (!on && !is_word(ctx->argv[2], "off")) {
        reply_syntax_error(ctx->reply);
        return;
    }
    card_flag(client_card(ctx->client), flag, on);
    reply_ok(ctx->reply);
}

static void client_cmd_no_evict(struct command_context *ctx) { set_card_flag(ctx, CARD_NO_EVICT); }
static void client_cmd_no_touch(struct command_context *ctx) { set_card_flag(ctx, CARD_NO_TOUCH); }

/* --- modes -------------------------------------------------------------------------------------------------- */

static void client_cmd_reply(struct command_context *ctx) {
    struct client *client = ctx->client;
    if (is_word(ctx->argv[2], "on")) {
        client_set_mode(client, CLIENT_REPLY_OFF, false);
        client_set_mode(client, CLIENT_REPLY_SKIP, false);
        reply_ok(ctx->reply);
    } else if (is_word(ctx->argv[2], "off")) {
        client_set_mode(client, CLIENT_REPLY_OFF, true);
    } else if (!is_word(ctx->argv[2], "skip")) {
        reply_syntax_error(ctx->reply);
    } else if (!(client_modes(client) & CLIENT_REPLY_OFF)) {
        client_set_mode(client, CLIENT_REPLY_SKIP_NEXT, true);
    }
}

static void client_cmd_pause(struct command_context *ctx) {
    bool all = true;
    int64_t timeout_ms;
    if (ctx->argc > 4) {
        cmd_answer_sub_arity(ctx);
        return;
    }
    if (ctx->argc == 4) {
        all = is_word(ctx->argv[3], "all");
        if (!all && !is_word(ctx->argv[3], "write")) {
            reply_error(ctx->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    if (!number_parse_i64(ctx->argv[2], &timeout_ms) ||
        timeout_ms > INT64_MAX / 1000 - ctx->now_ms) {
        reply_error(ctx->reply, "ERR timeout is not an integer or out of range");
    } else if (timeout_ms < 0) {
        reply_error(ctx->reply, "ERR timeout is negative");
    } else {
        gate_pause(worker_deps(ctx->worker)->gate, all, ctx->now_us + timeout_ms * 1000);
        reply_ok(ctx->reply);
    }
}

static void client_cmd_unpause(struct command_context *ctx) {
    gate_unpause(worker_deps(ctx->worker)->gate);
    /* what was due meanwhile goes now, not when the workers next look; a transaction holds locks */
    if (!ctx->guard) store_expire(ctx->store, 0, 1, ctx->now_ms, EXPIRE_BUDGET);
    reply_ok(ctx->reply);
}

static void client_cmd_unblock(struct command_context *ctx) {
    bool error = false;
    int64_t id;
    if (ctx->argc > 4) {
        cmd_answer_sub_arity(ctx);
        return;
    }
    if (ctx->argc == 4) {
        error = is_word(ctx->argv[3], "error");
        if (!error && !is_word(ctx->argv[3], "timeout")) {
            reply_error(ctx->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (!cmd_integer(ctx, ctx->argv[2], &id)) return;
    bool unblocked = keywaits_unblock(ctx->keywaits, (uint64_t)id, error) ||
                     roster_unblock(roster_of(ctx), (uint64_t)id, error);
    reply_integer(ctx->reply, unblocked);
}

/* --- the table ---------------------------------------------------------------------------------------------- */

enum { ANY_TIME = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE };

const struct command client_subcommands[] = {
    {"caching", client_cmd_caching, 3, ANY_TIME, NO_KEYS, "6.0.0", GROUP_CONNECTION,
     "Instructs the server whether to track the keys in the next request.", "O(1)", NULL},
    {"getredir", client_cmd_getredir, 2, ANY_TIME, NO_KEYS, "6.0.0", GROUP_CONNECTION,
     "Returns the client ID to which the connection's tracking notifications are redirected.",
     "O(1)", NULL},
    {"getname", client_cmd_getname, 2, ANY_TIME, NO_KEYS, "2.6.9", GROUP_CONNECTION,
     "Returns the name of the connection.", "O(1)", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "5.0.0", GROUP_CONNECTION,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"id", client_cmd_id, 2, ANY_TIME, NO_KEYS, "5.0.0", GROUP_CONNECTION,
     "Returns the unique client ID of the connection.", "O(1)", NULL},
    {"info", client_cmd_info, 2, ANY_TIME, NO_KEYS, "6.2.0", GROUP_CONNECTION,
     "Returns information about the connection.", "O(1)", NULL},
    {"kill", client_cmd_kill, -3, ANY_TIME | CMD_ADMIN, NO_KEYS, "2.4.0", GROUP_CONNECTION,
     "Terminates open connections.", "O(N) where N is the number of client connections", NULL},
    {"list", client_cmd_list, -2, ANY_TIME | CMD_ADMIN, NO_KEYS, "2.4.0", GROUP_CONNECTION,
     "Lists open connections.", "O(N) where N is the number of client connections", NULL},
    {"no-evict", client_cmd_no_evict, 3, ANY_TIME | CMD_ADMIN, NO_KEYS, "7.0.0", GROUP_CONNECTION,
     "Sets the client eviction mode of the connection.", "O(1)", NULL},
    {"no-touch", client_cmd_no_touch, 3, ANY_TIME, NO_KEYS, "7.2.0", GROUP_CONNECTION,
     "Controls whether commands sent by the client affect the eviction order of accessed keys.",
     "O(1)", NULL},
    {"pause", client_cmd_pause, -3, ANY_TIME | CMD_ADMIN, NO_KEYS, "3.0.0", GROUP_CONNECTION,
     "Suspends commands processing.", "O(1)", NULL},
    {"reply", client_cmd_reply, 3, ANY_TIME, NO_KEYS, "3.2.0", GROUP_CONNECTION,
     "Instructs the server whether to reply to commands.", "O(1)", NULL},
    {"setinfo", client_cmd_setinfo, 4, ANY_TIME, NO_KEYS, "7.2.0", GROUP_CONNECTION,
     "Sets information specific to the client or connection.", "O(1)", NULL},
    {"setname", client_cmd_setname, 3, ANY_TIME, NO_KEYS, "2.6.9", GROUP_CONNECTION,
     "Sets the connection name.", "O(1)", NULL},
    {"tracking", client_cmd_tracking, -3, ANY_TIME, NO_KEYS, "6.0.0", GROUP_CONNECTION,
     "Controls server-assisted client-side caching for the connection: of table rows too, whoever "
     "changes them.",
     "O(1). Some options may introduce additional complexity.", NULL},
    {"trackinginfo", client_cmd_trackinginfo, 2, ANY_TIME, NO_KEYS, "6.2.0", GROUP_CONNECTION,
     "Returns information about server-assisted client-side caching for the connection.", "O(1)",
     NULL},
    {"unblock", client_cmd_unblock, -3, ANY_TIME | CMD_ADMIN, NO_KEYS, "5.0.0", GROUP_CONNECTION,
     "Unblocks a client blocked by a blocking command from a different connection.",
     "O(N) where N is the number of client connections", NULL},
    {"unpause", client_cmd_unpause, 2, ANY_TIME | CMD_ADMIN, NO_KEYS, "6.2.0", GROUP_CONNECTION,
     "Resumes processing commands from paused clients.",
     "O(N) where N is the number of paused clients", NULL},
    {0},
};
