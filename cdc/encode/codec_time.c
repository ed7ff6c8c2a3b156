/* Dates and times, from the text of DateStyle ISO and IntervalStyle postgres, into Debezium's numbers and
 * ISO 8601 strings. Calendar: proleptic Gregorian; year 0 is 1 BC. */
#include <string.h>

#include "cdc/encode/codec_rules.h"

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY    (86400 * US_PER_SECOND)
/* 365.25 / 12 days. */
#define US_PER_MONTH INT64_C(2629800000000)

/* Debezium's stand-ins for infinity. */
#define DATE_INFINITY             INT64_C(-2147472692)
#define DATE_MINUS_INFINITY       INT64_C(-2147472691)
#define INSTANT_INFINITY_MS       INT64_C(9223372036825200)
#define INSTANT_MINUS_INFINITY_MS INT64_C(-9223372036832400)

/* A reader over the text; the first failure sticks. */
struct reader {
    const char *at;
    const char *end;
    bool failed;
};

static struct reader reader_of(struct slice text) {
    return (struct reader){.at = text.data, .end = text.data + text.len};
}

static bool next_is(const struct reader *in, char c) { return in->at < in->end && *in->at == c; }

static bool skip(struct reader *in, char c) {
    if (!next_is(in, c)) return false;
    in->at++;
    return true;
}

static void expect(struct reader *in, char c) {
    if (!skip(in, c)) in->failed = true;
}

/* Between least and most digits. */
static int64_t number(struct reader *in, int least, int most) {
    int64_t value = 0;
    int n = 0;
    for (; n < most && in->at < in->end && *in->at >= '0' && *in->at <= '9'; n++)
        value = value * 10 + (*in->at++ - '0');
    if (n < least) in->failed = true;
    return value;
}

/* ".123" as microseconds, 0 where there is none. */
static int64_t fraction_us(struct reader *in) {
    if (!skip(in, '.')) return 0;
    int64_t value = 0;
    int n = 0;
    for (; n < 6 && in->at < in->end && *in->at >= '0' && *in->at <= '9'; n++)
        value = value * 10 + (*in->at++ - '0');
    if (n == 0) in->failed = true;
    for (; n < 6; n++)
        value *= 10;
    return value;
}

/* Days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted + (shifted < 10 ? 3 : -9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

/* "YYYY-MM-DD"; " BC" comes at the very end of the text, so it is looked for first. */
static bool take_bc(struct slice *text) {
    if (text->len < 3 || memcmp(text->data + text->len - 3, " BC", 3) != 0) return false;
    text->len -= 3;
    return true;
}

static int64_t read_days(struct reader *in, bool bc) {
    int64_t year = number(in, 4, 7);
    expect(in, '-');
    int64_t month = number(in, 2, 2);
    expect(in, '-');
    int64_t day = number(in, 2, 2);
    if (month < 1 || month > 12 || day < 1 || day > 31) in->failed = true;
    return in->failed ? 0 : days_of(bc ? 1 - year : year, month, day);
}

/* "HH:MM:SS[.ffffff]" */
static int64_t read_time_us(struct reader *in) {
    int64_t hours = number(in, 2, 2);
    expect(in, ':');
    int64_t minutes = number(in, 2, 2);
    expect(in, ':');
    int64_t seconds = number(in, 2, 2);
    if (hours > 24 || minutes > 59 || seconds > 60) in->failed = true;
    return ((hours * 60 + minutes) * 60 + seconds) * US_PER_SECOND + fraction_us(in);
}

/* "+02", "-03:30", "+02:30:15": seconds east of UTC. */
static int64_t read_offset_seconds(struct reader *in) {
    bool west = next_is(in, '-');
    if (!skip(in, '+') && !skip(in, '-')) in->failed = true;
    int64_t seconds = number(in, 2, 2) * 3600;
    if (skip(in, ':')) seconds += number(in, 2, 2) * 60;
    if (skip(in, ':')) seconds += number(in, 2, 2);
    return west ? -seconds : seconds;
}

static bool finished(const struct reader *in) { return !in->failed && in->at == in->end; }

static int64_t floor_div(int64_t value, int64_t by) { return value / by - (value % by < 0); }

/* 0: finite; else the sign of the infinity. */
static int infinity_of(struct slice text) {
    if (slice_equal(text, SLICE("infinity"))) return 1;
    return slice_equal(text, SLICE("-infinity")) ? -1 : 0;
}

enum codec_result codec_date(const struct codec *codec, struct slice text, struct buf *out) {
    (void)codec;
    int64_t days;
    int infinity = infinity_of(text);
    if (infinity) {
        days = infinity > 0 ? DATE_INFINITY : DATE_MINUS_INFINITY;
    } else {
        bool bc = take_bc(&text);
        struct reader in = reader_of(text);
        days = read_days(&in, bc);
        if (!finished(&in)) return CODEC_AS_TEXT;
    }
    buf_append_i64(out, days);
    return CODEC_DONE;
}

enum codec_result codec_time(const struct codec *codec, struct slice text, struct buf *out) {
    struct reader in = reader_of(text);
    int64_t us = read_time_us(&in);
    if (!finished(&in)) return CODEC_AS_TEXT;
    bool millis = codec->format->times == TIMES_CONNECT ||
                  (codec->format->times == TIMES_ADAPTIVE && codec->digits <= 3);
    buf_append_i64(out, millis ? us / 1000 : us);
    return CODEC_DONE;
}

/* "YYYY-MM-DD HH:MM:SS[.ffffff]" as days and microseconds of the day. */
static bool read_instant(struct reader *in, bool bc, int64_t *days, int64_t *us) {
    *days = read_days(in, bc);
    expect(in, ' ');
    *us = read_time_us(in);
    return !in->failed;
}

enum codec_result codec_timestamp(const struct codec *codec, struct slice text, struct buf *out) {
    bool millis = codec->format->times == TIMES_CONNECT || codec->digits <= 3;
    int infinity = infinity_of(text);
    if (infinity) {
        int64_t ms = infinity > 0 ? INSTANT_INFINITY_MS : INSTANT_MINUS_INFINITY_MS;
        buf_append_i64(out, millis ? ms : ms * 1000);
        return CODEC_DONE;
    }
    bool bc = take_bc(&text);
    struct reader in = reader_of(text);
    int64_t days;
    int64_t us;
    if (!read_instant(&in, bc, &days, &us) || !finished(&in)) return CODEC_AS_TEXT;
    int64_t value;
    if (millis) {
        value = days * (US_PER_DAY / 1000) + floor_div(us, 1000);
    } else if (__builtin_mul_overflow(days, US_PER_DAY, &value) ||
               __builtin_add_overflow(value, us, &value)) {
        return CODEC_AS_TEXT; /* the last 29 years that PostgreSQL knows are past int64 microseconds */
    }
    buf_append_i64(out, value);
    return CODEC_DONE;
}

static char *write_digits(char *at, int64_t value, int width) {
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + width;
}

/* Four digits at least; a sign where there are more, or before year 0. */
static char *write_year(char *at, int64_t year) {
    if (year < 0) {
        *at++ = '-';
        year = -year;
    } else if (year > 9999) {
        *at++ = '+';
    }
    int width = 4;
    for (int64_t limit = 10000; year >= limit; limit *= 10)
        width++;
    return write_digits(at, year, width);
}

/* HH:MM:SS and `digits` of fraction; negative: as many as it takes. */
static char *write_time(char *at, int64_t us, int digits) {
    int64_t seconds = us / US_PER_SECOND;
    int64_t fraction = us % US_PER_SECOND;
    at = write_digits(at, seconds / 3600, 2);
    *at++ = ':';
    at = write_digits(at, seconds / 60 % 60, 2);
    *at++ = ':';
    at = write_digits(at, seconds % 60, 2);
    if (digits == 0 || (digits < 0 && fraction == 0)) return at;
    *at++ = '.';
    write_digits(at, fraction, 6);
    if (digits > 0) return at + digits;
    int n = 6;
    while (at[n - 1] == '0')
        n--;
    return at + n;
}

static int two_digits(const char *at) { return (at[0] - '0') * 10 + at[1] - '0'; }

/* In UTC, which sessions ask for, the text is nearly what is wanted: "YYYY-MM-DD HH:MM:SS[.ffffff]+00". False: another form, or a
 * day that not every month has. */
static bool copy_utc(const struct codec *codec, struct slice text, struct buf *out) {
    static const char form[] = "0000-00-00 00:00:00";
    enum { FORM = sizeof form - 1, ZONE = 3 };
    const char *in = text.data;
    size_t fraction = text.len - FORM - ZONE; /* with its point */
    if (text.len < FORM + ZONE || fraction == 1 || fraction > 7) return false;
    if (memcmp(in + text.len - ZONE, "+00", ZONE) != 0 || (fraction && in[FORM] != '.'))
        return false;
    for (size_t i = 0; i < FORM; i++) {
        bool fits = form[i] == '0' ? in[i] >= '0' && in[i] <= '9' : in[i] == form[i];
        if (!fits) return false;
    }
    for (size_t i = 1; i < fraction; i++) {
        if (in[FORM + i] < '0' || in[FORM + i] > '9') return false;
    }
    int month = two_digits(in + 5);
    int day = two_digits(in + 8);
    if (month < 1 || month > 12 || day < 1 || day > 28 || two_digits(in + 11) > 23 ||
        two_digits(in + 14) > 59 || two_digits(in + 17) > 59)
        return false;
    char *at = buf_reserve(out, 64);
    out->len += FORM + 3 + (codec->digits ? 1 + (size_t)codec->digits : 0);
    *at++ = '"';
    memcpy(at, in, FORM);
    at[10] = 'T';
    at += FORM;
    if (codec->digits) {
        memset(at, '0', 7);
        memcpy(at, in + FORM, fraction);
        *at = '.';
        at += 1 + codec->digits;
    }
    *at++ = 'Z';
    *at = '"';
    return true;
}

enum codec_result codec_timestamptz(const struct codec *codec, struct slice text, struct buf *out) {
    if (copy_utc(codec, text, out)) return CODEC_DONE;
    if (infinity_of(text)) return codec_text(codec, text, out);
    bool bc = take_bc(&text);
    struct reader in = reader_of(text);
    int64_t days;
    int64_t us;
    if (!read_instant(&in, bc, &days, &us)) return CODEC_AS_TEXT;
    us -= read_offset_seconds(&in) * US_PER_SECOND;
    if (!finished(&in)) return CODEC_AS_TEXT;
    days += floor_div(us, US_PER_DAY);
    us -= floor_div(us, US_PER_DAY) * US_PER_DAY;
    int64_t year;
    int64_t month;
    int64_t day;
    date_of(days, &year, &month, &day);
    char *start = buf_reserve(out, 64);
    char *at = start;
    *at++ = '"';
    at = write_year(at, year);
    *at++ = '-';
    at = write_digits(at, month, 2);
    *at++ = '-';
    at = write_digits(at, day, 2);
    *at++ = 'T';
    at = write_time(at, us, codec->digits);
    *at++ = 'Z';
    *at++ = '"';
    out->len += (size_t)(at - start);
    return CODEC_DONE;
}

enum codec_result codec_timetz(const struct codec *codec, struct slice text, struct buf *out) {
    (void)codec;
    struct reader in = reader_of(text);
    int64_t us = read_time_us(&in);
    us -= read_offset_seconds(&in) * US_PER_SECOND;
    if (!finished(&in)) return CODEC_AS_TEXT;
    us -= floor_div(us, US_PER_DAY) * US_PER_DAY;
    char *start = buf_reserve(out, 32);
    char *at = start;
    *at++ = '"';
    at = write_time(at, us, -1);
    *at++ = 'Z';
    *at++ = '"';
    out->len += (size_t)(at - start);
    return CODEC_DONE;
}

struct interval {
    int64_t months;
    int64_t days;
    int64_t us;
};

/* "1 year 2 mons -3 days +04:05:06.789", any part absent; all absent is "00:00:00". */
static bool read_interval(struct slice text, struct interval *interval) {
    static const struct {
        const char *name;
        int64_t months;
        int64_t days;
    } units[] = {{"years", 12, 0}, {"year", 12, 0}, {"mons", 1, 0},
                 {"mon", 1, 0},    {"days", 0, 1},  {"day", 0, 1}};
    *interval = (struct interval){0};
    struct reader in = reader_of(text);
    if (text.len == 0) return false;
    while (in.at < in.end && !in.failed) {
        bool negative = next_is(&in, '-');
        if (!skip(&in, '-')) skip(&in, '+');
        int64_t sign = negative ? -1 : 1;
        int64_t value = number(&in, 1, 12);
        if (next_is(&in, ':')) {
            in.at++;
            int64_t minutes = number(&in, 2, 2);
            expect(&in, ':');
            int64_t seconds = number(&in, 2, 2);
            if (value > INT64_C(2562047788))
                return false; /* as far as PostgreSQL's microseconds go */
            uint64_t us = (uint64_t)(((value * 60) + minutes) * 60 + seconds) * US_PER_SECOND +
                          (uint64_t)fraction_us(&in);
            if (us > (uint64_t)INT64_MAX + negative) return false;
            interval->us = (int64_t)(negative ? 0 - us : us);
            return finished(&in);
        }
        expect(&in, ' ');
        size_t length = 0;
        while (in.at + length < in.end && in.at[length] != ' ')
            length++;
        size_t i = 0;
        for (; i < sizeof units / sizeof *units; i++) {
            if (slice_equal(slice_make(in.at, length), slice_from(units[i].name))) break;
        }
        if (i == sizeof units / sizeof *units) return false;
        interval->months += sign * value * units[i].months;
        interval->days += sign * value * units[i].days;
        in.at += length;
        if (in.at < in.end) expect(&in, ' ');
    }
    return finished(&in);
}

/* Exact, and the nearest end of int64 beyond it. */
static int64_t interval_us(const struct interval *interval) {
    __int128 us = (__int128)interval->months * US_PER_MONTH +
                  (__int128)interval->days * US_PER_DAY + interval->us;
    if (us > INT64_MAX) return INT64_MAX;
    if (us < INT64_MIN) return INT64_MIN;
    return (int64_t)us;
}

/* P1Y2M3DT4H5M6.789S, each part with its own sign, as java.time and pgjdbc take them apart. */
static void write_interval(const struct interval *interval, struct buf *out) {
    int64_t seconds = interval->us / US_PER_SECOND;
    int64_t fraction = interval->us % US_PER_SECOND;
    buf_append_text(out, "\"P");
    buf_append_i64(out, interval->months / 12);
    buf_append_char(out, 'Y');
    buf_append_i64(out, interval->months % 12);
    buf_append_char(out, 'M');
    buf_append_i64(out, interval->days);
    buf_append_text(out, "DT");
    buf_append_i64(out, seconds / 3600);
    buf_append_char(out, 'H');
    buf_append_i64(out, seconds / 60 % 60);
    buf_append_char(out, 'M');
    if (fraction < 0 && seconds % 60 == 0) buf_append_char(out, '-');
    buf_append_i64(out, seconds % 60);
    if (fraction) {
        char digits[6];
        write_digits(digits, fraction < 0 ? -fraction : fraction, 6);
        size_t n = 6;
        while (digits[n - 1] == '0')
            n--;
        buf_append_char(out, '.');
        buf_append(out, digits, n);
    }
    buf_append_text(out, "S\"");
}

enum codec_result codec_interval(const struct codec *codec, struct slice text, struct buf *out) {
    struct interval interval;
    if (!read_interval(text, &interval)) return CODEC_AS_TEXT;
    if (codec->format->intervals == INTERVALS_STRING)
        write_interval(&interval, out);
    else
        buf_append_i64(out, interval_us(&interval));
    return CODEC_DONE;
}

void codec_zero_interval(const struct codec *codec, struct buf *out) {
    if (codec->format->intervals == INTERVALS_STRING)
        write_interval(&(struct interval){0}, out);
    else
        buf_append_char(out, '0');
}
