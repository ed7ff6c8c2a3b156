/* `freshet connector pause|resume|retry NAME`: of a running Freshet. */
#include <stdio.h>

#include "base/mem.h"
#include "server/ask.h"
#include "server/commands.h"

static json_t *order(struct ask *ask, const char *name, const char *action, struct error *err) {
    struct buf path = {0};
    buf_append_text(&path, "/connector");
    ask_argument(&path, "name", name);
    ask_argument(&path, "action", action);
    json_t *answer = ask_for(ask, "POST", &path, err);
    buf_deinit(&path);
    return answer;
}

static long long number(const json_t *object, const char *name) {
    return (long long)json_integer_value(json_object_get(object, name));
}

/* Until the run is over. */
static int follow_retry(struct ask *ask, const char *name, long long run) {
    struct error err;
    struct buf path = {0};
    buf_append_text(&path, "/connector");
    ask_argument(&path, "name", name);
    int code = -1;
    while (code < 0) {
        json_t *status = ask_for(ask, "GET", &path, &err);
        const json_t *retried = json_object_get(status, "retried");
        if (!status) {
            code = ask_failed("connector retry", &err);
        } else if (number(retried, "runs") >= run) {
            long long refused = number(retried, "refused");
            printf("%s: %lld dead letters are tried again, %lld of them refused again", name,
                   number(retried, "letters"), refused);
            if (number(retried, "unreadable"))
                printf("; %lld lines are none", number(retried, "unreadable"));
            putchar('\n');
            code = refused ? EXIT_FAILED : EXIT_DONE;
        }
        json_decref(status);
        if (code < 0) ask_rest();
    }
    buf_deinit(&path);
    return code;
}

static int carry_out(struct ask *ask, const char *command, const char *name, const char *action) {
    struct error err;
    json_t *answer = order(ask, name, action, &err);
    if (!answer) return ask_failed(command, &err);
    long long run = number(answer, "run");
    json_decref(answer);
    if (run) return follow_retry(ask, name, run);
    printf("%s: %s\n", name, *action == 'p' ? "paused" : "resumed");
    return EXIT_DONE;
}

static int command(const struct command_line *line, const char *name, const char *action) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    struct error err;
    struct ask *ask = ask_open(config->admin_listen, &err);
    int code = ask ? carry_out(ask, name, line->operand, action) : ask_failed(name, &err);
    ask_close(&ask);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}

int cli_connector_pause(const struct command_line *line) {
    return command(line, "connector pause", "pause");
}

int cli_connector_resume(const struct command_line *line) {
    return command(line, "connector resume", "resume");
}

int cli_connector_retry(const struct command_line *line) {
    return command(line, "connector retry", "retry");
}
