/* reread.h: the values that the stream leaves out of an UPDATE, because they are stored apart (TOAST) and did not change, read
 * from the table (`cdc.format.unchanged: reread`).
 *
 *     if (!reread_change(reread, &change, err)) ...        change.new_row is then whole, where the row is still there
 *
 * What is read is the row as it is now. An event may thus hold a value that a later event brings once more, and never one that
 * no event follows; a row that is gone by now keeps the placeholder, and its delete follows.
 *
 * One query a row on a connection of its own, which holds up the feed's thread. */
#ifndef FRESHET_CDC_REREAD_H
#define FRESHET_CDC_REREAD_H

#include "base/change.h"
#include "base/log.h"
#include "base/metrics.h"

struct reread;

/* `database_url` must outlive it. */
struct reread *reread_create(const char *database_url, struct log *log, struct metrics *metrics);
void reread_destroy(struct reread **reread);

/* Of an update with unchanged values and no whole old row: replaces change->new_row, until the next call, by one that has what
 * could be read. False: the database is out of reach, and the change may come again. */
bool reread_change(struct reread *reread, struct change *change, struct error *err) MUST_CHECK;

#endif
