/* The folder of an archive: what is committed stays, whatever is cut off or damaged. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "connectors/archive/reader.h"
#include "connectors/archive/segment.h"
#include "connectors/archive/vault.h"
#include "rows.h"

enum { SYSTEM = 77, NOW = 1000000 };

struct fixture {
    char path[64];
    struct vault *vault;
    struct shape *shape;
};

static int setup(void **state) {
    struct fixture *fixture = mem_zalloc(sizeof *fixture);
    snprintf(fixture->path, sizeof fixture->path, "/tmp/freshet-archive-XXXXXX");
    assert_non_null(mkdtemp(fixture->path));
    fixture->shape = users_shape();
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    vault_destroy(&fixture->vault);
    shape_release(&fixture->shape);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fixture->path);
    assert_int_equal(system(command), 0);
    mem_free(fixture);
    return 0;
}

static bool reopen_as(struct fixture *fixture, const char *table, uint64_t system_identifier,
                      struct error *err) {
    vault_destroy(&fixture->vault);
    fixture->vault = vault_create(
        &(struct vault_config){.path = fixture->path, .segment_bytes = 2000, .segment_age_s = 60});
    struct vault_identity identity = {
        .table = table, .keys = "id", .system_identifier = system_identifier};
    return vault_open(fixture->vault, &identity, err) &&
           vault_reshape(fixture->vault, fixture->shape, err);
}

static void reopen(struct fixture *fixture) {
    struct error err;
    if (!reopen_as(fixture, "public.users", SYSTEM, &err)) fail_msg("%s", err.message);
}

/* Rows from..to, one line each, with their numbers as versions. */
static bool append(struct fixture *fixture, unsigned from, unsigned to) {
    struct buf text = {0};
    char id[16];
    for (unsigned i = from; i <= to; i++) {
        snprintf(id, sizeof id, "%u", i);
        struct write write = {.key = slice_from(id),
                              .stamp = {.version = i, .xid = 1},
                              .row = ROW(V(id), V("name"), V(NULL))};
        record_append(&text, fixture->shape, &write, true);
        buf_append_char(&text, '\n');
    }
    struct error err;
    struct vault_lines lines = {
        .text = buf_slice(&text), .n = to - from + 1, .first_lsn = from, .last_lsn = to};
    bool ok = vault_append(fixture->vault, &lines, NOW, &err);
    buf_deinit(&text);
    return ok;
}

static bool commit_at(struct fixture *fixture, uint64_t lsn, int64_t now_s) {
    struct error err;
    struct change_position position = {
        .end_lsn = lsn, .snapshot_done = true, .system_identifier = SYSTEM, .timeline = 1};
    return vault_commit(fixture->vault, &position, now_s, &err);
}

static void commit(struct fixture *fixture, uint64_t lsn) {
    assert_true(commit_at(fixture, lsn, NOW));
}

struct seen {
    uint64_t n;
    uint64_t last;
    bool in_order;
};

static bool see_manifest(void *self, const struct manifest *manifest, struct error *err) {
    (void)self, (void)manifest, (void)err;
    return true;
}

static bool see_shape(void *self, struct shape *shape, struct error *err) {
    (void)self, (void)err;
    return shape->n_columns == 3;
}

static bool see_record(void *self, const struct record *record, struct error *err) {
    (void)err;
    struct seen *seen = self;
    seen->in_order &= record->stamp.version == seen->last + 1;
    seen->last = record->stamp.version;
    seen->n++;
    return true;
}

static bool read_all(const struct fixture *fixture, struct seen *seen, struct error *err) {
    *seen = (struct seen){.in_order = true};
    const struct archive_handler handler = {see_manifest, see_shape, see_record, seen};
    struct archive_sums sums;
    bool ok = archive_read(fixture->path, &handler, &sums, err);
    if (ok) assert_int_equal(sums.records, seen->n);
    return ok;
}

static void assert_holds(const struct fixture *fixture, uint64_t n) {
    struct seen seen;
    struct error err;
    if (!read_all(fixture, &seen, &err)) fail_msg("%s", err.message);
    assert_int_equal(seen.n, n);
    assert_true(seen.in_order);
}

/* Files with that ending. */
static unsigned count_files(const struct fixture *fixture, const char *ending) {
    DIR *folder = opendir(fixture->path);
    assert_non_null(folder);
    unsigned n = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        size_t len = strlen(entry->d_name);
        size_t end = strlen(ending);
        n += len >= end && strcmp(entry->d_name + len - end, ending) == 0;
    }
    closedir(folder);
    return n;
}

static void what_is_committed_stays_and_the_rest_goes(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    assert_true(append(fixture, 1, 10));
    commit(fixture, 10);
    assert_holds(fixture, 10);
    assert_true(append(fixture, 11, 20));
    assert_holds(fixture, 10);
    reopen(fixture); /* as after a kill: nothing was committed since */
    assert_int_equal(vault_manifest(fixture->vault)->position.end_lsn, 10);
    assert_holds(fixture, 10);
    assert_true(append(fixture, 11, 12));
    commit(fixture, 12);
    assert_holds(fixture, 12);
    commit(fixture, 13); /* a position alone */
    reopen(fixture);
    assert_int_equal(vault_manifest(fixture->vault)->position.end_lsn, 13);
    assert_int_equal(vault_manifest(fixture->vault)->position.timeline, 1);
}

static void segments_are_closed_by_size_and_by_age(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    unsigned at = 0;
    for (; count_files(fixture, ".gz") < 3; at += 5) {
        assert_true(append(fixture, at + 1, at + 5));
        commit(fixture, at + 5);
    }
    assert_holds(fixture, at);
    assert_true(append(fixture, at + 1, at + 1));
    assert_true(commit_at(fixture, at + 1, NOW + 59));
    assert_int_equal(count_files(fixture, ".open"), 1);
    assert_true(commit_at(fixture, at + 2, NOW + 60));
    assert_int_equal(count_files(fixture, ".open"), 0);
    assert_holds(fixture, at + 1);
}

/* More than a segment without a commit, as in a load. */
static void segments_that_were_closed_without_a_commit_go(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    assert_true(append(fixture, 1, 3));
    commit(fixture, 3);
    struct error err;
    struct shape *other =
        shape_create("public", "users", 3, fixture->shape->columns, 2, (const uint16_t[]){0, 1});
    assert_true(vault_reshape(fixture->vault, other, &err)); /* closes one */
    assert_true(append(fixture, 4, 6));
    assert_true(vault_reshape(fixture->vault, fixture->shape, &err));
    assert_true(append(fixture, 7, 9));
    shape_release(&other);
    reopen(fixture);
    assert_holds(fixture, 3);
    assert_true(append(fixture, 4, 4));
    commit(fixture, 4);
    assert_holds(fixture, 4);
}

static void a_renaming_that_was_interrupted_is_completed(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    assert_true(append(fixture, 1, 3));
    assert_true(commit_at(fixture, 3, NOW + 60));
    vault_destroy(&fixture->vault);
    char closed[128];
    char open[128];
    snprintf(closed, sizeof closed, "%s/000000000001.ndjson.gz", fixture->path);
    snprintf(open, sizeof open, "%s.open", closed);
    assert_int_equal(rename(closed, open), 0);
    assert_holds(fixture, 3);
    reopen(fixture);
    assert_int_equal(access(closed, F_OK), 0);
    assert_holds(fixture, 3);
}

static void flip_byte(const char *path, off_t at) {
    int fd = open(path, O_RDWR);
    unsigned char byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_damaged_segment_is_told_before_any_of_it_is_handed_out(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(append(fixture, i * 5 + 1, i * 5 + 5));
        assert_true(commit_at(fixture, i * 5 + 5, NOW + 60));
    }
    char path[128];
    snprintf(path, sizeof path, "%s/000000000002.ndjson.gz", fixture->path);
    flip_byte(path, 40);
    struct seen seen;
    struct error err;
    assert_false(read_all(fixture, &seen, &err));
    assert_int_equal(seen.n, 5);
    assert_non_null(strstr(err.message, "000000000002.ndjson.gz is damaged"));
    assert_int_equal(truncate(path, 30), 0);
    assert_false(read_all(fixture, &seen, &err));
    assert_int_equal(unlink(path), 0);
    assert_false(read_all(fixture, &seen, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
}

static void a_damaged_manifest_head_or_open_segment_stops_the_writer(void **state) {
    struct fixture *fixture = *state;
    static const char *const names[] = {"manifest", "head", "000000000001.ndjson.gz.open"};
    reopen(fixture);
    assert_true(append(fixture, 1, 5));
    commit(fixture, 5); /* the first is a manifest, the next a head */
    commit(fixture, 6);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        vault_destroy(&fixture->vault);
        char path[128];
        snprintf(path, sizeof path, "%s/%s", fixture->path, names[i]);
        flip_byte(path, 20);
        struct error err;
        assert_false(reopen_as(fixture, "public.users", SYSTEM, &err));
        assert_int_equal(err.code, ERROR_CONFLICT);
        flip_byte(path, 20);
    }
    reopen(fixture);
    assert_holds(fixture, 5);
}

static void anothers_archive_is_left_alone(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    assert_true(append(fixture, 1, 5));
    commit(fixture, 5);
    struct error err;
    assert_false(reopen_as(fixture, "public.orders", SYSTEM, &err));
    assert_false(reopen_as(fixture, "public.users", SYSTEM + 1, &err));
    reopen(fixture);
    struct vault *second = vault_create(&(struct vault_config){.path = fixture->path});
    assert_false(vault_open(second,
                            &(struct vault_identity){
                                .table = "public.users", .keys = "id", .system_identifier = SYSTEM},
                            &err));
    assert_true(err.retriable);
    vault_destroy(&second);
    assert_holds(fixture, 5);
}

static void keys_of_another_form_void_the_position(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    assert_true(append(fixture, 1, 5));
    commit(fixture, 5);
    struct error err;
    struct vault_identity identity = {
        .table = "public.users", .keys = "id,name", .system_identifier = SYSTEM};
    assert_true(vault_open(fixture->vault, &identity, &err));
    assert_false(vault_manifest(fixture->vault)->position.snapshot_done);
    assert_holds(fixture, 5);
}

/* A limit on the size of files does what a full disk does. */
static void a_full_disk_is_an_error_and_nothing_is_lost(void **state) {
    struct fixture *fixture = *state;
    reopen(fixture);
    assert_true(append(fixture, 1, 5));
    commit(fixture, 5);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool failed = append(fixture, 6, 10) && !commit_at(fixture, 10, NOW);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(failed);
    assert_holds(fixture, 5);
    reopen(fixture);
    assert_int_equal(vault_manifest(fixture->vault)->position.end_lsn, 5);
    assert_true(append(fixture, 6, 10));
    commit(fixture, 10);
    assert_holds(fixture, 10);
}

static void a_shape_comes_back_from_its_line(void **state) {
    struct fixture *fixture = *state;
    struct buf line = {0};
    segment_write_header(&line, 3, fixture->shape);
    assert_true(line.len && line.data[line.len - 1] == '\n');
    uint64_t number;
    struct shape *shape = segment_read_header(slice_make(line.data, line.len - 1), &number);
    assert_non_null(shape);
    assert_int_equal(number, 3);
    assert_string_equal(shape->columns[1].name, "name");
    assert_int_equal(shape->columns[0].class, CLASS_LONG);
    assert_int_equal(shape->n_keys, 1);
    shape_release(&shape);
    buf_deinit(&line);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_committed_stays_and_the_rest_goes),
        TEST(segments_are_closed_by_size_and_by_age),
        TEST(segments_that_were_closed_without_a_commit_go),
        TEST(a_renaming_that_was_interrupted_is_completed),
        TEST(a_damaged_segment_is_told_before_any_of_it_is_handed_out),
        TEST(a_damaged_manifest_head_or_open_segment_stops_the_writer),
        TEST(anothers_archive_is_left_alone),
        TEST(keys_of_another_form_void_the_position),
        TEST(a_full_disk_is_an_error_and_nothing_is_lost),
        TEST(a_shape_comes_back_from_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
