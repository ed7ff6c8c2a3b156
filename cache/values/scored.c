#include "cache/values/scored.h"

#include <stdint.h>

#include "base/assert.h"

enum score_kind { SCORE_I8, SCORE_I16, SCORE_I32, SCORE_DOUBLE };

enum { VARINT_MAX = 10 };

static const size_t score_sizes[] = {
    [SCORE_I8] = 1, [SCORE_I16] = 2, [SCORE_I32] = 4, [SCORE_DOUBLE] = 8};

static enum score_kind kind_of(double score) {
    if (!(score >= INT32_MIN && score <= INT32_MAX) || score != (double)(int32_t)score)
        return SCORE_DOUBLE;
    if (score >= INT8_MIN && score <= INT8_MAX) return SCORE_I8;
    return score >= INT16_MIN && score <= INT16_MAX ? SCORE_I16 : SCORE_I32;
}

static void append_score(struct buf *out, enum score_kind kind, double score) {
    int8_t i8 = kind == SCORE_I8 ? (int8_t)score : 0;
    int16_t i16 = kind == SCORE_I16 ? (int16_t)score : 0;
    int32_t i32 = kind == SCORE_I32 ? (int32_t)score : 0;
    const void *const from[] = {
        [SCORE_I8] = &i8, [SCORE_I16] = &i16, [SCORE_I32] = &i32, [SCORE_DOUBLE] = &score};
    buf_append(out, from[kind], score_sizes[kind]);
}

void scored_append(struct buf *out, struct slice member, double score) {
    enum score_kind kind = kind_of(score);
    char *at = buf_reserve(out, VARINT_MAX);
    size_t n = 0;
    uint64_t head = (uint64_t)member.len << 2 | kind;
    do {
        at[n++] = (char)((head & 0x7f) | (head > 0x7f ? 0x80 : 0));
        head >>= 7;
    } while (head);
    out->len += n;
    buf_append_slice(out, member);
    append_score(out, kind, score);
}

void scored_init(struct buf *out) {
    out->len = 0;
    buf_append(out, &(uint16_t){0}, sizeof(uint16_t));
}

void scored_set_count(struct buf *run, size_t n) {
    uint16_t count = (uint16_t)n;
    ASSERT(n <= SCORED_MOST && run->len >= sizeof count);
    memcpy(run->data, &count, sizeof count);
}

static bool read_head(struct scored_cursor *cursor, uint64_t *head) {
    *head = 0;
    for (unsigned shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        uint8_t byte = (uint8_t)*cursor->at++;
        *head |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

static double read_score(const char *at, enum score_kind kind) {
    int8_t i8;
    int16_t i16;
    int32_t i32;
    double score;
    switch (kind) {
    case SCORE_I8: memcpy(&i8, at, sizeof i8); return i8;
    case SCORE_I16: memcpy(&i16, at, sizeof i16); return i16;
    case SCORE_I32: memcpy(&i32, at, sizeof i32); return i32;
    case SCORE_DOUBLE: break;
    }
    memcpy(&score, at, sizeof score);
    return score;
}

bool scored_next(struct scored_cursor *cursor, struct scored *item) {
    uint64_t head;
    if (read_head(cursor, &head)) {
        size_t left = (size_t)(cursor->end - cursor->at);
        size_t score_size = score_sizes[head & 3];
        if (left >= score_size && head >> 2 <= left - score_size) {
            item->member = slice_make(cursor->at, head >> 2);
            item->score = read_score(cursor->at + item->member.len, head & 3);
            cursor->at += item->member.len + score_size;
            return true;
        }
    }
    cursor->at = cursor->end;
    return false;
}

bool scored_find(struct slice packed, struct slice member, double *score, size_t *rank) {
    struct scored_cursor cursor = scored_begin(packed);
    struct scored item;
    for (*rank = 0; scored_next(&cursor, &item); ++*rank) {
        if (!slice_equal(item.member, member)) continue;
        *score = item.score;
        return true;
    }
    return false;
}
