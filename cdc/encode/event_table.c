#include "cdc/encode/event_table.h"

#include <jansson.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "cdc/shape/outbox.h"
#include "cdc/shape/row_filter.h"

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

/* What stands for a value that is not there is shown as the value would be. */
static void shape_filler(struct event_column *column, const struct shape_column *shaped,
                         struct masker *masker, struct arena *arena) {
    char hex[MASK_HASH_MAX];
    json_error_t unused;
    json_t *filler = json_loadb(column->filler.data, column->filler.len, JSON_DECODE_ANY, &unused);
    if (json_is_string(filler)) {
        struct slice shown = slice_make(json_string_value(filler), json_string_length(filler));
        struct buf text = {0};
        if (shaped->fate == FATE_TRUNCATED)
            shown = mask_cut(shown, shaped->length);
        else if (masker)
            shown = slice_make(hex, masker_hash(masker, shown, shaped->length, hex));
        json_append_string_java(&text, shown);
        column->filler = keep(arena, &text);
        buf_deinit(&text);
    }
    json_decref(filler);
}

/* Of a column that is not shown as it is, what Debezium says of it, and what stands for a value that is not there. */
static void shape_column(struct event_column *column, const struct shape_column *shaped,
                         struct masker *masker, struct arena *arena) {
    char length[16];
    struct buf text = {0};
    switch (shaped->fate) {
    case FATE_MASKED:
        json_append_string_java(&text, shaped->mask);
        column->filler = keep(arena, &text);
        connect_schema_parameter(&column->field.schema, "masked", "true", arena);
        break;
    case FATE_HASHED:
        shape_filler(column, shaped, masker, arena);
        connect_schema_parameter(&column->field.schema, "masked", "true", arena);
        break;
    case FATE_TRUNCATED:
        if (!shaped->bytes) shape_filler(column, shaped, NULL, arena);
        snprintf(length, sizeof length, "%u", shaped->length);
        connect_schema_parameter(&column->field.schema, "truncateLength", length, arena);
        break;
    case FATE_AS_IS:
    case FATE_DROPPED: break;
    }
    buf_deinit(&text);
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

static int place_of(const struct relation *relation, struct slice name) {
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (slice_equal(slice_from(relation->columns[i].name), name)) return i;
    }
    return -1;
}

static bool all_not_null(const struct catalog_table *table, const struct catalog_index *index) {
    for (uint16_t i = 0; i < index->n_columns; i++) {
        if (!table->columns[index->columns[i]].not_null) return false;
    }
    return true;
}

/* The relation's places of the index's columns; 0: it lacks one, since the catalog is ahead of the stream. */
static uint16_t index_places(const struct event_table_plan *plan, const struct catalog_index *index,
                             uint16_t *places) {
    uint16_t n = 0;
    for (; n < index->n_columns && n < plan->relation->n_columns; n++) {
        const char *name = plan->catalog->columns[index->columns[n]].name;
        int place = place_of(plan->relation, slice_from(name));
        if (place < 0) return 0;
        places[n] = (uint16_t)place;
    }
    return n == index->n_columns ? n : 0;
}

/* The columns that the stream flags as the identity, in the table's order. */
static uint16_t flagged_places(const struct relation *relation, uint16_t *places) {
    uint16_t n = 0;
    if (relation->replica_identity != 'd' && relation->replica_identity != 'i') return 0;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (relation->columns[i].identity) places[n++] = i;
    }
    return n;
}

static bool are_all_flagged(const struct relation *relation, uint16_t n, const uint16_t *places) {
    for (uint16_t i = 0; i < n; i++) {
        if (!relation->columns[places[i]].identity) return false;
    }
    return true;
}

/* The identity's columns, which are the key, come with the stream and are those of the row's own time; only their order is
 * the catalog's, of an index with these very columns, if it still has one. */
static uint16_t identity_key(const struct event_table_plan *plan, uint16_t *key) {
    uint16_t n_flagged = flagged_places(plan->relation, key);
    for (uint16_t i = 0; plan->catalog && n_flagged && i < plan->catalog->n_indexes; i++) {
        const struct catalog_index *index = &plan->catalog->indexes[i];
        if (index->n_columns != n_flagged) continue;
        if (plan->relation->replica_identity == 'd' ? !index->primary : !index->replica_identity)
            continue;
        uint16_t n = index_places(plan, index, key);
        if (n && are_all_flagged(plan->relation, n, key)) return n;
        return flagged_places(plan->relation, key);
    }
    return n_flagged;
}

/* Where the stream flags none: the primary key (of a table with REPLICA IDENTITY FULL, say; or a deferrable one), else the
 * unique index over columns that are never null whose name is the first. */
static uint16_t catalog_key(const struct event_table_plan *plan, uint16_t *key) {
    const struct catalog_table *table = plan->catalog;
    uint16_t n = 0;
    if (!table) return 0;
    const struct catalog_index *primary = table->primary_key;
    /* Made since: the stream would have flagged it. */
    bool late = primary && primary->usable_as_key && plan->relation->replica_identity == 'd';
    if (primary && !late) n = index_places(plan, primary, key);
    if (n) return n;
    const struct catalog_index *first = NULL;
    for (uint16_t i = 0; i < table->n_indexes; i++) {
        const struct catalog_index *index = &table->indexes[i];
        bool may = index->usable_as_key && !index->primary && all_not_null(table, index) &&
                   index_places(plan, index, key);
        if (may && (!first || strcmp(index->name, first->name) < 0)) first = index;
    }
    return first ? index_places(plan, first, key) : 0;
}

struct slice event_key_word(const char **at) {
    const char *start = *at + strspn(*at, ", ");
    size_t len = strcspn(start, ",");
    *at = start + len;
    while (len && start[len - 1] == ' ')
        len--;
    return slice_make(start, len);
}

/* The columns that `cdc.message_key` names, in this order; 0: the table lacks one. */
static uint16_t named_key(const struct event_table_plan *plan, uint16_t *key) {
    const char *at = plan->message_key ? plan->message_key : "";
    uint16_t n = 0;
    for (struct slice name; (name = event_key_word(&at)).len;) {
        int place = place_of(plan->relation, name);
        if (place < 0 || n == plan->relation->n_columns) return 0;
        key[n++] = (uint16_t)place;
    }
    return n;
}

static void make_key(struct event_table *table, const struct event_table_plan *plan) {
    uint16_t *key =
        arena_zalloc(table->arena, (size_t)(plan->relation->n_columns + 1) * sizeof *key);
    table->key = key;
    table->n_key = named_key(plan, key);
    if (!table->n_key) table->n_key = identity_key(plan, key);
    if (!table->n_key) table->n_key = catalog_key(plan, key);
}

static uint64_t hash_text(const char *text, uint64_t seed) {
    return text ? XXH3_64bits_withSeed(text, strlen(text) + 1, seed) : seed + 1;
}

uint64_t event_table_facts(const struct catalog_table *catalog) {
    if (!catalog) return 0;
    uint64_t hash = (unsigned char)catalog->replica_identity;
    for (uint16_t i = 0; i < catalog->n_columns; i++) {
        const struct catalog_column *column = &catalog->columns[i];
        hash = hash_text(column->name, hash + column->not_null);
        hash = hash_text(column->default_sql, hash);
    }
    for (uint16_t i = 0; i < catalog->n_indexes; i++) {
        const struct catalog_index *index = &catalog->indexes[i];
        hash = hash_text(index->name, hash * 8 + index->primary * 4u + index->usable_as_key * 2u +
                                          index->replica_identity);
        hash =
            XXH3_64bits_withSeed(index->columns, index->n_columns * sizeof *index->columns, hash);
    }
    return hash;
}

/* Another topic than the usual one, whose name then may tell rows of several tables apart. */
static void route(struct event_table *table, const struct table_shape *shape) {
    if (shape->key_field) {
        struct buf text = {0};
        buf_append_char(&text, ',');
        json_append_string_java(&text, slice_from(shape->key_field));
        buf_append_char(&text, ':');
        json_append_string_java(&text, slice_from(table->topic));
        table->key_field = arena_strdup(table->arena, shape->key_field);
        table->key_more = keep(table->arena, &text);
        buf_deinit(&text);
    }
    if (shape->topic) table->topic = event_topic(table->arena, shape->topic, NULL, NULL);
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
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        make_column(&columns[i], plan, &relation->columns[i], arena);
        if (plan->shape) shape_column(&columns[i], &plan->shape->columns[i], plan->masker, arena);
    }
    table->n_columns = relation->n_columns;
    table->columns = columns;
    make_key(table, plan);
    table->facts = event_table_facts(plan->catalog);
    if (plan->shape) route(table, plan->shape);
    return table;
}

void event_table_destroy(struct event_table **table) {
    if (!*table) return;
    table_shape_destroy(&(*table)->shape);
    row_filter_destroy(&(*table)->filter);
    outbox_destroy(&(*table)->outbox);
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
