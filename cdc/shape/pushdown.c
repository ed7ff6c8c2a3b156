#include "cdc/shape/pushdown.h"

#include <string.h>

#include "base/buf.h"
#include "base/pattern.h"
#include "cdc/shape/row_filter.h"

/* Do the entries name, one by one, the columns that are kept? */
static bool lists_columns(const struct shape_rules *rules, const struct catalog_table *table) {
    bool lists = false;
    for (uint32_t i = 0; i < rules->n_entries; i++) {
        const struct shape_entry *entry = &rules->entries[i];
        if (!pattern_match(entry->table, table->schema, table->name)) continue;
        for (uint32_t k = 0; k < entry->n_columns; k++) {
            if (pattern_count_stars(entry->columns[k])) return false;
            lists = true;
        }
    }
    return lists;
}

static bool narrows_columns(const struct shape_rules *rules, const struct catalog_table *table) {
    return shape_view(rules, table->schema, table->name) == VIEW_KEYS_ONLY ||
           lists_columns(rules, table);
}

static bool partitions_by(const struct shape_rules *rules, const struct catalog_table *table,
                          const char *column) {
    for (uint32_t i = 0; i < rules->n_entries; i++) {
        const struct shape_entry *entry = &rules->entries[i];
        if (!pattern_match(entry->table, table->schema, table->name)) continue;
        for (uint32_t k = 0; k < entry->n_partition_by; k++) {
            if (strcmp(entry->partition_by[k], column) == 0) return true;
        }
    }
    return false;
}

static bool is_of_key(const struct catalog_table *table, uint16_t place) {
    const struct catalog_index *index = table->primary_key;
    for (uint16_t i = 0; index && i < index->n_columns; i++) {
        if (index->columns[i] == place) return true;
    }
    return false;
}

/* "a, b" */
static bool is_of_message_key(const struct publisher_config *config,
                              const struct catalog_table *table, const char *column) {
    for (uint32_t i = 0; i < config->n_message_keys; i++) {
        const struct message_key *key = &config->message_keys[i];
        if (!pattern_match(key->table, table->schema, table->name)) continue;
        for (const char *at = key->columns; *at;) {
            at += strspn(at, ", ");
            size_t len = strcspn(at, ",");
            if (slice_equal(slice_make(at, len), slice_from(column))) return true;
            at += len;
        }
        return false;
    }
    return false;
}

static void plan_columns(const struct publisher_config *config, const struct catalog_table *table,
                         const char *where, struct arena *arena, struct publication_table *out) {
    const struct shape_rules *rules = &config->shape;
    bool keys_only = shape_view(rules, table->schema, table->name) == VIEW_KEYS_ONLY;
    if (!narrows_columns(rules, table) || table->replica_identity == 'f') return;
    uint16_t *places = arena_alloc(arena, (table->n_columns + 1u) * sizeof *places);
    uint16_t n = 0, n_published = 0;
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct catalog_column *column = &table->columns[i];
        uint32_t length;
        bool kept = !keys_only && shape_fate(rules, table->schema, table->name, column->name, "",
                                             -1, &length) != FATE_DROPPED;
        bool needed = column->in_identity || is_of_key(table, i) ||
                      is_of_message_key(config, table, column->name) ||
                      partitions_by(rules, table, column->name) ||
                      (where && row_filter_mentions(where, column->name));
        if (column->generated) continue; /* our publications have none */
        n_published++;
        if (kept || needed) places[n++] = i;
    }
    if (n == n_published) return;
    out->n_columns = n;
    out->columns = places;
}

void pushdown_plan(const struct publisher_config *config, const struct catalog_table *table,
                   int server_version, struct arena *arena, struct publication_table *out) {
    bool may = server_version >= PUSHDOWN_VERSION && !config->invalidations;
    struct buf where = {0};
    bool filtered = shape_where(&config->shape, table->schema, table->name, &where);
    const char *text = filtered ? arena_strdup(arena, buf_text(&where)) : NULL;
    buf_deinit(&where);
    out->exact = text || narrows_columns(&config->shape, table);
    if (!may) return;
    if (text && row_filter_pushable(text, table)) out->row_filter = text;
    plan_columns(config, table, text, arena, out);
}
