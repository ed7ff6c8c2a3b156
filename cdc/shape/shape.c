#include "cdc/shape/shape.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "cdc/shape/mask.h"

enum { OID_TEXT = 25, MASK_MAX = 1024, HEX_PREFIX = 2 };

/* ---- rules ---- */

bool shape_admits(const struct shape_rules *rules, const char *schema, const char *table) {
    return rules->n_exclude == 0 ||
           !pattern_match_any(rules->n_exclude, rules->exclude, schema, table);
}

/* The next entry that names the table, from *at on; NULL: no more. */
static const struct shape_entry *next_entry(const struct shape_rules *rules, const char *schema,
                                            const char *table, uint32_t *at) {
    while (*at < rules->n_entries) {
        const struct shape_entry *entry = &rules->entries[(*at)++];
        if (pattern_match(entry->table, schema, table)) return entry;
    }
    return NULL;
}

static bool any_name(uint32_t n, const char *const *patterns, const char *name) {
    for (uint32_t i = 0; i < n; i++) {
        if (pattern_match_name(patterns[i], name)) return true;
    }
    return false;
}

static const struct kafka_property *any_pair(uint32_t n, const struct kafka_property *pairs,
                                             const char *name) {
    for (uint32_t i = n; i > 0; i--) {
        if (pattern_match_name(pairs[i - 1].name, name)) return &pairs[i - 1];
    }
    return NULL;
}

bool shape_can_truncate(const char *type_name) {
    static const char *const types[] = {"text", "varchar", "bpchar", "citext", "name",
                                        "json", "jsonb",   "xml",    "bytea"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i], type_name) == 0) return true;
    }
    return false;
}

static bool has_length(const char *type_name, int32_t typmod) {
    return typmod > 4 && (strcmp(type_name, "varchar") == 0 || strcmp(type_name, "bpchar") == 0);
}

static bool can_be_longer(const char *type_name, int32_t typmod, const char *characters) {
    return shape_can_truncate(type_name) &&
           !(has_length(type_name, typmod) &&
             (uint32_t)(typmod - 4) <= strtoul(characters, NULL, 10));
}

/* Where one entry hides a value and another cuts it, it is hidden: the strictest holds. */
enum shape_fate shape_fate(const struct shape_rules *rules, const char *schema, const char *table,
                           const char *column, const char *type_name, int32_t typmod,
                           uint32_t *length) {
    enum shape_fate fate = FATE_AS_IS;
    bool listed = false;
    bool lists = false;
    *length = 0;
    const struct shape_entry *entry;
    for (uint32_t at = 0; (entry = next_entry(rules, schema, table, &at));) {
        lists |= entry->n_columns > 0;
        listed |= any_name(entry->n_columns, entry->columns, column);
        if (any_name(entry->n_excluded, entry->excluded, column)) return FATE_DROPPED;
        const struct kafka_property *mask = any_pair(entry->n_masked, entry->masked, column);
        const struct kafka_property *cut = any_pair(entry->n_truncated, entry->truncated, column);
        if (mask) {
            fate = FATE_MASKED;
            *length = (uint32_t)strtoul(mask->value, NULL, 10);
        } else if (fate != FATE_MASKED && any_name(entry->n_hashed, entry->hashed, column)) {
            fate = FATE_HASHED;
            *length = has_length(type_name, typmod) ? (uint32_t)(typmod - 4) : 0;
        } else if (fate != FATE_MASKED && fate != FATE_HASHED && cut &&
                   can_be_longer(type_name, typmod, cut->value)) {
            fate = FATE_TRUNCATED;
            *length = (uint32_t)strtoul(cut->value, NULL, 10);
        }
    }
    return lists && !listed ? FATE_DROPPED : fate;
}

bool shape_where(const struct shape_rules *rules, const char *schema, const char *table,
                 struct buf *out) {
    bool any = false;
    const struct shape_entry *entry;
    for (uint32_t at = 0; (entry = next_entry(rules, schema, table, &at));) {
        if (!entry->where) continue;
        const char *comment_end = strstr(entry->where, "--") ? "\n" : "";
        buf_printf(out, "%s(%s%s)", any ? " AND " : "", entry->where, comment_end);
        any = true;
    }
    return any;
}

enum shape_view shape_view(const struct shape_rules *rules, const char *schema, const char *table) {
    static const char *const names[] = {"NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE",
                                        "KEYS_ONLY"};
    enum shape_view view = VIEW_NEW_AND_OLD_IMAGES;
    const struct shape_entry *entry;
    for (uint32_t at = 0; (entry = next_entry(rules, schema, table, &at));) {
        for (size_t i = 0; entry->view && i < sizeof names / sizeof *names; i++) {
            if (strcmp(names[i], entry->view) == 0) view = (enum shape_view)i;
        }
    }
    return view;
}

/* ---- of one table ---- */

static struct slice make_mask(struct arena *arena, uint32_t length) {
    if (length > MASK_MAX) length = MASK_MAX;
    char *mask = arena_alloc(arena, length + 1);
    memset(mask, '*', length);
    return slice_make(mask, length);
}

static const struct catalog_column *find_column(const struct catalog_table *table,
                                                const char *name) {
    for (uint16_t i = 0; table && i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return &table->columns[i];
    }
    return NULL;
}

/* What is hidden is a text, of whatever type it is; what is a text stays what it is. */
static void hide_type(struct relation_column *column, const char *type_name) {
    bool text = strcmp(type_name, "varchar") == 0 || strcmp(type_name, "bpchar") == 0;
    if (text) return;
    column->type_oid = OID_TEXT;
    column->typmod = -1;
}

static void add_columns(struct table_shape *shape, const struct shape_plan *plan) {
    const struct relation *from = plan->relation;
    struct arena *arena = shape->arena;
    struct relation_column *shown = arena_zalloc(arena, (from->n_columns + 1u) * sizeof *shown);
    struct shape_column *columns = arena_zalloc(arena, (from->n_columns + 1u) * sizeof *columns);
    bool *hidden = arena_zalloc(arena, from->n_columns + 1u);
    uint16_t n = 0;
    shape->whole = true;
    for (uint16_t i = 0; i < from->n_columns; i++) {
        const struct relation_column *column = &from->columns[i];
        const struct catalog_column *known = find_column(plan->catalog, column->name);
        const char *type_name = known ? known->base_type_name : "";
        struct shape_column made = {.place = i};
        made.fate = shape_fate(plan->rules, from->schema, from->name, column->name, type_name,
                               known ? known->base_typmod : -1, &made.length);
        hidden[i] = made.fate != FATE_AS_IS;
        if (hidden[i]) shape->whole = false;
        if (made.fate == FATE_DROPPED) continue;
        shown[n] = *column;
        shown[n].name = arena_strdup(arena, column->name);
        if (made.fate == FATE_MASKED) made.mask = make_mask(arena, made.length);
        if (made.fate == FATE_MASKED || made.fate == FATE_HASHED) hide_type(&shown[n], type_name);
        made.bytes = strcmp(type_name, "bytea") == 0;
        columns[n++] = made;
    }
    shape->relation = *from;
    shape->relation.schema = arena_strdup(arena, from->schema);
    shape->relation.name = arena_strdup(arena, from->name);
    shape->relation.n_columns = n;
    shape->relation.columns = shown;
    shape->columns = columns;
    shape->n_hidden = from->n_columns;
    shape->hidden = hidden;
}

/* `$1` of the topic's name is what the first star of the entry's pattern stands for. */
static const char *make_topic(struct arena *arena, const struct shape_entry *entry,
                              const char *schema, const char *table) {
    struct pattern_stars stars;
    struct buf topic = {0};
    pattern_capture(entry->table, schema, table, &stars);
    for (const char *at = entry->topic; *at; at++) {
        bool reference = *at == '$' && at[1] >= '1' && at[1] <= '9';
        if (!reference) {
            buf_append_char(&topic, *at);
            continue;
        }
        uint32_t place = (uint32_t)(*++at - '1');
        if (place < stars.n) buf_append_slice(&topic, stars.texts[place]);
    }
    const char *text = arena_strdup(arena, buf_text(&topic));
    buf_deinit(&topic);
    return text;
}

struct shape_route shape_route(const struct shape_rules *rules, const char *schema,
                               const char *table, struct arena *arena) {
    struct shape_route route = {0};
    const struct shape_entry *entry;
    for (uint32_t at = 0; (entry = next_entry(rules, schema, table, &at));) {
        if (entry->topic) route.topic = make_topic(arena, entry, schema, table);
        if (entry->key_field) route.key_field = entry->key_field;
    }
    return route;
}

static void add_partition(struct table_shape *shape, const struct shape_entry *entry) {
    const struct relation *relation = &shape->relation;
    uint16_t *places =
        arena_zalloc(shape->arena, (entry->n_partition_by + (size_t)1) * sizeof *places);
    shape->n_partition_by = 0;
    for (uint32_t k = 0; k < entry->n_partition_by; k++) {
        for (uint16_t i = 0; i < relation->n_columns; i++) {
            if (strcmp(relation->columns[i].name, entry->partition_by[k]) != 0) continue;
            places[shape->n_partition_by++] = i;
            break;
        }
    }
    shape->partition_by = places;
}

struct table_shape *table_shape_create(const struct shape_plan *plan) {
    const struct relation *relation = plan->relation;
    uint32_t at = 0;
    bool named = next_entry(plan->rules, relation->schema, relation->name, &at) != NULL;
    if (plan->admitted && !named) return NULL;
    struct arena *arena = arena_create(1024);
    struct table_shape *shape = arena_zalloc(arena, sizeof *shape);
    shape->arena = arena;
    shape->excluded = !plan->admitted;
    add_columns(shape, plan);
    struct buf where = {0};
    if (shape_where(plan->rules, relation->schema, relation->name, &where))
        shape->where = arena_strdup(arena, buf_text(&where));
    buf_deinit(&where);
    shape->view = shape_view(plan->rules, relation->schema, relation->name);
    const struct shape_entry *entry;
    for (at = 0; (entry = next_entry(plan->rules, relation->schema, relation->name, &at));) {
        if (entry->n_partition_by) add_partition(shape, entry);
    }
    struct shape_route route = shape_route(plan->rules, relation->schema, relation->name, arena);
    shape->topic = route.topic;
    shape->key_field = route.key_field;
    return shape;
}

void table_shape_destroy(struct table_shape **shape) {
    if (!*shape) return;
    struct arena *arena = (*shape)->arena; /* the shape itself lies in it */
    *shape = NULL;
    arena_destroy(&arena);
}

static bool holds(uint16_t n, const uint16_t *places, uint16_t place) {
    for (uint16_t i = 0; i < n; i++) {
        if (places[i] == place) return true;
    }
    return false;
}

void table_shape_keep(struct table_shape *shape, uint16_t n, const uint16_t *places) {
    const struct relation *from = &shape->relation;
    struct relation_column *shown =
        arena_zalloc(shape->arena, (from->n_columns + 1u) * sizeof *shown);
    struct shape_column *columns =
        arena_zalloc(shape->arena, (from->n_columns + 1u) * sizeof *columns);
    uint16_t *partition_by =
        arena_zalloc(shape->arena, (shape->n_partition_by + 1u) * sizeof *partition_by);
    uint16_t kept = 0, n_partition_by = 0;
    for (uint16_t i = 0; i < from->n_columns; i++) {
        if (!holds(n, places, i)) continue;
        if (holds(shape->n_partition_by, shape->partition_by, i))
            partition_by[n_partition_by++] = kept;
        shown[kept] = from->columns[i];
        columns[kept++] = shape->columns[i];
    }
    shape->whole = false;
    shape->relation.n_columns = kept;
    shape->relation.columns = shown;
    shape->columns = columns;
    shape->n_partition_by = n_partition_by;
    shape->partition_by = partition_by;
}

/* ---- of one change ---- */

struct shaper {
    struct masker *masker; /* NULL: nothing is hashed */
    struct arena *arena;   /* of the change in hand */
};

static bool hashes(const struct shape_rules *rules) {
    for (uint32_t i = 0; i < rules->n_entries; i++) {
        if (rules->entries[i].n_hashed) return true;
    }
    return false;
}

struct shaper *shaper_create(const struct shape_rules *rules, struct error *err) {
    if (hashes(rules) && !rules->hash_salt) {
        error_set(err, ERROR_CONFIG, false, "cdc.hash_salt is not set, and columns are hashed");
        return NULL;
    }
    struct shaper *shaper = mem_zalloc(sizeof *shaper);
    shaper->arena = arena_create(16 * 1024);
    if (rules->hash_salt) shaper->masker = masker_create(rules->hash_algorithm, rules->hash_salt);
    if (rules->hash_salt && !shaper->masker) {
        error_set(err, ERROR_CONFIG, false, "cdc.hash_algorithm: this OpenSSL has no %s",
                  rules->hash_algorithm);
        shaper_destroy(&shaper);
    }
    return shaper;
}

void shaper_destroy(struct shaper **shaper) {
    if (!*shaper) return;
    masker_destroy(&(*shaper)->masker);
    arena_destroy(&(*shaper)->arena);
    mem_free(*shaper);
    *shaper = NULL;
}

static struct value text_of(struct slice text) {
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)text.len, .data = text.data};
}

static struct value hash(struct shaper *shaper, const struct shape_column *column,
                         const struct value *value) {
    char *hex = arena_alloc(shaper->arena, MASK_HASH_MAX);
    struct slice bytes = slice_make(value->data, value->len);
    return text_of(slice_make(hex, masker_hash(shaper->masker, bytes, column->length, hex)));
}

/* A bytea's text is \\x and two digits a byte. */
static struct value cut(const struct shape_column *column, const struct value *value) {
    size_t digits = HEX_PREFIX + 2 * (size_t)column->length;
    size_t len = column->bytes && value->len > digits ? digits : value->len;
    struct slice text = slice_make(value->data, len);
    return text_of(column->bytes ? text : mask_cut(text, column->length));
}

/* `absent`: the value is not known, so that there is nothing to hide. */
static struct value shape_value(struct shaper *shaper, const struct shape_column *column,
                                const struct value *value, bool absent) {
    bool has_bytes = value->kind == VALUE_TEXT || value->kind == VALUE_BINARY;
    switch (column->fate) {
    case FATE_MASKED: return absent ? *value : text_of(column->mask);
    case FATE_HASHED: return has_bytes ? hash(shaper, column, value) : *value;
    case FATE_TRUNCATED: return has_bytes ? cut(column, value) : *value;
    case FATE_AS_IS:
    case FATE_DROPPED: break;
    }
    return *value;
}

static const struct value *shape_row(struct shaper *shaper, const struct table_shape *shape,
                                     const struct value *row, bool is_key) {
    if (!row) return NULL;
    const struct relation *relation = &shape->relation;
    struct value *shown = arena_alloc(shaper->arena, (relation->n_columns + 1u) * sizeof *shown);
    for (uint16_t i = 0; i < relation->n_columns; i++)
        shown[i] = shape_value(shaper, &shape->columns[i], &row[shape->columns[i].place],
                               is_key && !relation->columns[i].identity);
    return shown;
}

void shaper_change(struct shaper *shaper, const struct table_shape *shape, struct change *change) {
    if (shape->whole) return;
    arena_reset(shaper->arena);
    change->relation = &shape->relation;
    change->old_row = shape_row(shaper, shape, change->old_row, change->old_is_key);
    change->new_row = shape_row(shaper, shape, change->new_row, false);
}
