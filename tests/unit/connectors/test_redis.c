/* Where a row stands in a Redis, and what is remembered of that. */
#include "connectors/redis/entry.h"
#include "connectors/redis/layout.h"
#include "rows.h"

/* public.users(id, country, score, at), key id. */
static struct shape *players_shape(enum value_class score) {
    const struct shape_column columns[] = {{"id", CLASS_LONG, false, NULL, NULL},
                                           {"country", CLASS_TEXT, false, NULL, NULL},
                                           {"score", score, false, NULL, NULL}};
    static const uint16_t keys[] = {0};
    return shape_create("public", "users", 3, columns, 1, keys);
}

static struct layout *bound(const struct layout_config *config, enum value_class score) {
    struct error err = {0};
    struct layout *layout = layout_create(config, &err);
    assert_non_null(layout);
    struct shape *shape = players_shape(score);
    bool fits = layout_bind(layout, shape, &err);
    shape_release(&shape);
    if (!fits) layout_destroy(&layout);
    return layout;
}

static void a_key_holds_its_columns(void **state) {
    (void)state;
    struct place place = {0};
    struct layout *layout = bound(&(struct layout_config){.key = "users:{id}"}, CLASS_DOUBLE);
    assert_int_equal(layout_place(layout, SLICE("7"), ROW(V("7"), V("D:E"), V(NULL)), &place),
                     LAYOUT_PLACED);
    assert_slice(buf_slice(&place.key), "users:7");
    assert_int_equal(place.member.len, 0);
    layout_destroy(&layout);
    layout = bound(&(struct layout_config){.key = "{country}:{id}/x", .as = "hash"}, CLASS_DOUBLE);
    assert_int_equal(layout_place(layout, SLICE("7"), ROW(V("7"), V("D:%E"), V(NULL)), &place),
                     LAYOUT_PLACED);
    assert_slice(buf_slice(&place.key), "D%3A%25E:7/x");
    assert_int_equal(layout_place(layout, SLICE("7"), ROW(V("7"), V(NULL), V(NULL)), &place),
                     LAYOUT_NOWHERE);
    layout_destroy(&layout);
    place_deinit(&place);
}

static void a_member_of_a_sorted_set_has_its_score(void **state) {
    (void)state;
    static const struct {
        enum value_class class;
        const char *text;
        const char *score;
        enum layout_result result;
    } cases[] = {
        {CLASS_DOUBLE, "7.25", "7.25", LAYOUT_PLACED},
        {CLASS_DOUBLE, "Infinity", "+inf", LAYOUT_PLACED},
        {CLASS_DOUBLE, "-Infinity", "-inf", LAYOUT_PLACED},
        {CLASS_NUMERIC, "NaN", "NaN", LAYOUT_NO_SCORE},
        {CLASS_DOUBLE, NULL, "", LAYOUT_NOWHERE},
        {CLASS_DATE, "1970-01-02", "86400", LAYOUT_PLACED},
        {CLASS_DATE, "infinity", "+inf", LAYOUT_PLACED},
        {CLASS_TIMESTAMP, "-infinity", "-inf", LAYOUT_PLACED},
        {CLASS_TIMESTAMPTZ, "2026-11-21 07:41:07.5+00", "1795246867.500000", LAYOUT_PLACED},
        {CLASS_TIMESTAMPTZ, "soon", "soon", LAYOUT_NO_SCORE},
    };
    struct place place = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct layout *layout = bound(&(struct layout_config){.as = "sorted-set",
                                                              .key = "by_country:{country}",
                                                              .score = "score"},
                                      cases[i].class);
        assert_int_equal(
            layout_place(layout, SLICE("7"), ROW(V("7"), V("D:E"), V(cases[i].text)), &place),
            cases[i].result);
        assert_slice(buf_slice(&place.key), "by_country:D:E");
        assert_slice(buf_slice(&place.member), "7");
        assert_slice(buf_slice(&place.score), cases[i].score);
        layout_destroy(&layout);
    }
    place_deinit(&place);
}

static void dates_are_seconds_since_1970(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *seconds; /* as `SELECT extract(epoch FROM ...)` says; NULL: none */
    } cases[] = {
        {"1970-01-01", "0"},
        {"2000-02-29", "951782400"},
        {"1969-12-31 23:59:59", "-1"},
        {"1969-12-31 23:59:59.25", "-0.750000"},
        {"2026-11-21 07:41:07+05:30", "1795227067"},
        {"2026-11-21 07:41:07-08", "1795275667"},
        {"0044-03-15 BC", "-63517824000"},
        {"0001-01-01 00:00:00+00 BC", "-62167219200"},
        {"10000-01-01", "253402300800"},
        {"", NULL},
        {"2026", NULL},
        {"2026-11-21x", NULL},
        {"2026-11-21 07:41", NULL},
        {"2026-11-21 07:41:07+", NULL},
        {"2026-13-01", NULL},
        {"12345678901-01-01", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        bool read = layout_epoch(slice_from(cases[i].text), &out);
        assert_int_equal(read, cases[i].seconds != NULL);
        if (read) assert_string_equal(buf_text(&out), cases[i].seconds);
        buf_deinit(&out);
    }
}

static void what_does_not_go_together_is_refused(void **state) {
    (void)state;
    static const struct layout_config malformed[] = {
        {.key = ""},
        {.key = "users:{id"},
        {.key = "users:id}"},
        {.key = "users:{}"},
        {.key = "users:{a{b}}"},
        {.key = "users:{id}", .as = "list"},
        {.key = "users:{id}", .member = "{id}"},
        {.key = "users:{id}", .score = "score"},
        {.key = "users", .as = "sorted-set"},
    };
    struct error err;
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        assert_null(layout_create(&malformed[i], &err));
    static const struct layout_config unfit[] = {
        {.key = "users:{nobody}"},
        {.key = "users:{country}"}, /* rows would overwrite one another */
        {.key = "users", .as = "set", .member = "{country}"},
        {.key = "users", .as = "sorted-set", .score = "country"},
    };
    for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++)
        assert_null(bound(&unfit[i], CLASS_DOUBLE));
}

static void an_entry_is_read_as_it_was_written(void **state) {
    (void)state;
    static const struct entry entries[] = {
        {ENTRY_KEY, 0x16B374D848, SLICE("users:42"), {0}},
        {ENTRY_SORTED_SET, UINT64_MAX, SLICE("by country:D 7 E"), SLICE("4 2")},
        {ENTRY_SET, 0, SLICE("s"), SLICE("")},
    };
    struct buf out = {0};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        struct entry read;
        out.len = 0;
        entry_write(&out, &entries[i]);
        assert_true(entry_read(buf_slice(&out), &read));
        assert_int_equal(read.kind, entries[i].kind);
        assert_true(read.version == entries[i].version);
        assert_true(slice_equal(read.key, entries[i].key));
        assert_true(slice_equal(read.member, entries[i].member));
    }
    buf_deinit(&out);
}

static void what_is_no_entry_is_told(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",        "k",      "k1",      "k1 ",   "k1 2 a", "x1 1 a", "k01 1 a",
        "k1 1 ab", "kg 1 a", "k1 -1 a", "k 1 a", "z1 2 a", "k1 1",   "k11111111111111111 1 a",
    };
    struct entry entry;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(entry_read(slice_from(wrong[i]), &entry));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_holds_its_columns),
        cmocka_unit_test(a_member_of_a_sorted_set_has_its_score),
        cmocka_unit_test(dates_are_seconds_since_1970),
        cmocka_unit_test(what_does_not_go_together_is_refused),
        cmocka_unit_test(an_entry_is_read_as_it_was_written),
        cmocka_unit_test(what_is_no_entry_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
