#include "base/namedquery.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

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

bool named_depends_by_sql(const char *text) {
    return strncasecmp(text, "SELECT ", 7) == 0 || strncasecmp(text, "WITH ", 5) == 0;
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
