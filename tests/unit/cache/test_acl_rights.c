/* ACL's rules: what they make, how they are shown back, and what is permitted by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "cache/access/acl_rights.h"
#include "cache/access/categories.h"
#include "cache/access/keyuse.h"

struct scene {
    struct command_ids *ids;
    struct command_table *table;
    struct acl_rights *rights;
};

static int setup(void **state) {
    struct scene *s = mem_zalloc(sizeof *s);
    s->ids = command_ids_create();
    s->table = command_table_create();
    s->rights = acl_rights_create(false);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct scene *s = *state;
    acl_rights_release(&s->rights);
    command_table_destroy(&s->table);
    command_ids_destroy(&s->ids);
    mem_free(s);
    return 0;
}

/* The next of the words that spaces part; false: there is none. */
static bool next_word(const char **at, struct slice *word) {
    *at += strspn(*at, " ");
    size_t len = strcspn(*at, " ");
    *word = slice_make(*at, len);
    *at += len;
    return len > 0;
}

/* The first complaint, or NULL. */
static const char *apply(struct scene *s, const char *rules) {
    struct slice rule;
    const char *why;
    while (next_word(&rules, &rule))
        if (!acl_rights_apply(s->rights, s->ids, rule, false, &why)) return why;
    return NULL;
}

static void shows(struct scene *s, const char *rules, const char *expected) {
    struct buf text = {0};
    assert_null(apply(s, rules));
    acl_rights_describe(s->rights, s->ids, &text);
    assert_string_equal(buf_text(&text), expected);
    buf_deinit(&text);
}

static enum acl_verdict check(struct scene *s, const char *request, uint32_t *at) {
    struct slice argv[16];
    uint32_t argc = 0;
    while (next_word(&request, &argv[argc]))
        argc++;
    const struct command *command = command_find(s->table, argv[0]);
    assert_non_null(command);
    if (command->subcommands && argc > 1) command = command_find_sub(command, argv[1]);
    assert_non_null(command);
    return acl_rights_check(s->rights, s->ids, command, argv, argc, at);
}

static void verdict(struct scene *s, const char *request, enum acl_verdict expected) {
    uint32_t at;
    assert_int_equal(check(s, request, &at), expected);
}

static void a_new_user_may_nothing(void **state) {
    struct scene *s = *state;
    shows(s, "", "off resetchannels -@all");
    verdict(s, "get k", ACL_DENIED_COMMAND);
    verdict(s, "auth p", ACL_PERMITTED); /* or nobody could become somebody else */
    assert_false(acl_rights_are_all(s->rights));
}

static void all_rights_need_no_check(void **state) {
    struct scene *s = *state;
    shows(s, "on nopass ~* &* +@all", "on nopass ~* &* +@all");
    assert_true(acl_rights_are_all(s->rights));
    assert_null(apply(s, "-debug"));
    assert_false(acl_rights_are_all(s->rights));
    verdict(s, "debug sleep 1", ACL_DENIED_COMMAND);
    verdict(s, "get k", ACL_PERMITTED);
}

static void rules_are_shown_back_in_their_shortest_words(void **state) {
    struct scene *s = *state;
    shows(s, "on +@string -get", "on resetchannels -@all +@string -get");
    shows(s, "reset +@all -@dangerous", "off sanitize-payload resetchannels +@all -@dangerous");
    shows(s, "reset +config|get", "off sanitize-payload resetchannels -@all +config|get");
    shows(s, "+config", "off sanitize-payload resetchannels -@all +config");
    shows(s, "-config|set", "off sanitize-payload resetchannels -@all +config -config|set");
    shows(s, "nocommands +select|0", "off sanitize-payload resetchannels -@all +select|0");
    shows(s, "+select", "off sanitize-payload resetchannels -@all +select");
}

static void each_category_is_shown_as_itself(void **state) {
    struct scene *s = *state;
    for (uint32_t i = 0; i < CATEGORIES; i++) {
        char *rules = mem_printf("reset +@all -@%s", category_names[i]);
        char *expected = mem_printf("+@all -@%s", category_names[i]);
        struct buf text = {0};
        assert_null(apply(s, rules));
        acl_rights_describe_commands(s->rights, s->ids, &text);
        assert_string_equal(buf_text(&text), expected);
        buf_deinit(&text);
        mem_free(rules);
        mem_free(expected);
    }
}

/* What is shown makes the same user again. */
static void a_description_is_a_rule(void **state) {
    struct scene *s = *state;
    static const char *const rules[] = {
        "on >a >b ~x:* %R~y &c +@read -get +config|get +select|0",
        "off nopass ~* allchannels +@all -@admin +config -config|set -debug +debug|sleep",
        "on skip-sanitize-payload %W~w %R~r %RW~b &* +@hash +@list -hset",
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct buf first = {0}, second = {0};
        assert_null(apply(s, "reset"));
        assert_null(apply(s, rules[i]));
        acl_rights_describe(s->rights, s->ids, &first);
        assert_null(apply(s, "reset"));
        assert_null(apply(s, buf_text(&first)));
        acl_rights_describe(s->rights, s->ids, &second);
        /* `reset` has said sanitize-payload by itself */
        assert_non_null(strstr(buf_text(&second), buf_text(&first) + 4));
        buf_deinit(&first);
        buf_deinit(&second);
    }
}

static void a_wrong_rule_is_worded_as_redis_words_it(void **state) {
    struct scene *s = *state;
    static const char *const wrong[][2] = {
        {"nonsense", "Syntax error"},
        {"+nothing", "Unknown command or category name in ACL"},
        {"-@nothing", "Unknown command or category name in ACL"},
        {"+config|nothing", "Unknown command or category name in ACL"},
        {"+config|get|x", "Allowing first-arg of a subcommand is not supported"},
        {"+get|", "Syntax error"},
        {"-get|x", "Unknown command or category name in ACL"},
        {"%~x", "Syntax error"},
        {"%Q~x", "Syntax error"},
        {"#abc", "The password hash must be exactly 64 characters and contain only lowercase "
                 "hexadecimal characters"},
        {"<x", "The password you are trying to remove from the user does not exist"},
        {"(+get", "Selectors are not supported: give these rights to a user of their own"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_string_equal(apply(s, wrong[i][0]), wrong[i][1]);
    assert_non_null(strstr(apply(s, "~* ~x"), "Adding a pattern after the * pattern"));
    assert_non_null(strstr(apply(s, "&* &x"), "Adding a pattern after the * pattern"));
}

static void keys_are_checked_by_what_is_done_with_them(void **state) {
    struct scene *s = *state;
    uint32_t at;
    assert_null(apply(s, "+@all %R~r* %W~w* ~b*"));
    verdict(s, "get r1", ACL_PERMITTED);
    verdict(s, "set r1 v", ACL_DENIED_KEY);
    verdict(s, "set w1 v", ACL_PERMITTED);
    verdict(s, "set w1 v get", ACL_DENIED_KEY);
    verdict(s, "get w1", ACL_DENIED_KEY);
    verdict(s, "exists w1 r1 b1", ACL_PERMITTED); /* tells of no data */
    verdict(s, "copy r1 w1", ACL_PERMITTED);
    verdict(s, "copy w1 r1", ACL_DENIED_KEY);
    verdict(s, "getdel b1", ACL_PERMITTED);
    verdict(s, "getdel w1", ACL_DENIED_KEY);
    verdict(s, "ping", ACL_PERMITTED);
    assert_int_equal(check(s, "mset w1 v r1 v", &at), ACL_DENIED_KEY);
    assert_int_equal(at, 3);
}

static void first_arguments_open_a_command_that_is_closed(void **state) {
    struct scene *s = *state;
    assert_null(apply(s, "+select|0 +select|2"));
    verdict(s, "select 0", ACL_PERMITTED);
    verdict(s, "select 2", ACL_PERMITTED);
    verdict(s, "select 1", ACL_DENIED_COMMAND);
    assert_null(apply(s, "-select"));
    verdict(s, "select 0", ACL_DENIED_COMMAND);
}

static void channels_are_matched_and_patterns_word_by_word(void **state) {
    struct scene *s = *state;
    assert_null(apply(s, "+@all &news.* &a"));
    assert_true(acl_rights_has_channel(s->rights, SLICE("news.sport"), false));
    assert_false(acl_rights_has_channel(s->rights, SLICE("b"), false));
    assert_true(acl_rights_has_channel(s->rights, SLICE("news.*"), true));
    assert_false(acl_rights_has_channel(s->rights, SLICE("news.s*"), true));

    struct acl_rights *fewer = acl_rights_copy(s->rights);
    const char *why;
    assert_true(acl_rights_apply(fewer, s->ids, SLICE("resetchannels"), false, &why));
    assert_true(acl_rights_apply(fewer, s->ids, SLICE("&a"), false, &why));
    assert_true(acl_rights_cover_channels(s->rights, fewer));
    assert_false(acl_rights_cover_channels(fewer, s->rights));
    acl_rights_release(&fewer);
}

static void passwords_are_kept_as_hashes(void **state) {
    struct scene *s = *state;
    static const char hash[] = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90";
    assert_null(apply(s, ">alice"));
    assert_int_equal(acl_rights_passwords(s->rights), 1);
    assert_true(slice_equal(acl_rights_password(s->rights, 0), slice_from(hash)));
    assert_true(acl_rights_take_password(s->rights, SLICE("alice")));
    assert_false(acl_rights_take_password(s->rights, SLICE("alic")));
    assert_null(apply(s, "<alice"));
    assert_false(acl_rights_take_password(s->rights, SLICE("alice")));
    assert_null(apply(s, "nopass"));
    assert_true(acl_rights_take_password(s->rights, SLICE("anything")));
    assert_null(apply(s, ">bob"));
    assert_false(acl_rights_take_password(s->rights, SLICE("anything")));
}

/* A name in the table of uses that no command has would be a slip of the pen. */
static void every_key_use_is_of_some_command(void **state) {
    struct scene *s = *state;
    struct slice argv[] = {SLICE("x"), SLICE("k"), SLICE("v")};
    for (uint32_t id = 0; id < command_ids_count(s->ids); id++) {
        const struct command *command = command_of_id(s->ids, id);
        uint32_t use = key_use(command, command_parent_of_id(s->ids, id), 0, argv, 3);
        if (!command_has_keys(command) || command->flags & CMD_REFUSED) continue;
        assert_int_equal(__builtin_popcount(use & (KEY_RO | KEY_RW | KEY_OW | KEY_RM)), 1);
        if (use & KEY_CHANGES) assert_true(command->flags & CMD_WRITE);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_new_user_may_nothing),
        TEST(all_rights_need_no_check),
        TEST(rules_are_shown_back_in_their_shortest_words),
        TEST(each_category_is_shown_as_itself),
        TEST(a_description_is_a_rule),
        TEST(a_wrong_rule_is_worded_as_redis_words_it),
        TEST(keys_are_checked_by_what_is_done_with_them),
        TEST(first_arguments_open_a_command_that_is_closed),
        TEST(channels_are_matched_and_patterns_word_by_word),
        TEST(passwords_are_kept_as_hashes),
        TEST(every_key_use_is_of_some_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
