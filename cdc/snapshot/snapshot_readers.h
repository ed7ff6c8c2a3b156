/* snapshot_readers.h: the tables of an initial snapshot, read in parts by several connections under one exported snapshot.
 *
 *     struct snapshot_readers *readers = snapshot_readers_start(&plan, err);
 *     while ((got = snapshot_readers_next(readers, &piece, err)) ...) ...  snapshot_piece_destroy(&piece);
 *     snapshot_readers_stop(&readers);
 *
 * A part is a range of pages of one table: so large that its rows are about part_bytes. It comes in pieces of a quarter of a
 * megabyte (or one row), one behind the other and with no other part's between them; tables come in their order, the parts of
 * one table in whichever order they are done. What is read ahead is bounded: twelve pieces for each reader.
 *
 *     reader 1:  COPY pages 0-511    | COPY pages 1024-1535 | ...        each a thread and a connection
 *     reader 2:  COPY pages 512-1023 | COPY pages 1536-...
 *     the feed:  piece, piece, ...
 *
 * The calls are the feed thread's. */
#ifndef FRESHET_CDC_SNAPSHOT_READERS_H
#define FRESHET_CDC_SNAPSHOT_READERS_H

#include "base/buf.h"
#include "base/pg.h"
#include "cdc/snapshot/snapshot_tables.h"

struct readers_plan {
    const char *database_url;
    const struct pg_options *options;
    const char *exported;                 /* the snapshot's name */
    const struct snapshot_tables *tables; /* must outlive the readers */
    uint32_t n_readers;                   /* at least one */
    uint64_t part_bytes;
    bool by_pages; /* the server finds rows by ranges of pages (14+); else a part is a table */
};

struct snapshot_piece {
    uint32_t table; /* in plan.tables */
    uint32_t from;  /* the part's pages, up to `to` */
    uint32_t to;    /* PAGES_TO_END: all the rest */
    bool ends_part;
    struct buf rows; /* as COPY gives them, each with its newline */
};

enum snapshot_got { GOT_PIECE, GOT_NOTHING_YET, GOT_ALL, GOT_ERROR };

struct snapshot_readers;

/* NULL on error. */
struct snapshot_readers *snapshot_readers_start(const struct readers_plan *plan, struct error *err);
void snapshot_readers_stop(struct snapshot_readers **readers);

/* The piece is the caller's. */
enum snapshot_got snapshot_readers_next(struct snapshot_readers *readers,
                                        struct snapshot_piece **piece, struct error *err);
/* Readable when `next` may have something new. */
int snapshot_readers_fd(const struct snapshot_readers *readers);
void snapshot_piece_destroy(struct snapshot_piece **piece);

#endif
