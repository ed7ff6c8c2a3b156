/* cmd_slowlog.c: SLOWLOG and LATENCY: which commands took long, and how long each of them takes (slowlog.h, latency.h,
 * command_stats.h). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/commands/cmd.h"
#include "cache/commands/cmd_server.h"
#include "cache/front/command_stats.h"
#include "cache/front/latency.h"
#include "cache/front/latency_graph.h"
#include "cache/front/reply.h"
#include "cache/front/slowlog.h"
#include "cache/front/worker.h"
#include "cache/values/number.h"

enum { SHOWN_MAX = 128 };

/* --- SLOWLOG ------------------------------------------------------------------------------------------------ */

static void add_slow(const struct slow_entry *entry, void *arg) {
    struct reply *reply = arg;
    reply_array(reply, 6);
    reply_integer(reply, (int64_t)entry->id);
    reply_integer(reply, entry->wall_s);
    reply_integer(reply, entry->us);
    reply_array(reply, entry->argc);
    for (uint32_t i = 0; i < entry->argc; i++)
        reply_bulk(reply, entry->argv[i]);
    reply_bulk(reply, entry->client);
    reply_bulk(reply, entry->name);
}

static void slowlog_cmd_get(struct command_context *ctx) {
    int64_t max = 10;
    if (ctx->argc == 3 && (!number_parse_i64(ctx->argv[2], &max) || max < -1)) {
        reply_error(ctx->reply, "ERR count should be greater than or equal to -1");
        return;
    }
    struct buf entries = {0};
    struct reply reply = {.out = &entries, .protocol = ctx->reply->protocol};
    uint32_t limit = max < 0 || max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
    reply_array(ctx->reply,
                slowlog_each(worker_deps(ctx->worker)->slowlog, limit, add_slow, &reply));
    buf_append_slice(ctx->reply->out, buf_slice(&entries));
    buf_deinit(&entries);
}

static void slowlog_cmd_len(struct command_context *ctx) {
    reply_integer(ctx->reply, slowlog_length(worker_deps(ctx->worker)->slowlog));
}

static void slowlog_cmd_reset(struct command_context *ctx) {
    slowlog_clear(worker_deps(ctx->worker)->slowlog);
    reply_ok(ctx->reply);
}

/* --- LATENCY ------------------------------------------------------------------------------------------------ */

/* Every event there is, one after the other; the memory is the caller's. */
static struct latency_event *read_event(struct command_context *ctx, uint32_t i,
                                        struct latency_event *event) {
    return latency_event(worker_deps(ctx->worker)->latency, i, event) ? event : NULL;
}

static void latency_cmd_latest(struct command_context *ctx) {
    struct latency_event event;
    uint32_t n = 0;
    while (read_event(ctx, n, &event))
        n++;
    struct buf elements = {0};
    struct reply reply = {.out = &elements, .protocol = ctx->reply->protocol};
    for (uint32_t i = 0; i < n && read_event(ctx, i, &event); i++) {
        const struct latency_sample *last = &event.samples[event.n - 1];
        reply_array(&reply, 4);
        reply_text(&reply, event.name);
        reply_integer(&reply, last->wall_s);
        reply_integer(&reply, last->ms);
        reply_integer(&reply, event.worst_ms);
    }
    reply_array(ctx->reply, n);
    buf_append_slice(ctx->reply->out, buf_slice(&elements));
    buf_deinit(&elements);
}

static void latency_cmd_history(struct command_context *ctx) {
    struct latency_event event;
    for (uint32_t i = 0; read_event(ctx, i, &event); i++) {
        if (!slice_equal_nocase(ctx->argv[2], slice_from(event.name))) continue;
        reply_array(ctx->reply, event.n);
        for (uint32_t k = 0; k < event.n; k++) {
            reply_array(ctx->reply, 2);
            reply_integer(ctx->reply, event.samples[k].wall_s);
            reply_integer(ctx->reply, event.samples[k].ms);
        }
        return;
    }
    reply_array(ctx->reply, 0);
}

static void latency_cmd_reset(struct command_context *ctx) {
    struct latency *latency = worker_deps(ctx->worker)->latency;
    int64_t removed = 0;
    if (ctx->argc == 2) removed = latency_reset(latency, SLICE(""));
    for (uint32_t i = 2; i < ctx->argc; i++)
        removed += latency_reset(latency, ctx->argv[i]);
    reply_integer(ctx->reply, removed);
}

static void describe_event(const struct latency_event *event, struct buf *text) {
    ASSERT(event->n > 0);
    int64_t sum = 0, least = INT64_MAX;
    for (uint32_t i = 0; i < event->n; i++) {
        sum += event->samples[i].ms;
        if (event->samples[i].ms < least) least = event->samples[i].ms;
    }
    buf_printf(text,
               "%s: %u latency spikes (average %" PRId64 "ms, least %" PRId64 "ms, worst %" PRId64
               "ms)\n",
               event->name, event->n, sum / event->n, least, event->worst_ms);
}

static void latency_cmd_doctor(struct command_context *ctx) {
    struct latency_event event;
    struct buf text = {0};
    if (!setting(worker_deps(ctx->worker)->settings, SETTING_LATENCY_THRESHOLD))
        buf_append_text(&text, "The latency monitor is off: turn it on with CONFIG SET "
                               "latency-monitor-threshold <milliseconds>.\n");
    uint32_t n = 0;
    for (; read_event(ctx, n, &event); n++)
        describe_event(&event, &text);
    if (n)
        buf_append_text(&text,
                        "SLOWLOG GET names the commands; \"command\" is one whose time grows "
                        "with what it is given, \"fast-command\" one whose time should "
                        "not: then look at the machine's CPU, swap and virtualisation.\n");
    else
        buf_append_text(&text, "No latency spike was observed.\n");
    reply_verbatim(ctx->reply, buf_slice(&text));
    buf_deinit(&text);
}

static void latency_cmd_graph(struct command_context *ctx) {
    struct latency_event event;
    uint32_t i = 0;
    while (read_event(ctx, i, &event) && !slice_equal(ctx->argv[2], slice_from(event.name)))
        i++;
    if (!read_event(ctx, i, &event)) {
        reply_error(ctx->reply, "ERR No samples available for event '%.*s'",
                    (int)(ctx->argv[2].len < SHOWN_MAX ? ctx->argv[2].len : SHOWN_MAX),
                    ctx->argv[2].data);
        return;
    }
    struct buf text = {0};
    latency_graph(&event, ctx->now_ms / 1000, &text);
    reply_verbatim(ctx->reply, buf_slice(&text));
    buf_deinit(&text);
}

/* --- LATENCY HISTOGRAM: for each command how many runs took up to 1, 2, 4, ... microseconds ------------------- */

enum { POWERS = 40 };

static void add_histogram(struct reply *reply, const struct command_stats *stats,
                          const struct command_total *total) {
    uint64_t counts[POWERS] = {0};
    for (uint32_t bin = 0; bin < LATENCY_BINS; bin++) {
        uint32_t power = 0;
        while (power < POWERS - 1 &&
               command_stats_bin_us(stats, bin) > (double)(UINT64_C(1) << power))
            power++;
        counts[power] += total->bins[bin];
    }
    size_t n = 0;
    for (uint32_t power = 0; power < POWERS; power++)
        n += counts[power] != 0;
    uint64_t seen = 0;
    reply_map(reply, 2);
    reply_text(reply, "calls");
    reply_integer(reply, total->calls);
    reply_text(reply, "histogram_usec");
    reply_map(reply, n);
    for (uint32_t power = 0; power < POWERS; power++) {
        if (!counts[power]) continue;
        seen += counts[power];
        reply_integer(reply, (int64_t)1 << power);
        reply_integer(reply, (int64_t)seen);
    }
}

struct histograms {
    const struct command_ids *ids;
    struct command_stats *stats;
    struct reply reply;
    uint32_t n;
};

static void add_command(struct histograms *histograms, uint32_t id) {
    char name[COMMAND_NAME_MAX];
    struct command_total total;
    command_stats_total(histograms->stats, id, &total);
    uint64_t any = 0;
    for (uint32_t bin = 0; bin < LATENCY_BINS; bin++)
        any |= total.bins[bin];
    if (!any) return;
    command_full_name(histograms->ids, id, name);
    reply_text(&histograms->reply, name);
    add_histogram(&histograms->reply, histograms->stats, &total);
    histograms->n++;
}

/* A container stands for its subcommands. */
static void add_named(struct histograms *histograms, struct slice name) {
    int32_t id = command_id_of_name(histograms->ids, name);
    if (id < 0) return;
    const struct command *command = command_of_id(histograms->ids, (uint32_t)id);
    add_command(histograms, (uint32_t)id);
    for (const struct command *sub = command->subcommands; sub && sub->name; sub++)
        add_command(histograms, command_id(histograms->ids, sub));
}

static void latency_cmd_histogram(struct command_context *ctx) {
    const struct worker_deps *deps = worker_deps(ctx->worker);
    struct buf elements = {0};
    struct histograms histograms = {.ids = acl_ids(deps->acl),
                                    .stats = deps->stats,
                                    .reply = {.out = &elements, .protocol = ctx->reply->protocol}};
    for (uint32_t id = 0; ctx->argc == 2 && id < command_ids_count(histograms.ids); id++)
        add_command(&histograms, id);
    for (uint32_t i = 2; i < ctx->argc && elements.len <= STRING_MAX_BYTES; i++)
        add_named(&histograms, ctx->argv[i]);
    reply_map(ctx->reply, histograms.n);
    buf_append_slice(ctx->reply->out, buf_slice(&elements));
    buf_deinit(&elements);
}

/* --- the tables --------------------------------------------------------------------------------------------- */

enum { ADMIN = CMD_ADMIN | CMD_LOADING | CMD_STALE, MONITORS = ADMIN | CMD_NOSCRIPT };

static const struct command slowlog_subcommands[] = {
    {"get", slowlog_cmd_get, -2, ADMIN, NO_KEYS, "2.2.12", GROUP_SERVER,
     "Returns the slow log's entries.", "O(N) where N is the number of entries returned", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "6.2.0", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"len", slowlog_cmd_len, 2, ADMIN, NO_KEYS, "2.2.12", GROUP_SERVER,
     "Returns the number of entries in the slow log.", "O(1)", NULL},
    {"reset", slowlog_cmd_reset, 2, ADMIN, NO_KEYS, "2.2.12", GROUP_SERVER,
     "Clears all entries from the slow log.",
     "O(N) where N is the number of entries in the slowlog", NULL},
    {0},
};

static const struct command latency_subcommands[] = {
    {"doctor", latency_cmd_doctor, 2, MONITORS, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns a human-readable latency analysis report.", "O(1)", NULL},
    {"graph", latency_cmd_graph, 3, MONITORS, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns a latency graph for an event.", "O(1)", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"histogram", latency_cmd_histogram, -2, MONITORS, NO_KEYS, "7.0.0", GROUP_SERVER,
     "Returns the cumulative distribution of latencies of a subset or all commands.",
     "O(N) where N is the number of commands with latency information being retrieved.", NULL},
    {"history", latency_cmd_history, 3, MONITORS, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns timestamp-latency samples for an event.", "O(1)", NULL},
    {"latest", latency_cmd_latest, 2, MONITORS, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns the latest latency samples for all events.", "O(1)", NULL},
    {"reset", latency_cmd_reset, -2, MONITORS, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Resets the latency data for one or more events.", "O(1)", NULL},
    {0},
};

const struct command commands_slowlog[] = {
    {"latency", NULL, -2, 0, NO_KEYS, "2.8.13", GROUP_SERVER,
     "A container for latency diagnostics commands.", "Depends on subcommand.",
     latency_subcommands},
    {"slowlog", NULL, -2, 0, NO_KEYS, "2.2.12", GROUP_SERVER, "A container for slow log commands.",
     "Depends on subcommand.", slowlog_subcommands},
    {0},
};
