#include "cache/values/intset.h"

#include "base/assert.h"

static unsigned width_for(int64_t value) {
    if (value >= INT16_MIN && value <= INT16_MAX) return 2;
    if (value >= INT32_MIN && value <= INT32_MAX) return 4;
    return 8;
}

static int64_t load(const char *at, unsigned width) {
    int16_t two;
    int32_t four;
    int64_t eight;
    switch (width) {
    case 2: memcpy(&two, at, sizeof two); return two;
    case 4: memcpy(&four, at, sizeof four); return four;
    case 8: memcpy(&eight, at, sizeof eight); return eight;
    }
    ASSERT_UNREACHABLE();
}

static void save(char *at, unsigned width, int64_t value) {
    int16_t two = (int16_t)value;
    int32_t four = (int32_t)value;
    switch (width) {
    case 2: memcpy(at, &two, sizeof two); return;
    case 4: memcpy(at, &four, sizeof four); return;
    case 8: memcpy(at, &value, sizeof value); return;
    }
    ASSERT_UNREACHABLE();
}

int64_t intset_at(struct slice packed, size_t i) {
    unsigned width = intset_width(packed);
    return load(packed.data + 1 + i * width, width);
}

/* The first place whose number is not smaller: where it is, or where it would go. */
static size_t place_of(struct slice packed, int64_t value) {
    size_t low = 0;
    size_t high = intset_count(packed);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (intset_at(packed, middle) < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(struct slice packed, size_t place, int64_t value) {
    return place < intset_count(packed) && intset_at(packed, place) == value;
}

bool intset_has(struct slice packed, int64_t value) {
    return is_at(packed, place_of(packed, value), value);
}

static void widen(struct buf *packed, unsigned width) {
    unsigned old_width = intset_width(buf_slice(packed));
    size_t count = intset_count(buf_slice(packed));
    buf_reserve(packed, count * (width - old_width));
    for (size_t i = count;
         i-- > 0;) /* from the end: the places to come lie behind those to be read */
        save(packed->data + 1 + i * width, width,
             load(packed->data + 1 + i * old_width, old_width));
    packed->data[0] = (char)width;
    packed->len = 1 + count * width;
}

bool intset_add(struct buf *packed, int64_t value) {
    if (packed->len == 0) buf_append_char(packed, (char)width_for(value));
    size_t place = place_of(buf_slice(packed), value);
    if (is_at(buf_slice(packed), place, value)) return false;
    if (width_for(value) > intset_width(buf_slice(packed))) widen(packed, width_for(value));
    unsigned width = intset_width(buf_slice(packed));
    size_t offset = 1 + place * width;
    buf_reserve(packed, width);
    memmove(packed->data + offset + width, packed->data + offset, packed->len - offset);
    save(packed->data + offset, width, value);
    packed->len += width;
    return true;
}

bool intset_remove(struct buf *packed, int64_t value) {
    size_t place = place_of(buf_slice(packed), value);
    if (!is_at(buf_slice(packed), place, value)) return false;
    unsigned width = intset_width(buf_slice(packed));
    char *at = packed->data + 1 + place * width;
    size_t behind = packed->len - (size_t)(at + width - packed->data);
    memmove(at, at + width, behind);
    packed->len -= width;
    return true;
}
