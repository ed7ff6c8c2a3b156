/* log.h: one event a line, its name first, then key=value, then level and time:
 *
 *     log_info(log, "slot_created", "slot=%s lsn=" LSN_FMT, name, LSN_ARG(lsn));
 *     slot_created slot=freshet lsn=0/15D6A88 level=info time=2026-11-21T07:41:07.123Z
 *
 * Values that may hold spaces are written with %s inside escaped quotes: cause=\"%s\".
 * Any thread; a line is one write(2). Lines past 4 KiB are cut. */
#ifndef FRESHET_BASE_LOG_H
#define FRESHET_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log;

/* Writes to `fd`, which stays the caller's. */
struct log *log_create(int fd, enum log_level level);
void log_destroy(struct log **log);
void log_set_level(struct log *log, enum log_level level);
bool log_level_parse(const char *name, enum log_level *level);

void log_event(struct log *log, enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define log_debug(log, event, ...) log_event(log, LOG_DEBUG, event, __VA_ARGS__)
#define log_info(log, event, ...)  log_event(log, LOG_INFO, event, __VA_ARGS__)
#define log_warn(log, event, ...)  log_event(log, LOG_WARN, event, __VA_ARGS__)
#define log_error(log, event, ...) log_event(log, LOG_ERROR, event, __VA_ARGS__)

#endif
