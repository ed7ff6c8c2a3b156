/* pg.h: what every part that talks to PostgreSQL needs of libpq. Blocking calls; not for worker loops.
 *
 *     PGconn *conn = pg_connect(url, &(struct pg_options){.application_name = "freshet"}, err);
 *     PGresult *rows = pg_query(conn, "SELECT ...", err);      NULL on an error, which carries the SQLSTATE
 */
#ifndef FRESHET_BASE_PG_H
#define FRESHET_BASE_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct pg_options {
    const char *application_name;
    bool replication;           /* replication=database: a walsender that also takes SQL */
    const char *server_options; /* "-c name=value ..." or NULL */
    int connect_timeout_s;      /* 0: 10 s */
    /* "read-write", "standby", ...: where the URL names several hosts and says nothing of it. NULL: "read-write", so that
     * one finds the primary. */
    const char *wanted_server;
    /* This one server, of those that the URL may lead to; NULL: any of them. */
    const struct pg_address *at;
    /* From 1 on: this one of the hosts that the URL names; 0: all. libpq's own loop over them has a timeout for each in its
     * blocking call alone. */
    uint32_t host_number;
};

/* Where a connection has led. */
struct pg_address {
    char host[256], hostaddr[64], port[32];
};
void pg_address_of(const PGconn *conn, struct pg_address *address);

/* How many hosts are named: 1 at least. */
uint32_t pg_count_hosts(const char *url);
static inline bool pg_has_several_hosts(const char *url) { return pg_count_hosts(url) > 1; }
/* connect_timeout, if the URL says so; else 0. */
int pg_connect_timeout_s(const char *url);
/* "host:port", of several with commas between them: for messages. The caller frees it. */
char *pg_hosts(const char *url);

/* The user's URL or conninfo string with our options merged over it (application_name, keepalives, ...), as
 * one conninfo string, for PQconnectStart and PQconnectdb. The caller frees it. NULL: the URL is malformed. */
char *pg_conninfo(const char *url, const struct pg_options *options, struct error *err);
PGconn *pg_connect(const char *url, const struct pg_options *options, struct error *err);

/* Fills *err from the connection or the result: code and retriable follow the SQLSTATE class. Returns false. */
bool pg_error(struct error *err, const PGconn *conn, const PGresult *result, const char *what);

/* Runs one statement; the result is the caller's (PQclear). NULL on error. */
PGresult *pg_query(PGconn *conn, const char *sql, struct error *err);
PGresult *pg_query_params(PGconn *conn, const char *sql, int n, const char *const *params,
                          struct error *err);
bool pg_exec(PGconn *conn, const char *sql, struct error *err) MUST_CHECK;
enum pg_copied {
    PG_COPIED_FULL,     /* *rows has reached its size */
    PG_COPIED_ALL_HERE, /* that was all for now: PQconsumeInput, once the socket is readable */
    PG_COPIED_END,      /* pg_finish_copy tells how it ended */
};
/* Of a COPY ... TO STDOUT in text format: appends whole rows, each with its newline, to *rows until that holds `most` bytes or
 * more. No allocation but the buffer's growth. */
enum pg_copied pg_copy_rows(PGconn *conn, size_t most, struct buf *rows);
/* What the server says behind the last row of a COPY ... TO STDOUT. */
bool pg_finish_copy(PGconn *conn, struct error *err) MUST_CHECK;

/* "name" with quotes doubled, always quoted; "schema"."name". */
void pg_quote_ident(struct buf *out, const char *name);
void pg_quote_table(struct buf *out, const char *schema, const char *name);
/* 'text' as a literal that is right whatever standard_conforming_strings says. */
void pg_quote_literal(struct buf *out, const char *text);

#endif
