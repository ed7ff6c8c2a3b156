#include "server/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/pattern.h"
#include "server/suggest.h"

int option_find(const char *path) {
    for (int i = 0; options[i].path; i++) {
        if (strcmp(options[i].path, path) == 0) return i;
    }
    return -1;
}

void option_environment_name(const struct option *option, char *name) {
    size_t used = (size_t)snprintf(name, OPTION_ENVIRONMENT_MAX, "FRESHET_");
    for (const char *c = option->path; *c && used < OPTION_ENVIRONMENT_MAX - 1; c++)
        name[used++] = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    name[used] = '\0';
}

const char *option_type_name(const struct option *option) {
    static const char *const names[] = {
        [OPTION_STRING] = "string",
        [OPTION_SECRET] = "secret",
        [OPTION_URL] = "URL",
        [OPTION_DURATION] = "duration",
        [OPTION_SIZE] = "size",
        [OPTION_COUNT] = "count",
        [OPTION_BOOL] = "true or false",
        [OPTION_CHOICE] = "choice",
        [OPTION_WORD] = "choice",
        [OPTION_SET] = "list of choices",
        [OPTION_LETTERS] = "list of choices",
        [OPTION_ADDRESS] = "address",
        [OPTION_LIST] = "list",
        [OPTION_PATTERNS] = "list of tables",
        [OPTION_PAIRS] = "mapping",
        [OPTION_RECORDS] = "list of mappings",
        [OPTION_NAMED] = "mapping of mappings",
        [OPTION_SOURCES] = "list of mappings",
    };
    return names[option->type];
}

bool option_is_list(const struct option *option) {
    return option->type == OPTION_LIST || option->type == OPTION_PATTERNS ||
           option->type == OPTION_SET || option->type == OPTION_LETTERS;
}

bool option_is_structured(const struct option *option) {
    return option->type == OPTION_PAIRS || option->type == OPTION_RECORDS ||
           option->type == OPTION_NAMED || option->type == OPTION_SOURCES;
}

static void store(void *base, size_t offset, const void *value, size_t size) {
    memcpy((char *)base + offset, value, size);
}

/* An integer of the field's own width; little-endian or not. */
static void store_integer(void *base, size_t offset, size_t size, int64_t value) {
    switch (size) {
    case 1: store(base, offset, &(int8_t){(int8_t)value}, 1); break;
    case 2: store(base, offset, &(int16_t){(int16_t)value}, 2); break;
    case 4: store(base, offset, &(int32_t){(int32_t)value}, 4); break;
    case 8: store(base, offset, &value, 8); break;
    default: ASSERT_UNREACHABLE();
    }
}

static void store_string(const struct option *option, void *base, struct arena *arena,
                         const char *text) {
    ASSERT(option->size == sizeof(char *));
    const char *copy = arena_strdup(arena, text);
    store(base, option->offset, &copy, sizeof copy);
}

void option_set_array(const struct option *option, void *base, const void *items, uint64_t n) {
    ASSERT(option->size == sizeof(void *));
    store(base, option->offset, &items, sizeof items);
    store_integer(base, option->count_offset, option->count_size, (int64_t)n);
}

int choice_find(const char *choices, const char *word, size_t len) {
    for (int place = 0; choices && *choices; place++) {
        size_t here = strcspn(choices, "|");
        if (here == len && strncmp(choices, word, len) == 0) return place;
        choices += here;
        if (*choices) choices++;
    }
    return -1;
}

/* "stream, ttl": the choices as a sentence. */
static void list_choices(const char *choices, char *out, size_t size) {
    size_t used = 0;
    for (; *choices && used + 3 < size; choices++) {
        if (*choices == '|') {
            out[used++] = ',';
            out[used++] = ' ';
        } else {
            out[used++] = *choices;
        }
    }
    out[used] = '\0';
}

static bool refuse_choice(const struct option *option, const char *text, struct why *why) {
    char known[160];
    list_choices(option->choices, known, sizeof known);
    if (!strchr(option->choices, '|')) return why_set(why, "\"%.60s\" is not %s", text, known);
    return why_set(why, "\"%.60s\" is none of: %s", text, known);
}

static bool set_words(const struct option *option, void *base, struct arena *arena,
                      const char *text, struct why *why) {
    if (option->choices) {
        if (choice_find(option->choices, text, strlen(text)) < 0)
            return refuse_choice(option, text, why);
    } else {
        struct buf known = {0};
        bool found = false;
        for (const char *const *word = option->words(); *word; word++) {
            found |= strcmp(*word, text) == 0;
            buf_printf(&known, "%s%s", known.len ? ", " : "", *word);
        }
        if (!found) why_set(why, "\"%.60s\" is none of: %s", text, buf_text(&known));
        buf_deinit(&known);
        if (!found) return false;
    }
    store_string(option, base, arena, text);
    return true;
}

static bool check_bounds(const struct option *option, const char *text, int64_t value,
                         struct why *why) {
    if (value < option->min) {
        if (option->type == OPTION_COUNT)
            return why_set(why, "\"%.60s\" is too small, the least is %lld", text,
                           (long long)option->min);
        return why_set(why, "\"%.60s\" is too small, the least is %lld %s", text,
                       (long long)option->min, option->type == OPTION_SIZE ? "bytes" : "ms");
    }
    if (option->max && value > option->max) {
        if (option->type == OPTION_COUNT)
            return why_set(why, "\"%.60s\" is too large, the most is %lld", text,
                           (long long)option->max);
        return why_set(why, "\"%.60s\" is too large, the most is %lld %s", text,
                       (long long)option->max, option->type == OPTION_SIZE ? "bytes" : "ms");
    }
    return true;
}

static bool set_number(const struct option *option, void *base, const char *text, struct why *why) {
    int64_t value = 0;
    uint64_t bytes = 0;
    bool read = false;
    switch (option->type) {
    case OPTION_DURATION: read = units_duration(text, &value, why); break;
    case OPTION_SIZE:
        read = units_size(text, &bytes, why);
        value = (int64_t)bytes;
        break;
    default: read = units_count(text, &value, why);
    }
    if (!read || !check_bounds(option, text, value, why)) return false;
    store_integer(base, option->offset, option->size, value);
    return true;
}

/* The commas of "a,b,c" part a list where it is written as one value. */
static bool set_split(const struct option *option, void *base, struct arena *arena,
                      const char *text, struct why *why) {
    uint32_t n = 0;
    const char **items = arena_alloc(arena, (strlen(text) + 2) * sizeof *items);
    while (*text) {
        size_t len = strcspn(text, ",");
        const char *start = text;
        text += len;
        if (*text) text++;
        while (len && *start == ' ')
            start++, len--;
        while (len && start[len - 1] == ' ')
            len--;
        items[n++] = arena_dup(arena, slice_make(start, len)).data;
    }
    uint32_t at;
    return option_set_list(option, base, arena, n, items, &at, why);
}

bool option_set(const struct option *option, void *base, struct arena *arena, const char *text,
                struct why *why) {
    switch (option->type) {
    case OPTION_DURATION:
    case OPTION_SIZE:
    case OPTION_COUNT: return set_number(option, base, text, why);
    case OPTION_BOOL: {
        bool value;
        if (!units_bool(text, &value, why)) return false;
        store(base, option->offset, &value, sizeof value);
        return true;
    }
    case OPTION_CHOICE: {
        int place = choice_find(option->choices, text, strlen(text));
        if (place < 0) return refuse_choice(option, text, why);
        store_integer(base, option->offset, option->size, place);
        return true;
    }
    case OPTION_WORD: return set_words(option, base, arena, text, why);
    case OPTION_ADDRESS: {
        struct address address;
        if (!units_address(text, &address, why)) return false;
        store_string(option, base, arena, text);
        return true;
    }
    case OPTION_STRING:
    case OPTION_SECRET:
    case OPTION_URL:
        if (!*text) return why_set(why, "is empty, leave it out for the default");
        store_string(option, base, arena, text);
        return true;
    case OPTION_SET:
    case OPTION_LETTERS:
    case OPTION_LIST:
    case OPTION_PATTERNS: return set_split(option, base, arena, text, why);
    case OPTION_PAIRS:
    case OPTION_RECORDS:
    case OPTION_SOURCES:
    case OPTION_NAMED: break;
    }
    return why_set(why, "is a %s", option_type_name(option));
}

static bool set_choices(const struct option *option, void *base, struct arena *arena, uint32_t n,
                        const char *const *texts, uint32_t *at, struct why *why) {
    uint32_t bits = 0;
    char letters[33] = "";
    for (*at = 0; *at < n; ++*at) {
        int place = choice_find(option->choices, texts[*at], strlen(texts[*at]));
        if (place < 0) return refuse_choice(option, texts[*at], why);
        if (bits & 1u << place) return why_set(why, "\"%.60s\" stands there twice", texts[*at]);
        bits |= 1u << place;
        strncat(letters, texts[*at], 1);
    }
    if (option->type == OPTION_SET)
        store(base, option->offset, &bits, sizeof bits);
    else
        store_string(option, base, arena, letters);
    return true;
}

static bool join(const struct option *option, void *base, struct arena *arena, uint32_t n,
                 const char *const *texts, struct why *why) {
    struct buf all = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&all, "%s%s", i ? "," : "", texts[i]);
    bool done = option_set(option, base, arena, buf_text(&all), why);
    buf_deinit(&all);
    return done;
}

bool option_set_list(const struct option *option, void *base, struct arena *arena, uint32_t n,
                     const char *const *texts, uint32_t *at, struct why *why) {
    *at = 0;
    if (option->joins) return join(option, base, arena, n, texts, why);
    if (option->type == OPTION_SET || option->type == OPTION_LETTERS)
        return set_choices(option, base, arena, n, texts, at, why);
    ASSERT(option_is_list(option));
    const char **items = arena_alloc(arena, (n + 1) * sizeof *items);
    for (*at = 0; *at < n; ++*at) {
        const char *text = texts[*at];
        if (!*text) return why_set(why, "an item is empty");
        if (option->type == OPTION_PATTERNS && !pattern_valid(text))
            return why_set(why, "\"%.60s\" names no table, write SCHEMA.TABLE or SCHEMA.*", text);
        items[*at] = arena_strdup(arena, text);
    }
    option_set_array(option, base, items, n);
    return true;
}
