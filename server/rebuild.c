/* `freshet rebuild NAME`: a running Freshet fills a connector's target anew and puts it in the old one's place. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/ask.h"
#include "server/commands.h"

static void tell(const json_t *status, const char *name) {
    const json_t *rebuild = json_object_get(status, "rebuild");
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

static int judge(const json_t *status, const char *name) {
    const json_t *rebuild = json_object_get(status, "rebuild");
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

static const struct ask_work REBUILDING = {"rebuild", judge, tell};

static int rebuild(struct ask *ask, const char *name) {
    struct error err;
    struct buf path = {0};
    buf_append_text(&path, "/connector");
    ask_argument(&path, "name", name);
    struct buf order = {0};
    buf_append_slice(&order, buf_slice(&path));
    ask_argument(&order, "action", "rebuild");
    json_t *answer = ask_for(ask, "POST", &order, &err);
    int code = answer ? ask_follow(ask, &path, &REBUILDING, name) : ask_failed("rebuild", &err);
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
