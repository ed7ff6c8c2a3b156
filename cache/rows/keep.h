/* keep.h: may what a fill has read be stored? The installing half of the rules; coherence.h is the evicting one.
 *
 *     switch (keep_row(core, &row, &snapshot)) ...
 *
 * Any worker, in a reading section or not; takes the shard locks of the row's two keys itself. */
#ifndef FRESHET_CACHE_KEEP_H
#define FRESHET_CACHE_KEEP_H

#include "cache/rows/core.h"
#include "cache/rows/keyspace.h"

struct keep_row {
    const struct table *table;
    struct slice key; /* as asked */
    uint64_t hash;
    enum key_form form;     /* FORM_STRING: `bytes` is text; else packed */
    enum entry_kind kind;   /* as it shows */
    struct slice bytes;     /* data NULL: the row is absent */
    struct slice canonical; /* the key that a change of the answer names; data NULL: none does */
    bool exact;             /* that the row is absent may be remembered */
    bool lasting;           /* the asked text means this row at any time */
    uint16_t fill_ms;       /* what reading it took, rounded up */
    bool renews;            /* begins a new life: another form, with less to live, is dropped */
    int64_t expire_at_ms;
    int64_t filled_at_us; /* wall clock */
    uint64_t written_by;  /* the own write that has left the row so; 0: a fill has read it */
};

enum keep_outcome {
    KEEP_STORED,
    KEEP_BLOCKED, /* an applied transaction is not visible yet: read again */
    KEEP_REFUSED, /* not now, and not by reading again at once */
};

enum keep_outcome keep_row(struct core *core, const struct keep_row *row,
                           const struct pgsnapshot *snapshot);

#endif
