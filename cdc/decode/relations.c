#include "cdc/decode/relations.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { MIN_SLOTS = 64 /* a power of two */ };

/* A descriptor and all its text are one allocation. */
struct known {
    struct relation relation;
    uint64_t fingerprint;
    bool announced; /* in this session */
    bool quiet;     /* and yet not */
    struct known *next_retired;
    struct relation_column columns[];
};

struct relations {
    struct known **slots; /* open addressing, linear probing; relations are never removed */
    uint32_t n_slots;
    uint32_t n_known;
    struct known *last_found; /* changes come in runs of one table */
    struct known *retired;
};

struct relations *relations_create(void) {
    struct relations *relations = mem_zalloc(sizeof *relations);
    relations->n_slots = MIN_SLOTS;
    relations->slots = mem_calloc(MIN_SLOTS, sizeof(struct known *));
    return relations;
}

void relations_destroy(struct relations **relations) {
    struct relations *self = *relations;
    if (!self) return;
    relations_sweep(self);
    for (uint32_t i = 0; i < self->n_slots; i++)
        mem_free(self->slots[i]);
    mem_free(self->slots);
    mem_free(self);
    *relations = NULL;
}

void relations_new_session(struct relations *relations) {
    for (uint32_t i = 0; i < relations->n_slots; i++) {
        if (relations->slots[i])
            relations->slots[i]->announced = relations->slots[i]->quiet = false;
    }
}

/* The slot that holds the OID, or the empty one where it belongs. */
static struct known **find_slot(struct relations *relations, uint32_t oid) {
    uint32_t mask = relations->n_slots - 1;
    uint32_t i = oid * UINT32_C(2654435761) & mask;
    while (relations->slots[i] && relations->slots[i]->relation.oid != oid)
        i = (i + 1) & mask;
    return &relations->slots[i];
}

static void grow(struct relations *relations) {
    struct known **old = relations->slots;
    uint32_t n_old = relations->n_slots;
    relations->n_slots = n_old * 2;
    relations->slots = mem_calloc(relations->n_slots, sizeof(struct known *));
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i]) *find_slot(relations, old[i]->relation.oid) = old[i];
    }
    mem_free(old);
}

static bool same_text(const char *text, struct slice slice) {
    return slice_equal(slice_from(text), slice);
}

static bool same(const struct relation *relation, const struct relation_draft *draft) {
    if (relation->replica_identity != draft->replica_identity ||
        relation->n_columns != draft->n_columns || !same_text(relation->schema, draft->schema) ||
        !same_text(relation->name, draft->name))
        return false;
    for (uint16_t i = 0; i < draft->n_columns; i++) {
        const struct relation_column *a = &relation->columns[i];
        const struct pgoutput_column *b = &draft->columns[i];
        if (a->type_oid != b->type_oid || a->typmod != b->typmod || a->identity != b->identity ||
            !same_text(a->name, b->name))
            return false;
    }
    return true;
}

static char *put_text(char **at, struct slice text) {
    char *copy = *at;
    if (text.len) memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *at += text.len + 1;
    return copy;
}

static struct known *build(const struct relation_draft *draft, uint32_t version) {
    size_t text_bytes = draft->schema.len + draft->name.len + 2;
    for (uint16_t i = 0; i < draft->n_columns; i++)
        text_bytes += draft->columns[i].name.len + 1;
    size_t head_bytes = sizeof(struct known) + draft->n_columns * sizeof(struct relation_column);
    struct known *known = mem_zalloc(head_bytes + text_bytes);
    char *text = (char *)known + head_bytes;
    known->fingerprint = draft->fingerprint;
    for (uint16_t i = 0; i < draft->n_columns; i++) {
        const struct pgoutput_column *column = &draft->columns[i];
        known->columns[i] = (struct relation_column){.name = put_text(&text, column->name),
                                                     .type_oid = column->type_oid,
                                                     .typmod = column->typmod,
                                                     .identity = column->identity};
    }
    known->relation = (struct relation){.oid = draft->oid,
                                        .version = version,
                                        .schema = put_text(&text, draft->schema),
                                        .name = put_text(&text, draft->name),
                                        .replica_identity = draft->replica_identity,
                                        .n_columns = draft->n_columns,
                                        .columns = known->columns};
    return known;
}

const struct relation *relations_put(struct relations *relations,
                                     const struct relation_draft *draft, bool *announce) {
    ASSERT(draft->n_columns <= PGOUTPUT_MAX_COLUMNS);
    struct known **slot = find_slot(relations, draft->oid);
    if (*slot && (*slot)->fingerprint == draft->fingerprint && same(&(*slot)->relation, draft)) {
        *announce = !(*slot)->announced;
        (*slot)->announced = true;
        return &(*slot)->relation;
    }
    uint32_t version = *slot ? (*slot)->relation.version + 1 : 1;
    if (*slot) {
        (*slot)->next_retired = relations->retired;
        relations->retired = *slot;
    } else if (++relations->n_known * 2 > relations->n_slots) {
        grow(relations);
        slot = find_slot(relations, draft->oid);
    }
    *slot = build(draft, version);
    (*slot)->announced = true;
    relations->last_found = *slot;
    *announce = true;
    return &(*slot)->relation;
}

const struct relation *relations_find(struct relations *relations, uint32_t oid) {
    struct known *known = relations->last_found;
    if (known && known->relation.oid == oid) return &known->relation;
    known = *find_slot(relations, oid);
    if (!known) return NULL;
    relations->last_found = known;
    return &known->relation;
}

static struct known *known_of(const struct relation *relation) {
    return (struct known *)((uintptr_t)relation - offsetof(struct known, relation));
}

void relations_keep_quiet(const struct relation *relation) { known_of(relation)->quiet = true; }

bool relations_take_quiet(const struct relation *relation) {
    struct known *known = known_of(relation);
    if (__builtin_expect(!known->quiet, 1)) return false;
    known->quiet = false;
    return true;
}

bool relations_is_quiet(const struct relation *relation) { return known_of(relation)->quiet; }

void relations_sweep(struct relations *relations) {
    while (relations->retired) {
        struct known *known = relations->retired;
        relations->retired = known->next_retired;
        mem_free(known);
    }
}
