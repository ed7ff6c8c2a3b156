#include "cache/rows/batch.h"

#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "cache/rows/flights.h"

enum statement_way batch_way(struct fill *const *fills, uint32_t n) {
    const struct fill *first = fills[0];
    if (n == 1 && !first->table->query) return STATEMENT_ONE;
    return first->row.plain && statement_takes_any(first->table) ? STATEMENT_ANY : STATEMENT_EACH;
}

void batch_deinit(struct batch *batch) {
    PQclear(batch->result);
    mem_free(batch->places);
}

static struct slice key_of(const PGresult *result, int place) {
    return slice_make(PQgetvalue(result, place, STATEMENT_ANY_KEY),
                      (size_t)PQgetlength(result, place, STATEMENT_ANY_KEY));
}

/* The result's rows by their keys' texts: open addressing, at most half full. */
struct row_index {
    const PGresult *result;
    uint32_t mask;
    int32_t *slots; /* a row, or -1 */
};

static int32_t *slot_of(const struct row_index *index, struct slice key) {
    uint32_t i = (uint32_t)XXH3_64bits(key.data, key.len) & index->mask;
    while (index->slots[i] >= 0 && !slice_equal(key_of(index->result, index->slots[i]), key))
        i = (i + 1) & index->mask;
    return &index->slots[i];
}

static void index_rows(struct row_index *index, const PGresult *result, uint32_t n) {
    uint32_t cap = 4;
    while (cap < n * 2)
        cap *= 2;
    *index = (struct row_index){result, cap - 1, mem_alloc(cap * sizeof *index->slots)};
    memset(index->slots, 0xFF, cap * sizeof *index->slots);
    for (uint32_t i = 0; i < n; i++)
        *slot_of(index, key_of(result, (int)i)) = (int32_t)i;
}

/* Each row was asked for by someone, or the texts of values are not what they were taken for. */
static enum batch_placed place_any(struct batch *batch, uint32_t n_rows) {
    struct row_index index;
    bool none = n_rows == 1 && PQgetisnull(batch->result, 0, STATEMENT_ANY_KEY);
    index_rows(&index, batch->result, none ? 0 : n_rows);
    batch->places = mem_alloc(batch->n_fills * sizeof *batch->places);
    bool *asked = mem_calloc(n_rows, sizeof *asked);
    uint32_t n_asked = 0;
    for (uint32_t i = 0; i < batch->n_fills; i++) {
        int32_t place = *slot_of(&index, batch->fills[i]->row.values[0]);
        batch->places[i] = place;
        if (place < 0 || asked[place]) continue;
        asked[place] = true;
        n_asked++;
    }
    mem_free(asked);
    mem_free(index.slots);
    return n_asked == (none ? 0 : n_rows) ? BATCH_PLACED : BATCH_STRANGE;
}

/* Is the table what its description says? */
static bool is_as_described(const struct statement *statement, const PGresult *result) {
    const struct table *table = statement->table;
    if (!statement_is_spread(statement)) return true;
    if (!rowjson_fits(table->json, table->n_columns, result, statement_row_at(statement)))
        return false;
    if (!statement_is_guarded(statement)) return true;
    int guard = statement_guard_at(statement);
    if (PQnfields(result) - guard != table->n_columns) return false;
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(PQfname(result, guard + i), table->columns[i]) != 0) return false;
    }
    return true;
}

enum batch_placed batch_place(struct batch *batch) {
    const struct statement *statement = &batch->statement;
    if (!batch->result) return BATCH_TORN;
    uint32_t n_rows = (uint32_t)PQntuples(batch->result);
    if (n_rows == 0 || (statement->way != STATEMENT_ANY && n_rows != batch->n_fills))
        return BATCH_TORN;
    if (!is_as_described(statement, batch->result)) return BATCH_CHANGED;
    return statement->way == STATEMENT_ANY ? place_any(batch, n_rows) : BATCH_PLACED;
}
