/* core.h: what the parts of read-through share. Made by readthrough.c, which alone creates and destroys it; the parts
 * borrow what they need. Each object in it is safe for any thread by its own header.
 *
 * Lock order, all over the cache: a shard guard of the store, then one of { recent, links, tablestate, flights }, each of
 * which takes no other lock. No lock is held across a call of libpq or of a client. */
#ifndef FRESHET_CACHE_CORE_H
#define FRESHET_CACHE_CORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/metrics.h"
#include "cache/cache.h"
#include "cache/rows/lease.h"
#include "cache/rows/links.h"
#include "cache/rows/recent.h"
#include "cache/rows/tablemap.h"
#include "cache/rows/tablestate.h"
#include "cache/store/store.h"

struct awaits;
struct tracking;
struct watches;
struct flights;
struct pace;
struct pulse;
struct query_figures;
struct lsntimes;
struct sources;
struct verify;
struct warden;
struct warm;

enum {
    CORE_MAX_WORKERS = 1024,
    CORE_CLOCKS = 2 * CORE_MAX_WORKERS,       /* the second half: of the workers' writers */
    CORE_VERIFY_CLOCK = CORE_MAX_WORKERS - 1, /* the fillclock of verify.c, which is no worker */
};

/* Which fills of a worker are in flight, as numbers in the order of sending: those below `oldest` are over. Written by
 * the worker before a query is sent and after its rows were kept; read by the control thread (rule 4). */
struct fillclock {
    _Alignas(64) _Atomic uint64_t started;
    _Atomic uint64_t oldest;
};

struct core_metrics {
    struct metric *fills_installed, *fills_retried, *fills_uncached, *fills_failed, *fills_timeout;
    struct metric *fills_blocked; /* of those, by rule 3 */
    struct metric *evicted_commit, *evicted_table;
    struct metric *fences;
    struct metric *feed_anew, *feed_resumed;
    struct metric *links_refused;
    struct metric *joined;
    struct metric *paced;
    struct metric *refreshed_early, *refreshed_stale;
    struct metric *samples;
    struct metric *queries;
    struct metric *in_flight;
    struct metric *connections;
    struct metric *reconnects;
};

struct core {
    const struct cache_config *config;
    struct log *log;
    struct metrics *metrics;
    struct store *store;
    struct watches
        *watches; /* who is told where rows change by the table; may be NULL, as the next */
    struct tracking *tracking;
    struct tablemaps *maps;
    struct tablestates *states;
    struct recent *recent;
    struct links *links;
    struct lease *lease;
    struct sources *sources;
    struct lsntimes *lsntimes;
    struct flights *flights;
    struct pace *pace; /* NULL: no interval */
    struct awaits *awaits;
    struct pulse *pulse;
    struct warden *warden;
    struct verify *verify;
    struct warm *warm; /* NULL: no warm start */
    struct query_figures *query_figures;
    struct core_metrics count;
    struct fillclock fillclocks[CORE_CLOCKS];
    _Atomic uint64_t seen_xmin; /* of the last snapshot that the pulse took; for explanations */
    bool lease_held;            /* when told_of_lease last looked: its caller's */
    unsigned rules_off;         /* of test builds: a bit a rule that is taken out */
};

/* The rules of coherence, by their numbers:
 *   1 a fill returns its snapshot            4 a note goes when no older fill is in flight
 *   2 a commit evicts, then is applied       5 nothing is kept before a snapshot past the stream's start
 *   3 only what sees all applied is kept     6 who joins a fill gets it only if it was kept
 *   7 an own write is applied before its reply
 * and 8, the staleness lease; 9, a row's other keys go with it; 0, a changed row's unique keys were absent; 10, what a
 * request asks beyond the lease (consistency.h); 11, of a standby only what it has replayed is kept; 12, of another server
 * than the stream's nothing is; 13, a changed row touches the results of named queries; 14, all of them where its old
 * values are not told; 15, the rows that one command fetches are of one snapshot; 16, memory is empty before a
 * stand-in lets held commits go. A build with -DFRESHET_TEST_SWITCHES can
 * take each out, to see the tests fail. */
enum core_rule {
    RULE_OWN_SNAPSHOT = 1,
    RULE_APPLY_BEFORE_ADVANCE = 2,
    RULE_SEES_APPLIED = 3,
    RULE_FORGET_LATE = 4,
    RULE_START = 5,
    RULE_JOIN = 6,
    RULE_OWN_WRITES = 7,
    RULE_LEASE = 8,
    RULE_LINKS = 9,
    RULE_UNIQUE = 0,
    RULE_ASKED = 10,
    RULE_STANDBY = 11,
    RULE_SERVER = 12,
    RULE_DEPENDENTS = 13,
    RULE_UNTOLD = 14,
    RULE_ONE_SNAPSHOT = 15,
    RULE_EMPTIED = 16,
};

static inline bool core_rule_holds(const struct core *core, enum core_rule rule) {
#ifdef FRESHET_TEST_SWITCHES
    return !(core->rules_off & (1u << rule));
#else
    (void)core;
    (void)rule;
    return true;
#endif
}

static inline bool core_streams(const struct core *core) {
    return core->config->coherence == COHERENCE_STREAM;
}

/* Are the table's rows evicted when they change? Else the TTL is their only bound. */
static inline bool core_follows(const struct core *core, const struct table *table) {
    return core_streams(core) && !table->by_ttl;
}

/* May memory answer for a row now? By TTL alone there is no bound to keep. */
static inline bool core_lease_holds(const struct core *core, int64_t now_us) {
    return !core_streams(core) || core->config->on_stale == ON_STALE_SERVE ||
           now_us < lease_deadline_us(lease_deadline(core->lease)) ||
           !core_rule_holds(core, RULE_LEASE);
}

#endif
