/* roster.h: every client of the process, whichever worker serves it: for CLIENT LIST, CLIENT KILL and max_clients.
 *
 *     if (!roster_enter(roster, &client->card)) ...     there are max_clients already
 *     card_touch(&client->card, command, now_ms);       the owner, without a lock
 *     roster_list(roster, &filter, now_ms, &out);       any thread
 *     roster_leave(roster, &client->card);
 *
 * A card lies in its client. What changes with each batch is atomic, written by the owner alone; the words are
 * written under the roster's lock; the rest never changes while the card is entered. The lock is held for a
 * connect, a disconnect, a SETNAME and a LIST, and under it nothing but the allocator and loop_post is touched. */
#ifndef FRESHET_CACHE_ROSTER_H
#define FRESHET_CACHE_ROSTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct command;
struct mailbox;
struct roster;
struct worker;

enum { CARD_ADDRESS_MAX = 64, CARD_SUBSCRIPTIONS = 3 };

/* The words that a client says of itself. */
enum card_word {
    CARD_NAME,
    CARD_LIB_NAME,
    CARD_LIB_VERSION,
    CARD_USER, /* none: the default user */
    CARD_WORDS
};

enum card_flag {
    CARD_BLOCKED = 1 << 0,
    CARD_NO_EVICT = 1 << 1,
    CARD_NO_TOUCH = 1 << 2,
    CARD_CLOSING = 1 << 3, /* after its reply */
    CARD_RESP3 = 1 << 4,
    CARD_SUBSCRIBED = 1 << 6, /* to something */
    CARD_MONITORS = 1 << 7,
    CARD_IN_MULTI = 1 << 9,
    CARD_TRACKS = 1 << 10,
    CARD_BROADCASTS = 1 << 11, /* tracks in BCAST mode */
    CARD_UNBLOCKABLE = 1 << 8, /* waits for an event that is no key: CLIENT UNBLOCK may end it */
};

struct card {
    uint64_t id;
    struct worker *worker;
    uint32_t slot;
    int fd;
    int64_t since_ms;
    char address[CARD_ADDRESS_MAX];
    char local_address[CARD_ADDRESS_MAX];

    /* Written by the owner. */
    _Atomic int64_t active_ms;
    _Atomic(const struct command *) command; /* the last one; NULL: none yet */
    _Atomic uint32_t flags;
    _Atomic uint64_t query_bytes;
    _Atomic uint64_t output_bytes;
    _Atomic bool touched;                            /* a key that it watches has changed */
    _Atomic uint32_t queued;                         /* commands, with CARD_IN_MULTI */
    _Atomic uint64_t redirect;                       /* a client's id or 0, with CARD_TRACKS */
    _Atomic uint32_t subscribed[CARD_SUBSCRIPTIONS]; /* by enum pubsub_kind */

    /* The roster's, under its lock. */
    char *words[CARD_WORDS];
    struct mailbox *mailbox; /* push.h; NULL: nobody has asked for it yet */
    bool killed;             /* on its way out: no longer shown */
    struct card *next, *previous;
};

struct roster *roster_create(uint32_t max_clients);
void roster_destroy(struct roster **roster);

/* Gives the card its id and enters it; false: full, and the card is untouched. */
bool roster_enter(struct roster *roster, struct card *card);
void roster_leave(struct roster *roster, struct card *card);
uint32_t roster_count(struct roster *roster);
uint32_t roster_max(const struct roster *roster);
void roster_set_max(struct roster *roster, uint32_t max_clients); /* any thread */

static inline void card_touch(struct card *card, const struct command *command, int64_t now_ms) {
    atomic_store_explicit(&card->command, command, memory_order_relaxed);
    atomic_store_explicit(&card->active_ms, now_ms, memory_order_relaxed);
}
static inline void card_flag(struct card *card, uint32_t flag, bool on) {
    uint32_t flags = atomic_load_explicit(&card->flags, memory_order_relaxed);
    atomic_store_explicit(&card->flags, on ? flags | flag : flags & ~flag, memory_order_relaxed);
}
static inline bool card_has(const struct card *card, uint32_t flag) {
    return (atomic_load_explicit(&card->flags, memory_order_relaxed) & flag) != 0;
}

/* An empty word takes it back. */
void roster_set_word(struct roster *roster, struct card *card, enum card_word word,
                     struct slice text);
/* Appends the word ("" where there is none). */
void roster_word(struct roster *roster, const struct card *card, enum card_word word,
                 struct buf *out);

/* The client's mailbox, made at the first call: by its card (borrowed: the owner's call), or by its id (acquired; NULL: no such
 * client; any thread). */
struct mailbox *roster_own_mailbox(struct roster *roster, struct card *card);
struct mailbox *roster_mailbox(struct roster *roster, uint64_t client_id);

/* ROSTER_NOBODY: filters that no client of ours can match (TYPE master). */
enum roster_type { ROSTER_ANY, ROSTER_NORMAL, ROSTER_PUBSUB, ROSTER_NOBODY };

/* CLIENT LIST's and CLIENT KILL's filters; what is 0, NULL or empty does not filter, but for the user, whose name may be empty. */
struct roster_filter {
    const uint64_t *ids;
    uint32_t n_ids;
    uint64_t skip_id; /* this one never */
    struct slice address;
    struct slice local_address;
    struct slice user; /* data NULL: any */
    bool named_user;   /* any but the default one */
    enum roster_type type;
    int64_t older_than_ms; /* 0: any; else connected for at least so long */
};

/* One line a client, as CLIENT LIST prints it. */
void roster_list(struct roster *roster, const struct roster_filter *filter, int64_t now_ms,
                 struct buf *out);
void roster_describe(struct roster *roster, const struct card *card, int64_t now_ms,
                     struct buf *out);

/* Has its worker end the wait of that client's command (worker_unblock). False: there is none, or it does not wait for an
 * event. */
bool roster_unblock(struct roster *roster, uint64_t client_id, bool error);

/* Reports each match, under the roster's lock. */
typedef void roster_visit_fn(const struct card *card, void *arg);
void roster_each(struct roster *roster, const struct roster_filter *filter, int64_t now_ms,
                 roster_visit_fn *visit, void *arg);

/* Marks and reports each match, whose worker is then told (`kill` is called under the roster's lock). Returns how many. */
typedef void roster_kill_fn(const struct card *card, void *arg);
uint32_t roster_kill(struct roster *roster, const struct roster_filter *filter, int64_t now_ms,
                     roster_kill_fn *kill, void *arg);

#endif
