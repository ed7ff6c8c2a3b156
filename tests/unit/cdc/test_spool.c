/* What is kept of open transactions: in memory, on disk, and when that is full or not as it was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cdc/feed/spool.h"

struct fixture {
    char directory[64];
    struct metrics *metrics;
    struct spool *spool;
};

static struct spool *make_spool(struct fixture *f, uint64_t memory_bytes, uint64_t limit_bytes) {
    struct spool_config config = {.directory = f->directory,
                                  .name = "slot",
                                  .feed = "test",
                                  .memory_bytes = memory_bytes,
                                  .limit_bytes = limit_bytes};
    struct error err;
    struct spool *spool = spool_create(&config, f->metrics);
    assert_true(spool_open(spool, &err));
    return spool;
}

static struct fixture setup(uint64_t memory_bytes, uint64_t limit_bytes) {
    struct fixture f = {.directory = "/tmp/freshet-spool-XXXXXX", .metrics = metrics_create()};
    assert_non_null(mkdtemp(f.directory));
    f.spool = make_spool(&f, memory_bytes, limit_bytes);
    return f;
}

static void teardown(struct fixture *f) {
    char command[128];
    spool_destroy(&f->spool);
    metrics_destroy(&f->metrics);
    snprintf(command, sizeof command, "rm -r %s", f->directory);
    assert_int_equal(system(command), 0);
}

static unsigned count_files(const char *path) {
    unsigned n = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *file; (file = readdir(folder));)
        n += file->d_name[0] != '.';
    closedir(folder);
    return n;
}

static unsigned count_kept_files(const struct fixture *f) {
    char path[96];
    snprintf(path, sizeof path, "%s/slot.0", f->directory);
    return count_files(path);
}

/* The n-th entry of a transaction, of a length that depends on n. */
static struct slice payload_of(uint64_t xid, unsigned n, char *buffer) {
    size_t len = 1 + (xid * 31 + n * 7) % 300;
    memset(buffer, (int)('a' + (xid + n) % 26), len);
    return slice_make(buffer, len);
}

static bool append(struct spool *spool, uint64_t xid, uint32_t subxid, unsigned n,
                   struct error *err) {
    char buffer[300];
    return spool_append(spool, xid, subxid, n, payload_of(xid, n, buffer), err);
}

static void assert_next(struct spool *spool, uint64_t xid, uint32_t subxid, unsigned n) {
    char buffer[300];
    struct error err = {0};
    struct spool_entry entry;
    assert_int_equal(spool_next(spool, &entry, &err), SPOOL_ENTRY);
    struct slice expected = payload_of(xid, n, buffer);
    assert_int_equal(entry.lsn, n);
    assert_int_equal(entry.subxid, subxid);
    assert_int_equal(entry.payload.len, expected.len);
    assert_memory_equal(entry.payload.data, expected.data, expected.len);
}

static void assert_end(struct spool *spool) {
    struct error err = {0};
    struct spool_entry entry;
    assert_int_equal(spool_next(spool, &entry, &err), SPOOL_END);
}

static void a_small_transaction_stays_in_memory(void **state) {
    (void)state;
    struct error err;
    struct fixture f = setup(1 << 20, 0);
    for (unsigned n = 0; n < 100; n++)
        assert_true(append(f.spool, 7, 7, n, &err));
    assert_int_equal(count_kept_files(&f), 0);
    spool_read(f.spool, 7);
    for (unsigned n = 0; n < 100; n++)
        assert_next(f.spool, 7, 7, n);
    assert_end(f.spool);
    assert_false(spool_has(f.spool, 7));
    teardown(&f);
}

static void many_interleaved_transactions_come_back_each_in_its_order(void **state) {
    enum { TRANSACTIONS = 500, ENTRIES = 60 };
    (void)state;
    struct error err;
    struct spool_figures figures;
    struct fixture f = setup(256 * 1024, 0);
    unsigned descriptors = count_files("/proc/self/fd");
    for (unsigned n = 0; n < ENTRIES; n++) {
        for (uint64_t xid = 1; xid <= TRANSACTIONS; xid++)
            assert_true(append(f.spool, xid, (uint32_t)xid, n, &err));
        spool_read_figures(f.spool, &figures);
        assert_true(figures.memory_bytes <= 256 * 1024);
    }
    assert_int_equal(figures.transactions, TRANSACTIONS);
    assert_true(figures.disk_bytes > 2 * 1024 * 1024);
    for (uint64_t xid = TRANSACTIONS; xid > 0; xid--) {
        spool_read(f.spool, xid);
        for (unsigned n = 0; n < ENTRIES; n++)
            assert_next(f.spool, xid, (uint32_t)xid, n);
        assert_true(count_files("/proc/self/fd") <= descriptors + 1);
        assert_end(f.spool);
    }
    assert_int_equal(count_kept_files(&f), 0);
    assert_int_equal(count_files("/proc/self/fd"), descriptors);
    spool_read_figures(f.spool, &figures);
    assert_int_equal(figures.transactions + figures.memory_bytes + figures.disk_bytes, 0);
    teardown(&f);
}

static void aborted_parts_are_left_out(void **state) {
    (void)state;
    struct error err;
    struct fixture f = setup(16 * 1024, 0);
    for (unsigned n = 0; n < 400; n++)
        assert_true(append(f.spool, 10, 10 + n / 100, n, &err));
    spool_abort_part(f.spool, 10, 12);
    spool_abort_part(f.spool, 10, 11);
    spool_abort_part(f.spool, 99, 99); /* nothing was ever given of it */
    spool_read(f.spool, 10);
    for (unsigned n = 0; n < 400; n++)
        if (n / 100 == 0 || n / 100 == 3) assert_next(f.spool, 10, 10 + n / 100, n);
    assert_end(f.spool);
    teardown(&f);
}

static void what_is_dropped_leaves_the_disk(void **state) {
    (void)state;
    struct error err;
    struct fixture f = setup(8 * 1024, 0);
    for (unsigned n = 0; n < 400; n++)
        assert_true(append(f.spool, 10, 10, n, &err) && append(f.spool, 11, 11, n, &err));
    assert_int_equal(count_kept_files(&f), 2);
    spool_drop(f.spool, 10);
    assert_int_equal(count_kept_files(&f), 1);
    assert_true(spool_open(f.spool, &err));
    assert_int_equal(count_kept_files(&f), 0);
    teardown(&f);
}

static void a_value_larger_than_all_memory_comes_back(void **state) {
    enum { BYTES = 5 << 20 };
    (void)state;
    struct error err;
    struct spool_entry entry;
    struct fixture f = setup(64 * 1024, 0);
    char *huge = malloc(BYTES);
    memset(huge, 'x', BYTES);
    assert_true(append(f.spool, 5, 5, 0, &err));
    assert_true(spool_append(f.spool, 5, 5, 1, slice_make(huge, BYTES), &err));
    assert_true(append(f.spool, 5, 5, 2, &err));
    spool_read(f.spool, 5);
    assert_next(f.spool, 5, 5, 0);
    assert_int_equal(spool_next(f.spool, &entry, &err), SPOOL_ENTRY);
    assert_true(entry.payload.len == BYTES && memcmp(entry.payload.data, huge, BYTES) == 0);
    assert_next(f.spool, 5, 5, 2);
    assert_end(f.spool);
    free(huge);
    teardown(&f);
}

static void the_limit_is_an_error_and_told(void **state) {
    (void)state;
    struct error err = {0};
    struct fixture f = setup(8 * 1024, 64 * 1024);
    unsigned n = 0;
    while (n < 10000 && append(f.spool, 10, 10, n, &err))
        n++;
    assert_true(n > 100 && n < 10000);
    assert_int_equal(err.code, ERROR_LIMIT);
    assert_true(err.retriable && spool_failed(f.spool));
    assert_non_null(strstr(err.message, "cdc.spool_limit"));
    assert_int_equal(metrics_sum(f.metrics, "freshet_feed_spool_failures_total", "feed=\"test\""),
                     1);
    assert_true(spool_open(f.spool, &err));
    assert_int_equal(count_kept_files(&f), 0);
    teardown(&f);
}

/* What `change` does to a file of blocks must be found when it is read. */
static void assert_found(void (*change)(int fd, off_t size)) {
    char path[96];
    struct error err = {0};
    struct spool_entry entry;
    struct stat status;
    struct fixture f = setup(8 * 1024, 0);
    for (unsigned n = 0; n < 400; n++)
        assert_true(append(f.spool, 10, 10, n, &err));
    snprintf(path, sizeof path, "%s/slot.0/10", f.directory);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &status) == 0);
    change(fd, status.st_size);
    close(fd);
    spool_read(f.spool, 10);
    enum spool_result result;
    do
        result = spool_next(f.spool, &entry, &err);
    while (result == SPOOL_ENTRY);
    assert_int_equal(result, SPOOL_ERROR);
    assert_true(err.retriable && spool_failed(f.spool));
    assert_true(spool_open(f.spool, &err));
    teardown(&f);
}

static void flip_a_byte(int fd, off_t size) {
    char byte;
    assert_int_equal(pread(fd, &byte, 1, size / 2), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, size / 2), 1);
}

static void flip_a_length(int fd, off_t size) {
    (void)size;
    char byte = 1;
    assert_int_equal(pwrite(fd, &byte, 1, 30), 1);
}

static void cut_the_end(int fd, off_t size) { assert_int_equal(ftruncate(fd, size - 1), 0); }

static void cut_a_head(int fd, off_t size) {
    (void)size;
    assert_int_equal(ftruncate(fd, 17), 0);
}

static void damage_is_found(void **state) {
    (void)state;
    assert_found(flip_a_byte);
    assert_found(flip_a_length);
    assert_found(cut_the_end);
    assert_found(cut_a_head);
}

static void make_leftover(const struct fixture *f, const char *folder, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->directory, folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", f->directory, folder, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void files_of_the_dead_go_and_those_of_others_stay(void **state) {
    char path[96];
    (void)state;
    struct fixture f = setup(1 << 20, 0); /* has slot.0 */
    make_leftover(&f, "slot.0", "111");
    make_leftover(&f, "slot.1", "222");
    make_leftover(&f, "slot.1", "not-a-transaction");
    make_leftover(&f, "slot.2", "333");
    struct spool *second = make_spool(&f, 1 << 20, 0);
    snprintf(path, sizeof path, "%s/slot.0", f.directory);
    assert_int_equal(count_files(path), 1); /* it lives */
    snprintf(path, sizeof path, "%s/slot.1", f.directory);
    assert_int_equal(count_files(path), 1); /* not one of ours */
    snprintf(path, sizeof path, "%s/slot.2", f.directory);
    assert_int_equal(count_files(path), 0);
    spool_destroy(&second);
    teardown(&f);
}

static void a_folder_that_cannot_be_had_is_told(void **state) {
    (void)state;
    struct error err = {0};
    struct metrics *metrics = metrics_create();
    struct spool_config config = {
        .directory = "/proc/freshet", .name = "slot", .feed = "test", .memory_bytes = 1024};
    struct spool *spool = spool_create(&config, metrics);
    assert_false(spool_open(spool, &err));
    assert_non_null(strstr(err.message, "/proc/freshet"));
    unsigned n = 0;
    while (n < 100 && append(spool, 1, 1, n, &err))
        n++;
    assert_true(n < 100 && spool_failed(spool));
    spool_destroy(&spool);
    metrics_destroy(&metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_transaction_stays_in_memory),
        cmocka_unit_test(many_interleaved_transactions_come_back_each_in_its_order),
        cmocka_unit_test(aborted_parts_are_left_out),
        cmocka_unit_test(what_is_dropped_leaves_the_disk),
        cmocka_unit_test(a_value_larger_than_all_memory_comes_back),
        cmocka_unit_test(the_limit_is_an_error_and_told),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(files_of_the_dead_go_and_those_of_others_stay),
        cmocka_unit_test(a_folder_that_cannot_be_had_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
