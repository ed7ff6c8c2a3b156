#include "server/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct slice text;
    struct arena *arena;
    struct yaml_fault *fault;
    uint32_t n_nodes;
};

static bool fault_at(struct reader *reader, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fault_at(struct reader *reader, yaml_mark_t mark, const char *format, ...) {
    reader->fault->found = true;
    reader->fault->line = (uint32_t)mark.line + 1;
    reader->fault->column = (uint32_t)mark.column + 1;
    va_list args;
    va_start(args, format);
    vsnprintf(reader->fault->text, sizeof reader->fault->text, format, args);
    va_end(args);
    return false;
}

/* Bytes that are no characters have an offset and no mark: lines and columns up to it are counted here. */
static yaml_mark_t mark_of_offset(const struct reader *reader, size_t offset) {
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < reader->text.len; i++) {
        unsigned char byte = (unsigned char)reader->text.data[i];
        bool continues = (byte & 0xC0) == 0x80;
        if (byte == '\n') {
            mark.line++;
            mark.column = 0;
        } else if (!continues) {
            mark.column++;
        }
    }
    return mark;
}

/* libyaml's own words. */
static bool syntax_fault(struct reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_READER_ERROR)
        return fault_at(reader, mark_of_offset(reader, parser->problem_offset), "not YAML: %s",
                        parser->problem);
    bool marked = parser->error == YAML_SCANNER_ERROR || parser->error == YAML_PARSER_ERROR;
    const char *problem = parser->problem ? parser->problem : "cannot be read";
    return fault_at(reader, marked ? parser->problem_mark : parser->mark, "not YAML: %s%s%s",
                    problem, parser->context ? " " : "", parser->context ? parser->context : "");
}

static bool next_event(struct reader *reader, yaml_event_t *event) {
    if (yaml_parser_parse(&reader->parser, event)) return true;
    return syntax_fault(reader);
}

static char *copy_scalar(struct reader *reader, const yaml_event_t *event) {
    struct slice text = slice_make(event->data.scalar.value, event->data.scalar.length);
    if (memchr(text.data, '\0', text.len)) {
        fault_at(reader, event->start_mark, "a NUL character cannot stand here");
        return NULL;
    }
    struct slice copy = arena_dup(reader->arena, text);
    return (char *)(uintptr_t)copy.data;
}

static struct yaml_node *node_create(struct reader *reader, enum yaml_type type,
                                     const yaml_event_t *event) {
    if (++reader->n_nodes > YAML_MAX_NODES) {
        fault_at(reader, event->start_mark, "more than %d values", YAML_MAX_NODES);
        return NULL;
    }
    struct yaml_node *node = arena_zalloc(reader->arena, sizeof *node);
    node->type = type;
    node->line = (uint32_t)event->start_mark.line + 1;
    node->column = (uint32_t)event->start_mark.column + 1;
    return node;
}

static void append(struct yaml_node *parent, struct yaml_node *child) {
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->n_children++;
}

static bool read_node(struct reader *reader, const yaml_event_t *event, uint32_t depth,
                      struct yaml_node **node);

/* The items of a list, or the keys and values of a map, up to its end. */
static bool read_children(struct reader *reader, struct yaml_node *parent, uint32_t depth) {
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event)) return false;
        if (event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return true;
        }
        struct yaml_node *key = NULL;
        if (parent->type == YAML_MAP) {
            bool scalar = event.type == YAML_SCALAR_EVENT;
            bool read = scalar ? read_node(reader, &event, depth, &key)
                               : fault_at(reader, event.start_mark, "a key must be a word");
            yaml_event_delete(&event);
            if (!read || !next_event(reader, &event)) return false;
        }
        if (parent->n_children == YAML_MAX_CHILDREN) {
            fault_at(reader, event.start_mark, "more than %d entries", YAML_MAX_CHILDREN);
            yaml_event_delete(&event);
            return false;
        }
        struct yaml_node *child = NULL;
        bool read = read_node(reader, &event, depth, &child);
        yaml_event_delete(&event);
        if (child) {
            if (key) {
                child->key = key->text;
                child->key_line = key->line;
                child->key_column = key->column;
            }
            append(parent, child);
        }
        if (!read) return false;
    }
}

/* *node may be there although something in it could not be read. */
static bool read_node(struct reader *reader, const yaml_event_t *event, uint32_t depth,
                      struct yaml_node **node) {
    if (depth > YAML_MAX_DEPTH)
        return fault_at(reader, event->start_mark, "nested deeper than %d", YAML_MAX_DEPTH);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        if (event->data.scalar.anchor || event->data.scalar.tag) break;
        *node = node_create(reader, YAML_SCALAR, event);
        if (!*node) return false;
        (*node)->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        (*node)->text = copy_scalar(reader, event);
        if (!(*node)->text) *node = NULL;
        return *node;
    case YAML_SEQUENCE_START_EVENT:
        if (event->data.sequence_start.anchor || event->data.sequence_start.tag) break;
        *node = node_create(reader, YAML_LIST, event);
        return *node && read_children(reader, *node, depth + 1);
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor || event->data.mapping_start.tag) break;
        *node = node_create(reader, YAML_MAP, event);
        return *node && read_children(reader, *node, depth + 1);
    default: break;
    }
    return fault_at(reader, event->start_mark, "anchors, aliases and tags are not supported here");
}

/* Stream start, document start, one node, document end, stream end. */
static void read_document(struct reader *reader, struct yaml_node **root) {
    bool done = false;
    while (!done && !reader->fault->found) {
        yaml_event_t event;
        if (!next_event(reader, &event)) return;
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT: break;
        case YAML_DOCUMENT_START_EVENT:
            if (*root) fault_at(reader, event.start_mark, "a second document; one is expected");
            break;
        case YAML_STREAM_END_EVENT: done = true; break;
        default: read_node(reader, &event, 1, root);
        }
        yaml_event_delete(&event);
    }
}

struct yaml_node *yaml_parse(const char *text, size_t len, struct arena *arena,
                             struct yaml_fault *fault) {
    *fault = (struct yaml_fault){0};
    struct reader reader = {.text = slice_make(text, len), .arena = arena, .fault = fault};
    struct yaml_node *root = NULL;
    if (len > YAML_MAX_BYTES) {
        fault_at(&reader, (yaml_mark_t){0}, "larger than %d KiB", YAML_MAX_BYTES / 1024);
        return NULL;
    }
    if (!yaml_parser_initialize(&reader.parser)) {
        fault_at(&reader, (yaml_mark_t){0}, "no memory for the YAML parser");
        return NULL;
    }
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, len);
    read_document(&reader, &root);
    yaml_parser_delete(&reader.parser);
    return root;
}

bool yaml_is_null(const struct yaml_node *node) {
    if (node->type != YAML_SCALAR || !node->plain) return false;
    return *node->text == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}

const char *yaml_type_name(const struct yaml_node *node) {
    static const char *const names[] = {
        [YAML_SCALAR] = "a value", [YAML_LIST] = "a list", [YAML_MAP] = "a mapping"};
    return names[node->type];
}

void yaml_print(const struct yaml_node *node, struct buf *out) {
    if (node->type == YAML_SCALAR) {
        buf_append_text(out, node->text);
        return;
    }
    buf_append_text(out, node->type == YAML_LIST ? "[" : "{");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        if (child != node->first) buf_append_text(out, ", ");
        if (child->key) buf_printf(out, "%s: ", child->key);
        yaml_print(child, out);
    }
    buf_append_text(out, node->type == YAML_LIST ? "]" : "}");
}
