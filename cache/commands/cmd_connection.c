/* cmd_connection.c: commands about the connection itself: PING, HELLO, AUTH, CLIENT and their like. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/access/permit.h"
#include "cache/cache.h"
#include "cache/commands/cmd.h"
#include "cache/commands/cmd_client.h"
#include "cache/commands/command.h"
#include "cache/front/client.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/server_info.h"
#include "cache/front/worker.h"
#include "cache/rows/consistency.h"
#include "cache/values/number.h"

enum { SHOWN_MAX = 128 };

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

/* A RESP2 client that is subscribed reads nothing but messages. */
static void answer_pong_as_message(struct command_context *ctx) {
    reply_array(ctx->reply, 2);
    reply_text(ctx->reply, "pong");
    reply_bulk(ctx->reply, ctx->argc == 2 ? ctx->argv[1] : SLICE(""));
}

static void cmd_ping(struct command_context *ctx) {
    if (ctx->argc > 2)
        reply_error(ctx->reply, "ERR wrong number of arguments for 'ping' command");
    else if (ctx->unusual & CLIENT_SUBSCRIBED && ctx->reply->protocol == 2)
        answer_pong_as_message(ctx);
    else if (ctx->argc == 2)
        reply_bulk(ctx->reply, ctx->argv[1]);
    else
        buf_append(ctx->reply->out, "+PONG\r\n", 7);
}

static void cmd_echo(struct command_context *ctx) { reply_bulk(ctx->reply, ctx->argv[1]); }

static void cmd_quit(struct command_context *ctx) {
    reply_ok(ctx->reply);
    client_close_after_reply(ctx->client);
}

static void cmd_select(struct command_context *ctx) {
    if (cmd_database(ctx, ctx->argv[1])) reply_ok(ctx->reply);
}

/* --- AUTH, HELLO, RESET ------------------------------------------------------------------------------------- */

static struct acl *acl_of(struct command_context *ctx) { return worker_deps(ctx->worker)->acl; }

/* CLIENT LIST shows who it is. */
static void show_user(struct command_context *ctx) {
    struct slice name = acl_session_name(client_session(ctx->client));
    roster_set_word(roster_of(ctx), client_card(ctx->client), CARD_USER,
                    slice_equal(name, SLICE("default")) ? SLICE("") : name);
}

/* Answers where they are wrong. */
static bool authenticate(struct command_context *ctx, struct slice user, struct slice password) {
    if (!acl_login(acl_of(ctx), client_session(ctx->client), user, password)) {
        permit_note_login(ctx, user);
        reply_error(ctx->reply, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    show_user(ctx);
    return true;
}

static void cmd_auth(struct command_context *ctx) {
    if (ctx->argc > 3) {
        reply_syntax_error(ctx->reply);
        return;
    }
    if (ctx->argc == 2 && acl_default_needs_none(acl_of(ctx))) {
        reply_error(ctx->reply,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return;
    }
    struct slice user = ctx->argc == 3 ? ctx->argv[1] : SLICE("default");
    if (authenticate(ctx, user, ctx->argv[ctx->argc - 1])) reply_ok(ctx->reply);
}

struct hello {
    int64_t protocol; /* 0: as it is */
    bool auth;
    struct slice user, password;
    bool named;
    struct slice name;
};

static bool parse_hello(struct command_context *ctx, struct hello *hello) {
    if (ctx->argc < 2) return true;
    if (!number_parse_i64(ctx->argv[1], &hello->protocol)) {
        reply_error(ctx->reply, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (hello->protocol < 2 || hello->protocol > 3) {
        reply_error(ctx->reply, "NOPROTO unsupported protocol version");
        return false;
    }
    for (uint32_t i = 2; i < ctx->argc;) {
        uint32_t more = ctx->argc - i - 1;
        if (is_word(ctx->argv[i], "auth") && more >= 2) {
            hello->auth = true;
            hello->user = ctx->argv[i + 1];
            hello->password = ctx->argv[i + 2];
            i += 3;
        } else if (is_word(ctx->argv[i], "setname") && more >= 1) {
            hello->named = true;
            hello->name = ctx->argv[i + 1];
            if (!cmd_client_name_fits(ctx, hello->name)) return false;
            i += 2;
        } else {
            reply_error(ctx->reply, "ERR Syntax error in HELLO option '%.*s'",
                        shown_len(ctx->argv[i]), ctx->argv[i].data);
            return false;
        }
    }
    return true;
}

static void answer_hello(struct command_context *ctx) {
    struct reply *reply = ctx->reply;
    reply_map(reply, 8);
    reply_text(reply, "server");
    reply_text(reply, "redis");
    reply_text(reply, "version");
    reply_text(reply, SERVER_REDIS_VERSION);
    reply_text(reply, "proto");
    reply_integer(reply, reply->protocol);
    reply_text(reply, "id");
    reply_integer(reply, (int64_t)client_id(ctx->client));
    reply_text(reply, "mode");
    reply_text(reply, "standalone");
    reply_text(reply, "role");
    reply_text(reply, "master");
    reply_text(reply, "modules");
    reply_array(reply, 0);
    reply_text(reply, "freshet_version");
    reply_text(reply, worker_deps(ctx->worker)->info->version);
}

static void set_protocol(struct command_context *ctx, uint8_t protocol) {
    client_set_protocol(ctx->client, protocol);
    ctx->reply->protocol = protocol;
}

static void cmd_hello(struct command_context *ctx) {
    struct hello hello = {0};
    if (!parse_hello(ctx, &hello)) return;
    if (hello.auth && !authenticate(ctx, hello.user, hello.password)) return;
    if (!acl_is_admitted(acl_of(ctx), client_session(ctx->client))) {
        reply_error(ctx->reply,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return;
    }
    if (hello.named)
        roster_set_word(roster_of(ctx), client_card(ctx->client), CARD_NAME, hello.name);
    if (hello.protocol) set_protocol(ctx, (uint8_t)hello.protocol);
    answer_hello(ctx);
}

static void cmd_reset(struct command_context *ctx) {
    struct card *card = client_card(ctx->client);
    client_reset_modes(ctx->client);
    roster_set_word(roster_of(ctx), card, CARD_NAME, SLICE(""));
    card_flag(card, CARD_NO_EVICT | CARD_NO_TOUCH, false);
    client_set_consistency(ctx->client, &(struct consistency){0});
    acl_logout(acl_of(ctx), client_session(ctx->client));
    show_user(ctx);
    set_protocol(ctx, 2);
    reply_simple(ctx->reply, "RESET");
}

/* --- the table ---------------------------------------------------------------------------------------------- */

enum {
    ANY_TIME = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
    BEFORE_AUTH = ANY_TIME | CMD_FAST | CMD_NO_AUTH,
};

const struct command commands_connection[] = {
    {"auth", cmd_auth, -2, BEFORE_AUTH, NO_KEYS, "1.0.0", GROUP_CONNECTION,
     "Authenticates the connection.", "O(1)", NULL},
    {"client", NULL, -2, 0, NO_KEYS, "2.4.0", GROUP_CONNECTION,
     "A container for client connection commands.", "Depends on subcommand.", client_subcommands},
    {"echo", cmd_echo, 2, CMD_LOADING | CMD_STALE | CMD_FAST, NO_KEYS, "1.0.0", GROUP_CONNECTION,
     "Returns the given string.", "O(1)", NULL},
    {"hello", cmd_hello, -1, BEFORE_AUTH, NO_KEYS, "6.0.0", GROUP_CONNECTION,
     "Handshakes with the server: chooses the protocol version, authenticates, names.", "O(1)",
     NULL},
    {"ping", cmd_ping, -1, CMD_FAST | CMD_SUBSCRIBED, NO_KEYS, "1.0.0", GROUP_CONNECTION,
     "Returns the server's liveliness response.", "O(1)", NULL},
    {"quit", cmd_quit, -1, BEFORE_AUTH | CMD_SUBSCRIBED | CMD_UNQUEUED, NO_KEYS, "1.0.0",
     GROUP_CONNECTION, "Closes the connection.", "O(1)", NULL},
    {"reset", cmd_reset, 1, BEFORE_AUTH | CMD_SUBSCRIBED | CMD_UNQUEUED, NO_KEYS, "6.2.0",
     GROUP_CONNECTION, "Resets the connection.", "O(1)", NULL},
    {"select", cmd_select, 2, CMD_LOADING | CMD_STALE | CMD_FAST, NO_KEYS, "1.0.0",
     GROUP_CONNECTION, "Changes the selected database: there is one, 0.", "O(1)", NULL},
    {0},
};
