#include "cdc/publish/oversize.h"

#include <string.h>
#include <xxhash.h>

static uint64_t identity(const char *topic, struct slice key, struct slice value) {
    uint64_t hash = XXH64(topic, strlen(topic), value.len);
    if (key.len) hash = XXH64(key.data, key.len, hash);
    const char *end = value.len ? value.data + value.len : NULL;
    for (const char *at = end ? value.data : NULL; at != end;) {
        const char *run = at;
        while (at < end && (*at < '0' || *at > '9'))
            at++;
        if (at > run) hash = XXH64(run, (size_t)(at - run), hash);
        while (at < end && *at >= '0' && *at <= '9')
            at++;
    }
    return hash;
}

void oversize_begin(struct oversize *oversize) {
    oversize->alone = oversize->seen;
    oversize->seen = false;
}

void oversize_note(struct oversize *oversize, const char *topic, struct slice key,
                   struct slice value) {
    if (!oversize->alone) oversize->seen = true;
    if (!oversize->alone || oversize_knows(oversize, topic, key, value)) return;
    oversize->refused[oversize->next] = identity(topic, key, value);
    oversize->next = (oversize->next + 1) % OVERSIZE_MOST;
    if (oversize->n < OVERSIZE_MOST) oversize->n++;
}

bool oversize_knows(const struct oversize *oversize, const char *topic, struct slice key,
                    struct slice value) {
    if (oversize->n == 0) return false;
    uint64_t wanted = identity(topic, key, value);
    for (uint32_t i = 0; i < oversize->n; i++) {
        if (oversize->refused[i] == wanted) return true;
    }
    return false;
}
