#include "server/verify_connector.h"

#include <stdio.h>
#include <string.h>

#include "server/ask.h"
#include "server/verify_archive.h"

static long long number(const json_t *state, const char *name) {
    return (long long)json_integer_value(json_object_get(state, name));
}

static const char *text(const json_t *state, const char *name) {
    const char *value = json_string_value(json_object_get(state, name));
    return value ? value : "";
}

/* "-- users-search: 120000 rows and 0 keys of the sink compared, 2 differ" */
static void tell_progress(const json_t *state, const char *name) {
    fprintf(stderr, "%s: %s: %lld rows and %lld keys of the sink compared, %lld differ\n", name,
            text(state, "phase"), number(state, "rows"), number(state, "keys"),
            number(state, "differences"));
}

/* One line a row: "changed 42 (version 23481204 in the sink): repaired". */
static void tell_finding(const json_t *finding) {
    printf("%-7s  %s", text(finding, "kind"), text(finding, "key"));
    const json_t *version = json_object_get(finding, "version");
    if (json_is_integer(version))
        printf("  (the sink has version %lld)", (long long)json_integer_value(version));
    const char *refused = text(finding, "refused");
    if (json_is_true(json_object_get(finding, "repaired")))
        fputs("  repaired", stdout);
    else if (*refused)
        printf("  not repaired: %s", refused);
    putchar('\n');
}

static int tell(const json_t *state, const char *name) {
    const json_t *findings = json_object_get(state, "findings");
    for (size_t i = 0; i < json_array_size(findings); i++)
        tell_finding(json_array_get(findings, i));
    long long differences = number(state, "differences");
    long long left = differences - number(state, "repaired");
    long long unnamed = differences - (long long)json_array_size(findings);
    if (unnamed > 0) printf("... and %lld more\n", unnamed);
    printf(
        "%s: compared %lld rows with the sink and %lld keys of the sink with the table, as of %s: "
        "missing %lld, extra %lld, changed %lld, older %lld",
        name, number(state, "rows"), number(state, "keys"), text(state, "reached"),
        number(state, "missing"), number(state, "extra"), number(state, "changed"),
        number(state, "older"));
    if (number(state, "summed"))
        printf("; by the sums of ranges alone %lld", number(state, "summed"));
    if (differences) printf("; repaired %lld", number(state, "repaired"));
    if (number(state, "moved"))
        printf("; changed meanwhile, again and again: %lld", number(state, "moved"));
    if (number(state, "undecided")) printf("; undecided %lld", number(state, "undecided"));
    putchar('\n');
    return left || number(state, "undecided") ? EXIT_FAILED : EXIT_DONE;
}

static void compose_path(struct buf *path, const char *name, const char *id) {
    path->len = 0;
    buf_append_text(path, "/verify");
    ask_argument(path, "connector", name);
    ask_argument(path, "id", id);
}

static int judge(const json_t *state, const char *name) {
    return strcmp(text(state, "state"), "done") == 0 ? tell(state, name) : -1;
}

static const struct ask_work VERIFYING = {"verify", judge, tell_progress};

static int verify(struct ask *ask, const struct command_line *line) {
    struct error err;
    struct buf path = {0};
    const char *name = line->operand;
    compose_path(&path, name, NULL);
    ask_argument(&path, "repair", cli_flag(line, "--repair") ? "yes" : NULL);
    ask_argument(&path, "rate", cli_flag(line, "--rate"));
    json_t *taken = ask_for(ask, "POST", &path, &err);
    int code;
    if (taken) {
        char id[32];
        snprintf(id, sizeof id, "%lld", number(taken, "id"));
        compose_path(&path, name, id);
        code = ask_follow(ask, &path, &VERIFYING, name);
    } else {
        code = ask_failed("verify", &err);
    }
    json_decref(taken);
    buf_deinit(&path);
    return code;
}

static int verify_running(const struct config *config, const struct command_line *line) {
    struct error err;
    struct ask *ask = ask_open(config->admin_listen, &err);
    int code = ask ? verify(ask, line) : ask_failed("verify", &err);
    ask_close(&ask);
    return code;
}

/* The folder of the archive that is meant, by its path or by its connector's name; NULL: none is. */
static const char *find_archive(const struct config *config, const char *name) {
    if (strchr(name, '/')) return name;
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        const struct connector_config *connector = &config->connectors[i];
        if (connector->name && connector->type && strcmp(connector->name, name) == 0 &&
            strcmp(connector->type, "archive") == 0)
            return connector->path;
    }
    return NULL;
}

int verify_connector(const struct command_line *line) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    const char *archive = find_archive(config, line->operand);
    int code = archive ? verify_archive(archive) : verify_running(config, line);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}
