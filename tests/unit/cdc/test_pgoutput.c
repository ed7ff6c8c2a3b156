#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "cdc/decode/pgoutput.h"
#include "recorded.h"

/* ---- hand-made messages ---- */

struct wire {
    struct buf bytes;
};

static void put(struct wire *wire, unsigned size, uint64_t value) {
    for (unsigned i = size; i-- > 0;)
        buf_append_char(&wire->bytes, (char)(value >> (8 * i)));
}

static void put_text(struct wire *wire, const char *text) {
    buf_append(&wire->bytes, text, strlen(text) + 1);
}

static void put_value(struct wire *wire, char kind, const char *text) {
    put(wire, 1, (uint8_t)kind);
    if (kind != 't' && kind != 'b') return;
    put(wire, 4, strlen(text));
    buf_append_text(&wire->bytes, text);
}

static bool decode(struct pgoutput_decoder *decoder, struct wire *wire,
                   struct pgoutput_message *message) {
    bool ok = pgoutput_decode(decoder, buf_slice(&wire->bytes), message);
    return ok;
}

static int create(void **state) {
    *state = pgoutput_create();
    return 0;
}

static int destroy(void **state) {
    struct pgoutput_decoder *decoder = *state;
    pgoutput_destroy(&decoder);
    return 0;
}

static void assert_value(const struct value *value, enum value_kind kind, const char *text) {
    assert_int_equal(value->kind, kind);
    assert_int_equal(value->len, strlen(text));
    assert_memory_equal(value->data, text, value->len);
}

static void begin_tells_xid_commit_lsn_and_time(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'B');
    put(&wire, 8, 0x16B374D848);
    put(&wire, 8, 1000001); /* 2000-01-01 00:00:01.000001 */
    put(&wire, 4, 731);
    struct pgoutput_message m;
    assert_true(decode(*state, &wire, &m));
    assert_int_equal(m.kind, PGOUTPUT_BEGIN);
    assert_int_equal(m.xid, 731);
    assert_true(m.begin.final_lsn == 0x16B374D848);
    assert_true(m.begin.commit_time_us == INT64_C(946684801000001));
    buf_deinit(&wire.bytes);
}

static void update_carries_the_old_key_and_the_new_row(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'U');
    put(&wire, 4, 16385);
    put(&wire, 1, 'K');
    put(&wire, 2, 2);
    put_value(&wire, 't', "1");
    put_value(&wire, 'n', NULL);
    put(&wire, 1, 'N');
    put(&wire, 2, 2);
    put_value(&wire, 't', "2");
    put_value(&wire, 'u', NULL);
    struct pgoutput_message m;
    assert_true(decode(*state, &wire, &m));
    assert_int_equal(m.row.relation_oid, 16385);
    assert_true(m.row.old_is_key);
    assert_value(&m.row.old_row.values[0], VALUE_TEXT, "1");
    assert_value(&m.row.old_row.values[1], VALUE_NULL, "");
    assert_value(&m.row.new_row.values[0], VALUE_TEXT, "2");
    assert_value(&m.row.new_row.values[1], VALUE_UNCHANGED, "");
    buf_deinit(&wire.bytes);
}

static void values_point_into_the_payload(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'I');
    put(&wire, 4, 1);
    put(&wire, 1, 'N');
    put(&wire, 2, 1);
    put_value(&wire, 'b', "abc");
    struct pgoutput_message m;
    assert_true(decode(*state, &wire, &m));
    assert_int_equal(m.row.new_row.values[0].kind, VALUE_BINARY);
    assert_ptr_equal(m.row.new_row.values[0].data, wire.bytes.data + wire.bytes.len - 3);
    buf_deinit(&wire.bytes);
}

static void a_relation_of_the_system_catalog_names_its_schema(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'R');
    put(&wire, 4, 1259);
    put_text(&wire, "");
    put_text(&wire, "pg_class");
    put(&wire, 1, 'n');
    put(&wire, 2, 1);
    put(&wire, 1, 1);
    put_text(&wire, "oid");
    put(&wire, 4, 26);
    put(&wire, 4, 0xffffffff);
    struct pgoutput_message m;
    assert_true(decode(*state, &wire, &m));
    assert_true(slice_equal(m.relation.schema, SLICE("pg_catalog")));
    assert_true(m.relation.columns[0].identity);
    assert_int_equal(m.relation.columns[0].typmod, -1);
    buf_deinit(&wire.bytes);
}

static void truncate_lists_its_relations(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'T');
    put(&wire, 4, 2);
    put(&wire, 1, 3);
    put(&wire, 4, 100);
    put(&wire, 4, 200);
    struct pgoutput_message m;
    assert_true(decode(*state, &wire, &m));
    assert_true(m.truncate.cascade && m.truncate.restart_identity);
    assert_int_equal(pgoutput_truncated(&m, 0), 100);
    assert_int_equal(pgoutput_truncated(&m, 1), 200);
    buf_deinit(&wire.bytes);
}

static void more_columns_than_a_tuple_can_have_are_invalid(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'I');
    put(&wire, 4, 1);
    put(&wire, 1, 'N');
    put(&wire, 2, PGOUTPUT_MAX_COLUMNS + 1);
    for (int i = 0; i <= PGOUTPUT_MAX_COLUMNS; i++)
        put_value(&wire, 'n', NULL);
    struct pgoutput_message m;
    assert_false(decode(*state, &wire, &m));
    wire.bytes.data[7] =
        (char)(PGOUTPUT_MAX_COLUMNS & 0xff); /* one less: as many as there may be */
    wire.bytes.len--;
    assert_true(decode(*state, &wire, &m));
    buf_deinit(&wire.bytes);
}

static void lengths_beyond_the_message_are_invalid(void **state) {
    struct wire wire = {0};
    put(&wire, 1, 'T');
    put(&wire, 4, 0x40000001); /* times four overflows 32 bits */
    put(&wire, 1, 0);
    put(&wire, 4, 100);
    struct pgoutput_message m;
    assert_false(decode(*state, &wire, &m));
    wire.bytes.len = 0;
    put(&wire, 1, 'I');
    put(&wire, 4, 1);
    put(&wire, 1, 'N');
    put(&wire, 2, 1);
    put(&wire, 1, 't');
    put(&wire, 4, 0xffffffff);
    assert_false(decode(*state, &wire, &m));
    buf_deinit(&wire.bytes);
}

static void unknown_types_and_trailing_bytes_are_invalid(void **state) {
    struct pgoutput_message m;
    assert_false(pgoutput_decode(*state, SLICE(""), &m));
    assert_false(pgoutput_decode(*state, SLICE("Z"), &m));
    assert_false(pgoutput_decode(*state, SLICE("E"), &m)); /* stream stop without a start */
    struct wire wire = {0};
    put(&wire, 1, 'B');
    put(&wire, 8, 1);
    put(&wire, 8, 1);
    put(&wire, 4, 1);
    put(&wire, 1, 0);
    assert_false(decode(*state, &wire, &m));
    buf_deinit(&wire.bytes);
}

static void within_a_stream_messages_carry_their_own_xid(void **state) {
    struct wire wire = {0};
    struct pgoutput_message m;
    put(&wire, 1, 'S');
    put(&wire, 4, 700);
    put(&wire, 1, 1);
    assert_true(decode(*state, &wire, &m));
    assert_true(m.stream_start.first_segment);
    wire.bytes.len = 0;
    put(&wire, 1, 'I');
    put(&wire, 4, 701);
    put(&wire, 4, 16385);
    put(&wire, 1, 'N');
    put(&wire, 2, 0);
    assert_true(decode(*state, &wire, &m));
    assert_int_equal(m.xid, 701);
    assert_int_equal(m.row.relation_oid, 16385);
    assert_true(pgoutput_decode(*state, SLICE("E"), &m));
    wire.bytes.len = 0;
    put(&wire, 1, 'A');
    put(&wire, 4, 700);
    put(&wire, 4, 701);
    assert_true(decode(*state, &wire, &m));
    assert_int_equal(m.xid, 700);
    assert_int_equal(m.stream_abort.subxid, 701);
    buf_deinit(&wire.bytes);
}

/* ---- recorded messages ---- */

static void every_recorded_message_decodes(void **state) {
    unsigned seen[PGOUTPUT_STREAM_PREPARE + 1] = {0};
    for (size_t i = 0; i < N_RECORDED; i++) {
        struct buf file = recorded_load(recorded_names[i]);
        struct slice message;
        pgoutput_reset(*state);
        for (size_t at = 0; at < file.len;) {
            struct pgoutput_message m;
            assert_true(recorded_next(buf_slice(&file), &at, &message));
            assert_true(pgoutput_decode(*state, message, &m));
            assert_non_null(pgoutput_kind_name(m.kind));
            seen[m.kind]++;
        }
        buf_deinit(&file);
    }
    for (size_t kind = 0; kind <= PGOUTPUT_STREAM_PREPARE; kind++)
        assert_true(seen[kind] > 0);
}

/* A copy that ends where the message is cut, so that a sanitizer sees a read beyond it. */
static bool decode_cut(struct pgoutput_decoder *decoder, struct slice message, size_t len) {
    char *copy = malloc(len ? len : 1);
    if (len) memcpy(copy, message.data, len);
    struct pgoutput_message m;
    bool ok = pgoutput_decode(decoder, slice_make(copy, len), &m);
    free(copy);
    return ok;
}

static void every_recorded_message_cut_at_any_byte_is_invalid(void **state) {
    for (size_t i = 0; i < N_RECORDED; i++) {
        struct buf file = recorded_load(recorded_names[i]);
        struct slice message;
        pgoutput_reset(*state);
        for (size_t at = 0; at < file.len;) {
            assert_true(recorded_next(buf_slice(&file), &at, &message));
            /* Protocol 4 adds 16 bytes to an older protocol's message. */
            size_t older = *message.data == 'A' && message.len == 25 ? 9 : message.len;
            for (size_t len = 0; len < message.len; len++)
                assert_int_equal(decode_cut(*state, message, len), len == older);
            assert_true(decode_cut(*state, message, message.len));
        }
        buf_deinit(&file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(begin_tells_xid_commit_lsn_and_time, create, destroy),
        cmocka_unit_test_setup_teardown(update_carries_the_old_key_and_the_new_row, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(values_point_into_the_payload, create, destroy),
        cmocka_unit_test_setup_teardown(a_relation_of_the_system_catalog_names_its_schema, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(truncate_lists_its_relations, create, destroy),
        cmocka_unit_test_setup_teardown(more_columns_than_a_tuple_can_have_are_invalid, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(lengths_beyond_the_message_are_invalid, create, destroy),
        cmocka_unit_test_setup_teardown(unknown_types_and_trailing_bytes_are_invalid, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(within_a_stream_messages_carry_their_own_xid, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(every_recorded_message_decodes, create, destroy),
        cmocka_unit_test_setup_teardown(every_recorded_message_cut_at_any_byte_is_invalid, create,
                                        destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
