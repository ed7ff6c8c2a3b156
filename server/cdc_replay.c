/* `freshet cdc replay`: dead letters, published again. */
#include <stdio.h>
#include <unistd.h>

#include "cdc/publish/replay.h"
#include "server/commands.h"
#include "server/publishing.h"
#include "server/sources.h"

static int fail(const char *message) {
    fprintf(stderr, "cdc replay: %s\n", message);
    return EXIT_FAILED;
}

static int tell(const struct replay_result *result) {
    printf("dead letters %llu: published %llu, still dead %llu, unreadable %llu\n",
           (unsigned long long)result->letters, (unsigned long long)result->published,
           (unsigned long long)result->buried, (unsigned long long)result->malformed);
    return result->buried || result->malformed ? EXIT_FAILED : EXIT_DONE;
}

static int run(struct config *config) {
    struct error err;
    struct replay_result result = {0};
    struct log *log = log_create(STDERR_FILENO, (enum log_level)config->log_level);
    struct metrics *metrics = metrics_create();
    struct publisher_deps deps = {.log = log, .metrics = metrics};
    bool ok =
        publishing_learn_database(config, &err) && replay_run(&config->cdc, &deps, &result, &err);
    metrics_destroy(&metrics);
    log_destroy(&log);
    return ok ? tell(&result) : fail(err.message);
}

int cli_cdc_replay(const struct command_line *line) {
    struct config *all = cli_config(line);
    if (!all) return EXIT_MISUSED;
    const char *why = NULL;
    struct config *config = sources_choose(all, cli_flag(line, "--source"), &why);
    int code = EXIT_MISUSED;
    if (!config)
        fail(why);
    else if (!config->cdc.kafka.brokers || config->cdc.output != OUTPUT_KAFKA)
        fail("no topic of dead letters in this configuration: give --kafka HOST:PORT");
    else
        code = run(config);
    config_destroy(&all);
    return code;
}
