/* Two JSON texts that say the same have one digest, and others have not. */
#include "connectors/document/json_digest.h"

#include "rows.h"

static uint64_t digest_of(const char *text) {
    uint64_t digest = 0;
    if (!json_digest(slice_from(text), &digest)) fail_msg("not taken: %s", text);
    return digest;
}

#define SAME(a, b)  assert_true(digest_of(a) == digest_of(b))
#define OTHER(a, b) assert_true(digest_of(a) != digest_of(b))

static void what_says_the_same_is_the_same(void **state) {
    (void)state;
    SAME("{\"a\":1,\"b\":[1,2]}", " { \"b\" : [ 1 , 2 ] ,\n\t\"a\" : 1 } ");
    SAME("{\"a\":\"\\u00e9\\/\\n\"}", "{\"a\":\"\xc3\xa9/\\u000a\"}");
    SAME("{\"a\\u0062\":1}", "{\"ab\":1}");
    SAME("{}", "{\"added later\":null}");
    SAME("{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"y\":2,\"x\":1}}");
}

static void what_says_something_else_is_not(void **state) {
    (void)state;
    OTHER("{\"a\":1}", "{\"a\":2}");
    OTHER("{\"a\":1}", "{\"b\":1}");
    OTHER("{\"a\":1}", "{\"a\":\"1\"}");
    OTHER("{\"a\":1}", "{\"a\":1.0}");
    OTHER("{\"a\":123456789012345678901234567890.1}", "{\"a\":123456789012345678901234567890.2}");
    OTHER("{\"a\":[1,2]}", "{\"a\":[2,1]}");
    OTHER("{\"a\":[[1],2]}", "{\"a\":[[1,2]]}");
    OTHER("{\"a\":[]}", "{\"a\":{}}");
    OTHER("{\"a\":[null]}", "{\"a\":[]}");
    OTHER("{\"a\":{\"x\":null}}", "{\"a\":{}}");
    OTHER("{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}");
    OTHER("{\"a\":\"null\"}", "{\"a\":null}");
    OTHER("\"a b\"", "\"ab\"");
}

static void what_is_no_json_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",      " ",          "{",   "{\"a\"}", "{\"a\":}", "{\"a\":1",       "[1",
        "[1 2]", "{\"a\":1,}", "\"a", "1 2",     "{a:1}",    "{\"a\":\"\\q\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        uint64_t digest;
        if (json_digest(slice_from(texts[i]), &digest)) fail_msg("taken: %s", texts[i]);
    }
}

static void what_nests_deeper_than_anybody_does_is_taken(void **state) {
    (void)state;
    char deep[20001];
    memset(deep, '[', 10000);
    memset(deep + 10000, ']', 10000);
    deep[20000] = '\0';
    (void)digest_of(deep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_says_the_same_is_the_same),
        cmocka_unit_test(what_says_something_else_is_not),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(what_nests_deeper_than_anybody_does_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
