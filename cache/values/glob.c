#include "cache/values/glob.h"

#include <stddef.h>

/* The class that begins behind '[' at *at: does it hold c? *at is left behind it. */
static bool class_holds(struct slice pattern, size_t *at, unsigned char c) {
    size_t i = *at;
    bool negated = i < pattern.len && pattern.data[i] == '^';
    bool held = false;
    if (negated) i++;
    while (i < pattern.len && pattern.data[i] != ']') {
        size_t left = pattern.len - i;
        unsigned char low = (unsigned char)pattern.data[i];
        unsigned char high = low;
        if (low == '\\' && left >= 2) {
            low = high = (unsigned char)pattern.data[++i];
        } else if (left >= 3 && pattern.data[i + 1] == '-') {
            high = (unsigned char)pattern.data[i + 2];
            i += 2;
        }
        if (low > high) {
            unsigned char swap = low;
            low = high;
            high = swap;
        }
        held |= c >= low && c <= high;
        i++;
    }
    *at = i < pattern.len ? i + 1 : i;
    return held != negated;
}

/* One pattern element other than '*' against one character; *at moves behind the element. */
static bool element_matches(struct slice pattern, size_t *at, unsigned char c) {
    unsigned char element = (unsigned char)pattern.data[(*at)++];
    if (element == '?') return true;
    if (element == '[') return class_holds(pattern, at, c);
    if (element == '\\' && *at < pattern.len) element = (unsigned char)pattern.data[(*at)++];
    return element == c;
}

/* Each element but '*' takes one character, so only the last '*' ever needs another try. Nothing but the empty pattern is like the
 * empty text: so it is in Redis. */
bool glob_match(struct slice pattern, struct slice text) {
    if (text.len == 0) return pattern.len == 0;
    size_t p = 0;
    size_t t = 0;
    bool starred = false;
    size_t star_p = 0; /* behind the last star */
    size_t star_t = 0; /* where the text behind it was last tried */
    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            starred = true;
            star_p = ++p;
            star_t = t;
            continue;
        }
        if (p < pattern.len && element_matches(pattern, &p, (unsigned char)text.data[t])) {
            t++;
            continue;
        }
        if (!starred) return false;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}
