/* letter_probe.h: could letters be written to a topic? Asks the brokers, and leaves no record. Blocking. */
#ifndef FRESHET_CONNECTORS_LETTER_PROBE_H
#define FRESHET_CONNECTORS_LETTER_PROBE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/kafka.h"
#include "base/log.h"

/* *known false, and true: the topic is there, and whether it may be written to cannot be told without doing it; *err says why. */
bool letter_probe(const struct kafka_config *kafka, const char *topic, struct log *log, bool *known,
                  struct error *err) MUST_CHECK;

#endif
