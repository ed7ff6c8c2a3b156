#include "connectors/verify/verify_report.h"

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"

struct verify_finding {
    enum verify_kind kind;
    char *key;
    uint64_t version; /* in the sink; 0: none */
    bool repaired;
    char *refused; /* NULL: nothing has */
};

void verify_report_init(struct verify_report *report) {
    *report = (struct verify_report){0};
    pthread_mutex_init(&report->lock, NULL);
}

static void forget_findings(struct verify_report *report) {
    for (size_t i = 0; i < report->n_findings; i++) {
        mem_free(report->findings[i].key);
        mem_free(report->findings[i].refused);
    }
    mem_free(report->findings);
    report->findings = NULL;
    report->n_findings = 0;
}

void verify_report_deinit(struct verify_report *report) {
    forget_findings(report);
    pthread_mutex_destroy(&report->lock);
}

void verify_report_begin(struct verify_report *report, const struct verify_options *options) {
    pthread_mutex_lock(&report->lock);
    forget_findings(report);
    report->id++;
    report->running = true;
    report->options = *options;
    report->phase = PHASE_WAITING;
    report->began_us = clock_mono_us();
    report->reached_lsn = 0;
    report->tally = (struct verify_tally){0};
    for (int kind = 0; kind < N_VERIFY_KINDS; kind++)
        report->kinds[kind] = 0;
    report->failed = false;
    pthread_mutex_unlock(&report->lock);
}

void verify_report_end(struct verify_report *report, const struct error *err) {
    pthread_mutex_lock(&report->lock);
    report->running = false;
    report->ended_us = clock_mono_us();
    report->failed = err != NULL;
    if (err) report->error = *err;
    pthread_mutex_unlock(&report->lock);
}

void verify_report_phase(struct verify_report *report, enum verify_phase phase) {
    pthread_mutex_lock(&report->lock);
    report->phase = phase;
    pthread_mutex_unlock(&report->lock);
}

void verify_report_reached(struct verify_report *report, uint64_t lsn) {
    pthread_mutex_lock(&report->lock);
    if (lsn > report->reached_lsn) report->reached_lsn = lsn;
    pthread_mutex_unlock(&report->lock);
}

void verify_report_count(struct verify_report *report, const struct verify_tally *more) {
    pthread_mutex_lock(&report->lock);
    report->tally.rows += more->rows;
    report->tally.keys += more->keys;
    report->tally.summed += more->summed;
    report->tally.repaired += more->repaired;
    report->tally.moved += more->moved;
    report->tally.undecided += more->undecided;
    pthread_mutex_unlock(&report->lock);
}

/* Its room is a power of two. */
static void add_finding(struct verify_report *report, const struct verify_finding *finding) {
    size_t n = report->n_findings;
    if ((n & (n - 1)) == 0)
        report->findings =
            mem_realloc(report->findings, (n ? 2 * n : 1) * sizeof *report->findings);
    report->findings[report->n_findings++] = *finding;
}

size_t verify_report_difference(struct verify_report *report, enum verify_kind kind,
                                const char *key, uint64_t version) {
    pthread_mutex_lock(&report->lock);
    report->kinds[kind]++;
    bool named = report->n_findings < VERIFY_MAX_NAMED;
    if (named)
        add_finding(report, &(struct verify_finding){
                                .kind = kind, .key = mem_strdup(key), .version = version});
    size_t difference = named ? report->n_findings : 0;
    pthread_mutex_unlock(&report->lock);
    return difference;
}

void verify_report_repaired(struct verify_report *report, size_t difference) {
    pthread_mutex_lock(&report->lock);
    report->tally.repaired++;
    if (difference) report->findings[difference - 1].repaired = true;
    pthread_mutex_unlock(&report->lock);
}

void verify_report_refused(struct verify_report *report, size_t difference, const char *why) {
    if (!difference) return;
    pthread_mutex_lock(&report->lock);
    struct verify_finding *finding = &report->findings[difference - 1];
    mem_free(finding->refused);
    finding->refused = mem_strdup(why);
    pthread_mutex_unlock(&report->lock);
}

static uint64_t sum(const struct verify_report *report) {
    uint64_t n = 0;
    for (int kind = 0; kind < N_VERIFY_KINDS; kind++)
        n += report->kinds[kind];
    return n;
}

uint64_t verify_report_differences(struct verify_report *report) {
    pthread_mutex_lock(&report->lock);
    uint64_t n = sum(report);
    pthread_mutex_unlock(&report->lock);
    return n;
}

bool verify_report_runs(struct verify_report *report) {
    pthread_mutex_lock(&report->lock);
    bool runs = report->running;
    pthread_mutex_unlock(&report->lock);
    return runs;
}

/* ---- as JSON ---- */

/* A sink's key may be no text. */
static json_t *text_json(const char *text) {
    json_t *json = json_string(text);
    return json ? json : json_string("(no UTF-8)");
}

static json_t *finding_json(const struct verify_finding *finding) {
    json_t *json = json_pack("{s:s, s:o, s:b}", "kind", verify_kind_name(finding->kind), "key",
                             text_json(finding->key), "repaired", finding->repaired);
    if (finding->version)
        json_object_set_new(json, "version", json_integer((json_int_t)finding->version));
    if (finding->refused && !finding->repaired)
        json_object_set_new(json, "refused", text_json(finding->refused));
    return json;
}

static json_t *compose(const struct verify_report *report) {
    static const char *const phases[N_PHASES] = {
        [PHASE_WAITING] = "waiting for the stream",
        [PHASE_ROWS] = "rows",
        [PHASE_KEYS] = "keys",
        [PHASE_LOOKING] = "looking again",
    };
    const struct verify_tally *tally = &report->tally;
    int64_t end_us = report->running ? clock_mono_us() : report->ended_us;
    json_t *json =
        json_pack("{s:I, s:s, s:s, s:b, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
                  (json_int_t)report->id, "state",
                  report->running  ? "running"
                  : report->failed ? "failed"
                                   : "done",
                  "phase", phases[report->phase], "repair", report->options.repair, "seconds",
                  (double)(end_us - report->began_us) / 1e6, "rows", (json_int_t)tally->rows,
                  "keys", (json_int_t)tally->keys, "summed", (json_int_t)tally->summed,
                  "differences", (json_int_t)sum(report), "repaired", (json_int_t)tally->repaired,
                  "moved", (json_int_t)tally->moved, "undecided", (json_int_t)tally->undecided);
    for (int kind = 0; kind < N_VERIFY_KINDS; kind++)
        json_object_set_new(json, verify_kind_name((enum verify_kind)kind),
                            json_integer((json_int_t)report->kinds[kind]));
    json_object_set_new(json, "reached", json_sprintf(LSN_FMT, LSN_ARG(report->reached_lsn)));
    if (report->failed) json_object_set_new(json, "error", text_json(report->error.message));
    return json;
}

json_t *verify_report_json(struct verify_report *report, bool named) {
    pthread_mutex_lock(&report->lock);
    json_t *json = compose(report);
    json_t *findings = json_array();
    for (size_t i = 0; i < report->n_findings && named && !report->running; i++)
        json_array_append_new(findings, finding_json(&report->findings[i]));
    if (named && !report->running) json_object_set(json, "findings", findings);
    json_decref(findings);
    pthread_mutex_unlock(&report->lock);
    return json;
}
