/* acl_words.h: a short list of texts without repetition, each with a number. One thread's. */
#ifndef FRESHET_CACHE_ACL_WORDS_H
#define FRESHET_CACHE_ACL_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct acl_word {
    char *text;
    uint32_t len;
    uint32_t tag;
};

struct acl_words {
    uint32_t n;
    struct acl_word *items;
};

static inline struct slice acl_word_slice(const struct acl_word *word) {
    return slice_make(word->text, word->len);
}

/* At the end, if it is not there. With `merge` the tags are bits, and those of the same text are put together; else the text
 * and the tag are one thing. */
void acl_words_add(struct acl_words *words, struct slice text, uint32_t tag, bool merge);
bool acl_words_remove(struct acl_words *words, struct slice text);
void acl_words_remove_tag(struct acl_words *words, uint32_t tag);
void acl_words_copy(struct acl_words *copy, const struct acl_words *words);
void acl_words_clear(struct acl_words *words);

#endif
