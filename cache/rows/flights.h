/* flights.h: single flight: of the fills of one row in one form, one is under way, whichever worker began it; the others
 * join it.
 *
 *     if (!flights_enter(flights, fill, waiter)) ...     joined the one that is there: drop `fill`
 *     flights_sent(flights, fill);                       its query goes out now
 *     finished = flights_settle(flights, fill, FLIGHT_SHARED, &ready);
 *
 * Who joins a fill that was sent already may be owed a newer answer than that attempt's: each waiter knows the first
 * attempt that was sent after it came, and unless the answer may be shared it stays for that one.
 *
 * A fill belongs to its worker; its waiters and its attempt number are under a lock of the registry. */
#ifndef FRESHET_CACHE_FLIGHTS_H
#define FRESHET_CACHE_FLIGHTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "cache/rows/keyspace.h"
#include "cache/rows/rowkey.h"

struct probe;
struct wait;

/* What a read of a row gave; immutable, counted, shared by all who waited for it. */
struct rowvalue {
    _Atomic uint32_t refs;
    enum { ROWVALUE_ROW, ROWVALUE_ABSENT, ROWVALUE_FAILED } kind;
    enum key_form form;
    enum entry_kind type; /* as it shows */
    int64_t expire_at_ms;
    size_t len;
    char bytes[]; /* JSON, a packed container, or an error text; NUL-terminated */
};

struct rowvalue *rowvalue_create(int kind, enum key_form form, int64_t expire_at_ms,
                                 struct slice bytes);
struct rowvalue *rowvalue_ref(struct rowvalue *value);
void rowvalue_release(struct rowvalue **value);

/* One row that one command waits for. Made and freed by its worker; while a fill holds it, by nobody else. */
struct waiter {
    struct loop_message message; /* brings `value` home from another worker */
    struct waiter *next;         /* of the fill; under the registry's lock */
    struct keyspace *home;
    struct wait *wait; /* home's alone; NULL: given up */
    struct waiter *home_prev, *home_next;
    uint32_t place;         /* in the wait's rows */
    uint32_t first_attempt; /* sent after this waiter came */
    bool own; /* takes no answer of an attempt that was sent before, nor a standby's */
    struct rowvalue *value;
};

/* One row being read. */
struct fill {
    struct fill *chain; /* the registry's */
    struct keyspace *owner;
    struct tablemap *map; /* held: `table` lies in it */
    const struct table *table;
    enum key_form form; /* as statement_form has it */
    struct slice key;   /* in the fill's own memory, as the row's values are */
    uint64_t hash;
    struct rowkey row;
    struct buf scratch;
    struct probe *probe; /* NULL; else it is told, and nothing kept or given (probe.h) */
    int64_t deadline_us;
    uint32_t blocked;      /* tries that rule 3 has turned down */
    uint32_t shape_errors; /* tries that the table's changed shape has turned down */
    int64_t sent_us;       /* the last attempt; the owner's */
    bool renews;           /* of a row that is in memory (keep.h) */
    bool grouped;          /* belongs to a command of several rows: one snapshot for all */
    bool of_primary;       /* no standby is asked */
    bool of_standby;       /* the attempt under way; the owner's */
    bool alone;            /* its text may be malformed: in a statement of its own */
    /* Under the registry's lock: */
    bool registered;
    uint32_t attempt;
    struct waiter *waiters;
};

struct flights;

struct flights *flights_create(void);
void flights_destroy(struct flights **flights);

/* Registers the fill with its first waiter, or has the waiter join the one that is there (false). A grouped fill never
 * joins: where its row is under way already it goes unregistered. */
bool flights_enter(struct flights *flights, struct fill *fill, struct waiter *waiter);
/* Is a fill of this key under way? */
bool flights_has(struct flights *flights, struct slice key, uint64_t hash, enum key_form form);
void flights_sent(struct flights *flights, struct fill *fill);
/* Who has an attempt's answer: */
enum flight_answer {
    FLIGHT_TIMELY, /* those who came before it was sent */
    FLIGHT_SHARED, /* also those who joined it then, but who take none that is not their own */
    FLIGHT_LAST,   /* all: there will be no other */
};
/* Takes the waiters that the attempt answers, as a list. True: nobody is left, the fill is out of the registry. */
bool flights_settle(struct flights *flights, struct fill *fill, enum flight_answer answer,
                    struct waiter **ready);

#endif
