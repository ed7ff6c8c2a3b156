/* Changes as lines of JSON, and back. */
#include "connectors/runtime/record.h"

#include "connectors/document/document.h"
#include "rows.h"

static const struct shape_column columns[] = {
    {.name = "id", .class = CLASS_LONG},
    {.name = "a \"text\"", .class = CLASS_TEXT},
    {.name = "flag", .class = CLASS_BOOL},
    {.name = "price", .class = CLASS_NUMERIC},
    {.name = "at", .class = CLASS_TIMESTAMPTZ},
    {.name = "local", .class = CLASS_TIMESTAMP},
    {.name = "day", .class = CLASS_DATE},
    {.name = "doc", .class = CLASS_JSON},
    {.name = "raw", .class = CLASS_BYTES},
    {.name = "tags", .class = CLASS_TEXT, .array = true},
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static struct shape *odd_shape(void) {
    static const uint16_t keys[] = {0};
    return shape_create("public", "odd", N_COLUMNS, columns, 1, keys);
}

static const char *const rows[][N_COLUMNS] = {
    {"1", "plain", "t", "12.50", "2026-11-21 07:41:07.5+00", "2026-11-21 07:41:07", "2026-11-21",
     "{\"a\": [1, {\"b\": null}]}", "\\x00ff10", "{a,NULL,\"b \\\"c\\\" ,{}\"}"},
    {"-9223372036854775808", "", "f", "NaN", "2026-11-21 07:41:07+05:30", "-infinity",
     "0044-03-15 BC", "null", "\\x", "{}"},
    {"7", "\t\"\\ \n\x01 \xe2\x82\xac T+00:00", NULL, "123456789012345678901234567890.123456789",
     "0044-03-15 12:00:00+00 BC", NULL, "infinity", "{\n \"a\" : 1 }", NULL, "[0:1]={7,8}"},
    {"8", "null", "t", "1e300", "1890-01-01 00:00:00+00:19:32", "2026-11-21 00:00:00", NULL,
     "\"a,b}\"", "\\xdeadbeef", "{{1,2},{3,4}}"},
    {"9", NULL, NULL, NULL, NULL, NULL, NULL, NULL, "not hex", NULL},
    {"10", "x", NULL, "-Infinity", "infinity", NULL, NULL, " 5", "\\xabc", NULL},
};

static void each_row_comes_back_as_the_text_that_it_was(void **state) {
    (void)state;
    struct shape *shape = odd_shape();
    struct arena *arena = arena_create(4096);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct value row[N_COLUMNS];
        for (int i = 0; i < N_COLUMNS; i++)
            row[i] = value_of(rows[r][i]);
        struct write write = {
            .key = slice_from("a:\"b"), .stamp = {.version = UINT64_MAX, .xid = 761}, .row = row};
        struct buf line = {0};
        record_append(&line, shape, &write, true);
        assert_null(memchr(line.data, '\n', line.len));
        struct record record;
        if (!record_read(buf_slice(&line), shape, arena, &record)) fail_msg("%s", buf_text(&line));
        assert_int_equal(record.kind, RECORD_PUT);
        assert_slice(record.key, "a:\"b");
        assert_true(record.stamp.version == UINT64_MAX && record.stamp.xid == 761);
        for (int i = 0; i < N_COLUMNS; i++) {
            assert_int_equal(record.row[i].kind, row[i].kind);
            if (row[i].kind != VALUE_TEXT) continue;
            assert_slice(slice_make(record.row[i].data, record.row[i].len), rows[r][i]);
        }
        buf_deinit(&line);
    }
    arena_destroy(&arena);
    shape_release(&shape);
}

static void a_put_is_the_document_with_its_version(void **state) {
    (void)state;
    struct shape *shape = users_shape();
    struct write write = {.key = slice_from("42"),
                          .stamp = {.version = 381234, .xid = 761},
                          .row = ROW(V("42"), V("Ann"), V(NULL))};
    struct buf line = {0};
    record_append(&line, shape, &write, true);
    assert_string_equal(buf_text(&line),
                        "{\"operation\":\"put\",\"id\":\"42\",\"version\":381234,\"xid\":761,"
                        "\"document\":{\"id\":42,\"name\":\"Ann\",\"note\":null}}");
    buf_deinit(&line);
    shape_release(&shape);
}

static void deletes_and_clears_come_back(void **state) {
    (void)state;
    struct shape *shape = users_shape();
    struct arena *arena = arena_create(4096);
    struct buf line = {0};
    struct record record;
    struct write write = {
        .operation = WRITE_REMOVE, .key = slice_from("7"), .stamp = {.version = 5, .xid = 6}};
    record_append(&line, shape, &write, true);
    assert_true(record_read(buf_slice(&line), shape, arena, &record));
    assert_int_equal(record.kind, RECORD_DELETE);
    assert_slice(record.key, "7");
    for (int loaded = 0; loaded < 2; loaded++) {
        line.len = 0;
        record_append_clear(&line, 99, loaded);
        assert_true(record_read(buf_slice(&line), shape, arena, &record));
        assert_int_equal(record.kind, loaded ? RECORD_LOADED : RECORD_TRUNCATE);
        assert_int_equal(record.stamp.version, 99);
    }
    buf_deinit(&line);
    arena_destroy(&arena);
    shape_release(&shape);
}

static void what_is_no_record_is_told(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "{}",
        "{\"operation\":\"put\",\"id\":\"1\",\"version\":1,\"xid\":1}",
        "{\"operation\":\"put\",\"id\":\"1\",\"version\":1,\"xid\":1,\"document\":{\"id\":1}}",
        "{\"operation\":\"put\",\"id\":\"1\",\"version\":1,\"xid\":1,"
        "\"document\":{\"id\":1,\"name\":\"a\",\"note\":null}",
        "{\"operation\":\"delete\",\"id\":\"1\",\"version\":18446744073709551616,\"xid\":1}",
        "{\"operation\":\"delete\",\"id\":\"1\",\"version\":1,\"xid\":1}x",
        "{\"operation\":\"delete\",\"id\":\"1\\",
    };
    struct shape *shape = users_shape();
    struct arena *arena = arena_create(4096);
    struct record record;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_false(record_read(slice_from(lines[i]), shape, arena, &record));
    arena_destroy(&arena);
    shape_release(&shape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_comes_back_as_the_text_that_it_was),
        cmocka_unit_test(a_put_is_the_document_with_its_version),
        cmocka_unit_test(deletes_and_clears_come_back),
        cmocka_unit_test(what_is_no_record_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
