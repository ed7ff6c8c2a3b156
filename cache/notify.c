#include "cache/notify.h"

#include "base/mem.h"
#include "cache/pubsub.h"

/* In the order in which CONFIG GET prints them, as Redis does. */
static const struct {
    char letter;
    uint32_t class;
} letters[] = {
    {'g', NOTIFY_GENERIC}, {'$', NOTIFY_STRING},   {'l', NOTIFY_LIST},     {'s', NOTIFY_SET},
    {'h', NOTIFY_HASH},    {'z', NOTIFY_ZSET},     {'x', NOTIFY_EXPIRED},  {'e', NOTIFY_EVICTED},
    {'t', NOTIFY_STREAM},  {'d', NOTIFY_MODULE},   {'A', NOTIFY_ALL},      {'n', NOTIFY_NEW},
    {'f', NOTIFY_FRESHET}, {'K', NOTIFY_KEYSPACE}, {'E', NOTIFY_KEYEVENT}, {'m', NOTIFY_KEY_MISS},
};
enum { N_LETTERS = sizeof letters / sizeof letters[0] };

struct notify *notify_create(struct pubsub *pubsub) {
    struct notify *notify = mem_zalloc(sizeof *notify);
    notify->pubsub = pubsub;
    return notify;
}

void notify_destroy(struct notify **notify) {
    mem_free(*notify);
    *notify = NULL;
}

bool notify_parse(struct slice text, uint32_t *classes) {
    *classes = 0;
    for (size_t i = 0; i < text.len; i++) {
        size_t at = 0;
        while (at < N_LETTERS && letters[at].letter != text.data[i])
            at++;
        if (at == N_LETTERS) return false;
        *classes |= letters[at].class;
    }
    return true;
}

void notify_format(uint32_t classes, struct buf *out) {
    bool all = (classes & NOTIFY_ALL) == NOTIFY_ALL;
    for (size_t i = 0; i < N_LETTERS; i++) {
        uint32_t class = letters[i].class;
        bool is_in_all = class != NOTIFY_ALL && class & NOTIFY_ALL;
        if ((classes & class) == class && !(all && is_in_all))
            buf_append_char(out, letters[i].letter);
    }
}

static void publish(struct notify *notify, const char *prefix, struct slice about,
                    struct slice message) {
    struct buf channel = {0};
    buf_append_text(&channel, prefix);
    buf_append_slice(&channel, about);
    pubsub_publish(notify->pubsub, PUBSUB_CHANNEL, buf_slice(&channel), message);
    buf_deinit(&channel);
}

void notify_event(struct notify *notify, enum notify_class class, const char *event,
                  struct slice key) {
    uint32_t classes = notify_classes(notify);
    if (!(classes & (uint32_t) class) || pubsub_is_silent(notify->pubsub)) return;
    if (classes & NOTIFY_KEYSPACE) publish(notify, "__keyspace@0__:", key, slice_from(event));
    if (classes & NOTIFY_KEYEVENT) publish(notify, "__keyevent@0__:", slice_from(event), key);
}
