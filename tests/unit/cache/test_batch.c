/* A statement's answer: which row is whose, and the JSON that is made of its columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cache/rows/batch.h"
#include "cache/rows/flights.h"

enum { OID_BOOL = 16, OID_INT4 = 23, OID_TEXT = 25, OID_JSON = 114, OID_FLOAT8 = 701 };

static struct rowjson_column json[] = {
    {"\"id\":", 5, OID_INT4, ROWJSON_PLAIN},
    {"\"name\":", 7, OID_TEXT, ROWJSON_STRING},
};
static struct table users = {.n_keys = 1, .n_columns = 2, .json = json};

static PGresult *make_result(uint32_t *oids, int n) {
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc attributes[8] = {0};
    char name[] = "c";
    for (int i = 0; i < n; i++) {
        attributes[i].name = name;
        attributes[i].typid = oids[i];
    }
    assert_int_equal(PQsetResultAttrs(result, n, attributes), 1);
    return result;
}

static void put(PGresult *result, int row, int column, const char *text) {
    char value[64];
    if (text) strcpy(value, text);
    assert_int_equal(
        PQsetvalue(result, row, column, text ? value : NULL, text ? (int)strlen(text) : -1), 1);
}

/* ---- whose row ---- */

static struct batch any_of(struct fill **fills, uint32_t n, PGresult *result) {
    struct statement statement = {&users, NULL, FORM_STRING, STATEMENT_ANY, false};
    return (struct batch){.statement = statement, .n_fills = n, .fills = fills, .result = result};
}

static PGresult *make_rows(const char *const *keys, int n) {
    PGresult *result = make_result((uint32_t[]){OID_TEXT, OID_INT4, OID_INT4, OID_TEXT}, 4);
    for (int i = 0; i < n; i++) {
        put(result, i, 0, "1:1:");
        for (int c = 1; c < 4; c++)
            put(result, i, c, keys[i]);
    }
    return result;
}

static void rows_in_any_order_find_who_asked_for_them(void **state) {
    (void)state;
    const char *const asked[] = {"7", "42", "5", "42", "1"};
    struct fill some[5] = {0};
    struct fill *fills[5];
    for (int i = 0; i < 5; i++) {
        fills[i] = &some[i];
        some[i].row = (struct rowkey){.n = 1, .values = {slice_from(asked[i])}, .plain = true};
    }
    struct batch batch = any_of(fills, 5, make_rows((const char *[]){"42", "1", "7"}, 3));
    assert_int_equal(batch_place(&batch), BATCH_PLACED);
    const int places[] = {2, 0, -1, 0, 1};
    for (uint32_t i = 0; i < 5; i++) {
        struct batch_row row = batch_row(&batch, i);
        assert_int_equal(row.place, places[i]);
        assert_int_equal(batch_row_is_there(&row), places[i] >= 0);
    }
    batch_deinit(&batch);

    /* None is there: the one row is of NULLs. */
    batch = any_of(fills, 5, make_rows((const char *[]){NULL}, 1));
    assert_int_equal(batch_place(&batch), BATCH_PLACED);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(batch_row(&batch, i).place, -1);
    batch_deinit(&batch);

    /* A value that is equal to one that was asked for, but written otherwise: nobody may take its row for absent. */
    batch = any_of(fills, 5, make_rows((const char *[]){"42", "007"}, 2));
    assert_int_equal(batch_place(&batch), BATCH_STRANGE);
    batch_deinit(&batch);
    batch = any_of(fills, 5, make_rows(NULL, 0));
    assert_int_equal(batch_place(&batch), BATCH_TORN);
    batch_deinit(&batch);
}

static void a_result_of_other_types_is_not_read(void **state) {
    (void)state;
    struct fill one = {.row = {.n = 1, .values = {SLICE("1")}, .plain = true}};
    struct fill *fills[] = {&one};
    PGresult *result = make_result((uint32_t[]){OID_TEXT, OID_INT4, OID_INT4, OID_JSON}, 4);
    for (int c = 0; c < 4; c++)
        put(result, 0, c, "1");
    struct batch batch = any_of(fills, 1, result);
    assert_int_equal(batch_place(&batch), BATCH_CHANGED);
    batch_deinit(&batch);
}

static void only_plain_keys_of_whole_tables_are_asked_for_by_any(void **state) {
    (void)state;
    struct fill plain = {.table = &users, .row = {.n = 1, .plain = true}};
    struct fill other = {.table = &users, .row = {.n = 1}};
    struct fill *fills[] = {&plain, &plain}, *others[] = {&other, &other};
    assert_int_equal(batch_way(fills, 2), STATEMENT_ANY);
    assert_int_equal(batch_way(fills, 1), STATEMENT_ONE);
    assert_int_equal(batch_way(others, 2), STATEMENT_EACH);
    struct table parts = {.n_keys = 1, .partitioned = true};
    plain.table = &parts;
    assert_int_equal(batch_way(fills, 2), STATEMENT_EACH);
}

/* ---- JSON ---- */

static void values_become_json_by_their_types(void **state) {
    (void)state;
    static const struct {
        uint32_t oid;
        const char *text;
        const char *json;
    } cases[] = {
        {OID_INT4, "-7", "-7"},
        {OID_BOOL, "t", "true"},
        {OID_BOOL, "f", "false"},
        {OID_FLOAT8, "-1.5e-07", "-1.5e-07"},
        {OID_FLOAT8, "NaN", "\"NaN\""},
        {OID_FLOAT8, "-Infinity", "\"-Infinity\""},
        {OID_FLOAT8, NULL, "null"},
        {OID_TEXT, "", "\"\""},
        {OID_TEXT, "a\"\\/\b\f\n\r\t\x1f\x7f\xC3\xA9",
         "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\x7f\xC3\xA9\""},
        {OID_JSON, "{\"a\" : 1}", "{\"a\" : 1}"},
        {1082, "\"2026-01-01\"", "\"2026-01-01\""}, /* a date: the server's */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rowjson_column column = {"\"c\":", 4, cases[i].oid, rowjson_kind(cases[i].oid)};
        bool servers = column.kind == ROWJSON_SERVERS;
        PGresult *result = make_result((uint32_t[]){servers ? OID_JSON : cases[i].oid}, 1);
        struct buf out = {0};
        put(result, 0, 0, cases[i].text);
        assert_true(rowjson_fits(&column, 1, result, 0));
        rowjson_append(&out, &column, 1, result, 0, 0);
        char expected[128];
        snprintf(expected, sizeof expected, "{\"c\":%s}", cases[i].json);
        assert_string_equal(buf_text(&out), expected);
        buf_deinit(&out);
        PQclear(result);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_in_any_order_find_who_asked_for_them),
        cmocka_unit_test(a_result_of_other_types_is_not_read),
        cmocka_unit_test(only_plain_keys_of_whole_tables_are_asked_for_by_any),
        cmocka_unit_test(values_become_json_by_their_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
