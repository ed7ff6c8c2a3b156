/* spool.h: what the server has sent of transactions that have not committed yet, kept until it tells what becomes of them.
 *
 *     spool_open(spool, err)                                      at each session's start: nothing is in it
 *     spool_append(spool, xid, subxid, lsn, payload, err)         each message, in order
 *     spool_abort(spool, xid, subxid)                             of a subtransaction, or of all of it
 *     spool_read(spool, xid);  spool_next(spool, &entry, err)     committed: entry by entry, to SPOOL_END
 *
 * It keeps the server's own messages as they came, and delivery replays them through the very code that a transaction sent
 * at its commit goes through. So it stands within delivery, below every sink that wants whole transactions (publisher,
 * connectors alike), rather than as a sink in front of a sink: that would take changes apart and write them in a format of
 * its own, with relations to be kept beside them; here descriptions of relations lie among the rows, where they came.
 *
 *     memory     a tail of each transaction, up to BLOCK_BYTES; of all together up to memory_bytes
 *     disk       DIRECTORY/NAME.<n>/<xid>: blocks of whole entries, each with a checksum; up to limit_bytes
 *
 * A file is open only while a block is written, or while its transaction is read, and no longer has a name then: however
 * many transactions are open, one descriptor does. NAME.<n> is locked by the process that uses it; what a dead one has left is
 * deleted at the next start, since the server sends it all again: nothing of it is ever synced. A disk that is full, the
 * limit, and a block that is not as it was written are errors that end the session: the position has not moved, and no
 * transaction is in the sink by half.
 *
 * What it costs, against a server that keeps them itself (cdc.streaming: false; it then writes them to pg_replslot and reads
 * them back at the commit). Seen with one transaction of 1,000,000 rows of 60 bytes, logical_decoding_work_mem at its default,
 * two busy cores:
 *
 *                 all of it published   CPU a row, Freshet   walsender   written to disk
 *     streaming   2.1-3.0 s after COMMIT   0.70 us           1.4-1.5 us   109 MiB, here
 *     not         6.8-7.2 s                0.51 us           2.2 us       196 MiB, at the server
 *
 * One thread, the feed's; figures any thread. */
#ifndef FRESHET_CDC_SPOOL_H
#define FRESHET_CDC_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "base/slice.h"

struct spool;

struct spool_config {
    const char *directory; /* made where it is not there */
    const char *name;      /* of the user of it among others: a slot's */
    const char *feed;      /* for metrics */
    uint64_t memory_bytes;
    uint64_t limit_bytes; /* of files; 0: the disk's */
};

/* Copies the configuration. */
struct spool *spool_create(const struct spool_config *config, struct metrics *metrics);
/* Removes its files. */
void spool_destroy(struct spool **spool);

/* Empties it, and makes sure of its directory. */
bool spool_open(struct spool *spool, struct error *err) MUST_CHECK;
/* True: it has failed since it was opened. */
bool spool_failed(const struct spool *spool);

/* The transaction is known from here on, with nothing of it kept yet. */
void spool_begin(struct spool *spool, uint64_t xid);
bool spool_has(const struct spool *spool, uint64_t xid);
/* subxid 0: the payload tells none. */
bool spool_append(struct spool *spool, uint64_t xid, uint32_t subxid, uint64_t lsn,
                  struct slice payload, struct error *err) MUST_CHECK;
/* Drops what came of one subtransaction so far. Its bytes stay until the transaction ends: the server tells of few, since it
 * sends nothing of those that end before it must send something. */
void spool_abort_part(struct spool *spool, uint64_t xid, uint32_t subxid);
void spool_drop(struct spool *spool, uint64_t xid);

struct spool_entry {
    uint32_t subxid;
    uint64_t lsn;
    struct slice payload; /* good until the next call */
};
enum spool_result { SPOOL_ENTRY, SPOOL_END, SPOOL_ERROR };

/* Takes the transaction out, to be read: one at a time. */
void spool_read(struct spool *spool, uint64_t xid);
enum spool_result spool_next(struct spool *spool, struct spool_entry *entry, struct error *err);

struct spool_figures {
    uint64_t transactions; /* kept */
    uint64_t memory_bytes;
    uint64_t disk_bytes;
};
void spool_read_figures(const struct spool *spool, struct spool_figures *figures);

#endif
