#include "cdc/publish/replay_source.h"

enum { STORE_TIMEOUT_MS = 10000 };

bool replay_source_store(const struct replay_source *source, rd_kafka_t *producer,
                         bool transactional, struct error *err) {
    if (!transactional) {
        rd_kafka_resp_err_t code = rd_kafka_commit(source->consumer, source->offsets, 0);
        return !code || kafka_error_code(err, code, "storing the offsets of dead letters");
    }
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(source->consumer);
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(producer, source->offsets, group, STORE_TIMEOUT_MS);
    rd_kafka_consumer_group_metadata_destroy(group);
    if (!error) return true;
    kafka_error(err, error, "storing the offsets of dead letters");
    err->retriable = err->code != ERROR_REFUSED; /* the transaction is done again */
    rd_kafka_error_destroy(error);
    return false;
}
