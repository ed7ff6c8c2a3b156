#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { LINE_MAX_BYTES = 4096, TAIL_BYTES = 64 };

struct log {
    int fd;
    _Atomic int level;
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct log *log_create(int fd, enum log_level level) {
    struct log *log = mem_zalloc(sizeof *log);
    log->fd = fd;
    atomic_init(&log->level, (int)level);
    return log;
}

void log_destroy(struct log **log) {
    mem_free(*log);
    *log = NULL;
}

void log_set_level(struct log *log, enum log_level level) { atomic_store(&log->level, (int)level); }

bool log_level_parse(const char *name, enum log_level *level) {
    for (int i = 0; i <= LOG_ERROR; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static size_t write_tail(char *at, size_t room, enum log_level level) {
    int64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    int len = snprintf(at, room, " level=%s time=%s.%03dZ\n", level_names[level], stamp,
                       (int)(now_us / 1000 % 1000));
    return len < 0 ? 0 : (size_t)len;
}

void log_event(struct log *log, enum log_level level, const char *event, const char *format, ...) {
    if ((int)level < atomic_load_explicit(&log->level, memory_order_relaxed)) return;
    char line[LINE_MAX_BYTES + TAIL_BYTES];
    size_t len = (size_t)snprintf(line, LINE_MAX_BYTES, "%s ", event);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + len, LINE_MAX_BYTES - len, format, args);
    va_end(args);
    if (more > 0) len += (size_t)more;
    if (len >= LINE_MAX_BYTES) len = LINE_MAX_BYTES - 1;
    while (len && line[len - 1] == ' ')
        len--;
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\n' || line[i] == '\r') line[i] = ' ';
    }
    len += write_tail(line + len, TAIL_BYTES, level);
    ssize_t written = write(log->fd, line, len);
    (void)written; /* nowhere to report a log that cannot be written */
}
