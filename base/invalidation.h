/* invalidation.h: a record of the topic <prefix>.invalidations, by which any number of caches follow one replication slot: what
 * each transaction touched, in the order of commits, and heartbeats.
 *
 *     invalidation_write_relation(&relations, &relation);  invalidation_write_change(&changes, &change);
 *     invalidation_write(&record, &head, n_relations, buf_slice(&relations), n_changes, buf_slice(&changes));
 *     switch (invalidation_read(bytes, arena, &record)) ...
 *
 *     record    'F' 'I' version kind source since body         version 1; kind 'T' transaction, 'H' heartbeat
 *     source    system_identifier timeline server_start_us database publication
 *     'H'       end interval_ms
 *     'T'       xid commit end commit_time_us part last n_relations relation... n_changes change...
 *     relation  oid fingerprint schema name identity n_columns { name type_oid typmod flags }...
 *     change    operation relation rows [old value...] [new value...]
 *     value     length * 4 + kind, then its bytes
 *
 * Numbers are LEB128, of 64 bits at most; a text is its length and its bytes; `identity`, `operation`, `rows`, `last` and `flags`
 * are single bytes. Each record stands by itself: a reader may begin anywhere.
 *
 * The chain. A record says that everything that was committed in (since, end] stands in it, or touched no published
 * table; `since` is the `end` of the record before. A reader that has followed up to X therefore has missed something if
 * and only if a record's since > X. A record with end <= X is a repetition (of a publisher that went on from its position)
 * and does no harm.
 *
 * A large transaction comes in parts, 0, 1, 2, ...; its end is known, and not 0, in the last alone.
 *
 * Rows hold the columns that eviction needs (primary key, unique columns, those that named queries depend on) and no
 * others, old and new as far as the replication stream has them. */
#ifndef FRESHET_BASE_INVALIDATION_H
#define FRESHET_BASE_INVALIDATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"

enum {
    INVALIDATION_VERSION = 1,
    INVALIDATION_MAX_COLUMNS = 1664, /* of a relation; PostgreSQL's own limit on a tuple's */
};

enum invalidation_kind { INVALIDATION_TRANSACTION = 'T', INVALIDATION_HEARTBEAT = 'H' };

/* What the publisher is attached to. */
struct invalidation_source {
    uint64_t system_identifier;
    uint32_t timeline;
    int64_t server_start_us;
    struct slice database;
    struct slice publication;
};

struct invalidation_column {
    struct slice name;
    uint32_t type_oid;
    int32_t typmod;
    bool identity; /* part of the replica identity */
};

struct invalidation_relation {
    uint32_t oid;
    uint64_t
        fingerprint; /* over all its columns, carried or not: differs when the table was altered */
    struct slice schema;
    struct slice name;
    char replica_identity;
    uint16_t n_columns; /* that are carried */
    const struct invalidation_column *columns;
};

/* Of a row change or a truncate. Rows have relation.n_columns values, or are NULL. */
struct invalidation_change {
    enum change_operation operation;
    uint32_t relation; /* place in the record's relations */
    bool old_is_key;
    uint16_t n_columns; /* for writing: the relation's */
    const struct value *old_row;
    const struct value *new_row;
};

struct invalidation {
    enum invalidation_kind kind;
    struct invalidation_source source;
    uint64_t since_lsn;
    uint64_t end_lsn;
    uint32_t interval_ms; /* heartbeat: the next record comes about so soon */
    /* Of a transaction: */
    uint64_t xid; /* 64 bits */
    uint64_t commit_lsn;
    int64_t commit_time_us; /* Unix epoch */
    uint32_t part;
    bool last;
    uint32_t n_relations;
    const struct invalidation_relation *relations;
    uint32_t n_changes;
    const struct invalidation_change *changes;
};

void invalidation_write_relation(struct buf *out, const struct invalidation_relation *relation);
void invalidation_write_change(struct buf *out, const struct invalidation_change *change);
/* The whole record; of `head` all but relations and changes, which were written before. */
void invalidation_write(struct buf *out, const struct invalidation *head, uint32_t n_relations,
                        struct slice relations, uint32_t n_changes, struct slice changes);

enum invalidation_result { INVALIDATION_READ, INVALIDATION_MALFORMED, INVALIDATION_NEWER };
/* Arrays are in the arena, texts in the record. The arena holds at most some 50 times the record's size. */
enum invalidation_result invalidation_read(struct slice bytes, struct arena *arena,
                                           struct invalidation *record) MUST_CHECK;

#endif
