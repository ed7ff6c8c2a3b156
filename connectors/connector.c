#include "connectors/connector.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/refresh/refresh_source.h"
#include "connectors/registry.h"
#include "connectors/runtime/deadletter.h"
#include "connectors/runtime/figures.h"
#include "connectors/runtime/letter_topic.h"
#include "connectors/runtime/position.h"
#include "connectors/runtime/runtime.h"
#include "connectors/runtime/sender.h"
#include "connectors/source/query_source.h"
#include "connectors/source/table_source.h"
#include "connectors/source/topic_feed.h"
#include "connectors/source/topic_reach.h"
#include "connectors/verify/verify.h"
#include "connectors/view/aggregate_source.h"

enum {
    DEFAULT_BATCH_BYTES = 4 * 1024 * 1024,
    DEFAULT_BATCH_INTERVAL_MS = 100,
    QUEUE_BATCHES = 4, /* waiting and in hand; one more is open */
    SAVE_INTERVAL_MS = 500,
    /* Of one that keeps its position in the target, where nothing but the position moves: that is a commit, too. */
    TRANSACTIONAL_SAVE_INTERVAL_MS = 10000,
    NAME_MAX_CHARS = 63 - 8, /* "freshet_" before it is a slot's name */
};

struct connector {
    char *name;
    char *table;
    char *index;
    char *letters_path;
    char *letters_topic; /* NULL: none */
    char *position_path;
    char *paused_path; /* a file that is there while it is paused */
    uint64_t max_retained_wal;
    const struct sink_type *type;
    struct metrics *metrics;
    _Atomic bool stop;
    struct figures figures;
    struct sink *sink;
    struct lanes *lanes; /* NULL: one, the sink */
    uint32_t n_lane_sinks;
    struct sink *lane_sinks[LANES_MAX]; /* of the lanes behind the first */
    struct table_source *table_source;  /* one of these */
    struct refresh_source *refresh_source;
    struct aggregate_source *aggregate_source;
    struct query_source *query_source;
    struct source source;
    struct deadletters *deadletters;
    struct sender *sender;
    struct topic_feed *topic_feed; /* NULL: the feed is a slot's */
    struct topic_reach *reach;     /* the verifier's, of such a feed */
    struct runtime *runtime;
    struct verifier *verifier;
    _Atomic bool verify_stop;
};

/* A rebuild's connector bears the name of its own with a suffix, which none of the configuration can have. */
static bool check_name(const struct connector_config *config, struct error *err) {
    const char *name = config->name;
    if (config->rebuild) return true;
    size_t len = strlen(name);
    bool fits = len > 0 && len <= NAME_MAX_CHARS;
    for (const char *c = name; *c && fits; c++)
        fits = isalnum((unsigned char)*c) || *c == '-' || *c == '_';
    return fits || error_set(err, ERROR_CONFIG, false,
                             "connector \"%s\": a name has 1 to %d of a-z, 0-9, - and _", name,
                             NAME_MAX_CHARS);
}

/* With its parents: "state/connectors" in a fresh folder. */
static bool make_directory(const char *path, struct error *err) {
    char *copy = mem_strdup(path);
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(copy, 0700);
        *slash = '/';
    }
    mkdir(copy, 0700);
    mem_free(copy);
    if (access(path, W_OK | X_OK) == 0) return true;
    return error_set(err, ERROR_CONFIG, false,
                     "state directory %s: cannot write there: %s; name another with state_dir",
                     path, strerror(errno));
}

/* ---- metrics that are read when asked for ---- */

static int64_t oldest_waiting_us(const struct sender_status *sender,
                                 const struct runtime_status *runtime) {
    return sender->oldest_commit_us ? sender->oldest_commit_us : runtime->open_commit_us;
}

static double lag_seconds(const struct sender_status *sender,
                          const struct runtime_status *runtime) {
    int64_t oldest_us = oldest_waiting_us(sender, runtime);
    double seconds = oldest_us ? (double)(clock_wall_us() - oldest_us) / 1e6 : 0;
    return seconds > 0 ? seconds : 0;
}

static uint64_t lag_bytes(const struct sender_status *sender,
                          const struct runtime_status *runtime) {
    if (!sender->applied_lsn || runtime->seen_lsn <= sender->applied_lsn) return 0;
    return runtime->seen_lsn - sender->applied_lsn;
}

static void read_status(struct connector *connector, struct sender_status *sender,
                        struct runtime_status *runtime) {
    sender_status(connector->sender, sender);
    runtime_status(connector->runtime, runtime);
}

#define READER(name, expression)                                                                   \
    static double name(void *owner) {                                                              \
        struct sender_status sender;                                                               \
        struct runtime_status runtime;                                                             \
        read_status(owner, &sender, &runtime);                                                     \
        return (double)(expression);                                                               \
    }
READER(read_lag_seconds, lag_seconds(&sender, &runtime))
READER(read_lag_bytes, lag_bytes(&sender, &runtime))
READER(read_queue_bytes, sender.queue_bytes)
READER(read_applied_lsn, sender.applied_lsn)
READER(read_retrying, sender.state == SENDER_RETRYING)
READER(read_paused, sender.paused)
READER(read_broken, sender.broken)
READER(read_last_error, (double)sender.last_error_us / 1e6)
#undef READER

static void register_gauges(struct connector *connector) {
    static const struct {
        const char *name;
        const char *help;
        metric_reader *read;
    } gauges[] = {
        {"freshet_connector_lag_seconds",
         "Age of the oldest commit that is not in the sink yet; while a load runs, its duration.",
         read_lag_seconds},
        {"freshet_connector_lag_bytes", "WAL read and not applied to the sink yet.",
         read_lag_bytes},
        {"freshet_connector_queue_bytes", "Memory of the batches that wait or are being applied.",
         read_queue_bytes},
        {"freshet_connector_applied_lsn", "Everything up to this LSN is in the sink.",
         read_applied_lsn},
        {"freshet_connector_retrying", "1 while the sink is away and the connector waits for it.",
         read_retrying},
        {"freshet_connector_paused", "1 while it is paused by an operator.", read_paused},
        {"freshet_connector_breaker_open",
         "1 while the sink is left alone, but for a try now and then, after many failures.",
         read_broken},
        {"freshet_connector_last_error_timestamp_seconds",
         "When the sink last failed (Unix time); 0: never.", read_last_error},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        metrics_gauge_fn(connector->metrics, gauges[i].name, gauges[i].help,
                         connector->figures.labels, gauges[i].read, connector);
}

/* ---- making one ---- */

static struct sink *make_sink(const struct connector *connector,
                              const struct connector_config *config,
                              const struct connector_deps *deps, const _Atomic bool *stop,
                              struct error *err) {
    struct connector_config filled = *config;
    if (!filled.batch_bytes) filled.batch_bytes = DEFAULT_BATCH_BYTES;
    struct sink_deps sink_deps = {.log = deps->log, .stop = stop};
    /* cppcheck-suppress returnDanglingLifetime ; the sink copies what it keeps */
    return connector->type->ops.create(&filled, &sink_deps, err);
}

/* A target that is being made beside another is one sink's. */
static bool create_lanes(struct connector *connector, const struct connector_config *config,
                         const struct connector_deps *deps, struct error *err) {
    if (config->lanes < 2 || config->rebuild) return true;
    struct sink *sinks[LANES_MAX] = {connector->sink};
    for (uint32_t i = 1; i < config->lanes; i++) {
        sinks[i] = make_sink(connector, config, deps, &connector->stop, err);
        if (!sinks[i]) return false;
        connector->lane_sinks[connector->n_lane_sinks++] = sinks[i];
    }
    connector->lanes = lanes_create(&connector->type->ops, config->lanes, sinks, err);
    return connector->lanes != NULL;
}

static bool create_sink(struct connector *connector, const struct connector_config *config,
                        const struct connector_deps *deps, struct error *err) {
    connector->sink = make_sink(connector, config, deps, &connector->stop, err);
    return connector->sink != NULL && create_lanes(connector, config, deps, err);
}

/* What a reader of the sink sees. */
static void tell_position(void *arg, struct verify_position *position) {
    const struct connector *connector = arg;
    struct sender_status status;
    sender_status(connector->sender, &status);
    *position = (struct verify_position){.loaded = status.loaded, .applied_lsn = status.seen_lsn};
}

static bool tell_published(void *self, uint64_t *lsn, struct error *err) {
    return topic_reach_published(self, lsn, err);
}

static bool tell_drained(void *self, bool first, bool *drained, uint64_t *floor,
                         struct error *err) {
    return topic_reach_drained(self, first, drained, floor, err);
}

static struct topic_reach *create_reach(const struct connector_config *config, struct log *log) {
    if (config->from != CONNECTOR_FROM_KAFKA) return NULL;
    return topic_reach_create(&(struct topic_reach_config){
        .database = {.url = config->database_url, .application_name = config->name, .log = log},
        .slot = config->publisher_slot,
        .kafka = config->kafka,
        .topic = config->topic,
        .group = config->group});
}

static bool create_verifier(struct connector *connector, const struct connector_config *config,
                            const struct connector_deps *deps, struct error *err) {
    struct sink *sink = NULL;
    if (connector->type->ops.compare) {
        sink = make_sink(connector, config, deps, &connector->verify_stop, err);
        if (!sink) return false;
    }
    connector->reach = create_reach(config, deps->log);
    connector->verifier = verifier_create(&(struct verify_deps){
        .connector = config->name,
        .ops = &connector->type->ops,
        .sink = sink,
        .stop = &connector->verify_stop,
        .source = connector->source,
        .position = tell_position,
        .arg = connector,
        .feed = {.self = connector->reach, .published = tell_published, .drained = tell_drained},
        .figures = &connector->figures,
        .log = deps->log});
    return true;
}

static bool create_source(struct connector *connector, const struct connector_config *config,
                          const struct connector_deps *deps, struct error *err) {
    char *name = mem_printf("freshet_%s", config->name);
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : (char)tolower((unsigned char)*c);
    bool from_kafka = config->from == CONNECTOR_FROM_KAFKA;
    const char *slot = config->slot && config->slot[0] ? config->slot : name;
    bool named = config->publication && config->publication[0];
    const char *publication = named ? config->publication : slot;
    struct source_database database = {.url = config->database_url,
                                       .application_name = name,
                                       .publication = from_kafka ? NULL : publication,
                                       .shared_publication = strcmp(publication, slot) != 0,
                                       .log = deps->log};
    if (config->n_views) {
        connector->refresh_source = refresh_source_create(&(struct refresh_source_config){
            .database = database, .n_views = config->n_views, .views = config->views});
        connector->source = refresh_source_as_source(connector->refresh_source);
    } else if (config->n_aggregates) {
        connector->aggregate_source = aggregate_source_create(
            &(struct aggregate_source_config){.database = database,
                                              .table = config->table,
                                              .n_aggregates = config->n_aggregates,
                                              .aggregates = config->aggregates},
            err);
        if (connector->aggregate_source)
            connector->source = aggregate_source_as_source(connector->aggregate_source);
    } else if (config->query) {
        connector->query_source = query_source_create(
            &(struct query_source_config){.database = database, .query = config->query}, err);
        if (connector->query_source)
            connector->source = query_source_as_source(connector->query_source);
    } else {
        connector->table_source = table_source_create(
            &(struct table_source_config){
                .database = database, .table = config->table, .parts = table_parts_of(config)},
            err);
        if (connector->table_source)
            connector->source = table_source_as_source(connector->table_source);
    }
    mem_free(name);
    return connector->source.ops != NULL;
}

static bool create_deadletters(struct connector *connector, const struct connector_config *config,
                               const struct connector_deps *deps, struct error *err) {
    connector->deadletters = deadletters_create(connector->letters_path, DEADLETTER_FILE_MAX, err);
    if (!connector->deadletters) return false;
    struct letter_topic *topic = letter_topic_of(config, deps->log, &connector->stop);
    deadletters_to_topic(connector->deadletters, &topic);
    connector->letters_topic =
        config->dead_letter_topic ? mem_strdup(config->dead_letter_topic) : NULL;
    return true;
}

static void create_threads_side(struct connector *connector, const struct connector_config *config,
                                const struct connector_deps *deps) {
    size_t batch_bytes = config->batch_bytes ? config->batch_bytes : DEFAULT_BATCH_BYTES;
    int64_t interval_ms =
        config->batch_interval_ms > 0 ? config->batch_interval_ms : DEFAULT_BATCH_INTERVAL_MS;
    struct source source = connector->source;
    int64_t save_interval_ms =
        connector->type->ops.transactional ? TRANSACTIONAL_SAVE_INTERVAL_MS : SAVE_INTERVAL_MS;
    struct gate_config gate = {.writes_per_second = config->rate_limit,
                               .breaker_failures = config->breaker_failures,
                               .breaker_pause_us = config->breaker_pause_ms * 1000};
    bool from_kafka = config->from == CONNECTOR_FROM_KAFKA;
    char *rebuilt_path = mem_printf("%s/%s.rebuild.position", config->state_dir, config->name);
    connector->sender = sender_create(
        &(struct sender_config){.name = config->name,
                                .table = config->table,
                                .position_path = from_kafka ? NULL : connector->position_path,
                                .rebuilt_path = rebuilt_path,
                                .queue_bytes = QUEUE_BATCHES * batch_bytes,
                                .save_interval_us = save_interval_ms * 1000,
                                .seed = (uint64_t)clock_wall_us() ^ (uint64_t)getpid() << 32,
                                .gate = gate,
                                .paused = access(connector->paused_path, F_OK) == 0},
        &(struct sender_deps){.ops = &connector->type->ops,
                              .sink = connector->sink,
                              .lanes = connector->lanes,
                              .source = source,
                              .deadletters = connector->deadletters,
                              .figures = &connector->figures,
                              .log = deps->log},
        &connector->stop);
    mem_free(rebuilt_path);
    connector->runtime =
        runtime_create(&(struct runtime_config){.name = config->name,
                                                .database_url = config->database_url,
                                                .slot = config->slot,
                                                .batch_bytes = batch_bytes,
                                                .batch_writes = gate_batch_writes(&gate),
                                                .batch_interval_us = interval_ms * 1000},
                       &(struct runtime_deps){.sender = connector->sender,
                                              .source = source,
                                              .figures = &connector->figures,
                                              .log = deps->log});
    if (!from_kafka) return;
    connector->topic_feed =
        topic_feed_create(&(struct topic_feed_config){.name = config->name,
                                                      .kafka = *config->kafka,
                                                      .topic = config->topic,
                                                      .group = config->group,
                                                      .format = config->format},
                          &(struct topic_feed_deps){.runtime = connector->runtime,
                                                    .sender = connector->sender,
                                                    .source = connector->table_source,
                                                    .figures = &connector->figures,
                                                    .log = deps->log});
}

struct connector *connector_create(const struct connector_config *config,
                                   const struct connector_deps *deps, struct error *err) {
    const struct sink_type *type = registry_find(config->type);
    if (!type) {
        error_set(err, ERROR_CONFIG, false, "connector %s: there is no type \"%s\"", config->name,
                  config->type);
        return NULL;
    }
    struct connector *connector = mem_zalloc(sizeof *connector);
    connector->name = mem_strdup(config->name);
    connector->table = mem_strdup(config->table);
    connector->index = mem_strdup(config->index ? config->index : "");
    connector->letters_path =
        mem_printf("%s/%s.deadletters.jsonl", config->state_dir, config->name);
    connector->position_path = mem_printf("%s/%s.position", config->state_dir, config->name);
    connector->paused_path = mem_printf("%s/%s.paused", config->state_dir, config->name);
    connector->max_retained_wal = config->max_retained_wal;
    connector->type = type;
    connector->metrics = deps->metrics;
    if (!check_name(config, err) || !make_directory(config->state_dir, err) ||
        !create_sink(connector, config, deps, err) ||
        !create_source(connector, config, deps, err) ||
        !create_deadletters(connector, config, deps, err) ||
        !create_verifier(connector, config, deps, err)) {
        error_prefix(err, "connector %s", config->name);
        connector_destroy(&connector);
        return NULL;
    }
    figures_init(&connector->figures, deps->metrics, config->name);
    create_threads_side(connector, config, deps);
    register_gauges(connector);
    return connector;
}

bool connector_start(struct connector *connector, struct error *err) {
    return sender_start(connector->sender, err) &&
           (!connector->topic_feed || topic_feed_start(connector->topic_feed, err));
}

void connector_stop(struct connector *connector) {
    if (connector->topic_feed) topic_feed_stop(connector->topic_feed);
    sender_stop(connector->sender);
}

void connector_destroy(struct connector **connector) {
    struct connector *old = *connector;
    *connector = NULL;
    if (!old) return;
    metrics_forget(old->metrics, old);
    verifier_destroy(&old->verifier);
    topic_reach_destroy(&old->reach);
    topic_feed_destroy(&old->topic_feed);
    runtime_destroy(&old->runtime);
    sender_destroy(&old->sender);
    lanes_destroy(&old->lanes);
    for (uint32_t i = 0; i < old->n_lane_sinks; i++)
        old->type->ops.destroy(&old->lane_sinks[i]);
    if (old->sink) old->type->ops.destroy(&old->sink);
    table_source_destroy(&old->table_source);
    query_source_destroy(&old->query_source);
    refresh_source_destroy(&old->refresh_source);
    aggregate_source_destroy(&old->aggregate_source);
    deadletters_destroy(&old->deadletters);
    mem_free(old->name);
    mem_free(old->table);
    mem_free(old->index);
    mem_free(old->letters_path);
    mem_free(old->letters_topic);
    mem_free(old->position_path);
    mem_free(old->paused_path);
    mem_free(old);
}

struct change_sink connector_sink(struct connector *connector) {
    return runtime_sink(connector->runtime);
}

bool connector_pause(struct connector *connector, bool paused, struct error *err) {
    const char *path = connector->paused_path;
    int fd = paused ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    bool noted = paused ? fd >= 0 : unlink(path) == 0 || errno == ENOENT;
    if (!noted)
        return error_set(err, ERROR_SYSTEM, false, "connector %s: %s: %s", connector->name, path,
                         strerror(errno));
    if (fd >= 0) close(fd);
    sender_pause(connector->sender, paused);
    return true;
}

bool connector_verify(struct connector *connector, bool repair, uint32_t rate, uint64_t *id,
                      struct error *err) {
    struct verify_options options = {.repair = repair, .rate = rate ? rate : VERIFY_DEFAULT_RATE};
    return verifier_begin(connector->verifier, &options, id, err);
}

json_t *connector_verification(struct connector *connector, uint64_t id) {
    return verifier_status(connector->verifier, id, true);
}

bool connector_retry(struct connector *connector, uint64_t *run, struct error *err) {
    struct sender_status status;
    sender_status(connector->sender, &status);
    if (status.paused)
        return error_set(err, ERROR_CONFLICT, false, "connector %s is paused: resume it first",
                         connector->name);
    *run = sender_retry(connector->sender);
    return true;
}

void connector_retains(struct connector *connector, uint64_t wal_bytes) {
    if (!connector->max_retained_wal || wal_bytes <= connector->max_retained_wal) return;
    runtime_give_up(connector->runtime, wal_bytes);
}

bool connector_starts_over(const struct connector_config *config) {
    const struct sink_type *type = registry_find(config->type);
    return config->max_retained_wal > 0 || (type && type->ops.load_position);
}

const char *connector_name(const struct connector *connector) { return connector->name; }

void connector_progress(struct connector *connector, struct connector_progress *progress) {
    struct sender_status sender;
    sender_status(connector->sender, &sender);
    const struct metric *written = connector->figures.indexed;
    *progress = (struct connector_progress){
        .opens = sender.opens,
        .loaded = sender.loaded,
        .paused = sender.paused,
        .retrying = sender.state == SENDER_RETRYING,
        .queue_bytes = sender.queue_bytes,
        .applied_lsn = sender.applied_lsn,
        .saved_lsn = sender.saved_lsn,
        .written = (uint64_t)atomic_load_explicit(&written->value, memory_order_relaxed)};
    snprintf(progress->target, sizeof progress->target, "%s", sender.target);
}

bool connector_can_rebuild(struct connector *connector, struct error *err) {
    if (connector->topic_feed)
        return error_set(err, ERROR_CONFIG, false,
                         "connector %s: one that is fed from Kafka is not rebuilt",
                         connector->name);
    if (connector->type->ops.take_over) return true;
    return error_set(err, ERROR_CONFIG, false, "connector %s: a target of type %s is not rebuilt",
                     connector->name, connector->type->name);
}

bool connector_take_over(struct connector *connector, struct error *err) {
    atomic_store(&connector->stop, false); /* the sender's thread has ended by it */
    return connector->type->ops.take_over(connector->sink, err);
}

bool connector_tidy(struct connector *connector, struct error *err) {
    atomic_store(&connector->stop, false);
    return connector->type->ops.tidy(connector->sink, err);
}

bool connector_was_rebuilt(struct connector *connector, const char *target, bool *rebuilt,
                           struct error *err) {
    struct position_record record;
    enum position_state state;
    if (!position_load(connector->position_path, &record, &state, err)) return false;
    *rebuilt = state == POSITION_LOADED && record.position.snapshot_done &&
               strcmp(record.target, target) == 0;
    return true;
}

static const char *phase(const struct sender_status *sender, const struct runtime_status *runtime) {
    if (sender->paused) return "paused";
    if (sender->state == SENDER_RETRYING) return "retrying";
    if (runtime->loading || (!sender->loaded && sender->state == SENDER_SENDING)) return "loading";
    return sender->loaded ? "streaming" : "waiting";
}

/* A server's message may be cut within a character, or be in another encoding. */
static json_t *printable(const char *text) {
    json_t *json = json_string(text);
    if (json) return json;
    char *ascii = mem_strdup(text);
    for (char *c = ascii; *c; c++) {
        if ((unsigned char)*c >= 0x80) *c = '?';
    }
    json = json_string(ascii);
    mem_free(ascii);
    return json;
}

static json_t *counted(const struct metric *metric) {
    return json_integer(atomic_load_explicit(&metric->value, memory_order_relaxed));
}

static json_t *retried_json(const struct sender_status *status) {
    const struct retry_counts *counts = &status->retried;
    return json_pack("{s:I, s:I, s:I, s:I}", "runs", (json_int_t)status->retry_runs, "letters",
                     (json_int_t)counts->letters, "refused", (json_int_t)counts->refused,
                     "unreadable", (json_int_t)counts->unreadable);
}

json_t *connector_status(struct connector *connector) {
    struct sender_status sender;
    struct runtime_status runtime;
    read_status(connector, &sender, &runtime);
    const struct figures *figures = &connector->figures;
    char lsn[32];
    snprintf(lsn, sizeof lsn, LSN_FMT, LSN_ARG(sender.applied_lsn));
    const struct {
        const char *name;
        json_t *value;
    } fields[] = {
        {"name", json_string(connector->name)},
        {"type", json_string(connector->type->name)},
        {"table", json_string(connector->table)},
        {"index", json_string(connector->index)},
        {"state", json_string(phase(&sender, &runtime))},
        {"sender", json_string(sender_state_name(sender.state))},
        {"loaded", json_boolean(sender.loaded)},
        {"paused", json_boolean(sender.paused)},
        {"breaker", json_string(sender.broken ? "open" : "closed")},
        {"applied_lsn", json_string(lsn)},
        {"lag_seconds", json_real(lag_seconds(&sender, &runtime))},
        {"lag_bytes", json_integer((json_int_t)lag_bytes(&sender, &runtime))},
        {"walked_keys", json_integer((json_int_t)sender.walked)},
        {"queue_bytes", json_integer((json_int_t)sender.queue_bytes)},
        {"indexed", counted(figures->indexed)},
        {"deleted", counted(figures->deleted)},
        {"batches", counted(figures->batches)},
        {"retries", counted(figures->retries)},
        {"dead_letters", counted(figures->dead_letters)},
        {"retried", retried_json(&sender)},
        {"dead_letter_file", json_string(connector->letters_path)},
        {"last_error", printable(sender.last_error)},
        {"last_error_time", json_real((double)sender.last_error_us / 1e6)},
    };
    json_t *status = json_object();
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        json_object_set_new(status, fields[i].name, fields[i].value);
    if (connector->topic_feed)
        json_object_set_new(status, "group", topic_feed_status(connector->topic_feed));
    if (connector->letters_topic)
        json_object_set_new(status, "dead_letter_topic", json_string(connector->letters_topic));
    json_t *verification = verifier_status(connector->verifier, 0, false);
    if (verification) json_object_set_new(status, "verification", verification);
    return status;
}
