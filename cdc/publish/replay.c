#include "cdc/publish/replay.h"

#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cdc/encode/event_table.h"
#include "cdc/publish/publish_replay.h"
#include "cdc/publish/replay_source.h"

enum {
    TIMEOUT_MS = 10000,    /* of one question to the brokers */
    SILENCE_US = 60000000, /* without a record, where there should be one */
    POLL_MS = 100,
    SESSIONS_MOST = 10, /* a record refused for its size takes three */
    LETTER_ARENA_BYTES = 16 * 1024,
};

/* A letter whose first record has come, and not yet all of its pieces. */
struct open_letter {
    struct open_letter *next;
    struct arena *arena;
    struct dead_letter_parsed parsed;
    size_t filling;  /* the gap that the next piece belongs to */
    struct buf text; /* of it, so far */
    int32_t partition;
    int64_t offset;
};

enum outcome { PUBLISHED, BURIED, MALFORMED };

/* What became of a letter, in the session in hand or in an earlier one. */
struct verdict {
    int32_t partition;
    int64_t offset;
    enum outcome outcome;
};

struct replay {
    struct publisher_config config;
    const struct publisher_deps *deps;
    struct publisher *publisher;
    size_t n_verdicts;
    struct verdict *verdicts;
    char *topic;
    char *group;
    struct replay_source source;
    rd_kafka_topic_partition_list_t *ends;
    int64_t stored; /* sum of the offsets that are committed: are there new ones? */
    struct open_letter *open;
};

/* ---- the topic ---- */

static bool open_consumer(struct replay *r, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(&r->config.kafka, r->deps->log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "group.id", r->group);
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "enable.auto.offset.store", "false");
    kafka_conf_set(conf, "enable.partition.eof", "true");
    kafka_conf_set(conf, "isolation.level", "read_committed");
    kafka_conf_set(conf, "auto.offset.reset", "earliest"); /* what retention took is gone */
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    r->source.consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    if (r->source.consumer) rd_kafka_poll_set_consumer(r->source.consumer);
    return r->source.consumer != NULL;
}

static void close_source(struct replay *r) {
    if (r->source.offsets) rd_kafka_topic_partition_list_destroy(r->source.offsets);
    if (r->ends) rd_kafka_topic_partition_list_destroy(r->ends);
    if (r->source.consumer) {
        rd_kafka_consumer_close(r->source.consumer);
        rd_kafka_destroy(r->source.consumer);
    }
    r->source = (struct replay_source){0};
    r->ends = NULL;
}

/* The topic's partitions; none where it is not there. */
static bool list_partitions(struct replay *r, struct error *err) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(r->source.consumer, r->topic, NULL);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(r->source.consumer, 0, topic, &metadata, TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    if (code) return kafka_error_code(err, code, r->topic);
    code = metadata->topic_cnt == 1 ? metadata->topics[0].err
                                    : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    int n = code ? 0 : metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    if (code && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return kafka_error_code(err, code, r->topic);
    r->source.offsets = rd_kafka_topic_partition_list_new(n + 1);
    for (int32_t partition = 0; partition < n; partition++)
        rd_kafka_topic_partition_list_add(r->source.offsets, r->topic, partition);
    r->ends = rd_kafka_topic_partition_list_copy(r->source.offsets);
    return true;
}

static int64_t sum_of_offsets(const struct replay *r) {
    int64_t sum = 0;
    for (int i = 0; i < r->source.offsets->cnt; i++)
        sum += r->source.offsets->elems[i].offset;
    return sum;
}

static bool is_at_end(const struct replay *r) {
    for (int i = 0; i < r->ends->cnt; i++) {
        if (r->ends->elems[i].offset >= 0) return false;
    }
    return true;
}

/* ---- letters ---- */

static void drop_letter(struct replay *r, struct open_letter *letter) {
    struct open_letter **link = &r->open;
    while (*link != letter)
        link = &(*link)->next;
    *link = letter->next;
    buf_deinit(&letter->text);
    arena_destroy(&letter->arena);
    mem_free(letter);
}

/* The same for relations that are alike, so that a table is looked up once for all of its letters. */
static uint32_t version_of(const struct relation *relation) {
    uint64_t hash = relation->n_columns;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct relation_column *column = &relation->columns[i];
        hash = XXH64(column->name, strlen(column->name), hash + column->type_oid);
        hash = XXH64(&column->typmod, sizeof column->typmod, hash + column->identity);
    }
    return (uint32_t)hash | 1;
}

static void note(struct replay *r, int32_t partition, int64_t offset, enum outcome outcome) {
    r->verdicts = mem_realloc(r->verdicts, (r->n_verdicts + 1) * sizeof *r->verdicts);
    r->verdicts[r->n_verdicts++] = (struct verdict){partition, offset, outcome};
}

/* What an earlier session did and did not commit comes again. */
static void forget_undone(struct replay *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_verdicts; i++) {
        const struct verdict *verdict = &r->verdicts[i];
        if (verdict->offset < r->source.offsets->elems[verdict->partition].offset)
            r->verdicts[n++] = *verdict;
    }
    r->n_verdicts = n;
}

static void count(const struct replay *r, struct replay_result *result) {
    *result = (struct replay_result){.letters = r->n_verdicts};
    for (size_t i = 0; i < r->n_verdicts; i++) {
        switch (r->verdicts[i].outcome) {
        case PUBLISHED: result->published++; break;
        case BURIED: result->buried++; break;
        case MALFORMED: result->malformed++; break;
        }
    }
}

static bool replay_letter(struct replay *r, struct open_letter *letter, struct error *err) {
    struct buf content = {0};
    bool buried = false;
    letter->parsed.relation.version = version_of(&letter->parsed.relation);
    bool readable = dead_letter_settle(&letter->parsed, &content);
    bool ok = !readable || publish_replay_letter(r->publisher, &letter->parsed, &buried, err);
    note(r, letter->partition, letter->offset, !readable ? MALFORMED : buried ? BURIED : PUBLISHED);
    buf_deinit(&content);
    drop_letter(r, letter);
    return ok;
}

/* Of a letter that was begun twice, by a publisher that was killed, only the last is whole. */
static void drop_earlier(struct replay *r, const struct open_letter *letter) {
    for (struct open_letter *other = letter->next; other; other = other->next) {
        if (other->parsed.op != letter->parsed.op || other->partition != letter->partition ||
            !slice_equal(other->parsed.position, letter->parsed.position))
            continue;
        drop_letter(r, other);
        return;
    }
}

static struct open_letter *add_letter(struct replay *r, const rd_kafka_message_t *message) {
    struct open_letter *letter = mem_zalloc(sizeof *letter);
    letter->arena = arena_create(LETTER_ARENA_BYTES);
    letter->partition = message->partition;
    letter->offset = message->offset;
    letter->next = r->open;
    r->open = letter;
    return letter;
}

static struct open_letter *find_letter(const struct replay *r, const rd_kafka_message_t *message,
                                       struct slice position) {
    struct open_letter *letter = r->open;
    while (letter && (letter->partition != message->partition ||
                      !slice_equal(letter->parsed.position, position)))
        letter = letter->next;
    return letter;
}

/* False: more of it than there should be. */
static bool fill_gap(struct open_letter *letter, struct slice text) {
    struct dead_letter_gap *gap = &letter->parsed.gaps[letter->filling];
    if (letter->text.len + text.len > gap->bytes) return false;
    buf_append_slice(&letter->text, text);
    if (letter->text.len < gap->bytes) return true;
    struct slice whole = arena_dup(letter->arena, buf_slice(&letter->text));
    *gap->value =
        (struct value){.kind = VALUE_TEXT, .len = (uint32_t)whole.len, .data = whole.data};
    letter->text.len = 0;
    letter->filling++;
    return true;
}

static bool take(struct replay *r, const rd_kafka_message_t *message, struct error *err) {
    struct open_letter *letter = add_letter(r, message);
    struct dead_letter_piece piece;
    switch (dead_letter_read(slice_make(message->payload, message->len), letter->arena,
                             &letter->parsed, &piece)) {
    case DEAD_LETTER_WHOLE: drop_earlier(r, letter); break;
    case DEAD_LETTER_MALFORMED: {
        log_warn(r->deps->log, "dead_letter_malformed", "topic=%s partition=%d offset=%lld",
                 r->topic, message->partition, (long long)message->offset);
        note(r, message->partition, message->offset, MALFORMED);
        drop_letter(r, letter);
        return true;
    }
    case DEAD_LETTER_PIECE: {
        struct open_letter *whose = find_letter(r, message, piece.position);
        if (whose && !fill_gap(whose, piece.text)) {
            note(r, whose->partition, whose->offset, MALFORMED);
            drop_letter(r, whose);
            whose = NULL;
        }
        drop_letter(r, letter);
        letter = whose;
        break;
    }
    }
    if (!letter || letter->filling < letter->parsed.n_gaps) return true;
    return replay_letter(r, letter, err);
}

/* What is read is done with, but for letters that are not whole. */
static void advance(struct replay *r, const rd_kafka_message_t *message) {
    int64_t offset = message->offset + 1;
    for (const struct open_letter *letter = r->open; letter; letter = letter->next) {
        if (letter->partition == message->partition && letter->offset < offset)
            offset = letter->offset;
    }
    r->source.offsets->elems[message->partition].offset = offset;
}

/* ---- sessions ---- */

/* From where the group is, or from the beginning, to where the topic ends now. */
static bool find_bounds(struct replay *r, struct error *err) {
    rd_kafka_resp_err_t code =
        rd_kafka_committed(r->source.consumer, r->source.offsets, TIMEOUT_MS);
    if (code) return kafka_error_code(err, code, "asking for the offsets of dead letters");
    for (int i = 0; i < r->ends->cnt; i++) {
        rd_kafka_topic_partition_t *at = &r->source.offsets->elems[i];
        int64_t low;
        code = rd_kafka_query_watermark_offsets(r->source.consumer, r->topic, i, &low,
                                                &r->ends->elems[i].offset, TIMEOUT_MS);
        if (code) return kafka_error_code(err, code, r->topic);
        if (at->offset < low) at->offset = low;
    }
    forget_undone(r);
    r->stored = sum_of_offsets(r);
    code = rd_kafka_assign(r->source.consumer, r->source.offsets);
    return !code || kafka_error_code(err, code, r->topic);
}

static bool take_error(const struct replay *r, const rd_kafka_message_t *message,
                       struct error *err) {
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__FATAL: return kafka_error_code(err, message->err, r->topic);
    default: return true; /* the client mends it */
    }
}

/* Records behind the ends are the next run's, our own among them. */
static void finish_partition(struct replay *r, int32_t partition) {
    r->ends->elems[partition].offset = -1;
}

static bool take_message(struct replay *r, const rd_kafka_message_t *message, struct error *err) {
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        finish_partition(r, message->partition);
        return true;
    }
    if (message->err) return take_error(r, message, err);
    if (message->offset >= r->ends->elems[message->partition].offset) {
        finish_partition(r, message->partition);
        return true;
    }
    if (!take(r, message, err)) return false;
    advance(r, message);
    return publish_replay_commit(r->publisher, err);
}

static bool read_all(struct replay *r, struct error *err) {
    int64_t heard_us = clock_mono_us();
    while (!is_at_end(r)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(r->source.consumer, POLL_MS);
        bool heard = message && (!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF);
        bool ok = !message || take_message(r, message, err);
        if (message) rd_kafka_message_destroy(message);
        if (!ok) return false;
        if (heard) heard_us = clock_mono_us();
        if (clock_mono_us() - heard_us > SILENCE_US)
            return error_set(err, ERROR_TIMEOUT, true, "topic \"%s\" was not read to its end",
                             r->topic);
    }
    return true;
}

/* Letters that led to no record, being malformed or of an operation that is skipped now, are behind us all the same. */
static bool store_rest(struct replay *r, struct error *err) {
    if (sum_of_offsets(r) == r->stored) return true;
    rd_kafka_resp_err_t code = rd_kafka_commit(r->source.consumer, r->source.offsets, 0);
    return !code || kafka_error_code(err, code, "storing the offsets of dead letters");
}

static bool run_session(struct replay *r, struct error *err) {
    if (!open_consumer(r, err) || !list_partitions(r, err)) return false;
    if (r->ends->cnt == 0) return true;
    if (!publish_replay_begin(r->publisher, err)) return false;
    bool ok = find_bounds(r, err) && read_all(r, err) && publish_replay_settle(r->publisher, err) &&
              store_rest(r, err);
    publish_replay_end(r->publisher);
    return ok;
}

static bool run_sessions(struct replay *r, struct error *err) {
    for (int session = 1;; session++) {
        bool ok = run_session(r, err);
        while (r->open)
            drop_letter(r, r->open);
        close_source(r);
        if (ok) return true;
        if (!err->retriable || session == SESSIONS_MOST) return false;
        log_warn(r->deps->log, "replay_repeated", "session=%d cause=\"%s\"", session, err->message);
    }
}

bool replay_run(const struct publisher_config *config, const struct publisher_deps *deps,
                struct replay_result *result, struct error *err) {
    struct replay r = {.config = *config, .deps = deps};
    struct arena *arena = arena_create(1024);
    r.config.replay = &r.source;
    r.config.on_oversize = OVERSIZE_DEAD_LETTER;
    r.topic = event_topic(arena, config->prefix, NULL, "dead-letters");
    r.group = mem_printf("freshet-%s-%s-replay", config->prefix, config->slot);
    r.publisher = publisher_create(&r.config, deps, err);
    bool ok = r.publisher && run_sessions(&r, err);
    count(&r, result);
    mem_free(r.verdicts);
    publisher_destroy(&r.publisher);
    mem_free(r.group);
    arena_destroy(&arena);
    return ok;
}
