#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/publication.h"
#include "tests/unit/base/database.h"

#define DATABASE "freshet_unit_publication"
#define OPTIONS                                                                                    \
    " WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);\n"

static int setup(void **state) {
    *state = scratch_create(DATABASE);
    return 0;
}

static int teardown(void **state) {
    scratch_drop(*state, DATABASE);
    return 0;
}

static int fresh_tables(void **state) {
    if (!*state) return 0;
    scratch_exec(*state, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    scratch_exec(*state, "DROP PUBLICATION IF EXISTS p");
    scratch_exec(*state, "CREATE TABLE a (id int PRIMARY KEY, x int, y int)");
    scratch_exec(*state, "CREATE TABLE b (id int PRIMARY KEY)");
    scratch_exec(*state, "CREATE TABLE keyless (x int)");
    return 0;
}

/* A plan over named tables of the catalog as it is now; each with its first n_columns columns. */
struct trial {
    struct catalog *catalog;
    struct publication_plan plan;
    struct publication_table tables[4];
};

static void trial_init(struct trial *trial, PGconn *conn, const char *const *names,
                       uint16_t n_columns) {
    static const uint16_t places[] = {0, 1, 2};
    struct error err;
    *trial = (struct trial){.plan = {.name = "p"}};
    trial->catalog = catalog_load(conn, &err);
    assert_non_null(trial->catalog);
    for (; *names; names++) {
        struct publication_table *table = &trial->tables[trial->plan.n_tables++];
        table->table = catalog_find(trial->catalog, "public", *names);
        assert_non_null(table->table);
        table->n_columns = n_columns;
        table->columns = places;
    }
    trial->plan.tables = trial->tables;
}

static void assert_sql(PGconn *conn, const struct trial *trial, const char *expected) {
    struct buf sql = {0};
    struct error err;
    if (!publication_sql(conn, &trial->plan, &sql, &err)) fail_msg("%s", err.message);
    assert_string_equal(buf_text(&sql), expected);
    buf_deinit(&sql);
}

static void assert_ensured(PGconn *conn, const struct trial *trial, bool expected) {
    struct error err;
    bool changed;
    if (!publication_ensure(conn, &trial->plan, &changed, &err)) fail_msg("%s", err.message);
    assert_int_equal(changed, expected);
    assert_sql(conn, trial, "");
}

static void it_is_made_by_naming_the_tables_and_then_left_alone(void **state) {
    if (!*state) skip();
    struct trial trial;
    trial_init(&trial, *state, (const char *[]){"a", "b", NULL}, 0);
    assert_sql(
        *state, &trial,
        "CREATE PUBLICATION \"p\" FOR TABLE ONLY \"public\".\"a\", ONLY \"public\".\"b\"" OPTIONS);
    assert_ensured(*state, &trial, true);
    assert_ensured(*state, &trial, false);
    catalog_destroy(&trial.catalog);
}

static void an_empty_plan_makes_an_empty_publication(void **state) {
    if (!*state) skip();
    struct trial trial;
    trial_init(&trial, *state, (const char *[]){NULL}, 0);
    assert_ensured(*state, &trial, true);
    catalog_destroy(&trial.catalog);
}

static void new_tables_are_added_and_others_dropped_by_name(void **state) {
    if (!*state) skip();
    struct trial trial;
    scratch_exec(*state, "CREATE PUBLICATION p FOR TABLE b WITH (publish_via_partition_root)");
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 0);
    assert_sql(*state, &trial,
               "ALTER PUBLICATION \"p\" DROP TABLE ONLY \"public\".\"b\";\n"
               "ALTER PUBLICATION \"p\" ADD TABLE ONLY \"public\".\"a\";\n");
    assert_ensured(*state, &trial, true);
    catalog_destroy(&trial.catalog);
}

static void a_shared_one_keeps_the_tables_of_others(void **state) {
    if (!*state) skip();
    struct trial trial;
    scratch_exec(*state, "CREATE PUBLICATION p FOR TABLE b WITH (publish_via_partition_root)");
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 0);
    trial.plan.shared = true;
    assert_sql(*state, &trial, "ALTER PUBLICATION \"p\" ADD TABLE ONLY \"public\".\"a\";\n");
    catalog_destroy(&trial.catalog);
}

static void a_table_that_lost_its_identity_is_dropped_whoever_added_it(void **state) {
    if (!*state) skip();
    struct trial trial;
    scratch_exec(*state, "CREATE PUBLICATION p FOR TABLE a, b WITH (publish_via_partition_root)");
    scratch_exec(*state, "ALTER TABLE b DROP CONSTRAINT b_pkey");
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 0);
    trial.plan.shared = true;
    assert_ensured(*state, &trial, true);
    scratch_exec(*state, "INSERT INTO b VALUES (1); UPDATE b SET id = 2");
    catalog_destroy(&trial.catalog);
}

static void column_lists_grow_where_all_that_is_planned_must_come(void **state) {
    if (!*state) skip();
    struct trial trial;
    scratch_exec(*state, "CREATE PUBLICATION p FOR TABLE a (id, y) WHERE (id > 7) "
                         "WITH (publish_via_partition_root)");
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 2);
    assert_sql(*state, &trial, ""); /* a user's own list and filter stay */
    trial.plan.shared = true;
    trial.plan.unfiltered = true;
    assert_sql(*state, &trial,
               "ALTER PUBLICATION \"p\" DROP TABLE ONLY \"public\".\"a\";\n"
               "ALTER PUBLICATION \"p\" ADD TABLE ONLY \"public\".\"a\" (\"id\", \"x\", \"y\");\n");
    assert_ensured(*state, &trial, true);
    catalog_destroy(&trial.catalog);
}

static void options_are_mended(void **state) {
    if (!*state) skip();
    struct trial trial;
    scratch_exec(*state, "CREATE PUBLICATION p FOR TABLE a WITH (publish = 'insert')");
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 0);
    assert_sql(*state, &trial,
               "ALTER PUBLICATION \"p\" SET (publish_via_partition_root = true);\n");
    trial.plan.unfiltered = true;
    assert_ensured(*state, &trial, true);
    struct error err;
    struct publication *now = publication_load(*state, "p", &err);
    assert_non_null(now);
    assert_true(now->exists && now->updates && now->deletes && now->truncates && now->via_root);
    assert_int_equal(now->n_members, 1);
    assert_non_null(publication_find(now, trial.tables[0].table->oid));
    publication_destroy(&now);
    catalog_destroy(&trial.catalog);
}

static void one_for_all_tables_is_a_users_own_and_never_a_caches(void **state) {
    if (!*state) skip();
    struct trial trial;
    scratch_exec(*state, "CREATE PUBLICATION p FOR ALL TABLES");
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 0);
    assert_sql(*state, &trial, "");
    trial.plan.unfiltered = true;
    struct error err;
    bool changed;
    assert_false(publication_ensure(*state, &trial.plan, &changed, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "DROP PUBLICATION \"p\""));
    catalog_destroy(&trial.catalog);
}

static void a_role_that_may_not_is_told_the_sql(void **state) {
    if (!*state) skip();
    scratch_exec(*state, "DROP ROLE IF EXISTS freshet_unit_stranger");
    scratch_exec(*state, "CREATE ROLE freshet_unit_stranger LOGIN");
    struct trial trial;
    trial_init(&trial, *state, (const char *[]){"a", NULL}, 0);
    PGconn *stranger = scratch_second(*state, "freshet_unit_stranger");
    struct error err;
    bool changed;
    assert_false(publication_ensure(stranger, &trial.plan, &changed, &err));
    assert_int_equal(err.code, ERROR_REFUSED);
    assert_non_null(
        strstr(err.message, "CREATE PUBLICATION \"p\" FOR TABLE ONLY \"public\".\"a\""));
    assert_int_equal(PQtransactionStatus(stranger), PQTRANS_IDLE);
    PQfinish(stranger);
    catalog_destroy(&trial.catalog);
    scratch_exec(*state, "DROP ROLE freshet_unit_stranger");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_made_by_naming_the_tables_and_then_left_alone, fresh_tables),
        cmocka_unit_test_setup(an_empty_plan_makes_an_empty_publication, fresh_tables),
        cmocka_unit_test_setup(new_tables_are_added_and_others_dropped_by_name, fresh_tables),
        cmocka_unit_test_setup(a_shared_one_keeps_the_tables_of_others, fresh_tables),
        cmocka_unit_test_setup(a_table_that_lost_its_identity_is_dropped_whoever_added_it,
                               fresh_tables),
        cmocka_unit_test_setup(column_lists_grow_where_all_that_is_planned_must_come, fresh_tables),
        cmocka_unit_test_setup(options_are_mended, fresh_tables),
        cmocka_unit_test_setup(one_for_all_tables_is_a_users_own_and_never_a_caches, fresh_tables),
        cmocka_unit_test_setup(a_role_that_may_not_is_told_the_sql, fresh_tables),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
