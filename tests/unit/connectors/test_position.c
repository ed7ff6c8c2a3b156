/* The position file: whole, torn, damaged; and the dead-letter file beside it. */
#include "connectors/runtime/position.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connectors/runtime/backoff.h"
#include "connectors/runtime/deadletter.h"
#include "rows.h"

static char folder[] = "/tmp/freshet-position-XXXXXX";
static char path[64];

static const struct position_record example = {
    .position = {.end_lsn = UINT64_C(0x16B374D848),
                 .snapshot_done = true,
                 .system_identifier = UINT64_C(7301234567890123456),
                 .timeline = 3,
                 .timeline_lsn = UINT64_C(0x16A0000000),
                 .last_end_lsn = UINT64_C(0x16B374D000)},
    .table = "public.users",
    .keys = "id",
    .target = "cboL9iXCTCGexwViuS6HUw",
};

static void assert_example(const struct position_record *record) {
    assert_true(record->position.end_lsn == example.position.end_lsn);
    assert_true(record->position.system_identifier == example.position.system_identifier);
    assert_true(record->position.snapshot_done);
    assert_int_equal(record->position.timeline, 3);
    assert_true(record->position.timeline_lsn == example.position.timeline_lsn);
    assert_true(record->position.last_end_lsn == example.position.last_end_lsn);
    assert_string_equal(record->table, "public.users");
    assert_string_equal(record->keys, "id");
    assert_string_equal(record->target, "cboL9iXCTCGexwViuS6HUw");
}

static void what_is_written_is_read(void **state) {
    (void)state;
    struct buf text = {0};
    position_write(&text, &example);
    struct position_record record;
    assert_true(position_read(buf_slice(&text), &record));
    assert_example(&record);
    buf_deinit(&text);
}

static void the_note_of_a_load_is_kept(void **state) {
    (void)state;
    struct position_record noted = example;
    noted.position.snapshot_done = false;
    snprintf(noted.note, sizeof noted.note, "17 {\"a\":\"b=c\"}");
    struct buf text = {0};
    position_write(&text, &noted);
    struct position_record record;
    assert_true(position_read(buf_slice(&text), &record));
    assert_false(record.position.snapshot_done);
    assert_string_equal(record.note, noted.note);
    buf_deinit(&text);
}

static void a_torn_file_is_damaged_wherever_it_is_torn(void **state) {
    (void)state;
    struct buf text = {0};
    position_write(&text, &example);
    struct position_record record;
    for (size_t len = 0; len < text.len; len++)
        assert_false(position_read(slice_make(text.data, len), &record));
    buf_append_char(&text, '\n');
    assert_false(position_read(buf_slice(&text), &record));
    buf_deinit(&text);
}

static void so_is_one_with_any_bit_turned(void **state) {
    (void)state;
    struct buf text = {0};
    position_write(&text, &example);
    struct position_record record;
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        text.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(position_read(buf_slice(&text), &record));
        text.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_deinit(&text);
}

static void a_save_that_was_cut_off_leaves_the_one_before(void **state) {
    (void)state;
    struct error err = {0};
    assert_true(position_save(path, &example, &err));
    char beside[80];
    snprintf(beside, sizeof beside, "%s.new", path);
    int fd = open(beside, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "freshet-po", 10), 10);
    close(fd);
    struct position_record record;
    enum position_state found;
    assert_true(position_load(path, &record, &found, &err));
    assert_int_equal(found, POSITION_LOADED);
    assert_example(&record);
    struct position_record later = example;
    later.position.end_lsn++;
    assert_true(position_save(path, &later, &err));
    assert_true(position_load(path, &record, &found, &err));
    assert_true(record.position.end_lsn == later.position.end_lsn);
}

static void a_missing_file_and_a_damaged_one_are_told_apart(void **state) {
    (void)state;
    struct error err = {0};
    struct position_record record;
    enum position_state found;
    unlink(path);
    assert_true(position_load(path, &record, &found, &err));
    assert_int_equal(found, POSITION_ABSENT);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, "freshet-position 1\n", 19), 19);
    close(fd);
    assert_true(position_load(path, &record, &found, &err));
    assert_int_equal(found, POSITION_DAMAGED);
    assert_true(record.position.end_lsn == 0);
}

static void an_unwritable_path_is_an_error_that_names_it(void **state) {
    (void)state;
    struct error err = {0};
    assert_false(position_save("/nonexistent/folder/x.position", &example, &err));
    assert_non_null(strstr(err.message, "/nonexistent/folder/x.position"));
}

/* ---- dead letters ---- */

static void read_file(const char *name, char *text, size_t size) {
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t len = read(fd, text, size - 1);
    assert_true(len >= 0);
    text[len] = '\0';
    close(fd);
}

static struct batch *refused_batch(struct shape *shape) {
    struct batch *batch = batch_create(BATCH_WRITES, shape, 0);
    struct write_stamp stamp = {.version = UINT64_C(0x16B374D848)};
    batch_put(batch, SLICE("7"), &stamp, ROW(V("7"), V("x\"y"), V(NULL)), NULL);
    batch_refuse(batch, &batch->writes[0], 400, SLICE("{\"type\":\"mapper_parsing_exception\"}"));
    return batch;
}

static void a_letter_holds_document_and_cause(void **state) {
    (void)state;
    char file[96];
    snprintf(file, sizeof file, "%s/a.jsonl", folder);
    struct error err = {0};
    struct deadletters *letters = deadletters_create(file, 1 << 20, &err);
    struct shape *shape = users_shape();
    struct batch *batch = refused_batch(shape);
    deadletters_add(letters, "users-search", batch, &batch->writes[0], INT64_C(1795248485545000));
    assert_true(deadletters_sync(letters, &err));
    char text[1024];
    read_file(file, text, sizeof text);
    assert_string_equal(
        text,
        "{\"time\":\"2026-11-21T08:08:05.545Z\",\"connector\":\"users-search\",\"schema\":"
        "\"public\","
        "\"table\":\"users\",\"id\":\"7\",\"operation\":\"index\",\"version\":97500059720,"
        "\"lsn\":\"16/B374D848\",\"status\":400,\"cause\":{\"type\":\"mapper_parsing_exception\"},"
        "\"document\":{\"id\":7,\"name\":\"x\\\"y\",\"note\":null}}\n");
    batch_destroy(&batch);
    shape_release(&shape);
    deadletters_destroy(&letters);
}

static void a_line_that_a_crash_cut_off_is_ended_first(void **state) {
    (void)state;
    char file[96];
    snprintf(file, sizeof file, "%s/b.jsonl", folder);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "{\"time", 6), 6);
    close(fd);
    struct error err = {0};
    struct deadletters *letters = deadletters_create(file, 1 << 20, &err);
    struct shape *shape = users_shape();
    struct batch *batch = refused_batch(shape);
    deadletters_add(letters, "c", batch, &batch->writes[0], 0);
    assert_true(deadletters_sync(letters, &err));
    char text[1024];
    read_file(file, text, sizeof text);
    assert_memory_equal(text, "{\"time\n{\"time\":", 15);
    batch_destroy(&batch);
    shape_release(&shape);
    deadletters_destroy(&letters);
}

static void the_files_are_bounded_and_the_newest_letters_are_kept(void **state) {
    (void)state;
    char file[96];
    char older[100];
    snprintf(file, sizeof file, "%s/c.jsonl", folder);
    snprintf(older, sizeof older, "%s.1", file);
    struct error err = {0};
    struct deadletters *letters = deadletters_create(file, 2000, &err);
    struct shape *shape = users_shape();
    struct batch *batch = refused_batch(shape);
    for (int i = 0; i < 100; i++) {
        deadletters_add(letters, "c", batch, &batch->writes[0], INT64_C(1000000) * i);
        assert_true(deadletters_sync(letters, &err));
    }
    struct stat now;
    struct stat before;
    assert_int_equal(stat(file, &now), 0);
    assert_int_equal(stat(older, &before), 0);
    assert_true(now.st_size > 0 && now.st_size <= 2000);
    assert_true(before.st_size > 0 && before.st_size <= 2000);
    char text[2048];
    read_file(file, text, sizeof text);
    assert_non_null(strstr(text, "1970-01-01T00:01:39.000Z"));
    batch_destroy(&batch);
    shape_release(&shape);
    deadletters_destroy(&letters);
}

/* ---- backoff ---- */

static void waits_double_up_to_a_cap_and_differ_between_seeds(void **state) {
    (void)state;
    struct backoff a;
    struct backoff b;
    backoff_init(&a, 1);
    backoff_init(&b, 2);
    bool differed = false;
    int64_t whole_us = BACKOFF_FIRST_MS * 1000;
    for (int i = 0; i < 40; i++) {
        int64_t wait_us = backoff_next_us(&a);
        assert_in_range(wait_us, whole_us / 2, whole_us);
        if (wait_us != backoff_next_us(&b)) differed = true;
        whole_us *= 2;
        if (whole_us > BACKOFF_MAX_MS * INT64_C(1000)) whole_us = BACKOFF_MAX_MS * INT64_C(1000);
    }
    assert_true(differed);
    backoff_reset(&a);
    assert_in_range(backoff_next_us(&a), BACKOFF_FIRST_MS * 500, BACKOFF_FIRST_MS * 1000);
}

static int setup(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/x.position", folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_note_of_a_load_is_kept),
        cmocka_unit_test(a_torn_file_is_damaged_wherever_it_is_torn),
        cmocka_unit_test(so_is_one_with_any_bit_turned),
        cmocka_unit_test(a_save_that_was_cut_off_leaves_the_one_before),
        cmocka_unit_test(a_missing_file_and_a_damaged_one_are_told_apart),
        cmocka_unit_test(an_unwritable_path_is_an_error_that_names_it),
        cmocka_unit_test(a_letter_holds_document_and_cause),
        cmocka_unit_test(a_line_that_a_crash_cut_off_is_ended_first),
        cmocka_unit_test(the_files_are_bounded_and_the_newest_letters_are_kept),
        cmocka_unit_test(waits_double_up_to_a_cap_and_differ_between_seeds),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
