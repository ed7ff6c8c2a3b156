#include "cdc/feed/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cdc/feed/spool_directory.h"

enum {
    BLOCK_BYTES = 1024 * 1024,    /* a block ends with the entry that reaches it */
    KEEP_BYTES = 4 * BLOCK_BYTES, /* a buffer that a huge value has made larger is given back */
};

static const uint64_t block_magic = UINT64_C(0x314c4f4f50535246); /* "FRSPOOL1" */

/* In the machine's byte order: the process that wrote it reads it.
 *
 *   | magic | xid | sequence | length | checksum | entry entry entry ... (length bytes) |
 *
 * The checksum is of the four before it and of the entries. */
struct block_head {
    uint64_t magic;
    uint64_t xid;
    uint64_t sequence; /* in the transaction, from 0 */
    uint64_t length;
    uint64_t checksum;
};

struct entry_head {
    uint64_t lsn;
    uint32_t subxid;
    uint32_t length; /* of the payload behind it */
};

struct kept {
    uint64_t xid;
    struct buf tail;     /* entries that are in no block yet */
    uint64_t disk_bytes; /* of its blocks */
    uint64_t n_blocks;
    uint32_t n_aborted, cap_aborted;
    uint32_t *aborted; /* subtransactions; sorted when it is read */
};

/* The one that is being read. */
struct reading {
    struct kept *kept; /* NULL: none */
    int fd;            /* of its blocks; -1: none are left */
    uint64_t next_block;
    struct buf block; /* the one in hand; at the end the tail */
    size_t at;
};

struct spool {
    struct spool_config config;
    struct spool_directory *directory; /* NULL: not opened */
    bool failed;
    size_t n_kept, cap_kept;
    struct kept **kept;
    struct kept *last; /* messages come in runs of one transaction */
    struct reading reading;
    uint64_t memory_bytes; /* allocated by tails */
    uint64_t disk_bytes;

    struct metric *transactions;
    struct metric *in_memory;
    struct metric *on_disk;
    struct metric *written;
    struct metric *failures;
};

/* ---- life ---- */

static void make_metrics(struct spool *spool, const char *feed, struct metrics *metrics) {
    char labels[96];
    snprintf(labels, sizeof labels, "feed=\"%s\"", feed);
    spool->transactions = metrics_gauge(
        metrics, "freshet_feed_spool_transactions",
        "Transactions that are open or prepared, and of which the server has sent a part.", labels);
    spool->in_memory =
        metrics_gauge(metrics, "freshet_feed_spool_memory_bytes",
                      "Memory that holds what was sent of open transactions.", labels);
    spool->on_disk = metrics_gauge(metrics, "freshet_feed_spool_disk_bytes",
                                   "Disk that holds what was sent of open transactions.", labels);
    spool->written = metrics_counter(metrics, "freshet_feed_spool_written_bytes_total",
                                     "Bytes of open transactions written to disk.", labels);
    spool->failures = metrics_counter(
        metrics, "freshet_feed_spool_failures_total",
        "Sessions ended by a full disk, the spool's limit, or a damaged file of it.", labels);
}

struct spool *spool_create(const struct spool_config *config, struct metrics *metrics) {
    struct spool *spool = mem_zalloc(sizeof *spool);
    spool->config = *config;
    spool->config.directory = mem_strdup(config->directory);
    spool->config.name = mem_strdup(config->name);
    spool->config.feed = NULL;
    spool->reading.fd = -1;
    make_metrics(spool, config->feed, metrics);
    return spool;
}

static void tell_figures(struct spool *spool) {
    metric_set(spool->transactions, (int64_t)(spool->n_kept + (spool->reading.kept ? 1 : 0)));
    metric_set(spool->in_memory, (int64_t)spool->memory_bytes);
    metric_set(spool->on_disk, (int64_t)spool->disk_bytes);
}

static void free_tail(struct spool *spool, struct kept *kept) {
    spool->memory_bytes -= kept->tail.cap;
    buf_deinit(&kept->tail);
}

static void free_kept(struct spool *spool, struct kept *kept) {
    if (kept->n_blocks) spool_directory_remove(spool->directory, kept->xid);
    spool->disk_bytes -= kept->disk_bytes;
    free_tail(spool, kept);
    mem_free(kept->aborted);
    mem_free(kept);
}

static void end_reading(struct spool *spool) {
    struct reading *reading = &spool->reading;
    if (reading->fd >= 0) close(reading->fd);
    reading->fd = -1;
    if (reading->kept) free_kept(spool, reading->kept);
    reading->kept = NULL;
    buf_deinit(&reading->block);
    reading->at = 0;
    tell_figures(spool);
}

static void clear(struct spool *spool) {
    for (size_t i = 0; i < spool->n_kept; i++)
        free_kept(spool, spool->kept[i]);
    spool->n_kept = 0;
    spool->last = NULL;
    end_reading(spool);
    ASSERT(spool->memory_bytes == 0 && spool->disk_bytes == 0);
}

void spool_destroy(struct spool **spool) {
    struct spool *self = *spool;
    if (!self) return;
    clear(self);
    spool_directory_close(&self->directory);
    mem_free((void *)(uintptr_t)self->config.directory);
    mem_free((void *)(uintptr_t)self->config.name);
    mem_free(self->kept);
    mem_free(self);
    *spool = NULL;
}

/* What stood in the way when it was opened may have gone by the time that a block is written. */
static bool have_directory(struct spool *spool, struct error *err) {
    if (!spool->directory)
        spool->directory = spool_directory_open(spool->config.directory, spool->config.name, err);
    return spool->directory != NULL;
}

bool spool_open(struct spool *spool, struct error *err) {
    clear(spool);
    spool->failed = false;
    return have_directory(spool, err);
}

bool spool_failed(const struct spool *spool) { return spool->failed; }

static bool fail(struct spool *spool) {
    spool->failed = true;
    metric_bump(spool->failures, 1);
    return false;
}

void spool_read_figures(const struct spool *spool, struct spool_figures *figures) {
    *figures = (struct spool_figures){
        .transactions = (uint64_t)atomic_load(&spool->transactions->value),
        .memory_bytes = (uint64_t)atomic_load(&spool->in_memory->value),
        .disk_bytes = (uint64_t)atomic_load(&spool->on_disk->value),
    };
}

/* ---- transactions ---- */

static struct kept *find(const struct spool *spool, uint64_t xid) {
    if (spool->last && spool->last->xid == xid) return spool->last;
    for (size_t i = 0; i < spool->n_kept; i++) {
        if (spool->kept[i]->xid == xid) return spool->kept[i];
    }
    return NULL;
}

static struct kept *find_or_make(struct spool *spool, uint64_t xid) {
    struct kept *kept = find(spool, xid);
    if (!kept) {
        if (spool->n_kept == spool->cap_kept) {
            spool->cap_kept = spool->cap_kept ? spool->cap_kept * 2 : 16;
            spool->kept = mem_realloc(spool->kept, spool->cap_kept * sizeof *spool->kept);
        }
        kept = spool->kept[spool->n_kept++] = mem_zalloc(sizeof *kept);
        kept->xid = xid;
        tell_figures(spool);
    }
    spool->last = kept;
    return kept;
}

/* Out of the list; NULL: not in it. */
static struct kept *take(struct spool *spool, uint64_t xid) {
    spool->last = NULL;
    for (size_t i = 0; i < spool->n_kept; i++) {
        struct kept *kept = spool->kept[i];
        if (kept->xid != xid) continue;
        spool->kept[i] = spool->kept[--spool->n_kept];
        return kept;
    }
    return NULL;
}

void spool_begin(struct spool *spool, uint64_t xid) { find_or_make(spool, xid); }

bool spool_has(const struct spool *spool, uint64_t xid) { return find(spool, xid) != NULL; }

void spool_drop(struct spool *spool, uint64_t xid) {
    struct kept *kept = take(spool, xid);
    if (kept) free_kept(spool, kept);
    tell_figures(spool);
}

void spool_abort_part(struct spool *spool, uint64_t xid, uint32_t subxid) {
    struct kept *kept = find(spool, xid);
    if (!kept) return;
    if (kept->n_aborted == kept->cap_aborted) {
        kept->cap_aborted = kept->cap_aborted ? kept->cap_aborted * 2 : 16;
        kept->aborted = mem_realloc(kept->aborted, kept->cap_aborted * sizeof *kept->aborted);
    }
    kept->aborted[kept->n_aborted++] = subxid;
}

/* ---- writing ---- */

static uint64_t checksum_of(const struct block_head *head, const char *entries) {
    uint64_t seed = XXH3_64bits(head, offsetof(struct block_head, checksum));
    return XXH3_64bits_withSeed(entries, head->length, seed);
}

static bool check_limit(struct spool *spool, uint64_t more, struct error *err) {
    uint64_t limit = spool->config.limit_bytes;
    if (!limit || spool->disk_bytes + more <= limit) return true;
    error_set(err, ERROR_LIMIT, true,
              "the spool of open transactions has reached its limit (cdc.spool_limit) of %llu "
              "bytes: %zu of them are open. They are sent again, at their commits",
              (unsigned long long)limit, spool->n_kept);
    return fail(spool);
}

/* The tail becomes a block. */
static bool write_block(struct spool *spool, struct kept *kept, struct error *err) {
    struct block_head head = {.magic = block_magic,
                              .xid = kept->xid,
                              .sequence = kept->n_blocks,
                              .length = kept->tail.len};
    uint64_t bytes = sizeof head + head.length;
    if (!check_limit(spool, bytes, err)) return false;
    if (!have_directory(spool, err)) return fail(spool);
    head.checksum = checksum_of(&head, kept->tail.data);
    kept->n_blocks++;
    if (!spool_directory_append(spool->directory, kept->xid, &head, sizeof head, kept->tail.data,
                                kept->tail.len, err))
        return fail(spool);
    kept->disk_bytes += bytes;
    spool->disk_bytes += bytes;
    metric_bump(spool->written, (int64_t)bytes);
    free_tail(spool, kept);
    tell_figures(spool);
    return true;
}

static struct kept *find_largest(const struct spool *spool) {
    struct kept *largest = spool->kept[0];
    for (size_t i = 1; i < spool->n_kept; i++) {
        if (spool->kept[i]->tail.cap > largest->tail.cap) largest = spool->kept[i];
    }
    return largest;
}

bool spool_append(struct spool *spool, uint64_t xid, uint32_t subxid, uint64_t lsn,
                  struct slice payload, struct error *err) {
    ASSERT(payload.len <= UINT32_MAX);
    struct kept *kept = find_or_make(spool, xid);
    struct entry_head head = {.lsn = lsn, .subxid = subxid, .length = (uint32_t)payload.len};
    size_t cap = kept->tail.cap;
    buf_append(&kept->tail, &head, sizeof head);
    buf_append_slice(&kept->tail, payload);
    spool->memory_bytes += kept->tail.cap - cap;
    if (kept->tail.len >= BLOCK_BYTES) return write_block(spool, kept, err);
    while (spool->memory_bytes > spool->config.memory_bytes) {
        if (!write_block(spool, find_largest(spool), err)) return false;
    }
    return true;
}

/* ---- reading ---- */

static int compare_xids(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool is_aborted(const struct kept *kept, uint32_t subxid) {
    return kept->n_aborted &&
           bsearch(&subxid, kept->aborted, kept->n_aborted, sizeof *kept->aborted, compare_xids);
}

void spool_read(struct spool *spool, uint64_t xid) {
    struct reading *reading = &spool->reading;
    ASSERT(!reading->kept);
    reading->kept = take(spool, xid);
    reading->next_block = 0;
    struct kept *kept = reading->kept;
    if (kept && kept->n_aborted)
        qsort(kept->aborted, kept->n_aborted, sizeof *kept->aborted, compare_xids);
}

static bool damaged(struct spool *spool, const char *how, struct error *err) {
    error_set(err, ERROR_SYSTEM, true,
              "spool \"%s\": block %llu of transaction %llu is %s. It is sent again",
              spool->config.directory, (unsigned long long)spool->reading.next_block,
              (unsigned long long)spool->reading.kept->xid, how);
    return fail(spool);
}

/* Takes in the next block of the file. */
static bool read_block(struct spool *spool, struct error *err) {
    struct reading *reading = &spool->reading;
    struct kept *kept = reading->kept;
    struct block_head head;
    if (reading->fd < 0) reading->fd = spool_directory_take(spool->directory, kept->xid);
    if (reading->fd < 0) return damaged(spool, strerror(errno), err);
    if (!spool_directory_read(reading->fd, &head, sizeof head))
        return damaged(spool, "cut short", err);
    if (head.magic != block_magic || head.xid != kept->xid ||
        head.sequence != reading->next_block || head.length > kept->disk_bytes)
        return damaged(spool, "damaged", err);
    if (reading->block.cap > KEEP_BYTES && head.length < KEEP_BYTES) buf_deinit(&reading->block);
    reading->block.len = reading->at = 0;
    if (!spool_directory_read(reading->fd, buf_reserve(&reading->block, head.length), head.length))
        return damaged(spool, "cut short", err);
    if (head.checksum != checksum_of(&head, reading->block.data))
        return damaged(spool, "damaged", err);
    reading->block.len = head.length;
    reading->next_block++;
    return true;
}

/* False: there is nothing more, or an error. */
static bool refill(struct spool *spool, enum spool_result *result, struct error *err) {
    struct reading *reading = &spool->reading;
    struct kept *kept = reading->kept;
    if (reading->next_block < kept->n_blocks) {
        *result = SPOOL_ERROR;
        return read_block(spool, err);
    }
    *result = SPOOL_END;
    if (!kept->tail.len) return false;
    buf_deinit(&reading->block);
    spool->memory_bytes -= kept->tail.cap;
    reading->block = kept->tail;
    kept->tail = (struct buf){0};
    reading->at = 0;
    return true;
}

enum spool_result spool_next(struct spool *spool, struct spool_entry *entry, struct error *err) {
    struct reading *reading = &spool->reading;
    if (!reading->kept) return SPOOL_END;
    while (true) {
        enum spool_result result;
        while (reading->at == reading->block.len) {
            if (refill(spool, &result, err)) continue;
            if (result == SPOOL_END) end_reading(spool);
            return result;
        }
        struct entry_head head = {0};
        size_t left = reading->block.len - reading->at;
        if (left >= sizeof head) memcpy(&head, reading->block.data + reading->at, sizeof head);
        if (left < sizeof head || head.length > left - sizeof head) {
            damaged(spool, "damaged", err);
            return SPOOL_ERROR;
        }
        const char *payload = reading->block.data + reading->at + sizeof head;
        reading->at += sizeof head + head.length;
        if (is_aborted(reading->kept, head.subxid)) continue;
        *entry = (struct spool_entry){
            .subxid = head.subxid, .lsn = head.lsn, .payload = slice_make(payload, head.length)};
        return SPOOL_ENTRY;
    }
}
