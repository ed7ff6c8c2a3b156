#include "base/pg.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { CONNECT_TIMEOUT_S = 10 };

/* What stands in the conninfo only where the user's URL does not say otherwise: a peer that vanished without a
 * word is noticed within half a minute. */
static const struct {
    const char *keyword;
    const char *value;
} defaults[] = {
    {"keepalives", "1"},       {"keepalives_idle", "10"},     {"keepalives_interval", "5"},
    {"keepalives_count", "3"}, {"tcp_user_timeout", "30000"},
};

static void append_setting(struct buf *out, const char *keyword, const char *value) {
    if (out->len) buf_append_char(out, ' ');
    buf_append_text(out, keyword);
    buf_append_text(out, "='");
    for (const char *c = value; *c; c++) {
        if (*c == '\'' || *c == '\\') buf_append_char(out, '\\');
        buf_append_char(out, *c);
    }
    buf_append_char(out, '\'');
}

/* An address that was found stands for all that were named. */
static bool append_address(struct buf *out, const struct pg_address *at, const char *keyword) {
    if (strcmp(keyword, "host") == 0 && at->host[0])
        append_setting(out, keyword, at->host);
    else if (strcmp(keyword, "hostaddr") == 0 && at->hostaddr[0])
        append_setting(out, keyword, at->hostaddr);
    else if (strcmp(keyword, "port") == 0 && at->port[0])
        append_setting(out, keyword, at->port);
    return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
           strcmp(keyword, "port") == 0 || strcmp(keyword, "target_session_attrs") == 0;
}

/* A port for all stands alone in its list. */
static bool append_one_host(struct buf *out, uint32_t number, const char *keyword,
                            const char *list) {
    bool of_host = strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0;
    if ((!of_host && strcmp(keyword, "port") != 0) || !list) return false;
    for (uint32_t i = 1; i < number && strchr(list, ','); i++)
        list = strchr(list, ',') + 1;
    char *item = mem_printf("%.*s", (int)strcspn(list, ","), list);
    if (*item) append_setting(out, keyword, item);
    mem_free(item);
    return true;
}

/* Ours win: they are what the caller's code relies on. */
static bool append_ours(struct buf *out, const struct pg_options *options, const char *keyword,
                        const char *users_value) {
    if (options->at && append_address(out, options->at, keyword)) return true;
    if (options->host_number && append_one_host(out, options->host_number, keyword, users_value))
        return true;
    if (strcmp(keyword, "client_encoding") == 0) {
        append_setting(out, keyword, "UTF8");
    } else if (strcmp(keyword, "application_name") == 0 && options->application_name) {
        append_setting(out, keyword, options->application_name);
    } else if (strcmp(keyword, "replication") == 0) {
        if (options->replication) append_setting(out, keyword, "database");
    } else if (strcmp(keyword, "options") == 0 && options->server_options) {
        /* Behind the user's: the last -c of a name is the one in force. */
        char *both = mem_printf("%s%s%s", users_value ? users_value : "", users_value ? " " : "",
                                options->server_options);
        append_setting(out, keyword, both);
        mem_free(both);
    } else if (strcmp(keyword, "connect_timeout") == 0 && !users_value) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d",
                 options->connect_timeout_s ? options->connect_timeout_s : CONNECT_TIMEOUT_S);
        append_setting(out, keyword, seconds);
    } else {
        return false;
    }
    return true;
}

static const char *default_value(const char *keyword) {
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (strcmp(defaults[i].keyword, keyword) == 0) return defaults[i].value;
    }
    return NULL;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword) {
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (strcmp(o->keyword, keyword) == 0) return o->val;
    }
    return NULL;
}

static uint32_t count_items(const char *list) {
    uint32_t n = 1;
    for (const char *c = list; c && *c; c++)
        n += *c == ',';
    return n;
}

static uint32_t count_hosts(const PQconninfoOption *options) {
    uint32_t hosts = count_items(value_of(options, "host"));
    uint32_t addresses = count_items(value_of(options, "hostaddr"));
    return hosts > addresses ? hosts : addresses;
}

uint32_t pg_count_hosts(const char *url) {
    PQconninfoOption *parsed = PQconninfoParse(url, NULL);
    uint32_t n = parsed ? count_hosts(parsed) : 1;
    PQconninfoFree(parsed);
    return n;
}

int pg_connect_timeout_s(const char *url) {
    PQconninfoOption *parsed = PQconninfoParse(url, NULL);
    const char *value = parsed ? value_of(parsed, "connect_timeout") : NULL;
    int timeout_s = value ? atoi(value) : 0;
    PQconninfoFree(parsed);
    return timeout_s > 0 ? timeout_s : 0;
}

char *pg_hosts(const char *url) {
    PQconninfoOption *parsed = PQconninfoParse(url, NULL);
    const char *host = parsed ? value_of(parsed, "host") : NULL;
    const char *port = parsed ? value_of(parsed, "port") : NULL;
    if (parsed && !host) host = value_of(parsed, "hostaddr");
    struct buf out = {0};
    if (!host || !*host) host = "local";
    if (!port || !*port) port = "5432";
    while (true) {
        size_t host_len = strcspn(host, ",");
        size_t port_len = strcspn(port, ",");
        buf_printf(&out, "%.*s:%.*s", (int)host_len, host, (int)port_len, port);
        if (!host[host_len]) break;
        buf_append_char(&out, ',');
        host += host_len + 1;
        if (port[port_len]) port += port_len + 1; /* one port for all, or one each */
    }
    PQconninfoFree(parsed);
    buf_text(&out);
    return out.data;
}

void pg_address_of(const PGconn *conn, struct pg_address *address) {
    const char *host = PQhost(conn);
    const char *hostaddr = PQhostaddr(conn);
    const char *port = PQport(conn);
    snprintf(address->host, sizeof address->host, "%s", host ? host : "");
    snprintf(address->hostaddr, sizeof address->hostaddr, "%s", hostaddr ? hostaddr : "");
    snprintf(address->port, sizeof address->port, "%s", port ? port : "");
}

char *pg_conninfo(const char *url, const struct pg_options *options, struct error *err) {
    char *reason = NULL;
    PQconninfoOption *parsed = PQconninfoParse(url, &reason);
    if (!parsed) {
        error_set(err, ERROR_CONFIG, false, "database URL: %s",
                  reason ? reason : "cannot be parsed");
        PQfreemem(reason);
        return NULL;
    }
    struct buf out = {0};
    for (const PQconninfoOption *o = parsed; o->keyword; o++) {
        if (append_ours(&out, options, o->keyword, o->val)) continue;
        const char *value = o->val ? o->val : default_value(o->keyword);
        if (value) append_setting(&out, o->keyword, value);
    }
    if (!options->at && count_hosts(parsed) > 1 && !value_of(parsed, "target_session_attrs"))
        append_setting(&out, "target_session_attrs",
                       options->wanted_server ? options->wanted_server : "read-write");
    PQconninfoFree(parsed);
    buf_text(&out);
    return out.data;
}

/* Diagnostics of the server (NOTICE, WARNING) do not belong on our stderr between log lines. */
static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

PGconn *pg_connect(const char *url, const struct pg_options *options, struct error *err) {
    char *conninfo = pg_conninfo(url, options, err);
    if (!conninfo) return NULL;
    PGconn *conn = PQconnectdb(conninfo);
    mem_free(conninfo);
    ASSERT(conn);
    if (PQstatus(conn) != CONNECTION_OK) {
        pg_error(err, conn, NULL, "connecting to PostgreSQL");
        PQfinish(conn);
        return NULL;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    return conn;
}

/* SQLSTATE by its longest prefix: five characters, or the class of two. */
struct meaning {
    const char *sqlstate;
    enum error_code code;
    bool retriable;
};

static const struct meaning meanings[] = {
    {"08", ERROR_UNAVAILABLE, true},    /* connection exception */
    {"08P01", ERROR_PROTOCOL, false},   /* protocol violation */
    {"22", ERROR_REFUSED, false},       /* data exception */
    {"23", ERROR_CONFLICT, false},      /* integrity constraint */
    {"28", ERROR_REFUSED, false},       /* authorization */
    {"3D", ERROR_NOT_FOUND, false},     /* database */
    {"3F", ERROR_NOT_FOUND, false},     /* schema */
    {"40", ERROR_CONFLICT, true},       /* serialization, deadlock */
    {"42P01", ERROR_NOT_FOUND, false},  /* table */
    {"42703", ERROR_NOT_FOUND, false},  /* column */
    {"42704", ERROR_NOT_FOUND, false},  /* object: slot, publication, role */
    {"42710", ERROR_CONFLICT, false},   /* object exists */
    {"53300", ERROR_UNAVAILABLE, true}, /* too many connections */
    {"53400", ERROR_LIMIT, false},      /* all replication slots are in use */
    {"53", ERROR_LIMIT, true},          /* memory, disk */
    {"54", ERROR_LIMIT, false},
    {"55006", ERROR_UNAVAILABLE, true}, /* object in use: the slot is active */
    {"55P03", ERROR_TIMEOUT, true},     /* lock not available */
    {"57014", ERROR_TIMEOUT, true},     /* statement timeout, cancel */
    {"57P04", ERROR_NOT_FOUND, false},  /* database dropped */
    {"57", ERROR_UNAVAILABLE, true},    /* shutdown, crash, starting up */
    {"58", ERROR_SYSTEM, false},
    {"XX", ERROR_SYSTEM, false},
};

static const struct meaning *find_meaning(const char *sqlstate) {
    const struct meaning *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        size_t len = strlen(meanings[i].sqlstate);
        if (len > best_len && strncmp(sqlstate, meanings[i].sqlstate, len) == 0) {
            best = &meanings[i];
            best_len = len;
        }
    }
    return best;
}

/* libpq tells no SQLSTATE of a failed connection attempt: only these texts tell a refusal, which a human has to
 * mend, from a server that is away. In another language it is retried, and the cause is shown all the same. */
static bool is_refusal(const char *message) {
    static const char *const texts[] = {
        "authentication failed",
        "no password supplied",
        "no pg_hba.conf entry",
        "does not exist",
        "is not permitted to log in",
        "permission denied",
        "must be superuser",
        "does not support SSL",
        "invalid command-line argument",
        "unrecognized configuration parameter",
    };
    if (!strstr(message, "FATAL:") && !strstr(message, "fe_sendauth") && !strstr(message, "SSL"))
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strstr(message, texts[i])) return true;
    }
    return false;
}

static bool connection_error(struct error *err, const PGconn *conn, const char *what) {
    const char *message = PQerrorMessage(conn);
    if (message[0] == '\0') message = "the connection was lost";
    if (is_refusal(message)) return error_set(err, ERROR_REFUSED, false, "%s: %s", what, message);
    return error_set(err, ERROR_UNAVAILABLE, true, "%s: %s", what, message);
}

bool pg_error(struct error *err, const PGconn *conn, const PGresult *result, const char *what) {
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!sqlstate) {
        if (PQstatus(conn) != CONNECTION_OK || !result) return connection_error(err, conn, what);
        const char *message = PQresultErrorMessage(result);
        return error_set(err, ERROR_PROTOCOL, false, "%s: %s", what,
                         message[0] ? message : "an unexpected kind of result");
    }
    const struct meaning *meaning = find_meaning(sqlstate);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    return error_set(err, meaning ? meaning->code : ERROR_REFUSED,
                     meaning ? meaning->retriable : false, "%s: %s%s%s%s%s (SQLSTATE %s)", what,
                     primary ? primary : "error", detail ? ": " : "", detail ? detail : "",
                     hint ? "; " : "", hint ? hint : "", sqlstate);
}

/* The head of a statement, for messages: enough to know it by. */
static void describe(const char *sql, char *what, size_t size) {
    snprintf(what, size, "%.*s%s", (int)size - 8, sql, strlen(sql) > size - 8 ? "..." : "");
}

static PGresult *checked(PGconn *conn, PGresult *result, const char *sql, struct error *err) {
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK: return result;
    default: break;
    }
    char what[96];
    describe(sql, what, sizeof what);
    pg_error(err, conn, result, what);
    PQclear(result);
    return NULL;
}

PGresult *pg_query(PGconn *conn, const char *sql, struct error *err) {
    return checked(conn, PQexec(conn, sql), sql, err);
}

PGresult *pg_query_params(PGconn *conn, const char *sql, int n, const char *const *params,
                          struct error *err) {
    return checked(conn, PQexecParams(conn, sql, n, NULL, params, NULL, NULL, 0), sql, err);
}

bool pg_exec(PGconn *conn, const char *sql, struct error *err) {
    PGresult *result = pg_query(conn, sql, err);
    PQclear(result);
    return result != NULL;
}

/* PQgetlineAsync is one of libpq's older calls, and the only one that copies a row to where it is wanted: PQgetCopyData
 * allocates each. It gives a row in parts where the room is too small, of which the last alone ends with a newline: those in
 * values are escaped. */
enum pg_copied pg_copy_rows(PGconn *conn, size_t most, struct buf *rows) {
    bool within_row = false;
    while (within_row || rows->len < most) {
        if (rows->len == rows->cap) buf_grow(rows, 1);
        size_t room = rows->cap - rows->len;
        if (room > INT_MAX) room = INT_MAX;
        int len = PQgetlineAsync(conn, rows->data + rows->len, (int)room);
        if (len == 0) return PG_COPIED_ALL_HERE;
        if (len < 0) {
            char *
                row; /* there is none: it brings libpq out of the COPY, which the other one does not */
            if (PQgetCopyData(conn, &row, 1) > 0) PQfreemem(row);
            return PG_COPIED_END;
        }
        rows->len += (size_t)len;
        within_row = (size_t)len == room && rows->data[rows->len - 1] != '\n';
    }
    return PG_COPIED_FULL;
}

bool pg_finish_copy(PGconn *conn, struct error *err) {
    bool ok = true;
    PGresult *result;
    while ((result = PQgetResult(conn)) != NULL) {
        if (ok && PQresultStatus(result) != PGRES_COMMAND_OK)
            ok = pg_error(err, conn, result, "COPY");
        PQclear(result);
    }
    return ok;
}

void pg_quote_ident(struct buf *out, const char *name) {
    buf_append_char(out, '"');
    for (const char *c = name; *c; c++) {
        if (*c == '"') buf_append_char(out, '"');
        buf_append_char(out, *c);
    }
    buf_append_char(out, '"');
}

void pg_quote_table(struct buf *out, const char *schema, const char *name) {
    pg_quote_ident(out, schema);
    buf_append_char(out, '.');
    pg_quote_ident(out, name);
}

void pg_quote_literal(struct buf *out, const char *text) {
    /* E'' reads backslashes alike under both settings. */
    bool escapes = strchr(text, '\\') != NULL;
    buf_append_text(out, escapes ? " E'" : "'");
    for (const char *c = text; *c; c++) {
        if (*c == '\'' || *c == '\\') buf_append_char(out, *c);
        buf_append_char(out, *c);
    }
    buf_append_char(out, '\'');
}
