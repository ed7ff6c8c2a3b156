/* `freshet rebuild NAME`: a running Freshet fills a connector's target anew and puts it in the old one's place. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/ask.h"
#include "server/commands.h"

enum {
    AWAY_US = 60000000, /* so long it may be away meanwhile: it begins again by itself */
    TELL_EVERY_US = 2000000,
};

static void tell(const json_t *rebuild, const char *name) {
    const char *state = json_string_value(json_object_get(rebuild, "state"));
    const json_t *rows = json_object_get(rebuild, "rows");
    const json_t *percent = json_object_get(rebuild, "percent");
    const json_t *left = json_object_get(rebuild, "seconds_left");
    const char *error = json_string_value(json_object_get(rebuild, "error"));
    fprintf(stderr, "%s: %s", name, state);
    if (rows) fprintf(stderr, ", %lld rows", (long long)json_integer_value(rows));
    if (percent) fprintf(stderr, ", %.0f%%", json_number_value(percent));
    if (left && json_number_value(left) > 0)
        fprintf(stderr, ", about %.0f s left", json_number_value(left));
    if (error) fprintf(stderr, ": %s", error);
    fputc('\n', stderr);
}

/* The exit code, or -1: it goes on. */
static int judge(const json_t *rebuild, const char *name) {
    const char *state = json_string_value(json_object_get(rebuild, "state"));
    if (state && strcmp(state, "done") == 0) {
        printf("%s: rebuilt in %.0f s\n", name,
               json_number_value(json_object_get(rebuild, "seconds")));
        return EXIT_DONE;
    }
    if (state && strcmp(state, "failed") != 0) return -1;
    const char *error = json_string_value(json_object_get(rebuild, "error"));
    struct error err;
    error_set(&err, ERROR_REFUSED, false, "%s",
              error ? error : "nothing is known of it any more: see the log");
    return ask_failed("rebuild", &err);
}

static int follow(struct ask *ask, struct buf *path, const char *name) {
    int64_t answered_us = clock_mono_us();
    int64_t told_us = answered_us;
    int code = -1;
    while (code < 0) {
        struct error err;
        json_t *status = ask_for(ask, "GET", path, &err);
        int64_t now_us = clock_mono_us();
        const json_t *rebuild = json_object_get(status, "rebuild");
        if (status) {
            answered_us = now_us;
            code = judge(rebuild, name);
        } else if (err.code == ERROR_REFUSED || now_us - answered_us > AWAY_US) {
            code = ask_failed("rebuild", &err);
        }
        if (code < 0 && status && now_us - told_us > TELL_EVERY_US) {
            told_us = now_us;
            tell(rebuild, name);
        }
        json_decref(status);
        if (code < 0) ask_rest();
    }
    return code;
}

static int rebuild(struct ask *ask, const char *name) {
    struct error err;
    struct buf path = {0};
    buf_append_text(&path, "/connector");
    ask_argument(&path, "name", name);
    struct buf order = {0};
    buf_append_slice(&order, buf_slice(&path));
    ask_argument(&order, "action", "rebuild");
    json_t *answer = ask_for(ask, "POST", &order, &err);
    int code = answer ? follow(ask, &path, name) : ask_failed("rebuild", &err);
    json_decref(answer);
    buf_deinit(&order);
    buf_deinit(&path);
    return code;
}

int cli_rebuild(const struct command_line *line) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    struct error err;
    struct ask *ask = ask_open(config->admin_listen, &err);
    int code = ask ? rebuild(ask, line->operand) : ask_failed("rebuild", &err);
    ask_close(&ask);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}
