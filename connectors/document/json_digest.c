#include "connectors/document/json_digest.h"

#include <jansson.h>
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

enum kind { KIND_STRING = 1, KIND_PLAIN, KIND_ARRAY, KIND_OBJECT, KIND_DEEP };

/* ---- walking ---- */

static void skip_blanks(struct json_walk *walk) {
    while (walk->at < walk->end && strchr(" \t\r\n", *walk->at) && *walk->at)
        walk->at++;
}

bool json_walk_char(struct json_walk *walk, char c) {
    skip_blanks(walk);
    if (walk->at == walk->end || *walk->at != c) return false;
    walk->at++;
    return true;
}

/* From its opening quote to behind the closing one. */
static bool skip_string(struct json_walk *walk) {
    for (walk->at++; walk->at < walk->end; walk->at++) {
        if (*walk->at == '"') {
            walk->at++;
            return true;
        }
        if (*walk->at == '\\' && ++walk->at == walk->end) return false;
    }
    return false;
}

static bool skip_brackets(struct json_walk *walk) {
    size_t depth = 0;
    while (walk->at < walk->end) {
        char c = *walk->at;
        if (c == '"') {
            if (!skip_string(walk)) return false;
            continue;
        }
        walk->at++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) return true;
    }
    return false;
}

bool json_walk_value(struct json_walk *walk, struct slice *value) {
    skip_blanks(walk);
    const char *start = walk->at;
    if (start == walk->end) return false;
    bool whole = true;
    if (*start == '"')
        whole = skip_string(walk);
    else if (*start == '{' || *start == '[')
        whole = skip_brackets(walk);
    else
        while (walk->at < walk->end && !strchr(" \t\r\n,]}:", *walk->at))
            walk->at++;
    *value = slice_make(start, (size_t)(walk->at - start));
    return whole && value->len > 0;
}

bool json_walk_member(struct json_walk *walk, struct slice *name, struct slice *value) {
    skip_blanks(walk);
    if (walk->at == walk->end || *walk->at == '}') return false;
    struct json_walk ahead = *walk;
    (void)json_walk_char(&ahead, ',');
    if (!json_walk_value(&ahead, name) || name->len < 2 || name->data[0] != '"') return false;
    *name = slice_make(name->data + 1, name->len - 2);
    if (!json_walk_char(&ahead, ':') || !json_walk_value(&ahead, value)) return false;
    *walk = ahead;
    return true;
}

/* ---- digests ---- */

static uint64_t hash(struct slice text, enum kind kind) {
    return XXH3_64bits_withSeed(text.len ? text.data : "", text.len, (uint64_t)kind);
}

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t both[2] = {a, b};
    return XXH3_64bits_withSeed(both, sizeof both, 0);
}

/* `inner`: without the quotes. */
static bool digest_string(struct slice inner, uint64_t *digest) {
    if (!inner.len || !memchr(inner.data, '\\', inner.len)) {
        *digest = hash(inner, KIND_STRING);
        return true;
    }
    json_t *string =
        json_loadb(inner.data - 1, inner.len + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!json_is_string(string)) {
        json_decref(string);
        return false;
    }
    *digest = hash(slice_make(json_string_value(string), json_string_length(string)), KIND_STRING);
    json_decref(string);
    return true;
}

static bool digest_value(struct slice value, int depth, uint64_t *digest);

static bool digest_object(struct json_walk *walk, int depth, uint64_t *digest) {
    uint64_t sum = KIND_OBJECT;
    struct slice name;
    struct slice value;
    while (json_walk_member(walk, &name, &value)) {
        uint64_t of_name;
        uint64_t of_value;
        if (!digest_string(name, &of_name) || !digest_value(value, depth + 1, &of_value))
            return false;
        if (depth == 0 && slice_equal(value, SLICE("null"))) continue;
        sum += mix(of_name, of_value);
    }
    *digest = mix(sum, KIND_OBJECT);
    return json_walk_char(walk, '}');
}

static bool digest_array(struct json_walk *walk, int depth, uint64_t *digest) {
    uint64_t sum = KIND_ARRAY;
    bool first = true;
    while (!json_walk_char(walk, ']')) {
        struct slice element;
        uint64_t of_element;
        if (!first && !json_walk_char(walk, ',')) return false;
        first = false;
        if (!json_walk_value(walk, &element) || !digest_value(element, depth + 1, &of_element))
            return false;
        sum = mix(sum, of_element);
    }
    *digest = sum;
    return true;
}

static bool digest_value(struct slice value, int depth, uint64_t *digest) {
    char first = value.data[0];
    bool nested = first == '{' || first == '[';
    if (nested && depth < JSON_DIGEST_MAX_DEPTH) {
        struct json_walk walk = {value.data + 1, value.data + value.len};
        bool read =
            first == '{' ? digest_object(&walk, depth, digest) : digest_array(&walk, depth, digest);
        return read && walk.at == walk.end;
    }
    if (first == '"') return digest_string(slice_make(value.data + 1, value.len - 2), digest);
    *digest = hash(value, nested ? KIND_DEEP : KIND_PLAIN);
    return true;
}

bool json_digest(struct slice text, uint64_t *digest) {
    struct json_walk walk = {text.data, text.data + text.len};
    struct slice value;
    if (!text.len || !json_walk_value(&walk, &value)) return false;
    skip_blanks(&walk);
    return walk.at == walk.end && digest_value(value, 0, digest);
}
