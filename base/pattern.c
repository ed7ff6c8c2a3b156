#include "base/pattern.h"

#include <stddef.h>
#include <string.h>

/* One part of a pattern: the characters between `at` and `end`, quotes included. */
struct part {
    const char *at;
    const char *end;
};

/* Finds the end of the part that begins at `at`: a dot outside quotes, or the end. NULL: an open quote. */
static const char *part_end(const char *at) {
    bool quoted = false;
    for (; *at && (quoted || *at != '.'); at++) {
        if (*at == '"') quoted = !quoted;
    }
    return quoted ? NULL : at;
}

static bool split(const char *pattern, struct part *schema, struct part *table) {
    static const char default_schema[] = "public";
    const char *end = part_end(pattern);
    if (!end || end == pattern) return false;
    *table = (struct part){pattern, end};
    if (*end == '\0') {
        *schema = (struct part){default_schema, default_schema + sizeof default_schema - 1};
        return true;
    }
    *schema = *table;
    const char *second = end + 1;
    end = part_end(second);
    *table = (struct part){second, end};
    return end && end != second && *end == '\0';
}

/* The pattern's next character: *literal tells a quoted one, whose star is no star. Skips quote marks. */
static const char *next(const char *at, const char *end, bool *quoted) {
    while (at < end && *at == '"') {
        if (*quoted && at + 1 < end && at[1] == '"') return at + 1; /* "" is one quote */
        *quoted = !*quoted;
        at++;
    }
    return at;
}

/* Greedy match with one point to come back to: the last star. Linear in practice, never recursive. */
static bool match_part(struct part part, const char *name, struct pattern_stars *stars) {
    const char *at = part.at;
    bool quoted = false;
    const char *star = NULL;
    const char *star_name = NULL;
    struct slice unused = {0};
    struct slice *text = &unused; /* of the last star */
    while (true) {
        const char *c = next(at, part.end, &quoted);
        if (c < part.end && *c == '*' && !quoted) {
            star = c + 1;
            star_name = name;
            at = star;
            text = stars->n < PATTERN_MAX_STARS ? &stars->texts[stars->n++] : &unused;
            *text = slice_make(name, 0);
            continue;
        }
        if (c == part.end && *name == '\0') return true;
        if (c < part.end && *name == *c && *name) {
            at = c + 1;
            name++;
            continue;
        }
        if (!star || *star_name == '\0') return false;
        at = star;
        name = ++star_name;
        text->len++;
        quoted = false; /* a star always stands outside quotes */
    }
}

bool pattern_valid(const char *pattern) {
    struct part schema;
    struct part table;
    return split(pattern, &schema, &table);
}

bool pattern_capture(const char *pattern, const char *schema, const char *table,
                     struct pattern_stars *stars) {
    struct part schema_part;
    struct part table_part;
    stars->n = 0;
    return split(pattern, &schema_part, &table_part) && match_part(schema_part, schema, stars) &&
           match_part(table_part, table, stars);
}

bool pattern_match(const char *pattern, const char *schema, const char *table) {
    struct pattern_stars unused;
    return pattern_capture(pattern, schema, table, &unused);
}

bool pattern_match_name(const char *pattern, const char *name) {
    struct pattern_stars unused = {0};
    return match_part((struct part){pattern, pattern + strlen(pattern)}, name, &unused);
}

uint32_t pattern_count_stars(const char *pattern) {
    uint32_t n = 0;
    bool quoted = false;
    for (; *pattern; pattern++) {
        if (*pattern == '"') quoted = !quoted;
        n += *pattern == '*' && !quoted;
    }
    return n;
}

bool pattern_match_any(uint32_t n, const char *const *patterns, const char *schema,
                       const char *table) {
    for (uint32_t i = 0; i < n; i++) {
        if (pattern_match(patterns[i], schema, table)) return true;
    }
    return n == 0;
}
