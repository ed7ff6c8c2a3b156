/* source_database.h: what every source does in the database that it reads: connect, publish its tables, ask about the slot.
 *
 * Blocking; any thread, each with connections of its own. */
#ifndef FRESHET_CONNECTORS_SOURCE_DATABASE_H
#define FRESHET_CONNECTORS_SOURCE_DATABASE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/error.h"
#include "base/log.h"

struct source_database {
    const char *url;
    const char *application_name;
    const char *publication; /* NULL: none is wanted, changes come from elsewhere */
    bool shared_publication; /* somebody else's too: it must hold the tables, and is not changed */
    struct log *log;
};

/* Copies. */
void source_database_init(struct source_database *database, const struct source_database *from);
void source_database_deinit(struct source_database *database);

/* The text of every value is the same as in the feed's session. */
PGconn *source_database_connect(const struct source_database *database, struct error *err);
/* Makes the publication, or brings it to these tables. */
bool source_database_publish(const struct source_database *database, PGconn *conn, uint32_t n,
                             const struct catalog_table *const *tables,
                             struct error *err) MUST_CHECK;
bool source_database_system(PGconn *conn, uint64_t *system_identifier,
                            struct error *err) MUST_CHECK;
/* shape.h, `tables`, of these in this order. */
uint64_t source_database_tables(uint32_t n, const struct catalog_table *const *tables);
/* The same by their names, "schema" and "table" by turns, over a connection of its own. *now 0: one of them is not there. */
bool source_database_tables_now(const struct source_database *database, uint32_t n,
                                const char *const *names, uint64_t *now,
                                struct error *err) MUST_CHECK;
/* No change that the slot will stream has a lower row_lsn. */
bool source_database_load_floor(const struct source_database *database, const char *slot,
                                uint64_t *floor_lsn, struct error *err) MUST_CHECK;

#endif
