/* viewtable.h: the table of a PostgreSQL that a connector keeps: its connection, its columns, and the position beside it.
 *
 *     viewtable_open(target, shape, system_identifier, &found, err)      connects, makes what is absent
 *     viewtable_load_position(target, &position, err)
 *     viewtable_begin(target, err)  ...statements on target->conn...  viewtable_commit(target, &position, err)
 *
 * The position stands in the table freshet_positions of the same schema, one row a target, and moves in the transaction that
 * brings the rows. It moves from the place where we left it or not at all: of two processes that believe the target to be
 * theirs, one fails.
 *
 * One thread. */
#ifndef FRESHET_CONNECTORS_VIEW_VIEWTABLE_H
#define FRESHET_CONNECTORS_VIEW_VIEWTABLE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"
#include "base/log.h"
#include "connectors/document/shape.h"
#include "connectors/sink.h"

struct viewtable {
    char *url;
    char *application_name;
    char *connector;
    char *schema;
    char *table;
    struct log *log;

    PGconn *conn; /* NULL: not connected */
    bool begun;   /* a transaction is open */
    bool written; /* ... and holds work of ours that a rollback would lose */
    uint64_t system_identifier;
    uint32_t oid;
    char *source; /* as the position's row has it */
    char *keys;
    struct change_position position; /* as it stands in the target, but for the note */
    char *note; /* of a load that is under way, as viewtable_load_position found it; NULL: none */
    struct viewtable_column *columns; /* of the shape that it was last told of */
};

/* Of each column of the shape: the type that a text is cast to, with no length that would cut it. */
struct viewtable_column {
    char *type;
    char *exact_type; /* with the length: values are as the table has them */
};

/* Copies. `into`: "schema.table". */
void viewtable_init(struct viewtable *target, const char *url, const char *connector,
                    const char *into, struct log *log);
void viewtable_deinit(struct viewtable *target);

bool viewtable_open(struct viewtable *target, const struct shape *shape, uint64_t system_identifier,
                    struct sink_target *found, struct error *err) MUST_CHECK;
/* Connects, and takes the table as it is; ERROR_NOT_FOUND: it is not there, or lacks columns. For comparing. */
bool viewtable_attach(struct viewtable *target, const struct shape *shape,
                      struct error *err) MUST_CHECK;
/* Adds the columns that the table lacks. */
bool viewtable_reshape(struct viewtable *target, const struct shape *shape,
                       struct error *err) MUST_CHECK;
/* Zero where what stands there is of another table, key or target. False: it is of another database system. */
bool viewtable_load_position(struct viewtable *target, struct change_position *position,
                             struct error *err) MUST_CHECK;

/* Connects where that was lost, and begins a transaction where none is open. */
bool viewtable_begin(struct viewtable *target, struct error *err) MUST_CHECK;
/* Moves the position, and makes all since viewtable_begin seen. */
bool viewtable_commit(struct viewtable *target, const struct change_position *position,
                      struct error *err) MUST_CHECK;
/* After a failure: back to the last commit. ERROR_NOT_FOUND replaces *err's code where work was lost by it that the caller
 * has been told was done. */
void viewtable_abandon(struct viewtable *target, struct error *err);

#endif
