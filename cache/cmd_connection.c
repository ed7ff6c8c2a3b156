/* cmd_connection.c: commands about the connection itself: PING, HELLO, AUTH, CLIENT and their like. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "cache/cache.h"
#include "cache/client.h"
#include "cache/command.h"
#include "cache/number.h"
#include "cache/reply.h"
#include "cache/roster.h"
#include "cache/server_info.h"
#include "cache/worker.h"

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

static void cmd_ping(struct command_context *ctx) {
    if (ctx->argc > 2)
        reply_error(ctx->reply, "ERR wrong number of arguments for 'ping' command");
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
    int64_t index;
    if (!number_parse_i64(ctx->argv[1], &index) || index > INT32_MAX || index < INT32_MIN)
        reply_not_an_integer(ctx->reply);
    else if (index != 0)
        reply_error(ctx->reply, "ERR DB index is out of range");
    else
        reply_ok(ctx->reply);
}

/* --- AUTH, HELLO, RESET ------------------------------------------------------------------------------------- */

/* Takes as long for any guess of the same length. */
static bool same_secret(struct slice guess, const char *secret) {
    size_t len = strlen(secret);
    unsigned char difference = guess.len != len;
    for (size_t i = 0; i < guess.len; i++)
        difference |= (unsigned char)guess.data[i] ^ (unsigned char)secret[len ? i % len : 0];
    return difference == 0;
}

/* Answers where they are wrong. Without a password the default user takes any. */
static bool authenticate(struct command_context *ctx, struct slice user, struct slice password) {
    const char *secret = worker_deps(ctx->worker)->config->password;
    if (!slice_equal(user, SLICE("default")) || (secret && !same_secret(password, secret))) {
        reply_error(ctx->reply, "WRONGPASS invalid username-password pair or user is disabled.");
        return false;
    }
    client_set_authenticated(ctx->client, true);
    return true;
}

static void cmd_auth(struct command_context *ctx) {
    if (ctx->argc > 3) {
        reply_syntax_error(ctx->reply);
        return;
    }
    if (ctx->argc == 2 && !worker_deps(ctx->worker)->config->password) {
        reply_error(ctx->reply,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return;
    }
    struct slice user = ctx->argc == 3 ? ctx->argv[1] : SLICE("default");
    if (authenticate(ctx, user, ctx->argv[ctx->argc - 1])) reply_ok(ctx->reply);
}

/* Redis takes '!' to '~' in the names that clients give themselves. */
static bool is_plain_word(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '!' || text.data[i] > '~') return false;
    return true;
}

static bool check_name(struct command_context *ctx, struct slice name) {
    if (is_plain_word(name)) return true;
    reply_error(ctx->reply,
                "ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
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
            if (!check_name(ctx, hello->name)) return false;
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
    if (!client_is_authenticated(ctx->client)) {
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
    roster_set_word(roster_of(ctx), card, CARD_NAME, SLICE(""));
    card_flag(card, CARD_NO_EVICT | CARD_NO_TOUCH, false);
    client_set_min_lsn(ctx->client, 0);
    client_set_authenticated(ctx->client, !worker_deps(ctx->worker)->config->password);
    set_protocol(ctx, 2);
    reply_simple(ctx->reply, "RESET");
}

/* --- CLIENT ------------------------------------------------------------------------------------------------- */

static void client_cmd_id(struct command_context *ctx) {
    reply_integer(ctx->reply, (int64_t)client_id(ctx->client));
}

static void client_cmd_info(struct command_context *ctx) {
    struct buf line = {0};
    struct card *card = client_card(ctx->client);
    card_touch(card, ctx->command, ctx->now_ms);
    roster_describe(roster_of(ctx), card, ctx->now_ms, &line);
    buf_append_char(&line, '\n');
    reply_verbatim(ctx->reply, buf_slice(&line));
    buf_deinit(&line);
}

static void client_cmd_setname(struct command_context *ctx) {
    if (!check_name(ctx, ctx->argv[2])) return;
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

/* Every client of ours is a normal one; of the other kinds there is none. */
static bool filter_type(struct command_context *ctx, struct slice type,
                        struct roster_filter *filter) {
    static const char *const none[] = {"master", "replica", "slave", "pubsub"};
    if (is_word(type, "normal")) return true;
    filter->nobody = true;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (is_word(type, none[i])) return true;
    reply_error(ctx->reply, "ERR Unknown client type '%.*s'", shown_len(type), type.data);
    return false;
}

static void answer_list(struct command_context *ctx, const struct roster_filter *filter) {
    struct buf lines = {0};
    card_touch(client_card(ctx->client), ctx->command, ctx->now_ms);
    roster_list(roster_of(ctx), filter, ctx->now_ms, &lines);
    reply_verbatim(ctx->reply, buf_slice(&lines));
    buf_deinit(&lines);
}

static void list_by_ids(struct command_context *ctx) {
    uint32_t n = ctx->argc - 3;
    uint64_t *ids = mem_calloc(n, sizeof ids[0]);
    for (uint32_t i = 0; i < n; i++) {
        int64_t id;
        if (!number_parse_i64(ctx->argv[3 + i], &id) || id <= 0) {
            reply_error(ctx->reply, "ERR Invalid client ID");
            mem_free(ids);
            return;
        }
        ids[i] = (uint64_t)id;
    }
    answer_list(ctx, &(struct roster_filter){.ids = ids, .n_ids = n});
    mem_free(ids);
}

static void client_cmd_list(struct command_context *ctx) {
    struct roster_filter filter = {0};
    if (ctx->argc > 3 && is_word(ctx->argv[2], "id")) {
        list_by_ids(ctx);
    } else if (ctx->argc == 2 || (ctx->argc == 4 && is_word(ctx->argv[2], "type"))) {
        if (ctx->argc == 2 || filter_type(ctx, ctx->argv[3], &filter)) answer_list(ctx, &filter);
    } else {
        reply_syntax_error(ctx->reply);
    }
}

struct kill_filter {
    struct roster_filter match;
    uint64_t id;
    bool skip_me;
};

static bool kill_by_id(struct command_context *ctx, struct slice value,
                       struct kill_filter *filter) {
    int64_t id;
    if (!number_parse_i64(value, &id) || id < 1) {
        reply_error(ctx->reply, "ERR client-id should be greater than 0");
        return false;
    }
    filter->id = (uint64_t)id;
    filter->match.ids = &filter->id;
    filter->match.n_ids = 1;
    return true;
}

static bool kill_by_type(struct command_context *ctx, struct slice value,
                         struct kill_filter *filter) {
    return filter_type(ctx, value, &filter->match);
}

static bool kill_by_address(struct command_context *ctx, struct slice value,
                            struct kill_filter *filter) {
    (void)ctx;
    filter->match.address = value;
    return true;
}

static bool kill_by_local_address(struct command_context *ctx, struct slice value,
                                  struct kill_filter *filter) {
    (void)ctx;
    filter->match.local_address = value;
    return true;
}

static bool kill_by_user(struct command_context *ctx, struct slice value,
                         struct kill_filter *filter) {
    (void)filter;
    if (slice_equal(value, SLICE("default"))) return true;
    reply_error(ctx->reply, "ERR No such user '%.*s'", shown_len(value), value.data);
    return false;
}

static bool kill_skips_me(struct command_context *ctx, struct slice value,
                          struct kill_filter *filter) {
    filter->skip_me = is_word(value, "yes");
    if (filter->skip_me || is_word(value, "no")) return true;
    reply_syntax_error(ctx->reply);
    return false;
}

static bool kill_by_age(struct command_context *ctx, struct slice value,
                        struct kill_filter *filter) {
    int64_t seconds;
    if (number_parse_i64(value, &seconds) && seconds >= 1 && seconds <= INT32_MAX) {
        filter->match.older_than_ms = seconds * 1000;
        return true;
    }
    reply_error(ctx->reply, "ERR maxage should be greater than 0");
    return false;
}

static const struct {
    const char *name;
    bool (*apply)(struct command_context *ctx, struct slice value, struct kill_filter *filter);
} kill_options[] = {
    {"id", kill_by_id},        {"type", kill_by_type},
    {"addr", kill_by_address}, {"laddr", kill_by_local_address},
    {"user", kill_by_user},    {"skipme", kill_skips_me},
    {"maxage", kill_by_age},
};

/* False after an error reply. */
static bool parse_kill(struct command_context *ctx, struct kill_filter *filter) {
    enum { N = sizeof kill_options / sizeof kill_options[0] };
    for (uint32_t i = 2; i < ctx->argc; i += 2) {
        size_t option = 0;
        while (option < N && !is_word(ctx->argv[i], kill_options[option].name))
            option++;
        if (option == N || i + 1 >= ctx->argc) {
            reply_syntax_error(ctx->reply);
            return false;
        }
        if (!kill_options[option].apply(ctx, ctx->argv[i + 1], filter)) return false;
    }
    return true;
}

static void kill_one(const struct card *card, void *arg) {
    struct command_context *ctx = arg;
    if (card->id == client_id(ctx->client))
        client_close_after_reply(ctx->client);
    else
        worker_kill(card->worker, card->slot, card->id);
}

static void client_cmd_kill(struct command_context *ctx) {
    struct kill_filter filter = {.skip_me = true};
    bool old_form = ctx->argc == 3;
    if (old_form) {
        filter.skip_me = false;
        filter.match.address = ctx->argv[2];
        filter.match.nobody = ctx->argv[2].len == 0;
    } else if (!parse_kill(ctx, &filter)) {
        return;
    }
    if (filter.skip_me) filter.match.skip_id = client_id(ctx->client);
    uint32_t killed = roster_kill(roster_of(ctx), &filter.match, ctx->now_ms, kill_one, ctx);
    if (!old_form)
        reply_integer(ctx->reply, killed);
    else if (killed)
        reply_ok(ctx->reply);
    else
        reply_error(ctx->reply, "ERR No such client");
}

/* --- the table ---------------------------------------------------------------------------------------------- */

enum {
    ANY_TIME = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
    BEFORE_AUTH = ANY_TIME | CMD_FAST | CMD_NO_AUTH,
};

static const struct command client_subcommands[] = {
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
    {"setinfo", client_cmd_setinfo, 4, ANY_TIME, NO_KEYS, "7.2.0", GROUP_CONNECTION,
     "Sets information specific to the client or connection.", "O(1)", NULL},
    {"setname", client_cmd_setname, 3, ANY_TIME, NO_KEYS, "2.6.9", GROUP_CONNECTION,
     "Sets the connection name.", "O(1)", NULL},
    {0},
};

const struct command commands_connection[] = {
    {"auth", cmd_auth, -2, BEFORE_AUTH, NO_KEYS, "1.0.0", GROUP_CONNECTION,
     "Authenticates the connection.", "O(1)", NULL},
    {"client", NULL, -2, 0, NO_KEYS, "2.4.0", GROUP_CONNECTION,
     "A container for client connection commands.", "Depends on subcommand.", client_subcommands},
    {"echo", cmd_echo, 2, CMD_FAST, NO_KEYS, "1.0.0", GROUP_CONNECTION, "Returns the given string.",
     "O(1)", NULL},
    {"hello", cmd_hello, -1, BEFORE_AUTH, NO_KEYS, "6.0.0", GROUP_CONNECTION,
     "Handshakes with the server: chooses the protocol version, authenticates, names.", "O(1)",
     NULL},
    {"ping", cmd_ping, -1, CMD_FAST, NO_KEYS, "1.0.0", GROUP_CONNECTION,
     "Returns the server's liveliness response.", "O(1)", NULL},
    {"quit", cmd_quit, -1, BEFORE_AUTH, NO_KEYS, "1.0.0", GROUP_CONNECTION,
     "Closes the connection.", "O(1)", NULL},
    {"reset", cmd_reset, 1, BEFORE_AUTH, NO_KEYS, "6.2.0", GROUP_CONNECTION,
     "Resets the connection.", "O(1)", NULL},
    {"select", cmd_select, 2, CMD_LOADING | CMD_STALE | CMD_FAST, NO_KEYS, "1.0.0",
     GROUP_CONNECTION, "Changes the selected database: there is one, 0.", "O(1)", NULL},
    {0},
};
