/* A dead letter holds the whole change: what is read of it is what was written, in one record or in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "cdc/publish/dead_letter.h"

enum { RECORDS_MOST = 64 };

/* The records of a letter. */
struct pile {
    struct arena *arena;
    size_t n;
    struct slice values[RECORDS_MOST];
    size_t longest;
    size_t refuse_beyond; /* 0: nothing */
};

static enum write_result put(void *arg, struct slice key, struct slice value, struct error *err) {
    (void)err;
    struct pile *pile = arg;
    assert_true(key.len > 0);
    if (pile->refuse_beyond && value.len > pile->refuse_beyond) return WRITE_REFUSED;
    assert_true(pile->n < RECORDS_MOST);
    pile->values[pile->n++] = arena_dup(pile->arena, value);
    if (value.len > pile->longest) pile->longest = value.len;
    return WRITE_DONE;
}

static struct value text(const char *data) {
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(data), .data = data};
}

static const struct relation_column columns[] = {
    {.name = "id", .type_oid = 23, .typmod = -1, .identity = true},
    {.name = "a \"quoted\" ß", .type_oid = 25, .typmod = -1},
    {.name = "big", .type_oid = 25, .typmod = 104},
};
static const struct relation relation = {.oid = 4711,
                                         .schema = "public",
                                         .name = "t",
                                         .replica_identity = 'f',
                                         .n_columns = 3,
                                         .columns = columns};

struct scene {
    struct pile pile;
    struct dead_letter letter;
    struct event_source source;
    struct event_order order;
    struct event event;
    struct change change;
    struct value old_row[3], new_row[3];
    char *big;
};

static int setup(void **state) {
    struct scene *s = mem_zalloc(sizeof *s);
    s->pile.arena = arena_create(64 * 1024);
    s->big = mem_zalloc(20001);
    for (size_t i = 0; i < 20000; i++)
        s->big[i] = i % 3 == 0 ? '\xe2' : i % 3 == 1 ? '\x82' : '\xac'; /* € after € */
    s->big[19998] = '\0';
    s->old_row[0] = text("1");
    s->old_row[1] = (struct value){.kind = VALUE_NULL};
    s->old_row[2] = text(s->big);
    s->new_row[0] = text("2");
    s->new_row[1] = text("line\nbreak");
    s->new_row[2] = (struct value){.kind = VALUE_UNCHANGED};
    s->change = (struct change){.operation = CHANGE_UPDATE,
                                .relation = &relation,
                                .row_lsn = 99,
                                .index = 5,
                                .old_row = s->old_row,
                                .new_row = s->new_row};
    s->source = (struct event_source){.xid = 1ULL << 33, .last_lsn = 77, .commit_time_us = 123456};
    s->order = (struct event_order){.total = 4, .in_collection = 2};
    s->event = (struct event){.op = 'u', .lsn = 99, .order = &s->order};
    s->letter = (struct dead_letter){.source = &s->source,
                                     .event = &s->event,
                                     .change = &s->change,
                                     .commit_lsn = 1000,
                                     .key = SLICE("{\"id\":2}"),
                                     .cause = "it \"cannot\" be",
                                     .attempts = 3};
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct scene *s = *state;
    arena_destroy(&s->pile.arena);
    mem_free(s->big);
    mem_free(s);
    return 0;
}

static void same_value(const struct value *a, const struct value *b) {
    assert_int_equal(a->kind, b->kind);
    if (a->kind != VALUE_TEXT) return;
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

/* The first record, with its gaps filled from the others. */
static void read_pile(struct pile *pile, struct dead_letter_parsed *parsed) {
    struct dead_letter_piece piece;
    assert_int_equal(dead_letter_read(pile->values[0], pile->arena, parsed, &piece),
                     DEAD_LETTER_WHOLE);
    size_t at = 1;
    for (size_t gap = 0; gap < parsed->n_gaps; gap++) {
        struct buf whole = {0};
        while (whole.len < parsed->gaps[gap].bytes) {
            struct dead_letter_parsed unused;
            assert_true(at < pile->n);
            assert_int_equal(dead_letter_read(pile->values[at++], pile->arena, &unused, &piece),
                             DEAD_LETTER_PIECE);
            assert_true(slice_equal(piece.position, parsed->position));
            buf_append_slice(&whole, piece.text);
        }
        struct slice copy = arena_dup(pile->arena, buf_slice(&whole));
        *parsed->gaps[gap].value =
            (struct value){.kind = VALUE_TEXT, .len = (uint32_t)copy.len, .data = copy.data};
        buf_deinit(&whole);
    }
    assert_int_equal(at, pile->n);
}

static void same_change(const struct scene *s, const struct dead_letter_parsed *parsed) {
    assert_int_equal(parsed->op, 'u');
    assert_int_equal(parsed->attempts, 3);
    assert_int_equal(parsed->change.operation, CHANGE_UPDATE);
    assert_int_equal(parsed->change.row_lsn, 99);
    assert_int_equal(parsed->change.index, 5);
    assert_int_equal(parsed->tx.commit_lsn, 1000);
    assert_true(parsed->tx.xid == 1ULL << 33);
    assert_int_equal(parsed->tx.commit_time_us, 123456);
    assert_int_equal(parsed->last_lsn, 77);
    assert_int_equal(parsed->order.total, 4);
    assert_int_equal(parsed->order.in_collection, 2);
    assert_string_equal(parsed->relation.schema, "public");
    assert_int_equal(parsed->relation.oid, 4711);
    assert_int_equal(parsed->relation.replica_identity, 'f');
    assert_int_equal(parsed->relation.n_columns, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(parsed->relation.columns[i].name, columns[i].name);
        assert_int_equal(parsed->relation.columns[i].type_oid, columns[i].type_oid);
        assert_int_equal(parsed->relation.columns[i].typmod, columns[i].typmod);
        assert_int_equal(parsed->relation.columns[i].identity, columns[i].identity);
        same_value(&parsed->change.old_row[i], &s->old_row[i]);
        same_value(&parsed->change.new_row[i], &s->new_row[i]);
    }
}

static void a_change_fits_into_one_record(void **state) {
    struct scene *s = *state;
    struct error err;
    struct dead_letter_parsed parsed;
    assert_int_equal(dead_letter_write(&s->letter, DEAD_LETTER_BYTES, put, &s->pile, &err),
                     WRITE_DONE);
    assert_int_equal(s->pile.n, 1);
    read_pile(&s->pile, &parsed);
    same_change(s, &parsed);
}

static void a_large_value_comes_in_pieces_of_whole_characters(void **state) {
    struct scene *s = *state;
    struct error err;
    struct dead_letter_parsed parsed;
    assert_int_equal(dead_letter_write(&s->letter, DEAD_LETTER_SMALL_BYTES, put, &s->pile, &err),
                     WRITE_DONE);
    assert_true(s->pile.n > 4);
    assert_true(s->pile.longest < DEAD_LETTER_SMALL_BYTES);
    read_pile(&s->pile, &parsed);
    assert_int_equal(parsed.n_gaps, 1);
    same_change(s, &parsed);
}

static void a_refusal_is_told_at_once(void **state) {
    struct scene *s = *state;
    struct error err;
    s->pile.refuse_beyond = DEAD_LETTER_SMALL_BYTES;
    assert_int_equal(dead_letter_write(&s->letter, DEAD_LETTER_BYTES, put, &s->pile, &err),
                     WRITE_REFUSED);
    assert_int_equal(s->pile.n, 0);
}

static void a_logical_message_is_read_back_byte_for_byte(void **state) {
    struct scene *s = *state;
    struct error err;
    struct dead_letter_parsed parsed;
    struct buf content = {0};
    s->event.op = 'm';
    s->change = (struct change){.operation = CHANGE_MESSAGE,
                                .transactional = true,
                                .message_prefix = SLICE("p"),
                                .message_content = slice_make(s->big, 20000)};
    assert_int_equal(dead_letter_write(&s->letter, DEAD_LETTER_SMALL_BYTES, put, &s->pile, &err),
                     WRITE_DONE);
    read_pile(&s->pile, &parsed);
    assert_true(dead_letter_settle(&parsed, &content));
    assert_true(parsed.change.transactional);
    assert_true(slice_equal(parsed.change.message_prefix, SLICE("p")));
    assert_true(slice_equal(parsed.change.message_content, slice_make(s->big, 20000)));
    buf_deinit(&content);
}

static void what_an_older_freshet_wrote_is_malformed(void **state) {
    struct scene *s = *state;
    struct dead_letter_parsed parsed;
    struct dead_letter_piece piece;
    assert_int_equal(
        dead_letter_read(SLICE("{\"cause\":\"c\",\"op\":\"u\",\"schema\":\"s\",\"table\":\"t\","
                               "\"key\":null,\"lsn\":1,\"txId\":1,\"ts_us\":1,\"before\":null,"
                               "\"after\":{\"id\":\"1\"}}"),
                         s->pile.arena, &parsed, &piece),
        DEAD_LETTER_MALFORMED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_fits_into_one_record, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_value_comes_in_pieces_of_whole_characters, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_logical_message_is_read_back_byte_for_byte, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_an_older_freshet_wrote_is_malformed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
