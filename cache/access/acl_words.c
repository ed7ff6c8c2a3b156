#include "cache/access/acl_words.h"

#include "base/mem.h"

void acl_words_add(struct acl_words *words, struct slice text, uint32_t tag, bool merge) {
    for (uint32_t i = 0; i < words->n; i++) {
        struct acl_word *word = &words->items[i];
        if (!slice_equal(acl_word_slice(word), text) || (!merge && word->tag != tag)) continue;
        word->tag |= tag;
        return;
    }
    words->items = mem_realloc(words->items, (words->n + 1) * sizeof words->items[0]);
    struct acl_word *word = &words->items[words->n++];
    *word =
        (struct acl_word){.text = mem_alloc(text.len + 1), .len = (uint32_t)text.len, .tag = tag};
    if (text.len) memcpy(word->text, text.data, text.len);
    word->text[text.len] = '\0';
}

static void remove_at(struct acl_words *words, uint32_t at) {
    mem_free(words->items[at].text);
    words->n--;
    memmove(&words->items[at], &words->items[at + 1], (words->n - at) * sizeof words->items[0]);
}

bool acl_words_remove(struct acl_words *words, struct slice text) {
    for (uint32_t i = 0; i < words->n; i++) {
        if (!slice_equal(acl_word_slice(&words->items[i]), text)) continue;
        remove_at(words, i);
        return true;
    }
    return false;
}

void acl_words_remove_tag(struct acl_words *words, uint32_t tag) {
    for (uint32_t i = words->n; i-- > 0;)
        if (words->items[i].tag == tag) remove_at(words, i);
}

void acl_words_copy(struct acl_words *copy, const struct acl_words *words) {
    for (uint32_t i = 0; i < words->n; i++)
        acl_words_add(copy, acl_word_slice(&words->items[i]), words->items[i].tag, false);
}

void acl_words_clear(struct acl_words *words) {
    for (uint32_t i = 0; i < words->n; i++)
        mem_free(words->items[i].text);
    mem_free(words->items);
    *words = (struct acl_words){0};
}
