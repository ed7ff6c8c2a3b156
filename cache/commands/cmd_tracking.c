/* cmd_tracking.c: CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR: worded and limited as Redis 7.0's. */
#include <string.h>

#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/commands/cmd_client.h"
#include "cache/front/client.h"
#include "cache/front/push.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"
#include "cache/signals/tracking.h"

static uint32_t flags_of(const struct command_context *ctx) {
    const struct tracker *tracker = client_tracker(ctx->client);
    return tracker ? tracker_flags(tracker) : 0;
}

/* --- CLIENT TRACKING --- */

static const struct {
    const char *word;
    enum tracker_flag flag;
} flag_words[] = {{"bcast", TRACKER_BCAST},
                  {"optin", TRACKER_OPTIN},
                  {"optout", TRACKER_OPTOUT},
                  {"noloop", TRACKER_NOLOOP}};

/* The prefixes are slices of the request. */
struct parsed {
    struct tracker_options options;
    struct slice *prefixes;
};

static bool parse_redirect(struct command_context *ctx, struct slice text, struct parsed *parsed) {
    int64_t id;
    if (parsed->options.redirect) {
        reply_error(ctx->reply, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!cmd_integer(ctx, text, &id)) return false;
    if (id > 0)
        parsed->options.redirect = roster_mailbox(worker_deps(ctx->worker)->roster, (uint64_t)id);
    if (parsed->options.redirect) return true;
    reply_error(ctx->reply, "ERR The client ID you want redirect to does not exist");
    return false;
}

static bool parse_flag(struct slice word, struct parsed *parsed) {
    for (size_t i = 0; i < sizeof flag_words / sizeof flag_words[0]; i++) {
        if (!slice_equal_nocase(word, slice_from(flag_words[i].word))) continue;
        parsed->options.flags |= flag_words[i].flag;
        return true;
    }
    return false;
}

static bool parse(struct command_context *ctx, struct parsed *parsed) {
    for (uint32_t i = 3; i < ctx->argc; i++) {
        bool more = i + 1 < ctx->argc;
        if (more && slice_equal_nocase(ctx->argv[i], SLICE("redirect"))) {
            if (!parse_redirect(ctx, ctx->argv[++i], parsed)) return false;
        } else if (more && slice_equal_nocase(ctx->argv[i], SLICE("prefix"))) {
            parsed->prefixes[parsed->options.n_prefixes++] = ctx->argv[++i];
        } else if (!parse_flag(ctx->argv[i], parsed)) {
            reply_syntax_error(ctx->reply);
            return false;
        }
    }
    return true;
}

/* Why the options do not fit one another, or what is on already; NULL: they do. */
static const char *misfit(uint32_t now, const struct tracker_options *options) {
    uint32_t flags = options->flags;
    if (!(flags & TRACKER_BCAST) && options->n_prefixes)
        return "ERR PREFIX option requires BCAST mode to be enabled";
    if (now & TRACKER_ON && (now & TRACKER_BCAST) != (flags & TRACKER_BCAST))
        return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    if (flags & TRACKER_BCAST && flags & (TRACKER_OPTIN | TRACKER_OPTOUT))
        return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    if (flags & TRACKER_OPTIN && flags & TRACKER_OPTOUT)
        return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    if ((flags & TRACKER_OPTIN && now & TRACKER_OPTOUT) ||
        (flags & TRACKER_OPTOUT && now & TRACKER_OPTIN))
        return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    return NULL;
}

static bool overlap(struct slice a, struct slice b) {
    size_t least = a.len < b.len ? a.len : b.len;
    return least == 0 || memcmp(a.data, b.data, least) == 0;
}

static void refuse_overlap(struct command_context *ctx, struct slice prefix, const char *which,
                           struct slice other) {
    reply_error(ctx->reply,
                "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
                "must not overlap.",
                (int)prefix.len, prefix.data, which, (int)other.len, other.data);
}

/* False: answered. */
static bool prefixes_fit(struct command_context *ctx, const struct tracker_options *options) {
    const struct tracker *tracker = client_tracker(ctx->client);
    uint32_t n_before = tracker ? tracker_prefixes(tracker) : 0;
    for (uint32_t i = 0; i < options->n_prefixes; i++) {
        struct slice prefix = options->prefixes[i];
        for (uint32_t j = 0; j < n_before; j++) {
            if (!overlap(prefix, tracker_prefix(tracker, j))) continue;
            refuse_overlap(ctx, prefix, "an existing", tracker_prefix(tracker, j));
            return false;
        }
        for (uint32_t j = i + 1; j < options->n_prefixes; j++) {
            if (!overlap(prefix, options->prefixes[j])) continue;
            refuse_overlap(ctx, prefix, "another provided", options->prefixes[j]);
            return false;
        }
    }
    return true;
}

static void show_on_card(struct command_context *ctx) {
    uint32_t flags = flags_of(ctx);
    struct card *card = client_card(ctx->client);
    client_set_mode(ctx->client, CLIENT_TRACKS, (flags & TRACKER_ON) != 0);
    card_flag(card, CARD_BROADCASTS, (flags & TRACKER_BCAST) != 0);
    atomic_store_explicit(&card->redirect,
                          flags ? tracker_redirect(client_tracker(ctx->client)) : 0,
                          memory_order_relaxed);
}

static void turn_on(struct command_context *ctx, struct tracker_options *options) {
    const char *why_not = misfit(flags_of(ctx), options);
    if (why_not) {
        reply_error(ctx->reply, "%s", why_not);
        return;
    }
    if (!prefixes_fit(ctx, options)) return;
    struct tracker *tracker = client_tracker(ctx->client);
    if (!tracker) {
        tracker = tracking_open(worker_deps(ctx->worker)->tracking, client_mailbox(ctx->client));
        client_set_tracker(ctx->client, tracker);
    }
    tracker_set(tracker, options);
    show_on_card(ctx);
    reply_ok(ctx->reply);
}

static void turn_off(struct command_context *ctx) {
    if (client_tracker(ctx->client)) tracker_off(client_tracker(ctx->client));
    client_set_mode(ctx->client, CLIENT_CACHING, false);
    show_on_card(ctx);
    reply_ok(ctx->reply);
}

void client_cmd_tracking(struct command_context *ctx) {
    struct parsed parsed = {.prefixes = mem_calloc(ctx->argc, sizeof(struct slice))};
    parsed.options.prefixes = parsed.prefixes;
    if (parse(ctx, &parsed)) {
        if (slice_equal_nocase(ctx->argv[2], SLICE("on")))
            turn_on(ctx, &parsed.options);
        else if (slice_equal_nocase(ctx->argv[2], SLICE("off")))
            turn_off(ctx);
        else
            reply_syntax_error(ctx->reply);
    }
    mailbox_release(&parsed.options.redirect);
    mem_free(parsed.prefixes);
}

/* --- the others --- */

void client_cmd_caching(struct command_context *ctx) {
    uint32_t flags = flags_of(ctx);
    if (!(flags & TRACKER_ON)) {
        reply_error(ctx->reply, "ERR CLIENT CACHING can be called only when the client is in "
                                "tracking mode with OPTIN or OPTOUT mode enabled");
        return;
    }
    bool yes = slice_equal_nocase(ctx->argv[2], SLICE("yes"));
    if (!yes && !slice_equal_nocase(ctx->argv[2], SLICE("no"))) {
        reply_syntax_error(ctx->reply);
    } else if (yes && !(flags & TRACKER_OPTIN)) {
        reply_error(ctx->reply,
                    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
    } else if (!yes && !(flags & TRACKER_OPTOUT)) {
        reply_error(ctx->reply,
                    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    } else {
        client_set_mode(ctx->client, CLIENT_CACHING, true);
        reply_ok(ctx->reply);
    }
}

void client_cmd_getredir(struct command_context *ctx) {
    bool on = (flags_of(ctx) & TRACKER_ON) != 0;
    reply_integer(ctx->reply, on ? (int64_t)tracker_redirect(client_tracker(ctx->client)) : -1);
}

static void answer_flags(struct command_context *ctx, uint32_t flags) {
    const char *words[8];
    size_t n = 0;
    bool caching = (client_modes(ctx->client) & CLIENT_CACHING) != 0;
    words[n++] = flags & TRACKER_ON ? "on" : "off";
    if (flags & TRACKER_BCAST) words[n++] = "bcast";
    if (flags & TRACKER_OPTIN) words[n++] = "optin";
    if (flags & TRACKER_OPTIN && caching) words[n++] = "caching-yes";
    if (flags & TRACKER_OPTOUT) words[n++] = "optout";
    if (flags & TRACKER_OPTOUT && caching) words[n++] = "caching-no";
    if (flags & TRACKER_NOLOOP) words[n++] = "noloop";
    if (flags & TRACKER_BROKEN) words[n++] = "broken_redirect";
    reply_set(ctx->reply, n);
    for (size_t i = 0; i < n; i++)
        reply_text(ctx->reply, words[i]);
}

void client_cmd_trackinginfo(struct command_context *ctx) {
    struct tracker *tracker = client_tracker(ctx->client);
    uint32_t flags = flags_of(ctx);
    reply_map(ctx->reply, 3);
    reply_text(ctx->reply, "flags");
    answer_flags(ctx, flags);
    reply_text(ctx->reply, "redirect");
    reply_integer(ctx->reply, flags & TRACKER_ON ? (int64_t)tracker_redirect(tracker) : -1);
    reply_text(ctx->reply, "prefixes");
    uint32_t n = tracker ? tracker_prefixes(tracker) : 0;
    reply_array(ctx->reply, n);
    for (uint32_t i = 0; i < n; i++)
        reply_bulk(ctx->reply, tracker_prefix(tracker, i));
}
