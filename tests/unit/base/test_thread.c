#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

static struct scheduling scheduling_now(void) {
    struct scheduling now = {.size = sizeof now};
    assert_int_equal(syscall(SYS_sched_getattr, 0, &now, sizeof now, 0), 0);
    return now;
}

static void a_prompt_thread_has_short_slices_and_nothing_else_changes(void **state) {
    (void)state;
    assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
    struct scheduling before = scheduling_now();
    thread_be_prompt();
    struct scheduling after = scheduling_now();
    assert_int_equal(after.policy, before.policy);
    assert_int_equal(after.nice, 3);
    assert_int_equal(after.flags, before.flags);
    if (before.runtime_ns == 0) return; /* a kernel without custom slices */
    assert_true(after.runtime_ns < before.runtime_ns);
    assert_true(after.runtime_ns >= 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_thread_has_short_slices_and_nothing_else_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
