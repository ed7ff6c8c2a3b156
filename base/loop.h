/* loop.h: one thread's event loop: file descriptors, one-shot timers, and messages from other threads.
 *
 *     struct loop *loop = loop_create(err);
 *     self->watch = (struct loop_watch){.fd = fd, .events = LOOP_READ, .fire = on_ready, .arg = self};
 *     loop_watch(loop, &self->watch, err);
 *     loop_run(loop);                                            until loop_stop, from any thread
 *
 * Everything but loop_post and loop_stop is for the loop's own thread (or before loop_run). The structs
 * are the caller's memory, usually inside its object, and must stay in place while they are active.
 * epoll lies behind it, level-triggered; an io_uring back end may follow without changing this header. */
#ifndef FRESHET_BASE_LOOP_H
#define FRESHET_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct loop;

enum { LOOP_HOOKS = 8 };

enum loop_events {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    LOOP_HANGUP = 4, /* reported, never asked for */
    LOOP_ENDED = 8,  /* the peer will send no more; there may be bytes to read before that */
};

struct loop_watch {
    int fd;
    unsigned events;
    void (*fire)(void *arg, unsigned events);
    void *arg;
};

struct loop_timer {
    int64_t due_us; /* 0: idle */
    void (*fire)(void *arg, int64_t now_us);
    void *arg;
    uint32_t slot; /* the loop's own */
};

/* A message crosses threads: posted by any, run on the loop's thread in the order of posting. The memory is
 * the poster's until it runs, and the callee's from then on. */
struct loop_message {
    struct loop_message *next;
    void (*run)(struct loop_message *message, void *owner);
    void *owner;
};

struct loop *loop_create(struct error *err);
void loop_destroy(struct loop **loop);
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

bool loop_watch(struct loop *loop, struct loop_watch *watch, struct error *err) MUST_CHECK;
/* Changes what is asked for; 0 keeps the descriptor known but silent. */
void loop_watch_events(struct loop *loop, struct loop_watch *watch, unsigned events);
/* The descriptor may be closed already (libpq does so by itself). */
void loop_unwatch(struct loop *loop, struct loop_watch *watch);

/* Sets or moves the timer; firing disarms it. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_us);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

void loop_post(struct loop *loop, struct loop_message *message);
/* Runs what was posted after the loop has ended, so that nothing is lost; for whoever destroys it. */
void loop_deliver(struct loop *loop);

/* `run` is called at the end of each turn, when all ready descriptors, timers and messages were handled:
 * the place to flush what the turn has gathered (replies, batched queries). A loop takes up to LOOP_HOOKS of
 * each kind, before loop_run, and calls them in the order of their registration. */
void loop_each_turn(struct loop *loop, void (*run)(void *arg), void *arg);
/* `sleep` is called before the loop blocks and `wake` right after (to leave and enter a reading section). */
void loop_around_sleep(struct loop *loop, void (*sleep)(void *arg), void (*wake)(void *arg),
                       void *arg);

/* Monotonic microseconds as of the start of this turn. */
int64_t loop_now_us(const struct loop *loop);

#endif
