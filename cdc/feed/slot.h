/* slot.h: logical replication slots of the pgoutput plugin: look up, create, drop, and what they retain.
 *
 *     if (!slot_lookup(&wait, conn, "freshet", &slot, err)) ...    slot.exists tells
 *     if (!slot_create(&wait, walsender, &plan, &made, err)) ...   on a replication=database connection
 *
 * Blocking; on a feed's thread. */
#ifndef FRESHET_CDC_SLOT_H
#define FRESHET_CDC_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pg.h"
#include "cdc/feed/pgwait.h"

enum { SLOT_NAME_BYTES = 64 };

struct slot_info {
    bool exists;
    bool logical;
    bool in_this_database;
    char plugin[SLOT_NAME_BYTES];
    char database[SLOT_NAME_BYTES];
    bool temporary;
    int active_pid;  /* 0: nobody streams from it */
    bool lost;       /* wal_status 'lost', or invalidated for another reason */
    char status[64]; /* wal_status, or why it was invalidated */
    uint64_t confirmed_lsn;
    uint64_t restart_lsn;
    int64_t retained_bytes; /* of WAL, from restart_lsn to now */
    bool failover;          /* standbys may keep a copy in step (17+) */
    bool two_phase;         /* prepared transactions are sent when they are prepared */
};

bool slot_lookup(const struct pgwait *wait, PGconn *conn, const char *name, struct slot_info *info,
                 struct error *err) MUST_CHECK;

struct slot_plan {
    const char *name;
    bool temporary;
    bool export_snapshot;
    bool failover; /* where the server has it (17+): standbys may keep a copy in step */
};

struct slot_made {
    uint64_t consistent_lsn; /* the stream begins here */
    /* Of the exported snapshot; good until the next command on the same connection. */
    char snapshot[SLOT_NAME_BYTES];
};

/* Waits for every transaction that runs now: long, where one of them is. */
bool slot_create(const struct pgwait *wait, PGconn *walsender, const struct slot_plan *plan,
                 struct slot_made *made, struct error *err) MUST_CHECK;
bool slot_drop(const struct pgwait *wait, PGconn *conn, const char *name,
               struct error *err) MUST_CHECK;

/* Lets standbys keep a copy of a slot that nobody streams from. 17+. */
bool slot_set_failover(const struct pgwait *wait, PGconn *walsender, const char *name,
                       struct error *err) MUST_CHECK;

/* What a name may be: 1 to 63 of a-z, 0-9 and _. */
bool slot_name_valid(const char *name);

/* Who keeps `pid` (a walsender that creates a slot) waiting, in words, to `text`; "" when nobody is found.
 * On another connection than the waiting one. */
void slot_blocker(const char *url, int pid, char *text, size_t size);

#endif
