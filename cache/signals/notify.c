#include "cache/signals/notify.h"

#include "base/mem.h"
#include "cache/signals/pubsub.h"
#include "cache/store/store.h"

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

/* What no command tells. A row that is filled is no new key, and one that is known to be absent was none. */
static void on_change(void *self, const struct store_change *change) {
    static const struct {
        enum notify_class class;
        const char *event;
    } removals[REMOVED_CAUSES] = {
        [REMOVED_EXPIRED] = {NOTIFY_EXPIRED, "expired"},
        [REMOVED_EVICTED_MEMORY] = {NOTIFY_EVICTED, "evicted"},
        [REMOVED_COMMIT] = {NOTIFY_FRESHET, "freshet"},
    };
    struct notify *notify = self;
    if (change->event == STORE_CREATED && change->entry->kind != ENTRY_ROW) {
        notify_event(notify, NOTIFY_NEW, "new", change->key);
    } else if (change->event == STORE_REMOVED && removals[change->cause].event) {
        if (change->cause != REMOVED_COMMIT && entry_is_absent(change->entry)) return;
        notify_event(notify, removals[change->cause].class, removals[change->cause].event,
                     change->key);
    }
}

struct notify *notify_create(struct pubsub *pubsub, struct store *store) {
    struct notify *notify = mem_zalloc(sizeof *notify);
    notify->pubsub = pubsub;
    notify->store = store;
    struct store_observer observer = {.changed = on_change, .self = notify};
    notify->observer = store_add_observer(store, &observer);
    return notify;
}

void notify_set(struct notify *notify, uint32_t classes) {
    enum { OBSERVED = NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_NEW | NOTIFY_FRESHET };
    bool anywhere = classes & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT);
    atomic_store_explicit(&notify->classes, classes, memory_order_relaxed);
    store_observe_all(notify->store, notify->observer, anywhere && classes & OBSERVED);
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
