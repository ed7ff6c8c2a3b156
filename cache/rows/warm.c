#include "cache/rows/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cache/rows/fetch.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/warden.h"
#include "cache/rows/warmfile.h"

enum {
    SCAN_ENTRIES = 256, /* under one shard's lock */
    MAX_A_TICK = 2000,  /* reads of one worker */
    BURST_US = 200 * 1000,
    USES = 16,
};

struct warm {
    struct core *core;
    const char *path;
    pthread_t thread;
    bool running;
    _Atomic bool reading; /* there are names left: looked at by each worker's tick */
    struct metric *read, *passed, *saves, *failures, *saved_keys, *pending;
    /* Under the mutex: */
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    bool stopping;
    struct buf bytes; /* of the file; `file` points into it */
    struct warmfile file;
    uint64_t n_left;
    int64_t began_us; /* 0: not yet */
    int64_t paid_us;  /* up to this time the rate is used up */
};

/* ---- saving ---- */

/* Lines of the file, by how much the rows were used. */
struct harvest {
    struct core *core;
    int64_t now_ms;
    uint32_t at_least;
    uint64_t counts[USES];
    uint64_t left; /* of those that are used exactly so much */
    struct buf lines[USES];
};

/* Rows that are there: that one is not was cheap to find out. */
static bool is_worth(const struct harvest *harvest, const struct entry *entry) {
    if (entry->kind != ENTRY_ROW || entry_is_absent(entry)) return false;
    const struct row_stamp *stamp = entry_row_stamp(entry);
    return stamp->generation ==
           tablestate_generation(tablestates_at(harvest->core->states, stamp->table));
}

static void count(const struct entry *entry, void *arg) {
    struct harvest *harvest = arg;
    if (is_worth(harvest, entry)) harvest->counts[store_uses(harvest->core->store, entry)]++;
}

static void add_entry(struct buf *lines, const struct entry *entry) {
    static const char letters[] = {
        [ENTRY_STRING] = 's', [ENTRY_HASH] = 'h', [ENTRY_LIST] = 'l', [ENTRY_ZSET] = 'z'};
    struct slice bytes;
    uint8_t kind = entry_row_stamp(entry)->kind;
    if (kind != ENTRY_STRING) {
        warmfile_add(lines, kind < sizeof letters && letters[kind] ? letters[kind] : 's',
                     entry_key(entry));
        return;
    }
    if (entry_row_json(entry, &bytes)) warmfile_add(lines, 's', entry_key(entry));
    if (entry_row_fields(entry, &bytes)) warmfile_add(lines, 'h', entry_key(entry));
}

static void collect(const struct entry *entry, void *arg) {
    struct harvest *harvest = arg;
    uint32_t uses = store_uses(harvest->core->store, entry);
    if (uses < harvest->at_least || !is_worth(harvest, entry)) return;
    if (uses == harvest->at_least) {
        if (harvest->left == 0) return;
        harvest->left--;
    }
    if (harvest->lines[uses].len < WARMFILE_MAX_BYTES / USES)
        add_entry(&harvest->lines[uses], entry);
}

static void walk(struct harvest *harvest, store_visit *visit) {
    uint64_t cursor = 0;
    do {
        cursor = store_scan(harvest->core->store, NULL, cursor, SCAN_ENTRIES, harvest->now_ms,
                            visit, harvest);
    } while (cursor != 0);
}

/* The hottest ones' lines, at most warm_keys rows; how many of them there are. */
static uint64_t harvest_keys(struct core *core, struct buf *text) {
    struct harvest harvest = {.core = core, .now_ms = clock_wall_us() / 1000};
    uint64_t room = (uint64_t)core->config->warm_keys;
    uint64_t n = 0;
    walk(&harvest, count);
    harvest.at_least = USES - 1;
    while (harvest.at_least > 0 && harvest.counts[harvest.at_least] < room - n)
        n += harvest.counts[harvest.at_least--];
    harvest.left = room - n;
    n += harvest.counts[harvest.at_least] < room - n ? harvest.counts[harvest.at_least] : room - n;
    walk(&harvest, collect);
    warmfile_begin(text);
    for (int uses = USES - 1; uses >= 0; uses--) {
        buf_append_slice(text, buf_slice(&harvest.lines[uses]));
        buf_deinit(&harvest.lines[uses]);
    }
    warmfile_end(text);
    return n;
}

static bool write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool sync_folder(const char *path) {
    char *copy = mem_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(copy);
    if (fd < 0) return false;
    bool synced = fsync(fd) == 0;
    close(fd);
    return synced;
}

/* Beside it first, so that who reads it, or a crash, finds the old file or the new one whole. */
static bool write_file(const char *path, struct slice bytes) {
    char *draft = mem_printf("%s.new", path);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write_all(fd, bytes.data, bytes.len) && fsync(fd) == 0;
    int cause = errno;
    if (fd >= 0) close(fd);
    if (written) {
        written = rename(draft, path) == 0 && sync_folder(path);
        cause = errno;
    } else if (fd >= 0) {
        unlink(draft);
    }
    mem_free(draft);
    errno = cause;
    return written;
}

/* Not while names of the last run wait still, and not of an empty memory: the file that is there is better. */
static void save(struct warm *warm) {
    struct core *core = warm->core;
    if (atomic_load(&warm->reading)) return;
    struct buf text = {0};
    uint64_t n = harvest_keys(core, &text);
    if (n > 0 && write_file(warm->path, buf_slice(&text))) {
        metric_add(warm->saves, 1);
        metric_set(warm->saved_keys, (int64_t)n);
        log_debug(core->log, "cache_warm_saved", "path=%s keys=%llu", warm->path,
                  (unsigned long long)n);
    } else if (n > 0) {
        metric_add(warm->failures, 1);
        log_warn(core->log, "cache_warm_trouble", "path=%s cause=\"cannot be written: %s\"",
                 warm->path, strerror(errno));
    }
    buf_deinit(&text);
}

/* ---- reading ---- */

static bool read_file(const char *path, struct buf *bytes, const char **why) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    *why = NULL;
    if (fd < 0) {
        *why = strerror(errno);
        return false;
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) *why = "it is no regular file";
    if (!*why && info.st_size > WARMFILE_MAX_BYTES) *why = "it is too long";
    while (!*why) {
        enum { SOME = 1 << 16 };
        buf_grow(bytes, SOME);
        ssize_t n = read(fd, bytes->data + bytes->len, SOME);
        if (n < 0 && errno != EINTR) *why = strerror(errno);
        if (n == 0 || bytes->len > WARMFILE_MAX_BYTES) break;
        if (n > 0) bytes->len += (size_t)n;
    }
    close(fd);
    return !*why;
}

/* On the thread. A first start has no file: that is no trouble. */
static void load(struct warm *warm) {
    struct core *core = warm->core;
    const char *why;
    if (access(warm->path, F_OK) != 0 && errno == ENOENT) return;
    pthread_mutex_lock(&warm->mutex);
    bool good = read_file(warm->path, &warm->bytes, &why) &&
                warmfile_open(buf_slice(&warm->bytes), &warm->file, &why);
    if (good) {
        warm->n_left = warm->file.n_keys;
        metric_set(warm->pending, (int64_t)warm->n_left);
        atomic_store(&warm->reading, warm->n_left > 0);
    } else {
        buf_deinit(&warm->bytes);
    }
    pthread_mutex_unlock(&warm->mutex);
    if (good) {
        log_info(core->log, "cache_warming", "path=%s keys=%llu", warm->path,
                 (unsigned long long)warm->file.n_keys);
        return;
    }
    metric_add(warm->failures, 1);
    log_warn(core->log, "cache_warm_trouble", "path=%s cause=\"%s\" effect=\"a cold start\"",
             warm->path, why);
}

/* Memory that is nearly full has rows that somebody asked for since. */
static bool has_room(struct core *core) {
    struct store_stats stats;
    store_stats(core->store, &stats);
    return stats.bytes < stats.max_bytes - stats.max_bytes / 10;
}

static void finish(struct warm *warm, const char *how) {
    atomic_store(&warm->reading, false);
    buf_deinit(&warm->bytes);
    metric_set(warm->pending, 0);
    log_info(warm->core->log, "cache_warmed", "path=%s how=\"%s\" seconds=%.1f", warm->path, how,
             (double)(clock_mono_us() - warm->began_us) / 1e6);
}

/* How many may be asked for now; so many are paid for. */
static uint32_t draw(struct warm *warm, int64_t now_us) {
    if (warm->began_us == 0) warm->began_us = warm->paid_us = now_us;
    if (now_us - warm->paid_us > BURST_US) warm->paid_us = now_us - BURST_US;
    int64_t n = (now_us - warm->paid_us) * warm->core->config->warm_rate / 1000000;
    if (n > MAX_A_TICK) n = MAX_A_TICK;
    if (n > 0) warm->paid_us += n * 1000000 / warm->core->config->warm_rate;
    return n > 0 ? (uint32_t)n : 0;
}

static void ask(struct warm *warm, struct keyspace *keyspace, uint32_t n, int64_t now_us) {
    static const struct {
        char letter;
        enum key_form form;
    } forms[] = {{'s', FORM_STRING}, {'h', FORM_HASH}, {'l', FORM_LIST}, {'z', FORM_ZSET}};
    struct buf scratch = {0};
    struct slice key;
    char letter;
    int64_t now_ms = clock_wall_us() / 1000;
    while (n-- > 0 && warmfile_next(&warm->file, &key, &letter, &scratch)) {
        enum key_form form = FORM_STRING;
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            if (forms[i].letter == letter) form = forms[i].form;
        }
        bool asked = keyspace_read_ahead(keyspace, key, form, now_ms, now_us);
        metric_add(asked ? warm->read : warm->passed, 1);
        warm->n_left--;
    }
    metric_set(warm->pending, (int64_t)warm->n_left);
    buf_deinit(&scratch);
}

/* Before a row can be kept it would be read in vain. */
void warm_tick(struct warm *warm, struct keyspace *keyspace, int64_t now_us) {
    const char *why;
    if (!warm || !atomic_load_explicit(&warm->reading, memory_order_relaxed)) return;
    if (keyspace->n_soon > FETCH_MAX_SOON / 2 || !keyspace->map) return;
    if (!warden_ready(warm->core->warden, &why) || !core_lease_holds(warm->core, now_us)) return;
    if (pthread_mutex_trylock(&warm->mutex) != 0) return;
    if (atomic_load(&warm->reading)) {
        uint32_t n = draw(warm, now_us);
        if (n > 0 && !has_room(warm->core))
            finish(warm, "memory is nearly full");
        else if (n > 0)
            ask(warm, keyspace, n, now_us);
        if (atomic_load(&warm->reading) && warm->n_left == 0) finish(warm, "all of it");
    }
    pthread_mutex_unlock(&warm->mutex);
}

/* ---- the thread ---- */

static void *run(void *arg) {
    struct warm *warm = arg;
    int64_t interval_ms = warm->core->config->warm_interval_ms;
    load(warm);
    pthread_mutex_lock(&warm->mutex);
    while (!warm->stopping) {
        int64_t until_us = clock_mono_us() + interval_ms * 1000;
        struct timespec until = {.tv_sec = until_us / 1000000,
                                 .tv_nsec = until_us % 1000000 * 1000};
        int outcome = 0;
        while (!warm->stopping && outcome == 0)
            outcome = pthread_cond_timedwait(&warm->woken, &warm->mutex, &until);
        pthread_mutex_unlock(&warm->mutex);
        save(warm);
        pthread_mutex_lock(&warm->mutex);
    }
    pthread_mutex_unlock(&warm->mutex);
    return NULL;
}

static void register_metrics(struct warm *warm) {
    struct metrics *metrics = warm->core->metrics;
    static const char keys[] = "Names from the file of a warm start, by what became of them.";
    warm->read =
        metrics_counter(metrics, "freshet_cache_warm_keys_total", keys, "outcome=\"read\"");
    warm->passed =
        metrics_counter(metrics, "freshet_cache_warm_keys_total", keys, "outcome=\"passed\"");
    warm->pending = metrics_gauge(metrics, "freshet_cache_warm_pending_keys",
                                  "Names from the file of a warm start still to be read.", NULL);
    warm->saves = metrics_counter(metrics, "freshet_cache_warm_saves_total",
                                  "Times that the file of a warm start was written.", NULL);
    warm->saved_keys = metrics_gauge(metrics, "freshet_cache_warm_saved_keys",
                                     "Rows whose names were written last.", NULL);
    warm->failures = metrics_counter(metrics, "freshet_cache_warm_failures_total",
                                     "Times that the file of a warm start could not be read or "
                                     "written.",
                                     NULL);
}

struct warm *warm_create(struct core *core) {
    if (!core->config->warm_path || !core->config->warm_path[0]) return NULL;
    struct warm *warm = mem_zalloc(sizeof *warm);
    warm->core = core;
    warm->path = core->config->warm_path;
    pthread_mutex_init(&warm->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&warm->woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    register_metrics(warm);
    return warm;
}

void warm_destroy(struct warm **warm) {
    struct warm *old = *warm;
    *warm = NULL;
    if (!old) return;
    ASSERT(!old->running);
    buf_deinit(&old->bytes);
    pthread_cond_destroy(&old->woken);
    pthread_mutex_destroy(&old->mutex);
    mem_free(old);
}

bool warm_start(struct warm *warm, struct error *err) {
    if (!warm) return true;
    int failed = thread_start(&warm->thread, "freshet-warm", run, warm);
    if (failed)
        return error_set(err, ERROR_SYSTEM, false, "warm start: no thread: %s", strerror(failed));
    warm->running = true;
    return true;
}

void warm_stop(struct warm *warm) {
    if (!warm || !warm->running) return;
    pthread_mutex_lock(&warm->mutex);
    warm->stopping = true;
    pthread_cond_signal(&warm->woken);
    pthread_mutex_unlock(&warm->mutex);
    pthread_join(warm->thread, NULL);
    warm->running = false;
}
