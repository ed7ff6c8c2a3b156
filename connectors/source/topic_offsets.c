#include "connectors/source/topic_offsets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { FIRST_RECORDS = 1024 };

struct record {
    uint64_t number;
    int64_t next_offset;
    int32_t partition;
};

/*   0 ..... head ..... tail ..... cap
 *   | done  | waiting  | free    |    moved to the front when the end is reached */
struct topic_offsets {
    char topic[250];
    char metadata[128];
    struct record *records;
    size_t head;
    size_t tail;
    size_t cap;
};

struct topic_offsets *topic_offsets_create(void) {
    struct topic_offsets *offsets = mem_zalloc(sizeof *offsets);
    offsets->cap = FIRST_RECORDS;
    offsets->records = mem_calloc(offsets->cap, sizeof *offsets->records);
    return offsets;
}

void topic_offsets_destroy(struct topic_offsets **offsets) {
    struct topic_offsets *old = *offsets;
    *offsets = NULL;
    if (!old) return;
    mem_free(old->records);
    mem_free(old);
}

void topic_offsets_begin(struct topic_offsets *offsets, const char *topic, const char *metadata) {
    topic_offsets_clear(offsets);
    snprintf(offsets->topic, sizeof offsets->topic, "%s", topic);
    snprintf(offsets->metadata, sizeof offsets->metadata, "%s", metadata);
}

void topic_offsets_clear(struct topic_offsets *offsets) { offsets->head = offsets->tail = 0; }

static void make_room(struct topic_offsets *offsets) {
    size_t waiting = offsets->tail - offsets->head;
    if (waiting * 2 > offsets->cap) {
        offsets->cap *= 2;
        offsets->records = mem_realloc(offsets->records, offsets->cap * sizeof *offsets->records);
    }
    memmove(offsets->records, offsets->records + offsets->head, waiting * sizeof *offsets->records);
    offsets->head = 0;
    offsets->tail = waiting;
}

void topic_offsets_note(struct topic_offsets *offsets, uint64_t number, int32_t partition,
                        int64_t next_offset) {
    ASSERT(offsets->head == offsets->tail || offsets->records[offsets->tail - 1].number < number);
    if (offsets->tail == offsets->cap) make_room(offsets);
    offsets->records[offsets->tail++] =
        (struct record){.number = number, .next_offset = next_offset, .partition = partition};
}

static void set(const struct topic_offsets *offsets, rd_kafka_topic_partition_list_t *list,
                const struct record *record) {
    rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_find(list, offsets->topic, record->partition);
    if (!at) {
        at = rd_kafka_topic_partition_list_add(list, offsets->topic, record->partition);
        at->metadata = strdup(offsets->metadata); /* the list's to free */
        at->metadata_size = strlen(offsets->metadata);
    }
    at->offset = record->next_offset;
}

rd_kafka_topic_partition_list_t *topic_offsets_take(struct topic_offsets *offsets,
                                                    uint64_t done_number) {
    rd_kafka_topic_partition_list_t *list = NULL;
    while (offsets->head < offsets->tail && offsets->records[offsets->head].number <= done_number) {
        if (!list) list = rd_kafka_topic_partition_list_new(1);
        set(offsets, list, &offsets->records[offsets->head++]);
    }
    return list;
}
