/* topic_probe.h: can a topic be read in the name of a consumer group? Asks the brokers, and joins nothing. Blocking. */
#ifndef FRESHET_CONNECTORS_TOPIC_PROBE_H
#define FRESHET_CONNECTORS_TOPIC_PROBE_H

#include "base/error.h"
#include "base/kafka.h"
#include "base/log.h"

bool topic_probe(const struct kafka_config *kafka, const char *topic, const char *group,
                 struct log *log, struct error *err) MUST_CHECK;

#endif
