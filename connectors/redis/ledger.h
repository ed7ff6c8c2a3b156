/* ledger.h: what the connector keeps for itself in a Redis, and the one way in which anything is written there.
 *
 *     freshet:NAME:position   a hash: where we are (end_lsn, loaded), of what (source, system), in which life (id), and
 *                             the tag of the write that was last
 *     freshet:NAME:rows       a hash: each row's key -> where it stands (entry.h)
 *
 *     if (!ledger_ready(ledger, err)) ...                         connected, and nothing happened meanwhile
 *     ledger_begin(ledger);
 *     struct buf *out = ledger_command(ledger); command_text(out, 2, "UNLINK", key); ...
 *     if (!ledger_commit(ledger, &position, &replies, err)) ...   all of it, and the position, or nothing
 *
 * A write is one MULTI that gives the position's hash a new tag. Between writes that key is WATCHed: a FLUSHALL, a
 * DEL, another process that writes for the same connector make the next EXEC do nothing, at no further round trip;
 * and a connection that was lost finds, when it is back, by the tag whether this is still what it was: a Redis that was
 * restarted without its data, from an older file, or failed over to a replica that had not everything, is told as
 * ERROR_NOT_FOUND. An EXEC whose answer was lost may have been done: it is known by its tag, and doing it again
 * comes to the same.
 *
 * Memory: the position, and 70 to 110 bytes a row in `rows` with keys of 10 to 20 bytes. Cheaper would be to find what
 * we wrote by scanning for the pattern, which takes others' keys for ours; or listpacked buckets, at a third of
 * the memory and twice the time of a write. One thread. */
#ifndef FRESHET_CONNECTORS_REDIS_LEDGER_H
#define FRESHET_CONNECTORS_REDIS_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"
#include "base/log.h"
#include "connectors/redis/entry.h"
#include "connectors/redis/link.h"

struct ledger;

/* `shared`: several processes write for the connector, each its own rows, and the position is kept elsewhere. Then writes carry no
 * tag and do not exclude one another; and that a Redis came back with older data is told by its having been restarted.
 * `log` NULL: nothing is said. */
struct ledger *ledger_create(const char *connector, bool shared, struct link *link,
                             struct log *log);
void ledger_destroy(struct ledger **ledger);

struct ledger_state {
    char id[40];     /* of this life of the position's key; "": it is not there */
    char run_id[48]; /* of the server; "": it does not tell */
    /* Its system: the one that is filled from, loaded or not. The note is the ledger's, until the next ledger_open. */
    struct change_position position;
    bool same_source; /* as ledger_open was told */
    uint64_t n_rows;  /* in `rows` */
};

/* Looks at what is there, and goes on from it. `source` names all that a position depends on. */
bool ledger_open(struct ledger *ledger, const char *source, struct ledger_state *state,
                 struct error *err) MUST_CHECK;
/* Begins a life: a new id where there was none, no position, this source and system. Nothing but ledger_open before. */
bool ledger_found(struct ledger *ledger, const char *source, uint64_t system,
                  struct ledger_state *state, struct error *err) MUST_CHECK;

/* For another instance than the connector's: it writes beside that one, whose EXEC then does nothing and is repeated with
 * what is there now. The position stays. ERROR_NOT_FOUND: there is none. */
bool ledger_join(struct ledger *ledger, struct error *err) MUST_CHECK;

/* Connects where that is needed. ERROR_NOT_FOUND: what is there is not what was left there. */
bool ledger_ready(struct ledger *ledger, struct error *err) MUST_CHECK;
/* The same, asked of the server. */
bool ledger_look(struct ledger *ledger, struct error *err) MUST_CHECK;

/* Sends what only reads, outside a transaction; to be called after ledger_ready or ledger_join. */
bool ledger_read(struct ledger *ledger, struct slice commands, size_t n, struct replies *replies,
                 struct error *err) MUST_CHECK;

/* A ledger_commit must follow: what has been composed is on its way to the server, which parses it meanwhile. */
void ledger_begin(struct ledger *ledger);
/* Where one more command goes; exactly one. */
struct buf *ledger_command(struct ledger *ledger);
/* The place that command will have in the replies. */
size_t ledger_n_commands(const struct ledger *ledger);
/* `position` NULL: it stays. The answers of the commands, errors among them, go into *replies (NULL: not wanted); the
 * whole is refused (false) where one of them was not even queued: no rights, memory full. */
bool ledger_commit(struct ledger *ledger, const struct change_position *position,
                   struct replies *replies, struct error *err) MUST_CHECK;

/* The hash of rows. */
const char *ledger_rows_key(const struct ledger *ledger);

/* The command that takes away what an entry tells of: one ledger_command. */
void ledger_remove(struct ledger *ledger, const struct entry *entry);

/* Removes every row whose entry has a version below that; UINT64_MAX: all. *newer: how many were above `newest`. In many small
 * transactions. */
bool ledger_sweep(struct ledger *ledger, uint64_t version, uint64_t newest, uint64_t *removed,
                  uint64_t *newer, struct error *err) MUST_CHECK;
/* Forgets the position, and what is left of `rows`. */
bool ledger_drop(struct ledger *ledger, struct error *err) MUST_CHECK;

#endif
