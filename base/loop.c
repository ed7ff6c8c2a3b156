#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

enum { BATCH = 256 }; /* descriptors reported a turn */

struct turn_hook {
    void (*run)(void *arg);
    void *arg;
};

struct sleep_hook {
    void (*sleep)(void *arg);
    void (*wake)(void *arg);
    void *arg;
};

struct loop {
    int epoll_fd;
    int wake_fd; /* eventfd: readable once a message was posted to an empty inbox */
    int64_t now_us;
    _Atomic bool stopping;
    /* Messages that were posted, the newest first. Any thread pushes; the loop takes them all at once. */
    _Atomic(struct loop_message *) inbox;

    /* Timers in a binary heap by due_us: heap[1] is the earliest, slot 0 is nobody's. */
    struct loop_timer **heap;
    uint32_t n_timers;
    uint32_t heap_cap;
    bool firing; /* timers are being fired: one that is set to now waits for the next turn */

    /* This turn's ready descriptors; a watch that goes meanwhile is struck out. */
    struct epoll_event ready[BATCH];
    int n_ready;
    int at_ready;

    struct turn_hook turn_hooks[LOOP_HOOKS];
    uint32_t n_turn_hooks;
    struct sleep_hook sleep_hooks[LOOP_HOOKS];
    uint32_t n_sleep_hooks;
};

struct loop *loop_create(struct error *err) {
    struct loop *loop = mem_zalloc(sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0) {
        error_set(err, ERROR_SYSTEM, true, "cannot make an event loop: %s", strerror(errno));
        loop_destroy(&loop);
        return NULL;
    }
    loop->now_us = clock_mono_us();
    return loop;
}

void loop_destroy(struct loop **loop) {
    struct loop *l = *loop;
    if (!l) return;
    if (l->epoll_fd >= 0) close(l->epoll_fd);
    if (l->wake_fd >= 0) close(l->wake_fd);
    mem_free(l->heap);
    mem_free(l);
    *loop = NULL;
}

int64_t loop_now_us(const struct loop *loop) { return loop->now_us; }

/* --- descriptors ------------------------------------------------------------------------------------------- */

static uint32_t to_epoll(unsigned events) {
    return (events & LOOP_READ ? (uint32_t)EPOLLIN : 0) |
           (events & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0) |
           (events & LOOP_ENDED ? (uint32_t)EPOLLRDHUP : 0);
}

static unsigned from_epoll(uint32_t events) {
    return (events & EPOLLIN ? (unsigned)LOOP_READ : 0) |
           (events & EPOLLOUT ? (unsigned)LOOP_WRITE : 0) |
           (events & EPOLLRDHUP ? (unsigned)LOOP_ENDED : 0) |
           (events & (EPOLLHUP | EPOLLERR) ? (unsigned)LOOP_HANGUP : 0);
}

bool loop_watch(struct loop *loop, struct loop_watch *watch, struct error *err) {
    struct epoll_event event = {.events = to_epoll(watch->events), .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) == 0) return true;
    return error_set(err, ERROR_SYSTEM, true, "cannot watch descriptor %d: %s", watch->fd,
                     strerror(errno));
}

/* libpq closes its socket itself when the server is gone; its descriptor is then no longer in the set. */
static void assert_closed(void) { ASSERT(errno == EBADF || errno == ENOENT); }

void loop_watch_events(struct loop *loop, struct loop_watch *watch, unsigned events) {
    if (watch->events == events) return;
    watch->events = events;
    struct epoll_event event = {.events = to_epoll(events), .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0) assert_closed();
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch) {
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL) < 0) assert_closed();
    for (int i = loop->at_ready; i < loop->n_ready; i++)
        if (loop->ready[i].data.ptr == watch) loop->ready[i].events = 0;
}

static void fire_ready(struct loop *loop) {
    while (loop->at_ready < loop->n_ready) {
        struct epoll_event *event = &loop->ready[loop->at_ready++];
        struct loop_watch *watch = event->data.ptr;
        if (!watch) { /* the inbox, which run_messages empties in any case */
            uint64_t count;
            (void)!read(loop->wake_fd, &count, sizeof count);
            continue;
        }
        if (event->events) watch->fire(watch->arg, from_epoll(event->events));
    }
    loop->n_ready = 0;
}

/* --- timers ------------------------------------------------------------------------------------------------ */

static void heap_place(struct loop *loop, uint32_t slot, struct loop_timer *timer) {
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void heap_up(struct loop *loop, uint32_t slot, struct loop_timer *timer) {
    while (slot > 1 && loop->heap[slot / 2]->due_us > timer->due_us) {
        heap_place(loop, slot, loop->heap[slot / 2]);
        slot /= 2;
    }
    heap_place(loop, slot, timer);
}

static void heap_down(struct loop *loop, uint32_t slot, struct loop_timer *timer) {
    for (;;) {
        uint32_t child = 2 * slot;
        if (child > loop->n_timers) break;
        if (child < loop->n_timers && loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
            child++;
        if (loop->heap[child]->due_us >= timer->due_us) break;
        heap_place(loop, slot, loop->heap[child]);
        slot = child;
    }
    heap_place(loop, slot, timer);
}

/* Puts `timer` where it belongs, from a slot that is free or holds it. */
static void heap_settle(struct loop *loop, uint32_t slot, struct loop_timer *timer) {
    if (slot > 1 && loop->heap[slot / 2]->due_us > timer->due_us)
        heap_up(loop, slot, timer);
    else
        heap_down(loop, slot, timer);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_us) {
    bool idle = timer->due_us == 0;
    int64_t earliest = loop->firing ? loop->now_us + 1 : 1;
    timer->due_us = due_us > earliest ? due_us : earliest;
    if (!idle) {
        heap_settle(loop, timer->slot, timer);
        return;
    }
    if (loop->n_timers + 1 >= loop->heap_cap) {
        loop->heap_cap = loop->heap_cap ? 2 * loop->heap_cap : 16;
        loop->heap = mem_realloc(loop->heap, loop->heap_cap * sizeof loop->heap[0]);
    }
    heap_up(loop, ++loop->n_timers, timer);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer) {
    if (timer->due_us == 0) return;
    struct loop_timer *last = loop->heap[loop->n_timers--];
    if (last != timer) heap_settle(loop, timer->slot, last);
    timer->due_us = 0;
}

static void fire_timers(struct loop *loop) {
    loop->firing = true;
    while (loop->n_timers && loop->heap[1]->due_us <= loop->now_us) {
        struct loop_timer *timer = loop->heap[1];
        loop_timer_clear(loop, timer);
        timer->fire(timer->arg, loop->now_us);
    }
    loop->firing = false;
}

/* --- messages ---------------------------------------------------------------------------------------------- */

static void wake(struct loop *loop) {
    uint64_t one = 1;
    (void)!write(loop->wake_fd, &one, sizeof one); /* full means that it is awake already */
}

void loop_post(struct loop *loop, struct loop_message *message) {
    struct loop_message *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do
        message->next = head;
    while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &head, message,
                                                  memory_order_release, memory_order_relaxed));
    if (!head) wake(loop);
}

static void run_messages(struct loop *loop) {
    if (!atomic_load_explicit(&loop->inbox, memory_order_relaxed)) return;
    struct loop_message *newest =
        atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    struct loop_message *oldest = NULL;
    while (newest) {
        struct loop_message *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_message *next = oldest->next;
        oldest->run(oldest, oldest->owner);
        oldest = next;
    }
}

void loop_deliver(struct loop *loop) { run_messages(loop); }

/* --- turns ------------------------------------------------------------------------------------------------- */

void loop_each_turn(struct loop *loop, void (*run)(void *arg), void *arg) {
    ASSERT(loop->n_turn_hooks < LOOP_HOOKS);
    loop->turn_hooks[loop->n_turn_hooks++] = (struct turn_hook){run, arg};
}

void loop_around_sleep(struct loop *loop, void (*sleep_)(void *arg), void (*wake_)(void *arg),
                       void *arg) {
    ASSERT(loop->n_sleep_hooks < LOOP_HOOKS);
    loop->sleep_hooks[loop->n_sleep_hooks++] = (struct sleep_hook){sleep_, wake_, arg};
}

void loop_stop(struct loop *loop) {
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    wake(loop);
}

/* How long epoll may block, in milliseconds, rounded up so that no timer is woken for in vain. */
static int sleep_ms(struct loop *loop) {
    if (!loop->n_timers) return -1;
    int64_t wait_us = loop->heap[1]->due_us - clock_mono_us();
    if (wait_us <= 0) return 0;
    int64_t wait_ms = (wait_us + 999) / 1000;
    return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

static void sleep_until_ready(struct loop *loop) {
    for (uint32_t i = 0; i < loop->n_sleep_hooks; i++)
        loop->sleep_hooks[i].sleep(loop->sleep_hooks[i].arg);
    int n = epoll_wait(loop->epoll_fd, loop->ready, BATCH, sleep_ms(loop));
    ASSERT(n >= 0 || errno == EINTR);
    loop->n_ready = n > 0 ? n : 0;
    loop->at_ready = 0;
    loop->now_us = clock_mono_us();
    for (uint32_t i = 0; i < loop->n_sleep_hooks; i++)
        loop->sleep_hooks[i].wake(loop->sleep_hooks[i].arg);
}

void loop_run(struct loop *loop) {
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire)) {
        sleep_until_ready(loop);
        /* What was posted before a peer sent its bytes is run before they are read: an invalidation goes out before the
         * reply to what was asked after the write. */
        run_messages(loop);
        fire_ready(loop);
        run_messages(loop);
        fire_timers(loop);
        for (uint32_t i = 0; i < loop->n_turn_hooks; i++)
            loop->turn_hooks[i].run(loop->turn_hooks[i].arg);
    }
    run_messages(loop); /* what was posted before the stop is not lost */
}
