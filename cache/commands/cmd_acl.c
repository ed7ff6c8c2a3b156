/* cmd_acl.c: ACL: the users and what they may do, in the words of Redis 7.0 (acl.h). */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/access/categories.h"
#include "cache/access/permit.h"
#include "cache/commands/cmd.h"
#include "cache/commands/cmd_server.h"
#include "cache/front/client.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"
#include "cache/values/number.h"

enum { SHOWN_MAX = 128, GENPASS_MAX_BITS = 4096, SWEEP_US = 1000 * 1000 };

static struct acl *acl_of(struct command_context *ctx) { return worker_deps(ctx->worker)->acl; }

static int shown_len(struct slice word) {
    return (int)(word.len < SHOWN_MAX ? word.len : SHOWN_MAX);
}

/* --- clients of users that have changed ---------------------------------------------------------------------- */

static void kill_one(const struct card *card, void *arg) {
    struct command_context *ctx = arg;
    if (card->id == client_id(ctx->client))
        client_close_after_reply(ctx->client);
    else
        worker_kill(card->worker, card->slot, card->id);
}

static void kill_clients(struct command_context *ctx, struct slice user) {
    roster_kill(worker_deps(ctx->worker)->roster, &(struct roster_filter){.user = user},
                ctx->now_ms, kill_one, ctx);
}

/* --- SETUSER, DELUSER, GETUSER ------------------------------------------------------------------------------ */

static bool name_fits(struct slice name) {
    for (size_t i = 0; i < name.len; i++)
        if (memchr(" \t\n\v\f\r", name.data[i], 7)) return false; /* its NUL among them */
    return true;
}

static void acl_cmd_setuser(struct command_context *ctx) {
    struct slice name = ctx->argv[2];
    if (ctx->woken || ctx->timed_out) { /* the subscribers have been looked through */
        reply_ok(ctx->reply);
        return;
    }
    if (!name_fits(name)) {
        reply_error(ctx->reply, "ERR Usernames can't contain spaces or null characters");
        return;
    }
    bool channels_lost = false;
    struct buf why = {0};
    if (!acl_set_user(acl_of(ctx), name, ctx->argv + 3, ctx->argc - 3, &channels_lost, &why))
        reply_error(ctx->reply, "ERR %s", buf_text(&why));
    else if (channels_lost)
        permit_sweep_subscribers(ctx, name, ctx->now_us + SWEEP_US);
    else
        reply_ok(ctx->reply);
    if (channels_lost && ctx->in_exec) reply_ok(ctx->reply);
    buf_deinit(&why);
}

static void acl_cmd_deluser(struct command_context *ctx) {
    int64_t deleted = 0;
    for (uint32_t i = 2; i < ctx->argc; i++) {
        if (!slice_equal(ctx->argv[i], SLICE("default"))) continue;
        reply_error(ctx->reply, "ERR The 'default' user cannot be removed");
        return;
    }
    for (uint32_t i = 2; i < ctx->argc; i++) {
        if (!acl_delete_user(acl_of(ctx), ctx->argv[i])) continue;
        kill_clients(ctx, ctx->argv[i]);
        deleted++;
    }
    reply_integer(ctx->reply, deleted);
}

static void answer_buf(struct reply *reply, struct buf *text) {
    reply_bulk(reply, buf_slice(text));
    text->len = 0;
}

static void answer_flags(struct reply *reply, const struct acl_rights *rights) {
    size_t n = 0;
    for (uint32_t at = 0; acl_rights_flag_name(rights, &at);)
        n++;
    reply_set(reply, n);
    const char *name;
    for (uint32_t at = 0; (name = acl_rights_flag_name(rights, &at));)
        reply_text(reply, name);
}

static void acl_cmd_getuser(struct command_context *ctx) {
    struct reply *reply = ctx->reply;
    struct acl_rights *rights = acl_user_rights(acl_of(ctx), ctx->argv[2]);
    if (!rights) {
        reply_null(reply);
        return;
    }
    struct buf text = {0};
    reply_map(reply, 6);
    reply_text(reply, "flags");
    answer_flags(reply, rights);
    reply_text(reply, "passwords");
    reply_array(reply, acl_rights_passwords(rights));
    for (uint32_t i = 0; i < acl_rights_passwords(rights); i++)
        reply_bulk(reply, acl_rights_password(rights, i));
    reply_text(reply, "commands");
    acl_rights_describe_commands(rights, acl_ids(acl_of(ctx)), &text);
    answer_buf(reply, &text);
    reply_text(reply, "keys");
    acl_rights_describe_keys(rights, &text);
    answer_buf(reply, &text);
    reply_text(reply, "channels");
    acl_rights_describe_channels(rights, &text);
    answer_buf(reply, &text);
    reply_text(reply, "selectors");
    reply_array(reply, 0);
    buf_deinit(&text);
    acl_rights_release(&rights);
}

/* --- LIST, USERS, WHOAMI ------------------------------------------------------------------------------------ */

/* Elements are gathered under the users' lock, and answered after it. */
struct listing {
    struct reply elements;
    const struct command_ids *ids;
    struct buf line;
};

static void add_line(struct slice name, const struct acl_rights *rights, void *arg) {
    struct listing *listing = arg;
    buf_append_text(&listing->line, "user ");
    buf_append_slice(&listing->line, name);
    buf_append_char(&listing->line, ' ');
    acl_rights_describe(rights, listing->ids, &listing->line);
    answer_buf(&listing->elements, &listing->line);
}

static void add_name(struct slice name, const struct acl_rights *rights, void *arg) {
    (void)rights;
    reply_bulk(&((struct listing *)arg)->elements, name);
}

static void answer_users(struct command_context *ctx, acl_visit *visit) {
    struct buf elements = {0};
    struct listing listing = {.elements = {.out = &elements, .protocol = ctx->reply->protocol},
                              .ids = acl_ids(acl_of(ctx))};
    reply_array(ctx->reply, acl_each_user(acl_of(ctx), visit, &listing));
    buf_append_slice(ctx->reply->out, buf_slice(&elements));
    buf_deinit(&elements);
    buf_deinit(&listing.line);
}

static void acl_cmd_list(struct command_context *ctx) { answer_users(ctx, add_line); }
static void acl_cmd_users(struct command_context *ctx) { answer_users(ctx, add_name); }

static void acl_cmd_whoami(struct command_context *ctx) {
    reply_bulk(ctx->reply, acl_session_name(client_session(ctx->client)));
}

/* --- CAT, GENPASS ------------------------------------------------------------------------------------------- */

static void answer_category(struct command_context *ctx, uint32_t category) {
    const struct command_ids *ids = acl_ids(acl_of(ctx));
    size_t n = 0;
    for (uint32_t id = 0; id < command_ids_count(ids); id++)
        n += (command_categories_of_id(ids, id) & category) != 0;
    reply_array(ctx->reply, n);
    for (uint32_t id = 0; id < command_ids_count(ids); id++) {
        if (!(command_categories_of_id(ids, id) & category)) continue;
        char name[COMMAND_NAME_MAX];
        command_full_name(ids, id, name);
        reply_text(ctx->reply, name);
    }
}

static void acl_cmd_cat(struct command_context *ctx) {
    if (ctx->argc > 3) {
        cmd_answer_sub_arity(ctx);
        return;
    }
    if (ctx->argc == 2) {
        reply_array(ctx->reply, CATEGORIES);
        for (uint32_t i = 0; i < CATEGORIES; i++)
            reply_text(ctx->reply, category_names[i]);
        return;
    }
    uint32_t category = category_find(ctx->argv[2]);
    if (category)
        answer_category(ctx, category);
    else
        reply_error(ctx->reply, "ERR Unknown category '%.*s'", shown_len(ctx->argv[2]),
                    ctx->argv[2].data);
}

static void acl_cmd_genpass(struct command_context *ctx) {
    int64_t bits = 256;
    if (ctx->argc == 3 && !number_parse_i64(ctx->argv[2], &bits)) {
        reply_not_an_integer(ctx->reply);
        return;
    }
    if (bits <= 0 || bits > GENPASS_MAX_BITS) {
        reply_error(ctx->reply,
                    "ERR ACL GENPASS argument must be the number of bits for the output password, "
                    "a positive number up to %d",
                    GENPASS_MAX_BITS);
        return;
    }
    unsigned char bytes[GENPASS_MAX_BITS / 8];
    char digits[GENPASS_MAX_BITS / 4];
    size_t n = (size_t)(bits + 3) / 4;
    for (size_t have = 0; have < sizeof bytes;) {
        ssize_t got = getrandom(bytes + have, sizeof bytes - have, 0);
        ASSERT(got > 0);
        have += (size_t)got;
    }
    for (size_t i = 0; i < n; i++)
        digits[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    reply_bulk(ctx->reply, slice_make(digits, n));
}

/* --- LOG, DRYRUN -------------------------------------------------------------------------------------------- */

struct log_listing {
    struct reply elements;
    int64_t now_ms;
};

static void add_event(const struct acl_event *event, void *arg) {
    static const char *const reasons[] = {[ACL_DENIED_COMMAND] = "command",
                                          [ACL_DENIED_KEY] = "key",
                                          [ACL_DENIED_CHANNEL] = "channel",
                                          [ACL_DENIED_AUTH] = "auth"};
    struct log_listing *listing = arg;
    struct reply *reply = &listing->elements;
    reply_map(reply, 7);
    reply_text(reply, "count");
    reply_integer(reply, (int64_t)event->count);
    reply_text(reply, "reason");
    reply_text(reply, reasons[event->reason]);
    reply_text(reply, "context");
    reply_text(reply, event->context);
    reply_text(reply, "object");
    reply_bulk(reply, event->object);
    reply_text(reply, "username");
    reply_bulk(reply, event->user);
    reply_text(reply, "age-seconds");
    reply_double(reply, (double)(listing->now_ms - event->at_ms) / 1000);
    reply_text(reply, "client-info");
    reply_bulk(reply, event->client);
}

static void acl_cmd_log(struct command_context *ctx) {
    int64_t max = 10;
    if (ctx->argc > 3) {
        cmd_answer_sub_arity(ctx);
        return;
    }
    if (ctx->argc == 3 && slice_equal_nocase(ctx->argv[2], SLICE("reset"))) {
        acl_forget_events(acl_of(ctx));
        reply_ok(ctx->reply);
        return;
    }
    if (ctx->argc == 3 && !number_parse_i64(ctx->argv[2], &max)) {
        reply_not_an_integer(ctx->reply);
        return;
    }
    if (max < 0) max = 0;
    struct buf elements = {0};
    struct log_listing listing = {.elements = {.out = &elements, .protocol = ctx->reply->protocol},
                                  .now_ms = ctx->now_ms};
    uint32_t limit = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
    reply_array(ctx->reply, acl_each_event(acl_of(ctx), limit, add_event, &listing));
    buf_append_slice(ctx->reply->out, buf_slice(&elements));
    buf_deinit(&elements);
}

/* The row that a request of argv would run; NULL: none. */
static const struct command *find_request(struct command_context *ctx, const struct slice *argv,
                                          uint32_t argc) {
    const struct command *command = command_find(worker_deps(ctx->worker)->commands, argv[0]);
    if (!command || !command->subcommands || argc < 2) return command;
    return command_find_sub(command, argv[1]);
}

static void answer_dryrun(struct command_context *ctx, const struct acl_rights *rights,
                          const struct command *command) {
    static const char *const objects[] = {
        [ACL_DENIED_KEY] = "key", [ACL_DENIED_CHANNEL] = "channel"};
    const struct command_ids *ids = acl_ids(acl_of(ctx));
    const struct slice *argv = ctx->argv + 3;
    uint32_t at;
    char name[COMMAND_NAME_MAX];
    struct buf text = {0};
    command_full_name(ids, command_id(ids, command), name);
    enum acl_verdict verdict = acl_rights_check(rights, ids, command, argv, ctx->argc - 3, &at);
    if (verdict == ACL_PERMITTED) {
        reply_ok(ctx->reply);
        return;
    }
    if (verdict == ACL_DENIED_COMMAND)
        buf_printf(&text, "This user has no permissions to run the '%s' command", name);
    else
        buf_printf(&text, "This user has no permissions to access the '%.*s' %s",
                   shown_len(argv[at]), argv[at].data, objects[verdict]);
    reply_bulk(ctx->reply, buf_slice(&text));
    buf_deinit(&text);
}

static void acl_cmd_dryrun(struct command_context *ctx) {
    uint32_t argc = ctx->argc - 3;
    struct acl_rights *rights = acl_user_rights(acl_of(ctx), ctx->argv[2]);
    const struct command *command = find_request(ctx, ctx->argv + 3, argc);
    if (!rights) {
        reply_error(ctx->reply, "ERR User '%.*s' not found", shown_len(ctx->argv[2]),
                    ctx->argv[2].data);
        return;
    }
    if (!command)
        reply_error(ctx->reply, "ERR Command '%.*s' not found", shown_len(ctx->argv[3]),
                    ctx->argv[3].data);
    else if (!command_arity_fits(command, argc))
        reply_error(ctx->reply, "ERR wrong number of arguments for '%s' command", command->name);
    else
        answer_dryrun(ctx, rights, command);
    acl_rights_release(&rights);
}

/* --- LOAD, SAVE --------------------------------------------------------------------------------------------- */

static bool check_file(struct command_context *ctx) {
    if (acl_has_file(acl_of(ctx))) return true;
    reply_error(ctx->reply,
                "ERR This Redis instance is not configured to use an ACL file: Freshet reads one "
                "where cache.acl_file names it; else users are those of cache.users and of ACL "
                "SETUSER");
    return false;
}

/* As Redis does, all clients of other users than the default one are closed: those users are new objects now. */
static void acl_cmd_load(struct command_context *ctx) {
    if (!check_file(ctx)) return;
    struct buf why = {0};
    if (acl_load(acl_of(ctx), &why)) {
        roster_kill(worker_deps(ctx->worker)->roster, &(struct roster_filter){.named_user = true},
                    ctx->now_ms, kill_one, ctx);
        reply_ok(ctx->reply);
    } else {
        reply_error(ctx->reply, "ERR %s", buf_text(&why));
    }
    buf_deinit(&why);
}

static void acl_cmd_save(struct command_context *ctx) {
    struct error err;
    if (!check_file(ctx)) return;
    if (acl_save(acl_of(ctx), &err)) {
        reply_ok(ctx->reply);
        return;
    }
    log_error(worker_deps(ctx->worker)->log, "acl_not_saved", "cause=\"%s\"", err.message);
    reply_error(ctx->reply, "ERR There was an error trying to save the ACLs. Please check the "
                            "server logs for more information");
}

/* --- the table ---------------------------------------------------------------------------------------------- */

enum { ANY_TIME = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, ADMIN = ANY_TIME | CMD_ADMIN };

static const struct command acl_subcommands[] = {
    {"cat", acl_cmd_cat, -2, ANY_TIME, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Lists the ACL categories, or the commands inside a category.",
     "O(1) since the categories and commands are a fixed set.", NULL},
    {"deluser", acl_cmd_deluser, -3, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Deletes ACL users, and terminates their connections.",
     "O(1) amortized time considering the typical user.", NULL},
    {"dryrun", acl_cmd_dryrun, -4, ADMIN, NO_KEYS, "7.0.0", GROUP_SERVER,
     "Simulates the execution of a command by a user, without executing the command.", "O(1).",
     NULL},
    {"genpass", acl_cmd_genpass, -2, ANY_TIME, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Generates a pseudorandom, secure password that can be used to identify ACL users.", "O(1)",
     NULL},
    {"getuser", acl_cmd_getuser, 3, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Lists the ACL rules of a user.",
     "O(N). Where N is the number of password, command and pattern rules that the user has.", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"list", acl_cmd_list, 2, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Dumps the effective rules in ACL file format.",
     "O(N). Where N is the number of configured users.", NULL},
    {"load", acl_cmd_load, 2, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Reloads the rules from the configured ACL file.",
     "O(N). Where N is the number of configured users.", NULL},
    {"log", acl_cmd_log, -2, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Lists recent security events generated due to ACL rules.",
     "O(N) with N being the number of entries shown.", NULL},
    {"save", acl_cmd_save, 2, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Saves the effective ACL rules in the configured ACL file.",
     "O(N). Where N is the number of configured users.", NULL},
    {"setuser", acl_cmd_setuser, -3, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Creates and modifies an ACL user and its rules.",
     "O(N). Where N is the number of rules provided.", NULL},
    {"users", acl_cmd_users, 2, ADMIN, NO_KEYS, "6.0.0", GROUP_SERVER, "Lists all ACL users.",
     "O(N). Where N is the number of configured users.", NULL},
    {"whoami", acl_cmd_whoami, 2, ANY_TIME, NO_KEYS, "6.0.0", GROUP_SERVER,
     "Returns the authenticated username of the current connection.", "O(1)", NULL},
    {0},
};

const struct command commands_acl[] = {
    {"acl", NULL, -2, 0, NO_KEYS, "6.0.0", GROUP_SERVER,
     "A container for Access List Control commands.", "Depends on subcommand.", acl_subcommands},
    {0},
};
