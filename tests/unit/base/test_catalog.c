#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/catalog.h"
#include "tests/unit/base/database.h"

#define DATABASE "freshet_unit_catalog"

static const char *const tables[] = {
    "CREATE SCHEMA sales",
    "CREATE DOMAIN amount AS numeric(10,2) CHECK (VALUE >= 0)",
    "CREATE DOMAIN price AS amount",
    "CREATE DOMAIN there AS int NOT NULL",
    "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE TABLE plain (id bigint PRIMARY KEY, email varchar(20) UNIQUE NOT NULL, p price, "
    "tags text[], m mood, ms mood[], q pair, gone int, d int DEFAULT 7, "
    "g int GENERATED ALWAYS AS (d * 2) STORED)",
    "ALTER TABLE plain DROP COLUMN gone",
    "CREATE TABLE sales.\"Mixed \"\"Case\"\"\" (b int, a text, c int, PRIMARY KEY (c, a))",
    "CREATE TABLE keyless (a int, t there)",
    "CREATE TABLE keyless_full (a int)",
    "ALTER TABLE keyless_full REPLICA IDENTITY FULL",
    "CREATE TABLE nothing (id int PRIMARY KEY)",
    "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
    "CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL CONSTRAINT by_code UNIQUE)",
    "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code",
    "CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)",
    "CREATE TABLE partial (id int PRIMARY KEY, a int, b text)",
    "CREATE UNIQUE INDEX ON partial (a) WHERE a > 0",
    "CREATE UNIQUE INDEX ON partial (lower(b))",
    "CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE parts_full (id int, v text) PARTITION BY RANGE (id)",
    "ALTER TABLE parts_full REPLICA IDENTITY FULL",
    "CREATE VIEW a_view AS SELECT 1 AS one",
    "CREATE TEMPORARY TABLE fleeting (id int PRIMARY KEY)",
};

static int setup(void **state) {
    PGconn *conn = scratch_create(DATABASE);
    for (size_t i = 0; conn && i < sizeof tables / sizeof *tables; i++)
        scratch_exec(conn, tables[i]);
    *state = conn;
    return 0;
}

static int teardown(void **state) {
    scratch_drop(*state, DATABASE);
    return 0;
}

static struct catalog *load(void **state) {
    if (!*state) skip();
    struct error err;
    struct catalog *catalog = catalog_load(*state, &err);
    if (!catalog) fail_msg("%s", err.message);
    return catalog;
}

static const struct catalog_table *find(const struct catalog *catalog, const char *schema,
                                        const char *name) {
    const struct catalog_table *table = catalog_find(catalog, schema, name);
    if (!table) fail_msg("no table %s.%s", schema, name);
    return table;
}

static const struct catalog_column *column(const struct catalog_table *table, const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return &table->columns[i];
    }
    fail_msg("no column %s", name);
    return NULL;
}

static void tables_are_sorted_and_found_both_ways(void **state) {
    struct catalog *catalog = load(state);
    assert_string_equal(catalog->database, DATABASE);
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        assert_ptr_equal(catalog_find(catalog, table->schema, table->name), table);
        assert_ptr_equal(catalog_find_oid(catalog, table->oid), table);
        if (i == 0) continue;
        int order = strcmp(table[-1].schema, table->schema);
        assert_true(order < 0 || (order == 0 && strcmp(table[-1].name, table->name) < 0));
    }
    assert_null(catalog_find(catalog, "public", "absent"));
    assert_null(catalog_find_oid(catalog, 1));
    catalog_destroy(&catalog);
}

static void partitions_temporary_and_system_tables_are_left_out(void **state) {
    struct catalog *catalog = load(state);
    assert_null(catalog_find(catalog, "public", "parts_1"));
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        assert_string_not_equal(catalog->tables[i].name, "fleeting");
        assert_true(strncmp(catalog->tables[i].schema, "pg_", 3) != 0);
    }
    assert_int_equal(find(catalog, "public", "a_view")->kind, 'v');
    catalog_destroy(&catalog);
}

static void one_table_alone_may_be_a_partition(void **state) {
    if (!*state) skip();
    PGresult *rows = PQexec(*state, "SELECT 'parts_1'::regclass::oid");
    uint32_t oid = (uint32_t)strtoul(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    struct error err;
    struct catalog *catalog = catalog_load_table(*state, oid, &err);
    if (!catalog) fail_msg("%s", err.message);
    assert_int_equal(catalog->n_tables, 1);
    assert_string_equal(catalog->tables[0].name, "parts_1");
    assert_true(catalog->tables[0].primary_key->usable_as_key);
    catalog_destroy(&catalog);
    catalog = catalog_load_table(*state, 1, &err);
    assert_int_equal(catalog->n_tables, 0);
    catalog_destroy(&catalog);
}

static void columns_tell_their_types_down_to_the_base_of_a_domain(void **state) {
    struct catalog *catalog = load(state);
    const struct catalog_table *table = find(catalog, "public", "plain");
    assert_int_equal(table->n_columns, 9);
    assert_string_equal(column(table, "email")->type_name, "character varying(20)");
    assert_int_equal(column(table, "email")->typmod, 24);
    const struct catalog_column *price = column(table, "p");
    assert_string_equal(price->type_name, "price");
    assert_string_equal(price->base_type_name, "numeric");
    assert_int_equal(price->base_typmod, (10 << 16 | 2) + 4);
    assert_int_equal(price->base_typtype, 'b');
    assert_int_equal(column(table, "tags")->element_type_oid, 25);
    assert_int_equal(column(table, "id")->element_type_oid, 0);
    assert_int_equal(column(table, "m")->base_typtype, 'e');
    assert_true(column(table, "id")->not_null);
    assert_string_equal(column(table, "d")->default_sql, "7");
    assert_true(column(table, "g")->generated);
    assert_null(column(table, "g")->default_sql);
    assert_false(column(find(catalog, "public", "keyless"), "a")->not_null);
    assert_true(column(find(catalog, "public", "keyless"), "t")->not_null);
    catalog_destroy(&catalog);
}

static void a_composite_key_keeps_the_order_of_the_index(void **state) {
    struct catalog *catalog = load(state);
    const struct catalog_table *table = find(catalog, "sales", "Mixed \"Case\"");
    assert_non_null(table->primary_key);
    assert_int_equal(table->primary_key->n_columns, 2);
    assert_string_equal(table->columns[table->primary_key->columns[0]].name, "c");
    assert_string_equal(table->columns[table->primary_key->columns[1]].name, "a");
    assert_true(column(table, "a")->in_identity);
    assert_false(column(table, "b")->in_identity);
    catalog_destroy(&catalog);
}

static void only_tables_whose_identity_is_in_force_are_publishable(void **state) {
    static const struct {
        const char *name;
        bool publishable;
    } cases[] = {
        {"plain", true},     {"keyless", false},    {"keyless_full", true}, {"nothing", false},
        {"deferred", false}, {"by_index", true},    {"unlogged", false},    {"parts", true},
        {"a_view", false},   {"parts_full", false},
    };
    struct catalog *catalog = load(state);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct catalog_table *table = find(catalog, "public", cases[i].name);
        if (catalog_table_publishable(table) != cases[i].publishable)
            fail_msg("%s: publishable is not %d", cases[i].name, cases[i].publishable);
    }
    const struct catalog_table *by_index = find(catalog, "public", "by_index");
    assert_true(column(by_index, "code")->in_identity);
    assert_false(column(by_index, "id")->in_identity);
    catalog_destroy(&catalog);
}

static void partial_and_expression_indexes_are_no_keys(void **state) {
    struct catalog *catalog = load(state);
    const struct catalog_table *table = find(catalog, "public", "partial");
    assert_int_equal(table->n_indexes, 3);
    for (uint16_t i = 0; i < table->n_indexes; i++)
        assert_int_equal(table->indexes[i].usable_as_key, table->indexes[i].primary);
    catalog_destroy(&catalog);
}

static void a_partition_without_identity_keeps_its_root_from_being_published(void **state) {
    struct catalog *catalog = load(state);
    catalog_destroy(&catalog);
    scratch_exec(*state, "BEGIN");
    scratch_exec(*state, "ALTER TABLE parts_1 REPLICA IDENTITY NOTHING");
    catalog = load(state); /* in the open transaction */
    assert_int_equal(PQtransactionStatus(*state), PQTRANS_INTRANS);
    assert_false(catalog_table_publishable(find(catalog, "public", "parts")));
    catalog_destroy(&catalog);
    scratch_exec(*state, "ROLLBACK");
}

static uint64_t fingerprint(void **state, const char *name) {
    struct catalog *catalog = load(state);
    uint64_t value = find(catalog, "public", name)->fingerprint;
    catalog_destroy(&catalog);
    return value;
}

static void a_fingerprint_changes_with_what_a_row_depends_on(void **state) {
    static const struct {
        const char *table;
        const char *sql;
    } cases[] = {
        {"plain", "ALTER TABLE plain ADD COLUMN more int"},
        {"plain", "ALTER TABLE plain RENAME COLUMN d TO dd"},
        {"plain", "ALTER TABLE plain ALTER COLUMN email TYPE text"},
        {"nothing", "ALTER TABLE nothing ALTER COLUMN id TYPE int USING id + 1"},
        {"plain", "ALTER TABLE plain DROP CONSTRAINT plain_email_key"},
        {"plain", "ALTER TABLE plain REPLICA IDENTITY FULL"},
        {"plain", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"},
        {"plain", "ALTER TYPE pair RENAME ATTRIBUTE a TO aa"},
        {"plain", "ALTER TABLE plain ENABLE ROW LEVEL SECURITY; CREATE POLICY x ON plain"},
        {"parts", "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200)"},
        {"parts", "ALTER TABLE parts DETACH PARTITION parts_1"},
        {"by_index", "ALTER TABLE by_index REPLICA IDENTITY DEFAULT"},
    };
    if (!*state) skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t before = fingerprint(state, cases[i].table);
        assert_int_equal(before, fingerprint(state, cases[i].table));
        scratch_exec(*state, "BEGIN");
        scratch_exec(*state, cases[i].sql);
        uint64_t after = fingerprint(state, cases[i].table);
        scratch_exec(*state, "ROLLBACK");
        if (before == after) fail_msg("unchanged by: %s", cases[i].sql);
    }
}

static void rights_are_those_of_the_connected_role(void **state) {
    if (!*state) skip();
    scratch_exec(*state, "DROP ROLE IF EXISTS freshet_unit_reader");
    scratch_exec(*state, "CREATE ROLE freshet_unit_reader LOGIN");
    scratch_exec(*state, "GRANT SELECT ON plain, keyless TO freshet_unit_reader");
    scratch_exec(*state, "GRANT SELECT (id) ON by_index TO freshet_unit_reader");
    scratch_exec(*state, "ALTER TABLE keyless ENABLE ROW LEVEL SECURITY");
    PGconn *reader = scratch_second(*state, "freshet_unit_reader");
    struct error err;
    struct catalog *catalog = catalog_load(reader, &err);
    assert_non_null(catalog);
    assert_true(find(catalog, "public", "plain")->selectable);
    assert_false(find(catalog, "public", "plain")->owned);
    assert_false(find(catalog, "public", "nothing")->selectable);
    assert_false(find(catalog, "public", "nothing")->readable);
    const struct catalog_table *partly = find(catalog, "public", "by_index");
    assert_true(partly->readable && !partly->selectable);
    assert_true(partly->columns[0].selectable && !partly->columns[1].selectable);
    assert_true(find(catalog, "public", "keyless")->row_security_active);
    assert_false(find(catalog, "public", "plain")->row_security_active);
    catalog_destroy(&catalog);
    PQfinish(reader);
    scratch_exec(*state, "DROP OWNED BY freshet_unit_reader");
    scratch_exec(*state, "DROP ROLE freshet_unit_reader");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_sorted_and_found_both_ways),
        cmocka_unit_test(partitions_temporary_and_system_tables_are_left_out),
        cmocka_unit_test(one_table_alone_may_be_a_partition),
        cmocka_unit_test(columns_tell_their_types_down_to_the_base_of_a_domain),
        cmocka_unit_test(a_composite_key_keeps_the_order_of_the_index),
        cmocka_unit_test(only_tables_whose_identity_is_in_force_are_publishable),
        cmocka_unit_test(partial_and_expression_indexes_are_no_keys),
        cmocka_unit_test(a_partition_without_identity_keeps_its_root_from_being_published),
        cmocka_unit_test(a_fingerprint_changes_with_what_a_row_depends_on),
        cmocka_unit_test(rights_are_those_of_the_connected_role),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
