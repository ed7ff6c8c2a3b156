#include "cache/front/latency_graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { COLUMNS = 80, ROWS = 4, STEPS = 3 /* of a row */, LABEL_MAX = 24 };

struct range {
    int64_t least, most;
};

static struct range range_of(const struct latency_sample *samples, uint32_t n) {
    struct range range = {samples[0].ms, samples[0].ms};
    for (uint32_t i = 1; i < n; i++) {
        if (samples[i].ms < range.least) range.least = samples[i].ms;
        if (samples[i].ms > range.most) range.most = samples[i].ms;
    }
    return range;
}

/* 0 is the lowest. */
static int64_t step_of(int64_t ms, struct range range) {
    int64_t steps = ROWS * STEPS;
    if (range.most == range.least) return 0;
    int64_t step = (ms - range.least) * steps / (range.most - range.least);
    return step < steps ? step : steps - 1;
}

/* "7s", "3m", "2h", "9d" */
static void write_age(int64_t seconds, char label[LABEL_MAX]) {
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    while (i < 3 && seconds < units[i].seconds)
        i++;
    snprintf(label, LABEL_MAX, "%" PRId64 "%c", seconds > 0 ? seconds / units[i].seconds : 0,
             units[i].unit);
}

static void end_line(struct buf *out) {
    while (out->len && out->data[out->len - 1] == ' ')
        out->len--;
    buf_append_char(out, '\n');
}

static void draw_bars(const struct latency_sample *samples, uint32_t n, struct buf *out) {
    struct range range = range_of(samples, n);
    for (int64_t row = ROWS - 1; row >= 0; row--) {
        for (uint32_t i = 0; i < n; i++) {
            int64_t above = step_of(samples[i].ms, range) - row * STEPS;
            buf_append_char(out, above < 0 ? ' ' : above < STEPS ? "_o#"[above] : '|');
        }
        end_line(out);
    }
}

static void draw_labels(const struct latency_sample *samples, uint32_t n, int64_t now_s,
                        struct buf *out) {
    bool any = true;
    for (size_t line = 0; any; line++) {
        any = false;
        for (uint32_t i = 0; i < n; i++) {
            char label[LABEL_MAX];
            write_age(now_s - samples[i].wall_s, label);
            bool has = line < strlen(label);
            buf_append_char(out, has ? label[line] : ' ');
            any |= has;
        }
        end_line(out);
    }
}

void latency_graph(const struct latency_event *event, int64_t now_s, struct buf *out) {
    ASSERT(event->n > 0);
    struct range range = range_of(event->samples, event->n);
    uint32_t n = event->n < COLUMNS ? event->n : COLUMNS;
    const struct latency_sample *newest = event->samples + event->n - n;
    buf_printf(out, "%s - high %" PRId64 " ms, low %" PRId64 " ms (all time high %" PRId64 " ms)\n",
               event->name, range.most, range.least, event->worst_ms);
    for (int i = 0; i < COLUMNS; i++)
        buf_append_char(out, '-');
    buf_append_char(out, '\n');
    draw_bars(newest, n, out);
    buf_append_char(out, '\n');
    draw_labels(newest, n, now_s, out);
}
