/* The statements of writes: which columns they set, lock, compare and tell of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/writes/write_sql.h"

static struct key_column id[1] = {
    {.name = "id", .sql_type = "integer", .type_name = "integer"},
};
static struct key_column email[1] = {
    {.name = "e\"mail", .sql_type = "text", .type_name = "text"},
};
static struct unique_key by_email[1] = {{.index = "i", .n_columns = 1, .columns = email}};
static const char *const columns[] = {"id", "name", "e\"mail", "visits"};

static struct table users(void) {
    id[0].type = keytype_find("int4", 'b', true);
    email[0].type = keytype_find("text", 'b', true);
    by_email[0].exact = true;
    return (struct table){.prefix = "users",
                          .schema = "public",
                          .name = "users",
                          .identified = true,
                          .n_keys = 1,
                          .keys = id,
                          .n_uniques = 1,
                          .uniques = by_email,
                          .n_columns = 4,
                          .columns = columns};
}

static struct write_op op_of(const struct table *table, enum write_kind kind,
                             struct write_field *fields, uint16_t n) {
    struct write_op op = {.kind = kind, .table = table, .n_fields = n, .fields = fields};
    op.row.n = 1;
    op.row.values[0] = SLICE("1");
    return op;
}

static void expect(const struct write_op *op, const char *const *parts) {
    struct buf sql = {0};
    write_sql_compose(op, &sql);
    const char *at = buf_text(&sql);
    for (; *parts; parts++) {
        const char *found = strstr(at, *parts);
        if (!found) print_error("%s\nis not in\n%s\n", *parts, at);
        assert_non_null(found);
        at = found + strlen(*parts);
    }
    buf_deinit(&sql);
}

#define EXPECT(op, ...) expect((op), (const char *const[]){__VA_ARGS__, NULL})

static void an_update_locks_the_row_and_tells_how_it_was(void **state) {
    (void)state;
    struct table table = users();
    struct write_field fields[] = {{1, SLICE("Ada")}, {2, {0}}};
    struct write_op op = op_of(&table, WRITE_UPDATE, fields, 2);
    const char *parameters[WRITE_SQL_MAX_PARAMETERS];
    EXPECT(&op, "(r.\"name\" IS NULL)::pg_catalog.int4 + (r.\"e\"\"mail\" IS NULL)",
           "FROM ONLY \"public\".\"users\" AS r WHERE r.\"id\" = $1::integer FOR NO KEY UPDATE",
           "UPDATE ONLY \"public\".\"users\" AS r SET \"name\" = $2, \"e\"\"mail\" = NULL FROM o",
           "RETURNING pg_catalog.pg_current_xact_id()", ", u.i1, u.i2, o.i1, o.i2");
    assert_int_equal(write_sql_parameters(&op, parameters), 2);
    assert_string_equal(parameters[1], "Ada");
    assert_int_equal(write_sql_image_width(&table), 2);
    op.kind = WRITE_UPDATE_NEW;
    EXPECT(&op, " AND o.n > 0");
}

static void a_partitioned_table_is_written_by_its_root(void **state) {
    (void)state;
    struct table table = users();
    struct write_field fields[] = {{1, SLICE("Ada")}};
    struct write_op op = op_of(&table, WRITE_UPDATE, fields, 1);
    table.partitioned = true;
    EXPECT(&op, "FROM \"public\".\"users\" AS r", "UPDATE \"public\".\"users\" AS r");
}

static void an_addition_is_one_update(void **state) {
    (void)state;
    struct table table = users();
    struct write_field fields[] = {{3, SLICE("5")}};
    struct write_op op = op_of(&table, WRITE_ADD, fields, 1);
    EXPECT(&op, "WITH u AS (UPDATE ONLY", "SET \"visits\" = coalesce(r.\"visits\", 0) + $2 WHERE",
           ", u.i1, u.i2, u.i1, u.i2");
    fields[0].column = 0; /* the key's own: then its old value has to be known */
    EXPECT(&op, "WITH o AS", "u AS (UPDATE", " FROM o WHERE", ", u.i1, u.i2, o.i1, o.i2");
}

static void an_object_goes_into_the_row_before_it_is_inserted(void **state) {
    (void)state;
    struct table table = users();
    struct write_field fields[] = {{0, {0}}, {1, {0}}};
    struct write_op op = op_of(&table, WRITE_UPSERT, fields, 2);
    const char *parameters[WRITE_SQL_MAX_PARAMETERS];
    op.json = SLICE("{}");
    EXPECT(&op, "json_populate_record(NULL::\"public\".\"users\", $2::pg_catalog.json)",
           "e AS (UPDATE", "SET \"name\" = p.\"name\" FROM p, o WHERE",
           "AND (true AND p.\"id\" = $1::integer) IS TRUE",
           "n AS (INSERT INTO \"public\".\"users\" AS r (\"id\", \"name\") OVERRIDING SYSTEM VALUE "
           "SELECT $1::integer, p.\"name\" FROM p WHERE NOT EXISTS (SELECT FROM o)",
           "ON CONFLICT (\"id\") DO UPDATE SET \"name\" = EXCLUDED.\"name\"", "UNION ALL");
    assert_int_equal(write_sql_parameters(&op, parameters), 2);
    op.kind = WRITE_INSERT;
    EXPECT(&op, "ON CONFLICT (\"id\") DO NOTHING", "u AS (SELECT * FROM n)");
    op.kind = WRITE_REPLACE;
    EXPECT(&op, "e AS (UPDATE", "u AS (SELECT * FROM e)");
}

static void by_a_unique_key_the_primary_key_is_compared_not_set(void **state) {
    (void)state;
    struct table table = users();
    struct write_field fields[] = {{0, {0}}, {1, {0}}};
    struct write_op op = op_of(&table, WRITE_UPSERT, fields, 2);
    op.row.unique = by_email;
    op.json = SLICE("{}");
    EXPECT(&op, "SET \"name\" = p.\"name\" FROM p, o WHERE r.\"e\"\"mail\" = $1::text",
           "AND r.\"id\" = p.\"id\"", "(\"e\"\"mail\", \"id\", \"name\")",
           "ON CONFLICT (\"e\"\"mail\") DO UPDATE SET \"name\" = EXCLUDED.\"name\" RETURNING");
}

static void an_object_with_nothing_to_set_updates_nothing(void **state) {
    (void)state;
    struct table table = users();
    struct write_op op = op_of(&table, WRITE_UPSERT, NULL, 0);
    op.json = SLICE("{}");
    EXPECT(&op, "e AS (SELECT NULL::pg_catalog.text AS x, o.i1, o.i2 FROM o)",
           "ON CONFLICT (\"id\") DO NOTHING");
}

static void a_deletion_tells_what_the_row_was(void **state) {
    (void)state;
    struct table table = users();
    struct write_op op = op_of(&table, WRITE_DELETE, NULL, 0);
    EXPECT(&op,
           "WITH u AS (DELETE FROM ONLY \"public\".\"users\" AS r WHERE r.\"id\" = $1::integer",
           ", NULL, NULL, u.i1, u.i2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_locks_the_row_and_tells_how_it_was),
        cmocka_unit_test(a_partitioned_table_is_written_by_its_root),
        cmocka_unit_test(an_addition_is_one_update),
        cmocka_unit_test(an_object_goes_into_the_row_before_it_is_inserted),
        cmocka_unit_test(by_a_unique_key_the_primary_key_is_compared_not_set),
        cmocka_unit_test(an_object_with_nothing_to_set_updates_nothing),
        cmocka_unit_test(a_deletion_tells_what_the_row_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
