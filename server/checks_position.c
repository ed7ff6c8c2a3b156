/* Would the publisher's stream go on? Its position, the slot and the server's history, judged as a session judges them. */
#include <stdio.h>
#include <unistd.h>

#include "base/lsn.h"
#include "base/pg.h"
#include "cdc/feed/lineage.h"
#include "cdc/feed/slot.h"
#include "server/checks.h"
#include "server/publishing.h"

/* Where the publisher is, without disturbing one that runs. */
static bool read_position(struct check_context *context, struct change_position *position,
                          struct error *err) {
    struct log *log = log_create(STDERR_FILENO, LOG_ERROR);
    struct metrics *metrics = metrics_create();
    struct publisher_deps deps = {.log = log, .metrics = metrics};
    struct publisher *publisher = publisher_create(&context->config->cdc, &deps, err);
    bool ok = false;
    if (publisher) {
        struct change_sink sink = publisher_sink(publisher);
        ok = sink.ops->peek(sink.self, position, err);
    }
    publisher_destroy(&publisher);
    metrics_destroy(&metrics);
    log_destroy(&log);
    return ok;
}

static void report(struct check_context *context, const struct attach_question *question) {
    struct attach_answer answer;
    struct error err;
    if (!attach_judge(question, &answer, &err)) {
        check_report(context, CHECK_FAIL,
                     "freshet cdc reset --from snapshot   # all rows anew\n"
                     "freshet cdc reset --from now        # without the changes in between",
                     "%s", err.message);
    } else if (answer.action == ATTACH_RESUME) {
        check_report(context, CHECK_OK, NULL,
                     "slot \"%s\" goes on from " LSN_FMT
                     ", timeline %u; it retains %lld KiB of WAL",
                     question->slot_name, LSN_ARG(answer.start_lsn), question->lineage->timeline,
                     (long long)question->slot->retained_bytes / 1024);
    } else {
        check_report(context, CHECK_OK, NULL, "none yet: %s",
                     answer.snapshot_due ? "all rows are published first"
                                         : "the stream begins with the slot");
    }
}

static bool ask_server(const struct check_context *context, struct lineage *lineage,
                       struct slot_info *slot, struct error *err) {
    const struct config *config = context->config;
    struct pgwait wait = {.stop_fd = -1};
    struct pg_options wanted = {.application_name = "freshet_check", .replication = true};
    PGconn *walsender = pg_connect(config->database_url, &wanted, err);
    bool ok = walsender && lineage_read(&wait, walsender, lineage, err) &&
              slot_lookup(&wait, walsender, config->cdc.slot, slot, err);
    PQfinish(walsender);
    return ok;
}

void check_position(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CDC) || context->kafka_failed) return;
    struct feed_config feed = publishing_feed(config);
    struct change_position position;
    struct lineage lineage;
    struct slot_info slot;
    struct error err;
    if (!ask_server(context, &lineage, &slot, &err) || !read_position(context, &position, &err)) {
        check_report(context, CHECK_WARN, NULL, "%s", err.message);
        return;
    }
    if (config->cdc.output == OUTPUT_STDOUT) position.snapshot_done = slot.exists;
    report(context, &(struct attach_question){
                        .sink = "cdc",
                        .slot_name = config->cdc.slot,
                        .database = PQdb(context->conn),
                        .way_on = feed.way_on,
                        .snapshot = feed.snapshot != FEED_SNAPSHOT_NEVER &&
                                    feed.snapshot != FEED_SNAPSHOT_INCREMENTAL,
                        .when_needed = feed.snapshot == FEED_SNAPSHOT_WHEN_NEEDED,
                        .lineage = &lineage,
                        .slot = &slot,
                        .position = &position,
                    });
}
