/* The registry and the page that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "base/metrics.h"

static void check_page(struct metrics *metrics, const char *want) {
    struct buf page = {0};
    metrics_render(metrics, &page);
    assert_string_equal(buf_text(&page), want);
    buf_deinit(&page);
}

static void cells_of_one_series_are_summed(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    struct metric *one = metrics_counter(metrics, "x_total", "Things.", NULL);
    struct metric *two = metrics_counter(metrics, "x_total", "Things.", NULL);
    assert_ptr_not_equal(one, two);
    metric_add(one, 3);
    metric_bump(two, 4);
    assert_int_equal(metrics_sum(metrics, "x_total", NULL), 7);
    assert_int_equal(metrics_sum(metrics, "y_total", NULL), 0);
    check_page(metrics, "# HELP x_total Things.\n# TYPE x_total counter\nx_total 7\n");
    metrics_destroy(&metrics);
}

static void labels_tell_series_apart(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    metric_add(metrics_counter(metrics, "f_total", "Fills.", "outcome=\"installed\""), 1);
    metric_add(metrics_counter(metrics, "f_total", "Fills.", "outcome=\"retried\""), 2);
    assert_int_equal(metrics_sum(metrics, "f_total", "outcome=\"retried\""), 2);
    check_page(metrics, "# HELP f_total Fills.\n# TYPE f_total counter\n"
                        "f_total{outcome=\"installed\"} 1\nf_total{outcome=\"retried\"} 2\n");
    metrics_destroy(&metrics);
}

static void a_label_is_on_all_series_of_a_labelled_registry(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    struct metrics *one = metrics_labelled(metrics, "source=\"one\"");
    metric_add(metrics_counter(metrics, "f_total", "Fills.", NULL), 1);
    metric_add(metrics_counter(one, "f_total", "Fills.", NULL), 2);
    metric_add(metrics_counter(one, "f_total", "Fills.", "op=\"c\""), 3);
    assert_int_equal(metrics_sum(one, "f_total", "op=\"c\""), 3);
    assert_int_equal(metrics_sum(metrics, "f_total", NULL), 1);
    metrics_destroy(&one);
    check_page(metrics, "# HELP f_total Fills.\n# TYPE f_total counter\nf_total 1\n"
                        "f_total{source=\"one\"} 2\nf_total{op=\"c\",source=\"one\"} 3\n");
    metrics_destroy(&metrics);
}

static double read_half(void *owner) { return *(double *)owner / 2; }

static void a_gauge_is_asked_for_until_it_is_forgotten(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    double owner = 3;
    metrics_gauge_fn(metrics, "g_seconds", "Half.", NULL, read_half, &owner);
    check_page(metrics, "# HELP g_seconds Half.\n# TYPE g_seconds gauge\ng_seconds 1.5\n");
    owner = INFINITY;
    check_page(metrics, "# HELP g_seconds Half.\n# TYPE g_seconds gauge\ng_seconds +Inf\n");
    metrics_forget(metrics, &owner);
    struct buf page = {0};
    metrics_render(metrics, &page);
    assert_null(strstr(buf_text(&page), "g_seconds 1"));
    assert_null(strstr(buf_text(&page), "Inf"));
    buf_deinit(&page);
    metrics_destroy(&metrics);
}

static void a_set_gauge_shows_its_last_value(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    struct metric *gauge = metrics_gauge(metrics, "g_bytes", "Now.", NULL);
    metric_set(gauge, 10);
    metric_set(gauge, -4);
    check_page(metrics, "# HELP g_bytes Now.\n# TYPE g_bytes gauge\ng_bytes -4\n");
    metrics_destroy(&metrics);
}

static void a_histogram_counts_up_to_each_bound(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    static const double bounds[] = {0.1, 1};
    struct histogram *histogram = metrics_histogram(metrics, "h_seconds", "Time.", NULL, bounds, 2);
    histogram_observe(histogram, 0.1); /* a bound holds what equals it */
    histogram_observe(histogram, 0.5);
    histogram_observe(histogram, 7);
    check_page(metrics, "# HELP h_seconds Time.\n# TYPE h_seconds histogram\n"
                        "h_seconds_bucket{le=\"0.1\"} 1\nh_seconds_bucket{le=\"1\"} 2\n"
                        "h_seconds_bucket{le=\"+Inf\"} 3\n"
                        "h_seconds_sum 7.6\nh_seconds_count 3\n");
    metrics_destroy(&metrics);
}

static void *count(void *arg) {
    struct metrics *metrics = arg;
    struct metric *mine = metrics_counter(metrics, "t_total", "Threads.", NULL);
    for (int i = 0; i < 10000; i++)
        metric_bump(mine, 1);
    return NULL;
}

static void threads_count_in_cells_of_their_own(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, metrics), 0);
    struct buf page = {0};
    metrics_render(metrics, &page); /* any thread may, at any time */
    buf_deinit(&page);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_sum(metrics, "t_total", NULL), 40000);
    metrics_destroy(&metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_of_one_series_are_summed),
        cmocka_unit_test(labels_tell_series_apart),
        cmocka_unit_test(a_label_is_on_all_series_of_a_labelled_registry),
        cmocka_unit_test(a_gauge_is_asked_for_until_it_is_forgotten),
        cmocka_unit_test(a_set_gauge_shows_its_last_value),
        cmocka_unit_test(a_histogram_counts_up_to_each_bound),
        cmocka_unit_test(threads_count_in_cells_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
