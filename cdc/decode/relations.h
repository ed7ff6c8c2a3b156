/* relations.h: the relations that one feed knows, by OID, as immutable descriptors with versions.
 *
 *     relation = relations_put(relations, &draft, &outcome);      from a Relation message or the catalog
 *     sink->relation(relation);  relations_sweep(relations);      only then is the replaced one freed
 *     relation = relations_find(relations, oid);                  NULL: never described
 *
 * Descriptors survive sessions, and a relation's version (from 1) never comes twice, so that a sink that keeps something by (oid,
 * version) is right after a reconnect. One thread. */
#ifndef FRESHET_CDC_RELATIONS_H
#define FRESHET_CDC_RELATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "cdc/decode/pgoutput.h"

struct relations;

/* What is known of a relation: names need not outlive the call. */
struct relation_draft {
    uint32_t oid;
    struct slice schema;
    struct slice name;
    char replica_identity;
    uint16_t n_columns;
    const struct pgoutput_column *columns;
    /* Of what the columns do not tell: differs where the relation was altered. 0: they tell all. */
    uint64_t fingerprint;
};

struct relations *relations_create(void);
void relations_destroy(struct relations **relations);

/* A new session: each relation is to be announced once more, changed or not. */
void relations_new_session(struct relations *relations);

/* The relation that matches the draft: the known one if nothing differs, else a new one with a higher version.
 * *announce: it is new, differs, or was not yet described in this session. */
const struct relation *relations_put(struct relations *relations,
                                     const struct relation_draft *draft, bool *announce);
const struct relation *relations_find(struct relations *relations, uint32_t oid);
/* The relation has been put and not announced: relations_take_quiet says so once. */
void relations_keep_quiet(const struct relation *relation);
bool relations_is_quiet(const struct relation *relation);
bool relations_take_quiet(const struct relation *relation);
/* Frees what was replaced since the last call. */
void relations_sweep(struct relations *relations);

#endif
