/* cmd_command.c: COMMAND and its subcommands: what the tables say, in the shapes of Redis 7.0. */
#include <stdio.h>
#include <string.h>

#include "cache/access/acl.h"
#include "cache/access/categories.h"
#include "cache/access/keyuse.h"
#include "cache/commands/cmd.h"
#include "cache/commands/cmd_server.h"
#include "cache/commands/command_tips.h"
#include "cache/commands/keyspecs.h"
#include "cache/front/reply.h"
#include "cache/front/worker.h"
#include "cache/values/glob.h"

static const struct {
    uint32_t flag;
    const char *name;
} flag_names[] = {
    {CMD_WRITE, "write"},       {CMD_READONLY, "readonly"}, {CMD_DENYOOM, "denyoom"},
    {CMD_ADMIN, "admin"},       {CMD_PUBSUB, "pubsub"},     {CMD_NOSCRIPT, "noscript"},
    {CMD_BLOCKING, "blocking"}, {CMD_LOADING, "loading"},   {CMD_STALE, "stale"},
    {CMD_FAST, "fast"},         {CMD_NO_AUTH, "no_auth"},
};
enum { N_FLAGS = sizeof flag_names / sizeof flag_names[0] };

static const char *const group_names[] = {
    [GROUP_STRING] = "string",
    [GROUP_BITMAP] = "bitmap",
    [GROUP_HASH] = "hash",
    [GROUP_LIST] = "list",
    [GROUP_SET] = "set",
    [GROUP_SORTED_SET] = "sorted-set",
    [GROUP_GENERIC] = "generic",
    [GROUP_PUBSUB] = "pubsub",
    [GROUP_TRANSACTIONS] = "transactions",
    [GROUP_CONNECTION] = "connection",
    [GROUP_SERVER] = "server",
    [GROUP_FRESHET] = "freshet",
};

/* --- the shape of one command ------------------------------------------------------------------------------ */

static void answer_name(struct reply *reply, const struct command *command,
                        const struct command *parent) {
    struct buf name = {0};
    if (parent) buf_printf(&name, "%s|", parent->name);
    buf_append_text(&name, command->name);
    reply_bulk(reply, buf_slice(&name));
    buf_deinit(&name);
}

static void answer_flags(struct reply *reply, const struct command *command) {
    uint32_t flags = command->flags;
    /* where the keys are depends on an argument */
    bool movable = command->keys.numkeys > 0 || flags & CMD_LOCKS_ALL;
    size_t n = movable;
    for (size_t i = 0; i < N_FLAGS; i++)
        n += (flags & flag_names[i].flag) != 0;
    reply_set(reply, n);
    for (size_t i = 0; i < N_FLAGS; i++)
        if (flags & flag_names[i].flag) reply_simple(reply, flag_names[i].name);
    if (movable) reply_simple(reply, "movablekeys");
}

static void answer_categories(struct reply *reply, uint32_t categories) {
    reply_set(reply, (size_t)__builtin_popcount(categories));
    for (uint32_t i = 0; i < CATEGORIES; i++) {
        if (!(categories & UINT32_C(1) << i)) continue;
        char text[32];
        snprintf(text, sizeof text, "@%s", category_names[i]);
        reply_simple(reply, text);
    }
}

static size_t count_subcommands(const struct command *command) {
    size_t n = 0;
    for (const struct command *sub = command->subcommands; sub && sub->name; sub++)
        n++;
    return n;
}

static void answer_info(struct reply *reply, const struct command *command,
                        const struct command *parent) {
    reply_array(reply, 10);
    answer_name(reply, command, parent);
    reply_integer(reply, command->arity);
    answer_flags(reply, command);
    reply_integer(reply, command->keys.first);
    reply_integer(reply, command->keys.last);
    reply_integer(reply, command->keys.step);
    answer_categories(reply, category_bits(command, parent));
    command_tips_answer(reply, command, parent);
    keyspecs_answer(reply, command, parent);
    reply_set(reply, count_subcommands(command));
    for (const struct command *sub = command->subcommands; sub && sub->name; sub++)
        answer_info(reply, sub, command);
}

static void answer_docs(struct reply *reply, const struct command *command,
                        const struct command *parent) {
    answer_name(reply, command, parent);
    reply_map(reply, command->subcommands ? 5 : 4);
    reply_text(reply, "summary");
    reply_text(reply, command->summary);
    reply_text(reply, "since");
    reply_text(reply, command->since);
    reply_text(reply, "group");
    reply_text(reply, group_names[command->group]);
    reply_text(reply, "complexity");
    reply_text(reply, command->complexity);
    if (!command->subcommands) return;
    reply_text(reply, "subcommands");
    reply_map(reply, count_subcommands(command));
    for (const struct command *sub = command->subcommands; sub->name; sub++)
        answer_docs(reply, sub, command);
}

/* --- which commands ---------------------------------------------------------------------------------------- */

static uint32_t count_commands(void) {
    uint32_t n = 0;
    while (command_at(n))
        n++;
    return n;
}

/* "get", or "client|kill" with its container in *parent. */
static const struct command *find_named(struct command_context *ctx, struct slice name,
                                        const struct command **parent) {
    const char *bar = memchr(name.data, '|', name.len);
    size_t len = bar ? (size_t)(bar - name.data) : name.len;
    const struct command *command =
        command_find(worker_deps(ctx->worker)->commands, slice_make(name.data, len));
    *parent = NULL;
    if (command && command->flags & CMD_REFUSED) return NULL;
    if (!command || !bar) return command;
    *parent = command;
    return command_find_sub(command, slice_make(bar + 1, name.len - len - 1));
}

void cmd_command(struct command_context *ctx) {
    reply_array(ctx->reply, count_commands());
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)); i++)
        answer_info(ctx->reply, command, NULL);
}

static void command_cmd_count(struct command_context *ctx) {
    reply_integer(ctx->reply, count_commands());
}

static void command_cmd_info(struct command_context *ctx) {
    if (ctx->argc == 2) {
        cmd_command(ctx);
        return;
    }
    size_t mark = ctx->reply->out->len;
    reply_array(ctx->reply, ctx->argc - 2);
    for (uint32_t i = 2; i < ctx->argc && cmd_within_bounds(ctx->reply, mark); i++) {
        const struct command *parent;
        const struct command *command = find_named(ctx, ctx->argv[i], &parent);
        if (command)
            answer_info(ctx->reply, command, parent);
        else
            reply_null(ctx->reply);
    }
}

static void command_cmd_docs(struct command_context *ctx) {
    const struct command *command, *parent;
    if (ctx->argc == 2) {
        reply_map(ctx->reply, count_commands());
        for (uint32_t i = 0; (command = command_at(i)); i++)
            answer_docs(ctx->reply, command, NULL);
        return;
    }
    size_t found = 0;
    for (uint32_t i = 2; i < ctx->argc; i++)
        found += find_named(ctx, ctx->argv[i], &parent) != NULL;
    size_t mark = ctx->reply->out->len;
    reply_map(ctx->reply, found);
    for (uint32_t i = 2; i < ctx->argc && cmd_within_bounds(ctx->reply, mark); i++)
        if ((command = find_named(ctx, ctx->argv[i], &parent)))
            answer_docs(ctx->reply, command, parent);
}

/* --- LIST -------------------------------------------------------------------------------------------------- */

/* `id` is of a command or a subcommand (command_ids.h). */
typedef bool command_filter(const struct command_ids *ids, uint32_t id, struct slice argument);

static bool is_in_category(const struct command_ids *ids, uint32_t id, struct slice category) {
    return (command_categories_of_id(ids, id) & category_find(category)) != 0;
}

static bool is_of_module(const struct command_ids *ids, uint32_t id, struct slice module) {
    (void)ids;
    (void)id;
    (void)module;
    return false; /* there are none */
}

static bool is_like(const struct command_ids *ids, uint32_t id, struct slice pattern) {
    char name[COMMAND_NAME_MAX];
    command_full_name(ids, id, name);
    return glob_match(pattern, slice_from(name));
}

static bool is_any(const struct command_ids *ids, uint32_t id, struct slice argument) {
    (void)ids;
    (void)id;
    (void)argument;
    return true;
}

static void answer_list(struct command_context *ctx, command_filter *passes,
                        struct slice argument) {
    const struct command_ids *ids = acl_ids(worker_deps(ctx->worker)->acl);
    struct buf names = {0};
    struct reply reply = {.out = &names, .protocol = ctx->reply->protocol};
    size_t n = 0;
    for (uint32_t id = 0; id < command_ids_count(ids); id++) {
        bool is_refused = command_of_id(ids, id)->flags & CMD_REFUSED;
        if (is_refused || !passes(ids, id, argument)) continue;
        char name[COMMAND_NAME_MAX];
        command_full_name(ids, id, name);
        reply_text(&reply, name);
        n++;
    }
    reply_array(ctx->reply, n);
    buf_append_slice(ctx->reply->out, buf_slice(&names));
    buf_deinit(&names);
}

static void command_cmd_list(struct command_context *ctx) {
    static const struct {
        const char *name;
        command_filter *passes;
    } filters[] = {{"module", is_of_module}, {"aclcat", is_in_category}, {"pattern", is_like}};

    if (ctx->argc == 2) {
        answer_list(ctx, is_any, SLICE(""));
        return;
    }
    if (ctx->argc == 5 && slice_equal_nocase(ctx->argv[2], SLICE("filterby"))) {
        for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
            if (!slice_equal_nocase(ctx->argv[3], slice_from(filters[i].name))) continue;
            answer_list(ctx, filters[i].passes, ctx->argv[4]);
            return;
        }
    }
    reply_syntax_error(ctx->reply);
}

/* --- GETKEYS ----------------------------------------------------------------------------------------------- */

/* A key, or with its uses: [key, [RW, access, ...]]. */
static void answer_key(struct reply *reply, struct slice key, uint32_t uses, bool with_uses) {
    if (with_uses) reply_array(reply, 2);
    reply_bulk(reply, key);
    if (!with_uses) return;
    reply_set(reply, (size_t)__builtin_popcount(uses));
    for (uint32_t i = 0; i < KEY_USES; i++)
        if (uses >> i & 1) reply_simple(reply, key_use_names[i]);
}

static void answer_keys(struct command_context *ctx, bool with_uses) {
    struct slice *argv = ctx->argv + 2;
    uint32_t argc = ctx->argc - 2;
    const struct command *parent = NULL;
    const struct command *command = command_find(worker_deps(ctx->worker)->commands, argv[0]);
    if (command && command->subcommands && argc > 1) {
        const struct command *sub = command_find_sub(command, argv[1]);
        if (sub) parent = command;
        if (sub) command = sub;
    }
    if (!command) {
        reply_error(ctx->reply, "ERR Invalid command specified");
        return;
    }
    if (!command_has_keys(command)) {
        reply_error(ctx->reply, "ERR The command has no key arguments");
        return;
    }
    bool fits = command_arity_fits(command, argc);
    struct command_key_iter keys = command_keys(command, argv, argc);
    struct command_key_iter counting = keys;
    uint32_t n = 0;
    while (fits && command_next_key(&counting))
        n++;
    if (n == 0) {
        reply_error(ctx->reply, "ERR Invalid %sarguments specified for command",
                    fits ? "" : "number of ");
        return;
    }
    reply_array(ctx->reply, n);
    uint32_t nth = 0;
    for (uint32_t i; (i = command_next_key(&keys)); nth++)
        answer_key(ctx->reply, argv[i], key_use(command, parent, nth, argv, argc), with_uses);
}

static void command_cmd_getkeys(struct command_context *ctx) { answer_keys(ctx, false); }
static void command_cmd_getkeysandflags(struct command_context *ctx) { answer_keys(ctx, true); }

const struct command command_subcommands[] = {
    {"count", command_cmd_count, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns a count of commands.", "O(1)", NULL},
    {"docs", command_cmd_docs, -2, CMD_LOADING | CMD_STALE, NO_KEYS, "7.0.0", GROUP_SERVER,
     "Returns documentary information about one, multiple or all commands.",
     "O(N) where N is the number of commands to look up", NULL},
    {"getkeys", command_cmd_getkeys, -4, CMD_LOADING | CMD_STALE, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Extracts the key names from an arbitrary command.",
     "O(N) where N is the number of arguments to the command", NULL},
    {"getkeysandflags", command_cmd_getkeysandflags, -4, CMD_LOADING | CMD_STALE, NO_KEYS, "7.0.0",
     GROUP_SERVER, "Extracts the key names and access flags for an arbitrary command.",
     "O(N) where N is the number of arguments to the command", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "5.0.0", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"info", command_cmd_info, -2, CMD_LOADING | CMD_STALE, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns information about one, multiple or all commands.",
     "O(N) where N is the number of commands to look up", NULL},
    {"list", command_cmd_list, -2, CMD_LOADING | CMD_STALE, NO_KEYS, "7.0.0", GROUP_SERVER,
     "Returns a list of command names.", "O(N) where N is the total number of commands", NULL},
    {0},
};
