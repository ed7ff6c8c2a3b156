/* messages.h: messages of the stream as pgoutput writes them, given to a delivery: true if it took them. */
#ifndef FRESHET_TESTS_MESSAGES_H
#define FRESHET_TESTS_MESSAGES_H

#include <stdint.h>

#include "base/buf.h"
#include "cdc/feed/delivery.h"

static inline void put(struct buf *out, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--)
        buf_append_char(out, (char)(value >> (8 * i)));
}

static inline bool give(struct delivery *delivery, struct buf *message) {
    struct error err = {0};
    struct frame frame = {.kind = FRAME_DATA, .start_lsn = 1, .payload = buf_slice(message)};
    bool ok = delivery_frame(delivery, &frame, &err);
    buf_deinit(message);
    return ok;
}

static inline bool give_numbers(struct delivery *delivery, char type, const uint64_t *values,
                                const int *bytes, int n) {
    struct buf message = {0};
    buf_append_char(&message, type);
    for (int i = 0; i < n; i++)
        put(&message, values[i], bytes[i]);
    return give(delivery, &message);
}

static inline bool start(struct delivery *delivery, uint32_t xid) {
    return give_numbers(delivery, 'S', (uint64_t[]){xid, 1}, (int[]){4, 1}, 2);
}

static inline bool stop(struct delivery *delivery) {
    return give_numbers(delivery, 'E', NULL, NULL, 0);
}

static inline bool stream_commit(struct delivery *delivery, uint32_t xid, uint64_t end_lsn) {
    return give_numbers(delivery, 'c', (uint64_t[]){xid, 0, end_lsn - 1, end_lsn, 0},
                        (int[]){4, 1, 8, 8, 8}, 5);
}

static inline bool stream_abort(struct delivery *delivery, uint32_t xid, uint32_t subxid) {
    return give_numbers(delivery, 'A', (uint64_t[]){xid, subxid}, (int[]){4, 4}, 2);
}

static inline bool begin(struct delivery *delivery, uint32_t xid) {
    return give_numbers(delivery, 'B', (uint64_t[]){7, 0, xid}, (int[]){8, 8, 4}, 3);
}

static inline bool commit(struct delivery *delivery) {
    return give_numbers(delivery, 'C', (uint64_t[]){0, 7, 8, 0}, (int[]){1, 8, 8, 8}, 4);
}

static inline bool begin_prepare(struct delivery *delivery, uint32_t xid, uint64_t lsn) {
    return give_numbers(delivery, 'b', (uint64_t[]){lsn, lsn + 1, 0, xid, 0},
                        (int[]){8, 8, 8, 4, 1}, 5);
}

/* 'P', or 'p' of one that was streamed. */
static inline bool prepare(struct delivery *delivery, char type, uint32_t xid, uint64_t lsn) {
    return give_numbers(delivery, type, (uint64_t[]){0, lsn, lsn + 1, 0, xid, 0},
                        (int[]){1, 8, 8, 8, 4, 1}, 6);
}

static inline bool commit_prepared(struct delivery *delivery, uint32_t xid, uint64_t end_lsn) {
    return give_numbers(delivery, 'K', (uint64_t[]){0, end_lsn - 1, end_lsn, 0, xid, 0},
                        (int[]){1, 8, 8, 8, 4, 1}, 6);
}

static inline bool rollback_prepared(struct delivery *delivery, uint32_t xid) {
    return give_numbers(delivery, 'r', (uint64_t[]){0, 1, 1, 0, 0, xid, 0},
                        (int[]){1, 8, 8, 8, 8, 4, 1}, 7);
}

enum { TABLE = 16384 };

/* xid 0: not within a piece. */
static inline bool describe_other(struct delivery *delivery, uint32_t xid, uint32_t oid,
                                  int n_columns) {
    struct buf message = {0};
    buf_append_char(&message, 'R');
    if (xid) put(&message, xid, 4);
    put(&message, oid, 4);
    buf_append(&message, "public\0t\0d", 10);
    put(&message, (uint64_t)n_columns, 2);
    for (int i = 0; i < n_columns; i++) {
        put(&message, i == 0, 1);
        buf_printf(&message, "c%d", i);
        put(&message, 0, 1);
        put(&message, 23, 4);
        put(&message, UINT32_MAX, 4);
    }
    return give(delivery, &message);
}

static inline bool describe(struct delivery *delivery, uint32_t xid, int n_columns) {
    return describe_other(delivery, xid, TABLE, n_columns);
}

static inline bool insert_other(struct delivery *delivery, uint32_t xid, uint32_t oid,
                                int n_columns) {
    struct buf message = {0};
    buf_append_char(&message, 'I');
    if (xid) put(&message, xid, 4);
    put(&message, oid, 4);
    buf_append_char(&message, 'N');
    put(&message, (uint64_t)n_columns, 2);
    for (int i = 0; i < n_columns; i++)
        buf_append(&message,
                   "t\0\0\0\001"
                   "1",
                   6);
    return give(delivery, &message);
}

static inline bool insert(struct delivery *delivery, uint32_t xid, int n_columns) {
    return insert_other(delivery, xid, TABLE, n_columns);
}

#endif
