/* `freshet snapshot TABLE`: a running Freshet publishes the rows of a table again, beside its stream. */
#include <stdio.h>
#include <string.h>

#include "server/ask.h"
#include "server/commands.h"

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

static int judge(const json_t *state, const char *table) {
    const char *name = json_string_value(json_object_get(state, "state"));
    if (!name || strcmp(name, "done") != 0) return -1;
    printf("%s: %lld rows are read; those that the stream had newer are left out\n", table,
           (long long)json_integer_value(json_object_get(state, "rows")));
    return EXIT_DONE;
}

static const struct ask_work READING = {"snapshot", judge, tell};

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
        code = ask_follow(ask, &path, &READING, line->operand);
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
