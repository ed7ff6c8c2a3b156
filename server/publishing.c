#include "server/publishing.h"

#include "base/pg.h"

struct feed_config publishing_feed(const struct config *config) {
    return (struct feed_config){
        .database_url = config->database_url,
        .application_name = "freshet_cdc",
        .slot = config->cdc.slot,
        .publication = config->cdc.publication,
        .snapshot = config->cdc_snapshot == CONFIG_SNAPSHOT_INITIAL ? FEED_SNAPSHOT_INITIAL
                                                                    : FEED_SNAPSHOT_NEVER,
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
