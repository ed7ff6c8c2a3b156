/* database.h: a scratch database for the unit tests that need a real PostgreSQL.
 *
 *     static PGconn *conn = scratch_create("test_catalog");      NULL: no server was given, skip
 *     scratch_drop(conn, "test_catalog");
 *
 * The server is the one that FRESHET_TEST_DATABASE_URL names, as a superuser. */
#ifndef FRESHET_TESTS_DATABASE_H
#define FRESHET_TESTS_DATABASE_H

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/pg.h"

static inline PGconn *scratch_connect(const char *url) {
    struct error err;
    PGconn *conn = pg_connect(url, &(struct pg_options){.application_name = "unit test"}, &err);
    if (!conn) fprintf(stderr, "%s\n", err.message);
    ASSERT(conn);
    return conn;
}

static inline void scratch_exec(PGconn *conn, const char *sql) {
    struct error err;
    if (pg_exec(conn, sql, &err)) return;
    fprintf(stderr, "%s\n%s\n", sql, err.message);
    ASSERT_UNREACHABLE();
}

/* A second connection to the same database, as another role where given. */
static inline PGconn *scratch_second(PGconn *conn, const char *role) {
    char *url = mem_printf("host=%s port=%s dbname=%s user=%s", PQhost(conn), PQport(conn),
                           PQdb(conn), role ? role : PQuser(conn));
    PGconn *second = scratch_connect(url);
    mem_free(url);
    return second;
}

static inline void scratch_admin(const char *url, const char *format, const char *name) {
    PGconn *admin = scratch_connect(url);
    char *sql = mem_printf(format, name);
    scratch_exec(admin, sql);
    mem_free(sql);
    PQfinish(admin);
}

static inline PGconn *scratch_create(const char *name) {
    const char *url = getenv("FRESHET_TEST_DATABASE_URL");
    if (!url) return NULL;
    scratch_admin(url, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    scratch_admin(url, "CREATE DATABASE %s", name);
    PGconn *admin = scratch_connect(url);
    char *own = mem_printf("host=%s port=%s dbname=%s user=%s", PQhost(admin), PQport(admin), name,
                           PQuser(admin));
    PQfinish(admin);
    PGconn *conn = scratch_connect(own);
    mem_free(own);
    return conn;
}

static inline void scratch_drop(PGconn *conn, const char *name) {
    if (!conn) return;
    PQfinish(conn);
    scratch_admin(getenv("FRESHET_TEST_DATABASE_URL"), "DROP DATABASE IF EXISTS %s WITH (FORCE)",
                  name);
}

#endif
