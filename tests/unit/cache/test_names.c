#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/signals/names.h"

enum { THINGS = 1000 };

struct thing {
    struct named named;
    char text[16];
    bool seen;
};

static struct thing *things_make(struct names *names) {
    struct thing *things = mem_calloc(THINGS, sizeof *things);
    names_init(names, 7);
    for (int i = 0; i < THINGS; i++) {
        int len = snprintf(things[i].text, sizeof things[i].text, "thing%d", i);
        things[i].named.name = slice_make(things[i].text, (size_t)len);
        names_add(names, &things[i].named);
    }
    return things;
}

static void a_thing_is_found_by_its_name_until_it_is_removed(void **state) {
    (void)state;
    struct names names;
    struct thing *things = things_make(&names);
    assert_int_equal(names.n, THINGS);
    for (int i = 0; i < THINGS; i++)
        assert_ptr_equal(names_find(&names, slice_from(things[i].text)), &things[i].named);
    assert_null(names_find(&names, SLICE("none")));
    assert_null(names_find(&names, SLICE("")));
    for (int i = 0; i < THINGS; i += 2)
        names_remove(&names, &things[i].named);
    for (int i = 0; i < THINGS; i++)
        assert_ptr_equal(names_find(&names, slice_from(things[i].text)),
                         i % 2 ? &things[i].named : NULL);
    for (int i = 1; i < THINGS; i += 2)
        names_remove(&names, &things[i].named);
    assert_int_equal(names.n, 0);
    assert_null(names.buckets); /* an empty table takes nothing */
    mem_free(things);
}

static void a_walk_visits_each_thing_once(void **state) {
    (void)state;
    struct names names;
    struct thing *things = things_make(&names);
    uint32_t n = 0;
    for (struct named *at = NULL; (at = names_next(&names, at)); n++) {
        struct thing *thing = (struct thing *)at;
        assert_false(thing->seen);
        thing->seen = true;
    }
    assert_int_equal(n, THINGS);
    names_deinit(&names);
    assert_null(names_next(&names, NULL));
    mem_free(things);
}

static void a_walk_may_remove_what_it_has_left(void **state) {
    (void)state;
    struct names names;
    struct thing *things = things_make(&names);
    uint32_t n = 0;
    for (struct named *at = names_next(&names, NULL); at; n++) {
        struct named *next = names_next(&names, at);
        names_remove(&names, at);
        at = next;
    }
    assert_int_equal(n, THINGS);
    mem_free(things);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thing_is_found_by_its_name_until_it_is_removed),
        cmocka_unit_test(a_walk_visits_each_thing_once),
        cmocka_unit_test(a_walk_may_remove_what_it_has_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
