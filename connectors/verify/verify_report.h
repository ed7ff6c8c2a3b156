/* verify_report.h: what a verification has come to, written by its thread, read by any.
 *
 *     verify_report_begin(&report, &options);  verify_report_row(...)  ...  verify_report_end(&report, &err or NULL);
 *     json_t *json = verify_report_json(&report, true);
 */
#ifndef FRESHET_CONNECTORS_VERIFY_REPORT_H
#define FRESHET_CONNECTORS_VERIFY_REPORT_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "connectors/verify/verify.h"
#include "connectors/verify/verify_judge.h"

enum verify_phase { PHASE_WAITING, PHASE_ROWS, PHASE_KEYS, PHASE_LOOKING, N_PHASES };

struct verify_tally {
    uint64_t rows;
    uint64_t keys;
    uint64_t summed; /* of both, as parts of ranges that have one digest */
    uint64_t repaired;
    uint64_t moved;     /* changed again and again: could not be told */
    uint64_t undecided; /* an open transaction may have to do with it */
};

struct verify_report {
    pthread_mutex_t lock; /* guards all below; is held for no other */
    uint64_t id;          /* of the last run; 0: none yet */
    bool running;
    struct verify_options options;
    enum verify_phase phase;
    int64_t began_us;
    int64_t ended_us;
    uint64_t reached_lsn; /* the connector had applied this when something was compared */
    struct verify_tally tally;
    uint64_t kinds[N_VERIFY_KINDS];
    struct verify_finding *findings; /* the first VERIFY_MAX_NAMED */
    size_t n_findings;
    bool failed;
    struct error error;
};

void verify_report_init(struct verify_report *report);
void verify_report_deinit(struct verify_report *report);

void verify_report_begin(struct verify_report *report, const struct verify_options *options);
/* NULL: it went to its end. */
void verify_report_end(struct verify_report *report, const struct error *err);
void verify_report_phase(struct verify_report *report, enum verify_phase phase);
void verify_report_reached(struct verify_report *report, uint64_t lsn);
/* Adds. */
void verify_report_count(struct verify_report *report, const struct verify_tally *more);
/* A difference. What it is called from now on; 0: it is counted and not named. */
size_t verify_report_difference(struct verify_report *report, enum verify_kind kind,
                                const char *key, uint64_t version);
void verify_report_repaired(struct verify_report *report, size_t difference);
/* Why it could not be. */
void verify_report_refused(struct verify_report *report, size_t difference, const char *why);
bool verify_report_runs(struct verify_report *report);
uint64_t verify_report_differences(struct verify_report *report);

/* A new reference. `named`: with the differences, once it is over. */
json_t *verify_report_json(struct verify_report *report, bool named);

#endif
