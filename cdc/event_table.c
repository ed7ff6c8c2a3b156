#include "cdc/event_table.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

char *event_topic(struct arena *arena, const char *prefix, const char *schema, const char *name) {
    struct buf topic = {0};
    buf_printf(&topic, "%s%s%s%s%s", prefix, schema ? "." : "", schema ? schema : "",
               name ? "." : "", name ? name : "");
    for (size_t i = 0; i < topic.len; i++) {
        char c = topic.data[i];
        bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
        if (!kept) topic.data[i] = '_';
    }
    char *text = arena_strdup(arena, buf_text(&topic));
    buf_deinit(&topic);
    return text;
}

/* Moves the buffer's bytes to the arena and empties it. */
static struct slice keep(struct arena *arena, struct buf *buf) {
    struct slice kept = arena_dup(arena, buf_slice(buf));
    buf->len = 0;
    return kept;
}

static const struct catalog_column *catalog_column(const struct catalog_table *table,
                                                   const char *name) {
    for (uint16_t i = 0; table && i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return &table->columns[i];
    }
    return NULL;
}

static void make_column(struct event_column *column, const struct event_table_plan *plan,
                        const struct relation_column *from, struct arena *arena) {
    const struct catalog_column *known = catalog_column(plan->catalog, from->name);
    struct buf text = {0};
    json_append_string_java(&text, slice_from(from->name));
    buf_append_char(&text, ':');
    column->name_json = keep(arena, &text);
    column->codec = codec_resolve(plan->types, from->type_oid, from->typmod, plan->format, arena);
    bool not_null = known && known->not_null;
    const char *default_sql = known ? known->default_sql : NULL;
    column->field.name = arena_strdup(arena, from->name);
    codec_schema(column->codec, !not_null, default_sql, arena, &column->field.schema);
    if (not_null)
        codec_filler(column->codec, default_sql, &text);
    else
        buf_append_text(&text, "null");
    column->filler = keep(arena, &text);
    codec_placeholder(column->codec, &text);
    column->placeholder = keep(arena, &text);
    buf_deinit(&text);
}

static int place_of(const struct relation *relation, const char *name) {
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (strcmp(relation->columns[i].name, name) == 0) return i;
    }
    return -1;
}

static bool all_not_null(const struct catalog_table *table, const struct catalog_index *index) {
    for (uint16_t i = 0; i < index->n_columns; i++) {
        if (!table->columns[index->columns[i]].not_null) return false;
    }
    return true;
}

/* The index whose columns are the key: the identity's where one is named, so that deletes and inserts share a
 * key; the primary key; the first unique one over columns that are never null. */
static const struct catalog_index *key_index(const struct catalog_table *table) {
    const struct catalog_index *first = NULL;
    for (uint16_t i = 0; i < table->n_indexes; i++) {
        const struct catalog_index *index = &table->indexes[i];
        if (table->replica_identity == 'i' && index->replica_identity) return index;
        if (!first && index->usable_as_key && all_not_null(table, index)) first = index;
    }
    return table->primary_key ? table->primary_key : first;
}

static void make_key(struct event_table *table, const struct event_table_plan *plan) {
    const struct relation *relation = plan->relation;
    uint16_t *key = arena_zalloc(table->arena, (size_t)(relation->n_columns + 1) * sizeof *key);
    const struct catalog_index *index = plan->catalog ? key_index(plan->catalog) : NULL;
    uint16_t n = 0;
    table->key = key;
    if (index) {
        for (uint16_t i = 0; i < index->n_columns && i < relation->n_columns; i++) {
            int place = place_of(relation, plan->catalog->columns[index->columns[i]].name);
            if (place < 0) break; /* the catalog is ahead of the stream */
            key[n++] = (uint16_t)place;
        }
        if (n == index->n_columns) table->n_key = n;
        if (table->n_key) return;
    }
    /* Without the catalog's word the identity columns, as the stream flags them. */
    if (relation->replica_identity != 'd' && relation->replica_identity != 'i') return;
    n = 0;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (relation->columns[i].identity) key[n++] = i;
    }
    table->n_key = n;
}

struct event_table *event_table_create(const struct event_table_plan *plan) {
    const struct relation *relation = plan->relation;
    struct arena *arena = arena_create(4096);
    struct event_table *table = arena_zalloc(arena, sizeof *table);
    table->arena = arena;
    table->oid = relation->oid;
    table->version = relation->version;
    table->schema = arena_strdup(arena, relation->schema);
    table->name = arena_strdup(arena, relation->name);
    table->topic = event_topic(arena, plan->prefix, relation->schema, relation->name);
    struct buf text = {0};
    buf_append_text(&text, "\"schema\":");
    json_append_string_java(&text, slice_from(relation->schema));
    buf_append_text(&text, ",\"table\":");
    json_append_string_java(&text, slice_from(relation->name));
    buf_append_text(&text, ",\"txId\":");
    table->source_json = keep(arena, &text);
    buf_printf(&text, "%s.%s", relation->schema, relation->name);
    table->collection = keep(arena, &text);
    buf_deinit(&text);
    struct event_column *columns =
        arena_zalloc(arena, (size_t)(relation->n_columns + 1) * sizeof *columns);
    for (uint16_t i = 0; i < relation->n_columns; i++)
        make_column(&columns[i], plan, &relation->columns[i], arena);
    table->n_columns = relation->n_columns;
    table->columns = columns;
    make_key(table, plan);
    return table;
}

void event_table_destroy(struct event_table **table) {
    if (!*table) return;
    struct arena *arena = (*table)->arena; /* the table itself lies in it */
    arena_destroy(&arena);
    *table = NULL;
}

bool event_key_changed(const struct event_table *table, const struct value *old_row,
                       const struct value *new_row) {
    for (uint16_t i = 0; i < table->n_key; i++) {
        const struct value *before = &old_row[table->key[i]];
        const struct value *after = &new_row[table->key[i]];
        if (after->kind == VALUE_UNCHANGED) continue;
        if (before->kind != after->kind || before->len != after->len) return true;
        if (before->len && memcmp(before->data, after->data, before->len) != 0) return true;
    }
    return false;
}
