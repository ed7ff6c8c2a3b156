#include "connectors/redis/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { PARTS_MAX = 32 };

/* Literal text, and then a column's value; the last one may have no column. */
struct part {
    struct slice literal;
    struct slice column; /* .data NULL: none */
    uint16_t at;         /* in the shape; once bound */
};

struct pattern {
    char *text;
    uint32_t n;
    uint32_t n_columns;
    struct part parts[PARTS_MAX];
};

struct layout {
    enum layout_kind kind;
    struct pattern key;
    struct pattern member; /* .text NULL: the row's key */
    char *score;           /* NULL: none */
    uint16_t score_at;
    enum value_class score_class;
};

/* ---- the configuration ---- */

static bool malformed(const char *option, const char *text, const char *why, struct error *err) {
    return error_set(err, ERROR_CONFIG, false, "%s \"%.200s\": %s", option, text, why);
}

static bool parse(struct pattern *pattern, const char *option, const char *text,
                  struct error *err) {
    pattern->text = mem_strdup(text);
    const char *at = pattern->text;
    if (!*at) return malformed(option, text, "is empty", err);
    while (*at) {
        if (pattern->n == PARTS_MAX) return malformed(option, text, "has too many columns", err);
        struct part *part = &pattern->parts[pattern->n++];
        size_t len = strcspn(at, "{}");
        *part = (struct part){.literal = slice_make(at, len)};
        at += len;
        if (*at == '}') return malformed(option, text, "has a } without a {", err);
        if (*at == '\0') break;
        len = strcspn(++at, "{}");
        if (at[len] != '}') return malformed(option, text, "has a { without a }", err);
        if (len == 0) return malformed(option, text, "names no column between { and }", err);
        part->column = slice_make(at, len);
        pattern->n_columns++;
        at += len + 1;
    }
    return true;
}

static bool find_kind(const char *as, enum layout_kind *kind, struct error *err) {
    static const char *const names[] = {[LAYOUT_JSON] = "json",
                                        [LAYOUT_HASH] = "hash",
                                        [LAYOUT_SET] = "set",
                                        [LAYOUT_SORTED_SET] = "sorted-set"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(as, names[i]) != 0) continue;
        *kind = (enum layout_kind)i;
        return true;
    }
    return error_set(err, ERROR_CONFIG, false, "as \"%.40s\": not json, hash, set or sorted-set",
                     as);
}

static bool fits(const struct layout *layout, struct error *err) {
    bool is_set = layout->kind == LAYOUT_SET || layout->kind == LAYOUT_SORTED_SET;
    const char *wrong = NULL;
    if (layout->member.text && !is_set)
        wrong = "member goes with as: set and as: sorted-set";
    else if (layout->score && layout->kind != LAYOUT_SORTED_SET)
        wrong = "score goes with as: sorted-set";
    else if (!layout->score && layout->kind == LAYOUT_SORTED_SET)
        wrong = "as: sorted-set needs score, a column";
    return !wrong || error_set(err, ERROR_CONFIG, false, "%s", wrong);
}

struct layout *layout_create(const struct layout_config *config, struct error *err) {
    struct layout *layout = mem_zalloc(sizeof *layout);
    if (config->score && config->score[0]) layout->score = mem_strdup(config->score);
    bool has_member = config->member && config->member[0];
    if (!find_kind(config->as ? config->as : "json", &layout->kind, err) ||
        !parse(&layout->key, "key", config->key ? config->key : "", err) ||
        (has_member && !parse(&layout->member, "member", config->member, err)) ||
        !fits(layout, err))
        layout_destroy(&layout);
    return layout;
}

void layout_destroy(struct layout **layout) {
    struct layout *old = *layout;
    *layout = NULL;
    if (!old) return;
    mem_free(old->key.text);
    mem_free(old->member.text);
    mem_free(old->score);
    mem_free(old);
}

enum layout_kind layout_kind(const struct layout *layout) { return layout->kind; }

/* ---- a table's columns ---- */

static bool find_column(const struct shape *shape, struct slice name, const char *option,
                        uint16_t *at, struct error *err) {
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (!slice_equal(slice_from(shape->columns[i].name), name)) continue;
        *at = i;
        return true;
    }
    return error_set(err, ERROR_CONFIG, false, "%s: %s.%s has no column \"%.*s\"", option,
                     shape->schema, shape->table, (int)name.len, name.data);
}

static bool bind(struct pattern *pattern, const struct shape *shape, const char *option,
                 struct error *err) {
    for (uint32_t i = 0; i < pattern->n; i++) {
        struct part *part = &pattern->parts[i];
        if (part->column.data && !find_column(shape, part->column, option, &part->at, err))
            return false;
    }
    return true;
}

static bool names(const struct pattern *pattern, uint16_t column) {
    for (uint32_t i = 0; i < pattern->n; i++) {
        if (pattern->parts[i].column.data && pattern->parts[i].at == column) return true;
    }
    return false;
}

static bool check_covered(const struct layout *layout, const struct shape *shape,
                          struct error *err) {
    bool is_set = layout->kind == LAYOUT_SET || layout->kind == LAYOUT_SORTED_SET;
    if (is_set && !layout->member.text) return true; /* the member is the row's key */
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        uint16_t at = shape->keys[i];
        if (names(&layout->key, at) || names(&layout->member, at)) continue;
        return error_set(err, ERROR_CONFIG, false,
                         "key \"%s\": does not hold {%s}, which is of the key of %s.%s: rows would "
                         "overwrite one another",
                         layout->key.text, shape->columns[at].name, shape->schema, shape->table);
    }
    return true;
}

static bool bind_score(struct layout *layout, const struct shape *shape, struct error *err) {
    static const bool allowed[N_CLASSES] = {
        [CLASS_SHORT] = true, [CLASS_INTEGER] = true,   [CLASS_LONG] = true,
        [CLASS_FLOAT] = true, [CLASS_DOUBLE] = true,    [CLASS_NUMERIC] = true,
        [CLASS_DATE] = true,  [CLASS_TIMESTAMP] = true, [CLASS_TIMESTAMPTZ] = true,
    };
    if (!layout->score) return true;
    if (!find_column(shape, slice_from(layout->score), "score", &layout->score_at, err))
        return false;
    const struct shape_column *column = &shape->columns[layout->score_at];
    layout->score_class = column->class;
    return (allowed[column->class] && !column->array) ||
           error_set(err, ERROR_CONFIG, false,
                     "score: column \"%s\" of %s.%s is neither a number nor a date or timestamp",
                     column->name, shape->schema, shape->table);
}

bool layout_fits(struct layout *layout, const struct shape *shape, const char **option,
                 struct error *err) {
    *option = "key";
    if (!bind(&layout->key, shape, "key", err)) return false;
    *option = "member";
    if (layout->member.text && !bind(&layout->member, shape, "member", err)) return false;
    *option = "score";
    if (!bind_score(layout, shape, err)) return false;
    *option = "key";
    return check_covered(layout, shape, err);
}

bool layout_bind(struct layout *layout, const struct shape *shape, struct error *err) {
    const char *option;
    return layout_fits(layout, shape, &option, err);
}

/* ---- rows ---- */

static void append_escaped(struct buf *out, struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == ':')
            buf_append_text(out, "%3A");
        else if (c == '%')
            buf_append_text(out, "%25");
        else
            buf_append_char(out, c);
    }
}

void layout_example(const struct layout *layout, struct buf *out) {
    for (uint32_t i = 0; i < layout->key.n; i++) {
        buf_append_slice(out, layout->key.parts[i].literal);
        if (layout->key.parts[i].column.data) buf_append_char(out, '0');
    }
}

static bool render(const struct pattern *pattern, const struct value *row, struct buf *out) {
    for (uint32_t i = 0; i < pattern->n; i++) {
        const struct part *part = &pattern->parts[i];
        buf_append_slice(out, part->literal);
        if (!part->column.data) continue;
        const struct value *value = &row[part->at];
        if (value->kind != VALUE_TEXT) return false;
        struct slice text = slice_make(value->data, value->len);
        if (pattern->n_columns > 1)
            append_escaped(out, text);
        else
            buf_append_slice(out, text);
    }
    return true;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar, which PostgreSQL uses for all times: years are
 * counted from March, so that the leap day is the last. */
static int64_t days_of(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* Digits at *at, *at moved behind them; false: none, or more than a number of PostgreSQL's has. */
static bool take_number(struct slice *in, int64_t *number) {
    size_t n = 0;
    *number = 0;
    for (; n < in->len && in->data[n] >= '0' && in->data[n] <= '9'; n++)
        if (n < 9) *number = *number * 10 + (in->data[n] - '0');
    *in = slice_make(in->data + n, in->len - n);
    return n > 0 && n <= 9;
}

static bool take_char(struct slice *in, char c) {
    if (in->len == 0 || in->data[0] != c) return false;
    *in = slice_make(in->data + 1, in->len - 1);
    return true;
}

/* "07:41:07.25": seconds; *fraction is ".25". */
static bool take_time(struct slice *in, int64_t *seconds, struct slice *fraction) {
    int64_t hours, minutes, rest, ignored;
    if (!take_number(in, &hours) || !take_char(in, ':') || !take_number(in, &minutes) ||
        !take_char(in, ':') || !take_number(in, &rest))
        return false;
    *seconds = hours * 3600 + minutes * 60 + rest;
    const char *start = in->data;
    if (take_char(in, '.') && !take_number(in, &ignored)) return false;
    *fraction = slice_make(start, (size_t)(in->data - start));
    return true;
}

/* "+05:30", "-08", as behind a timestamptz; nothing behind a timestamp, which is taken as UTC. */
static bool take_zone(struct slice *in, int64_t *seconds) {
    *seconds = 0;
    bool west = take_char(in, '-');
    if (!west && !take_char(in, '+')) return true;
    int64_t factor = 3600;
    do {
        int64_t number;
        if (!take_number(in, &number)) return false;
        *seconds += number * factor;
        factor /= 60;
    } while (factor && take_char(in, ':'));
    if (west) *seconds = -*seconds;
    return true;
}

/* A fraction counts up from its second, also before 1970, where a decimal counts down: -1 and .25 are -0.75. */
static void append_seconds(struct buf *out, int64_t seconds, struct slice fraction) {
    if (fraction.len == 0) {
        buf_append_i64(out, seconds);
        return;
    }
    char text[16];
    snprintf(text, sizeof text, "0%.*s", (int)fraction.len, fraction.data);
    buf_printf(out, "%.6f", (double)seconds + strtod(text, NULL));
}

bool layout_epoch(struct slice text, struct buf *out) {
    int64_t year, month, day, zone;
    int64_t seconds = 0;
    struct slice fraction = {0};
    if (!take_number(&text, &year) || !take_char(&text, '-') || !take_number(&text, &month) ||
        !take_char(&text, '-') || !take_number(&text, &day) || month < 1 || month > 12)
        return false;
    bool is_time = text.len > 1 && text.data[1] != 'B'; /* not " BC" */
    if (is_time && (!take_char(&text, ' ') || !take_time(&text, &seconds, &fraction) ||
                    !take_zone(&text, &zone)))
        return false;
    if (is_time) seconds -= zone;
    if (slice_equal(text, SLICE(" BC")))
        year = 1 - year;
    else if (text.len)
        return false;
    append_seconds(out, days_of(year, (int)month, (int)day) * 86400 + seconds, fraction);
    return true;
}

static bool append_score(const struct layout *layout, const struct value *value, struct buf *out) {
    struct slice text = slice_make(value->data, value->len);
    switch (layout->score_class) {
    case CLASS_DATE:
    case CLASS_TIMESTAMP:
    case CLASS_TIMESTAMPTZ:
        if (text.len && (text.data[0] == 'i' || text.data[0] == '-')) break; /* infinity */
        if (layout_epoch(text, out)) return true;
        out->len = 0;
        buf_append_slice(out, text);
        return false;
    default: break;
    }
    if (slice_equal(text, SLICE("infinity")) || slice_equal(text, SLICE("Infinity")))
        buf_append_text(out, "+inf");
    else if (slice_equal(text, SLICE("-infinity")) || slice_equal(text, SLICE("-Infinity")))
        buf_append_text(out, "-inf");
    else
        buf_append_slice(out, text);
    return !slice_equal(text, SLICE("NaN"));
}

/* Key and member. */
static bool stands(const struct layout *layout, struct slice row_key, const struct value *row,
                   struct place *place) {
    place->key.len = place->member.len = place->score.len = 0;
    if (!render(&layout->key, row, &place->key)) return false;
    if (layout->kind != LAYOUT_SET && layout->kind != LAYOUT_SORTED_SET) return true;
    if (layout->member.text) return render(&layout->member, row, &place->member);
    buf_append_slice(&place->member, row_key);
    return true;
}

enum layout_result layout_place(const struct layout *layout, struct slice row_key,
                                const struct value *row, struct place *place) {
    if (!stands(layout, row_key, row, place)) return LAYOUT_NOWHERE;
    if (!layout->score) return LAYOUT_PLACED;
    const struct value *score = &row[layout->score_at];
    if (score->kind != VALUE_TEXT) return LAYOUT_NOWHERE;
    return append_score(layout, score, &place->score) ? LAYOUT_PLACED : LAYOUT_NO_SCORE;
}

bool layout_place_key(const struct layout *layout, const struct shape *shape, struct slice row_key,
                      struct place *place) {
    struct value *row = mem_calloc(shape->n_columns, sizeof *row);
    struct buf *texts = mem_calloc(shape->n_keys, sizeof *texts);
    struct slice rest = row_key;
    for (uint16_t i = 0; i < shape->n_columns; i++)
        row[i].kind = VALUE_NULL;
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        shape_take_key(shape, &rest, &texts[i]);
        row[shape->keys[i]] = (struct value){
            .kind = VALUE_TEXT, .len = (uint32_t)texts[i].len, .data = buf_text(&texts[i])};
    }
    bool placed = stands(layout, row_key, row, place);
    for (uint16_t i = 0; i < shape->n_keys; i++)
        buf_deinit(&texts[i]);
    mem_free(texts);
    mem_free(row);
    return placed;
}

bool layout_only_column(const struct layout *layout, struct slice *before, uint16_t *column,
                        struct slice *behind) {
    const struct pattern *key = &layout->key;
    if (key->n_columns != 1) return false;
    *before = key->parts[0].literal;
    *column = key->parts[0].at;
    *behind = key->n > 1 ? key->parts[1].literal : (struct slice){.data = "", .len = 0};
    return true;
}

void place_deinit(struct place *place) {
    buf_deinit(&place->key);
    buf_deinit(&place->member);
    buf_deinit(&place->score);
}
