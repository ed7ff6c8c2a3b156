/* What shapes the change stream (cdc.exclude_tables, cdc.shape, cdc.outbox, cdc.topics): what fits together, and what must be
 * in the database. A rule that hides nothing by a slip of the pen is worse than none. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "server/config.h"

enum { MOST_ASTERISKS = 1024 };

/* An entry of one of the maps, and where mistakes in it are. */
struct entry_place {
    struct mistakes *mistakes;
    const char *where;
    char *path;
};

#define WRONG(place, ...)                                                                          \
    mistakes_add((place)->mistakes, (place)->where, (place)->path, __VA_ARGS__)

static struct entry_place place_of(struct mistakes *mistakes, const char *where, const char *map,
                                   const char *name) {
    return (struct entry_place){
        .mistakes = mistakes, .where = where, .path = mem_printf("%s.%s", map, name ? name : "")};
}

/* ---- what fits together ---- */

static void check_counts(const struct entry_place *place, const char *field, uint32_t n,
                         const struct kafka_property *pairs, long most) {
    for (uint32_t i = 0; i < n; i++) {
        char *end;
        long count = strtol(pairs[i].value, &end, 10);
        if (!*pairs[i].value || *end || count < 0 || count > most)
            WRONG(place, "%s: %.80s: \"%.40s\" is no number from 0 to %ld", field, pairs[i].name,
                  pairs[i].value, most);
    }
}

static void check_topic(const struct entry_place *place, const char *topic, uint32_t n_stars) {
    for (const char *at = topic; *at; at++) {
        if (*at == '$') {
            at++;
            if (*at < '1' || *at > '9' || (uint32_t)(*at - '0') > n_stars) {
                WRONG(place, "topic \"%.100s\": $ stands before the number of a star, and there %s",
                      topic,
                      n_stars == 0   ? "is none"
                      : n_stars == 1 ? "is one"
                                     : "are fewer");
                return;
            }
        } else if (!strchr("._-", *at) && !(*at >= '0' && *at <= '9') &&
                   !(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z')) {
            WRONG(place,
                  "topic \"%.100s\": topics are named by letters, digits, dot, _ and - alone",
                  topic);
            return;
        }
    }
}

static bool is_view(const struct shape_entry *entry, const char *view) {
    return entry->view && strcmp(entry->view, view) == 0;
}

static void check_shape(const struct config *config, const struct shape_entry *entry,
                        const struct entry_place *place) {
    const char *encoding = config->cdc.format.encoding;
    if (!pattern_valid(entry->table))
        WRONG(place, "names no table, write SCHEMA.TABLE or SCHEMA.*");
    check_counts(place, "mask", entry->n_masked, entry->masked, MOST_ASTERISKS);
    check_counts(place, "truncate", entry->n_truncated, entry->truncated, INT32_MAX / 4);
    if (entry->n_hashed && !config->cdc.shape.hash_salt)
        WRONG(place, "hash needs a salt: set cdc.hash_salt");
    if (entry->topic) check_topic(place, entry->topic, pattern_count_stars(entry->table));
    if (is_view(entry, "OLD_IMAGE") && strcmp(encoding, "plain") == 0)
        WRONG(place, "OLD_IMAGE leaves nothing of a row where format.encoding is plain");
}

static void check_outbox(const struct outbox_entry *entry, const struct entry_place *place) {
    check_topic(place, entry->topic, 1);
    if (entry->n_headers > OUTBOX_MAX_HEADERS)
        WRONG(place, "has %u headers, the most is %d", entry->n_headers, OUTBOX_MAX_HEADERS);
    for (uint32_t i = 0; i < entry->n_headers; i++) {
        if (strcmp(entry->headers[i].name, "id") == 0)
            WRONG(place, "the header id is what `id` names");
    }
}

void config_check_shapes(const struct config *config, struct mistakes *mistakes) {
    const struct publisher_config *cdc = &config->cdc;
    for (uint32_t i = 0; i < cdc->shape.n_entries; i++) {
        const struct shape_entry *entry = &cdc->shape.entries[i];
        struct entry_place place =
            place_of(mistakes, config->shape_places[i], "cdc.shape", entry->table);
        if (entry->table) check_shape(config, entry, &place);
        mem_free(place.path);
    }
    for (uint32_t i = 0; i < cdc->n_outboxes; i++) {
        const struct outbox_entry *entry = &cdc->outboxes[i];
        struct entry_place place =
            place_of(mistakes, config->outbox_places[i], "cdc.outbox", entry->name);
        if (entry->name && !pattern_valid(entry->name))
            WRONG(&place, "names no table, write SCHEMA.TABLE or SCHEMA.*");
        check_outbox(entry, &place);
        mem_free(place.path);
    }
    for (uint32_t i = 0; i < cdc->n_outbox_messages; i++) {
        const struct outbox_entry *entry = &cdc->outbox_messages[i];
        struct entry_place place = place_of(mistakes, config->outbox_message_places[i],
                                            "cdc.outbox_messages", entry->name);
        check_outbox(entry, &place);
        mem_free(place.path);
    }
}

/* ---- what must be there ---- */

struct verifier {
    const struct config *config;
    const struct catalog *catalog;
    struct entry_place place;
    bool patterns; /* those with stars are judged; else names are */
};

static bool is_wanted(const struct verifier *v, const struct catalog_table *table) {
    return (table->kind == 'r' || table->kind == 'p') &&
           publisher_wants(&v->config->cdc, table->schema, table->name);
}

/* The next table that the pattern names and that is published, from *at on. */
static const struct catalog_table *next_table(const struct verifier *v, const char *pattern,
                                              uint32_t *at) {
    while (*at < v->catalog->n_tables) {
        const struct catalog_table *table = &v->catalog->tables[(*at)++];
        if (is_wanted(v, table) && pattern_match(pattern, table->schema, table->name)) return table;
    }
    return NULL;
}

static bool has_column_like(const struct catalog_table *table, const char *pattern) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (pattern_match_name(pattern, table->columns[i].name)) return true;
    }
    return false;
}

/* One table at least has a column of the name; is it the pattern's turn? */
static void verify_column(const struct verifier *v, const char *tables, const char *field,
                          const char *column) {
    if ((pattern_count_stars(column) > 0) != v->patterns) return;
    const struct catalog_table *table;
    const char *only = NULL;
    uint32_t n = 0;
    for (uint32_t at = 0; (table = next_table(v, tables, &at)); n++) {
        if (has_column_like(table, column)) return;
        only = table->name;
    }
    if (n == 0) return; /* told already */
    if (v->patterns)
        WRONG(&v->place, "%s: \"%.80s\" matches no column", field, column);
    else
        WRONG(&v->place, "%s: there is no column \"%.80s\" in %s%.80s", field, column,
              n > 1 ? "any of the tables, such as " : "", only);
}

static void verify_columns(const struct verifier *v, const struct shape_entry *entry) {
    const char *tables = entry->table;
    for (uint32_t i = 0; i < entry->n_columns; i++)
        verify_column(v, tables, "columns", entry->columns[i]);
    for (uint32_t i = 0; i < entry->n_excluded; i++)
        verify_column(v, tables, "exclude_columns", entry->excluded[i]);
    for (uint32_t i = 0; i < entry->n_masked; i++)
        verify_column(v, tables, "mask", entry->masked[i].name);
    for (uint32_t i = 0; i < entry->n_hashed; i++)
        verify_column(v, tables, "hash", entry->hashed[i]);
    for (uint32_t i = 0; i < entry->n_truncated; i++)
        verify_column(v, tables, "truncate", entry->truncated[i].name);
}

static bool is_in_message_key(const struct publisher_config *cdc, const struct catalog_table *table,
                              const char *column, bool *configured) {
    for (uint32_t i = 0; i < cdc->n_message_keys; i++) {
        const struct message_key *key = &cdc->message_keys[i];
        if (!pattern_match(key->table, table->schema, table->name)) continue;
        *configured = true;
        for (const char *at = key->columns; *at;) {
            at += strspn(at, ", ");
            size_t len = strcspn(at, ",");
            if (slice_equal(slice_make(at, len), slice_from(column))) return true;
            at += len;
        }
        break;
    }
    return false;
}

/* Of the key of the table's events: the configured one, the identity, the primary key. */
static bool is_in_key(const struct verifier *v, const struct catalog_table *table, uint16_t place) {
    const struct catalog_column *column = &table->columns[place];
    bool configured = false;
    bool named = is_in_message_key(&v->config->cdc, table, column->name, &configured);
    if (configured) return named;
    if (table->replica_identity == 'i') return column->in_identity;
    const struct catalog_index *key = table->primary_key;
    for (uint16_t i = 0; key && i < key->n_columns; i++) {
        if (key->columns[i] == place) return true;
    }
    return false;
}

/* A key that is masked would make one of many rows. */
static void verify_key(const struct verifier *v, const struct catalog_table *table) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct catalog_column *column = &table->columns[i];
        uint32_t length;
        if (!is_in_key(v, table, i)) continue;
        enum shape_fate fate =
            shape_fate(&v->config->cdc.shape, table->schema, table->name, column->name,
                       column->base_type_name, column->base_typmod, &length);
        if (fate == FATE_MASKED || fate == FATE_TRUNCATED)
            WRONG(&v->place,
                  "column \"%.80s\" is of the key of %s.%s, and rows would be taken for one: hash "
                  "it",
                  column->name, table->schema, table->name);
        if (fate == FATE_DROPPED)
            WRONG(&v->place, "column \"%.80s\" is of the key of %s.%s: it must be there",
                  column->name, table->schema, table->name);
    }
}

static void verify_types(const struct verifier *v, const struct shape_entry *entry,
                         const struct catalog_table *table) {
    for (uint32_t k = 0; k < entry->n_truncated; k++) {
        const char *name = entry->truncated[k].name;
        for (uint16_t i = 0; i < table->n_columns; i++) {
            const struct catalog_column *column = &table->columns[i];
            if (strcmp(column->name, name) == 0 && !shape_can_truncate(column->base_type_name))
                WRONG(&v->place, "truncate: column \"%.80s\" of %s.%s is no text but %s", name,
                      table->schema, table->name, column->type_name);
        }
    }
}

static const struct catalog_column *find_column(const struct catalog_table *table,
                                                const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return &table->columns[i];
    }
    return NULL;
}

/* A delete has to find the partition of its row's other events. */
static void verify_partition(const struct verifier *v, const struct shape_entry *entry,
                             const struct catalog_table *table) {
    for (uint32_t k = 0; k < entry->n_partition_by; k++) {
        const char *name = entry->partition_by[k];
        const struct catalog_column *column = find_column(table, name);
        uint32_t length;
        if (!column) {
            WRONG(&v->place, "partition_by: there is no column \"%.80s\" in %s.%s", name,
                  table->schema, table->name);
            continue;
        }
        if (!column->in_identity && table->replica_identity != 'f')
            WRONG(&v->place,
                  "partition_by: column \"%.80s\" of %s.%s is not of the replica identity, so "
                  "that its deletes lack it: REPLICA IDENTITY FULL or USING INDEX brings it",
                  name, table->schema, table->name);
        enum shape_fate fate = shape_fate(&v->config->cdc.shape, table->schema, table->name, name,
                                          column->base_type_name, column->base_typmod, &length);
        if (fate != FATE_AS_IS && fate != FATE_HASHED)
            WRONG(&v->place, "partition_by: column \"%.80s\" of %s.%s is not shown as it is", name,
                  table->schema, table->name);
    }
}

static bool has_key(const struct verifier *v, const struct catalog_table *table) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (is_in_key(v, table, i)) return true;
    }
    return false;
}

static void verify_shape(const struct verifier *v, const struct shape_entry *entry) {
    uint32_t n = 0;
    const struct catalog_table *table;
    for (uint32_t at = 0; (table = next_table(v, entry->table, &at)); n++) {
        if (v->patterns) continue;
        verify_key(v, table);
        verify_types(v, entry, table);
        verify_partition(v, entry, table);
        if (is_view(entry, "KEYS_ONLY") && !has_key(v, table))
            WRONG(&v->place, "KEYS_ONLY: %s.%s has no key", table->schema, table->name);
    }
    if (n == 0 && (pattern_count_stars(entry->table) > 0) == v->patterns)
        WRONG(&v->place, "matches no table that is published from %s", v->catalog->database);
    verify_columns(v, entry);
}

static void verify_outbox(const struct verifier *v, const struct outbox_entry *entry) {
    uint32_t n = 0;
    const struct catalog_table *table;
    for (uint32_t at = 0; (table = next_table(v, entry->name, &at)); n++) {
        const char *const names[] = {entry->route_by, entry->key, entry->payload};
        if (v->patterns) continue;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (!find_column(table, names[i]))
                WRONG(&v->place, "there is no column \"%.80s\" in %s.%s", names[i], table->schema,
                      table->name);
        }
        for (uint32_t i = 0; i < entry->n_headers; i++) {
            if (!find_column(table, entry->headers[i].value))
                WRONG(&v->place, "headers: there is no column \"%.80s\" in %s.%s",
                      entry->headers[i].value, table->schema, table->name);
        }
    }
    if (n == 0 && (pattern_count_stars(entry->name) > 0) == v->patterns)
        WRONG(&v->place, "matches no table that is published from %s", v->catalog->database);
}

static void verify_exclusions(const struct config *config, const struct catalog *catalog,
                              bool patterns, struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->cdc.shape.n_exclude; i++) {
        const char *pattern = config->cdc.shape.exclude[i];
        bool found = (pattern_count_stars(pattern) > 0) != patterns;
        for (uint32_t k = 0; k < catalog->n_tables && !found; k++)
            found = pattern_match(pattern, catalog->tables[k].schema, catalog->tables[k].name);
        if (!found)
            mistakes_add(mistakes, config_value(config, "cdc.exclude_tables")->where,
                         "cdc.exclude_tables", "\"%.80s\" matches no table in %s", pattern,
                         catalog->database);
    }
}

static void verify(const struct config *config, const struct catalog *catalog, bool patterns,
                   struct mistakes *mistakes) {
    const struct publisher_config *cdc = &config->cdc;
    struct verifier v = {.config = config, .catalog = catalog, .patterns = patterns};
    if (!(config->roles & ROLE_CDC)) return;
    verify_exclusions(config, catalog, patterns, mistakes);
    for (uint32_t i = 0; i < cdc->shape.n_entries; i++) {
        const struct shape_entry *entry = &cdc->shape.entries[i];
        v.place = place_of(mistakes, config->shape_places[i], "cdc.shape", entry->table);
        verify_shape(&v, entry);
        mem_free(v.place.path);
    }
    for (uint32_t i = 0; i < cdc->n_outboxes; i++) {
        const struct outbox_entry *entry = &cdc->outboxes[i];
        v.place = place_of(mistakes, config->outbox_places[i], "cdc.outbox", entry->name);
        verify_outbox(&v, entry);
        mem_free(v.place.path);
    }
}

void config_verify_shapes(const struct config *config, const struct catalog *catalog,
                          struct mistakes *mistakes) {
    verify(config, catalog, false, mistakes);
}

void config_verify_patterns(const struct config *config, const struct catalog *catalog,
                            struct mistakes *mistakes) {
    verify(config, catalog, true, mistakes);
}
