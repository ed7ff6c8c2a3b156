/* Records of a row topic: the key up to the first newline, the value behind it; without one there is no key. Whatever is read as an
 * event has the row that its operation wants. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "connectors/source/topic_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const struct topic_event *event) {
    ASSERT(!event->key || json_is_object(event->key));
    ASSERT(!event->before || json_is_object(event->before));
    ASSERT(!event->after || json_is_object(event->after));
    switch (event->operation) {
    case 'c':
    case 'u': ASSERT(event->after); break;
    case 'r':
        ASSERT(event->after);
        ASSERT(event->xid == 0);
        break;
    case 'd': ASSERT(event->before || event->key); break;
    case 't':
    case 'm':
    case 0: break;
    default: ASSERT_UNREACHABLE();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t key_len = newline ? (size_t)(newline - data) : 0;
    size_t from = newline ? key_len + 1 : 0;
    struct slice key = newline ? slice_make(data, key_len) : slice_make(NULL, 0);
    struct slice value = size ? slice_make(data + from, size - from) : slice_make(NULL, 0);
    struct topic_event event;
    if (topic_event_read(key, value, &event)) check_event(&event);
    topic_event_deinit(&event);
    return 0;
}
