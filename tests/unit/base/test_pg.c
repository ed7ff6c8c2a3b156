#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "base/pg.h"
#include "tests/unit/base/database.h"

#define DATABASE "freshet_unit_pg"

static int setup(void **state) {
    *state = scratch_create(DATABASE);
    return 0;
}

static int teardown(void **state) {
    scratch_drop(*state, DATABASE);
    return 0;
}

/* What libpq itself makes of the merged conninfo. */
static const char *setting(PQconninfoOption *options, const char *keyword) {
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0) return options->val ? options->val : "";
    }
    return NULL;
}

static void our_options_go_over_the_users(void **state) {
    (void)state;
    struct pg_options options = {
        .application_name = "freshet_cache", .replication = true, .server_options = "-c a=2"};
    struct error err;
    char *conninfo = pg_conninfo("postgresql://me:it's%20%5C@host:1/db?application_name=mine"
                                 "&options=-c%20a%3D1&keepalives_idle=99&client_encoding=LATIN1",
                                 &options, &err);
    assert_non_null(conninfo);
    PQconninfoOption *parsed = PQconninfoParse(conninfo, NULL);
    assert_non_null(parsed);
    assert_string_equal(setting(parsed, "host"), "host");
    assert_string_equal(setting(parsed, "port"), "1");
    assert_string_equal(setting(parsed, "dbname"), "db");
    assert_string_equal(setting(parsed, "password"), "it's \\");
    assert_string_equal(setting(parsed, "application_name"), "freshet_cache");
    assert_string_equal(setting(parsed, "replication"), "database");
    assert_string_equal(setting(parsed, "options"), "-c a=1 -c a=2");
    assert_string_equal(setting(parsed, "client_encoding"), "UTF8");
    assert_string_equal(setting(parsed, "keepalives_idle"), "99");
    assert_string_equal(setting(parsed, "keepalives"), "1");
    assert_string_equal(setting(parsed, "connect_timeout"), "10");
    PQconninfoFree(parsed);
    mem_free(conninfo);
}

static void what_the_user_says_stays(void **state) {
    (void)state;
    struct pg_options options = {0};
    struct error err;
    char *conninfo =
        pg_conninfo("host=a connect_timeout=3 options='-c x=1' sslmode=require", &options, &err);
    assert_non_null(conninfo);
    PQconninfoOption *parsed = PQconninfoParse(conninfo, NULL);
    assert_string_equal(setting(parsed, "connect_timeout"), "3");
    assert_string_equal(setting(parsed, "options"), "-c x=1");
    assert_string_equal(setting(parsed, "sslmode"), "require");
    assert_string_equal(setting(parsed, "replication"), "");
    PQconninfoFree(parsed);
    mem_free(conninfo);
}

static const char *setting_of(const char *url, const struct pg_options *options,
                              const char *keyword, char *value, size_t size) {
    struct error err;
    char *conninfo = pg_conninfo(url, options, &err);
    assert_non_null(conninfo);
    PQconninfoOption *parsed = PQconninfoParse(conninfo, NULL);
    snprintf(value, size, "%s", setting(parsed, keyword));
    PQconninfoFree(parsed);
    mem_free(conninfo);
    return value;
}

static void several_hosts_lead_to_the_one_that_is_wanted(void **state) {
    (void)state;
    static const char url[] = "postgresql://me@a:1,b:2/db";
    static const char attrs[] = "target_session_attrs";
    char value[64];
    struct pg_options any = {0};
    struct pg_options standby = {.wanted_server = "standby"};
    assert_string_equal(setting_of(url, &any, attrs, value, sizeof value), "read-write");
    assert_string_equal(setting_of(url, &standby, attrs, value, sizeof value), "standby");
    assert_string_equal(setting_of("postgresql://a,b/db?target_session_attrs=any", &standby, attrs,
                                   value, sizeof value),
                        "any");
    assert_string_equal(setting_of("postgresql://a/db", &standby, attrs, value, sizeof value), "");
    assert_true(pg_has_several_hosts(url));
    assert_false(pg_has_several_hosts("postgresql://a/db"));
}

static void a_server_that_was_found_stands_for_all(void **state) {
    (void)state;
    static const char url[] = "host=a,b port=1,2 dbname=db target_session_attrs=read-write";
    struct pg_address address = {"b", "10.0.0.2", "2"};
    struct pg_options options = {.at = &address};
    char value[64];
    assert_string_equal(setting_of(url, &options, "host", value, sizeof value), "b");
    assert_string_equal(setting_of(url, &options, "hostaddr", value, sizeof value), "10.0.0.2");
    assert_string_equal(setting_of(url, &options, "port", value, sizeof value), "2");
    assert_string_equal(setting_of(url, &options, "dbname", value, sizeof value), "db");
    assert_string_equal(setting_of(url, &options, "target_session_attrs", value, sizeof value), "");
}

static void hosts_are_tried_one_by_one(void **state) {
    (void)state;
    static const char url[] = "host=a,b,c port=1,2,3 dbname=db";
    struct pg_options second = {.host_number = 2};
    struct pg_options third = {.host_number = 3};
    char value[64];
    assert_int_equal(pg_count_hosts(url), 3);
    assert_int_equal(pg_count_hosts("dbname=db"), 1);
    assert_string_equal(setting_of(url, &second, "host", value, sizeof value), "b");
    assert_string_equal(setting_of(url, &second, "port", value, sizeof value), "2");
    assert_string_equal(setting_of(url, &second, "target_session_attrs", value, sizeof value),
                        "read-write");
    assert_string_equal(setting_of("host=a,b,c port=7", &third, "host", value, sizeof value), "c");
    assert_string_equal(setting_of("host=a,b,c port=7", &third, "port", value, sizeof value), "7");
    assert_int_equal(pg_connect_timeout_s("host=a connect_timeout=4"), 4);
    assert_int_equal(pg_connect_timeout_s(url), 0);
}

static void hosts_are_told_without_secrets(void **state) {
    (void)state;
    static const char *const urls[][2] = {
        {"postgresql://me:secret@a:1,b:2/db", "a:1,b:2"},
        {"host=a,b,c port=5", "a:5,b:5,c:5"},
        {"postgresql://a/db", "a:5432"},
        {"dbname=x", "local:5432"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char *hosts = pg_hosts(urls[i][0]);
        assert_string_equal(hosts, urls[i][1]);
        mem_free(hosts);
    }
}

static void a_malformed_url_is_the_users_mistake(void **state) {
    (void)state;
    struct error err;
    assert_null(pg_conninfo("postgresql://[::1/db", &(struct pg_options){0}, &err));
    assert_int_equal(err.code, ERROR_CONFIG);
    assert_false(err.retriable);
    assert_null(pg_conninfo("no_such_option=1", &(struct pg_options){0}, &err));
    assert_non_null(strstr(err.message, "no_such_option"));
}

static void names_and_texts_are_quoted(void **state) {
    (void)state;
    struct buf out = {0};
    pg_quote_table(&out, "My \"S\"", "t");
    pg_quote_literal(&out, "it's");
    pg_quote_literal(&out, "a\\b'c");
    assert_string_equal(buf_text(&out), "\"My \"\"S\"\"\".\"t\"'it''s' E'a\\\\b''c'");
    buf_deinit(&out);
}

static void a_server_that_is_away_is_worth_another_try(void **state) {
    (void)state;
    struct error err;
    assert_null(pg_connect("host=127.0.0.1 port=1", &(struct pg_options){0}, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_true(err.retriable);
    assert_null(strchr(err.message, '\n'));
}

static void errors_follow_their_sqlstate(void **state) {
    if (!*state) skip();
    static const struct {
        const char *sqlstate;
        enum error_code code;
        bool retriable;
    } cases[] = {
        {"08006", ERROR_UNAVAILABLE, true}, {"08P01", ERROR_PROTOCOL, false},
        {"28000", ERROR_REFUSED, false},    {"42501", ERROR_REFUSED, false},
        {"42P01", ERROR_NOT_FOUND, false},  {"42704", ERROR_NOT_FOUND, false},
        {"40001", ERROR_CONFLICT, true},    {"53300", ERROR_UNAVAILABLE, true},
        {"53400", ERROR_LIMIT, false},      {"55006", ERROR_UNAVAILABLE, true},
        {"55000", ERROR_REFUSED, false},    {"57014", ERROR_TIMEOUT, true},
        {"57P03", ERROR_UNAVAILABLE, true}, {"XX000", ERROR_SYSTEM, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[128];
        snprintf(
            sql, sizeof sql,
            "DO $$ BEGIN RAISE 'told' USING ERRCODE = '%s', DETAIL = 'why', HINT = 'do'; END $$",
            cases[i].sqlstate);
        struct error err;
        assert_null(pg_query(*state, sql, &err));
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.retriable, cases[i].retriable);
        assert_non_null(strstr(err.message, "told: why; do"));
        assert_non_null(strstr(err.message, cases[i].sqlstate));
    }
}

static void a_refused_connection_is_not_tried_again(void **state) {
    if (!*state) skip();
    char *url = mem_printf("host=%s port=%s dbname=no_such_database user=%s", PQhost(*state),
                           PQport(*state), PQuser(*state));
    struct error err;
    assert_null(pg_connect(url, &(struct pg_options){0}, &err));
    assert_int_equal(err.code, ERROR_REFUSED);
    assert_false(err.retriable);
    mem_free(url);
}

static void parameters_and_nulls_arrive(void **state) {
    if (!*state) skip();
    struct error err;
    PGresult *rows = pg_query_params(*state, "SELECT $1::text || 'é', $2::text IS NULL", 2,
                                     (const char *const[]){"x", NULL}, &err);
    assert_non_null(rows);
    assert_string_equal(PQgetvalue(rows, 0, 0), "xé");
    assert_string_equal(PQgetvalue(rows, 0, 1), "t");
    PQclear(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_options_go_over_the_users),
        cmocka_unit_test(what_the_user_says_stays),
        cmocka_unit_test(several_hosts_lead_to_the_one_that_is_wanted),
        cmocka_unit_test(a_server_that_was_found_stands_for_all),
        cmocka_unit_test(hosts_are_tried_one_by_one),
        cmocka_unit_test(hosts_are_told_without_secrets),
        cmocka_unit_test(a_malformed_url_is_the_users_mistake),
        cmocka_unit_test(names_and_texts_are_quoted),
        cmocka_unit_test(a_server_that_is_away_is_worth_another_try),
        cmocka_unit_test(errors_follow_their_sqlstate),
        cmocka_unit_test(a_refused_connection_is_not_tried_again),
        cmocka_unit_test(parameters_and_nulls_arrive),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
