#include "cache/front/roster.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/commands/command.h"
#include "cache/front/push.h"
#include "cache/front/worker.h"

struct roster {
    pthread_mutex_t lock;
    _Atomic uint32_t max_clients;
    uint32_t count;
    uint64_t last_id;
    struct card *first, *last; /* in the order of arrival, as CLIENT LIST shows them */
};

struct roster *roster_create(uint32_t max_clients) {
    struct roster *roster = mem_zalloc(sizeof *roster);
    pthread_mutex_init(&roster->lock, NULL);
    roster->max_clients = max_clients;
    return roster;
}

void roster_destroy(struct roster **roster) {
    if (!*roster) return;
    ASSERT((*roster)->count == 0);
    pthread_mutex_destroy(&(*roster)->lock);
    mem_free(*roster);
    *roster = NULL;
}

bool roster_enter(struct roster *roster, struct card *card) {
    pthread_mutex_lock(&roster->lock);
    bool room = roster->count < roster->max_clients;
    if (room) {
        card->id = ++roster->last_id;
        card->killed = false;
        card->next = NULL;
        card->previous = roster->last;
        *(roster->last ? &roster->last->next : &roster->first) = card;
        roster->last = card;
        roster->count++;
    }
    pthread_mutex_unlock(&roster->lock);
    return room;
}

void roster_leave(struct roster *roster, struct card *card) {
    pthread_mutex_lock(&roster->lock);
    *(card->previous ? &card->previous->next : &roster->first) = card->next;
    *(card->next ? &card->next->previous : &roster->last) = card->previous;
    roster->count--;
    if (card->mailbox) mailbox_close(card->mailbox);
    mailbox_release(&card->mailbox);
    for (int i = 0; i < CARD_WORDS; i++) {
        mem_free(card->words[i]);
        card->words[i] = NULL;
    }
    pthread_mutex_unlock(&roster->lock);
}

uint32_t roster_count(struct roster *roster) {
    pthread_mutex_lock(&roster->lock);
    uint32_t count = roster->count;
    pthread_mutex_unlock(&roster->lock);
    return count;
}

void roster_set_max(struct roster *roster, uint32_t max_clients) {
    roster->max_clients = max_clients;
}

uint32_t roster_max(const struct roster *roster) { return roster->max_clients; }

void roster_set_word(struct roster *roster, struct card *card, enum card_word word,
                     struct slice text) {
    pthread_mutex_lock(&roster->lock);
    mem_free(card->words[word]);
    card->words[word] = text.len ? mem_slicedup(text) : NULL;
    pthread_mutex_unlock(&roster->lock);
}

void roster_word(struct roster *roster, const struct card *card, enum card_word word,
                 struct buf *out) {
    pthread_mutex_lock(&roster->lock);
    if (card->words[word]) buf_append_text(out, card->words[word]);
    pthread_mutex_unlock(&roster->lock);
}

/* Caller holds the lock. */
static struct mailbox *mailbox_of(struct card *card) {
    if (!card->mailbox) card->mailbox = mailbox_create(card);
    return card->mailbox;
}

struct mailbox *roster_own_mailbox(struct roster *roster, struct card *card) {
    pthread_mutex_lock(&roster->lock);
    struct mailbox *mailbox = mailbox_of(card);
    pthread_mutex_unlock(&roster->lock);
    return mailbox;
}

struct mailbox *roster_mailbox(struct roster *roster, uint64_t client_id) {
    struct mailbox *mailbox = NULL;
    pthread_mutex_lock(&roster->lock);
    for (struct card *card = roster->first; card && !mailbox; card = card->next)
        if (card->id == client_id && !card->killed) mailbox = mailbox_acquire(mailbox_of(card));
    pthread_mutex_unlock(&roster->lock);
    return mailbox;
}

/* --- CLIENT LIST -------------------------------------------------------------------------------------------- */

static bool contains(const uint64_t *ids, uint32_t n, uint64_t id) {
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

static bool is_of_type(const struct card *card, enum roster_type type) {
    switch (type) {
    case ROSTER_ANY: return true;
    case ROSTER_NORMAL: return !card_has(card, CARD_SUBSCRIBED);
    case ROSTER_PUBSUB: return card_has(card, CARD_SUBSCRIBED);
    case ROSTER_NOBODY: break;
    }
    return false;
}

static const char *user_of(const struct card *card) {
    return card->words[CARD_USER] ? card->words[CARD_USER] : "default";
}

static bool matches(const struct card *card, const struct roster_filter *filter, int64_t now_ms) {
    if (!is_of_type(card, filter->type)) return false;
    if (card->killed || card->id == filter->skip_id) return false;
    if (filter->n_ids && !contains(filter->ids, filter->n_ids, card->id)) return false;
    if (filter->address.len && !slice_equal(filter->address, slice_from(card->address)))
        return false;
    if (filter->local_address.len &&
        !slice_equal(filter->local_address, slice_from(card->local_address)))
        return false;
    if (filter->named_user && !card->words[CARD_USER]) return false;
    if (filter->user.data && !slice_equal(filter->user, slice_from(user_of(card)))) return false;
    return !filter->older_than_ms || now_ms - card->since_ms >= filter->older_than_ms;
}

static void append_flags(const struct card *card, uint32_t flags, struct buf *out) {
    static const struct {
        uint32_t flag;
        char letter;
    } letters[] = {{CARD_MONITORS, 'O'}, {CARD_SUBSCRIBED, 'P'}, {CARD_IN_MULTI, 'x'},
                   {CARD_BLOCKED, 'b'},  {CARD_TRACKS, 't'},     {CARD_BROADCASTS, 'B'},
                   {CARD_CLOSING, 'c'},  {CARD_NO_EVICT, 'e'},   {CARD_NO_TOUCH, 'T'}};
    size_t begin = out->len;
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if (flags & letters[i].flag) buf_append_char(out, letters[i].letter);
    if (atomic_load_explicit(&card->touched, memory_order_relaxed)) buf_append_char(out, 'd');
    if (out->len == begin) buf_append_char(out, 'N');
}

static void append_command(const struct command *command, struct buf *out) {
    if (!command) {
        buf_append_text(out, "NULL");
        return;
    }
    const struct command *parent = command_parent(command);
    if (parent) buf_printf(out, "%s|", parent->name);
    buf_append_text(out, command->name);
}

static const char *word_of(const struct card *card, enum card_word word) {
    return card->words[word] ? card->words[word] : "";
}

/* Caller holds the lock. */
static void describe(const struct card *card, int64_t now_ms, struct buf *out) {
    uint32_t flags = atomic_load_explicit(&card->flags, memory_order_relaxed);
    int64_t idle_ms = now_ms - atomic_load_explicit(&card->active_ms, memory_order_relaxed);
    uint64_t query = atomic_load_explicit(&card->query_bytes, memory_order_relaxed);
    uint64_t output = atomic_load_explicit(&card->output_bytes, memory_order_relaxed);
    buf_printf(out,
               "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%" PRId64 " idle=%" PRId64
               " flags=",
               card->id, card->address, card->local_address, card->fd, word_of(card, CARD_NAME),
               (now_ms - card->since_ms) / 1000, idle_ms > 0 ? idle_ms / 1000 : 0);
    append_flags(card, flags, out);
    buf_printf(out,
               " db=0 sub=%u psub=%u ssub=%u multi=%d qbuf=%" PRIu64
               " qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=%d omem=%" PRIu64
               " tot-mem=%" PRIu64 " events=%s cmd=",
               card->subscribed[0], card->subscribed[1], card->subscribed[2],
               flags & CARD_IN_MULTI ? (int)card->queued : -1, query, output > 0, output,
               query + output + sizeof *card, output ? "rw" : "r");
    append_command(atomic_load_explicit(&card->command, memory_order_relaxed), out);
    long long redirect = flags & CARD_TRACKS ? (long long)card->redirect : -1;
    buf_printf(out, " user=%s redir=%lld resp=%d lib-name=%s lib-ver=%s", user_of(card), redirect,
               flags & CARD_RESP3 ? 3 : 2, word_of(card, CARD_LIB_NAME),
               word_of(card, CARD_LIB_VERSION));
}

void roster_describe(struct roster *roster, const struct card *card, int64_t now_ms,
                     struct buf *out) {
    pthread_mutex_lock(&roster->lock);
    describe(card, now_ms, out);
    pthread_mutex_unlock(&roster->lock);
}

void roster_list(struct roster *roster, const struct roster_filter *filter, int64_t now_ms,
                 struct buf *out) {
    pthread_mutex_lock(&roster->lock);
    for (const struct card *card = roster->first; card; card = card->next) {
        if (!matches(card, filter, now_ms)) continue;
        describe(card, now_ms, out);
        buf_append_char(out, '\n');
    }
    pthread_mutex_unlock(&roster->lock);
}

bool roster_unblock(struct roster *roster, uint64_t client_id, bool error) {
    bool found = false;
    pthread_mutex_lock(&roster->lock);
    for (struct card *card = roster->first; card && !found; card = card->next) {
        if (card->id != client_id || card->killed || !card_has(card, CARD_UNBLOCKABLE)) continue;
        found = true;
        worker_unblock(card->worker, card->slot, card->id, error);
    }
    pthread_mutex_unlock(&roster->lock);
    return found;
}

uint32_t roster_kill(struct roster *roster, const struct roster_filter *filter, int64_t now_ms,
                     roster_kill_fn *kill, void *arg) {
    uint32_t killed = 0;
    pthread_mutex_lock(&roster->lock);
    for (struct card *card = roster->first; card; card = card->next) {
        if (!matches(card, filter, now_ms)) continue;
        card->killed = true;
        kill(card, arg);
        killed++;
    }
    pthread_mutex_unlock(&roster->lock);
    return killed;
}

void roster_each(struct roster *roster, const struct roster_filter *filter, int64_t now_ms,
                 roster_visit_fn *visit, void *arg) {
    pthread_mutex_lock(&roster->lock);
    for (struct card *card = roster->first; card; card = card->next)
        if (matches(card, filter, now_ms)) visit(card, arg);
    pthread_mutex_unlock(&roster->lock);
}
