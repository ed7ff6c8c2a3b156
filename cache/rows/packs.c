#include "cache/rows/packs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cache/rows/fill.h"

enum {
    MAX_STATEMENT_ROWS = 512,   /* of rows that need not be read together */
    MAX_STATEMENT_RESULTS = 32, /* of named queries: they may be slow, and the last waits for all */
};

/* They go by table, key and form, so that a pack's fills stand together that go into one statement. */
static int by_statement(const void *a, const void *b) {
    const struct fill *left = *(struct fill *const *)a;
    const struct fill *right = *(struct fill *const *)b;
    if (left->table != right->table) return left->table < right->table ? -1 : 1;
    if (left->row.unique != right->row.unique) return left->row.unique < right->row.unique ? -1 : 1;
    if (left->row.plain != right->row.plain) return left->row.plain ? -1 : 1;
    return (int)left->form - (int)right->form;
}

static bool same_statement(const struct fill *a, const struct fill *b) {
    if (a->table->query && a->table->query->single) return a == b;
    return a->table == b->table && a->row.unique == b->row.unique && a->row.plain == b->row.plain &&
           a->form == b->form;
}

void packs_add(struct packs *packs, struct fill **fills, uint32_t n, struct pack_terms terms) {
    struct pack *pack = mem_alloc(sizeof *pack + n * sizeof(struct fill *));
    *pack = (struct pack){.terms = terms, .n = n};
    memcpy(pack->fills, fills, n * sizeof(struct fill *));
    qsort(pack->fills, n, sizeof pack->fills[0], by_statement);
    if (packs->newest)
        packs->newest->next = pack;
    else
        packs->first = pack;
    packs->newest = pack;
    packs->n_fills += n;
}

void packs_deinit(struct packs *packs) {
    while (packs->first) {
        struct pack *pack = packs->first;
        packs->first = pack->next;
        for (uint32_t i = 0; i < pack->n; i++)
            fill_destroy(&pack->fills[i]);
        mem_free(pack);
    }
    *packs = (struct packs){0};
}

static bool is_single(const struct pack *pack) {
    return same_statement(pack->fills[0], pack->fills[pack->n - 1]);
}

static struct unit *unit_create(struct fill **fills, uint32_t n) {
    struct unit *unit = mem_zalloc(sizeof *unit);
    unit->n_fills = n;
    unit->fills = fills;
    for (uint32_t i = 0; i < n; i++)
        unit->n_batches += i == 0 || !same_statement(fills[i - 1], fills[i]);
    unit->batches = mem_calloc(unit->n_batches, sizeof *unit->batches);
    struct batch *batch = unit->batches - 1;
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || !same_statement(fills[i - 1], fills[i])) {
            batch++;
            *batch = (struct batch){.statement = {.table = fills[i]->table,
                                                  .unique = fills[i]->row.unique,
                                                  .form = fills[i]->form},
                                    .fills = fills + i};
        }
        batch->n_fills++;
    }
    for (uint32_t b = 0; b < unit->n_batches; b++)
        unit->batches[b].statement.way =
            batch_way(unit->batches[b].fills, unit->batches[b].n_fills);
    return unit;
}

static bool may_go(const struct pack *pack, int64_t now_us, bool standby) {
    return pack->terms.not_before_us <= now_us && standby == !pack->terms.of_primary;
}

/* May this pack go into the statement that the head's rows make? */
static bool fits(const struct pack *head, const struct pack *pack, uint32_t n, int64_t now_us,
                 bool standby) {
    return may_go(pack, now_us, standby) && is_single(pack) &&
           same_statement(head->fills[0], pack->fills[0]) && !pack->fills[0]->alone &&
           n + pack->n <=
               (pack->fills[0]->table->query ? MAX_STATEMENT_RESULTS : MAX_STATEMENT_ROWS);
}

struct unit *packs_compose(struct packs *packs, struct pack *head, int64_t now_us, bool standby) {
    struct pack **at = &packs->first;
    struct pack *before = NULL;
    for (; *at != head; at = &(*at)->next)
        before = *at;
    bool gather = is_single(head) && !head->fills[0]->alone;
    uint32_t cap = head->n > MAX_STATEMENT_ROWS ? head->n : MAX_STATEMENT_ROWS;
    struct fill **fills = mem_calloc(gather ? cap : head->n, sizeof(struct fill *));
    uint32_t n = 0;
    while (*at) {
        struct pack *pack = *at;
        if (pack != head && !(gather && fits(head, pack, n, now_us, standby))) {
            before = pack;
            at = &pack->next;
            continue;
        }
        memcpy(fills + n, pack->fills, pack->n * sizeof(struct fill *));
        n += pack->n;
        *at = pack->next;
        if (pack != head) mem_free(pack);
    }
    packs->newest = before;
    packs->n_fills -= n;
    mem_free(head);
    return unit_create(fills, n);
}

struct pack *packs_next(const struct packs *packs, const struct pack *after, int64_t now_us,
                        bool standby) {
    struct pack *pack = after ? after->next : packs->first;
    while (pack && !may_go(pack, now_us, standby))
        pack = pack->next;
    return pack;
}

void packs_go_to_primary(struct packs *packs, int64_t now_us) {
    for (struct pack *pack = packs->first; pack; pack = pack->next)
        pack->terms.of_primary |= pack->terms.not_before_us <= now_us;
}

void packs_remap(struct packs *packs, struct tablemap *map) {
    for (struct pack *pack = packs->first; pack; pack = pack->next) {
        bool moved = false;
        for (uint32_t i = 0; i < pack->n; i++) {
            struct fill *fill = pack->fills[i];
            if (atomic_load(&fill->table->state->version) == fill->table->version) continue;
            moved |= fill->map != map && fill_remap(fill, map);
        }
        if (moved) qsort(pack->fills, pack->n, sizeof pack->fills[0], by_statement);
    }
}

struct pack *packs_take_expired(struct packs *packs, int64_t before_us) {
    struct pack *before = NULL;
    for (struct pack **at = &packs->first; *at; before = *at, at = &(*at)->next) {
        struct pack *pack = *at;
        if (before_us < pack->fills[0]->deadline_us) continue;
        *at = pack->next;
        if (packs->newest == pack) packs->newest = before;
        packs->n_fills -= pack->n;
        return pack;
    }
    return NULL;
}
