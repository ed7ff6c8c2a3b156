#include "cache/commands/command_ids.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/access/categories.h"

enum { SLOTS = 2048, EMPTY = UINT16_MAX };

struct command_ids {
    uint32_t n;
    const struct command *rows[COMMAND_IDS_MAX];
    const struct command *parents[COMMAND_IDS_MAX];
    uint32_t categories[COMMAND_IDS_MAX];
    uint16_t slots[SLOTS]; /* ids by the rows' addresses, open addressing */
};

static uint32_t slot_of(const struct command *command) {
    uint64_t hash = (uint64_t)(uintptr_t)command * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(hash >> 53) % SLOTS;
}

static void add(struct command_ids *ids, const struct command *row, const struct command *parent) {
    ASSERT(ids->n < COMMAND_IDS_MAX);
    uint32_t slot = slot_of(row);
    while (ids->slots[slot] != EMPTY)
        slot = (slot + 1) % SLOTS;
    ids->slots[slot] = (uint16_t)ids->n;
    ids->rows[ids->n] = row;
    ids->parents[ids->n] = parent;
    ids->categories[ids->n++] = category_bits(row, parent);
    for (const struct command *sub = row->subcommands; sub && sub->name; sub++)
        add(ids, sub, row);
}

struct command_ids *command_ids_create(void) {
    struct command_ids *ids = mem_zalloc(sizeof *ids);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        ids->slots[slot] = EMPTY;
    const struct command *row;
    for (uint32_t i = 0; (row = command_at(i)); i++)
        add(ids, row, NULL);
    for (row = commands_refused; row->name; row++)
        add(ids, row, NULL);
    return ids;
}

void command_ids_destroy(struct command_ids **ids) {
    mem_free(*ids);
    *ids = NULL;
}

uint32_t command_ids_count(const struct command_ids *ids) { return ids->n; }

uint32_t command_id(const struct command_ids *ids, const struct command *command) {
    uint32_t slot = slot_of(command);
    while (ids->rows[ids->slots[slot]] != command)
        slot = (slot + 1) % SLOTS;
    return ids->slots[slot];
}

const struct command *command_of_id(const struct command_ids *ids, uint32_t id) {
    return ids->rows[id];
}

const struct command *command_parent_of_id(const struct command_ids *ids, uint32_t id) {
    return ids->parents[id];
}

uint32_t command_categories_of_id(const struct command_ids *ids, uint32_t id) {
    return ids->categories[id];
}

void command_full_name(const struct command_ids *ids, uint32_t id, char name[COMMAND_NAME_MAX]) {
    const struct command *parent = ids->parents[id];
    snprintf(name, COMMAND_NAME_MAX, "%s%s%s", parent ? parent->name : "", parent ? "|" : "",
             ids->rows[id]->name);
}

int32_t command_id_of_name(const struct command_ids *ids, struct slice name) {
    char full[COMMAND_NAME_MAX];
    for (uint32_t id = 0; id < ids->n; id++) {
        command_full_name(ids, id, full);
        if (slice_equal_nocase(name, slice_from(full))) return (int32_t)id;
    }
    return -1;
}
