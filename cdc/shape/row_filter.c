#include "cdc/shape/row_filter.h"

#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/pg.h"

enum { FIRST_USER_OID = 16384 };
#define ABSENT SIZE_MAX

/* ---- the text ---- */

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_LITERAL, TOKEN_OPERATOR, TOKEN_OTHER };

struct token {
    enum token_kind kind;
    struct slice text; /* a quoted name's without its quotes */
    bool quoted;
};

/* 'text' with its doubled quotes; NULL: it does not end. */
static const char *skip_quoted(const char *at, char quote) {
    for (at++; *at; at++) {
        if (*at != quote) continue;
        if (at[1] != quote) return at + 1;
        at++;
    }
    return NULL;
}

static bool is_name_start(char c) {
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_name(char c) { return is_name_start(c) || isdigit((unsigned char)c) || c == '$'; }

static struct token token_of(enum token_kind kind, const char *from, const char *to) {
    return (struct token){.kind = kind, .text = slice_make(from, (size_t)(to - from))};
}

/* A reader for what a pushable filter is made of; all else is TOKEN_OTHER. */
static struct token next_token(const char **text) {
    static const char operators[] = "=<>!+-*/%(),";
    const char *at = *text;
    while (isspace((unsigned char)*at))
        at++;
    const char *end = at + 1;
    struct token token;
    if (!*at) {
        token = (struct token){.kind = TOKEN_END};
        end = at;
    } else if (*at == '"') {
        end = skip_quoted(at, '"');
        token = end ? token_of(TOKEN_NAME, at + 1, end - 1) : token_of(TOKEN_OTHER, at, at + 1);
        token.quoted = true;
    } else if (*at == '\'') {
        end = skip_quoted(at, '\'');
        token = token_of(end ? TOKEN_LITERAL : TOKEN_OTHER, at, end ? end : at + 1);
    } else if (is_name_start(*at)) {
        while (is_name(*end))
            end++;
        token = token_of(TOKEN_NAME, at, end);
        if (*end == '\'') token.kind = TOKEN_OTHER; /* E'...', B'...' */
    } else if (isdigit((unsigned char)*at)) {
        while (isdigit((unsigned char)*end) || *end == '.')
            end++;
        token = token_of(is_name_start(*end) ? TOKEN_OTHER : TOKEN_LITERAL, at, end);
    } else {
        bool comment = strncmp(at, "--", 2) == 0 || strncmp(at, "/*", 2) == 0;
        token =
            token_of(strchr(operators, *at) && !comment ? TOKEN_OPERATOR : TOKEN_OTHER, at, end);
    }
    *text = end ? end : at + strlen(at);
    return token;
}

/* Unquoted names are folded, as PostgreSQL does. */
static bool names(const struct token *token, const char *column) {
    size_t len = strlen(column);
    if (token->quoted) {
        const char *at = column;
        for (size_t i = 0; i < token->text.len; i++) {
            if (token->text.data[i] == '"') i++;
            if (*at++ != token->text.data[i]) return false;
        }
        return *at == '\0';
    }
    if (token->text.len != len) return false;
    for (size_t i = 0; i < len; i++) {
        char c = token->text.data[i];
        if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != column[i]) return false;
    }
    return true;
}

bool row_filter_mentions(const char *where, const char *column) {
    struct token token;
    while ((token = next_token(&where)).kind != TOKEN_END) {
        if (token.kind == TOKEN_NAME && names(&token, column)) return true;
        /* What is not understood may hold any name. */
        if (token.kind == TOKEN_OTHER && strchr("$\\", *token.text.data)) return true;
    }
    return false;
}

static bool is_keyword(const struct token *token) {
    static const char *const words[] = {"and",  "or",   "not",   "is",      "null",     "in",
                                        "like", "true", "false", "between", "distinct", "from"};
    for (size_t i = 0; i < sizeof words / sizeof *words && !token->quoted; i++) {
        if (names(token, words[i])) return true;
    }
    return false;
}

static bool is_identity_column(const struct catalog_table *table, const struct token *token) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct catalog_column *column = &table->columns[i];
        if (!names(token, column->name)) continue;
        return (column->in_identity || table->replica_identity == 'f') && !column->generated &&
               column->type_oid < FIRST_USER_OID;
    }
    return false;
}

bool row_filter_pushable(const char *where, const struct catalog_table *table) {
    struct token token;
    struct token before = {.kind = TOKEN_OTHER};
    while ((token = next_token(&where)).kind != TOKEN_END) {
        bool name = token.kind == TOKEN_NAME;
        if (token.kind == TOKEN_OTHER) return false;
        if (name && !is_keyword(&token) && !is_identity_column(table, &token)) return false;
        /* A column in front of a bracket would be a function. */
        bool call = before.kind == TOKEN_NAME && !is_keyword(&before) &&
                    token.kind == TOKEN_OPERATOR && *token.text.data == '(';
        if (call) return false;
        before = token;
    }
    return true;
}

/* ---- asking the server ---- */

struct row_filter {
    struct arena *arena;
    const char *sql;
    const char *statement; /* its name */
    uint16_t n_columns;    /* parameters: those that the filter names */
    const uint16_t *places;
    const bool *identity; /* are they of the identity? */
    const char **texts;
    size_t *offsets; /* of texts in the bytes of a row */
    int prepared_in; /* server process; 0: none */
};

static const char *type_of(const struct catalog_table *table, const char *column) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, column) == 0) return table->columns[i].type_name;
    }
    return NULL;
}

struct row_filter *row_filter_create(const char *where, const struct relation *relation,
                                     const struct catalog_table *table, uint64_t serial) {
    struct arena *arena = arena_create(1024);
    struct row_filter *filter = arena_zalloc(arena, sizeof *filter);
    uint16_t *places = arena_zalloc(arena, (relation->n_columns + 1u) * sizeof *places);
    bool *identity = arena_zalloc(arena, relation->n_columns + 1u);
    struct buf sql = {0};
    buf_printf(&sql, "SELECT (%s) FROM (SELECT ", where);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct relation_column *column = &relation->columns[i];
        const char *type = table ? type_of(table, column->name) : NULL;
        if (!type || !row_filter_mentions(where, column->name)) continue;
        buf_printf(&sql, "%s$%u::%s AS ", filter->n_columns ? ", " : "", filter->n_columns + 1u,
                   type);
        pg_quote_ident(&sql, column->name);
        identity[filter->n_columns] = column->identity;
        places[filter->n_columns++] = i;
    }
    buf_append_text(&sql, ") AS ");
    pg_quote_ident(&sql, relation->name);
    filter->arena = arena;
    filter->sql = arena_strdup(arena, buf_text(&sql));
    sql.len = 0;
    buf_printf(&sql, "freshet_where_%llu", (unsigned long long)serial);
    filter->statement = arena_strdup(arena, buf_text(&sql));
    filter->places = places;
    filter->identity = identity;
    filter->texts = arena_zalloc(arena, (relation->n_columns + 1u) * sizeof *filter->texts);
    filter->offsets = arena_zalloc(arena, (relation->n_columns + 1u) * sizeof *filter->offsets);
    buf_deinit(&sql);
    return filter;
}

void row_filter_destroy(struct row_filter **filter) {
    if (!*filter) return;
    struct arena *arena = (*filter)->arena; /* the filter itself lies in it */
    *filter = NULL;
    arena_destroy(&arena);
}

/* The server's words may hold the row's values, and causes are shown. */
static enum row_verdict fail(const PGconn *conn, const PGresult *result, struct error *err) {
    if (PQstatus(conn) != CONNECTION_OK) {
        pg_error(err, conn, NULL, "where");
        return ROW_BROKEN;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    error_set(err, ERROR_REFUSED, false, "the row filter fails on it (SQLSTATE %s)",
              state ? state : "unknown");
    return ROW_UNDECIDABLE;
}

/* The values as libpq wants them. False: one is not known. */
static bool bind(struct row_filter *filter, const struct value *row, const struct value *whole,
                 bool identity_only, struct buf *bytes) {
    for (uint16_t i = 0; i < filter->n_columns; i++) {
        const struct value *value = &row[filter->places[i]];
        if (identity_only && !filter->identity[i]) return false;
        if (value->kind == VALUE_UNCHANGED && whole) value = &whole[filter->places[i]];
        if (value->kind == VALUE_UNCHANGED || value->kind == VALUE_BINARY) return false;
        filter->offsets[i] = ABSENT;
        if (value->kind == VALUE_NULL) continue;
        filter->offsets[i] = bytes->len;
        buf_append(bytes, value->data, value->len);
        buf_append_char(bytes, '\0');
    }
    for (uint16_t i = 0; i < filter->n_columns; i++) /* now that the bytes lie still */
        filter->texts[i] = filter->offsets[i] == ABSENT ? NULL : bytes->data + filter->offsets[i];
    return true;
}

enum row_verdict row_filter_test(struct row_filter *filter, PGconn *conn, const struct value *row,
                                 const struct value *whole, bool identity_only, struct error *err) {
    struct buf bytes = {0};
    if (!bind(filter, row, whole, identity_only, &bytes)) {
        buf_deinit(&bytes);
        return ROW_UNKNOWN;
    }
    enum row_verdict verdict = ROW_OUT;
    if (filter->prepared_in != PQbackendPID(conn)) {
        PGresult *prepared = PQprepare(conn, filter->statement, filter->sql, 0, NULL);
        if (PQresultStatus(prepared) == PGRES_COMMAND_OK)
            filter->prepared_in = PQbackendPID(conn);
        else
            verdict = fail(conn, prepared, err);
        PQclear(prepared);
    }
    if (verdict == ROW_OUT) {
        PGresult *result = PQexecPrepared(conn, filter->statement, filter->n_columns, filter->texts,
                                          NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_TUPLES_OK)
            verdict = fail(conn, result, err);
        else if (PQntuples(result) == 1 && *PQgetvalue(result, 0, 0) == 't')
            verdict = ROW_IN;
        PQclear(result);
    }
    buf_deinit(&bytes);
    return verdict;
}
