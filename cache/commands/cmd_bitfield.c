/* BITFIELD and BITFIELD_RO: whole numbers of any width in a string. All operations of a command are read before the first runs. */
#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/signals/notify.h"
#include "cache/values/bits.h"
#include "cache/values/number.h"

enum operation_kind { FIELD_GET, FIELD_SET, FIELD_INCRBY };

struct operation {
    enum operation_kind kind;
    enum bits_overflow overflow;
    struct bits_type type;
    uint64_t offset;
    int64_t value; /* to set, or to add */
};

struct program {
    struct operation *operations;
    size_t n;
    bool writes;
    uint64_t end; /* the bit behind the last that is written to */
};

/* "#3" is the third number of that width. */
static bool parse_offset(struct command_context *ctx, struct slice text, struct bits_type type,
                         uint64_t *offset) {
    int64_t value;
    bool scaled = text.len > 0 && text.data[0] == '#';
    if (scaled) text = slice_make(text.data + 1, text.len - 1);
    if (number_parse_i64(text, &value) && value >= 0 &&
        !__builtin_mul_overflow(value, scaled ? (int64_t)type.width : 1, &value) &&
        value >> 3 < STRING_MAX_BYTES) {
        *offset = (uint64_t)value;
        return true;
    }
    reply_error(ctx->reply, "ERR bit offset is not an integer or out of range");
    return false;
}

static bool parse_overflow(struct command_context *ctx, struct slice word,
                           enum bits_overflow *overflow) {
    static const struct slice words[] = {[OVERFLOW_WRAP] = SLICE("wrap"),
                                         [OVERFLOW_SATURATE] = SLICE("sat"),
                                         [OVERFLOW_FAIL] = SLICE("fail")};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!slice_equal_nocase(word, words[i])) continue;
        *overflow = (enum bits_overflow)i;
        return true;
    }
    reply_error(ctx->reply, "ERR Invalid OVERFLOW type specified");
    return false;
}

static bool parse_operation(struct command_context *ctx, uint32_t at, struct operation *operation) {
    if (!bits_parse_type(ctx->argv[at + 1], &operation->type)) {
        reply_error(ctx->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                                "u64 is not supported but i64 is.");
        return false;
    }
    if (!parse_offset(ctx, ctx->argv[at + 2], operation->type, &operation->offset)) return false;
    return operation->kind == FIELD_GET || cmd_integer(ctx, ctx->argv[at + 3], &operation->value);
}

/* The operation's name at argv[at], with as many words behind it as it needs; 0: it is none. */
static uint32_t operation_words(struct command_context *ctx, uint32_t at,
                                enum operation_kind *kind) {
    static const struct {
        struct slice name;
        uint32_t words;
    } kinds[] = {[FIELD_GET] = {SLICE("get"), 3},
                 [FIELD_SET] = {SLICE("set"), 4},
                 [FIELD_INCRBY] = {SLICE("incrby"), 4}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!slice_equal_nocase(ctx->argv[at], kinds[i].name)) continue;
        *kind = (enum operation_kind)i;
        return at + kinds[i].words <= ctx->argc ? kinds[i].words : 0;
    }
    return 0;
}

/* False after an error reply. program->operations has room for all. */
static bool parse(struct command_context *ctx, struct program *program) {
    enum bits_overflow overflow = OVERFLOW_WRAP;
    uint32_t words;
    for (uint32_t at = 2; at < ctx->argc; at += words) {
        struct operation *operation = &program->operations[program->n];
        if (slice_equal_nocase(ctx->argv[at], SLICE("overflow")) && at + 1 < ctx->argc) {
            words = 2;
            if (!parse_overflow(ctx, ctx->argv[at + 1], &overflow)) return false;
            continue;
        }
        words = operation_words(ctx, at, &operation->kind);
        if (words == 0) {
            reply_syntax_error(ctx->reply);
            return false;
        }
        operation->overflow = overflow;
        if (!parse_operation(ctx, at, operation)) return false;
        program->n++;
        if (operation->kind == FIELD_GET) continue;
        program->writes = true;
        uint64_t end = operation->offset + operation->type.width;
        if (end > program->end) program->end = end;
    }
    return true;
}

static void answer_reads(struct command_context *ctx, const struct program *program,
                         struct slice string) {
    reply_array(ctx->reply, program->n);
    for (size_t i = 0; i < program->n; i++) {
        const struct operation *operation = &program->operations[i];
        reply_integer(ctx->reply, bits_get(string, operation->offset, operation->type));
    }
}

/* True: the string was changed. */
static bool run_one(struct command_context *ctx, const struct operation *operation, char *string,
                    size_t len) {
    int64_t fresh;
    struct bits_type type = operation->type;
    int64_t old = bits_get(slice_make(string, len), operation->offset, type);
    if (operation->kind == FIELD_GET) {
        reply_integer(ctx->reply, old);
        return false;
    }
    bool adds = operation->kind == FIELD_INCRBY;
    bool fits = adds ? bits_add(type, old, operation->value, operation->overflow, &fresh)
                     : bits_fit(type, operation->value, operation->overflow, &fresh);
    if (!fits) {
        reply_null(ctx->reply);
        return false;
    }
    bits_set(string, operation->offset, type, fresh);
    reply_integer(ctx->reply, adds ? fresh : old);
    return fresh != old;
}

static void run_writes(struct command_context *ctx, const struct program *program) {
    uint64_t hash;
    struct entry *old;
    char *string;
    if (!cmd_find_kind(ctx, ctx->argv[1], ENTRY_STRING, &hash, &old)) return;
    size_t needed = (program->end + 7) >> 3;
    struct entry *entry = cmd_string_grown(ctx, hash, old, needed, &string);
    if (!entry) return;
    entry->flags |= ENTRY_RAW;
    bool changed = !old || old->value_len < needed;
    size_t mark = ctx->reply->out->len;
    reply_array(ctx->reply, program->n);
    for (size_t i = 0; i < program->n; i++)
        changed |= run_one(ctx, &program->operations[i], string, entry->value_len);
    if (!changed) {
        entry_destroy(&entry);
        return;
    }
    if (store_put(ctx->store, ctx->guard, &entry)) {
        cmd_notify(ctx, NOTIFY_STRING, "setbit", ctx->argv[1]);
        return;
    }
    ctx->reply->out->len = mark;
    cmd_answer_oom(ctx->reply);
}

static void run_reads(struct command_context *ctx, const struct program *program) {
    struct key_value value;
    struct reply *reply = ctx->reply;
    switch (keyspace_read(ctx, ctx->argv[1], FORM_STRING, &value)) {
    case READ_FOUND: answer_reads(ctx, program, value.string); break;
    case READ_ABSENT: answer_reads(ctx, program, SLICE("")); break;
    case READ_WRONG_TYPE: reply_wrong_type(reply); break;
    case READ_PENDING: break;
    case READ_FAILED: reply_error(reply, "%s", value.failure); break;
    }
}

static void bitfield(struct command_context *ctx, bool only_reads) {
    struct program program = {.operations = mem_alloc(ctx->argc * sizeof(struct operation))};
    if (parse(ctx, &program)) {
        if (!program.writes)
            run_reads(ctx, &program);
        else if (only_reads)
            reply_error(ctx->reply, "ERR BITFIELD_RO only supports the GET subcommand");
        else
            run_writes(ctx, &program);
    }
    mem_free(program.operations);
}

static void cmd_bitfield(struct command_context *ctx) { bitfield(ctx, false); }
static void cmd_bitfield_ro(struct command_context *ctx) { bitfield(ctx, true); }

/* clang-format off */
const struct command commands_bitfield[] = {
    {"bitfield", cmd_bitfield, -2, CMD_WRITE | CMD_DENYOOM, KEYS(1, 1, 1), "3.2.0", GROUP_BITMAP,
     "Performs arbitrary bitfield integer operations on strings.", "O(1) for each subcommand specified", NULL},
    {"bitfield_ro", cmd_bitfield_ro, -2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "6.0.0", GROUP_BITMAP,
     "Performs arbitrary read-only bitfield integer operations on strings.", "O(1) for each subcommand specified", NULL},
    {0},
};
/* clang-format on */
