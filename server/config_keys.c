/* cdc.message_key: which of its columns make the key of a table's records. */
#include <string.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "cdc/encode/event_table.h"
#include "server/config.h"

static const char option_path[] = "cdc.message_key";

void config_check_message_keys(const struct config *config, struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->cdc.n_message_keys; i++) {
        const struct message_key *entry = &config->cdc.message_keys[i];
        const char *at = config_pair_where(config, option_path, entry->table);
        const char *columns = entry->columns;
        char *path = mem_printf("%s.%s", option_path, entry->table);
        if (!pattern_valid(entry->table))
            mistakes_add(mistakes, at, path, "is no pattern of tables, write schema.table");
        if (!event_key_word(&columns).len)
            mistakes_add(mistakes, at, path, "names no column, write [region, id]");
        mem_free(path);
    }
}

static bool has_column(const struct catalog_table *table, struct slice name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (slice_equal(slice_from(table->columns[i].name), name)) return true;
    }
    return false;
}

static void verify_columns(const struct message_key *entry, const struct catalog_table *table,
                           const char *at, struct mistakes *mistakes) {
    char *path = mem_printf("%s.%s", option_path, entry->table);
    const char *columns = entry->columns;
    for (struct slice name; (name = event_key_word(&columns)).len;) {
        if (!has_column(table, name))
            mistakes_add(mistakes, at, path, "there is no column \"%.*s\" in %s.%s", (int)name.len,
                         name.data, table->schema, table->name);
    }
    mem_free(path);
}

void config_verify_message_keys(const struct config *config, const struct catalog *catalog,
                                struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->cdc.n_message_keys; i++) {
        const struct message_key *entry = &config->cdc.message_keys[i];
        const char *at = config_pair_where(config, option_path, entry->table);
        bool found = strchr(entry->table, '*'); /* may wait for tables to come */
        for (uint32_t t = 0; t < catalog->n_tables; t++) {
            const struct catalog_table *table = &catalog->tables[t];
            if (!pattern_match(entry->table, table->schema, table->name)) continue;
            verify_columns(entry, table, at, mistakes);
            found = true;
        }
        if (!found)
            mistakes_add(mistakes, at, option_path, "\"%.80s\" matches no table in %s",
                         entry->table, catalog->database);
    }
}
