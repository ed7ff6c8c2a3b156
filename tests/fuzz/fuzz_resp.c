/* Any bytes, in any pieces: the parser reads the same requests as from the whole, stays within its bounds, and its arguments
 * lie within the bytes. The first byte chooses the pieces and whether the client is authenticated. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/front/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BULK = 4096 };

struct seen {
    uint64_t requests;
    uint64_t digest; /* of all arguments of all requests */
    size_t at;       /* where the first request that was not read begins */
    enum resp_status end;
};

static uint64_t mix(uint64_t digest, const void *bytes, size_t len) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ at[i]) * UINT64_C(1099511628211);
    return (digest ^ len) * UINT64_C(1099511628211);
}

static void read_arguments(const struct resp_parser *parser, const char *bytes, struct seen *seen) {
    ASSERT(parser->argc <= RESP_MAX_ARGS);
    struct slice *argv = mem_calloc(parser->argc + 1, sizeof argv[0]);
    resp_argv(parser, bytes, argv);
    for (uint32_t i = 0; i < parser->argc; i++) {
        ASSERT(argv[i].len <= MAX_BULK || parser->is_unescaped);
        seen->digest = mix(seen->digest, argv[i].data, argv[i].len);
    }
    seen->digest = mix(seen->digest, &parser->argc, sizeof parser->argc);
    mem_free(argv);
}

/* What the small parser takes, the whole one reads the same. */
static void compare_small(const struct resp_parser *parser, enum resp_status status,
                          const char *bytes, size_t len) {
    struct slice small[RESP_SMALL_ARGS], whole[RESP_SMALL_ARGS];
    uint32_t argc = 0;
    size_t consumed = resp_parse_small(bytes, len, small, &argc);
    if (!consumed || !parser->authenticated) return; /* the small one knows no bounds before AUTH */
    ASSERT(status == RESP_DONE && consumed == parser->consumed && argc == parser->argc);
    resp_argv(parser, bytes, whole);
    for (uint32_t i = 0; i < argc; i++)
        ASSERT(small[i].data == whole[i].data && small[i].len == whole[i].len);
}

/* Each call of the parser gets a block of exactly what has arrived, so that a sanitizer sees a byte too far. */
static struct seen parse(const uint8_t *data, size_t size, size_t step, bool authenticated) {
    struct resp_parser parser;
    resp_init(&parser, MAX_BULK);
    parser.authenticated = authenticated;
    struct seen seen = {0};
    for (size_t have = step < size ? step : size;;) {
        size_t len = have - seen.at;
        char *bytes = mem_alloc(len + (len == 0));
        if (len) memcpy(bytes, data + seen.at, len);
        seen.end = resp_parse(&parser, bytes, len);
        compare_small(&parser, seen.end, bytes, len);
        if (seen.end == RESP_DONE) {
            ASSERT(parser.consumed > 0 && parser.consumed <= len);
            read_arguments(&parser, bytes, &seen);
            seen.requests += parser.argc > 0;
            seen.at += parser.consumed;
            resp_reset(&parser);
        }
        if (seen.end == RESP_INVALID) ASSERT(strncmp(parser.error, "Protocol error: ", 16) == 0);
        mem_free(bytes);
        if (seen.end == RESP_INVALID || (seen.end == RESP_MORE && have == size)) break;
        if (seen.end == RESP_MORE) have = have + step < size ? have + step : size;
    }
    resp_deinit(&parser);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    bool authenticated = data[0] & 1;
    size_t step = (size_t)(data[0] >> 1) + 1;
    struct seen whole = parse(data + 1, size - 1, size, authenticated);
    struct seen pieces = parse(data + 1, size - 1, step, authenticated);
    ASSERT(whole.requests == pieces.requests && whole.digest == pieces.digest);
    ASSERT(whole.end == pieces.end && whole.at == pieces.at);
    return 0;
}
