/* verify_parts.h: what the files of a verification share: verify.c, which runs it, verify_ranges.c, verify_repair.c. All of it is
 * for the run's thread. */
#ifndef FRESHET_CONNECTORS_VERIFY_PARTS_H
#define FRESHET_CONNECTORS_VERIFY_PARTS_H

#include <pthread.h>

#include "connectors/verify/verify.h"
#include "connectors/verify/verify_judge.h"
#include "connectors/verify/verify_report.h"

struct verifier {
    char *connector;
    const struct sink_ops *ops;
    struct sink *sink;
    _Atomic bool *stop;
    struct source source;
    void (*position)(void *arg, struct verify_position *position);
    void *arg;
    struct verify_feed feed;
    struct figures *figures;
    struct log *log;

    struct verify_report report;

    pthread_mutex_t lock; /* between those who begin and ask; before the report's */
    pthread_t thread;
    bool joinable;
};

struct suspect {
    char *key;
    size_t key_len;
    bool differs;      /* and is reported; to be repaired */
    bool repaired;     /* written again: to be seen equal */
    size_t difference; /* the report's */
    struct verify_suspect judged;
};

struct verify_run {
    struct verifier *verifier;
    struct verify_options options;
    struct row_reader reader;
    struct shape *shape; /* of the rows */
    uint64_t floor;      /* of versions, where the feed has others than LSNs; 0: it has not */
    int64_t began_us;
    uint64_t n_paced;
    struct suspect *suspects;
    size_t n_suspects;
    size_t cap_suspects;
    struct slice *keys; /* of the suspects, and what was seen of them; as many */
    struct reader_row *rows;
    struct sink_entry *entries;
    size_t cap_entries;
};

/* Not more rows a second than wanted. False: the run is to end. */
bool verify_pace(struct verify_run *run, size_t n, struct error *err);

/* The sink may be away for a while: tried again until it has been so for a minute. */
typedef bool verify_attempt(struct verify_run *run, void *what, struct error *err);
bool verify_persist(struct verify_run *run, verify_attempt *attempt, void *what, struct error *err);

void verify_count(struct verify_run *run, struct verify_tally more);
/* Rows of the source, compared with what the sink has of them; and keys of the sink that no row has. What differs is suspect. */
bool verify_take_rows(struct verify_run *run, struct batch *batch, struct error *err);
bool verify_take_keys(struct verify_run *run, const struct slice *keys, size_t n,
                      struct error *err);

/* ---- verify_ranges.c ---- */

/* Both sides tell by one number what stands in a range of the key. */
bool verify_has_ranges(struct verify_run *run, bool *has, struct error *err) MUST_CHECK;
/* All rows and keys: only ranges that differ are looked into, in smaller ones, and at last row by row. */
bool verify_ranges(struct verify_run *run, struct error *err);

/* ---- verify_repair.c ---- */

/* Writes suspects[places[0, n)] again, whose writes in `batch` say what should be there. done[place]: nothing more is to be seen
 * of it. What could not be written now is left as it was. */
bool verify_repair(struct verify_run *run, const struct batch *batch, const size_t *places,
                   const uint64_t *versions, size_t n, bool *done, struct error *err);

#endif
