/* Any pattern on any text (the first byte says where one ends and the other begins): the matcher agrees with one that
 * tries everything, where the pattern has no class and both are short; and ends soon in any case. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/values/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHORT = 12 };

static bool match_slowly(struct slice pattern, struct slice text) {
    if (pattern.len == 0) return text.len == 0;
    struct slice rest = slice_make(pattern.data + 1, pattern.len - 1);
    struct slice tail = slice_make(text.data + 1, text.len ? text.len - 1 : 0);
    char element = pattern.data[0];
    if (element == '*')
        return match_slowly(rest, text) || (text.len && match_slowly(pattern, tail));
    if (element == '\\' && rest.len) {
        element = rest.data[0];
        rest = slice_make(rest.data + 1, rest.len - 1);
        return text.len && text.data[0] == element && match_slowly(rest, tail);
    }
    return text.len && (element == '?' || text.data[0] == element) && match_slowly(rest, tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    size_t cut = data[0] < size - 1 ? data[0] : size - 1;
    char *bytes = mem_alloc(size);
    memcpy(bytes, data, size);
    struct slice pattern = slice_make(bytes + 1, cut);
    struct slice text = slice_make(bytes + 1 + cut, size - 1 - cut);
    bool matches = glob_match(pattern, text);
    bool comparable = cut <= SHORT && text.len <= SHORT && !memchr(pattern.data, '[', cut);
    if (text.len == 0)
        ASSERT(matches == (cut == 0));
    else if (comparable)
        ASSERT(matches == match_slowly(pattern, text));
    mem_free(bytes);
    return 0;
}
