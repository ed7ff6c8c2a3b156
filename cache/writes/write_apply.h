/* write_apply.h: what an own write does to memory (rule 7): it is applied like a streamed transaction, with its own xid, before
 * anybody is told; and then the rows as the database stored them are kept, by the same rules as those that a fill has read.
 *
 *     write_apply(core, write, stored, n);     COMMIT has returned
 *     write_forget_rows(core, write);          nobody knows whether it has committed
 *
 * Any thread that holds no lock; the write is on its worker's fillclock until this has returned (rule 4). */
#ifndef FRESHET_CACHE_WRITE_APPLY_H
#define FRESHET_CACHE_WRITE_APPLY_H

#include "cache/rows/core.h"
#include "cache/writes/write.h"

/* A row as the transaction has left it: a result of statement.h's. */
struct write_stored {
    uint32_t op;
    enum key_form form;
    PGresult *result; /* owned by the writer */
};

void write_apply(struct core *core, const struct write *write, const struct write_stored *stored,
                 uint32_t n);
void write_forget_rows(struct core *core, const struct write *write);

#endif
