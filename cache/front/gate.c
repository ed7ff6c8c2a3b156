#include "cache/front/gate.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/front/client.h"
#include "cache/front/push.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"

struct gate *gate_create(void) {
    struct gate *gate = mem_zalloc(sizeof *gate);
    pthread_mutex_init(&gate->lock, NULL);
    return gate;
}

void gate_destroy(struct gate **gate) {
    if (!*gate) return;
    ASSERT((*gate)->n_monitors == 0);
    pthread_mutex_destroy(&(*gate)->lock);
    mem_free((*gate)->monitors);
    mem_free((*gate)->paused);
    mem_free(*gate);
    *gate = NULL;
}

static struct gate *gate_of(const struct command_context *ctx) {
    return worker_deps(ctx->worker)->gate;
}

/* Appends "client|list", as Redis calls a subcommand. */
static void append_full_name(const struct command *command, struct buf *out) {
    const struct command *parent = command_parent(command);
    if (parent) buf_printf(out, "%s|", parent->name);
    buf_append_text(out, command->name);
}

/* --- before ------------------------------------------------------------------------------------------------- */

/* A RESP2 client that is subscribed could not tell replies from messages. */
static bool refuse_subscribed(struct command_context *ctx) {
    if (!(ctx->unusual & CLIENT_SUBSCRIBED) || ctx->reply->protocol == 3) return false;
    if (ctx->command->flags & CMD_SUBSCRIBED) return false;
    struct buf name = {0};
    append_full_name(ctx->command, &name);
    reply_error(ctx->reply,
                "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                "RESET are allowed in this context",
                buf_text(&name));
    buf_deinit(&name);
    return true;
}

static bool is_held_by_pause(const struct command_context *ctx) {
    if (ctx->unusual & GATE_PAUSES_ALL) return true;
    return ctx->unusual & GATE_PAUSES_WRITES &&
           (ctx->command->flags & (CMD_WRITE | CMD_MAY_REPLICATE) ||
            (ctx->unusual & CLIENT_QUEUED_WRITES && ctx->command->flags & CMD_RUNS_QUEUE));
}

static void remember(struct gate *gate, struct client_ticket ticket) {
    if (gate->n_paused == gate->paused_cap) {
        gate->paused_cap = gate->paused_cap ? 2 * gate->paused_cap : 16;
        gate->paused = mem_realloc(gate->paused, gate->paused_cap * sizeof gate->paused[0]);
    }
    gate->paused[gate->n_paused++] = ticket;
}

static void wake_all(struct gate *gate) {
    for (uint32_t i = 0; i < gate->n_paused; i++)
        client_wake(gate->paused[i]);
    gate->n_paused = 0;
}

static void clear_flags(struct gate *gate, uint32_t flags) {
    atomic_fetch_and_explicit(&gate->flags, ~flags, memory_order_relaxed);
}

/* Caller holds the lock. */
static bool is_paused(struct gate *gate, int64_t now_us) {
    if (gate->paused_until_us > now_us) return true;
    clear_flags(gate, GATE_PAUSES_ALL | GATE_PAUSES_WRITES);
    wake_all(gate);
    return false;
}

bool gate_is_paused(struct gate *gate, int64_t now_us) {
    if (!(gate_flags(gate) & (GATE_PAUSES_ALL | GATE_PAUSES_WRITES))) return false;
    pthread_mutex_lock(&gate->lock);
    bool paused = is_paused(gate, now_us);
    pthread_mutex_unlock(&gate->lock);
    return paused;
}

/* True: it waits. The pause ends by itself where its time is over, or with gate_unpause. */
static bool wait_for_pause_end(struct command_context *ctx) {
    struct gate *gate = gate_of(ctx);
    pthread_mutex_lock(&gate->lock);
    bool waits = is_paused(gate, ctx->now_us);
    int64_t until_us = gate->paused_until_us;
    if (waits) remember(gate, client_ticket(ctx));
    pthread_mutex_unlock(&gate->lock);
    if (waits) client_block(ctx, until_us);
    client_set_mode(ctx->client, CLIENT_PAUSED, waits);
    return waits;
}

bool gate_admits(struct command_context *ctx) {
    bool goes_on = ctx->woken || ctx->timed_out || ctx->fetched;
    if (ctx->unusual & CLIENT_PAUSED) {
        /* it was the pause that it waited for: the command begins only now */
        client_set_mode(ctx->client, CLIENT_PAUSED, false);
        ctx->woken = ctx->timed_out = goes_on = false;
        ctx->deadline_us = 0;
    }
    if (goes_on) return true;
    if (refuse_subscribed(ctx)) return false;
    return !is_held_by_pause(ctx) || !wait_for_pause_end(ctx);
}

void gate_pause(struct gate *gate, bool all, int64_t until_us) {
    pthread_mutex_lock(&gate->lock);
    if (until_us > gate->paused_until_us) gate->paused_until_us = until_us;
    bool already_all = gate_flags(gate) & GATE_PAUSES_ALL;
    if (!already_all) {
        clear_flags(gate, GATE_PAUSES_WRITES);
        atomic_fetch_or_explicit(&gate->flags, all ? GATE_PAUSES_ALL : GATE_PAUSES_WRITES,
                                 memory_order_relaxed);
    }
    pthread_mutex_unlock(&gate->lock);
}

void gate_unpause(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    clear_flags(gate, GATE_PAUSES_ALL | GATE_PAUSES_WRITES);
    gate->paused_until_us = 0;
    wake_all(gate);
    pthread_mutex_unlock(&gate->lock);
}

/* --- behind ------------------------------------------------------------------------------------------------- */

void gate_done(struct command_context *ctx, size_t mark) {
    if (ctx->n_pending || ctx->blocked) return;
    struct client *client = ctx->client;
    uint32_t modes = client_modes(client);
    if (modes & CLIENT_UNBLOCKED) {
        ctx->reply->out->len = mark;
        reply_error(ctx->reply, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        client_set_mode(client, CLIENT_UNBLOCKED, false);
    }
    if (modes & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP) && !ctx->pushes) ctx->reply->out->len = mark;
    client_set_mode(client, CLIENT_REPLY_SKIP, (modes & CLIENT_REPLY_SKIP_NEXT) != 0);
    client_set_mode(client, CLIENT_REPLY_SKIP_NEXT, false);
}

/* --- MONITOR ------------------------------------------------------------------------------------------------ */

static bool wants_line(struct client *client, const struct push *push) {
    (void)push;
    return (client_modes(client) & CLIENT_MONITORS) != 0;
}

/* In double quotes, with what is not printable escaped, as Redis's MONITOR shows it. */
static void append_quoted(struct buf *out, struct slice text) {
    static const char plain[] = "\\\"\n\r\t\a\b";
    static const char escapes[] = "\\\"nrtab";
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        const char *special = c ? strchr(plain, c) : NULL;
        if (special)
            buf_printf(out, "\\%c", escapes[special - plain]);
        else if (c >= ' ' && c <= '~')
            buf_append_char(out, c);
        else
            buf_printf(out, "\\x%02x", (unsigned char)c);
    }
    buf_append_char(out, '"');
}

/* Secrets: all of AUTH, and the two words behind HELLO's AUTH. */
static bool is_secret(const struct command_context *ctx, uint32_t i) {
    if (i == 0) return false;
    if (slice_equal(slice_from(ctx->command->name), SLICE("auth"))) return true;
    if (!slice_equal(slice_from(ctx->command->name), SLICE("hello"))) return false;
    return (i > 2 && slice_equal_nocase(ctx->argv[i - 1], SLICE("auth"))) ||
           (i > 3 && slice_equal_nocase(ctx->argv[i - 2], SLICE("auth")));
}

static void compose_line(const struct command_context *ctx, struct buf *line) {
    int64_t now_us = clock_wall_us();
    buf_printf(line, "+%" PRId64 ".%06" PRId64 " [0 %s]", now_us / 1000000, now_us % 1000000,
               client_card(ctx->client)->address);
    for (uint32_t i = 0; i < ctx->argc; i++) {
        buf_append_char(line, ' ');
        append_quoted(line, is_secret(ctx, i) ? SLICE("(redacted)") : ctx->argv[i]);
    }
    buf_append_text(line, "\r\n");
}

void gate_show(struct command_context *ctx) {
    struct gate *gate = gate_of(ctx);
    if (!(gate_flags(gate) & GATE_MONITORED) || ctx->n_pending || ctx->blocked) return;
    if (ctx->command->flags & CMD_ADMIN) return;
    struct buf line = {0};
    compose_line(ctx, &line);
    struct push *push = push_create(SLICE(""), SLICE(""), buf_slice(&line), SLICE(""), wants_line);
    buf_deinit(&line);
    pthread_mutex_lock(&gate->lock);
    push_send(gate->monitors, gate->n_monitors, &push);
    pthread_mutex_unlock(&gate->lock);
}

void gate_add_monitor(struct gate *gate, struct mailbox *mailbox) {
    pthread_mutex_lock(&gate->lock);
    gate->monitors = mem_realloc(gate->monitors, (gate->n_monitors + 1) * sizeof gate->monitors[0]);
    gate->monitors[gate->n_monitors++] = mailbox_acquire(mailbox);
    atomic_fetch_or_explicit(&gate->flags, GATE_MONITORED, memory_order_relaxed);
    pthread_mutex_unlock(&gate->lock);
}

void gate_remove_monitor(struct gate *gate, const struct mailbox *mailbox) {
    pthread_mutex_lock(&gate->lock);
    for (uint32_t i = 0; i < gate->n_monitors; i++) {
        if (gate->monitors[i] != mailbox) continue;
        mailbox_release(&gate->monitors[i]);
        gate->monitors[i] = gate->monitors[--gate->n_monitors];
        break;
    }
    if (gate->n_monitors == 0) clear_flags(gate, GATE_MONITORED);
    pthread_mutex_unlock(&gate->lock);
}
