#include "cdc/feed/feed.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cdc/feed/board.h"
#include "cdc/feed/delivery.h"
#include "cdc/feed/session.h"
#include "cdc/feed/topic_session.h"
#include "cdc/snapshot/increment.h"

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 10000,
    REFUSED_PAUSE_MS = 2000,
    REFUSED_TELL_US = 60000000, /* and it is logged again */
    WELL_US = 10000000, /* a session that streamed so long makes the next failure a first one */
};

struct feed {
    struct feed_config config; /* its texts are copies */
    struct change_sink sink;
    struct log *log;
    struct board *board;
    struct delivery delivery;    /* of the thread, while it runs; of a slot */
    struct increment *increment; /* NULL: the sink keeps no notes */
    struct spool *spool;         /* NULL: none; of the thread, but for figures */
    struct feed_topic topic;     /* copies, as config's */
    struct follower follower;    /* of the thread; of a topic */
    int stop_fd;
    pthread_t thread;
    bool done; /* of the thread: nothing more is wanted */
    bool running;
};

/* ---- configuration ---- */

static char *copy(const char *text) { return text ? mem_strdup(text) : NULL; }

static const char *const *copy_patterns(uint32_t n, const char *const *patterns) {
    char **copies = mem_calloc((size_t)n + 1, sizeof *copies);
    for (uint32_t i = 0; i < n; i++)
        copies[i] = mem_strdup(patterns[i]);
    return (const char *const *)copies;
}

static void copy_config(struct feed_config *to, const struct feed_config *from) {
    *to = *from;
    to->database_url = copy(from->database_url);
    to->application_name = copy(from->application_name);
    to->slot = copy(from->slot);
    to->publication = copy(from->publication);
    to->server_options = copy(from->server_options);
    to->way_on = copy(from->way_on);
    to->patterns = copy_patterns(from->n_patterns, from->patterns);
}

static void copy_topic(struct feed *feed, const struct feed_topic *from) {
    if (!from) return;
    feed->topic = (struct feed_topic){
        .kafka = from->kafka, .name = copy(from->name), .database = copy(from->database)};
    feed->config.topic = &feed->topic;
}

/* The const is the readers'; the memory was ours all along. */
static void free_text(const char *text) { mem_free((void *)(uintptr_t)text); }

static void free_config(struct feed_config *config) {
    free_text(config->database_url);
    free_text(config->application_name);
    free_text(config->slot);
    free_text(config->publication);
    free_text(config->server_options);
    free_text(config->way_on);
    for (uint32_t i = 0; i < config->n_patterns; i++)
        free_text(config->patterns[i]);
    mem_free((void *)(uintptr_t)config->patterns);
}

static void use_spool(struct feed *feed, const struct feed_spool *from, struct metrics *metrics) {
    feed->config.spool = NULL; /* the caller's */
    if (!from || feed->sink.ops->open_change) return;
    struct spool_config config = {.directory = from->directory,
                                  .name = feed->config.slot,
                                  .feed = feed->sink.name,
                                  .memory_bytes = from->memory_bytes,
                                  .limit_bytes = from->limit_bytes};
    feed->spool = spool_create(&config, metrics);
    delivery_use_spool(&feed->delivery, feed->spool);
}

struct feed *feed_create(const struct feed_config *config, struct change_sink sink,
                         const struct feed_deps *deps) {
    ASSERT(config->topic || (config->database_url && config->slot));
    ASSERT(config->publication);
    struct feed *feed = mem_zalloc(sizeof *feed);
    copy_config(&feed->config, config);
    feed->sink = sink;
    feed->log = deps->log;
    feed->board = board_create(sink.name, deps->metrics);
    delivery_init(&feed->delivery, sink);
    use_spool(feed, config->spool, deps->metrics);
    if (sink.ops->note && config->messages && !config->topic)
        feed->increment = increment_create(sink, deps->log, deps->metrics);
    feed->delivery.increment = feed->increment;
    copy_topic(feed, config->topic);
    follower_init(&feed->follower, sink);
    feed->follower.topic = feed->topic.name;
    feed->follower.database = feed->topic.database;
    feed->follower.publication = feed->config.publication;
    feed->stop_fd = -1;
    return feed;
}

void feed_destroy(struct feed **feed) {
    struct feed *self = *feed;
    if (!self) return;
    feed_stop(self);
    delivery_deinit(&self->delivery);
    increment_destroy(&self->increment);
    spool_destroy(&self->spool);
    follower_deinit(&self->follower);
    free_text(self->topic.name);
    free_text(self->topic.database);
    board_destroy(&self->board);
    free_config(&self->config);
    mem_free(self);
    *feed = NULL;
}

/* ---- the thread ---- */

static uint64_t random_u64(void) {
    uint64_t value = (uint64_t)clock_mono_us();
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) < 0) value ^= (uint64_t)getpid() << 32;
    return value;
}

/* A feed that streamed once, or stood by, does not give up over what an operator may be mending right now (rights, limits,
 * a missing publication). */
static bool may_retry(const struct error *err, bool worked) {
    if (err->retriable) return true;
    return worked &&
           (err->code == ERROR_REFUSED || err->code == ERROR_LIMIT || err->code == ERROR_NOT_FOUND);
}

/* False: stopped meanwhile. */
static bool pause_for(struct feed *feed, int64_t delay_ms) {
    struct pollfd fd = {.fd = feed->stop_fd, .events = POLLIN};
    int64_t deadline_us = clock_mono_us() + delay_ms * 1000;
    int64_t left_us;
    while ((left_us = deadline_us - clock_mono_us()) > 0) {
        if (poll(&fd, 1, (int)(left_us / 1000) + 1) > 0) return false;
    }
    return true;
}

/* False: stopped meanwhile. The delay doubles; half of it is drawn by lot. */
static bool back_off(struct feed *feed, unsigned attempt) {
    int64_t delay_ms = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < attempt && delay_ms < BACKOFF_MAX_MS; i++)
        delay_ms *= 2;
    if (delay_ms > BACKOFF_MAX_MS) delay_ms = BACKOFF_MAX_MS;
    return pause_for(feed, delay_ms / 2 + (int64_t)(random_u64() % (uint64_t)(delay_ms / 2 + 1)));
}

static void follow_topic(struct feed *feed, bool *streamed, struct error *err) {
    struct topic_session session = {.config = &feed->config,
                                    .sink = feed->sink,
                                    .follower = &feed->follower,
                                    .board = feed->board,
                                    .log = feed->log,
                                    .stop_fd = feed->stop_fd};
    topic_session_run(&session, err);
    *streamed = session.streamed;
}

/* What the last sessions came to. */
struct course {
    bool worked_once; /* streamed, or stood by */
    bool refused;     /* the last one contradicted the sink's position: an operator has to choose */
    int64_t told_us;
    char told[sizeof((struct error){0}.message)];
    unsigned attempt;      /* sessions since one streamed for a while: how long to wait */
    unsigned told_attempt; /* sessions since one streamed */
};

/* One session. *streamed: it got as far as the stream. */
static void run_session(struct feed *feed, struct course *course, bool *streamed,
                        struct error *err) {
    if (!course->refused) board_state(feed->board, FEED_CONNECTING, "");
    if (feed->config.topic) {
        follow_topic(feed, streamed, err);
        return;
    }
    struct session session = {.config = &feed->config,
                              .sink = feed->sink,
                              .delivery = &feed->delivery,
                              .increment = feed->increment,
                              .board = feed->board,
                              .log = feed->log,
                              .stop_fd = feed->stop_fd,
                              .random = random_u64(),
                              .refused = course->refused};
    session_run(&session, err);
    *streamed = session.streamed;
    course->worked_once |= session.stood_by;
    feed->done = session.done;
}

/* Until somebody has mended it, the state stays what it is. */
static void tell_refusal(struct feed *feed, struct course *course, const struct error *err) {
    int64_t now_us = clock_mono_us();
    board_refused(feed->board, err->message);
    bool told = strcmp(course->told, err->message) == 0;
    if (told && now_us - course->told_us < REFUSED_TELL_US) return;
    course->told_us = now_us;
    memcpy(course->told, err->message, sizeof course->told);
    log_error(feed->log, "feed_failed", "feed=%s code=%s cause=\"%s\"", feed->sink.name,
              error_code_name(err->code), err->message);
}

/* False: there will be no other session. */
static bool wait_for_next(struct feed *feed, struct course *course, const struct error *err) {
    if (err->code == ERROR_CONFLICT && !err->retriable) {
        tell_refusal(feed, course, err);
        course->refused = true;
        return pause_for(feed, REFUSED_PAUSE_MS);
    }
    /* The server away, or the broker: what was refused is still. */
    if (course->refused && err->retriable) return pause_for(feed, REFUSED_PAUSE_MS);
    course->refused = false;
    if (!may_retry(err, course->worked_once)) {
        board_state(feed->board, FEED_FAILED, err->message);
        log_error(feed->log, "feed_failed", "feed=%s code=%s cause=\"%s\"", feed->sink.name,
                  error_code_name(err->code), err->message);
        return false;
    }
    board_reconnect(feed->board);
    board_state(feed->board, FEED_WAITING, err->message);
    log_warn(feed->log, "feed_waiting", "feed=%s attempt=%u code=%s cause=\"%s\"", feed->sink.name,
             course->told_attempt, error_code_name(err->code), err->message);
    return back_off(feed, course->attempt);
}

static void *feed_main(void *arg) {
    struct feed *feed = arg;
    struct course course = {0};
    struct error err;
    do {
        bool streamed = false;
        err = (struct error){0};
        int64_t began_us = clock_mono_us();
        run_session(feed, &course, &streamed, &err);
        course.worked_once |= streamed;
        course.refused &= !streamed;
        bool was_well = streamed && clock_mono_us() - began_us > WELL_US;
        course.attempt = was_well ? 1 : course.attempt + 1;
        course.told_attempt = streamed ? 1 : course.told_attempt + 1;
    } while (err.code != ERROR_STOPPED && wait_for_next(feed, &course, &err));
    struct feed_status status;
    board_read(feed->board, &status);
    if (status.state == FEED_FAILED) return NULL;
    board_state(feed->board, feed->done ? FEED_DONE : FEED_STOPPED, "");
    log_info(feed->log, "feed_stopped", "feed=%s", feed->sink.name);
    return NULL;
}

/* ---- start and stop ---- */

bool feed_start(struct feed *feed, struct error *err) {
    ASSERT(!feed->running);
    feed->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (feed->stop_fd < 0)
        return error_set(err, ERROR_SYSTEM, false, "feed %s: eventfd: %s", feed->sink.name,
                         strerror(errno));
    int failed = thread_start(&feed->thread, "feed", feed_main, feed);
    if (failed) {
        close(feed->stop_fd);
        feed->stop_fd = -1;
        return error_set(err, ERROR_SYSTEM, false, "feed %s: no thread: %s", feed->sink.name,
                         strerror(failed));
    }
    feed->running = true;
    return true;
}

void feed_stop(struct feed *feed) {
    if (!feed->running) return;
    uint64_t one = 1;
    ssize_t written = write(feed->stop_fd, &one, sizeof one);
    ASSERT(written == sizeof one);
    pthread_join(feed->thread, NULL);
    close(feed->stop_fd);
    feed->stop_fd = -1;
    feed->running = false;
}

bool feed_reset(const struct feed_config *config, struct change_sink sink, enum feed_reset from,
                const struct feed_deps *deps, struct error *err) {
    struct board *board = board_create(sink.name, deps->metrics);
    struct session session = {.config = config,
                              .sink = sink,
                              .board = board,
                              .log = deps->log,
                              .stop_fd = -1,
                              .random = random_u64()};
    bool ok = session_reset(&session, from == FEED_RESET_NOW, err);
    board_destroy(&board);
    return ok;
}

bool feed_snapshot_table(struct feed *feed, const char *schema, const char *name, const char *where,
                         uint64_t *id, struct error *err) {
    if (!feed->increment)
        return error_set(err, ERROR_CONFIG, false,
                         "tables can be read beside a stream into Kafka alone");
    return increment_request(feed->increment, schema, name, where, id, err);
}

json_t *feed_increment(struct feed *feed) {
    return feed->increment ? increment_status(feed->increment) : NULL;
}

void feed_status(struct feed *feed, struct feed_status *status) {
    board_read(feed->board, status);
    struct spool_figures figures = {0};
    if (feed->spool) spool_read_figures(feed->spool, &figures);
    status->open_transactions = figures.transactions;
    status->spool_memory_bytes = figures.memory_bytes;
    status->spool_disk_bytes = figures.disk_bytes;
}
