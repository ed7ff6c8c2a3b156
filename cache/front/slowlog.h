/* slowlog.h: the runs of commands that took long: SLOWLOG, as Redis 7.0 keeps it. Any thread; its lock is a leaf.
 *
 *     slowlog_add(log, &entry, max_len);        copies, cutting what is long
 *     slowlog_each(log, 10, visit, arg);        the newest first, under the lock */
#ifndef FRESHET_CACHE_SLOWLOG_H
#define FRESHET_CACHE_SLOWLOG_H

#include <stdint.h>

#include "base/slice.h"

struct slowlog;

enum { SLOWLOG_MAX_ARGS = 32, SLOWLOG_MAX_TEXT = 128 };

struct slow_entry {
    uint64_t id; /* given by slowlog_add */
    int64_t wall_s;
    int64_t us;
    const struct slice *argv;
    uint32_t
        argc; /* when visited, at most SLOWLOG_MAX_ARGS: the last one says how many more there were */
    struct slice client; /* "1.2.3.4:5" */
    struct slice name;   /* of CLIENT SETNAME */
};

struct slowlog *slowlog_create(void);
void slowlog_destroy(struct slowlog **log);
void slowlog_add(struct slowlog *log, const struct slow_entry *entry, uint64_t max_len);
uint32_t slowlog_length(struct slowlog *log);
void slowlog_clear(struct slowlog *log);
typedef void slowlog_visit(const struct slow_entry *entry, void *arg);
uint32_t slowlog_each(struct slowlog *log, uint32_t max, slowlog_visit *visit, void *arg);

#endif
