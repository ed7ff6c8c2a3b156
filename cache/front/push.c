#include "cache/front/push.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/loop.h"
#include "base/mem.h"
#include "cache/front/client.h"
#include "cache/front/output_limits.h"
#include "cache/front/roster.h"
#include "cache/front/worker.h"

/* What may be on its way in any case: it waits for our worker there, which is not the client's fault. */
enum { UNDERWAY_LEAST = 8 << 20 };

/* --- addresses ---------------------------------------------------------------------------------------------- */

struct mailbox {
    _Atomic uint32_t references; /* the client's, and those of what is on the way */
    _Atomic bool closed;
    _Atomic bool overrun;            /* its client is being closed for what it has not read */
    _Atomic uint64_t underway_bytes; /* sent, and not delivered yet */
    uint64_t client_id;              /* immutable, as the next two */
    uint32_t slot;
    struct worker *worker;
};

struct mailbox *mailbox_create(const struct card *card) {
    struct mailbox *mailbox = mem_zalloc(sizeof *mailbox);
    mailbox->references = 1;
    mailbox->client_id = card->id;
    mailbox->slot = card->slot;
    mailbox->worker = card->worker;
    return mailbox;
}

struct mailbox *mailbox_acquire(struct mailbox *mailbox) {
    atomic_fetch_add_explicit(&mailbox->references, 1, memory_order_relaxed);
    return mailbox;
}

void mailbox_release(struct mailbox **mailbox) {
    struct mailbox *box = *mailbox;
    *mailbox = NULL;
    if (box && atomic_fetch_sub_explicit(&box->references, 1, memory_order_acq_rel) == 1)
        mem_free(box);
}

uint64_t mailbox_client_id(const struct mailbox *mailbox) { return mailbox->client_id; }

bool mailbox_is_closed(const struct mailbox *mailbox) {
    return atomic_load_explicit(&mailbox->closed, memory_order_relaxed);
}

void mailbox_close(struct mailbox *mailbox) {
    atomic_store_explicit(&mailbox->closed, true, memory_order_relaxed);
}

/* --- what is sent ------------------------------------------------------------------------------------------- */

/*   bytes:  resp2 | resp3 | tail | topic        */
struct push {
    _Atomic uint32_t references; /* one a parcel */
    push_wanted *wanted;
    struct slice resp2, resp3, tail, topic;
    char bytes[];
};

static char *keep(char *at, struct slice bytes, struct slice *kept) {
    if (bytes.len) memcpy(at, bytes.data, bytes.len);
    *kept = bytes.data ? slice_make(at, bytes.len) : (struct slice){0};
    return at + bytes.len;
}

struct push *push_create(struct slice resp2, struct slice resp3, struct slice tail,
                         struct slice topic, push_wanted *wanted) {
    struct push *push = mem_alloc(sizeof *push + resp2.len + resp3.len + tail.len + topic.len);
    push->references = 1;
    push->wanted = wanted;
    char *at = keep(push->bytes, resp2, &push->resp2);
    at = keep(at, resp3, &push->resp3);
    at = keep(at, tail, &push->tail);
    keep(at, topic, &push->topic);
    return push;
}

struct slice push_topic(const struct push *push) {
    return push->topic;
}

static void push_release(struct push *push) {
    if (atomic_fetch_sub_explicit(&push->references, 1, memory_order_acq_rel) == 1) mem_free(push);
}

/* --- parcels: one push for clients of one worker ------------------------------------------------------------- */

struct parcel {
    struct loop_message message;
    struct worker *worker;
    struct parcel *next; /* while it is packed */
    struct push *push;
    uint32_t n, cap;
    struct mailbox *to[];
};

/* What one of them on its way to one client costs, near enough. */
static uint64_t push_size(const struct push *push) {
    return sizeof(struct parcel) + sizeof *push + push->resp2.len + push->tail.len;
}

static void deliver_to(struct worker *worker, struct mailbox *mailbox, const struct push *push) {
    atomic_fetch_sub_explicit(&mailbox->underway_bytes, push_size(push), memory_order_relaxed);
    struct client *client = mailbox_is_closed(mailbox)
                                ? NULL
                                : worker_client(worker, mailbox->slot, mailbox->client_id);
    if (!client || (push->wanted && !push->wanted(client, push))) return;
    struct slice head = client_protocol(client) == 3 ? push->resp3 : push->resp2;
    if (head.data) client_push(client, head, push->tail);
}

static void deliver(struct loop_message *message, void *owner) {
    (void)message;
    struct parcel *parcel = owner;
    for (uint32_t i = 0; i < parcel->n; i++) {
        deliver_to(parcel->worker, parcel->to[i], parcel->push);
        mailbox_release(&parcel->to[i]);
    }
    push_release(parcel->push);
    mem_free(parcel);
}

/* The parcel of that worker, with room for one more, at the list's head. */
static struct parcel *parcel_for(struct parcel **parcels, struct worker *worker) {
    struct parcel **at = parcels;
    while (*at && (*at)->worker != worker)
        at = &(*at)->next;
    struct parcel *parcel = *at;
    if (parcel) *at = parcel->next;
    if (!parcel || parcel->n == parcel->cap) {
        uint32_t n = parcel ? parcel->n : 0;
        uint32_t cap = n ? 4 * n : 1;
        parcel = mem_realloc(parcel, sizeof *parcel + cap * sizeof parcel->to[0]);
        parcel->worker = worker;
        parcel->n = n;
        parcel->cap = cap;
    }
    parcel->next = *parcels;
    *parcels = parcel;
    return parcel;
}

/* False: it has been sent more than it may leave unread, and its worker has been told to close it. */
static bool has_room(struct mailbox *mailbox, uint64_t bytes) {
    uint64_t limit = output_limits_hard(worker_deps(mailbox->worker)->limits, OUTPUT_PUBSUB);
    uint64_t before =
        atomic_fetch_add_explicit(&mailbox->underway_bytes, bytes, memory_order_relaxed);
    if (limit == 0 || before <= limit || before <= UNDERWAY_LEAST) return true;
    atomic_fetch_sub_explicit(&mailbox->underway_bytes, bytes, memory_order_relaxed);
    if (!atomic_exchange_explicit(&mailbox->overrun, true, memory_order_relaxed))
        worker_overrun(mailbox->worker, mailbox->slot, mailbox->client_id);
    return false;
}

void push_send(struct mailbox *const *to, uint32_t n, struct push **push) {
    struct push *sent = *push;
    *push = NULL;
    struct parcel *parcels = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (mailbox_is_closed(to[i]) || !has_room(to[i], push_size(sent))) continue;
        struct parcel *parcel = parcel_for(&parcels, to[i]->worker);
        parcel->to[parcel->n++] = mailbox_acquire(to[i]);
    }
    while (parcels) {
        struct parcel *parcel = parcels;
        parcels = parcel->next;
        atomic_fetch_add_explicit(&sent->references, 1, memory_order_relaxed);
        parcel->push = sent;
        parcel->message = (struct loop_message){.run = deliver, .owner = parcel};
        loop_post(worker_loop(parcel->worker), &parcel->message);
    }
    push_release(sent);
}
