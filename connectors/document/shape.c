#include "connectors/document/shape.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"

/* OIDs are fixed for all versions (pg_type.dat). What is missing here is CLASS_KEYWORD. */
static const struct builtin_type {
    uint32_t oid;
    uint32_t array_oid;
    enum value_class class;
} builtin_types[] = {
    {16, 1000, CLASS_BOOL},        {17, 1001, CLASS_BYTES},
    {18, 1002, CLASS_KEYWORD}, /* "char" */
    {19, 1003, CLASS_KEYWORD}, /* name */
    {20, 1016, CLASS_LONG},        {21, 1005, CLASS_SHORT},
    {23, 1007, CLASS_INTEGER},     {25, 1009, CLASS_TEXT},
    {26, 1028, CLASS_LONG},                                /* oid: 32 bits without a sign */
    {114, 199, CLASS_JSON},        {142, 143, CLASS_TEXT}, /* xml */
    {650, 651, CLASS_KEYWORD},                             /* cidr */
    {700, 1021, CLASS_FLOAT},      {701, 1022, CLASS_DOUBLE},
    {774, 775, CLASS_KEYWORD},  /* macaddr8 */
    {790, 791, CLASS_KEYWORD},  /* money: its text depends on lc_monetary */
    {829, 1040, CLASS_KEYWORD}, /* macaddr */
    {869, 1041, CLASS_KEYWORD}, /* inet */
    {1042, 1014, CLASS_TEXT},   /* char(n) */
    {1043, 1015, CLASS_TEXT},   /* varchar */
    {1082, 1182, CLASS_DATE},      {1083, 1183, CLASS_KEYWORD}, /* time */
    {1114, 1115, CLASS_TIMESTAMP}, {1184, 1185, CLASS_TIMESTAMPTZ},
    {1186, 1187, CLASS_KEYWORD},                                /* interval */
    {1266, 1270, CLASS_KEYWORD},                                /* timetz */
    {1560, 1561, CLASS_KEYWORD},                                /* bit */
    {1562, 1563, CLASS_KEYWORD},                                /* varbit */
    {1700, 1231, CLASS_NUMERIC},   {2950, 2951, CLASS_KEYWORD}, /* uuid */
    {3614, 3643, CLASS_TEXT},                                   /* tsvector */
    {3802, 3807, CLASS_JSON},                                   /* jsonb */
    {3904, 3905, CLASS_KEYWORD}, /* int4range, and the ranges and multiranges after it */
    {3906, 3907, CLASS_KEYWORD},   {3908, 3909, CLASS_KEYWORD},
    {3910, 3911, CLASS_KEYWORD},   {3912, 3913, CLASS_KEYWORD},
    {3926, 3927, CLASS_KEYWORD},   {4451, 6150, CLASS_KEYWORD},
    {4532, 6151, CLASS_KEYWORD},   {4533, 6152, CLASS_KEYWORD},
    {4534, 6153, CLASS_KEYWORD},   {4535, 6155, CLASS_KEYWORD},
    {4536, 6157, CLASS_KEYWORD},
};

bool shape_builtin_type(uint32_t type_oid, struct shape_column *column) {
    for (size_t i = 0; i < sizeof builtin_types / sizeof builtin_types[0]; i++) {
        const struct builtin_type *type = &builtin_types[i];
        if (type_oid != type->oid && type_oid != type->array_oid) continue;
        column->class = type->class;
        column->array = type_oid == type->array_oid;
        return true;
    }
    return false;
}

struct shape *shape_create(const char *schema, const char *table, uint16_t n_columns,
                           const struct shape_column *columns, uint16_t n_keys,
                           const uint16_t *keys) {
    ASSERT(n_keys > 0);
    struct shape *shape = mem_zalloc(sizeof *shape);
    atomic_init(&shape->references, 1);
    shape->schema = mem_strdup(schema);
    shape->table = mem_strdup(table);
    struct shape_column *own_columns = mem_calloc(n_columns, sizeof *own_columns);
    for (uint16_t i = 0; i < n_columns; i++) {
        own_columns[i] = columns[i];
        own_columns[i].name = mem_strdup(columns[i].name);
        own_columns[i].source = mem_strdup(columns[i].source ? columns[i].source : columns[i].name);
        if (columns[i].type_name) own_columns[i].type_name = mem_strdup(columns[i].type_name);
    }
    uint16_t *own_keys = mem_calloc(n_keys, sizeof *own_keys);
    memcpy(own_keys, keys, n_keys * sizeof *own_keys);
    shape->n_columns = n_columns;
    shape->columns = own_columns;
    shape->n_keys = n_keys;
    shape->keys = own_keys;
    shape->routing = shape->document = SHAPE_NONE;
    return shape;
}

static bool find_column(const struct shape *shape, const char *name, int *at) {
    *at = SHAPE_NONE;
    for (uint16_t i = 0; name && i < shape->n_columns; i++) {
        if (strcmp(shape->columns[i].name, name) == 0) *at = i;
    }
    return !name || *at != SHAPE_NONE;
}

bool shape_set_parts(struct shape *shape, const char *routing, const char *document) {
    bool found = find_column(shape, routing, &shape->routing);
    shape->routing_apart = shape->routing != SHAPE_NONE;
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        if (shape->keys[i] == shape->routing) shape->routing_apart = false;
    }
    return find_column(shape, document, &shape->document) && found;
}

/* ---- chosen columns ---- */

static uint64_t hash_choices(uint32_t n, const struct shape_choice *choices) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < n; i++) { /* with their ends: "ab", "c" is not "a", "bc" */
        hash = XXH3_64bits_withSeed(choices[i].column, strlen(choices[i].column) + 1, hash);
        hash = XXH3_64bits_withSeed(choices[i].name, strlen(choices[i].name) + 1, hash);
    }
    return hash | 1;
}

static bool check_choice(const struct shape *all, const struct shape_choice *choices, uint32_t at,
                         int *place, struct error *err) {
    if (!find_column(all, choices[at].column, place))
        return error_set(err, ERROR_CONFIG, false, "there is no column \"%s\" in %s.%s",
                         choices[at].column, all->schema, all->table);
    for (uint32_t i = 0; i < at; i++) {
        if (strcmp(choices[i].name, choices[at].name) == 0)
            return error_set(err, ERROR_CONFIG, false, "two columns would be called \"%s\"",
                             choices[at].name);
    }
    return true;
}

/* Where the key's columns stand among the chosen. */
static bool choose_keys(const struct shape *all, uint32_t n, const uint16_t *places, uint16_t *keys,
                        struct error *err) {
    for (uint16_t k = 0; k < all->n_keys; k++) {
        uint32_t i = 0;
        while (i < n && places[i] != all->keys[k])
            i++;
        if (i == n)
            return error_set(err, ERROR_CONFIG, false,
                             "column \"%s\" is of the key of %s.%s, and must be among them",
                             all->columns[all->keys[k]].name, all->schema, all->table);
        keys[k] = (uint16_t)i;
    }
    return true;
}

struct shape *shape_choose(const struct shape *all, uint32_t n, const struct shape_choice *choices,
                           uint32_t *at, struct error *err) {
    ASSERT(!all->places && n < UINT16_MAX);
    struct shape_column *columns = mem_calloc(n + 1, sizeof *columns);
    uint16_t *places = mem_calloc(n + 1, sizeof *places);
    uint16_t *keys = mem_calloc(all->n_keys, sizeof *keys);
    bool fits = true;
    for (*at = 0; *at < n; ++*at) {
        int place;
        fits = check_choice(all, choices, *at, &place, err);
        if (!fits) break;
        places[*at] = (uint16_t)place;
        columns[*at] = all->columns[place];
        columns[*at].name = choices[*at].name;
    }
    struct shape *shape = NULL;
    if (fits && choose_keys(all, n, places, keys, err)) {
        shape = shape_create(all->schema, all->table, (uint16_t)n, columns, all->n_keys, keys);
        shape->places = places;
        shape->chosen = hash_choices(n, choices);
    } else {
        mem_free(places);
    }
    mem_free(columns);
    mem_free(keys);
    return shape;
}

void shape_take(const struct shape *shape, const struct value *row, struct value *chosen) {
    for (uint16_t i = 0; i < shape->n_columns; i++)
        chosen[i] = row[shape->places ? shape->places[i] : i];
}

void shape_append_origin(const struct shape *shape, struct buf *out) {
    buf_printf(out, "%s.%s", shape->schema, shape->table);
    if (shape->chosen) buf_printf(out, "(%016" PRIx64 ")", shape->chosen);
}

void shape_append_keys(const struct shape *shape, struct buf *out) {
    for (uint16_t i = 0; i < shape->n_keys; i++)
        buf_printf(out, "%s%s", i ? "," : "", shape->columns[shape->keys[i]].name);
    if (shape->routing != SHAPE_NONE)
        buf_printf(out, " by %s", shape->columns[shape->routing].name);
    if (shape->tables) buf_printf(out, "#%" PRIu64, shape->tables);
}

/* "#16402" at the end; NULL: there is none. */
static const char *find_tables(const char *keys) {
    const char *mark = strrchr(keys, '#');
    return mark && mark[1] && !mark[1 + strspn(mark + 1, "0123456789")] ? mark : NULL;
}

bool shape_same_keys(const char *kept, const char *now) {
    const char *kept_tables = find_tables(kept);
    const char *now_tables = find_tables(now);
    if (kept_tables && now_tables) return strcmp(kept, now) == 0;
    size_t kept_len = kept_tables ? (size_t)(kept_tables - kept) : strlen(kept);
    size_t now_len = now_tables ? (size_t)(now_tables - now) : strlen(now);
    return kept_len == now_len && memcmp(kept, now, kept_len) == 0;
}

struct shape *shape_acquire(struct shape *shape) {
    atomic_fetch_add_explicit(&shape->references, 1, memory_order_relaxed);
    return shape;
}

static void free_const(const void *memory) { mem_free((void *)(uintptr_t)memory); }

void shape_release(struct shape **shape) {
    struct shape *old = *shape;
    *shape = NULL;
    if (!old) return;
    if (atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) > 1) return;
    for (uint16_t i = 0; i < old->n_columns; i++) {
        free_const(old->columns[i].name);
        free_const(old->columns[i].source);
        free_const(old->columns[i].type_name);
    }
    free_const(old->columns);
    free_const(old->keys);
    free_const(old->places);
    free_const(old->schema);
    free_const(old->table);
    mem_free(old);
}

void shape_append_part(struct buf *out, const struct value *value) {
    for (uint32_t i = 0; i < value->len; i++) {
        char c = value->data[i];
        if (c == ':')
            buf_append_text(out, "%3A");
        else if (c == '%')
            buf_append_text(out, "%25");
        else
            buf_append_char(out, c);
    }
}

bool shape_append_key(const struct shape *shape, const struct value *row, struct buf *out) {
    bool single = shape->n_keys == 1 && !shape->routing_apart;
    if (shape->routing_apart) {
        const struct value *routing = &row[shape->routing];
        if (routing->kind == VALUE_UNCHANGED) return false;
        if (routing->kind == VALUE_TEXT) shape_append_part(out, routing);
        buf_append_char(out, ':');
    }
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        const struct value *value = &row[shape->keys[i]];
        if (value->kind != VALUE_TEXT) return false;
        if (i) buf_append_char(out, ':');
        if (single)
            buf_append(out, value->data, value->len);
        else
            shape_append_part(out, value);
    }
    return true;
}

/* A part of a key, decoded: the other way of shape_append_part, which writes two escapes alone. */
static void decode_part(struct slice part, struct buf *out) {
    for (size_t i = 0; i < part.len; i++) {
        bool escape = part.data[i] == '%' && part.len - i > 2;
        if (escape && memcmp(part.data + i, "%3A", 3) == 0) {
            buf_append_char(out, ':');
            i += 2;
        } else if (escape && memcmp(part.data + i, "%25", 3) == 0) {
            buf_append_char(out, '%');
            i += 2;
        } else {
            buf_append_char(out, part.data[i]);
        }
    }
}

static struct slice take_part(struct slice *rest) {
    if (!rest->len) return *rest;
    const char *colon = memchr(rest->data, ':', rest->len);
    struct slice part = slice_make(rest->data, colon ? (size_t)(colon - rest->data) : rest->len);
    size_t taken = part.len + (colon ? 1 : 0);
    *rest = slice_make(rest->data + taken, rest->len - taken);
    return part;
}

/* The key column that is the routing too. */
static void append_routing_of_key(const struct shape *shape, struct slice key,
                                  struct buf *routing) {
    if (shape->n_keys == 1) {
        buf_append_slice(routing, key);
        return;
    }
    struct slice part = {0};
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        part = take_part(&key);
        if (shape->keys[i] == shape->routing) break;
    }
    decode_part(part, routing);
}

void shape_split_key(const struct shape *shape, struct slice key, struct buf *id,
                     struct buf *routing) {
    if (!shape->routing_apart) {
        if (shape->routing != SHAPE_NONE) append_routing_of_key(shape, key, routing);
        buf_append_slice(id, key);
        return;
    }
    decode_part(take_part(&key), routing);
    if (shape->n_keys == 1)
        decode_part(key, id);
    else
        buf_append_slice(id, key);
}

void shape_join_key(const struct shape *shape, struct slice id, struct slice routing,
                    struct buf *key) {
    if (!shape->routing_apart) {
        buf_append_slice(key, id);
        return;
    }
    struct value part = {.kind = VALUE_TEXT, .len = (uint32_t)routing.len, .data = routing.data};
    shape_append_part(key, &part);
    buf_append_char(key, ':');
    part = (struct value){.kind = VALUE_TEXT, .len = (uint32_t)id.len, .data = id.data};
    if (shape->n_keys == 1)
        shape_append_part(key, &part);
    else
        buf_append_slice(key, id);
}

void shape_take_key(const struct shape *shape, struct slice *rest, struct buf *out) {
    if (!rest->len) return;
    const char *colon = shape->n_keys > 1 ? memchr(rest->data, ':', rest->len) : NULL;
    size_t len = colon ? (size_t)(colon - rest->data) : rest->len;
    for (size_t i = 0; i < len; i++) {
        bool escaped = shape->n_keys > 1 && rest->data[i] == '%' && i + 2 < len;
        if (!escaped) {
            buf_append_char(out, rest->data[i]);
            continue;
        }
        buf_append_char(out, rest->data[i + 1] == '3' ? ':' : '%');
        i += 2;
    }
    size_t taken = len + (colon ? 1 : 0);
    *rest = slice_make(rest->data + taken, rest->len - taken);
}
