/* standbys.h: what a value of synchronous_standby_names means to one standby (PostgreSQL documentation, "Synchronous Replication").
 *
 *     if (standbys_parse(text, &standbys) && standbys_role(&standbys, "freshet_cache") == STANDBY_NEEDED) ...
 *     standbys_deinit(&standbys);
 *
 * Pure. */
#ifndef FRESHET_BASE_STANDBYS_H
#define FRESHET_BASE_STANDBYS_H

#include <stdbool.h>
#include <stdint.h>

enum { STANDBYS_MAX = 64 };

struct standbys {
    bool any; /* ANY n: whichever n confirm first; else the first n of the list that are there */
    uint32_t needed; /* n */
    uint32_t n_names;
    char *names[STANDBYS_MAX]; /* "*": every standby */
};

/* Empty text is no names. False: not of its syntax, or more than STANDBYS_MAX names. Deinit in either case. */
bool standbys_parse(const char *text, struct standbys *standbys);
void standbys_deinit(struct standbys *standbys);

enum standby_role {
    STANDBY_NOT_NAMED,
    STANDBY_NEEDED,    /* no commit returns without it */
    STANDBY_PREFERRED, /* none does while it is there; another takes its place when it is not */
    STANDBY_OPTIONAL,  /* commits may return before it has confirmed them */
};
enum standby_role standbys_role(const struct standbys *standbys, const char *name);

#endif
