/* acl_log.h: what was denied of late, the newest first: for ACL LOG. The owner's lock. */
#ifndef FRESHET_CACHE_ACL_LOG_H
#define FRESHET_CACHE_ACL_LOG_H

#include "cache/access/acl.h"

struct acl_log {
    struct acl_event *events; /* own their texts; the newest last */
    uint32_t n, cap;
};

/* Joins it with a like one of the last minute, among the newest ten; at most max_len are kept. */
void acl_log_add(struct acl_log *log, const struct acl_event *event, uint64_t max_len);
void acl_log_clear(struct acl_log *log);

#endif
