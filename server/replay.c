/* `freshet replay ARCHIVE --connector NAME`: an archive, written into a connector's target. */
#include "connectors/runtime/replay.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/commands.h"

static int fail(const char *message) {
    fprintf(stderr, "replay: %s\n", message);
    return EXIT_FAILED;
}

static const struct connector_config *find(const struct config *config, const char *name) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        const char *other = config->connectors[i].name;
        if (other && strcmp(other, name) == 0) return &config->connectors[i];
    }
    return NULL;
}

static int tell(const struct connector_replayed *replayed) {
    printf("records %llu of %llu segments: written %llu, known already %llu, refused %llu\n",
           (unsigned long long)replayed->records, (unsigned long long)replayed->segments,
           (unsigned long long)replayed->applied, (unsigned long long)replayed->stale,
           (unsigned long long)replayed->refused);
    return replayed->refused ? EXIT_FAILED : EXIT_DONE;
}

static int run(const struct config *config, const struct connector_config *connector,
               const char *archive) {
    struct error err;
    struct connector_replayed replayed = {0};
    struct log *log = log_create(STDERR_FILENO, (enum log_level)config->log_level);
    struct metrics *metrics = metrics_create();
    struct connector_deps deps = {.log = log, .metrics = metrics};
    bool ok = connector_replay(connector, archive, &deps, &replayed, &err);
    metrics_destroy(&metrics);
    log_destroy(&log);
    if (ok) return tell(&replayed);
    if (replayed.records) tell(&replayed);
    return fail(err.message);
}

int cli_replay(const struct command_line *line) {
    struct config *config = cli_config(line);
    if (!config) return EXIT_MISUSED;
    config_finish_connectors(config);
    const struct connector_config *connector = find(config, cli_flag(line, "--connector"));
    int code = EXIT_MISUSED;
    if (!connector)
        fail("no connector of that name is in the configuration");
    else
        code = run(config, connector, line->operand);
    config_destroy(&config);
    return code;
}
