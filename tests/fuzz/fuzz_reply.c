/* Any tree of replies, in either protocol, is read back equal: RESP2 by hiredis, RESP3 by a strict reader here (the hiredis of
 * Debian 12 knows RESP2 alone). The first byte chooses protocol and splices; the rest is what is composed. */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/front/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TOKENS = 512, MAX_DEPTH = 6, MAX_ELEMENTS = 9, BIG = SPLICE_BYTES + 100 };

/* What one reply is in the end: its type's byte ('_' for nothing), and a number or text. */
struct token {
    char type;
    int64_t number; /* ':', '#', and elements of an aggregate */
    struct slice text;
};

struct tokens {
    uint32_t n;
    struct token all[MAX_TOKENS];
};

struct source {
    const uint8_t *at, *end;
};

static uint8_t next_byte(struct source *source) {
    return source->at < source->end ? *source->at++ : 0;
}

static struct slice next_text(struct source *source, size_t max) {
    size_t len = next_byte(source) % (max + 1);
    if (len > (size_t)(source->end - source->at)) len = (size_t)(source->end - source->at);
    struct slice text = slice_make(source->at, len);
    source->at += len;
    return text;
}

static int64_t next_number(struct source *source) {
    uint64_t number = 0;
    for (uint32_t n = next_byte(source) % 9; n > 0; n--)
        number = number << 8 | next_byte(source);
    return (int64_t)number;
}

/* --- composing ------------------------------------------------------------------------------------------------ */

struct composer {
    struct source source;
    struct reply reply;
    struct tokens expected;
    char texts[MAX_TOKENS][64]; /* those that are made here */
    char big[BIG];
};

static void expect(struct composer *c, char type, int64_t number, struct slice text) {
    ASSERT(c->expected.n < MAX_TOKENS);
    c->expected.all[c->expected.n++] = (struct token){type, number, text};
}

static bool is_resp3(const struct composer *c) { return c->reply.protocol == 3; }

static void compose_double(struct composer *c) {
    uint64_t bits = (uint64_t)next_number(&c->source);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (isnan(value)) value = INFINITY;
    reply_double(&c->reply, value);
    char *text = c->texts[c->expected.n];
    snprintf(text, sizeof c->texts[0], "%.17g", value);
    if (isinf(value)) strcpy(text, value > 0 ? "inf" : "-inf");
    expect(c, is_resp3(c) ? ',' : '$', 0, slice_from(text));
}

static void compose_error(struct composer *c) {
    char *text = c->texts[c->expected.n];
    struct slice given = next_text(&c->source, sizeof c->texts[0] - 1);
    uint32_t errors = c->reply.errors;
    reply_error(&c->reply, "%.*s", (int)given.len, given.data);
    ASSERT(c->reply.errors == errors + 1);
    size_t len = strnlen(given.data ? given.data : "", given.len);
    while (len && strchr("\r\n", given.data[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++)
        text[i] = strchr("\r\n", given.data[i]) ? ' ' : given.data[i];
    expect(c, '-', 0, slice_make(text, len));
}

static void compose(struct composer *c, uint32_t depth);

static void compose_aggregate(struct composer *c, uint32_t depth, uint32_t kind) {
    static void (*const headers[])(struct reply *, size_t) = {reply_array, reply_map, reply_set,
                                                              reply_push};
    static const char types[] = {'*', '%', '~', '>'};
    uint32_t n = next_byte(&c->source) % MAX_ELEMENTS;
    uint32_t elements = kind == 1 ? 2 * n : n;
    if (depth == MAX_DEPTH || c->expected.n + elements + 64 > MAX_TOKENS) n = elements = 0;
    headers[kind](&c->reply, n);
    if (is_resp3(c))
        expect(c, types[kind], n, (struct slice){0});
    else
        expect(c, '*', elements, (struct slice){0});
    for (uint32_t i = 0; i < elements; i++)
        compose(c, depth + 1);
}

/* One whole reply. */
static void compose(struct composer *c, uint32_t depth) {
    uint32_t kind = next_byte(&c->source) % 14;
    bool crowded = c->expected.n + 2 * MAX_ELEMENTS + 1 > MAX_TOKENS;
    if (kind < 4 && !crowded) {
        compose_aggregate(c, depth, kind);
        return;
    }
    struct slice text = {0};
    int64_t number;
    switch (kind) {
    case 5: reply_ok(&c->reply), expect(c, '+', 0, SLICE("OK")); break;
    case 6:
        reply_bulk(&c->reply, text = next_text(&c->source, 255)), expect(c, '$', 0, text);
        break;
    case 7:
        text = slice_make(c->big, BIG - next_byte(&c->source));
        reply_bulk_stored(&c->reply, text), expect(c, '$', 0, text);
        break;
    case 8:
        reply_verbatim(&c->reply, text = next_text(&c->source, 255));
        expect(c, is_resp3(c) ? '=' : '$', 0, text);
        break;
    case 9:
        reply_integer(&c->reply, number = next_number(&c->source)), expect(c, ':', number, text);
        break;
    case 10: compose_double(c); break;
    case 11:
        number = next_byte(&c->source) & 1;
        reply_bool(&c->reply, number), expect(c, is_resp3(c) ? '#' : ':', number, text);
        break;
    case 12: compose_error(c); break;
    case 13: reply_null_array(&c->reply), expect(c, '_', 0, text); break;
    default: reply_null(&c->reply), expect(c, '_', 0, text); break;
    }
}

/* Nothing composed is no text to point into. */
static void append_composed(struct buf *joined, const struct buf *out, size_t from, size_t to) {
    ASSERT(from <= to && to <= out->len);
    if (from < to) buf_append(joined, out->data + from, to - from);
}

/* The bytes as they are sent, with the splices where they belong. */
static struct buf join(const struct buf *out, const struct splices *splices) {
    struct buf joined = {0};
    size_t from = 0;
    for (uint32_t i = 0; i < splices->n; i++) {
        const struct splice *splice = &splices->all[i];
        append_composed(&joined, out, from, splice->at);
        buf_append_slice(&joined, splice->value);
        from = splice->at;
    }
    append_composed(&joined, out, from, out->len);
    ASSERT(joined.len == out->len + splices->bytes);
    return joined;
}

/* --- reading back --------------------------------------------------------------------------------------------- */

static void compare(const struct tokens *expected, uint32_t *at, struct token read) {
    ASSERT(*at < expected->n);
    const struct token *token = &expected->all[(*at)++];
    ASSERT(token->type == read.type && token->number == read.number);
    ASSERT(slice_equal(token->text, read.text));
}

static void read_hiredis(const struct tokens *expected, uint32_t *at, const redisReply *reply) {
    static const char types[] = {
        [REDIS_REPLY_STRING] = '$', [REDIS_REPLY_ARRAY] = '*',  [REDIS_REPLY_INTEGER] = ':',
        [REDIS_REPLY_NIL] = '_',    [REDIS_REPLY_STATUS] = '+', [REDIS_REPLY_ERROR] = '-'};
    struct token token = {.type = types[reply->type]};
    if (reply->type == REDIS_REPLY_INTEGER) token.number = reply->integer;
    if (reply->type == REDIS_REPLY_ARRAY) token.number = (int64_t)reply->elements;
    if (strchr("$+-", token.type)) token.text = slice_make(reply->str, (size_t)reply->len);
    compare(expected, at, token);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        read_hiredis(expected, at, reply->element[i]);
}

static void judge_resp2(const struct tokens *expected, const struct buf *bytes) {
    redisReader *reader = redisReaderCreate();
    redisReaderFeed(reader, bytes->data, bytes->len);
    uint32_t at = 0;
    for (;;) {
        void *reply = NULL;
        ASSERT(redisReaderGetReply(reader, &reply) == REDIS_OK);
        if (!reply) break;
        read_hiredis(expected, &at, reply);
        freeReplyObject(reply);
    }
    ASSERT(at == expected->n);
    redisReaderFree(reader);
}

/* One header line, up to its CR LF. */
static struct slice read_line(const char **at, const char *end) {
    const char *cr = memchr(*at, '\r', (size_t)(end - *at));
    ASSERT(cr && cr + 1 < end && cr[1] == '\n');
    struct slice line = slice_make(*at, (size_t)(cr - *at));
    *at = cr + 2;
    return line;
}

static int64_t read_number(struct slice line) {
    char text[32];
    ASSERT(line.len > 0 && line.len < sizeof text);
    memcpy(text, line.data, line.len);
    text[line.len] = '\0';
    char *end;
    int64_t number = strtoll(text, &end, 10);
    ASSERT(*end == '\0');
    return number;
}

static void judge_resp3(const struct tokens *expected, const struct buf *bytes) {
    const char *at = bytes->len ? bytes->data : "";
    const char *end = at + bytes->len;
    uint32_t n = 0;
    while (at < end) {
        struct token token = {.type = *at++};
        struct slice line = read_line(&at, end);
        if (strchr(":*%~>", token.type)) token.number = read_number(line);
        if (strchr("+-,", token.type)) token.text = line;
        if (token.type == '#') {
            ASSERT(line.len == 1 && strchr("tf", line.data[0]));
            token.number = line.data[0] == 't';
        }
        if (token.type == '_') ASSERT(line.len == 0);
        if (token.type == '$' || token.type == '=') {
            size_t len = (size_t)read_number(line);
            ASSERT((size_t)(end - at) >= len + 2 && memcmp(at + len, "\r\n", 2) == 0);
            token.text = slice_make(at, len);
            at += len + 2;
        }
        if (token.type == '=') {
            ASSERT(token.text.len >= 4 && memcmp(token.text.data, "txt:", 4) == 0);
            token.text = slice_make(token.text.data + 4, token.text.len - 4);
        }
        compare(expected, &n, token);
    }
    ASSERT(n == expected->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    struct buf out = {0};
    struct splices splices = {0};
    struct composer *c = mem_zalloc(sizeof *c);
    c->source = (struct source){data + 1, data + size};
    c->reply = (struct reply){.out = &out, .protocol = data[0] & 1 ? 3 : 2};
    if (data[0] & 2) c->reply.splices = &splices;
    memset(c->big, 'x', sizeof c->big);
    while (c->source.at < c->source.end && c->expected.n + 2 * MAX_ELEMENTS < MAX_TOKENS / 2)
        compose(c, 0);
    struct buf bytes = join(&out, &splices);
    if (is_resp3(c))
        judge_resp3(&c->expected, &bytes);
    else
        judge_resp2(&c->expected, &bytes);
    buf_deinit(&bytes);
    buf_deinit(&out);
    mem_free(c);
    return 0;
}
