#include "cache/rows/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
    CONNECT_TIMEOUT_US = 10 * 1000 * 1000,
    FIRST_BACKOFF_US = 50 * 1000,
    LAST_BACKOFF_US = 2 * 1000 * 1000,
};

/* A unit in flight. */
struct held {
    const struct tablestate *subject; /* a table or a query, through all its descriptions */
    bool is_query;
    int64_t since_us;
};

struct line {
    struct pipe *pipe;
    struct held held[PIPE_UNITS]; /* pipe_in_flight of them, in the order of sending */
    uint32_t source;
    bool counted;        /* among the connections that are up */
    int64_t since_us;    /* of connecting */
    int64_t retry_at_us; /* while it is down */
    int64_t backoff_us;
};

struct lines {
    struct core *core;
    struct lines_events events;
    unsigned seed;
    uint32_t n_each, n_sources;
    struct line *lines; /* those of a source stand together */
    char cause[512];    /* of the last connection to the primary that failed */
};

static struct line *line_of(struct lines *lines, const struct pipe *pipe) {
    for (uint32_t i = 0; i < lines->n_sources * lines->n_each; i++) {
        if (lines->lines[i].pipe == pipe) return &lines->lines[i];
    }
    ASSERT_UNREACHABLE();
}

static void on_up(void *owner, struct pipe *pipe) {
    struct lines *lines = owner;
    struct line *line = line_of(lines, pipe);
    line->backoff_us = 0;
    line->counted = true;
    if (line->source == 0) lines->cause[0] = '\0';
    metric_add(lines->core->count.connections, 1);
    lines->events.up(lines->events.owner);
}

/* Half of the backoff and more is drawn by lot: those who lost a server at once do not come back at once. */
static void on_down(void *owner, struct pipe *pipe, const char *cause) {
    struct lines *lines = owner;
    struct line *line = line_of(lines, pipe);
    if (line->counted) metric_add(lines->core->count.connections, -1);
    line->counted = false;
    metric_add(lines->core->count.reconnects, 1);
    line->backoff_us = line->backoff_us ? line->backoff_us * 2 : FIRST_BACKOFF_US;
    if (line->backoff_us > LAST_BACKOFF_US) line->backoff_us = LAST_BACKOFF_US;
    line->retry_at_us =
        clock_mono_us() + line->backoff_us / 2 + (int64_t)rand_r(&lines->seed) % line->backoff_us;
    if (line->source == 0) snprintf(lines->cause, sizeof lines->cause, "%s", cause);
    lines->events.down(lines->events.owner, pipe, cause);
}

static void on_done(void *owner, struct pipe *pipe, struct unit *unit) {
    struct lines *lines = owner;
    struct line *line = line_of(lines, pipe);
    memmove(line->held, line->held + 1, sizeof line->held - sizeof line->held[0]);
    lines->events.done(lines->events.owner, pipe, unit);
}

struct lines *lines_create(struct core *core, struct loop *loop, unsigned seed,
                           const struct lines_events *events) {
    struct lines *lines = mem_zalloc(sizeof *lines);
    lines->core = core;
    lines->events = *events;
    lines->seed = seed;
    lines->n_each = core->config->pool ? core->config->pool : 1;
    lines->n_sources = sources_count(core->sources);
    lines->lines = mem_calloc(lines->n_sources * lines->n_each, sizeof *lines->lines);
    struct pipe_events mine = {on_up, on_down, on_done, lines};
    for (uint32_t i = 0; i < lines->n_sources * lines->n_each; i++) {
        struct line *line = &lines->lines[i];
        line->source = i / lines->n_each;
        line->pipe =
            pipe_create(loop, core->config, sources_at(core->sources, line->source), &mine);
    }
    return lines;
}

void lines_destroy(struct lines **lines) {
    if (!*lines) return;
    for (uint32_t i = 0; i < (*lines)->n_sources * (*lines)->n_each; i++)
        pipe_destroy(&(*lines)->lines[i].pipe);
    mem_free((*lines)->lines);
    mem_free(*lines);
    *lines = NULL;
}

/* It goes to the new place at once. */
static void follow(const struct lines *lines, struct line *line) {
    if (!core_rule_holds(lines->core, RULE_SERVER)) return;
    if (pipe_state(line->pipe) == PIPE_DOWN || pipe_is_current(line->pipe)) return;
    pipe_break(line->pipe, "the server is found elsewhere now");
    line->backoff_us = 0;
    line->retry_at_us = 0;
}

/* Is there an own one among the line's units, and one that is slow? */
static bool holds(const struct line *line, const struct tablestate *subject, int64_t now_us,
                  bool *slow) {
    bool found = false;
    for (uint32_t i = 0; i < pipe_in_flight(line->pipe); i++) {
        if (line->held[i].subject != subject) continue;
        found = true;
        *slow |= now_us - line->held[i].since_us > LINES_SLOW_US;
    }
    return found;
}

/* Behind the first of another table or query: what it waits for there must come soon. */
static bool comes_soon(const struct held *first, int64_t now_us) {
    return !first->is_query && now_us - first->since_us <= LINES_SLOW_US;
}

enum lines_picked lines_pick(struct lines *lines, uint32_t source, const struct table *table,
                             int64_t now_us, struct pipe **pipe) {
    struct line *idle = NULL, *behind_own = NULL, *behind_other = NULL, *down = NULL;
    uint32_t n_idle = 0, n_own = 0;
    bool connecting = false, slow = false;
    for (uint32_t i = source * lines->n_each; i < (source + 1) * lines->n_each; i++) {
        struct line *line = &lines->lines[i];
        follow(lines, line);
        enum pipe_state state = pipe_state(line->pipe);
        connecting |= state == PIPE_CONNECTING;
        if (state == PIPE_DOWN && line->retry_at_us <= now_us) down = line;
        bool own = holds(line, table->state, now_us, &slow);
        n_own += own;
        if (!pipe_has_room(line->pipe)) continue;
        if (pipe_in_flight(line->pipe) == 0) {
            n_idle++;
            idle = line;
        } else if (own) {
            behind_own = line;
        } else if (comes_soon(&line->held[0], now_us)) {
            behind_other = line;
        }
    }
    bool free = idle && (!slow || n_idle > n_own);
    /* Another connection, where those that are there have work. */
    if (!free && down && !connecting && source_version(sources_at(lines->core->sources, source))) {
        down->since_us = now_us;
        pipe_connect(down->pipe);
    }
    struct line *best = behind_own;
    if (!best && !slow && !table->query) best = behind_other;
    if (free) best = idle;
    if (!best) return slow ? LINES_SHARED : LINES_FULL;
    *pipe = best->pipe;
    return LINES_PICKED;
}

void lines_sent(struct lines *lines, const struct pipe *pipe, const struct table *table,
                int64_t now_us) {
    line_of(lines, pipe)->held[pipe_in_flight(pipe)] =
        (struct held){table->state, table->query != NULL, now_us};
}

bool lines_are_up(const struct lines *lines, uint32_t source) {
    bool up = false;
    for (uint32_t i = source * lines->n_each; i < (source + 1) * lines->n_each; i++)
        up |= pipe_state(lines->lines[i].pipe) == PIPE_READY;
    return up;
}

uint32_t lines_in_flight(const struct lines *lines, uint32_t source) {
    uint32_t n = 0;
    for (uint32_t i = source * lines->n_each; i < (source + 1) * lines->n_each; i++)
        n += pipe_in_flight(lines->lines[i].pipe);
    return n;
}

bool lines_are_connecting(const struct lines *lines) {
    bool connecting = false;
    for (uint32_t i = 0; i < lines->n_sources * lines->n_each; i++)
        connecting |= pipe_state(lines->lines[i].pipe) == PIPE_CONNECTING;
    return connecting;
}

void lines_watch(struct lines *lines, int64_t now_us) {
    for (uint32_t i = 0; i < lines->n_sources * lines->n_each; i++) {
        struct line *line = &lines->lines[i];
        if (pipe_state(line->pipe) == PIPE_CONNECTING &&
            now_us - line->since_us > CONNECT_TIMEOUT_US)
            pipe_break(line->pipe, "connecting to PostgreSQL took longer than 10 s");
    }
}

const char *lines_cause(const struct lines *lines) { return lines->cause; }
