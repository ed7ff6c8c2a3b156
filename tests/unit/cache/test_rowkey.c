/* From keys' texts to key values and back; what a type takes; the SQL of a fill; what a transaction has touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pgarray.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/statement.h"
#include "cache/rows/touched.h"

static const char *const int_columns[] = {"id", "name"};
static struct key_column int_keys[1] = {
    {.name = "id", .sql_type = "integer", .type_name = "integer"}};
static struct key_column text_keys[1] = {{.name = "id", .sql_type = "text", .type_name = "text"}};
static struct key_column pair_keys[2] = {
    {.name = "order \"id\"", .sql_type = "bigint", .type_name = "bigint"},
    {.name = "sku", .sql_type = "text", .type_name = "text"},
};
static struct table users = {.prefix = "users",
                             .schema = "public",
                             .name = "users",
                             .n_keys = 1,
                             .keys = int_keys,
                             .all_columns = true,
                             .n_columns = 2,
                             .columns = int_columns};
static struct table tags = {.prefix = "tags",
                            .schema = "public",
                            .name = "tags",
                            .n_keys = 1,
                            .keys = text_keys,
                            .all_columns = true,
                            .n_columns = 2,
                            .columns = int_columns};
static struct table items = {.prefix = "items",
                             .schema = "s",
                             .name = "it\"ems",
                             .n_keys = 2,
                             .keys = pair_keys,
                             .n_columns = 2,
                             .columns = int_columns};

static int setup(void **state) {
    (void)state;
    int_keys[0].type = keytype_find("int4", 'b', true);
    text_keys[0].type = keytype_find("text", 'b', true);
    pair_keys[0].type = keytype_find("int8", 'b', true);
    pair_keys[1].type = keytype_find("text", 'b', true);
    return 0;
}

static void expect_values(const struct table *table, const char *rest, const char *first,
                          const char *second) {
    struct buf scratch = {0};
    struct buf failure = {0};
    struct rowkey key;
    assert_true(rowkey_parse(table, slice_from(rest), &scratch, &key, &failure));
    assert_int_equal(key.n, table->n_keys);
    assert_true(slice_equal(key.values[0], slice_from(first)));
    if (second) assert_true(slice_equal(key.values[1], slice_from(second)));
    buf_deinit(&scratch);
    buf_deinit(&failure);
}

static void expect_failure(const struct table *table, struct slice rest, const char *text) {
    struct buf scratch = {0};
    struct buf failure = {0};
    struct rowkey key;
    assert_false(rowkey_parse(table, rest, &scratch, &key, &failure));
    assert_string_equal(buf_text(&failure), text);
    buf_deinit(&scratch);
    buf_deinit(&failure);
}

static void one_column_takes_all_that_follows(void **state) {
    (void)state;
    expect_values(&users, "42", "42", NULL);
    expect_values(&users, "id=42", "42", NULL);
    expect_values(&tags, "a:b%3A=c", "a:b%3A=c", NULL);
    expect_values(&tags, "id=id=x", "id=x", NULL);
    expect_values(&tags, "ID=x", "ID=x", NULL);
    expect_values(&tags, "=x", "=x", NULL);
    expect_values(&tags, "", "", NULL);
}

static void several_columns_are_split_and_decoded(void **state) {
    (void)state;
    expect_values(&items, "7:a", "7", "a");
    expect_values(&items, "7:", "7", "");
    expect_values(&items, "7:a%3Ab%25c", "7", "a:b%c");
    expect_values(&items, "7:%253a", "7", "%3a");
    expect_values(&items, "7:%3", "7", "%3");
    expect_values(&items, "7:100%", "7", "100%");
    expect_values(&items, "7:%41", "7", "%41");
}

static void what_is_no_key_says_why(void **state) {
    (void)state;
    expect_failure(&users, SLICE("abc"), "ERR users: \"abc\" is not an integer (column id)");
    expect_failure(&users, SLICE(""), "ERR users: \"\" is not an integer (column id)");
    expect_failure(&users, SLICE("4\n2x"), "ERR users: \"4?2x\" is not an integer (column id)");
    expect_failure(&items, SLICE("7"),
                   "ERR items: the key has 2 parts (items:<order \"id\">:<sku>), 1 given");
    expect_failure(&items, SLICE("x:a"),
                   "ERR items: \"x\" is not an integer (column order \"id\")");
    expect_failure(&tags, SLICE("a\0b"), "ERR tags: \"a?b\" is not text (column id)");
    expect_failure(&tags, SLICE("\xC3("), "ERR tags: \"\xC3(\" is not text (column id)");
}

static void a_key_composed_of_its_values_is_parsed_to_them(void **state) {
    (void)state;
    static const char *const texts[] = {"42",  "",  "a:b%c", "%3A",   "id=5",
                                        "x=y", "%", ":",     "100%25"};
    struct buf text = {0};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct slice pair[2] = {SLICE("7"), slice_from(texts[i])};
        text.len = 0;
        rowkey_compose(&items, pair, &text);
        assert_int_equal(strncmp(buf_text(&text), "items:", 6), 0);
        expect_values(&items, buf_text(&text) + 6, "7", texts[i]);
        text.len = 0;
        rowkey_compose(&tags, &pair[1], &text);
        expect_values(&tags, buf_text(&text) + 5, texts[i], NULL);
    }
    buf_deinit(&text);
}

static struct key_column named_columns[3] = {
    {.name = "email", .sql_type = "text", .type_name = "text"},
    {.name = "tenant", .sql_type = "integer", .type_name = "integer"},
    {.name = "handle", .sql_type = "text", .type_name = "text"},
};
static const struct unique_key uniques[] = {
    {.index = "by_email", .n_columns = 1, .columns = &named_columns[0], .exact = true},
    {.index = "by_handle", .n_columns = 2, .columns = &named_columns[1], .exact = true},
    {.index = "live", .n_columns = 1, .columns = &named_columns[2], .refusal = "is partial"},
};

static struct table with_uniques(struct table table) {
    named_columns[0].type = named_columns[2].type = keytype_find("text", 'b', true);
    named_columns[1].type = keytype_find("int4", 'b', true);
    table.n_uniques = 3;
    table.uniques = uniques;
    return table;
}

static void expect_unique(const struct table *table, const char *rest,
                          const struct unique_key *unique, const char *first, const char *second) {
    struct buf scratch = {0};
    struct buf failure = {0};
    struct rowkey key;
    assert_true(rowkey_parse(table, slice_from(rest), &scratch, &key, &failure));
    assert_ptr_equal(key.unique, unique);
    assert_true(slice_equal(key.values[0], slice_from(first)));
    if (second) assert_true(slice_equal(key.values[1], slice_from(second)));
    struct buf text = {0};
    if (unique)
        rowkey_compose_unique(table, unique, key.values, &text);
    else
        rowkey_compose(table, key.values, &text);
    struct rowkey again;
    struct buf other = {0}; /* the first key's values lie in its own */
    const char *composed = buf_text(&text) + strlen(table->prefix) + 1;
    assert_true(rowkey_parse(table, slice_from(composed), &other, &again, &failure));
    assert_ptr_equal(again.unique, unique);
    for (uint16_t i = 0; i < key.n; i++)
        assert_true(slice_equal(again.values[i], key.values[i]));
    buf_deinit(&text);
    buf_deinit(&scratch);
    buf_deinit(&other);
    buf_deinit(&failure);
}

static void columns_of_a_unique_index_are_named(void **state) {
    (void)state;
    struct table table = with_uniques(users);
    expect_unique(&table, "42", NULL, "42", NULL);
    expect_unique(&table, "id=42", NULL, "42", NULL);
    expect_unique(&table, "email=a=b,c%2C", &uniques[0], "a=b,c%2C", NULL);
    expect_unique(&table, "email=", &uniques[0], "", NULL);
    expect_unique(&table, "tenant=1,handle=x", &uniques[1], "1", "x");
    expect_unique(&table, "handle=x%2Cy%25=,tenant=1", &uniques[1], "1", "x,y%=");
    expect_failure(&table, SLICE("tenant=1"),
                   "ERR users: \"tenant=1\" is not an integer (column id)");
    expect_failure(&table, SLICE("name=1"),
                   "ERR users: no key by name: it has no unique index of its own");
    expect_failure(&table, SLICE("handle=x"),
                   "ERR users: no key by handle: the unique index live is partial");
    expect_failure(&table, SLICE("tenant=1,handle=x,"),
                   "ERR users: \"tenant=1,handle=x,\" is not an integer (column id)");
    expect_failure(&table, SLICE("tenant=x,handle=x"),
                   "ERR users: \"x\" is not an integer (column tenant)");
}

static void a_primary_key_that_looks_like_a_unique_one_is_told_apart(void **state) {
    (void)state;
    struct table one = with_uniques(tags), two = with_uniques(items);
    expect_unique(&one, "id=email=x", NULL, "email=x", NULL);
    expect_unique(&one, "id=tenant=1,handle=x", NULL, "tenant=1,handle=x", NULL);
    expect_unique(&one, "x=y", NULL, "x=y", NULL);
    expect_unique(&two, "7:email=x", NULL, "7", "email=x");
    expect_unique(&two, "email=7:x", &uniques[0], "7:x", NULL);
}

static enum keytype_verdict verdict(const char *type, const char *text) {
    return keytype_find(type, 'b', true)->check(slice_from(text));
}

static void integers_are_judged_by_range_and_form(void **state) {
    (void)state;
    assert_int_equal(verdict("int2", "32767"), KEY_VALUE_GOOD);
    assert_int_equal(verdict("int2", "-32768"), KEY_VALUE_GOOD);
    assert_int_equal(verdict("int2", "32768"), KEY_VALUE_BAD);
    assert_int_equal(verdict("int4", "+2147483647"), KEY_VALUE_GOOD);
    assert_int_equal(verdict("int4", "-2147483649"), KEY_VALUE_BAD);
    assert_int_equal(verdict("int8", "9223372036854775807"), KEY_VALUE_GOOD);
    assert_int_equal(verdict("int8", "-9223372036854775808"), KEY_VALUE_GOOD);
    assert_int_equal(verdict("int8", "99999999999999999999999"), KEY_VALUE_BAD);
    assert_int_equal(verdict("int4", "0x2A"), KEY_VALUE_UNSURE);
    assert_int_equal(verdict("int4", "1_000"), KEY_VALUE_UNSURE);
    assert_int_equal(verdict("int4", " 42 "), KEY_VALUE_UNSURE);
    assert_int_equal(verdict("int4", "4.2"), KEY_VALUE_BAD);
    assert_int_equal(verdict("int4", "deadbeef"), KEY_VALUE_BAD);
}

static void texts_are_valid_utf8(void **state) {
    (void)state;
    assert_true(keytype_is_text(SLICE("")));
    assert_true(keytype_is_text(SLICE("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")));
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC3",
                                      "\xE0\x80\x80",
                                      "\xED\xA0\x80",
                                      "\xF0\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(keytype_is_text(slice_from(bad[i])));
    assert_false(keytype_is_text(slice_make("a\0b", 3)));
}

static void expect_identity(const char *type, const char *text, const char *identity) {
    struct buf out = {0};
    bool known = keytype_find(type, 'b', true)->normalise(slice_from(text), &out);
    assert_int_equal(known, identity != NULL);
    if (identity) assert_string_equal(buf_text(&out), identity);
    buf_deinit(&out);
}

static void the_streams_text_becomes_the_identity(void **state) {
    (void)state;
    expect_identity("timestamptz", "2026-11-21 10:00:00+00", "2026-11-21T10:00:00");
    expect_identity("timestamptz", "2026-11-21 10:00:00.5+00", "2026-11-21T10:00:00.5");
    expect_identity("timestamptz", "0044-03-15 00:00:00+00 BC", "0044-03-15T00:00:00 BC");
    expect_identity("timestamptz", "infinity", "infinity");
    expect_identity("timestamptz", "2026-11-21 12:00:00+02", NULL);
    expect_identity("timestamptz", "21/11/2026 10:00:00 UTC", NULL);
    expect_identity("timestamp", "2026-11-21 10:00:00", "2026-11-21T10:00:00");
    expect_identity("timestamp", "10000-01-01 00:00:00", "10000-01-01T00:00:00");
    expect_identity("date", "2026-11-21", "2026-11-21");
    expect_identity("date", "21.11.2026", NULL);
    expect_identity("bytea", "\\x00ff", "00ff");
    expect_identity("bytea", "\\000", NULL);
    expect_identity("bpchar", "ab   ", "ab");
    expect_identity("numeric", "1.50", "1.5");
    expect_identity("numeric", "10.00", "10");
    expect_identity("numeric", "100", "100");
    expect_identity("numeric", "0.00", "0");
    expect_identity("numeric", "NaN", "NaN");
}

static void words_whose_meaning_changes_do_not_last(void **state) {
    (void)state;
    const struct keytype *type = keytype_find("timestamptz", 'b', true);
    assert_true(type->lasting(SLICE("2026-11-21T10:00:00Z")));
    assert_true(type->lasting(SLICE("0044-03-15 00:00:00+00 BC")));
    assert_true(type->lasting(SLICE("infinity")));
    assert_false(type->lasting(SLICE("now")));
    assert_false(type->lasting(SLICE("today 10:00")));
    assert_false(type->lasting(SLICE("2026-11-21 10:00 Europe/Berlin")));
    assert_false(keytype_find("_timestamptz", 'b', true)->lasting(SLICE("{now}")));
    assert_false(keytype_find("timetz", 'b', true)->lasting(SLICE("10:00 Europe/Berlin")));
    assert_null(keytype_find("_text", 'b', true)->lasting);
    assert_null(keytype_find("int4range", 'r', true)->lasting);
}

static void equality_that_is_not_by_text_is_known(void **state) {
    (void)state;
    assert_true(keytype_find("text", 'b', true)->exact);
    assert_false(keytype_find("text", 'b', false)->exact);
    assert_true(keytype_find("numeric", 'b', true)->exact);
    assert_false(keytype_find("citext", 'b', true)->exact);
    assert_true(keytype_find("whatever", 'e', true)->exact);
    assert_null(keytype_find("float8", 'b', true)->identity);
    assert_null(keytype_find("int4", 'c', true)->identity);
}

static bool are_comparable(const char *a, const char *b) {
    return keytype_comparable(keytype_find(a, 'b', true), keytype_find(b, 'b', true));
}

static void only_types_of_one_equality_are_comparable(void **state) {
    (void)state;
    assert_true(are_comparable("int4", "int8"));
    assert_true(are_comparable("text", "varchar"));
    assert_true(are_comparable("numeric", "numeric"));
    assert_true(
        keytype_comparable(keytype_find("mood", 'e', true), keytype_find("text", 'b', true)));
    assert_false(are_comparable("int4", "text"));
    assert_false(are_comparable("uuid", "text"));
    assert_false(are_comparable("inet", "cidr"));
    assert_false(are_comparable("int4", "oid"));
    assert_false(are_comparable("date", "timestamp"));
    assert_false(are_comparable("citext", "citext"));
    assert_false(are_comparable("float8", "float8"));
}

static void the_statement_quotes_and_casts(void **state) {
    (void)state;
    struct buf sql = {0};
    struct statement statement = {.table = &items, .form = FORM_STRING};
    statement_compose(&statement, &sql);
    const char *text = buf_text(&sql);
    assert_non_null(strstr(text, "FROM ONLY \"s\".\"it\"\"ems\" AS r"));
    assert_non_null(strstr(text, "r.\"order \"\"id\"\"\" = k.v1::bigint"));
    assert_non_null(strstr(text, "r.\"sku\" = k.v2::text LIMIT 1"));
    assert_non_null(strstr(text, "pg_current_snapshot()"));
    sql.len = 0;
    statement = (struct statement){.table = &users, .form = FORM_HASH};
    statement_compose(&statement, &sql);
    assert_non_null(strstr(buf_text(&sql), "r.\"id\" AS c1, r.\"name\" AS c2 FROM"));
    sql.len = 0;
    statement = (struct statement){.table = &users, .form = FORM_STRING, .way = STATEMENT_ANY};
    statement_compose(&statement, &sql);
    assert_non_null(strstr(buf_text(&sql), "SELECT s.s, r.\"id\", pg_catalog.row_to_json(r.*)"));
    assert_non_null(strstr(buf_text(&sql), "ON r.\"id\" = ANY ($1::integer[])"));
    sql.len = 0;
    pgarray_begin(&sql);
    pgarray_add(&sql, SLICE("{"));
    pgarray_add(&sql, SLICE("a\"b\\c,"));
    pgarray_add(&sql, SLICE(""));
    pgarray_end(&sql);
    assert_string_equal(sql.data, "{\"{\",\"a\\\"b\\\\c,\",\"\"}");
    buf_deinit(&sql);
}

static void too_many_keys_become_their_tables(void **state) {
    (void)state;
    struct touched touched = {.max_keys = 3};
    touched_key(&touched, 1, 10, SLICE("a"));
    touched_key(&touched, 2, 20, SLICE("bc"));
    touched_key(&touched, 1, 30, SLICE(""));
    assert_true(slice_equal(touched_text(&touched, &touched.keys[1]), SLICE("bc")));
    touched_key(&touched, 3, 40, SLICE("d"));
    assert_int_equal(touched.n_keys, 0);
    assert_int_equal(touched.n_tables, 3);
    touched_key(&touched, 2, 50, SLICE("e"));
    assert_int_equal(touched.n_keys, 0);
    touched_key(&touched, 4, 60, SLICE("f"));
    assert_int_equal(touched.n_keys, 1);
    touched_reset(&touched);
    assert_int_equal(touched.n_keys + touched.n_tables, 0);
    touched_deinit(&touched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_column_takes_all_that_follows),
        cmocka_unit_test(several_columns_are_split_and_decoded),
        cmocka_unit_test(what_is_no_key_says_why),
        cmocka_unit_test(a_key_composed_of_its_values_is_parsed_to_them),
        cmocka_unit_test(columns_of_a_unique_index_are_named),
        cmocka_unit_test(a_primary_key_that_looks_like_a_unique_one_is_told_apart),
        cmocka_unit_test(integers_are_judged_by_range_and_form),
        cmocka_unit_test(texts_are_valid_utf8),
        cmocka_unit_test(the_streams_text_becomes_the_identity),
        cmocka_unit_test(words_whose_meaning_changes_do_not_last),
        cmocka_unit_test(equality_that_is_not_by_text_is_known),
        cmocka_unit_test(only_types_of_one_equality_are_comparable),
        cmocka_unit_test(the_statement_quotes_and_casts),
        cmocka_unit_test(too_many_keys_become_their_tables),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
