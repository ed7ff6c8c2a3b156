/* suggest.h: the "did you mean" of a word that is not known. Pure. */
#ifndef FRESHET_SERVER_SUGGEST_H
#define FRESHET_SERVER_SUGGEST_H

#include <stdbool.h>
#include <stdint.h>

/* The best candidate so far, fed one at a time: `struct suggestion s = {.word = "tll"};` */
struct suggestion {
    const char *word;
    const char *best; /* NULL: nothing is near enough */
    uint32_t distance;
};

/* `candidate` must outlive the suggestion. */
void suggest(struct suggestion *suggestion, const char *candidate);

#endif
