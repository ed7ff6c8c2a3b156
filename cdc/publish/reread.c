#include "cdc/publish/reread.h"

#include "base/mem.h"
#include "base/pg.h"
#include "cdc/decode/pgoutput.h"

/* As the stream's own session has them (cdc/feed/session.c), so that the text is the same. A lock is not waited for as long as the
 * server keeps the stream open without a word from us. */
static const char settings[] =
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c timezone=UTC"
    " -c bytea_output=hex -c statement_timeout=0 -c lock_timeout=5s"
    " -c default_transaction_isolation=read\\ committed";

struct reread {
    const char *database_url;
    struct log *log;
    PGconn *conn;
    PGresult *result; /* what `row` points into */
    struct value *row;
    char **params; /* the key's values, NUL-terminated */
    struct metric *found, *gone, *refused;
};

struct reread *reread_create(const char *database_url, struct log *log, struct metrics *metrics) {
    static const char name[] = "freshet_cdc_reread_rows_total";
    static const char help[] = "Rows read from their tables for values that an update left "
                               "unchanged (cdc.format.unchanged: reread, and row filters that "
                               "need them): found, gone by then, or refused by the server; the "
                               "last two keep the placeholder.";
    struct reread *reread = mem_zalloc(sizeof *reread);
    reread->database_url = database_url;
    reread->log = log;
    reread->row = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof *reread->row);
    reread->params = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof *reread->params);
    reread->found = metrics_counter(metrics, name, help, "outcome=\"found\"");
    reread->gone = metrics_counter(metrics, name, help, "outcome=\"gone\"");
    reread->refused = metrics_counter(metrics, name, help, "outcome=\"refused\"");
    return reread;
}

void reread_destroy(struct reread **reread) {
    struct reread *old = *reread;
    *reread = NULL;
    if (!old) return;
    PQclear(old->result);
    if (old->conn) PQfinish(old->conn);
    mem_free(old->row);
    mem_free(old->params);
    mem_free(old);
}

static bool is_wanted(const struct change *change) {
    if (change->operation != CHANGE_UPDATE || (change->old_row && !change->old_is_key))
        return false;
    for (uint16_t i = 0; i < change->relation->n_columns; i++) {
        if (change->new_row[i].kind == VALUE_UNCHANGED) return true;
    }
    return false;
}

/* SELECT "big" FROM "public"."t" WHERE "id" = $1, and the parameters. 0 of them: the row cannot be named. */
static int compose(struct reread *reread, const struct change *change, struct buf *sql) {
    const struct relation *relation = change->relation;
    const char *before = "SELECT ";
    int n = 0;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (change->new_row[i].kind != VALUE_UNCHANGED) continue;
        buf_append_text(sql, before);
        pg_quote_ident(sql, relation->columns[i].name);
        before = ", ";
    }
    buf_append_text(sql, " FROM ");
    pg_quote_table(sql, relation->schema, relation->name);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct value *value = &change->new_row[i];
        if (!relation->columns[i].identity) continue;
        /* An unchanged key that is stored apart stands in the old key, where there is one. */
        if (value->kind == VALUE_UNCHANGED && change->old_row) value = &change->old_row[i];
        if (value->kind != VALUE_TEXT) return 0;
        buf_append_text(sql, n ? " AND " : " WHERE ");
        pg_quote_ident(sql, relation->columns[i].name);
        buf_printf(sql, " = $%d", n + 1);
        reread->params[n++] = mem_slicedup(slice_make(value->data, value->len));
    }
    return n;
}

static void forget_params(struct reread *reread) {
    for (int i = 0; i < PGOUTPUT_MAX_COLUMNS && reread->params[i]; i++) {
        mem_free(reread->params[i]);
        reread->params[i] = NULL;
    }
}

/* The one row, or none, in reread->result. NULL there: *err says why not. */
static void query(struct reread *reread, const char *sql, int n, struct error *err) {
    /* A connection may have been cut long ago, unnoticed. */
    for (int attempt = 0; attempt < 2 && !reread->result; attempt++) {
        if (reread->conn && PQstatus(reread->conn) != CONNECTION_OK) {
            PQfinish(reread->conn);
            reread->conn = NULL;
        }
        if (!reread->conn) {
            struct pg_options options = {.application_name = "freshet_cdc_reread",
                                         .server_options = settings};
            reread->conn = pg_connect(reread->database_url, &options, err);
            if (!reread->conn) return;
        }
        reread->result =
            pg_query_params(reread->conn, sql, n, (const char *const *)reread->params, err);
        if (!reread->result && PQstatus(reread->conn) == CONNECTION_OK) return;
    }
}

static void fill_in(struct reread *reread, struct change *change) {
    int field = 0;
    for (uint16_t i = 0; i < change->relation->n_columns; i++) {
        struct value *value = &reread->row[i];
        *value = change->new_row[i];
        if (value->kind != VALUE_UNCHANGED) continue;
        bool null = PQgetisnull(reread->result, 0, field);
        *value = (struct value){.kind = null ? VALUE_NULL : VALUE_TEXT,
                                .len = (uint32_t)PQgetlength(reread->result, 0, field),
                                .data = PQgetvalue(reread->result, 0, field)};
        field++;
    }
    change->new_row = reread->row;
}

bool reread_change(struct reread *reread, struct change *change, struct error *err) {
    if (!is_wanted(change)) return true;
    struct error cause = {0};
    struct buf sql = {0};
    PQclear(reread->result);
    reread->result = NULL;
    int n = compose(reread, change, &sql);
    if (n) query(reread, buf_text(&sql), n, &cause);
    forget_params(reread);
    buf_deinit(&sql);
    if (reread->result && PQntuples(reread->result) == 1) {
        fill_in(reread, change);
        metric_bump(reread->found, 1);
        return true;
    }
    if (reread->result) {
        metric_bump(reread->gone, 1);
        return true;
    }
    if (n && cause.retriable)
        return error_set(err, cause.code, true, "reading %s.%s again: %s", change->relation->schema,
                         change->relation->name, cause.message);
    /* The table was renamed or dropped since, or may not be read. */
    metric_bump(reread->refused, 1);
    log_warn(reread->log, "row_not_read_again", "table=%s.%s cause=\"%s\"",
             change->relation->schema, change->relation->name,
             n ? cause.message : "its key is not in the stream");
    return true;
}
