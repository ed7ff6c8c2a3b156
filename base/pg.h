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
    const struct pg_address
        *at; /* this one server, of those that the URL may lead to; NULL: any of them */
};

/* Where a connection has led. */
struct pg_address {
    char host[256], hostaddr[64], port[32];
};
void pg_address_of(const PGconn *conn, struct pg_address *address);

/* Are several hosts named? */
bool pg_has_several_hosts(const char *url);
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

/* "name" with quotes doubled, always quoted; "schema"."name". */
void pg_quote_ident(struct buf *out, const char *name);
void pg_quote_table(struct buf *out, const char *schema, const char *name);
/* 'text' as a literal that is right whatever standard_conforming_strings says. */
void pg_quote_literal(struct buf *out, const char *text);

#endif
