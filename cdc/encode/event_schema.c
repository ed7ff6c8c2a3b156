#include "cdc/encode/event_schema.h"

#include <stdio.h>
#include <string.h>

static const char *named(const char *space, const char *suffix, struct arena *arena) {
    size_t size = strlen(space) + strlen(suffix) + 2;
    char *name = arena_alloc(arena, size);
    snprintf(name, size, "%s.%s", space, suffix);
    return name;
}

struct connect_field *event_schema_columns(const struct event_table *table, struct arena *arena) {
    struct connect_field *columns = arena_alloc(arena, (table->n_columns + 1u) * sizeof *columns);
    for (uint16_t i = 0; i < table->n_columns; i++)
        columns[i] = table->columns[i].field;
    return columns;
}

struct connect_schema event_schema_key(const struct event_table *table, const char *space,
                                       const struct connect_field *columns, struct arena *arena) {
    struct connect_field *fields = arena_alloc(arena, (table->n_key + 1u) * sizeof *fields);
    uint16_t n = table->n_key;
    for (uint16_t i = 0; i < n; i++)
        fields[i] = columns[table->key[i]];
    if (table->key_field)
        fields[n++] = (struct connect_field){table->key_field, {.kind = CONNECT_STRING}};
    return (struct connect_schema){.kind = CONNECT_STRUCT,
                                   .name = named(space, "Key", arena),
                                   .n_fields = n,
                                   .fields = fields};
}

struct connect_schema event_schema_envelope(const struct event_table *table, const char *space,
                                            const struct connect_field *columns,
                                            struct arena *arena) {
    struct connect_schema row = {.kind = CONNECT_STRUCT,
                                 .optional = true,
                                 .name = named(space, "Value", arena),
                                 .n_fields = table->n_columns,
                                 .fields = columns};
    const struct connect_field fields[] = {
        {"before", row},
        {"after", row},
        {"source", connect_source},
        {"transaction", connect_transaction_block},
        {"op", {.kind = CONNECT_STRING}},
        {"ts_ms", {.kind = CONNECT_INT64, .optional = true}},
        {"ts_us", {.kind = CONNECT_INT64, .optional = true}},
        {"ts_ns", {.kind = CONNECT_INT64, .optional = true}},
    };
    struct connect_field *kept = arena_alloc(arena, sizeof fields);
    memcpy(kept, fields, sizeof fields);
    return (struct connect_schema){.kind = CONNECT_STRUCT,
                                   .name = named(space, "Envelope", arena),
                                   .version = 2,
                                   .n_fields = sizeof fields / sizeof *fields,
                                   .fields = kept};
}
