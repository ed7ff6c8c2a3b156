#include "cache/front/output_limits.h"

#include <inttypes.h>
#include <strings.h>

#include "cache/values/number.h"

/* Redis's names; `replica` is the newer one for `slave`, which CONFIG GET prints. */
static const struct {
    const char *name;
    enum output_class class;
} classes[] = {{"normal", OUTPUT_NORMAL},
               {"slave", OUTPUT_REPLICA},
               {"pubsub", OUTPUT_PUBSUB},
               {"replica", OUTPUT_REPLICA}};
enum { N_CLASSES = sizeof classes / sizeof classes[0] };

static void set(struct output_limit *limit, uint64_t hard, uint64_t soft, int64_t seconds) {
    atomic_store_explicit(&limit->hard_bytes, hard, memory_order_relaxed);
    atomic_store_explicit(&limit->soft_bytes, soft, memory_order_relaxed);
    atomic_store_explicit(&limit->soft_seconds, seconds, memory_order_relaxed);
}

void output_limits_init(struct output_limits *limits, uint64_t normal_hard_bytes) {
    atomic_store_explicit(&limits->strict, false, memory_order_relaxed);
    set(&limits->of[OUTPUT_NORMAL], normal_hard_bytes, 0, 0);
    set(&limits->of[OUTPUT_REPLICA], UINT64_C(256) << 20, UINT64_C(64) << 20, 60);
    set(&limits->of[OUTPUT_PUBSUB], UINT64_C(32) << 20, UINT64_C(8) << 20, 60);
}

/* The next word between blanks; empty at the end. */
static struct slice take_word(struct slice *text) {
    size_t begin = 0;
    if (text->len == 0) return (struct slice){0};
    while (begin < text->len && text->data[begin] == ' ')
        begin++;
    size_t end = begin;
    while (end < text->len && text->data[end] != ' ')
        end++;
    struct slice word = slice_make(text->data + begin, end - begin);
    *text = slice_make(text->data + end, text->len - end);
    return word;
}

static uint32_t count_words(struct slice text) {
    uint32_t n = 0;
    while (take_word(&text).len)
        n++;
    return n;
}

static bool parse_class(struct slice word, enum output_class *class) {
    for (size_t i = 0; i < N_CLASSES; i++) {
        if (!slice_equal_nocase(word, slice_from(classes[i].name))) continue;
        *class = classes[i].class;
        return true;
    }
    return false;
}

/* "64mb", "1000", "1k": k, m, g are thousands, kb, mb, gb 1024s, as in redis.conf. */
static bool parse_bytes(struct slice word, uint64_t *bytes) {
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"b", 1},        {"k", 1000},       {"kb", 1 << 10}, {"m", 1000000},
                 {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}, {"", 1}};
    size_t digits = 0;
    while (digits < word.len && word.data[digits] >= '0' && word.data[digits] <= '9')
        digits++;
    int64_t value;
    if (!number_parse_i64(slice_make(word.data, digits), &value)) return false;
    struct slice unit = slice_make(word.data + digits, word.len - digits);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!slice_equal_nocase(unit, slice_from(units[i].unit))) continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value)) return false;
        *bytes = (uint64_t)value;
        return true;
    }
    return false;
}

const char *output_limits_set(struct output_limits *limits, struct slice text, bool apply) {
    struct {
        bool given;
        uint64_t hard, soft;
        int64_t seconds;
    } parsed[OUTPUT_CLASSES] = {0};
    if (count_words(text) % 4) return "Wrong number of arguments in buffer limit configuration.";
    for (struct slice word = take_word(&text); word.len; word = take_word(&text)) {
        enum output_class class;
        if (!parse_class(word, &class))
            return "Invalid client class specified in buffer limit configuration.";
        struct slice hard = take_word(&text);
        struct slice soft = take_word(&text);
        struct slice seconds = take_word(&text);
        if (!parse_bytes(hard, &parsed[class].hard) || !parse_bytes(soft, &parsed[class].soft) ||
            !number_parse_i64(seconds, &parsed[class].seconds) || parsed[class].seconds < 0 ||
            parsed[class].seconds > INT32_MAX)
            return "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        parsed[class].given = true;
    }
    if (!apply) return NULL;
    if (parsed[OUTPUT_NORMAL].given)
        atomic_store_explicit(&limits->strict, true, memory_order_relaxed);
    for (int i = 0; i < OUTPUT_CLASSES; i++)
        if (parsed[i].given) set(&limits->of[i], parsed[i].hard, parsed[i].soft, parsed[i].seconds);
    return NULL;
}

void output_limits_format(const struct output_limits *limits, struct buf *out) {
    for (int i = 0; i < OUTPUT_CLASSES; i++)
        buf_printf(out, "%s%s %" PRIu64 " %" PRIu64 " %" PRId64, i ? " " : "", classes[i].name,
                   output_limits_hard(limits, (enum output_class)i),
                   output_limits_soft(limits, (enum output_class)i),
                   output_limits_soft_us(limits, (enum output_class)i) / 1000000);
}
