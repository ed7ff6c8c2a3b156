#include "server/publishing.h"

#include "base/pg.h"

static const enum feed_snapshot snapshots[] = {
    [CONFIG_SNAPSHOT_INITIAL] = FEED_SNAPSHOT_INITIAL,
    [CONFIG_SNAPSHOT_NEVER] = FEED_SNAPSHOT_NEVER,
    [CONFIG_SNAPSHOT_INITIAL_ONLY] = FEED_SNAPSHOT_INITIAL_ONLY,
    [CONFIG_SNAPSHOT_WHEN_NEEDED] = FEED_SNAPSHOT_WHEN_NEEDED,
    [CONFIG_SNAPSHOT_INCREMENTAL] = FEED_SNAPSHOT_INCREMENTAL,
};

struct feed_config publishing_feed(const struct config *config) {
    return (struct feed_config){
        .database_url = config->database_url,
        .application_name = "freshet_cdc",
        .slot = config->cdc.slot,
        .publication = config->cdc.publication,
        .snapshot = snapshots[config->cdc_snapshot],
        .snapshot_readers = config->cdc_snapshot_readers,
        .snapshot_part_bytes = config->cdc_snapshot_chunk_bytes,
        .n_patterns = config->cdc.n_tables,
        .patterns = config->cdc.tables,
        .messages = true,
        .status_interval_ms = 1000,
        .streaming = config->cdc_streaming,
        .two_phase = config->cdc_two_phase,
        .spool = &config->cdc_spool,
        .failover = config->cdc_failover,
        .way_on = CDC_WAY_ON,
    };
}

bool publishing_learn_database(struct config *config, struct error *err) {
    struct pg_options wanted = {.application_name = "freshet_cdc"};
    PGconn *conn = pg_connect(config->database_url, &wanted, err);
    if (!conn) return false;
    config_finish(config, PQdb(conn));
    PQfinish(conn);
    return true;
}
