/* keytype.h: what Freshet has to know of a type to use it in a key: one row of a table a type.
 *
 * PostgreSQL decides which texts are one value (042 and 42, two zones of one instant, 1.0 and 1.00). So a row has an
 * *identity*: a text that is the same for the same stored value whether it comes from a SELECT of ours or from the change
 * stream, whatever the session's settings are. In SQL it is `identity`; from the stream's text it is made by `normalise`.
 *
 * A type without an identity is served too: a change of any of its rows then touches the whole table.
 *
 * Pure; the table is constant. */
#ifndef FRESHET_CACHE_KEYTYPE_H
#define FRESHET_CACHE_KEYTYPE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

enum keytype_verdict {
    KEY_VALUE_GOOD,
    KEY_VALUE_BAD,    /* no version of PostgreSQL takes it */
    KEY_VALUE_UNSURE, /* PostgreSQL will say */
};

struct keytype {
    const char *name; /* pg_type.typname of the base type; NULL: any other */
    const char *noun; /* "an integer"; NULL: "a value of type <name>" */
    /* Two values that are equal have the same identity. Only then may it be remembered that a value is absent. */
    bool exact;
    /* SQL that gives the identity of the expression put for each %s; NULL: none. */
    const char *identity;
    /* NULL: PostgreSQL says. */
    enum keytype_verdict (*check)(struct slice text);
    /* Does the text mean the same value at any time? ('now' and 'tomorrow' do not.) NULL: always. */
    bool (*lasting)(struct slice text);
    /* Is the text what PostgreSQL prints of the value, so that a row can be told by it? Only of exact types whose identity is their
     * output. NULL: never. */
    bool (*plain)(struct slice text);
    /* Appends the identity of a value as the stream prints it (ISO dates, UTC, hex). False: not known. NULL: as it is. */
    bool (*normalise)(struct slice text, struct buf *identity);
};

/* `typtype` is pg_type's: an enum is known by that. `deterministic` is its collation's. Never NULL. */
const struct keytype *keytype_find(const char *base_type_name, char typtype, bool deterministic);

/* Are values of these two types equal, as SQL compares them, exactly where their identities are one text? (Not an inet and a
 * cidr: 10.0.0.1 and 10.0.0.1/32 are equal. Nor a text that is cast to an integer, or to a uuid.) */
bool keytype_comparable(const struct keytype *a, const struct keytype *b);

/* Valid UTF-8 with no NUL: what PostgreSQL takes as text at all. */
bool keytype_is_text(struct slice text);

#endif
