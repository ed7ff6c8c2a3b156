/* The record of invalidations: what is written is read again, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>
#include <stdlib.h>

#include "base/invalidation.h"

static const struct invalidation_column columns[] = {
    {.name = {.data = "id", .len = 2}, .type_oid = 23, .typmod = -1, .identity = true},
    {.name = {.data = "email", .len = 5}, .type_oid = 1043, .typmod = 68},
};

static const struct invalidation_source source = {.system_identifier = UINT64_MAX,
                                                  .timeline = 7,
                                                  .server_start_us = 1700000000000000,
                                                  .database = {.data = "shop", .len = 4},
                                                  .publication = {.data = "freshet", .len = 7}};

static struct value text(const char *value) {
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(value), .data = value};
}

static struct buf write_transaction(bool last) {
    struct buf relations = {0};
    struct buf changes = {0};
    struct buf record = {0};
    struct invalidation_relation relation = {.oid = 16400,
                                             .fingerprint = UINT64_C(0xfedcba9876543210),
                                             .schema = slice_from("public"),
                                             .name = slice_from("users"),
                                             .replica_identity = 'd',
                                             .n_columns = 2,
                                             .columns = columns};
    invalidation_write_relation(&relations, &relation);
    struct value old_row[] = {text("1"), {.kind = VALUE_NULL}};
    struct value new_row[] = {text("2"), {.kind = VALUE_UNCHANGED}};
    struct invalidation_change update = {.operation = CHANGE_UPDATE,
                                         .old_is_key = true,
                                         .n_columns = 2,
                                         .old_row = old_row,
                                         .new_row = new_row};
    struct invalidation_change truncate = {.operation = CHANGE_TRUNCATE, .n_columns = 2};
    invalidation_write_change(&changes, &update);
    invalidation_write_change(&changes, &truncate);
    struct invalidation head = {.kind = INVALIDATION_TRANSACTION,
                                .source = source,
                                .since_lsn = 1000,
                                .end_lsn = last ? 1300 : 0,
                                .xid = UINT64_C(5) << 32 | 740,
                                .commit_lsn = 1200,
                                .commit_time_us = -5,
                                .part = 3,
                                .last = last};
    invalidation_write(&record, &head, 1, buf_slice(&relations), 2, buf_slice(&changes));
    buf_deinit(&relations);
    buf_deinit(&changes);
    return record;
}

static void a_transaction_is_read_as_it_was_written(void **state) {
    (void)state;
    struct arena *arena = arena_create(4096);
    struct buf bytes = write_transaction(true);
    struct invalidation record;
    assert_int_equal(invalidation_read(buf_slice(&bytes), arena, &record), INVALIDATION_READ);
    assert_int_equal(record.kind, INVALIDATION_TRANSACTION);
    assert_true(record.source.system_identifier == UINT64_MAX);
    assert_int_equal(record.source.timeline, 7);
    assert_true(slice_equal(record.source.database, source.database));
    assert_true(slice_equal(record.source.publication, source.publication));
    assert_true(record.xid == (UINT64_C(5) << 32 | 740) && record.since_lsn == 1000);
    assert_true(record.commit_lsn == 1200 && record.end_lsn == 1300);
    assert_true(record.commit_time_us == -5 && record.part == 3 && record.last);
    assert_int_equal(record.n_relations, 1);
    const struct invalidation_relation *relation = record.relations;
    assert_true(relation->oid == 16400 && relation->fingerprint == UINT64_C(0xfedcba9876543210));
    assert_int_equal(relation->replica_identity, 'd');
    assert_int_equal(relation->n_columns, 2);
    assert_true(relation->columns[0].identity && !relation->columns[1].identity);
    assert_int_equal(relation->columns[0].typmod, -1);
    assert_int_equal(record.n_changes, 2);
    const struct invalidation_change *change = record.changes;
    assert_int_equal(change->operation, CHANGE_UPDATE);
    assert_true(change->old_is_key);
    assert_memory_equal(change->old_row[0].data, "1", 1);
    assert_int_equal(change->old_row[1].kind, VALUE_NULL);
    assert_memory_equal(change->new_row[0].data, "2", 1);
    assert_int_equal(change->new_row[1].kind, VALUE_UNCHANGED);
    assert_int_equal(change[1].operation, CHANGE_TRUNCATE);
    assert_null(change[1].old_row);
    buf_deinit(&bytes);
    arena_destroy(&arena);
}

static void a_heartbeat_is_read_as_it_was_written(void **state) {
    (void)state;
    struct arena *arena = arena_create(4096);
    struct buf bytes = {0};
    struct invalidation head = {.kind = INVALIDATION_HEARTBEAT,
                                .source = source,
                                .since_lsn = 10,
                                .end_lsn = 20,
                                .interval_ms = 250};
    invalidation_write(&bytes, &head, 0, (struct slice){0}, 0, (struct slice){0});
    struct invalidation record;
    assert_int_equal(invalidation_read(buf_slice(&bytes), arena, &record), INVALIDATION_READ);
    assert_int_equal(record.kind, INVALIDATION_HEARTBEAT);
    assert_true(record.since_lsn == 10 && record.end_lsn == 20 && record.interval_ms == 250);
    buf_deinit(&bytes);
    arena_destroy(&arena);
}

static void a_record_cut_short_or_too_long_is_malformed(void **state) {
    (void)state;
    struct arena *arena = arena_create(4096);
    struct buf bytes = write_transaction(true);
    struct invalidation record;
    for (size_t len = 0; len < bytes.len; len++) {
        char *copy = malloc(len ? len : 1); /* so that a sanitizer sees a read beyond it */
        memcpy(copy, bytes.data, len);
        assert_int_equal(invalidation_read(slice_make(copy, len), arena, &record),
                         INVALIDATION_MALFORMED);
        arena_reset(arena);
        free(copy);
    }
    buf_append_char(&bytes, 0);
    assert_int_equal(invalidation_read(buf_slice(&bytes), arena, &record), INVALIDATION_MALFORMED);
    buf_deinit(&bytes);
    arena_destroy(&arena);
}

static void only_the_last_part_knows_its_end(void **state) {
    (void)state;
    struct arena *arena = arena_create(4096);
    struct buf part = write_transaction(false);
    struct invalidation record;
    assert_int_equal(invalidation_read(buf_slice(&part), arena, &record), INVALIDATION_READ);
    assert_true(!record.last && record.end_lsn == 0);
    buf_deinit(&part);
    arena_destroy(&arena);
}

static void a_newer_version_is_told_from_a_malformed_record(void **state) {
    (void)state;
    struct arena *arena = arena_create(4096);
    struct invalidation record;
    assert_int_equal(invalidation_read(slice_make("FI\002T", 4), arena, &record),
                     INVALIDATION_NEWER);
    assert_int_equal(invalidation_read(slice_make("XY\001T", 4), arena, &record),
                     INVALIDATION_MALFORMED);
    arena_destroy(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_is_read_as_it_was_written),
        cmocka_unit_test(a_heartbeat_is_read_as_it_was_written),
        cmocka_unit_test(a_record_cut_short_or_too_long_is_malformed),
        cmocka_unit_test(only_the_last_part_knows_its_end),
        cmocka_unit_test(a_newer_version_is_told_from_a_malformed_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
