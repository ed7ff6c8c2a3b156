#include "cache/rows/result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/values/elements.h"
#include "cache/values/fields.h"
#include "cache/values/number.h"
#include "cache/values/scored.h"

static const char garbled[] = "the database's answer cannot be read";

/* Takes one text off the front; data NULL: it is NULL. False: there is none. */
static bool take_text(struct slice *text, struct slice *value) {
    const char *at = text->data;
    const char *end = text->data + text->len;
    size_t len = 0;
    if (at < end && *at == '-') {
        *value = (struct slice){0};
        *text = slice_make(at + 1, text->len - 1);
        return true;
    }
    const char *digits = at;
    for (; at < end && *at >= '0' && *at <= '9' && at - digits < 10; at++)
        len = len * 10 + (size_t)(*at - '0');
    if (at == digits || at == end || *at != ':' || (size_t)(end - at - 1) < len) return false;
    *value = slice_make(at + 1, len);
    *text = slice_make(at + 1 + len, (size_t)(end - at - 1) - len);
    return true;
}

/* ---- pairs: fields and values, members and scores ---- */

struct pair {
    struct slice name;
    struct slice value;
    double score;
    size_t place;
};

struct pairs {
    struct pair *all;
    size_t n, cap;
};

static void pairs_add(struct pairs *pairs, struct slice name, struct slice value) {
    if (pairs->n == pairs->cap) {
        pairs->cap = pairs->cap ? pairs->cap * 2 : 16;
        pairs->all = mem_realloc(pairs->all, pairs->cap * sizeof *pairs->all);
    }
    pairs->all[pairs->n] = (struct pair){.name = name, .value = value, .place = pairs->n};
    pairs->n++;
}

static bool read_pairs(struct slice text, struct pairs *pairs) {
    while (text.len > 0) {
        struct slice name;
        struct slice value;
        if (!take_text(&text, &name) || !take_text(&text, &value)) return false;
        if (name.data && value.data) pairs_add(pairs, name, value);
    }
    return true;
}

static int by_name(const void *a, const void *b) {
    const struct pair *left = a;
    const struct pair *right = b;
    int order = slice_compare(left->name, right->name);
    return order ? order : (left->place > right->place) - (left->place < right->place);
}

static int by_place(const void *a, const void *b) {
    const struct pair *left = a;
    const struct pair *right = b;
    return (left->place > right->place) - (left->place < right->place);
}

static int by_score(const void *a, const void *b) {
    const struct pair *left = a;
    const struct pair *right = b;
    if (left->score != right->score) return left->score < right->score ? -1 : 1;
    return slice_compare(left->name, right->name);
}

/* Of those of one name the last stays. */
static void drop_repeated(struct pairs *pairs) {
    if (pairs->n == 0) return;
    qsort(pairs->all, pairs->n, sizeof *pairs->all, by_name);
    size_t n = 0;
    for (size_t i = 0; i < pairs->n; i++) {
        bool last = i + 1 == pairs->n || !slice_equal(pairs->all[i].name, pairs->all[i + 1].name);
        if (last) pairs->all[n++] = pairs->all[i];
    }
    pairs->n = n;
}

/* ---- one shape each ---- */

static bool pack_fields(struct pairs *pairs, struct buf *packed) {
    drop_repeated(pairs);
    if (pairs->n > 0) qsort(pairs->all, pairs->n, sizeof *pairs->all, by_place);
    for (size_t i = 0; i < pairs->n; i++)
        fields_append(packed, pairs->all[i].name, pairs->all[i].value);
    return true;
}

/* The columns of one row. */
static bool read_columns(const struct named_query *query, struct slice text, struct pairs *pairs) {
    for (uint16_t i = 0; i < query->n_columns; i++) {
        struct slice value;
        if (!take_text(&text, &value)) return false;
        if (value.data) pairs_add(pairs, slice_from(query->columns[i]), value);
    }
    return text.len == 0;
}

static bool pack_members(struct pairs *pairs, struct buf *packed, const char **why) {
    drop_repeated(pairs);
    if (pairs->n > SCORED_MOST) {
        *why = "a sorted set's result has more than 65535 members";
        return false;
    }
    for (size_t i = 0; i < pairs->n; i++) {
        struct pair *pair = &pairs->all[i];
        if (number_parse_double(pair->value, &pair->score) && !isnan(pair->score)) continue;
        *why = "a sorted set's score is not a number";
        return false;
    }
    if (pairs->n == 0) return true;
    qsort(pairs->all, pairs->n, sizeof *pairs->all, by_score);
    scored_init(packed);
    for (size_t i = 0; i < pairs->n; i++)
        scored_append(packed, pairs->all[i].name, pairs->all[i].score);
    scored_set_count(packed, pairs->n);
    return true;
}

static bool pack_pairs(const struct named_query *query, struct slice text, struct buf *packed,
                       const char **why) {
    struct pairs pairs = {0};
    bool columns = query->shape == SHAPE_HASH && !named_has_pairs(query);
    bool packs = columns ? read_columns(query, text, &pairs) : read_pairs(text, &pairs);
    if (!packs)
        *why = garbled;
    else if (query->shape == SHAPE_HASH)
        packs = pack_fields(&pairs, packed);
    else
        packs = pack_members(&pairs, packed, why);
    mem_free(pairs.all);
    return packs;
}

static bool pack_elements(struct slice text, struct buf *packed, const char **why) {
    *why = garbled;
    while (text.len > 0) {
        struct slice element;
        if (!take_text(&text, &element)) return false;
        if (!element.data) continue;
        size_t size = elements_size(element.len);
        elements_write(buf_reserve(packed, size), element);
        packed->len += size;
    }
    return true;
}

bool result_pack(const struct named_query *query, struct slice text, struct buf *packed,
                 const char **why) {
    switch (query->shape) {
    case SHAPE_HASH:
    case SHAPE_ZSET: return pack_pairs(query, text, packed, why);
    case SHAPE_LIST: return pack_elements(text, packed, why);
    case SHAPE_ROWS:
    case SHAPE_ROW:
    case SHAPE_VALUE: break;
    }
    buf_append_slice(packed, text);
    return true;
}
