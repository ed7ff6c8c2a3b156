#include "base/thread.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sched_setattr(2)'s; glibc has it from 2.41 on, under the kernel's name. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

enum { PROMPT_SLICE_NS = 200000 }; /* 100,000 is the least that the kernel takes */

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed && name) pthread_setname_np(*thread, name);
    return failed;
}

static bool read_scheduling(struct scheduling *now) {
    *now = (struct scheduling){.size = sizeof *now};
    return syscall(SYS_sched_getattr, 0, now, sizeof *now, 0) == 0;
}

uint64_t thread_be_prompt(void) {
    struct scheduling now;
    if (!read_scheduling(&now)) return 0;
    now.runtime_ns = PROMPT_SLICE_NS;
    bool kept = syscall(SYS_sched_setattr, 0, &now, 0) == 0 && read_scheduling(&now);
    return kept ? now.runtime_ns : 0;
}
