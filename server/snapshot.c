/* `freshet snapshot TABLE`: a running Freshet publishes the rows of a table again, beside its stream. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/ask.h"
#include "server/commands.h"

enum {
    AWAY_US = 60000000, /* so long it may be away meanwhile: it goes on where it was */
    TELL_EVERY_US = 2000000,
};

static void tell(const json_t *state, const char *table) {
    long long rows = (long long)json_integer_value(json_object_get(state, "rows"));
    long long rate = (long long)json_integer_value(json_object_get(state, "rows_per_second"));
    const json_t *percent = json_object_get(state, "percent");
    const json_t *left = json_object_get(state, "seconds_left");
    fprintf(stderr, "%s: %lld rows", table, rows);
    if (rate) fprintf(stderr, ", %lld a second", rate);
    if (percent) fprintf(stderr, ", %.0f%%", json_number_value(percent));
    if (left) fprintf(stderr, ", about %.0f s left", json_number_value(left));
    fputc('\n', stderr);
}

/* Until it is done. */
static int follow(struct ask *ask, struct buf *path, const char *table) {
    struct error err;
    int64_t answered_us = clock_mono_us();
    int64_t told_us = answered_us;
    while (true) {
        json_t *state = ask_for(ask, "GET", path, &err);
        int64_t now_us = clock_mono_us();
        const char *name = json_string_value(json_object_get(state, "state"));
        if (!state && (err.code == ERROR_REFUSED || now_us - answered_us > AWAY_US)) {
            err.retriable = false;
            return ask_failed("snapshot", &err);
        }
        if (state) answered_us = now_us;
        bool done = name && strcmp(name, "done") == 0;
        if (done)
            printf("%s: %lld rows are read; those that the stream had newer are left out\n", table,
                   (long long)json_integer_value(json_object_get(state, "rows")));
        else if (state && now_us - told_us > TELL_EVERY_US) {
            told_us = now_us;
            tell(state, table);
        }
        json_decref(state);
        if (done) return EXIT_DONE;
        ask_rest();
    }
}

static int snapshot(struct ask *ask, const struct command_line *line) {
    struct error err;
    struct buf path = {0};
    buf_append_text(&path, "/snapshot");
    ask_argument(&path, "table", line->operand);
    ask_argument(&path, "where", cli_flag(line, "--where"));
    ask_argument(&path, "source", cli_flag(line, "--source"));
    json_t *taken = ask_for(ask, "POST", &path, &err);
    int code;
    if (taken) {
        char id[32];
        snprintf(id, sizeof id, "%lld",
                 (long long)json_integer_value(json_object_get(taken, "id")));
        path.len = 0;
        buf_append_text(&path, "/snapshot");
        ask_argument(&path, "id", id);
        ask_argument(&path, "source", cli_flag(line, "--source"));
        code = follow(ask, &path, line->operand);
    } else {
        code = ask_failed("snapshot", &err);
    }
    json_decref(taken);
    buf_deinit(&path);
    return code;
}

int cli_snapshot(const struct command_line *line) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    struct error err;
    struct ask *ask = ask_open(config->admin_listen, &err);
    int code = ask ? snapshot(ask, line) : ask_failed("snapshot", &err);
    ask_close(&ask);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}
