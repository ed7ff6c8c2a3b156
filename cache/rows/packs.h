/* packs.h: the rows that wait to be read, and the statements that are made of them.
 *
 *     packs_add(&packs, fills, n, terms);                  to be seen by one snapshot, all of them
 *     pack = packs_next(&packs, NULL, now_us, standby);    the oldest that may go; NULL: none may
 *     unit = packs_compose(&packs, pack, now_us, standby); it, and all that fit into its statement
 *
 * Those of one table, key and form that meet go into one statement. On the worker's thread. */
#ifndef FRESHET_CACHE_PACKS_H
#define FRESHET_CACHE_PACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/rows/pipe.h"

struct pack_terms {
    bool of_primary; /* no standby's answer will do */
    int64_t not_before_us;
    int64_t since_us; /* it waits */
};

/* Fills that one snapshot has to show; of one, mostly. */
struct pack {
    struct pack *next;
    struct pack_terms terms;
    uint32_t n;
    struct fill *fills[];
};

/* All zero: none wait. */
struct packs {
    struct pack *first, *newest;
    uint32_t n_fills;
};

/* The fills too. */
void packs_deinit(struct packs *packs);

/* Takes the fills (the array is borrowed). */
void packs_add(struct packs *packs, struct fill **fills, uint32_t n, struct pack_terms terms);
/* The next after that one (NULL: the first) that may go to a standby, or else to the primary. */
struct pack *packs_next(const struct packs *packs, const struct pack *after, int64_t now_us,
                        bool standby);
/* The pack is freed. */
struct unit *packs_compose(struct packs *packs, struct pack *head, int64_t now_us, bool standby);
/* No standby is there for those that are due. */
void packs_go_to_primary(struct packs *packs, int64_t now_us);
/* Each fill by the description that is in force now: its statement's result must fit what the fill expects. */
void packs_remap(struct packs *packs, struct tablemap *map);
/* One whose deadline lies before that time; NULL: none does. The caller frees it and its fills. */
struct pack *packs_take_expired(struct packs *packs, int64_t before_us);

#endif
