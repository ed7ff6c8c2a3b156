/* options.h: every option of the configuration, one row each. From this table come the parser of the YAML file, the
 * flags, `--set`, the names in the environment, `--help` and the generated reference.
 *
 *     { "cache.ttl", DURATION, AT(cache.ttl_ms), .initial = "5m", .min = 1, .help = "How long ..." },
 *
 * A new option is a row here and a field in the struct that it fills. */
#ifndef FRESHET_SERVER_OPTIONS_H
#define FRESHET_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "server/units.h"

enum option_type {
    OPTION_STRING,
    OPTION_SECRET,   /* a string that is never shown */
    OPTION_URL,      /* a string whose password is never shown */
    OPTION_DURATION, /* int64_t, milliseconds */
    OPTION_SIZE,     /* uint64_t, bytes */
    OPTION_COUNT,    /* an integer of the field's width */
    OPTION_BOOL,
    OPTION_CHOICE,   /* an enum: the place of the word in `choices` */
    OPTION_WORD,     /* a string that must be one of `words()` or of `choices` */
    OPTION_SET,      /* a list of `choices`: uint32_t, a bit each */
    OPTION_LETTERS,  /* a list of single letters out of `choices`: a string */
    OPTION_ADDRESS,  /* HOST:PORT, a string */
    OPTION_LIST,     /* of strings */
    OPTION_PATTERNS, /* of tables: base/pattern.h */
    OPTION_PAIRS,    /* a mapping of strings: struct kafka_property[] */
    OPTION_RECORDS,  /* a list of mappings: `items` describes one */
    OPTION_NAMED,    /* a mapping of mappings: the key becomes the first item's value */
    OPTION_SOURCES,  /* a list of configurations: server/sources.h */
};

struct option {
    const char *path; /* "cache.ttl"; in a table of items "ttl" */
    enum option_type type;
    size_t offset; /* in struct config, or in the item's struct */
    size_t size;
    size_t count_offset; /* LIST, PATTERNS, PAIRS, RECORDS, NAMED: where their number goes */
    size_t count_size;
    const char *initial; /* what a user would write for the default; NULL: none */
    const char *shown;   /* the default in words, where `initial` does not tell it */
    int64_t min, max;    /* of numbers; max 0: no bound but the field's */
    const char *choices; /* "stream|ttl" */
    const char *const *(*words)(void);
    const struct option *items; /* ends with a NULL path */
    size_t item_size;
    bool required; /* of an item */
    bool reloads;  /* SIGHUP takes it over */
    bool joins;    /* a STRING that may be written as a list: joined by commas */
    bool names;    /* PAIRS that may be written as a list, whose names stand for themselves */
    const char *variable; /* a second, shorter name in the environment */
    const char *flag;
    const char *argument; /* what the flag's help calls its value */
    const char *help;     /* one or more sentences */
};

/* Ends with a NULL path. */
extern const struct option options[];

/* The place in options[] of a path, or -1. */
int option_find(const char *path);
/* FRESHET_CDC_KAFKA_DELIVERY. `name` has room for OPTION_ENVIRONMENT_MAX bytes. */
enum { OPTION_ENVIRONMENT_MAX = 128 };
void option_environment_name(const struct option *option, char *name);
/* "duration", "list of tables", ...: for help and for messages. */
const char *option_type_name(const struct option *option);
/* Does it hold one value, a flat list, or a structure? */
bool option_is_list(const struct option *option);
bool option_is_structured(const struct option *option);

/* Writes one value to the field in `base`. Strings are copied to `arena`. False: *why. */
bool option_set(const struct option *option, void *base, struct arena *arena, const char *text,
                struct why *why) MUST_CHECK;
/* The same for a list: LIST, PATTERNS, SET, LETTERS, and a STRING that joins. On false *at is the wrong item. */
bool option_set_list(const struct option *option, void *base, struct arena *arena, uint32_t n,
                     const char *const *texts, uint32_t *at, struct why *why) MUST_CHECK;
/* The pointer and the number of an array field. */
void option_set_array(const struct option *option, void *base, const void *items, uint64_t n);

/* The place of a word in "a|b|c", or -1. */
int choice_find(const char *choices, const char *word, size_t len);

#endif
