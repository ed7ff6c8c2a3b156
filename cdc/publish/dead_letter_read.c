/* Dead letters, read again. */
#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "cdc/publish/dead_letter.h"

enum { COLUMNS_MAX = 1664 /* MaxTupleAttributeNumber */ };

struct reading {
    struct arena *arena;
    struct dead_letter_parsed *into;
};

static struct slice text_of(struct arena *arena, const json_t *json) {
    return arena_dup(arena, slice_make(json_string_value(json), json_string_length(json)));
}

static bool read_number(const json_t *object, const char *name, uint64_t *number) {
    const json_t *json = json_object_get(object, name);
    *number = (uint64_t)json_integer_value(json);
    return json_is_integer(json) && json_integer_value(json) >= 0;
}

/* ["id",23,-1,1] */
static bool read_column(struct arena *arena, json_t *json, struct relation_column *column) {
    const char *name;
    size_t len;
    json_int_t type;
    int typmod;
    int identity;
    if (json_unpack(json, "[s%,I,i,i]", &name, &len, &type, &typmod, &identity) != 0 || type < 0 ||
        type > UINT32_MAX)
        return false;
    *column = (struct relation_column){.name = arena_dup(arena, slice_make(name, len)).data,
                                       .type_oid = (uint32_t)type,
                                       .typmod = typmod,
                                       .identity = identity};
    return true;
}

static bool read_relation(struct reading *r, const json_t *letter, const json_t *change) {
    uint64_t oid;
    const json_t *columns = json_object_get(change, "columns");
    const char *schema = json_string_value(json_object_get(letter, "schema"));
    const char *table = json_string_value(json_object_get(letter, "table"));
    const char *identity = json_string_value(json_object_get(change, "identity"));
    size_t n = json_array_size(columns);
    if (!read_number(change, "oid", &oid) || oid > UINT32_MAX || !json_is_array(columns) ||
        n > COLUMNS_MAX || !schema || !table || !identity || !strchr("dnfi", *identity))
        return false;
    struct relation_column *list = arena_zalloc(r->arena, (n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        if (!read_column(r->arena, json_array_get(columns, i), &list[i])) return false;
    }
    r->into->relation = (struct relation){.oid = (uint32_t)oid,
                                          .schema = arena_strdup(r->arena, schema),
                                          .name = arena_strdup(r->arena, table),
                                          .replica_identity = *identity,
                                          .n_columns = (uint16_t)n,
                                          .columns = list};
    r->into->change.relation = &r->into->relation;
    return *identity != '\0';
}

/* A column that is not there was not in the stream. */
static bool read_row(struct reading *r, const json_t *row, const struct value **values) {
    const struct relation *relation = &r->into->relation;
    *values = NULL;
    if (!row || json_is_null(row)) return true;
    if (!json_is_object(row)) return false;
    struct value *list = arena_zalloc(r->arena, (relation->n_columns + 1u) * sizeof *list);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const json_t *json = json_object_get(row, relation->columns[i].name);
        if (json_is_string(json)) {
            struct slice text = text_of(r->arena, json);
            list[i] =
                (struct value){.kind = VALUE_TEXT, .len = (uint32_t)text.len, .data = text.data};
        } else if (!json) {
            list[i].kind = VALUE_UNCHANGED;
        } else if (!json_is_null(json)) {
            return false;
        }
    }
    *values = list;
    return true;
}

static bool read_message(struct reading *r, const json_t *message) {
    const json_t *prefix = json_object_get(message, "prefix");
    const json_t *content = json_object_get(message, "content");
    uint64_t transactional;
    if (!json_is_string(prefix) || !json_is_string(content) ||
        !read_number(message, "transactional", &transactional))
        return false;
    struct slice text = text_of(r->arena, content);
    r->into->change.transactional = transactional;
    r->into->change.message_prefix = text_of(r->arena, prefix);
    r->into->content =
        (struct value){.kind = VALUE_TEXT, .len = (uint32_t)text.len, .data = text.data};
    return true;
}

static struct value *find_value(struct reading *r, const char *row, const char *column) {
    struct dead_letter_parsed *into = r->into;
    if (strcmp(row, "message") == 0)
        return into->change.operation == CHANGE_MESSAGE ? &into->content : NULL;
    bool old = strcmp(row, "before") == 0;
    const struct value *values = old ? into->change.old_row : into->change.new_row;
    for (uint16_t i = 0; values && i < into->relation.n_columns; i++) {
        const struct value *value = &values[i]; /* the arena's: ours to fill */
        if (strcmp(into->relation.columns[i].name, column) == 0)
            return (struct value *)(uintptr_t)value;
    }
    return NULL;
}

/* [["after","t",300000]] */
static bool read_gaps(struct reading *r, json_t *pieces) {
    size_t n = json_array_size(pieces);
    if (!json_is_array(pieces) || n > 2 * COLUMNS_MAX) return false;
    r->into->gaps = arena_zalloc(r->arena, (n + 1) * sizeof *r->into->gaps);
    for (size_t i = 0; i < n; i++) {
        const char *row;
        const char *column;
        json_int_t bytes;
        if (json_unpack(json_array_get(pieces, i), "[s,s,I]", &row, &column, &bytes) != 0 ||
            bytes <= 0 || bytes > UINT32_MAX)
            return false;
        struct value *value = find_value(r, row, column);
        if (!value) return false;
        r->into->gaps[r->into->n_gaps++] =
            (struct dead_letter_gap){.value = value, .bytes = (size_t)bytes};
    }
    return true;
}

static bool read_change(struct reading *r, const json_t *letter, const json_t *json) {
    struct dead_letter_parsed *into = r->into;
    uint64_t operation, marker, old_is_key, snapshot, lsn, ts_us;
    if (!read_number(json, "operation", &operation) || operation > CHANGE_READ ||
        !read_number(json, "marker", &marker) || marker > SNAPSHOT_INCREMENTAL ||
        !read_number(json, "old_is_key", &old_is_key) ||
        !read_number(json, "snapshot", &snapshot) || !read_number(json, "xid", &into->tx.xid) ||
        !read_number(json, "commit_lsn", &into->tx.commit_lsn) ||
        !read_number(json, "last_lsn", &into->last_lsn) ||
        !read_number(json, "index", &into->change.index) || !read_number(letter, "lsn", &lsn))
        return false;
    bool timed = read_number(letter, "ts_us", &ts_us);
    into->tx.commit_time_us = timed ? (int64_t)ts_us : 0;
    into->tx.snapshot = snapshot;
    into->change.operation = (enum change_operation)operation;
    into->change.marker = (enum snapshot_marker)marker;
    into->change.old_is_key = old_is_key;
    into->change.row_lsn = lsn;
    if (!read_number(json, "total", &into->order.total)) into->order.total = 0;
    if (!read_number(json, "in_collection", &into->order.in_collection))
        into->order.in_collection = 0;
    return true;
}

static bool read_letter(struct reading *r, json_t *json) {
    struct dead_letter_parsed *into = r->into;
    const json_t *change = json_object_get(json, "change");
    const char *op = json_string_value(json_object_get(json, "op"));
    uint64_t attempts;
    if (!op || !*op || !read_number(json, "attempts", &attempts) || !read_change(r, json, change))
        return false;
    into->op = *op;
    into->attempts = (unsigned)attempts;
    bool ok = into->change.operation == CHANGE_MESSAGE
                  ? read_message(r, json_object_get(json, "message"))
                  : read_relation(r, json, change) &&
                        read_row(r, json_object_get(json, "before"), &into->change.old_row) &&
                        read_row(r, json_object_get(json, "after"), &into->change.new_row);
    return ok && read_gaps(r, json_object_get(json, "pieces"));
}

enum dead_letter_kind dead_letter_read(struct slice value, struct arena *arena,
                                       struct dead_letter_parsed *parsed,
                                       struct dead_letter_piece *piece) {
    *parsed = (struct dead_letter_parsed){0};
    *piece = (struct dead_letter_piece){0};
    struct reading r = {.arena = arena, .into = parsed};
    json_t *json = json_loadb(value.data, value.len, JSON_ALLOW_NUL, NULL);
    const json_t *position = json_object_get(json, "position");
    const json_t *text = json_object_get(json, "text");
    enum dead_letter_kind kind = DEAD_LETTER_MALFORMED;
    if (json_is_string(position) && json_is_string(text)) {
        piece->position = text_of(arena, position);
        piece->text = text_of(arena, text);
        kind = DEAD_LETTER_PIECE;
    } else if (json_is_string(position)) {
        parsed->position = text_of(arena, position);
        if (read_letter(&r, json)) kind = DEAD_LETTER_WHOLE;
    }
    json_decref(json);
    return kind;
}

bool dead_letter_settle(struct dead_letter_parsed *parsed, struct buf *content) {
    if (parsed->change.operation != CHANGE_MESSAGE) return true;
    content->len = 0;
    if (!base64_decode(content, slice_make(parsed->content.data, parsed->content.len)))
        return false;
    parsed->change.message_content = buf_slice(content);
    return true;
}
