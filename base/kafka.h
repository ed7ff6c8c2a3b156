/* kafka.h: what every part that talks to Kafka needs of librdkafka.
 *
 * `properties` are librdkafka's own, "name=value" pairs; the ones that Freshet must own are refused by name. */
#ifndef FRESHET_BASE_KAFKA_H
#define FRESHET_BASE_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/log.h"

struct kafka_property {
    const char *name;
    const char *value;
};

struct kafka_config {
    const char *brokers;
    size_t n_properties;
    const struct kafka_property *properties;
};

/* A configuration for a producer or a consumer; NULL and *err on a wrong or refused property. librdkafka's
 * log lines go to `log`. */
rd_kafka_conf_t *kafka_conf(const struct kafka_config *config, struct log *log, struct error *err);
/* A client that takes `conf` over, whether it succeeds or not. NULL on error. */
rd_kafka_t *kafka_open(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *err);
/* One more setting on it; ours, so a refusal is a programmer's mistake. */
void kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);
/* Fills *err from librdkafka's error; returns false. */
bool kafka_error(struct error *err, const rd_kafka_error_t *error, const char *what);
bool kafka_error_code(struct error *err, rd_kafka_resp_err_t code, const char *what);
/* Asks for the cluster's metadata, of all topics or of none. Where there is no answer in time, *err says why the client could
 * not come in; a refusal of a password or certificate is told at once. Of a producer that asks for RD_KAFKA_EVENT_ERROR. */
bool kafka_metadata(rd_kafka_t *producer, bool topics, int timeout_ms, const char *what,
                    const struct rd_kafka_metadata **metadata, struct error *err) MUST_CHECK;

/* Is it a property that may be set, and its value right? What does not fit together shows when a client is opened. */
bool kafka_property_check(const struct kafka_property *property, struct error *err) MUST_CHECK;

struct kafka_probe {
    int n_brokers;
    bool transactional; /* init_transactions of a throwaway id succeeded */
};
/* Is the cluster there? Waits up to timeout_ms. */
bool kafka_probe(const struct kafka_config *config, int timeout_ms, struct log *log,
                 struct kafka_probe *probe, struct error *err) MUST_CHECK;

#endif
