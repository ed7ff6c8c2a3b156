/* schema_registry.h: the ids of schemas: from a registry that speaks Confluent's HTTP API (Confluent's own, Karapace, Apicurio's
 * below /apis/ccompat/v7), or, without one, from a map in the configuration.
 *
 *     struct schema_registry *registry = schema_registry_create(&config, log, metrics, err);
 *     schema_registry_id(registry, "shop.public.orders-value", schema, &id, err)       once a table; then it is known
 *
 * Blocks for REQUEST_TIMEOUT_MS at most. The feed's thread, but for the status. */
#ifndef FRESHET_CDC_SCHEMA_REGISTRY_H
#define FRESHET_CDC_SCHEMA_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/kafka.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/slice.h"

struct schema_registry_config {
    const char *url;       /* with a path in front of /subjects, or none; NULL: the ids below */
    const char *user;      /* NULL: none */
    const char *password;  /* NULL: empty */
    const char *ca_file;   /* PEM; NULL: the system's */
    bool register_schemas; /* false: they must be there */
    uint32_t n_ids;
    const struct kafka_property *ids; /* subject, or subject@fingerprint: id */
};

struct schema_registry;

/* The configuration's strings must outlive it. NULL: the URL is malformed. Asks nothing yet. */
struct schema_registry *schema_registry_create(const struct schema_registry_config *config,
                                               struct log *log, struct metrics *metrics,
                                               struct error *err);
void schema_registry_destroy(struct schema_registry **registry);

/* The id of the subject's schema, which is registered where it is not. False: nobody answers (retriable), or the registry refuses
 * it (not). */
bool schema_registry_id(struct schema_registry *registry, const char *subject, struct slice schema,
                        uint32_t *id, struct error *err) MUST_CHECK;

/* What a later process must know of the ids that the map has for subjects alone: an id means one schema, also across restarts.
 * The text goes beside the position and is given back at each start. learnt: false where nothing is new since it was last asked
 * or told; else it appends all of it. recall: false where the text is malformed; empty is nothing. */
bool schema_registry_learnt(struct schema_registry *registry, struct buf *text) MUST_CHECK;
bool schema_registry_recall(struct schema_registry *registry, struct slice text,
                            struct error *err) MUST_CHECK;

/* Does a registry answer, and let us in? Asks for a subject and changes nothing. */
bool schema_registry_probe(const struct schema_registry_config *config, const char *subject,
                           struct error *err) MUST_CHECK;

/* A positive number of 31 bits. */
bool schema_registry_parse_id(const char *text, uint32_t *id);

/* What tells the schemas of one subject apart in the map of ids. */
enum { SCHEMA_FINGERPRINT_BYTES = 9 };
void schema_fingerprint(struct slice schema, char fingerprint[SCHEMA_FINGERPRINT_BYTES]);

/* Any thread. */
void schema_registry_status(struct schema_registry *registry, json_t *into);

#endif
