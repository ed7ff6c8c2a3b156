#include "base/thread.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

static void a_prompt_thread_has_short_slices_and_nothing_else_changes(void **state) {
    (void)state;
    int policy = sched_getscheduler(0);
    assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
    uint64_t slice_ns = thread_be_prompt();
    assert_int_equal(sched_getscheduler(0), policy);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), 3);
    if (slice_ns == 0) skip(); /* a kernel without custom slices */
    assert_in_range(slice_ns, 100000, 500000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_thread_has_short_slices_and_nothing_else_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
