#include "cdc/output/positions.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/lsn.h"

enum { POLL_MS = 100 };

void position_compose_key(const char *slot, struct buf *out) {
    buf_append_text(out, "{\"slot\":");
    json_append_string(out, slice_from(slot));
    buf_append_char(out, '}');
}

void position_compose_note_key(const char *slot, enum position_note note, struct buf *out) {
    static const char *const names[] = {[NOTE_SNAPSHOT] = "snapshot", [NOTE_SCHEMAS] = "schemas"};
    buf_append_text(out, "{\"slot\":");
    json_append_string(out, slice_from(slot));
    buf_printf(out, ",\"note\":\"%s\"}", names[note]);
}

/* The identifier is a string: it does not fit the integers of every JSON reader. */
void position_compose_value(const struct change_position *position, struct buf *out) {
    buf_printf(out,
               "{\"end_lsn\":%llu,\"lsn\":\"" LSN_FMT
               "\",\"snapshot_done\":%s,\"system_identifier\":\"%llu\",\"last_end_lsn\":%llu",
               (unsigned long long)position->end_lsn, LSN_ARG(position->end_lsn),
               position->snapshot_done ? "true" : "false",
               (unsigned long long)position->system_identifier,
               (unsigned long long)position->last_end_lsn);
    if (position->timeline)
        buf_printf(out, ",\"timeline\":%u,\"timeline_lsn\":%llu", position->timeline,
                   (unsigned long long)position->timeline_lsn);
    const struct change_part *part = &position->part;
    if (part->number)
        buf_printf(out, ",\"part\":{\"commit_lsn\":%llu,\"changes\":%llu,\"number\":%u}",
                   (unsigned long long)part->commit_lsn, (unsigned long long)part->changes,
                   part->number);
    buf_append_char(out, '}');
}

/* What an older Freshet did not write is zero. */
static bool parse_part(json_t *json, struct change_part *part) {
    json_int_t commit_lsn = 0;
    json_int_t changes = 0;
    json_int_t number = 0;
    json_t *object = json_object_get(json, "part");
    if (!object) return true;
    bool ok = json_unpack(object, "{s:I, s:I, s:I}", "commit_lsn", &commit_lsn, "changes", &changes,
                          "number", &number) == 0 &&
              commit_lsn >= 0 && changes >= 0 && number >= 0 && number <= UINT32_MAX;
    *part = (struct change_part){.commit_lsn = (uint64_t)commit_lsn,
                                 .changes = (uint64_t)changes,
                                 .number = (uint32_t)number};
    return ok;
}

static bool parse_timeline(json_t *json, struct change_position *position) {
    json_int_t timeline = 0;
    json_int_t timeline_lsn = 0;
    bool ok = json_unpack(json, "{s?I, s?I}", "timeline", &timeline, "timeline_lsn",
                          &timeline_lsn) == 0 &&
              timeline >= 0 && timeline <= UINT32_MAX && timeline_lsn >= 0;
    position->timeline = (uint32_t)timeline;
    position->timeline_lsn = (uint64_t)timeline_lsn;
    return ok;
}

bool position_parse(struct slice value, struct change_position *position) {
    json_int_t end_lsn;
    json_int_t last_end_lsn = 0;
    int snapshot_done;
    const char *system;
    json_t *json = json_loadb(value.data, value.len, 0, NULL);
    bool ok = json_unpack(json, "{s:I, s:b, s:s, s?I}", "end_lsn", &end_lsn, "snapshot_done",
                          &snapshot_done, "system_identifier", &system, "last_end_lsn",
                          &last_end_lsn) == 0 &&
              end_lsn >= 0 && last_end_lsn >= 0 && parse_part(json, &position->part) &&
              parse_timeline(json, position);
    if (ok) {
        char *end;
        errno = 0;
        position->last_end_lsn = (uint64_t)last_end_lsn;
        position->end_lsn = (uint64_t)end_lsn;
        position->snapshot_done = snapshot_done;
        position->system_identifier = strtoull(system, &end, 10);
        ok = !errno && *system && !*end;
    }
    json_decref(json);
    return ok;
}

static rd_kafka_t *open_consumer(const struct kafka_config *config, const char *isolation,
                                 struct log *log, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(config, log, err);
    if (!conf) return NULL;
    kafka_conf_set(conf, "group.id", "freshet-positions"); /* never joined, never committed to */
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "enable.partition.eof", "true");
    kafka_conf_set(conf, "isolation.level", isolation);
    kafka_conf_set(conf, "auto.offset.reset", "earliest");
    kafka_conf_set(conf, "fetch.wait.max.ms", "10"); /* the end is told after as long a wait */
    kafka_conf_set(conf, "fetch.error.backoff.ms", "50");
    rd_kafka_t *consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    if (consumer) rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

/* What is looked for, and where it goes. */
struct search {
    struct buf key;
    struct buf note_keys[N_POSITION_NOTES];
    struct change_position *position;
    struct buf *notes; /* NULL: not wanted */
};

static bool has_key(const rd_kafka_message_t *message, const struct buf *key) {
    return slice_equal(slice_make(message->key, message->key_len), buf_slice(key));
}

/* Takes the record in if it is the slot's. */
static bool take(const rd_kafka_message_t *message, const struct search *search,
                 struct error *err) {
    struct slice key = buf_slice(&search->key);
    struct change_position *position = search->position;
    for (int i = 0; search->notes && i < N_POSITION_NOTES; i++) {
        if (!has_key(message, &search->note_keys[i])) continue;
        search->notes[i].len = 0;
        if (message->payload) buf_append(&search->notes[i], message->payload, message->len);
        return true;
    }
    if (!has_key(message, &search->key)) return true;
    *position = (struct change_position){0};
    if (!message->payload) return true; /* deleted on purpose: a new start */
    if (position_parse(slice_make(message->payload, message->len), position)) return true;
    return error_set(
        err, ERROR_CONFLICT, false,
        "the position of slot %.*s in topic %s (offset %lld) is malformed; restore it, "
        "or delete it to start over with a new snapshot",
        (int)key.len, key.data, rd_kafka_topic_name(message->rkt), (long long)message->offset);
}

/* The offset behind the topic's last record, committed or not. */
static bool find_end(const struct kafka_config *config, const char *topic, struct log *log,
                     int timeout_ms, int64_t *end, struct error *err) {
    rd_kafka_t *client = open_consumer(config, "read_uncommitted", log, err);
    if (!client) return false;
    int64_t low;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(client, topic, 0, &low, end, timeout_ms);
    rd_kafka_destroy(client);
    return !code || kafka_error_code(err, code, "reading the stored position");
}

/* A reader of committed records gets no further than the first open transaction, whoever's it is; our record may stand behind
 * it. So the end that counts is that of all records. */
static bool read_to_end(rd_kafka_t *consumer, const struct search *search, int64_t end,
                        int timeout_ms, struct error *err) {
    int64_t deadline_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    int64_t held_at = -1;
    while (clock_mono_us() < deadline_us) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, POLL_MS);
        if (!message) continue;
        rd_kafka_resp_err_t code = message->err;
        int64_t offset = message->offset;
        bool ok = code || take(message, search, err);
        rd_kafka_message_destroy(message);
        if (!ok) return false;
        if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            if (offset >= end) return true;
            held_at = offset;
        }
        if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            return kafka_error_code(err, code, "reading the stored position");
        /* Others pass: a topic just made, a broker on its way; and rights to a group are not needed. */
    }
    if (held_at >= 0)
        return error_set(err, ERROR_TIMEOUT, true,
                         "Kafka: the stored position is not known yet: a transaction of another "
                         "process is open at offset %lld of the topic of positions; it is waited "
                         "for until it ends or times out",
                         (long long)held_at);
    return error_set(err, ERROR_TIMEOUT, true, "Kafka: the stored position was not read in %d ms",
                     timeout_ms);
}

bool positions_read(const struct kafka_config *config, const char *topic, const char *slot,
                    struct log *log, int timeout_ms, struct change_position *position,
                    struct buf *notes, struct error *err) {
    *position = (struct change_position){0};
    for (int i = 0; notes && i < N_POSITION_NOTES; i++)
        notes[i].len = 0;
    int64_t end;
    if (!find_end(config, topic, log, timeout_ms, &end, err)) return false;
    rd_kafka_t *consumer = open_consumer(config, "read_committed", log, err);
    if (!consumer) return false;
    struct search search = {.position = position, .notes = notes};
    position_compose_key(slot, &search.key);
    for (int i = 0; i < N_POSITION_NOTES; i++)
        position_compose_note_key(slot, i, &search.note_keys[i]);
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer, partitions);
    bool ok = code ? kafka_error_code(err, code, "reading the stored position")
                   : read_to_end(consumer, &search, end, timeout_ms, err);
    rd_kafka_topic_partition_list_destroy(partitions);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    buf_deinit(&search.key);
    for (int i = 0; i < N_POSITION_NOTES; i++)
        buf_deinit(&search.note_keys[i]);
    return ok;
}
