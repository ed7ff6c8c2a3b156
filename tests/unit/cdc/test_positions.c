/* What a position record says is read back, also where an older Freshet wrote it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "cdc/output/positions.h"

static struct change_position read_back(const struct change_position *position) {
    struct buf text = {0};
    position_compose_value(position, &text);
    struct change_position back = {0};
    assert_true(position_parse(buf_slice(&text), &back));
    buf_deinit(&text);
    return back;
}

static void a_position_is_read_back(void **state) {
    (void)state;
    struct change_position position = {.end_lsn = 26734656,
                                       .snapshot_done = true,
                                       .system_identifier = UINT64_MAX,
                                       .last_end_lsn = 26734600};
    struct change_position back = read_back(&position);
    assert_int_equal(back.end_lsn, 26734656);
    assert_true(back.snapshot_done);
    assert_true(back.system_identifier == UINT64_MAX);
    assert_int_equal(back.last_end_lsn, 26734600);
    assert_int_equal(back.part.number, 0);
}

static void a_position_inside_a_transaction_tells_how_far_it_is(void **state) {
    (void)state;
    struct change_position position = {.end_lsn = 10,
                                       .part = {.commit_lsn = 20, .changes = 50000, .number = 3}};
    struct change_position back = read_back(&position);
    assert_int_equal(back.part.commit_lsn, 20);
    assert_int_equal(back.part.changes, 50000);
    assert_int_equal(back.part.number, 3);
}

static void a_record_of_an_older_freshet_is_a_position(void **state) {
    (void)state;
    struct change_position position = {.last_end_lsn = 7};
    assert_true(position_parse(
        SLICE(
            "{\"end_lsn\":5,\"lsn\":\"0/5\",\"snapshot_done\":false,\"system_identifier\":\"9\"}"),
        &position));
    assert_int_equal(position.end_lsn, 5);
    assert_int_equal(position.last_end_lsn, 0);
}

static void what_is_malformed_is_no_position(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "{\"end_lsn\":-1,\"snapshot_done\":true,\"system_identifier\":\"9\"}",
        "{\"end_lsn\":1,\"snapshot_done\":true,\"system_identifier\":\"nine\"}",
        "{\"end_lsn\":1,\"snapshot_done\":true,\"system_identifier\":\"9\",\"last_end_lsn\":-1}",
        "{\"end_lsn\":1,\"snapshot_done\":true,\"system_identifier\":\"9\",\"part\":{}}",
        "{\"end_lsn\":1,\"snapshot_done\":true,\"system_identifier\":\"9\","
        "\"part\":{\"commit_lsn\":1,\"changes\":1,\"number\":4294967296}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct change_position position = {0};
        assert_false(position_parse(slice_from(texts[i]), &position));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_is_read_back),
        cmocka_unit_test(a_position_inside_a_transaction_tells_how_far_it_is),
        cmocka_unit_test(a_record_of_an_older_freshet_is_a_position),
        cmocka_unit_test(what_is_malformed_is_no_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
