/* Strings as rows of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Numbers in them are in cmd_bitfield.c. */
#include <string.h>

#include "cache/commands/cmd.h"
#include "cache/signals/notify.h"
#include "cache/values/bits.h"
#include "cache/values/number.h"

static bool parse_offset(struct command_context *ctx, struct slice text, uint64_t *offset) {
    int64_t value;
    if (number_parse_i64(text, &value) && value >= 0 && value >> 3 < STRING_MAX_BYTES) {
        *offset = (uint64_t)value;
        return true;
    }
    reply_error(ctx->reply, "ERR bit offset is not an integer or out of range");
    return false;
}

static void cmd_getbit(struct command_context *ctx) {
    uint64_t offset;
    struct key_value value;
    if (!parse_offset(ctx, ctx->argv[2], &offset)) return;
    if (cmd_read(ctx, ctx->argv[1], FORM_STRING, &value, cmd_answer_zero))
        reply_integer(ctx->reply, bits_at(value.string, offset));
}

/* A bit that is what it shall be, within the string, changes nothing: no copy is made of it. */
static void cmd_setbit(struct command_context *ctx) {
    uint64_t offset;
    int64_t bit;
    if (!parse_offset(ctx, ctx->argv[2], &offset)) return;
    if (!number_parse_i64(ctx->argv[3], &bit) || (bit & ~INT64_C(1))) {
        reply_error(ctx->reply, "ERR bit is not an integer or out of range");
        return;
    }
    uint64_t hash;
    struct entry *old;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    struct slice before = old ? entry_string(old) : SLICE("");
    bool was = bits_at(before, offset);
    size_t byte = offset >> 3;
    bool changes = byte >= before.len || was != bit;
    if (changes || !(old->flags & ENTRY_RAW)) { /* it is "raw" from here on in any case */
        char *string;
        struct entry *entry = cmd_string_grown(ctx, hash, old, byte + 1, &string);
        if (!entry) return;
        entry->flags |= ENTRY_RAW;
        bits_set(string, offset, (struct bits_type){.width = 1}, bit);
        bool kept = changes ? store_put(ctx->store, ctx->guard, &entry)
                            : store_put_alike(ctx->store, ctx->guard, &entry);
        if (!kept) {
            cmd_answer_oom(ctx->reply);
            return;
        }
        if (changes) cmd_notify(ctx, NOTIFY_STRING, "setbit", ctx->argv[1]);
    }
    reply_integer(ctx->reply, was);
}

/* --- ranges --- */

struct bit_range {
    int64_t first, last; /* bits; first > last: empty */
};

/* BIT or BYTE, the unit of a range. False after an error reply. */
static bool parse_unit(struct command_context *ctx, struct slice word, bool *bits) {
    *bits = slice_equal_nocase(word, SLICE("bit"));
    if (*bits || slice_equal_nocase(word, SLICE("byte"))) return true;
    reply_syntax_error(ctx->reply);
    return false;
}

/* From `start` to `end` in bits or bytes, both included, negative ones counted from the end. */
static struct bit_range range_of(struct slice string, int64_t start, int64_t end, bool bits) {
    int64_t len = (int64_t)string.len * (bits ? 8 : 1);
    if (start < 0) start += len;
    if (end < 0) end += len;
    if (start < 0) start = 0;
    if (end < 0) end = 0;
    if (end >= len) end = len - 1;
    if (start > end) return (struct bit_range){1, 0};
    return bits ? (struct bit_range){start, end} : (struct bit_range){start * 8, end * 8 + 7};
}

/* Redis looks at the words in this order, and only where the key is there. */
static bool parse_count_range(struct command_context *ctx, struct slice string,
                              struct bit_range *range) {
    int64_t start = 0;
    int64_t end = -1;
    bool bits = false;
    *range = (struct bit_range){1, 0};
    if (ctx->argc != 2 && ctx->argc != 4 && ctx->argc != 5) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    if (ctx->argc > 2) {
        if (!cmd_integer(ctx, ctx->argv[2], &start)) return false;
        if (!cmd_integer(ctx, ctx->argv[3], &end)) return false;
        if (start < 0 && end < 0 && start > end) return true;
        if (ctx->argc == 5 && !parse_unit(ctx, ctx->argv[4], &bits)) return false;
    }
    *range = range_of(string, start, end, bits);
    return true;
}

static void cmd_bitcount(struct command_context *ctx) {
    struct key_value value;
    struct bit_range range;
    if (!cmd_read(ctx, ctx->argv[1], FORM_STRING, &value, cmd_answer_zero)) return;
    if (!parse_count_range(ctx, value.string, &range)) return;
    uint64_t count = 0;
    if (range.first <= range.last)
        count = bits_count(value.string, (uint64_t)range.first, (uint64_t)range.last);
    reply_integer(ctx->reply, (int64_t)count);
}

static void answer_nothing(struct reply *reply) { (void)reply; }

static bool parse_position_range(struct command_context *ctx, struct slice string,
                                 struct bit_range *range) {
    int64_t start = 0;
    int64_t end = -1;
    bool bits = false;
    if (ctx->argc > 6) {
        reply_syntax_error(ctx->reply);
        return false;
    }
    if (ctx->argc > 3 && !cmd_integer(ctx, ctx->argv[3], &start)) return false;
    if (ctx->argc > 5 && !parse_unit(ctx, ctx->argv[5], &bits)) return false;
    if (ctx->argc > 4 && !cmd_integer(ctx, ctx->argv[4], &end)) return false;
    *range = range_of(string, start, end, bits);
    return true;
}

/* Without an end the string goes on in zeros: the first of them is found behind it. */
static void answer_position(struct command_context *ctx, struct slice string, bool wanted) {
    struct bit_range range;
    if (!parse_position_range(ctx, string, &range)) return;
    int64_t found = -1;
    if (range.first <= range.last) {
        found = bits_find(string, (uint64_t)range.first, (uint64_t)range.last, wanted);
        if (found < 0 && !wanted && ctx->argc < 5) found = range.last + 1;
    }
    reply_integer(ctx->reply, found);
}

static void cmd_bitpos(struct command_context *ctx) {
    int64_t wanted;
    struct key_value value;
    if (!cmd_integer(ctx, ctx->argv[2], &wanted)) return;
    if (wanted != 0 && wanted != 1) {
        reply_error(ctx->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    size_t mark = ctx->reply->out->len;
    if (cmd_read(ctx, ctx->argv[1], FORM_STRING, &value, answer_nothing))
        answer_position(ctx, value.string, wanted);
    else if (ctx->n_pending == 0 && ctx->reply->out->len == mark)
        reply_integer(ctx->reply, wanted ? -1 : 0);
}

/* --- BITOP --- */

static bool parse_operation(struct command_context *ctx, enum bits_operation *operation) {
    static const struct slice words[] = {[BITS_AND] = SLICE("and"),
                                         [BITS_OR] = SLICE("or"),
                                         [BITS_XOR] = SLICE("xor"),
                                         [BITS_NOT] = SLICE("not")};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!slice_equal_nocase(ctx->argv[1], words[i])) continue;
        *operation = (enum bits_operation)i;
        if (*operation != BITS_NOT || ctx->argc == 4) return true;
        reply_error(ctx->reply, "ERR BITOP NOT must be called with a single source key.");
        return false;
    }
    reply_syntax_error(ctx->reply);
    return false;
}

/* The string of a source key; an empty one, without data, where it is absent. False after WRONGTYPE. */
static bool source(struct command_context *ctx, uint32_t i, struct slice *string) {
    uint64_t hash;
    struct entry *entry;
    if (!cmd_find_kind(ctx, ctx->argv[i], ENTRY_STRING, &hash, &entry)) return false;
    *string = entry ? entry_string(entry) : (struct slice){0};
    return true;
}

static void cmd_bitop(struct command_context *ctx) {
    enum { FIRST_SOURCE = 3 };
    enum bits_operation operation;
    struct slice key = ctx->argv[2];
    struct slice string;
    size_t len = 0;
    if (!parse_operation(ctx, &operation)) return;
    for (uint32_t i = FIRST_SOURCE; i < ctx->argc; i++) {
        if (!source(ctx, i, &string)) return;
        if (!string.data) cmd_tell_miss(ctx, ctx->argv[i]);
        if (string.len > len) len = string.len;
    }
    uint64_t hash = store_hash(ctx->store, key);
    if (len == 0) {
        if (store_remove(ctx->store, ctx->guard, key, hash, REMOVED_DELETED))
            cmd_notify(ctx, NOTIFY_GENERIC, "del", key);
        reply_integer(ctx->reply, 0);
        return;
    }
    char *out;
    struct entry *entry = entry_create_string_sized(key, hash, len, STORE_NEVER, &out);
    entry->flags |= ENTRY_RAW;
    (void)source(ctx, FIRST_SOURCE, &string);
    if (string.len) memcpy(out, string.data, string.len);
    memset(out + string.len, 0, len - string.len);
    if (operation == BITS_NOT) bits_apply(operation, out, len, SLICE(""));
    for (uint32_t i = FIRST_SOURCE + 1; i < ctx->argc; i++) {
        (void)source(ctx, i, &string);
        bits_apply(operation, out, len, string);
    }
    if (!cmd_put(ctx, &entry)) return;
    cmd_notify(ctx, NOTIFY_STRING, "set", key);
    reply_integer(ctx->reply, (int64_t)len);
}

/* clang-format off */
const struct command commands_bit[] = {
    {"bitcount", cmd_bitcount, -2, CMD_READONLY, KEYS(1, 1, 1), "2.6.0", GROUP_BITMAP,
     "Counts the number of set bits (population counting) in a string.", "O(N)", NULL},
    {"bitop", cmd_bitop, -4, CMD_WRITE | CMD_DENYOOM, KEYS(2, -1, 1), "2.6.0", GROUP_BITMAP,
     "Performs bitwise operations on multiple strings, and stores the result.", "O(N)", NULL},
    {"bitpos", cmd_bitpos, -3, CMD_READONLY, KEYS(1, 1, 1), "2.8.7", GROUP_BITMAP,
     "Finds the first set (1) or clear (0) bit in a string.", "O(N)", NULL},
    {"getbit", cmd_getbit, 3, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "2.2.0", GROUP_BITMAP,
     "Returns a bit value by offset.", "O(1)", NULL},
    {"setbit", cmd_setbit, 4, CMD_WRITE | CMD_DENYOOM, KEYS(1, 1, 1), "2.2.0", GROUP_BITMAP,
     "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.", "O(N) with the length of the value", NULL},
    {0},
};
/* clang-format on */
