#include "cdc/feed/lineage.h"

#include <string.h>

#include "base/lsn.h"

/* ---- the history of a server ---- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* The next word of a line. */
static struct slice next_word(struct slice *line) {
    while (line->len && is_space(line->data[0]))
        *line = slice_make(line->data + 1, line->len - 1);
    size_t len = 0;
    while (len < line->len && !is_space(line->data[len]))
        len++;
    struct slice word = slice_make(line->data, len);
    *line = slice_make(line->data + len, line->len - len);
    return word;
}

static bool parse_number(struct slice word, uint32_t *number) {
    uint64_t value = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') return false;
        value = value * 10 + (uint64_t)(word.data[i] - '0');
        if (value > UINT32_MAX) return false;
    }
    *number = (uint32_t)value;
    return value > 0;
}

static bool parse_lsn(struct slice word, uint64_t *lsn) {
    char text[24];
    if (word.len >= sizeof text) return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    return lsn_parse(text, lsn);
}

static bool parse_line(struct slice line, struct lineage *lineage) {
    struct slice first = next_word(&line);
    if (first.len == 0 || first.data[0] == '#') return true;
    struct lineage_step step;
    if (!parse_number(first, &step.timeline) || !parse_lsn(next_word(&line), &step.end_lsn))
        return false;
    const struct lineage_step *last =
        lineage->n_steps ? &lineage->steps[lineage->n_steps - 1] : NULL;
    bool rises = !last || (step.timeline > last->timeline && step.end_lsn >= last->end_lsn);
    if (!rises || lineage->n_steps == LINEAGE_MAX_STEPS) return false;
    lineage->steps[lineage->n_steps++] = step;
    return true;
}

bool lineage_parse(struct slice file, struct lineage *lineage) {
    lineage->n_steps = 0;
    while (file.len) {
        const char *newline = memchr(file.data, '\n', file.len);
        size_t len = newline ? (size_t)(newline - file.data) : file.len;
        if (!parse_line(slice_make(file.data, len), lineage)) return false;
        size_t past = newline ? len + 1 : len;
        file = slice_make(file.data + past, file.len - past);
    }
    const struct lineage_step *last =
        lineage->n_steps ? &lineage->steps[lineage->n_steps - 1] : NULL;
    return !last || last->timeline < lineage->timeline;
}

uint64_t lineage_begin_lsn(const struct lineage *lineage) {
    return lineage->n_steps ? lineage->steps[lineage->n_steps - 1].end_lsn : 0;
}

/* ---- what fits ---- */

/* `words`, and behind them what an operator may do. */
#define REFUSE(question, err, ...)                                                                 \
    ((void)error_set(err, ERROR_CONFLICT, false, __VA_ARGS__),                                     \
     attach_choices((question)->way_on, (question)->sink, err))

bool attach_choices(const char *way_on, const char *sink, struct error *err) {
    size_t used = strlen(err->message);
    if (way_on)
        snprintf(err->message + used, sizeof err->message - used, ". Choose: %s", way_on);
    else
        snprintf(err->message + used, sizeof err->message - used,
                 ". Choose: remove %s's stored position and the slot, to start over with a new "
                 "snapshot; or restore the slot and position that belong together",
                 sink);
    return false;
}

/* The step that ended the position's timeline; NULL: it is the server's own, or none of its history. */
static const struct lineage_step *find_step(const struct lineage *lineage, uint32_t timeline,
                                            uint64_t *begin_lsn) {
    *begin_lsn = 0;
    for (uint32_t i = 0; i < lineage->n_steps; i++) {
        if (lineage->steps[i].timeline == timeline) return &lineage->steps[i];
        *begin_lsn = lineage->steps[i].end_lsn;
    }
    return NULL;
}

/* *limit_lsn: up to where the position's history is the server's. */
static bool judge_timeline(const struct attach_question *q, uint64_t *limit_lsn,
                           struct error *err) {
    const struct lineage *server = q->lineage;
    const struct change_position *ours = q->position;
    *limit_lsn = UINT64_MAX;
    if (!ours->timeline) return true;
    uint64_t begin_lsn;
    const struct lineage_step *step = find_step(server, ours->timeline, &begin_lsn);
    if (!step && ours->timeline != server->timeline)
        return REFUSE(q, err,
                      "the server is on timeline %u, and %s's position is of timeline %u, which is "
                      "not in its history: %s",
                      server->timeline, q->sink, ours->timeline,
                      ours->timeline > server->timeline
                          ? "it is an old primary, or was restored to a point before a promotion"
                          : "another server than the one that was followed was promoted");
    if (begin_lsn != ours->timeline_lsn)
        return REFUSE(q, err,
                      "the server's timeline %u began at " LSN_FMT
                      ", and the one of %s's position at " LSN_FMT
                      ": another server was promoted than the one that was followed",
                      ours->timeline, LSN_ARG(begin_lsn), q->sink, LSN_ARG(ours->timeline_lsn));
    if (step) *limit_lsn = step->end_lsn;
    return true;
}

/* Up to where changes are known to be in the sink: keepalives may have told of more WAL since. */
static uint64_t last_event(const struct change_position *position) {
    if (position->part.number) return position->part.commit_lsn + 1;
    return position->last_end_lsn ? position->last_end_lsn : position->end_lsn;
}

/* Where a stream from the position begins on this server. */
static bool judge_position(const struct attach_question *q, uint64_t *start_lsn,
                           struct error *err) {
    const struct change_position *ours = q->position;
    uint64_t limit_lsn;
    *start_lsn = ours->end_lsn;
    if (ours->system_identifier && ours->system_identifier != q->lineage->system_identifier)
        return REFUSE(q, err,
                      "%s's position was made on PostgreSQL system %llu, and this is %llu: another "
                      "cluster, in which that position means nothing",
                      q->sink, (unsigned long long)ours->system_identifier,
                      (unsigned long long)q->lineage->system_identifier);
    if (!judge_timeline(q, &limit_lsn, err)) return false;
    uint64_t event_lsn = last_event(ours);
    if (event_lsn > limit_lsn)
        return REFUSE(q, err,
                      "%s has changes up to " LSN_FMT
                      ", and the promoted server has timeline %u only up to " LSN_FMT
                      ": what lies between was lost with the old primary "
                      "(synchronized_standby_slots on a primary prevents it)",
                      q->sink, LSN_ARG(event_lsn), ours->timeline, LSN_ARG(limit_lsn));
    if (ours->end_lsn > limit_lsn) {
        *start_lsn = limit_lsn;
        return true;
    }
    if (ours->end_lsn <= q->lineage->wal_lsn) return true;
    return REFUSE(q, err,
                  "%s's position " LSN_FMT " is beyond the server's WAL, which ends at " LSN_FMT
                  ": the server was set back to an earlier point",
                  q->sink, LSN_ARG(ours->end_lsn), LSN_ARG(q->lineage->wal_lsn));
}

static bool is_ours(const struct attach_question *q, struct error *err) {
    const struct slot_info *slot = q->slot;
    if (!slot->logical || strcmp(slot->plugin, "pgoutput") != 0)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" is not ours: it is %s%s. Name another slot", q->slot_name,
                         slot->logical ? "of the plugin " : "a physical one", slot->plugin);
    if (!slot->in_this_database)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" belongs to database \"%s\", not to \"%s\". Name another slot",
                         q->slot_name, slot->database, q->database);
    return true;
}

static bool judge_resume(const struct attach_question *q, uint64_t *start_lsn, struct error *err) {
    const struct slot_info *slot = q->slot;
    if (slot->lost)
        return REFUSE(
            q, err,
            "slot \"%s\" is lost (%s): the server has removed WAL that it still needed, so "
            "changes are missing",
            q->slot_name, slot->status);
    if (!q->position->end_lsn) {
        *start_lsn = slot->confirmed_lsn;
        return true;
    }
    if (slot->confirmed_lsn <= *start_lsn) return true;
    return REFUSE(q, err,
                  "slot \"%s\" is ahead of %s's position: it has confirmed " LSN_FMT
                  ", the position is " LSN_FMT
                  "; the changes between were given to somebody else, or the slot was made anew",
                  q->slot_name, q->sink, LSN_ARG(slot->confirmed_lsn), LSN_ARG(*start_lsn));
}

/* The stream from the interrupted snapshot's consistent point on. */
static bool may_resume(const struct attach_question *q) {
    const struct slot_info *slot = q->slot;
    return q->resumes && q->position->end_lsn && slot->exists && !slot->lost &&
           slot->in_this_database && slot->confirmed_lsn <= q->position->end_lsn;
}

static bool judge(const struct attach_question *q, struct attach_answer *answer,
                  struct error *err) {
    const struct slot_info *slot = q->slot;
    const struct change_position *ours = q->position;
    *answer = (struct attach_answer){.snapshot_due =
                                         q->snapshot && !ours->snapshot_done && !may_resume(q)};
    uint64_t start_lsn = 0;
    if (!answer->snapshot_due && !judge_position(q, &start_lsn, err)) return false;
    if (!slot->exists) {
        answer->action = ATTACH_CREATE;
        return answer->snapshot_due || !ours->end_lsn ||
               REFUSE(q, err,
                      "slot \"%s\" is gone, and %s has a position (" LSN_FMT
                      "): the changes since then are lost",
                      q->slot_name, q->sink, LSN_ARG(ours->end_lsn));
    }
    if (!is_ours(q, err)) return false;
    if (answer->snapshot_due || (q->disposable && slot->lost)) {
        answer->action = ATTACH_RECREATE;
        return true;
    }
    answer->action = ATTACH_RESUME;
    answer->start_lsn = start_lsn;
    return judge_resume(q, &answer->start_lsn, err);
}

/* The same cluster, and a slot that is ours or to be made: only the position is of no use any more. */
static bool may_start_over(const struct attach_question *q) {
    uint64_t system = q->position->system_identifier;
    struct error ignored;
    return q->when_needed && (!system || system == q->lineage->system_identifier) &&
           (!q->slot->exists || is_ours(q, &ignored));
}

bool attach_judge(const struct attach_question *q, struct attach_answer *answer,
                  struct error *err) {
    if (judge(q, answer, err)) return true;
    if (!may_start_over(q)) return false;
    *answer = (struct attach_answer){.action = q->slot->exists ? ATTACH_RECREATE : ATTACH_CREATE,
                                     .snapshot_due = true};
    return true;
}
