/* topic_event.h: a record of a row topic as Debezium's JSON has it, with or without its schema.
 *
 *     {"before":{...},"after":{...},"source":{"ts_us":...,"txId":761},"op":"u"}          key: {"id":42} */
#ifndef FRESHET_CONNECTORS_TOPIC_EVENT_H
#define FRESHET_CONNECTORS_TOPIC_EVENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct topic_event {
    char operation;       /* c, u, r, d, t, m; 0: a tombstone */
    const json_t *key;    /* its fields; NULL: the record has none */
    const json_t *before; /* its fields; NULL: none */
    const json_t *after;
    uint64_t xid;           /* 0: not told */
    int64_t commit_time_us; /* Unix epoch; 0: not told */
    json_t *key_root;
    json_t *value_root;
};

/* False: it is no such event. Pure. Deinit it either way. */
bool topic_event_read(struct slice key, struct slice value, struct topic_event *event) MUST_CHECK;
void topic_event_deinit(struct topic_event *event);

#endif
