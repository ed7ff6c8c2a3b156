/* produce_floor: what librdkafka and a broker take, with nothing in front: hands the client the same records over and
 * over, with the settings, the queue's bound and the transactions of Freshet's output. What Freshet is slower by is
 * Freshet's; what this is slower by than COPY or pg_recvlogical is not.
 *
 *     produce_floor BROKERS TOPIC SAMPLE RECORDS [at-least-once] [name=value...]
 *
 * prints seconds, CPU seconds and peak bytes; name=value are librdkafka's properties, to see what they buy.
 *
 * SAMPLE holds records as a consumer read them, each as  key length(4) value length(4) key value,  in the machine's order
 * of bytes. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    TRANSACTION_RECORDS = 50000,
    TRANSACTION_US = 100000,
    QUEUE_BYTES = 4 * 1024 * 1024,
    RECORD_OVERHEAD_BYTES = 256,
    CHECK_EVERY = 64,
    FULL_WAIT_US = 2000,
    SAMPLES_MAX = 100000,
};

struct sample {
    char *bytes;
    size_t len;
    size_t n;
    size_t at[SAMPLES_MAX];
    size_t average;
};

static void fail(const char *what, const char *why) {
    fprintf(stderr, "produce_floor: %s: %s\n", what, why);
    exit(1);
}

static void check(rd_kafka_error_t *error, const char *what) {
    if (error) fail(what, rd_kafka_error_string(error));
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint32_t length_at(const struct sample *sample, size_t at) {
    uint32_t length;
    memcpy(&length, sample->bytes + at, sizeof length);
    return length;
}

static void load(struct sample *sample, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path, "cannot be read");
    fseek(file, 0, SEEK_END);
    sample->len = (size_t)ftell(file);
    rewind(file);
    sample->bytes = malloc(sample->len);
    if (!sample->bytes || fread(sample->bytes, 1, sample->len, file) != sample->len)
        fail(path, "cannot be read");
    fclose(file);
    for (size_t at = 0; at + 8 <= sample->len && sample->n < SAMPLES_MAX;) {
        sample->at[sample->n++] = at;
        at += 8 + (size_t)length_at(sample, at) + length_at(sample, at + 4);
    }
    if (!sample->n) fail(path, "holds no record");
    sample->average = sample->len / sample->n;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why)) fail(name, why);
}

static rd_kafka_t *open_producer(const char *brokers, const char *topic, bool transactional,
                                 char **more) {
    const char *const settings[][2] = {
        {"bootstrap.servers", brokers},
        {"compression.type", "lz4"},
        {"linger.ms", "100"},
        {"socket.nagle.disable", "true"},
        {"enable.idempotence", "true"},
        {"partitioner", "murmur2_random"},
        {"delivery.report.only.error", "true"},
        {"queue.buffering.max.messages", "10000000"},
        {"transaction.timeout.ms", "900000"},
        {"transactional.id", topic},
    };
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof *settings - !transactional; i++)
        set(conf, settings[i][0], settings[i][1]);
    for (; *more; more++) {
        char *equals = strchr(*more, '=');
        if (!equals) fail(*more, "no property");
        *equals = '\0';
        set(conf, *more, equals + 1);
    }
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!producer) fail("rd_kafka_new", why);
    return producer;
}

static void end_batch(rd_kafka_t *producer, bool transactional) {
    if (rd_kafka_flush(producer, 60000)) fail("flush", "timed out");
    if (transactional) check(rd_kafka_commit_transaction(producer, 60000), "commit_transaction");
}

static void wait_for_room(rd_kafka_t *producer, size_t record_bytes) {
    size_t most = QUEUE_BYTES / (record_bytes + RECORD_OVERHEAD_BYTES);
    if ((size_t)rd_kafka_outq_len(producer) < most) return;
    while ((size_t)rd_kafka_outq_len(producer) >= most / 4 * 3) {
        rd_kafka_poll(producer, 0);
        usleep(FULL_WAIT_US);
    }
}

static void run(rd_kafka_t *producer, rd_kafka_topic_t *topic, const struct sample *sample,
                uint64_t records, bool transactional) {
    uint64_t batch = 0;
    int64_t opened_us = 0;
    for (uint64_t i = 0; i < records; i++) {
        if (!batch++) {
            opened_us = now_us();
            if (transactional) check(rd_kafka_begin_transaction(producer), "begin_transaction");
        }
        size_t at = sample->at[i % sample->n];
        size_t key_len = length_at(sample, at);
        char *key = sample->bytes + at + 8;
        if (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, key + key_len,
                             length_at(sample, at + 4), key, key_len, NULL))
            fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        if (i % CHECK_EVERY) continue;
        wait_for_room(producer, sample->average);
        if (batch < TRANSACTION_RECORDS && now_us() - opened_us < TRANSACTION_US) continue;
        end_batch(producer, transactional);
        batch = 0;
    }
    if (batch) end_batch(producer, transactional);
}

/* getrusage's would be that of the process that has started this one, where that is larger. */
static long peak_bytes(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "VmHWM: %ld kB", &kib);
    if (status) fclose(status);
    return kib * 1024;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    bool transactional = argc == 5 || strcmp(argv[5], "at-least-once") != 0;
    static struct sample sample;
    load(&sample, argv[3]);
    rd_kafka_t *producer =
        open_producer(argv[1], argv[2], transactional, argv + 5 + !transactional);
    if (transactional) check(rd_kafka_init_transactions(producer, 60000), "init_transactions");
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[2], NULL);
    const struct rd_kafka_metadata *metadata; /* so that the first records find their leader */
    if (!topic || rd_kafka_metadata(producer, 0, topic, &metadata, 10000))
        fail(argv[2], "no metadata");
    rd_kafka_metadata_destroy(metadata);
    int64_t began_us = now_us();
    run(producer, topic, &sample, strtoull(argv[4], NULL, 10), transactional);
    double seconds = (double)(now_us() - began_us) / 1e6;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"peak_bytes\": %ld}\n", seconds, cpu,
           peak_bytes());
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    free(sample.bytes);
    return 0;
}
