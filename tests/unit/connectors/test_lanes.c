/* A batch through several sinks: each key in one lane, outcomes where they belong, errors of any lane. */
#include "connectors/runtime/lanes.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "rows.h"

enum { LANES = 4, KEYS = 500 };

struct sink {
    uint32_t number;
    size_t n_writes;
    bool fails;
    bool loses;
    _Atomic int *at_work;
    _Atomic int *most;
    struct slice seen[KEYS];
};

/* Keys that end in 7 are refused, those that end in 8 stale; of a failing sink the second half stays pending. */
static bool fake_apply(struct sink *sink, struct batch *batch, struct error *err) {
    int now = atomic_fetch_add(sink->at_work, 1) + 1;
    int most = atomic_load(sink->most);
    while (now > most && !atomic_compare_exchange_weak(sink->most, &most, now))
        continue;
    struct write *write;
    size_t limit = sink->fails ? batch->n_writes / 2 : batch->n_writes;
    for (size_t at = 0; (write = batch_next(batch, &at, limit));) {
        sink->seen[sink->n_writes++] = write->key;
        char last = write->key.data[write->key.len - 1];
        write->outcome = last == '8' ? WRITE_STALE : WRITE_DONE;
        if (last == '7') batch_refuse(batch, write, 400, slice_from("{\"reason\":\"seven\"}"));
    }
    atomic_fetch_sub(sink->at_work, 1);
    if (sink->loses) return error_set(err, ERROR_NOT_FOUND, true, "gone");
    return !sink->fails || error_set(err, ERROR_UNAVAILABLE, true, "away");
}

static const struct sink_ops fake_ops = {.apply = fake_apply};

struct bench {
    struct sink sinks[LANES];
    struct lanes *lanes;
    struct shape *shape;
    struct batch *batch;
    _Atomic int at_work;
    _Atomic int most;
};

static int setup(void **state) {
    struct bench *b = calloc(1, sizeof *b);
    struct sink *sinks[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        b->sinks[i] = (struct sink){.number = i, .at_work = &b->at_work, .most = &b->most};
        sinks[i] = &b->sinks[i];
    }
    struct error err;
    b->lanes = lanes_create(&fake_ops, LANES, sinks, &err);
    b->shape = users_shape();
    b->batch = batch_create(BATCH_WRITES, b->shape, 0);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        struct write_stamp stamp = {.version = (uint64_t)i + 1};
        batch_put(b->batch, slice_from(key), &stamp, ROW(V(key), V("a"), V("b")), NULL);
    }
    *state = b;
    return b->lanes ? 0 : -1;
}

static int teardown(void **state) {
    struct bench *b = *state;
    lanes_destroy(&b->lanes);
    batch_destroy(&b->batch);
    shape_release(&b->shape);
    free(b);
    return 0;
}

static size_t all_writes(const struct bench *b) {
    size_t n = 0;
    for (uint32_t i = 0; i < LANES; i++)
        n += b->sinks[i].n_writes;
    return n;
}

static void each_write_is_made_once_and_has_its_outcome(void **state) {
    struct bench *b = *state;
    struct error err;
    assert_true(lanes_apply(b->lanes, b->batch, &err));
    assert_int_equal(all_writes(b), KEYS);
    for (uint32_t i = 0; i < LANES; i++)
        assert_true(b->sinks[i].n_writes > KEYS / LANES / 2);
    for (size_t i = 0; i < KEYS; i++) {
        const struct write *write = &b->batch->writes[i];
        if (i % 10 == 7) {
            assert_int_equal(write->outcome, WRITE_REFUSED);
            assert_string_equal(write->cause, "{\"reason\":\"seven\"}");
            assert_int_equal(write->status, 400);
        } else {
            assert_int_equal(write->outcome, i % 10 == 8 ? WRITE_STALE : WRITE_DONE);
        }
    }
}

static void a_key_keeps_its_lane_and_what_is_done_is_not_done_again(void **state) {
    struct bench *b = *state;
    struct error err;
    b->sinks[2].fails = true;
    assert_false(lanes_apply(b->lanes, b->batch, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    size_t before = all_writes(b);
    size_t others = b->sinks[0].n_writes + b->sinks[1].n_writes + b->sinks[3].n_writes;
    assert_true(before < KEYS);
    b->sinks[2].fails = false;
    assert_true(lanes_apply(b->lanes, b->batch, &err));
    assert_int_equal(all_writes(b), KEYS);
    assert_int_equal(b->sinks[0].n_writes + b->sinks[1].n_writes + b->sinks[3].n_writes, others);
}

static void a_lost_target_is_the_error_that_counts(void **state) {
    struct bench *b = *state;
    struct error err;
    b->sinks[1].loses = b->sinks[0].fails = b->sinks[3].fails = true;
    assert_false(lanes_apply(b->lanes, b->batch, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_write_is_made_once_and_has_its_outcome, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_key_keeps_its_lane_and_what_is_done_is_not_done_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_target_is_the_error_that_counts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
