#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cache/front/latency_graph.h"

enum { NOW = 1000000 };

static void a_column_a_spike_with_its_age_below(void **state) {
    (void)state;
    struct latency_event event = {.name = "command",
                                  .n = 5,
                                  .samples = {{NOW - 3 * 86400, 10},
                                              {NOW - 7200, 40},
                                              {NOW - 120, 15},
                                              {NOW - 59, 20},
                                              {NOW + 5, 39}},
                                  .worst_ms = 99};
    struct buf out = {0};
    latency_graph(&event, NOW, &out);
    const char *expected =
        "command - high 40 ms, low 10 ms (all time high 99 ms)\n"
        "--------------------------------------------------------------------------------\n"
        " #  #\n"
        " |  |\n"
        " | o|\n"
        "_|#||\n"
        "\n"
        "32250\n"
        "dhm9s\n"
        "   s\n"
        "\n";
    assert_string_equal(buf_text(&out), expected);
    buf_deinit(&out);
}

static void spikes_that_are_all_the_same_are_a_line_and_the_newest_are_drawn(void **state) {
    (void)state;
    struct latency_event event = {.name = "x", .n = LATENCY_SAMPLES, .worst_ms = 7};
    for (uint32_t i = 0; i < event.n; i++)
        event.samples[i] = (struct latency_sample){NOW - event.n + i, 7};
    struct buf out = {0};
    latency_graph(&event, NOW, &out);
    char line[82];
    memset(line, '_', 80);
    line[80] = '\n';
    line[81] = '\0';
    assert_non_null(strstr(buf_text(&out), line));
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_a_spike_with_its_age_below),
        cmocka_unit_test(spikes_that_are_all_the_same_are_a_line_and_the_newest_are_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
