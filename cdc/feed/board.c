#include "cdc/feed/board.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { N_STATES = FEED_FAILED + 1, N_SAMPLES = 64, SAMPLE_EVERY_US = 100000 };

/* Commits on their way through the sink, at most one each SAMPLE_EVERY_US: the oldest one that is not confirmed
 * tells how many seconds the sink is behind. When the ring is full no more come in until some are confirmed. */
struct lag_sample {
    uint64_t end_lsn;
    int64_t commit_time_us;
};

struct board {
    struct metrics *metrics;
    pthread_mutex_t lock; /* of status */
    struct feed_status status;

    /* The feed's thread alone. */
    struct board_figures last;
    struct lag_sample samples[N_SAMPLES];
    uint32_t first_sample;
    uint32_t n_samples;
    int64_t last_sample_us;
    struct metric *states[N_STATES];
    struct metric *received;
    struct metric *confirmed;
    struct metric *lag_bytes;
    _Atomic int64_t lag_us; /* any thread reads it */
    struct metric *reconnects;
    struct metric *transactions;
    struct metric *changes;
    struct metric *bytes;
    struct metric *invalid;
};

const char *feed_state_name(enum feed_state state) {
    static const char *const names[] = {
        [FEED_DONE] = "done",
        [FEED_STOPPED] = "stopped",
        [FEED_CONNECTING] = "connecting",
        [FEED_SNAPSHOTTING] = "snapshotting",
        [FEED_STREAMING] = "streaming",
        [FEED_WAITING] = "waiting",
        [FEED_STANDBY] = "standby",
        [FEED_FAILED] = "failed",
    };
    return names[state];
}

static double read_lag_seconds(void *owner) {
    const struct board *board = owner;
    return (double)atomic_load_explicit(&board->lag_us, memory_order_relaxed) / 1e6;
}

static void create_state_metrics(struct board *board, const char *name) {
    for (int state = 0; state < N_STATES; state++) {
        char *labels = mem_printf("feed=\"%s\",state=\"%s\"", name, feed_state_name(state));
        board->states[state] = metrics_gauge(board->metrics, "freshet_feed_state",
                                             "1 for the state that the feed is in.", labels);
        mem_free(labels);
    }
}

struct board *board_create(const char *feed_name, struct metrics *metrics) {
    struct board *board = mem_zalloc(sizeof *board);
    board->metrics = metrics;
    pthread_mutex_init(&board->lock, NULL);
    create_state_metrics(board, feed_name);
    char *labels = mem_printf("feed=\"%s\"", feed_name);
    const struct {
        struct metric **cell;
        bool gauge;
        const char *name;
        const char *help;
    } table[] = {
        {&board->received, true, "freshet_feed_received_lsn_bytes",
         "WAL position up to which the server has sent everything."},
        {&board->confirmed, true, "freshet_feed_confirmed_lsn_bytes",
         "WAL position confirmed to the server."},
        {&board->lag_bytes, true, "freshet_feed_lag_bytes",
         "Bytes of WAL received and not yet confirmed."},
        {&board->reconnects, false, "freshet_feed_reconnects_total",
         "Sessions that ended by an error and were tried again."},
        {&board->transactions, false, "freshet_feed_transactions_total", "Transactions delivered."},
        {&board->changes, false, "freshet_feed_changes_total",
         "Row changes, truncates, messages and snapshot rows delivered."},
        {&board->bytes, false, "freshet_feed_received_bytes_total",
         "Bytes of logical replication messages and snapshot rows received."},
        {&board->invalid, false, "freshet_feed_invalid_messages_total",
         "Replication messages that could not be decoded."},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        *table[i].cell = (table[i].gauge ? metrics_gauge : metrics_counter)(metrics, table[i].name,
                                                                            table[i].help, labels);
    metrics_gauge_fn(metrics, "freshet_feed_lag_seconds",
                     "Age of the oldest commit that the sink has not confirmed.", labels,
                     read_lag_seconds, board);
    mem_free(labels);
    metric_set(board->states[FEED_STOPPED], 1);
    return board;
}

void board_destroy(struct board **board) {
    if (!*board) return;
    metrics_forget((*board)->metrics, *board);
    pthread_mutex_destroy(&(*board)->lock);
    mem_free(*board);
    *board = NULL;
}

void board_slot(struct board *board, const char *slot) {
    pthread_mutex_lock(&board->lock);
    snprintf(board->status.slot, sizeof board->status.slot, "%s", slot);
    pthread_mutex_unlock(&board->lock);
}

void board_state(struct board *board, enum feed_state state, const char *cause) {
    pthread_mutex_lock(&board->lock);
    enum feed_state before = board->status.state;
    board->status.state = state;
    board->status.looks_again = false;
    snprintf(board->status.cause, sizeof board->status.cause, "%s", cause);
    pthread_mutex_unlock(&board->lock);
    metric_set(board->states[before], 0);
    metric_set(board->states[state], 1);
}

void board_refused(struct board *board, const char *cause) {
    board_state(board, FEED_FAILED, cause);
    pthread_mutex_lock(&board->lock);
    board->status.looks_again = true;
    pthread_mutex_unlock(&board->lock);
}

void board_snapshot(struct board *board, const struct feed_snapshot_status *snapshot) {
    pthread_mutex_lock(&board->lock);
    board->status.snapshot = *snapshot;
    pthread_mutex_unlock(&board->lock);
}

void board_reconnect(struct board *board) { metric_bump(board->reconnects, 1); }

static void confirm_samples(struct board *board, uint64_t confirmed_lsn) {
    while (board->n_samples && board->samples[board->first_sample].end_lsn <= confirmed_lsn) {
        board->first_sample = (board->first_sample + 1) % N_SAMPLES;
        board->n_samples--;
    }
}

static int64_t update_lag(struct board *board, const struct board_figures *figures,
                          int64_t wall_us) {
    confirm_samples(board, figures->confirmed_lsn);
    bool pending = figures->last_end_lsn > figures->confirmed_lsn;
    bool due = board->n_samples == 0 || wall_us - board->last_sample_us >= SAMPLE_EVERY_US;
    if (pending && due && board->n_samples < N_SAMPLES) {
        uint32_t i = (board->first_sample + board->n_samples++) % N_SAMPLES;
        board->samples[i] =
            (struct lag_sample){figures->last_end_lsn, figures->last_commit_time_us};
        board->last_sample_us = wall_us;
    }
    if (!pending || board->n_samples == 0) return 0;
    int64_t lag_us = wall_us - board->samples[board->first_sample].commit_time_us;
    return lag_us > 0 ? lag_us : 0;
}

static void update_metrics(struct board *board, const struct board_figures *figures,
                           int64_t lag_us) {
    const struct board_figures *last = &board->last;
    uint64_t lag_bytes = figures->received_lsn > figures->confirmed_lsn
                             ? figures->received_lsn - figures->confirmed_lsn
                             : 0;
    metric_set(board->received, (int64_t)figures->received_lsn);
    metric_set(board->confirmed, (int64_t)figures->confirmed_lsn);
    metric_set(board->lag_bytes, (int64_t)lag_bytes);
    atomic_store_explicit(&board->lag_us, lag_us, memory_order_relaxed);
    metric_bump(board->transactions, (int64_t)(figures->transactions - last->transactions));
    metric_bump(board->changes, (int64_t)(figures->changes - last->changes));
    metric_bump(board->bytes, (int64_t)(figures->bytes - last->bytes));
    metric_bump(board->invalid, (int64_t)(figures->invalid - last->invalid));
    board->last = *figures;
}

void board_update(struct board *board, const struct board_figures *figures, int64_t wall_us) {
    int64_t lag_us = update_lag(board, figures, wall_us);
    update_metrics(board, figures, lag_us);
    pthread_mutex_lock(&board->lock);
    struct feed_status *status = &board->status;
    status->received_lsn = figures->received_lsn;
    status->confirmed_lsn = figures->confirmed_lsn;
    status->last_commit_time_us = figures->last_commit_time_us;
    status->last_message_us = figures->last_message_us;
    status->transactions = figures->transactions;
    status->changes = figures->changes;
    status->lag_us = lag_us;
    pthread_mutex_unlock(&board->lock);
}

void board_read(struct board *board, struct feed_status *status) {
    pthread_mutex_lock(&board->lock);
    *status = board->status;
    pthread_mutex_unlock(&board->lock);
}
