#include "tests/unit/server/config_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define DATABASE "database: {url: postgres://u@h/d}\n"

static void a_database_alone_runs_the_cache_with_the_defaults(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, DATABASE);
    assert_no_mistakes(&trial);
    const struct config *config = trial.config;
    assert_int_equal(config->roles, ROLE_CACHE);
    assert_string_equal(config->cache.listen, "127.0.0.1:6380");
    assert_int_equal(config->cache.ttl_ms, 300000);
    assert_int_equal(config->cache.max_memory_bytes, 1 << 30);
    assert_int_equal(config->cache.coherence, COHERENCE_STREAM);
    assert_int_equal(config->cdc.delivery, DELIVERY_EXACTLY_ONCE);
    assert_true(config->cdc.format.tombstones);
    assert_string_equal(config->cdc.format.encoding, "json");
    assert_int_equal(config->log_level, LOG_INFO);
    trial_end(&trial);
}

static void every_option_has_a_row_that_holds_together(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, DATABASE);
    for (const struct option *option = options; option->path; option++) {
        assert_non_null(option->help);
        assert_true(option->size > 0);
        assert_true(option->offset + option->size <= sizeof(struct config));
        assert_true(!option->flag == !option->argument);
        if (option->type == OPTION_CHOICE) assert_true(option->size == 4);
        if (option->type == OPTION_SIZE || option->type == OPTION_DURATION)
            assert_true(option->size == 8);
        if (option->type == OPTION_BOOL) assert_true(option->size == 1);
    }
    trial_end(&trial);
}

static void roles_follow_from_what_is_configured(void **state) {
    (void)state;
    static const struct {
        const char *yaml;
        uint32_t roles;
    } cases[] = {
        {"cdc: {kafka: {brokers: k:9092}}", ROLE_CACHE | ROLE_CDC},
        {"cdc: {output: stdout}", ROLE_CACHE | ROLE_CDC},
        {"cdc: {prefix: x}", ROLE_CACHE},
        {"connectors: [{name: a, type: opensearch, url: http://h, table: t}]",
         ROLE_CACHE | ROLE_CONNECTORS},
        {"{roles: [cdc], cdc: {output: stdout}}", ROLE_CDC},
        {"{roles: [cache], cdc: {output: stdout}}", ROLE_CACHE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trial trial = {.flags = {{"--database", "database.url", "postgres://h/d"}}};
        trial_load(&trial, cases[i].yaml);
        assert_no_mistakes(&trial);
        assert_int_equal(trial.config->roles, cases[i].roles);
        trial_end(&trial);
    }
}

static void a_role_that_lacks_what_it_needs_is_a_mistake(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, DATABASE "roles: [cdc, connectors]\n");
    assert_mistakes(
        &trial, MISTAKES("f.yml: cdc.kafka.brokers: is not set, and the role cdc needs it: give "
                         "--kafka HOST:PORT, or cdc.output: stdout",
                         "f.yml: connectors: is empty, and the role connectors needs one at "
                         "least"));
    trial_end(&trial);
}

static void a_flag_beats_the_environment_beats_the_file_beats_the_default(void **state) {
    (void)state;
    struct trial trial = {
        .flags = {{"--set", "cache.ttl", "3m"}},
        .environment = {"FRESHET_CACHE_TTL=4m", "FRESHET_CACHE_NEGATIVE_TTL=5s"},
    };
    trial_load(&trial, DATABASE "cache: {ttl: 6m, negative_ttl: 7s, max_staleness: 9s}\n");
    assert_no_mistakes(&trial);
    assert_int_equal(trial.config->cache.ttl_ms, 180000);
    assert_int_equal(trial.config->cache.negative_ttl_ms, 5000);
    assert_int_equal(trial.config->cache.max_staleness_ms, 9000);
    assert_int_equal(trial.config->cache.sample_interval_ms, 100);
    assert_string_equal(config_value(trial.config, "cache.ttl")->where, "--set");
    assert_string_equal(config_value(trial.config, "cache.negative_ttl")->where,
                        "FRESHET_CACHE_NEGATIVE_TTL");
    assert_string_equal(config_value(trial.config, "cache.max_staleness")->where, "f.yml:2:51");
    trial_end(&trial);
}

static void mistakes_of_a_value_that_is_overruled_are_told_too(void **state) {
    (void)state;
    struct trial trial = {.flags = {{"--set", "cache.ttl", "3m"}},
                          .environment = {"FRESHET_CACHE_TTL=4"}};
    trial_load(&trial, DATABASE "cache: {ttl: soon}\n");
    assert_mistakes(
        &trial,
        MISTAKES(
            "f.yml:2:14: cache.ttl: \"soon\" is not a duration, write 250ms, 30s, 5m, 2h or 1d",
            "FRESHET_CACHE_TTL: cache.ttl: \"4\" has no unit, write 250ms, 30s, 5m, 2h or 1d"));
    trial_end(&trial);
}

static void all_mistakes_of_a_file_are_told_where_they_stand(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, "database:\n"
                       "  url: postgres://h/d\n"
                       "  pol: 3\n"
                       "cache:\n"
                       "  ttl: 5\n"
                       "  workers: [1]\n"
                       "  coherence: stram\n"
                       "  ttl: 4m\n"
                       "  max_clients: 0\n"
                       "  max_memory:\n"
                       "  tables:\n"
                       "    public.users: { prefx: u, ttl: 3 }\n"
                       "    x y: 1\n"
                       "  writes: perhaps\n"
                       "cdc: true\n"
                       "queries: 1\n");
    assert_mistakes(
        &trial,
        MISTAKES(
            "f.yml:3:3: database.pol: is unknown, did you mean \"database.pool\"?",
            "f.yml:5:8: cache.ttl: \"5\" has no unit, write 250ms, 30s, 5m, 2h or 1d",
            "f.yml:6:12: cache.workers: is a list, write a count",
            "f.yml:7:14: cache.coherence: \"stram\" is none of: stream, ttl",
            "f.yml:8:3: cache.ttl: stands there twice, first in line 5",
            "f.yml:9:16: cache.max_clients: \"0\" is too small, the least is 1",
            "f.yml:10:14: cache.max_memory: has no value, leave it out for the default",
            "f.yml:12:21: cache.tables.public.users.prefx: is unknown, did you mean \"prefix\"?",
            "f.yml:12:36: cache.tables.public.users.ttl: \"3\" has no unit, write 250ms, 30s, 5m, "
            "2h "
            "or 1d",
            "f.yml:13:10: cache.tables.x y: is a value, write a mapping",
            "f.yml:14:11: cache.writes: \"perhaps\" is none of: refuse, through",
            "f.yml:15:6: cdc: is a value, write a mapping",
            "f.yml:16:1: queries: is unknown, known here are: roles, database, cache, cdc, "
            "sources, "
            "connectors, admin, log, state_dir"));
    trial_end(&trial);
}

static void mistakes_in_named_queries_are_told_where_they_stand(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, DATABASE "cache:\n"
                                "  queries:\n"
                                "    a: { key: \"a{x}\", sql: SELECT 1, ttl: 1m }\n"
                                "    b: { key: \"b:{x}\", ttl: 1m, shape: rowz }\n"
                                "    c: { key: \"c:{x}\", sql: SELECT 1, depends_on: [t] }\n"
                                "    d: { key: \"b:{y}\", sql: SELECT 1, ttl: 1m }\n"
                                "    e: { key: e, sql: SELECT 1, depends_on: { t: { x: y } } }\n"
                                "    f g: { key: f, sql: SELECT 1, depends_on: { t: all } }\n");
    assert_mistakes(
        &trial,
        MISTAKES(
            "f.yml:5:40: cache.queries.b.shape: \"rowz\" is none of: rows, row, value, hash, list, "
            "zset",
            "f.yml:6:51: cache.queries.c.depends_on: is a list, write a mapping",
            "f.yml:8:50: cache.queries.e.depends_on.t: is a mapping, write a list or a value",
            "f.yml:4:5: cache.queries.a: the key \"a{x}\" needs a name and a colon before its {",
            "f.yml:5:5: cache.queries.b: has no sql",
            "f.yml:6:5: cache.queries.c: has neither depends_on nor a ttl: nothing would bound a "
            "result's age",
            "f.yml:7:5: cache.queries.d: has keys that begin as those of \"b\"",
            "f.yml:8:5: cache.queries.e: has neither depends_on nor a ttl: nothing would bound a "
            "result's age",
            "f.yml:9:5: cache.queries.f g: is named otherwise than by letters, digits, _, . and "
            "-"));
    trial_end(&trial);
}

static void what_is_not_yaml_is_told_with_the_mistakes_before_it(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, "cache:\n  ttl: 5\n  pool: [1, 2\n");
    assert_int_equal(mistakes_count(trial.mistakes), 3);
    assert_string_equal(mistakes_line(trial.mistakes, 0),
                        "f.yml:2:8: cache.ttl: \"5\" has no unit, write 250ms, 30s, 5m, 2h or 1d");
    assert_non_null(strstr(mistakes_line(trial.mistakes, 2), "f.yml:4:1: not YAML: "));
    trial_end(&trial);
}

static void anchors_tags_and_second_documents_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"cache: &a {ttl: 5m}\n", "cache: *a\n", "cache: !x {}\n",
                                        "cache: {}\n---\ncache: {}\n", "? [a]\n: b\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct trial trial = {0};
        trial_load(&trial, texts[i]);
        assert_true(mistakes_count(trial.mistakes) >= 1);
        assert_non_null(strstr(mistakes_line(trial.mistakes, 0), "f.yml:"));
        trial_end(&trial);
    }
}

static void bytes_that_are_no_characters_are_told_where_they_stand(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, "cache:\n  name: \"\xc3\xa4 \xff\"\n");
    assert_mistakes(&trial, MISTAKES("f.yml:2:12: not YAML: invalid leading UTF-8 octet"));
    trial_end(&trial);
}

static void deep_nesting_and_huge_texts_are_bounded(void **state) {
    (void)state;
    size_t len = 3 * 1024 * 1024;
    char *text = mem_alloc(len + 1);
    memset(text, '[', len);
    text[len] = '\0';
    struct trial trial = {0};
    trial_load(&trial, text);
    assert_mistakes(&trial, MISTAKES("f.yml:1:1: larger than 1024 KiB"));
    trial_end(&trial);
    text[1000] = '\0';
    trial = (struct trial){0};
    trial_load(&trial, text);
    assert_non_null(strstr(mistakes_line(trial.mistakes, 1), "nested deeper than 32"));
    trial_end(&trial);
    mem_free(text);
}

static void references_are_expanded(void **state) {
    (void)state;
    char path[] = "/tmp/freshet-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "se}cret\n", 8), 8);
    close(fd);
    char *yaml = mem_printf("database: {url: 'postgres://${WHO}@h/d'}\n"
                            "cache: {password: '${file:%s}', name: 'a$${b}$c'}\n",
                            path);
    struct trial trial = {.environment = {"WHO=me"}};
    trial_load(&trial, yaml);
    unlink(path);
    assert_no_mistakes(&trial);
    assert_string_equal(trial.config->database_url, "postgres://me@h/d");
    assert_string_equal(trial.config->cache.password, "se}cret");
    assert_string_equal(trial.config->cache.feed_name, "a${b}$c");
    trial_end(&trial);
    mem_free(yaml);
}

static void references_that_lead_nowhere_are_mistakes(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, "database: {url: '${NOBODY}'}\n"
                       "cache: {password: '${file:/nonexistent/x}', name: '${a-b}'}\n"
                       "state_dir: '${open'\n");
    assert_mistakes(
        &trial,
        MISTAKES(
            "f.yml:1:17: database.url: ${NOBODY} is not set in the environment",
            "f.yml:2:19: cache.password: cannot read \"/nonexistent/x\": No such file or "
            "directory",
            "f.yml:2:51: cache.name: ${a-b} is neither ${NAME} nor ${file:PATH}; $${ stands for "
            "${ itself",
            "f.yml:3:12: state_dir: \"${\" without its \"}\"; $${ stands for ${ itself"));
    trial_end(&trial);
}

static void lists_may_be_written_with_commas(void **state) {
    (void)state;
    struct trial trial = {.flags = {{"--tables", "cdc.tables", "public.*, sales.orders"},
                                    {"--database", "database.url", "postgres://h/d"},
                                    {"--set", "cdc.skip_operations", "[t]"}}};
    trial_load(&trial,
               "cdc: {tables: [a.b], skip_operations: [c, u], kafka: {brokers: [a:1, b:2]}}");
    assert_no_mistakes(&trial);
    assert_int_equal(trial.config->cdc.n_tables, 2);
    assert_string_equal(trial.config->cdc.tables[0], "public.*");
    assert_string_equal(trial.config->cdc.tables[1], "sales.orders");
    assert_string_equal(trial.config->cdc.skip_operations, "t");
    assert_string_equal(trial.config->cdc.kafka.brokers, "a:1,b:2");
    trial_end(&trial);
}

static void structures_can_be_given_and_amended_on_the_command_line(void **state) {
    (void)state;
    struct trial trial = {
        .flags = {{"--set", "connectors", "[{name: s, type: opensearch, url: http://h, table: t}]"},
                  {"--set", "connectors.s.index", "people"},
                  {"--set", "cache.tables.public.users.ttl", "10m"},
                  {"--set", "cdc.kafka.properties.compression.type", "lz4"}},
        .environment = {"FRESHET_DATABASE_URL=postgres://h/d"},
    };
    trial_load(&trial, "cdc: {kafka: {properties: {linger.ms: 7}}}\n"
                       "cache: {tables: {sales.orders: {prefix: o}}}\n");
    assert_no_mistakes(&trial);
    const struct config *config = trial.config;
    assert_int_equal(config->n_connectors, 1);
    assert_string_equal(config->connectors[0].index, "people");
    assert_string_equal(config->connectors[0].slot, "freshet_s");
    assert_int_equal(config->cache.n_tables, 2);
    assert_string_equal(config->cache.tables[0].prefix, "o");
    assert_int_equal(config->cache.tables[0].ttl_ms, -1);
    assert_true(config->cache.tables[0].mapped);
    assert_string_equal(config->cache.tables[1].table, "public.users");
    assert_int_equal(config->cache.tables[1].ttl_ms, 600000);
    assert_int_equal(config->cdc.kafka.n_properties, 2);
    assert_string_equal(config->cdc.kafka.properties[1].name, "compression.type");
    trial_end(&trial);
}

static void chosen_columns_are_a_list_or_a_map(void **state) {
    (void)state;
    static const char *const written[] = {"[id, {email: mail}]", "{id: id, email: mail}"};
    for (size_t i = 0; i < 4; i++) {
        bool by_flag = i >= 2;
        struct trial trial = {0};
        char yaml[300];
        snprintf(yaml, sizeof yaml,
                 DATABASE "connectors: [{name: s, type: webhook, url: http://h, table: t%s%s}]\n",
                 by_flag ? "" : ", columns: ", by_flag ? "" : written[i]);
        if (by_flag)
            trial.flags[0] = (struct config_flag){"--set", "connectors.s.columns", written[i - 2]};
        trial_load(&trial, yaml);
        assert_no_mistakes(&trial);
        const struct connector_config *connector = &trial.config->connectors[0];
        assert_int_equal(connector->n_columns, 2);
        assert_string_equal(connector->columns[0].column, "id");
        assert_string_equal(connector->columns[0].name, "id");
        assert_string_equal(connector->columns[1].column, "email");
        assert_string_equal(connector->columns[1].name, "mail");
        assert_string_equal(connector->table, "t");
        trial_end(&trial);
    }
}

static void wrong_choices_of_columns_are_mistakes(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, DATABASE "cache: {queries: {q: {key: 'q:{a}', sql: 'SELECT $1', "
                                "shape: row, depends_on: {t: a}}}}\n"
                                "connectors:\n"
                                "  - {name: a, type: webhook, url: http://h, table: t, columns:\n"
                                "      [id, id, {a: b, c: d}, '']}\n"
                                "  - {name: b, type: webhook, url: http://h, table: t,\n"
                                "     columns: []}\n"
                                "  - {name: c, type: webhook, url: http://h, query: q,\n"
                                "     columns: [id]}\n"
                                "  - {name: d, type: webhook, url: http://h, table: t,\n"
                                "     dead_letter_topic: letters}\n");
    assert_mistakes(
        &trial,
        MISTAKES("f.yml:5:12: connectors[0].columns: \"id\" stands there twice",
                 "f.yml:5:16: connectors[0].columns: is a mapping, write NAME or {NAME: OTHER}",
                 "f.yml:5:30: connectors[0].columns: an item is empty",
                 "f.yml:7:6: connectors[1].columns: names no column",
                 "f.yml:9:6: connectors[2].columns: are of a table: a query's SQL chooses its own",
                 "f.yml:11:6: connectors[3].dead_letter_topic: is set, and cdc.kafka.brokers is "
                 "not"));
    trial_end(&trial);
}

static void unknown_names_on_the_command_line_are_mistakes(void **state) {
    (void)state;
    struct trial trial = {.flags = {{"--database", "database.url", "postgres://h/d"},
                                    {"--set", "cache.tl", "1m"},
                                    {"--set", "connectors.s.urll", "x"}}};
    trial_load(&trial, NULL);
    assert_mistakes(&trial,
                    MISTAKES("--set: cache.tl: is unknown, did you mean \"cache.ttl\"?",
                             "--set: connectors.s.urll: is unknown, did you mean \"url\"?"));
    trial_end(&trial);
}

static void a_listener_beyond_loopback_needs_a_password(void **state) {
    (void)state;
    static const struct {
        const char *yaml;
        uint32_t mistakes;
    } cases[] = {
        {DATABASE "cache: {listen: '0.0.0.0:1'}\n", 1},
        {DATABASE "cache: {listen: '0.0.0.0:1', password: x}\n", 0},
        {DATABASE "cache: {listen: '0.0.0.0:1', protected_mode: false}\n", 0},
        {DATABASE "cache: {listen: '[::1]:1'}\n", 0},
        {DATABASE "admin: {listen: '0.0.0.0:1'}\n", 1},
        {DATABASE "admin: {listen: '0.0.0.0:1', allow_remote: true}\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trial trial = {0};
        trial_load(&trial, cases[i].yaml);
        assert_int_equal(mistakes_count(trial.mistakes), cases[i].mistakes);
        trial_end(&trial);
    }
}

static void a_missing_database_is_a_mistake_unless_plain_keys_alone_are_wanted(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, NULL);
    assert_int_equal(mistakes_count(trial.mistakes), 1);
    assert_non_null(strstr(mistakes_line(trial.mistakes, 0), "database.url: is not set"));
    trial_end(&trial);
    trial = (struct trial){.flags = {{"--set", "cache.read_through", "false"}}};
    trial_load(&trial, NULL);
    assert_no_mistakes(&trial);
    trial_end(&trial);
}

static void connectors_are_checked_together(void **state) {
    (void)state;
    struct trial trial = {0};
    trial_load(&trial, DATABASE "connectors:\n"
                                "  - {name: a, type: opensearch, url: http://h, table: t}\n"
                                "  - {name: a, type: opensearch, url: http://h, table: 't.*'}\n"
                                "  - {name: A, type: opensearch, url: http://h}\n"
                                "  - {name: 'a b', type: sphinx, url: http://h, table: t}\n");
    assert_mistakes(
        &trial,
        MISTAKES(
            "f.yml:6:25: connectors[3].type: \"sphinx\" is none of: opensearch, view, refresh, "
            "webhook, archive, redis",
            "f.yml:4:48: connectors[1].table: \"t.*\" names no table, write schema.table",
            "f.yml:4:5: connectors[1]: has the name of connectors[0], \"a\"",
            "f.yml:5:5: connectors[2]: has no table",
            "f.yml:5:5: connectors[2]: has the slot of connectors[0], \"freshet_a\"",
            "f.yml:6:6: connectors[3].name: \"a b\" is not letters, digits, - and _, at most 50",
            "f.yml:6:5: connectors[3]: \"freshet_a b\" is no slot name"));
    trial_end(&trial);
}

static void connectors_need_what_their_type_needs(void **state) {
    (void)state;
    struct trial trial = {.flags = {{"--set", "connectors.b.type", "opensearch"},
                                    {"--set", "connectors.b.url", "http://h"}}};
    trial_load(&trial, DATABASE "connectors:\n"
                                "  - {name: a, type: opensearch, table: t}\n");
    assert_mistakes(&trial, MISTAKES("f.yml:3:5: connectors[0]: has no url",
                                     "--set: connectors[1]: has no table"));
    trial_end(&trial);
}

static void secrets_are_not_shown(void **state) {
    (void)state;
    static const struct {
        const char *path;
        const char *text;
        const char *shown;
    } cases[] = {
        {"database.url", "postgres://app:s3cr:t@h/d", "postgres://app:***@h/d"},
        {"database.url", "postgres://app@h/d", "postgres://app@h/d"},
        {"database.url", "host=h password=x", "***"},
        {"cache.password", "x", "***"},
        {"cache.ttl", "5m", "5m"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        config_show(&options[option_find(cases[i].path)], cases[i].text, &out);
        assert_string_equal(buf_text(&out), cases[i].shown);
        buf_deinit(&out);
    }
}

static void an_option_has_its_name_in_the_environment(void **state) {
    (void)state;
    char name[OPTION_ENVIRONMENT_MAX];
    option_environment_name(&options[option_find("cdc.kafka.delivery")], name);
    assert_string_equal(name, "FRESHET_CDC_KAFKA_DELIVERY");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_alone_runs_the_cache_with_the_defaults),
        cmocka_unit_test(every_option_has_a_row_that_holds_together),
        cmocka_unit_test(roles_follow_from_what_is_configured),
        cmocka_unit_test(a_role_that_lacks_what_it_needs_is_a_mistake),
        cmocka_unit_test(a_flag_beats_the_environment_beats_the_file_beats_the_default),
        cmocka_unit_test(mistakes_of_a_value_that_is_overruled_are_told_too),
        cmocka_unit_test(all_mistakes_of_a_file_are_told_where_they_stand),
        cmocka_unit_test(mistakes_in_named_queries_are_told_where_they_stand),
        cmocka_unit_test(what_is_not_yaml_is_told_with_the_mistakes_before_it),
        cmocka_unit_test(anchors_tags_and_second_documents_are_refused),
        cmocka_unit_test(bytes_that_are_no_characters_are_told_where_they_stand),
        cmocka_unit_test(deep_nesting_and_huge_texts_are_bounded),
        cmocka_unit_test(references_are_expanded),
        cmocka_unit_test(references_that_lead_nowhere_are_mistakes),
        cmocka_unit_test(lists_may_be_written_with_commas),
        cmocka_unit_test(structures_can_be_given_and_amended_on_the_command_line),
        cmocka_unit_test(chosen_columns_are_a_list_or_a_map),
        cmocka_unit_test(wrong_choices_of_columns_are_mistakes),
        cmocka_unit_test(unknown_names_on_the_command_line_are_mistakes),
        cmocka_unit_test(a_listener_beyond_loopback_needs_a_password),
        cmocka_unit_test(a_missing_database_is_a_mistake_unless_plain_keys_alone_are_wanted),
        cmocka_unit_test(connectors_are_checked_together),
        cmocka_unit_test(connectors_need_what_their_type_needs),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(an_option_has_its_name_in_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
