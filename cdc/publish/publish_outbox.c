/* Messages of outboxes: rows and logical messages that name their topic themselves. See publisher_parts.h and outbox.h. */
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cdc/publish/publisher_parts.h"

/* ---- topics by name ---- */

struct outbox_topic {
    const char *name;
    void *handle; /* the output's */
};

struct outbox_topics {
    struct arena *names;
    struct outbox_topic *slots; /* by name; open addressing, at most half full */
    uint32_t n_slots;
    uint32_t n;
};

static struct outbox_topic *find_slot(const struct outbox_topics *topics, const char *name) {
    for (uint64_t at = XXH3_64bits(name, strlen(name));; at++) {
        struct outbox_topic *slot = &topics->slots[at & (topics->n_slots - 1)];
        if (!slot->name || strcmp(slot->name, name) == 0) return slot;
    }
}

static void grow(struct outbox_topics *topics) {
    struct outbox_topics old = *topics;
    topics->n_slots = old.n_slots ? old.n_slots * 2 : 64;
    topics->slots = mem_calloc(topics->n_slots, sizeof *topics->slots);
    for (uint32_t i = 0; i < old.n_slots; i++) {
        if (old.slots[i].name) *find_slot(topics, old.slots[i].name) = old.slots[i];
    }
    mem_free(old.slots);
}

struct outbox_topics *outbox_topics_create(void) {
    struct outbox_topics *topics = mem_zalloc(sizeof *topics);
    topics->names = arena_create(4096);
    grow(topics);
    return topics;
}

void outbox_topics_destroy(struct outbox_topics **topics) {
    if (!*topics) return;
    arena_destroy(&(*topics)->names);
    mem_free((*topics)->slots);
    mem_free(*topics);
    *topics = NULL;
}

static void *open_topic(struct publisher *p, const char *name, struct error *err) {
    struct outbox_topics *topics = p->outbox_topics;
    struct outbox_topic *slot = find_slot(topics, name);
    if (slot->name) return slot->handle;
    void *handle = p->output_ops->topic(p->output, name, &topic_of_rows, err);
    if (!handle) return NULL;
    *slot = (struct outbox_topic){.name = arena_strdup(topics->names, name), .handle = handle};
    if (++topics->n * 2 > topics->n_slots) grow(topics);
    return handle;
}

/* ---- messages ---- */

static bool send_message(struct publisher *p, const struct event *event,
                         const struct outbox_entry *entry, const struct outbox_message *message,
                         struct error *err) {
    const char *name = outbox_topic(entry, message, p->scratch);
    if (!name) return publish_bury(p, event, "what route_by names holds no topic's name", err);
    struct record record = {.topic = open_topic(p, name, err),
                            .key = message->key,
                            .value = message->payload,
                            .foreign = true};
    if (!record.topic) return false;
    if (message->id.data)
        record.headers[record.n_headers++] =
            (struct record_header){.name = "id", .value = message->id};
    for (unsigned i = 0; i < message->n_headers; i++)
        record.headers[record.n_headers++] =
            (struct record_header){.name = entry->headers[i].name, .value = message->headers[i]};
    ASSERT(record.n_headers <= RECORD_HEADERS_MAX);
    if (!publish_record(p, event, &record, err)) return false;
    metric_bump(p->metrics.outbox, 1);
    return true;
}

/* The column's value as JSON, in *out. */
static void encode(const struct event_table *table, int place, struct slice *text,
                   struct buf *out) {
    out->len = 0;
    if (!text->data) return;
    bool done = codec_encode(table->columns[place].codec, *text, out) != CODEC_REFUSED;
    *text = done ? buf_slice(out) : (struct slice){0};
}

bool publish_outbox_row(struct publisher *p, struct event_table *table, const struct change *change,
                        struct error *err) {
    bool counts = change->operation == CHANGE_INSERT || change->operation == CHANGE_READ;
    if (!counts) return true; /* an outbox is emptied by DELETE */
    const struct outbox *outbox = table->outbox;
    struct event event = {.op = publish_op_letter(change->operation),
                          .table = table,
                          .after = change->new_row,
                          .lsn = change->row_lsn};
    struct outbox_message message;
    p->key.len = p->value.len = 0;
    arena_reset(p->scratch);
    const char *wrong = outbox_read_row(outbox, change->new_row, p->scratch, &message);
    if (wrong) return publish_bury(p, &event, wrong, err);
    if (outbox->entry->encoding == OUTBOX_JSON) {
        encode(table, outbox->key, &message.key, &p->key);
        encode(table, outbox->payload, &message.payload, &p->value);
    }
    return send_message(p, &event, outbox->entry, &message, err);
}

bool publish_outbox_message(struct publisher *p, const struct outbox_entry *entry,
                            const struct change *change, struct error *err) {
    struct event event = {.op = 'm',
                          .lsn = change->row_lsn,
                          .message_prefix = change->message_prefix,
                          .message_content = change->message_content};
    struct outbox_message message;
    json_t *parsed = NULL;
    p->key.len = p->value.len = 0;
    arena_reset(p->scratch);
    const char *wrong =
        outbox_read_content(entry, change->message_content, &parsed, p->scratch, &message);
    bool ok =
        wrong ? publish_bury(p, &event, wrong, err) : send_message(p, &event, entry, &message, err);
    json_decref(parsed);
    return ok;
}
