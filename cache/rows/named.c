#include "cache/rows/named.h"

#include <ctype.h>
#include <string.h>

#include "cache/rows/statement.h"
#include "cache/rows/tablemap.h"

/* ---- keys ---- */

const char *named_key_parse(const char *pattern, struct named_key *key) {
    const char *brace = strchr(pattern, '{');
    *key = (struct named_key){.prefix = slice_from(pattern)};
    if (strpbrk(pattern, " =")) return "holds a space or =";
    if (!brace) return strchr(pattern, '}') ? "has a } without a {" : NULL;
    if (brace == pattern || brace[-1] != ':') return "needs a name and a colon before its {";
    key->prefix.len = (size_t)(brace - pattern) - 1;
    if (key->prefix.len == 0) return "needs a name before the colon";
    while (*brace == '{') {
        size_t len = strcspn(brace + 1, "{}:");
        const char *end = brace + 1 + len;
        if (len == 0 || *end != '}') return "needs {parameter}s, with a colon between two";
        if (key->n_parameters == NAMED_MAX_PARAMETERS) return "has too many parameters";
        key->parameters[key->n_parameters++] = slice_make(brace + 1, len);
        if (end[1] == '\0') return NULL;
        if (end[1] != ':') break;
        brace = end + 2;
    }
    return "needs {parameter}s alone behind its name, with a colon between two";
}

/* ---- SQL text: PostgreSQL's lexical structure, as far as it hides a '$1' ---- */

/* Past the closing quote; a doubled one is two strings side by side, which comes to the same here. */
static const char *skip_quoted(const char *at, bool escapes) {
    char quote = *at++;
    while (*at && *at != quote) {
        if (escapes && at[0] == '\\' && at[1]) at++;
        at++;
    }
    return *at ? at + 1 : at;
}

static const char *skip_comment(const char *at) {
    unsigned depth = 0;
    do {
        if (at[0] == '/' && at[1] == '*') {
            depth++;
            at += 2;
        } else if (at[0] == '*' && at[1] == '/') {
            depth--;
            at += 2;
        } else {
            at++;
        }
    } while (*at && depth > 0);
    return at;
}

static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* $tag$ ... $tag$; the same place where none begins here. */
static const char *skip_dollars(const char *at) {
    const char *end = at + 1;
    while (is_word(*end))
        end++;
    if (*end != '$' || isdigit((unsigned char)at[1])) return at;
    size_t len = (size_t)(end - at) + 1;
    for (end++; *end; end++) {
        if (strncmp(end, at, len) == 0) return end + len;
    }
    return end;
}

/* Past a token that may hold a '$' of no meaning; the same place where there is none. */
static const char *skip_token(const char *at) {
    if (*at == '\'' || *at == '"') return skip_quoted(at, false);
    if ((*at == 'e' || *at == 'E') && at[1] == '\'') return skip_quoted(at + 1, true);
    if (at[0] == '-' && at[1] == '-') return at + strcspn(at, "\n");
    if (at[0] == '/' && at[1] == '*') return skip_comment(at);
    if (*at == '$') return skip_dollars(at);
    if (!is_word(*at)) return at;
    while (is_word(*at) || *at == '$')
        at++;
    return at;
}

void named_substitute(const char *sql, void (*put)(void *arg, unsigned number, struct buf *out),
                      void *arg, struct buf *out) {
    size_t last = out->len; /* behind the last that is not blank, or a semicolon */
    while (*sql) {
        const char *end = skip_token(sql);
        bool comment = sql[0] == '-' && sql[1] == '-';
        if (end > sql) {
            if (!comment) buf_append(out, sql, (size_t)(end - sql));
            sql = end;
        } else if (sql[0] == '$' && isdigit((unsigned char)sql[1])) {
            unsigned number = 0;
            for (sql++; isdigit((unsigned char)*sql); sql++)
                number = number < 100000 ? number * 10 + (unsigned)(*sql - '0') : number;
            put(arg, number, out);
        } else {
            buf_append_char(out, *sql++);
            if (isspace((unsigned char)out->data[out->len - 1]) || out->data[out->len - 1] == ';')
                continue;
        }
        if (!comment) last = out->len;
    }
    out->len = last;
}

/* ---- the statement ---- */

/* The value asked for, as of the type that PostgreSQL found the parameter to be of. */
static void put_value(void *arg, unsigned number, struct buf *out) {
    const struct table *table = arg;
    if (number < 1 || number > table->n_keys)
        buf_printf(out, "$%u", number); /* PostgreSQL will say */
    else if (table->query->single)
        buf_printf(out, "(($%u::pg_catalog.text[])[1])::%s", number,
                   table->keys[number - 1].sql_type);
    else
        buf_printf(out, "(freshet_k.v%u::%s)", number, table->keys[number - 1].sql_type);
}

/* The length of a column's text in bytes, a colon and the text; NULL: a '-'. What result.h takes apart. */
static void put_text(struct buf *sql, unsigned column) {
    buf_printf(sql,
               "CASE WHEN freshet_q.c%u IS DISTINCT FROM NULL THEN pg_catalog.concat("
               "pg_catalog.octet_length(pg_catalog.convert_to("
               "pg_catalog.format('%%s', freshet_q.c%u), 'UTF8')), ':', "
               "pg_catalog.format('%%s', freshet_q.c%u)) ELSE '-' END",
               column, column, column);
}

/* The columns of the user's SQL get names of our own, but where they are to be seen. */
static void put_source(struct buf *sql, const struct table *table, bool numbered) {
    struct table *arg;
    memcpy(&arg, &(const struct table *){table}, sizeof arg); /* put_value only reads it */
    buf_append_text(sql, " FROM (");
    named_substitute(table->query->sql, put_value, arg, sql);
    buf_append_text(sql, ") AS freshet_q");
    if (!numbered) return;
    for (unsigned i = 1; i <= table->query->n_columns; i++)
        buf_printf(sql, "%sc%u", i == 1 ? "(" : ", ", i);
    buf_append_text(sql, ")");
}

static void put_rows(struct buf *sql, const struct table *table) {
    buf_append_text(sql, "SELECT pg_catalog.concat('[', pg_catalog.string_agg("
                         "pg_catalog.row_to_json(freshet_q.*)::text, ','), ']') AS c1");
    put_source(sql, table, false);
}

static void put_row(struct buf *sql, const struct table *table) {
    buf_append_text(sql, "SELECT pg_catalog.row_to_json(freshet_q.*)::text AS c1");
    put_source(sql, table, false);
    buf_append_text(sql, " LIMIT 1");
}

static void put_one_value(struct buf *sql, const struct table *table) {
    buf_append_text(sql, "SELECT CASE WHEN freshet_q.c1 IS DISTINCT FROM NULL THEN "
                         "pg_catalog.format('%s', freshet_q.c1) END AS c1");
    put_source(sql, table, true);
    buf_append_text(sql, " LIMIT 1");
}

/* The texts of the columns one behind the other, of one row or of all. */
static void put_texts(struct buf *sql, const struct table *table, bool all) {
    buf_append_text(sql, all ? "SELECT pg_catalog.string_agg(" : "SELECT ");
    for (unsigned i = 1; i <= table->query->n_columns; i++) {
        if (i > 1) buf_append_text(sql, " OPERATOR(pg_catalog.||) ");
        put_text(sql, i);
    }
    buf_append_text(sql, all ? ", '') AS c1" : " AS c1");
    put_source(sql, table, true);
    if (!all) buf_append_text(sql, " LIMIT 1");
}

static void put_result(struct buf *sql, const struct table *table) {
    switch (table->query->shape) {
    case SHAPE_ROWS: put_rows(sql, table); return;
    case SHAPE_ROW: put_row(sql, table); return;
    case SHAPE_VALUE: put_one_value(sql, table); return;
    case SHAPE_HASH: put_texts(sql, table, named_has_pairs(table->query)); return;
    case SHAPE_LIST:
    case SHAPE_ZSET: put_texts(sql, table, true); return;
    }
}

/* What a change of a table would call this key: the parameters' identities. */
static void put_identities(struct buf *sql, const struct table *table) {
    struct table *arg;
    memcpy(&arg, &(const struct table *){table}, sizeof arg);
    for (uint16_t i = 0; i < table->n_keys; i++) {
        const char *identity = table->keys[i].type->identity;
        buf_append_text(sql, ", ");
        for (const char *c = identity ? identity : "NULL"; *c; c++) {
            if (c[0] == '%' && c[1] == 's') {
                put_value(arg, i + 1u, sql);
                c++;
            } else {
                buf_append_char(sql, *c);
            }
        }
    }
}

/* A row for each key that is asked for. */
static void put_keys(struct buf *sql, const struct table *table) {
    /* A key without parameters still is one row of the answer. */
    uint16_t n = table->n_keys ? table->n_keys : 1;
    if (table->query->single) {
        buf_append_text(sql, "(VALUES (pg_catalog.cardinality($1::pg_catalog.text[]))) "
                             "AS freshet_k(i)"); /* 1 */
        return;
    }
    buf_append_text(sql, "ROWS FROM (");
    for (uint16_t i = 0; i < n; i++)
        buf_printf(sql, "%spg_catalog.unnest($%u::pg_catalog.text[])", i ? ", " : "", i + 1u);
    buf_append_text(sql, ") WITH ORDINALITY AS freshet_k(");
    for (uint16_t i = 0; i < n; i++)
        buf_printf(sql, "v%u, ", i + 1u);
    buf_append_text(sql, "i)");
}

void named_compose(const struct table *table, struct buf *sql) {
    buf_append_text(sql, "SELECT freshet_k.i, CASE WHEN freshet_k.i = 1 THEN "
                         "pg_catalog.pg_current_snapshot()::text END, freshet_t.c1 IS NOT NULL");
    put_identities(sql, table);
    buf_append_text(sql, ", freshet_t.c1 FROM ");
    put_keys(sql, table);
    buf_append_text(sql, " LEFT JOIN LATERAL (");
    put_result(sql, table);
    buf_append_text(sql, ") AS freshet_t ON true");
    buf_text(sql);
}
