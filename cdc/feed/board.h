/* board.h: a feed's public face: its status for any thread, its metrics, and how far behind it is.
 *
 *     board_state(board, FEED_WAITING, "slot is active for PID 7");     the feed's thread
 *     board_update(board, &figures, wall_us);                           the feed's thread, each turn
 *     board_read(board, &status);                                       any thread */
#ifndef FRESHET_CDC_BOARD_H
#define FRESHET_CDC_BOARD_H

#include <stdint.h>

#include "base/metrics.h"
#include "cdc/feed/feed.h"

struct board;

/* What the feed's thread knows, as totals. */
struct board_figures {
    uint64_t received_lsn;
    uint64_t confirmed_lsn;
    uint64_t last_end_lsn; /* of the last transaction delivered */
    int64_t last_commit_time_us;
    int64_t last_message_us;
    uint64_t transactions;
    uint64_t changes;
    uint64_t bytes;
    uint64_t invalid;
};

struct board *board_create(const char *feed_name, struct metrics *metrics);
void board_destroy(struct board **board);

void board_slot(struct board *board, const char *slot);
void board_state(struct board *board, enum feed_state state, const char *cause);
/* FEED_FAILED, and looked at again at intervals. */
void board_refused(struct board *board, const char *cause);
void board_snapshot(struct board *board, const struct feed_snapshot_status *snapshot);
void board_reconnect(struct board *board);
void board_update(struct board *board, const struct board_figures *figures, int64_t wall_us);
void board_read(struct board *board, struct feed_status *status);

#endif
