#include "connectors/runtime/letter_topic.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
    ASK_TIMEOUT_MS = 10 * 1000,
    POLL_MS = 100,
    STALL_US = 30 * 1000 * 1000, /* without a record */
};

struct letter_topic {
    const struct kafka_config *kafka;
    char *name;
    char *connector;
    char *group;
    struct log *log;
    const _Atomic bool *stop;
    rd_kafka_t *producer; /* NULL: not opened yet */
};

struct letter_topic *letter_topic_create(const struct letter_topic_config *config) {
    struct letter_topic *topic = mem_zalloc(sizeof *topic);
    topic->kafka = config->kafka;
    topic->name = mem_strdup(config->topic);
    topic->connector = mem_strdup(config->connector);
    topic->group = mem_printf("freshet_%s_retry", config->connector);
    topic->log = config->log;
    topic->stop = config->stop;
    return topic;
}

struct letter_topic *letter_topic_of(const struct connector_config *config, struct log *log,
                                     const _Atomic bool *stop) {
    if (!config->dead_letter_topic) return NULL;
    return letter_topic_create(&(struct letter_topic_config){.kafka = config->kafka,
                                                             .topic = config->dead_letter_topic,
                                                             .connector = config->name,
                                                             .log = log,
                                                             .stop = stop});
}

void letter_topic_destroy(struct letter_topic **topic) {
    struct letter_topic *old = *topic;
    *topic = NULL;
    if (!old) return;
    if (old->producer) rd_kafka_destroy(old->producer);
    mem_free(old->name);
    mem_free(old->connector);
    mem_free(old->group);
    mem_free(old);
}

static bool is_stopped(const struct letter_topic *topic, struct error *err) {
    return atomic_load(topic->stop) &&
           !error_set(err, ERROR_STOPPED, true, "Kafka: %s: stopping", topic->name);
}

/* ---- there ---- */

/* A letter on its way. */
struct sending {
    struct slice line;
    bool done;
    rd_kafka_resp_err_t code;
};

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer, (void)opaque;
    struct sending *sending = message->_private;
    sending->done = true;
    sending->code = message->err;
}

/* Where it is there already, or somebody else is to make it, sending tells what is wrong. */
static void make_topic(struct letter_topic *topic) {
    char why[256];
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic->name, 1, -1, why, sizeof why);
    if (!wanted) return;
    (void)rd_kafka_NewTopic_set_config(wanted, "retention.ms", "-1"); /* until it is tried again */
    rd_kafka_queue_t *queue = rd_kafka_queue_new(topic->producer);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(topic->producer, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, ASK_TIMEOUT_MS, why, sizeof why);
    rd_kafka_CreateTopics(topic->producer, &wanted, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ASK_TIMEOUT_MS);
    if (event) rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(wanted);
}

static bool open_producer(struct letter_topic *topic, struct error *err) {
    if (topic->producer) return true;
    rd_kafka_conf_t *conf = kafka_conf(topic->kafka, topic->log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "enable.idempotence", "true");
    kafka_conf_set(conf, "message.timeout.ms", "30000");
    kafka_conf_set(conf, "message.max.bytes", "1000000000"); /* the brokers decide */
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    topic->producer = kafka_open(RD_KAFKA_PRODUCER, conf, err);
    if (topic->producer) make_topic(topic);
    return topic->producer != NULL;
}

/* The row's key, as the letter has it; *letter holds its text. */
static struct slice key_of(struct slice line, json_t **letter) {
    *letter = json_loadb(line.data, line.len, JSON_ALLOW_NUL, NULL);
    const json_t *id = json_object_get(*letter, "id");
    return json_is_string(id) ? slice_make(json_string_value(id), json_string_length(id))
                              : slice_make(NULL, 0);
}

static void produce(struct letter_topic *topic, struct sending *sending) {
    json_t *letter;
    struct slice key = key_of(sending->line, &letter);
    sending->done = sending->line.len == 0; /* that ended what a crash had cut off */
    while (!sending->done) {
        sending->code = rd_kafka_producev(
            topic->producer, RD_KAFKA_V_TOPIC(topic->name),
            RD_KAFKA_V_KEY((void *)(uintptr_t)key.data, key.len),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)sending->line.data, sending->line.len),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(sending), RD_KAFKA_V_END);
        if (sending->code != RD_KAFKA_RESP_ERR__QUEUE_FULL || atomic_load(topic->stop)) break;
        rd_kafka_poll(topic->producer, POLL_MS);
    }
    sending->done |= sending->code != RD_KAFKA_RESP_ERR_NO_ERROR;
    json_decref(letter);
}

/* Until each has its report: they lie on our caller's side. */
static void wait_all(struct letter_topic *topic, const struct sending *sendings, size_t n) {
    bool purged = false;
    for (size_t i = 0; i < n;) {
        if (sendings[i].done) {
            i++;
            continue;
        }
        if (atomic_load(topic->stop) && !purged) {
            rd_kafka_purge(topic->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
            purged = true;
        }
        rd_kafka_poll(topic->producer, POLL_MS);
    }
}

/* The row is read again anyway when the letter is. NULL: it is in no encoding that JSON has. */
static char *without_document(struct slice line) {
    json_t *letter = json_loadb(line.data, line.len, JSON_ALLOW_NUL, NULL);
    json_object_set_new(letter, "document", json_null());
    json_object_set_new(letter, "left_out_bytes", json_integer((json_int_t)line.len));
    char *text = letter ? json_dumps(letter, JSON_COMPACT) : NULL;
    json_decref(letter);
    return text;
}

static bool settle(struct letter_topic *topic, struct sending *sending, struct error *err) {
    if (sending->code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        char *shorter = without_document(sending->line);
        if (shorter) {
            sending->line = slice_from(shorter);
            produce(topic, sending);
            wait_all(topic, sending, 1);
        }
        free(shorter);
    }
    if (sending->code == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
    kafka_error_code(err, sending->code, topic->name);
    err->retriable = true; /* a letter is never given up */
    return false;
}

bool letter_topic_send(struct letter_topic *topic, struct slice lines, struct error *err) {
    if (!open_producer(topic, err)) return false;
    size_t n = 0;
    for (size_t i = 0; i < lines.len; i++)
        n += lines.data[i] == '\n';
    struct sending *sendings = mem_calloc(n + 1, sizeof *sendings);
    const char *at = lines.data;
    for (size_t i = 0; i < n; i++) {
        const char *end = memchr(at, '\n', lines.len - (size_t)(at - lines.data));
        sendings[i].line = slice_make(at, (size_t)(end - at));
        produce(topic, &sendings[i]);
        at = end + 1;
    }
    wait_all(topic, sendings, n);
    bool sent = true;
    for (size_t i = 0; i < n && sent; i++)
        sent = settle(topic, &sendings[i], err);
    mem_free(sendings);
    if (sent) return true;
    rd_kafka_destroy(topic->producer); /* some errors are fatal to it */
    topic->producer = NULL;
    return false;
}

/* ---- and back ---- */

struct fetching {
    struct letter_topic *topic;
    rd_kafka_t *consumer;
    rd_kafka_topic_partition_list_t *next; /* offsets that are read from */
    int64_t *ends;                         /* one a partition: where it is read to */
    FILE *file;
    bool any;
};

/* Of a rebuild of this connector, too. */
static bool is_ours(const struct letter_topic *topic, struct slice line) {
    json_t *letter = json_loadb(line.data, line.len, JSON_ALLOW_NUL, NULL);
    const char *name = json_string_value(json_object_get(letter, "connector"));
    size_t len = strlen(topic->connector);
    bool ours = name && strncmp(name, topic->connector, len) == 0 &&
                (!name[len] || strcmp(name + len, ".rebuild") == 0);
    json_decref(letter);
    return ours;
}

static bool find_partitions(struct fetching *fetching, struct error *err) {
    const char *name = fetching->topic->name;
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(fetching->consumer, name, NULL);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(fetching->consumer, 0, topic, &metadata, ASK_TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    int n = !code && metadata && metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
    if (!code && metadata && metadata->topic_cnt == 1) code = metadata->topics[0].err;
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) code = 0; /* no letter yet */
    if (metadata) rd_kafka_metadata_destroy(metadata);
    if (code) {
        kafka_error_code(err, code, name);
        return false;
    }
    fetching->next = rd_kafka_topic_partition_list_new(n);
    fetching->ends = mem_calloc((size_t)n + 1, sizeof *fetching->ends);
    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(fetching->next, name, i);
    if (n) code = rd_kafka_committed(fetching->consumer, fetching->next, ASK_TIMEOUT_MS);
    return !code || kafka_error_code(err, code, fetching->topic->group);
}

static bool find_ends(struct fetching *fetching, struct error *err) {
    for (int i = 0; i < fetching->next->cnt; i++) {
        rd_kafka_topic_partition_t *partition = &fetching->next->elems[i];
        int64_t low;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
            fetching->consumer, partition->topic, partition->partition, &low, &fetching->ends[i],
            ASK_TIMEOUT_MS);
        if (code) return kafka_error_code(err, code, partition->topic);
        if (partition->offset < low) partition->offset = low; /* none was committed, or gone */
    }
    return true;
}

static bool all_read(const struct fetching *fetching) {
    for (int i = 0; i < fetching->next->cnt; i++) {
        if (fetching->next->elems[i].offset < fetching->ends[i]) return false;
    }
    return true;
}

static void take(struct fetching *fetching, const rd_kafka_message_t *message) {
    rd_kafka_topic_partition_t *partition = &fetching->next->elems[message->partition];
    if (message->offset >= fetching->ends[message->partition]) {
        partition->offset = fetching->ends[message->partition];
        return;
    }
    partition->offset = message->offset + 1;
    struct slice line = slice_make(message->payload, message->len);
    if (!line.len || !is_ours(fetching->topic, line)) return;
    fwrite(line.data, 1, line.len, fetching->file);
    fputc('\n', fetching->file);
    fetching->any = true;
}

static bool read_all(struct fetching *fetching, struct error *err) {
    rd_kafka_resp_err_t code = rd_kafka_assign(fetching->consumer, fetching->next);
    int64_t due_us = clock_mono_us() + STALL_US;
    while (!code && !all_read(fetching)) {
        if (is_stopped(fetching->topic, err)) return false;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(fetching->consumer, POLL_MS);
        if (message && !message->err) {
            take(fetching, message);
            due_us = clock_mono_us() + STALL_US;
        } else if (message && message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            fetching->next->elems[message->partition].offset = message->offset;
        } else if (message && message->err != RD_KAFKA_RESP_ERR__TRANSPORT) {
            code = message->err;
        }
        if (message) rd_kafka_message_destroy(message);
        if (clock_mono_us() > due_us) code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    return !code || kafka_error_code(err, code, fetching->topic->name);
}

static bool finish(struct fetching *fetching, const char *path, struct error *err) {
    if (fflush(fetching->file) != 0 || fsync(fileno(fetching->file)) != 0)
        return error_set(err, ERROR_SYSTEM, true, "dead letters: %s: cannot write it: %s", path,
                         strerror(errno));
    if (!fetching->next->cnt) return true;
    rd_kafka_resp_err_t code = rd_kafka_commit(fetching->consumer, fetching->next, 0);
    return !code || kafka_error_code(err, code, fetching->topic->group);
}

static bool open_consumer(struct fetching *fetching, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(fetching->topic->kafka, fetching->topic->log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "group.id", fetching->topic->group);
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "auto.offset.reset", "earliest");
    kafka_conf_set(conf, "enable.partition.eof", "true");
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    fetching->consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    return fetching->consumer != NULL;
}

bool letter_topic_fetch(struct letter_topic *topic, const char *path, bool *any,
                        struct error *err) {
    struct fetching fetching = {.topic = topic, .file = fopen(path, "ae")};
    *any = false;
    if (!fetching.file)
        return error_set(err, ERROR_SYSTEM, true, "dead letters: %s: cannot open it: %s", path,
                         strerror(errno));
    bool done = open_consumer(&fetching, err) && find_partitions(&fetching, err) &&
                find_ends(&fetching, err) && read_all(&fetching, err) &&
                finish(&fetching, path, err);
    fclose(fetching.file);
    if (fetching.next) rd_kafka_topic_partition_list_destroy(fetching.next);
    mem_free(fetching.ends);
    if (fetching.consumer) {
        rd_kafka_consumer_close(fetching.consumer);
        rd_kafka_destroy(fetching.consumer);
    }
    *any = fetching.any;
    return done;
}
