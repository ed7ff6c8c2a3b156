/* `freshet cdc reset`: the deliberate way on where the publisher's position and its slot do not fit. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/publishing.h"
#include "server/sources.h"

static int fail(const char *message) {
    fprintf(stderr, "cdc reset: %s\n", message);
    return EXIT_FAILED;
}

static bool reset(struct config *config, enum feed_reset from, struct log *log,
                  struct metrics *metrics, struct error *err) {
    if (!publishing_learn_database(config, err)) return false;
    struct publisher_deps publisher_deps = {.log = log, .metrics = metrics};
    struct publisher *publisher = publisher_create(&config->cdc, &publisher_deps, err);
    if (!publisher) return false;
    struct feed_config feed = publishing_feed(config);
    struct feed_deps deps = {.log = log, .metrics = metrics};
    bool ok = feed_reset(&feed, publisher_sink(publisher), from, &deps, err);
    publisher_destroy(&publisher);
    return ok;
}

static int run(struct config *config, enum feed_reset from) {
    struct error err;
    struct log *log = log_create(STDERR_FILENO, (enum log_level)config->log_level);
    struct metrics *metrics = metrics_create();
    bool ok = reset(config, from, log, metrics, &err);
    metrics_destroy(&metrics);
    log_destroy(&log);
    if (!ok) return fail(err.message);
    if (from == FEED_RESET_NOW)
        printf("slot \"%s\" is new: `freshet run` publishes what is committed from now on\n",
               config->cdc.slot);
    else
        printf("slot \"%s\" and the position are gone: `freshet run` makes them anew and publishes "
               "all rows\n",
               config->cdc.slot);
    return EXIT_DONE;
}

int cli_cdc_reset(const struct command_line *line) {
    struct config *all = cli_config(line);
    if (!all) return EXIT_MISUSED;
    bool now = strcmp(cli_flag(line, "--from"), "now") == 0;
    const char *why = NULL;
    struct config *config = sources_choose(all, cli_flag(line, "--source"), &why);
    int code = EXIT_MISUSED;
    if (!config)
        fail(why);
    else if (!config->cdc.kafka.brokers && config->cdc.output == OUTPUT_KAFKA)
        fail("there is no publisher in this configuration: give --kafka HOST:PORT");
    else if (!now && config->cdc_snapshot == CONFIG_SNAPSHOT_NEVER)
        fail("cdc.snapshot is `never`: give --from now, or another cdc.snapshot");
    else
        code = run(config, now ? FEED_RESET_NOW : FEED_RESET_SNAPSHOT);
    config_destroy(&all);
    return code;
}
