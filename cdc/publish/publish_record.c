#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cdc/publish/dead_letter.h"
#include "cdc/publish/publisher_parts.h"

enum { NUMBERS_BYTES = 64 };

static struct slice bytes_of(const struct buf *buf) { return slice_make(buf->data, buf->len); }

/* ---- headers ---- */

static bool marks_position(const struct publisher *p) {
    switch (p->config.position_header) {
    case POSITION_ALWAYS: return true;
    case POSITION_NEVER: return false;
    case POSITION_AT_LEAST_ONCE: break;
    }
    return p->config.delivery == DELIVERY_AT_LEAST_ONCE;
}

static void add_header(struct record *record, const char *name, const char *value) {
    ASSERT(record->n_headers < RECORD_HEADERS_MAX);
    record->headers[record->n_headers++] =
        (struct record_header){.name = name, .value = slice_from(value)};
}

enum write_result publish_write(struct publisher *p, const struct record *record,
                                struct error *err) {
    const struct publish_hand *hand = &p->hand;
    if (hand->durable) return WRITE_DONE;
    bool is_part = p->position.part.number && p->position.part.commit_lsn == hand->commit_lsn;
    if (!is_part && !marks_position(p)) return p->output_ops->write(p->output, record, err);
    struct record marked = *record;
    char position[NUMBERS_BYTES];
    char part[NUMBERS_BYTES];
    if (marks_position(p) && hand->change) {
        snprintf(position, sizeof position, "%llu:%llu:%u", (unsigned long long)hand->commit_lsn,
                 (unsigned long long)hand->change->index, hand->records);
        add_header(&marked, "freshet.position", position);
    }
    if (is_part) {
        snprintf(part, sizeof part, "%u", p->position.part.number);
        add_header(&marked, "freshet.part", part);
    }
    p->hand.records++;
    return p->output_ops->write(p->output, &marked, err);
}

bool publish_part(struct publisher *p, const struct transaction *tx, const struct change *change,
                  struct error *err) {
    if (tx->snapshot || p->hand.durable || !p->output_ops->part_due ||
        !p->output_ops->part_due(p->output))
        return true;
    if (p->begin_written && !publish_boundary(p, "PART", change->row_lsn, err)) return false;
    p->position.part = (struct change_part){.commit_lsn = tx->commit_lsn,
                                            .changes = change->index + 1,
                                            .number = p->position.part.number + 1};
    publish_keep_schemas(p);
    p->output_ops->part(p->output, &p->position);
    return true;
}

/* ---- what cannot be written ---- */

static enum write_result write_letter(void *arg, struct slice key, struct slice value,
                                      struct error *err) {
    struct publisher *p = arg;
    struct record record = {.topic = p->dead_letter_topic, .key = key, .value = value};
    return publish_write(p, &record, err);
}

static bool open_letters(struct publisher *p, struct error *err) {
    if (p->dead_letter_topic) return true;
    const char *name = event_topic(p->names, p->config.prefix, NULL, "dead-letters");
    p->dead_letter_topic = p->output_ops->topic(p->output, name, &topic_of_letters, err);
    return p->dead_letter_topic != NULL;
}

/* As JSON: p->key is a part of the record, which may be none. */
static struct slice letter_key(struct publisher *p, const struct event *event) {
    const struct value *row = event->after ? event->after : event->before;
    struct encode_tally tally = {0};
    if (!p->encoder->registers || !event->table || !event->table->n_key || !row)
        return bytes_of(&p->key);
    p->key.len = 0;
    bool encoded = encode_json.key(event->table, row, event->old_row, &tally, &p->key);
    return encoded ? bytes_of(&p->key) : (struct slice){0};
}

bool publish_bury(struct publisher *p, const struct event *event, const char *cause,
                  struct error *err) {
    p->hand.buried = true;
    if (p->hand.durable) return true;
    metric_bump(p->metrics.dead_letters, 1);
    log_warn(p->deps.log, "dead_letter", "table=%s.%s op=%c lsn=%llu cause=\"%s\"",
             event->table ? event->table->schema : "", event->table ? event->table->name : "",
             event->op, (unsigned long long)event->lsn, cause);
    if (!open_letters(p, err)) return false;
    struct dead_letter letter = {.source = &p->source,
                                 .event = event,
                                 .change = p->hand.change,
                                 .commit_lsn = p->hand.commit_lsn,
                                 .key = letter_key(p, event),
                                 .cause = cause,
                                 .attempts = p->hand.only ? p->hand.attempts + 1 : 0};
    enum write_result result = dead_letter_write(&letter, DEAD_LETTER_BYTES, write_letter, p, err);
    if (result == WRITE_REFUSED)
        result = dead_letter_write(&letter, DEAD_LETTER_SMALL_BYTES, write_letter, p, err);
    return result == WRITE_DONE;
}

static bool settle_oversize(struct publisher *p, const struct event *event, const char *cause,
                            struct error *err) {
    switch (p->config.on_oversize) {
    case OVERSIZE_DEAD_LETTER: return publish_bury(p, event, cause, err);
    case OVERSIZE_FAIL:
        return error_set(err, ERROR_LIMIT, false, "%s; cdc.on_oversize is `fail`", cause);
    case OVERSIZE_SKIP: break;
    }
    metric_bump(p->metrics.skipped_oversize, 1);
    log_warn(p->deps.log, "event_skipped", "table=%s.%s op=%c lsn=%llu cause=\"%s\"",
             event->table ? event->table->schema : "", event->table ? event->table->name : "",
             event->op, (unsigned long long)event->lsn, cause);
    return true;
}

bool publish_record(struct publisher *p, const struct event *event, const struct record *record,
                    struct error *err) {
    struct error local;
    switch (publish_write(p, record, &local)) {
    case WRITE_DONE: metric_bump(p->metrics.bytes, (int64_t)record->value.len); return true;
    case WRITE_REFUSED: return settle_oversize(p, event, local.message, err);
    case WRITE_FAILED: break;
    }
    return error_set(err, local.code, local.retriable, "%s", local.message);
}
