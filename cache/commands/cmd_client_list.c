/* cmd_client_list.c: which clients there are: CLIENT LIST, INFO and KILL. */
#include <stdio.h>

#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/commands/cmd_client.h"
#include "cache/front/client.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"
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

/* There are normal clients here, and those that are subscribed to something; masters and replicas there are none. */
static bool filter_type(struct command_context *ctx, struct slice type,
                        struct roster_filter *filter) {
    static const struct {
        const char *name;
        enum roster_type type;
    } types[] = {{"normal", ROSTER_NORMAL},
                 {"pubsub", ROSTER_PUBSUB},
                 {"master", ROSTER_NOBODY},
                 {"replica", ROSTER_NOBODY},
                 {"slave", ROSTER_NOBODY}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (!is_word(type, types[i].name)) continue;
        filter->type = types[i].type;
        return true;
    }
    reply_error(ctx->reply, "ERR Unknown client type '%.*s'", shown_len(type), type.data);
    return false;
}

/* The request that asks is this client's last command already, and its bytes, as RESP has them, are in its query buffer still. */
static void show_request(struct command_context *ctx) {
    struct card *card = client_card(ctx->client);
    int bytes = snprintf(NULL, 0, "*%u\r\n", ctx->argc);
    uint64_t all = (uint64_t)bytes;
    for (uint32_t i = 0; i < ctx->argc; i++) {
        bytes = snprintf(NULL, 0, "$%zu\r\n\r\n", ctx->argv[i].len);
        all += (uint64_t)bytes + ctx->argv[i].len;
    }
    card_touch(card, ctx->command, ctx->now_ms);
    atomic_store_explicit(&card->query_bytes, all, memory_order_relaxed);
}

void client_cmd_info(struct command_context *ctx) {
    struct buf line = {0};
    struct card *card = client_card(ctx->client);
    show_request(ctx);
    roster_describe(roster_of(ctx), card, ctx->now_ms, &line);
    buf_append_char(&line, '\n');
    reply_verbatim(ctx->reply, buf_slice(&line));
    buf_deinit(&line);
}

static void answer_list(struct command_context *ctx, const struct roster_filter *filter) {
    struct buf lines = {0};
    show_request(ctx);
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

void client_cmd_list(struct command_context *ctx) {
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
    struct acl_rights *rights = acl_user_rights(worker_deps(ctx->worker)->acl, value);
    filter->match.user = value;
    bool there = rights != NULL;
    acl_rights_release(&rights);
    if (!there) reply_error(ctx->reply, "ERR No such user '%.*s'", shown_len(value), value.data);
    return there;
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

void client_cmd_kill(struct command_context *ctx) {
    struct kill_filter filter = {.skip_me = true};
    bool old_form = ctx->argc == 3;
    if (old_form) {
        filter.skip_me = false;
        filter.match.address = ctx->argv[2];
        if (ctx->argv[2].len == 0) filter.match.type = ROSTER_NOBODY;
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
