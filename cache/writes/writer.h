/* writer.h: a worker's connections for writing, and the writes that wait for one or are under way.
 *
 *     writer_submit(writer, &write);       takes it; client_resume(write->ticket, &write->rows) follows, once
 *
 * A write is one transaction. One operation goes out together with its COMMIT; several are answered first, since the answers, and
 * watched keys, decide whether there is one. In the same transaction the rows are read again as the database has them now,
 * triggers and all. When COMMIT has returned the write is applied here (write_apply.h), and then its client runs again.
 *
 * Nothing is ever sent twice. What fails before COMMIT was sent has written nothing. Where it was sent and not answered,
 * by the deadline or at all, nobody knows: the client is told so, and the rows leave memory.
 *
 * On the worker's thread. */
#ifndef FRESHET_CACHE_WRITER_H
#define FRESHET_CACHE_WRITER_H

#include "cache/rows/keyspace_state.h"
#include "cache/writes/write.h"

struct writer;

struct writer *writer_create(struct keyspace *owner);
/* Drops what waits and what is under way; nobody is told. */
void writer_destroy(struct writer **writer);
void writer_submit(struct writer *writer, struct write **write);

#endif
