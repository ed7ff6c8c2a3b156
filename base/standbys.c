#include "base/standbys.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

/* A name, quoted or not, a number, or one of the characters ( ) , *; at the end an empty text. */
struct token {
    struct buf text;
    bool quoted;
};

static bool is_of_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static bool next(const char **at, struct token *token) {
    while (isspace((unsigned char)**at))
        (*at)++;
    token->text.len = 0;
    token->quoted = **at == '"';
    if (token->quoted) {
        for ((*at)++; **at; (*at)++) {
            if (**at == '"' && *++*at != '"') return true;
            if (**at) buf_append_char(&token->text, **at);
        }
        return false;
    }
    if (**at && !is_of_word(**at))
        buf_append_char(&token->text, *(*at)++);
    else
        while (is_of_word(**at))
            buf_append_char(&token->text, *(*at)++);
    return true;
}

static bool is(struct token *token, const char *word) {
    return !token->quoted && strcasecmp(buf_text(&token->text), word) == 0;
}

static bool is_number(struct token *token, uint32_t *number) {
    char *end;
    const char *text = buf_text(&token->text);
    if (token->quoted || !isdigit((unsigned char)*text)) return false;
    unsigned long n = strtoul(text, &end, 10);
    *number = n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
    return *end == '\0';
}

static bool parse_names(const char **at, struct token *token, struct standbys *standbys) {
    while (true) {
        bool name = token->quoted || is(token, "*") || is_of_word(*buf_text(&token->text));
        if (!name || standbys->n_names == STANDBYS_MAX) return false;
        standbys->names[standbys->n_names++] = mem_strdup(buf_text(&token->text));
        if (!next(at, token)) return false;
        if (!is(token, ",")) return true;
        if (!next(at, token)) return false;
    }
}

/* [FIRST | ANY] n ( names ) */
static bool parse_counted(const char **at, struct token *token, struct standbys *standbys) {
    standbys->any = is(token, "ANY");
    if ((standbys->any || is(token, "FIRST")) && !next(at, token)) return false;
    return is_number(token, &standbys->needed) && next(at, token) && is(token, "(") &&
           next(at, token) && parse_names(at, token, standbys) && is(token, ")") && next(at, token);
}

bool standbys_parse(const char *text, struct standbys *standbys) {
    *standbys = (struct standbys){.needed = 1};
    struct token token = {0};
    bool ok = next(&text, &token);
    if (ok && !is(&token, "")) {
        ok = strchr(text, '(') ? parse_counted(&text, &token, standbys)
                               : parse_names(&text, &token, standbys);
        ok = ok && is(&token, "") && standbys->needed > 0;
    }
    buf_deinit(&token.text);
    return ok;
}

void standbys_deinit(struct standbys *standbys) {
    for (uint32_t i = 0; i < standbys->n_names; i++)
        mem_free(standbys->names[i]);
    standbys->n_names = 0;
}

enum standby_role standbys_role(const struct standbys *standbys, const char *name) {
    uint32_t place = 0;
    bool everybody = false;
    while (place < standbys->n_names && strcasecmp(standbys->names[place], name) != 0 &&
           strcmp(standbys->names[place], "*") != 0)
        place++;
    if (place == standbys->n_names) return STANDBY_NOT_NAMED;
    for (uint32_t i = 0; i < standbys->n_names; i++)
        everybody |= strcmp(standbys->names[i], "*") == 0;
    bool starred = strcmp(standbys->names[place], "*") == 0;
    if (!everybody && standbys->n_names <= standbys->needed) return STANDBY_NEEDED;
    return standbys->any || starred || place >= standbys->needed ? STANDBY_OPTIONAL
                                                                 : STANDBY_PREFERRED;
}
