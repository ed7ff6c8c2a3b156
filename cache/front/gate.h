/* gate.h: what stands before and behind a command when its client, or the process, is not in the usual mode: a client that is
 * subscribed, silenced or unblocked; a process that is paused or monitored.
 *
 *     ctx.unusual = client_modes | gate_flags(gate);            one word: zero nearly always, tested once before a command
 *     if (ctx.unusual && !gate_admits(&ctx)) return;            after the checks of arity and rights
 *     run
 *     if (ctx.unusual) gate_show(&ctx);                         MONITOR, once it has run
 *     if (ctx.unusual | modes) gate_done(&ctx, mark);           at the end of all: who does not want the reply does not get it
 *
 * One gate for the process. Its flags are read without a lock; monitors and who waits for the pause's end are under its lock, a
 * leaf, held for a few instructions. */
#ifndef FRESHET_CACHE_GATE_H
#define FRESHET_CACHE_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache/commands/command.h"

struct client_ticket;
struct mailbox;

/* Beside enum client_mode (client.h) in ctx->unusual: above its bits. */
enum gate_flag {
    GATE_MONITORED = 1 << 16,
    GATE_PAUSES_WRITES = 1 << 17,
    GATE_PAUSES_ALL = 1 << 18,
};

/* Open for gate_flags alone. */
struct gate {
    _Atomic uint32_t flags;
    pthread_mutex_t lock; /* guards the rest */
    int64_t paused_until_us;
    struct client_ticket *paused; /* who waits; tickets that are spent do no harm */
    uint32_t n_paused, paused_cap;
    struct mailbox **monitors;
    uint32_t n_monitors;
};

struct gate *gate_create(void);
/* Nobody monitors any more. */
void gate_destroy(struct gate **gate);

/* Of enum gate_flag. Any thread. */
static inline uint32_t gate_flags(const struct gate *gate) {
    return atomic_load_explicit(&gate->flags, memory_order_relaxed);
}

/* False: it was answered with a refusal, or it waits for the end of a pause (command.h says what that means). */
bool gate_admits(struct command_context *ctx);
/* The command has run: tells it to those who monitor. Commands of an EXEC are shown one by one. */
void gate_show(struct command_context *ctx);
/* Behind a command, whatever became of it: takes back a reply that is not wanted, from `mark` on (the length of the output before
 * it), and moves the client's modes on. */
void gate_done(struct command_context *ctx, size_t mark);

/* --- pausing ------------------------------------------------------------------------------------------------ */

/* Until until_us (monotonic). A pause of all is not weakened, and neither is shortened, but by gate_unpause. */
void gate_pause(struct gate *gate, bool all, int64_t until_us);
void gate_unpause(struct gate *gate);
/* Ends a pause whose time is over; workers ask now and then. */
bool gate_is_paused(struct gate *gate, int64_t now_us);

/* --- monitoring --------------------------------------------------------------------------------------------- */

/* The client's mailbox is kept until it is taken out. */
void gate_add_monitor(struct gate *gate, struct mailbox *mailbox);
void gate_remove_monitor(struct gate *gate, const struct mailbox *mailbox);

#endif
