#include "connectors/opensearch/mapping_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

enum { FILE_MAX_BYTES = 4 * 1024 * 1024 };

/* jansson keeps no places of what it has read: a key's is that of its first mention. */
static void find_key(struct slice text, const char *key, int *line, int *column) {
    char quoted[80];
    size_t len = (size_t)snprintf(quoted, sizeof quoted, "\"%.70s\"", key);
    *line = *column = 1;
    for (size_t i = 0; i + len <= text.len && memcmp(text.data + i, quoted, len) != 0; i++) {
        (*column)++;
        if (text.data[i] == '\n') {
            (*line)++;
            *column = 1;
        }
    }
}

static bool wrong_key(const char *path, struct slice text, const char *key, const char *why,
                      struct error *err) {
    int line;
    int column;
    find_key(text, key, &line, &column);
    return error_set(err, ERROR_CONFIG, false, "%s:%d:%d: \"%s\" %s", path, line, column, key, why);
}

static bool is_object(json_t *parent, const char *key, const char *path, struct slice text,
                      struct error *err) {
    const json_t *object = json_object_get(parent, key);
    return !object || json_is_object(object) || wrong_key(path, text, key, "is no object", err);
}

static bool check_keys(const char *path, struct slice text, json_t *root, struct error *err) {
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (strcmp(key, "mappings") != 0 && strcmp(key, "settings") != 0)
            return wrong_key(path, text, key, "is neither `mappings` nor `settings`", err);
    }
    json_t *mappings = json_object_get(root, "mappings");
    return is_object(root, "mappings", path, text, err) &&
           is_object(root, "settings", path, text, err) &&
           is_object(mappings, "properties", path, text, err) &&
           is_object(mappings, "_meta", path, text, err);
}

json_t *mapping_file_parse(const char *path, struct slice text, struct error *err) {
    json_error_t wrong;
    json_t *root = json_loadb(text.len ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &wrong);
    if (!root)
        error_set(err, ERROR_CONFIG, false, "%s:%d:%d: %s", path, wrong.line > 0 ? wrong.line : 1,
                  wrong.column > 0 ? wrong.column : 1, wrong.text);
    else if (!json_is_object(root))
        error_set(err, ERROR_CONFIG, false, "%s:1:1: it is no object", path);
    else if (check_keys(path, text, root, err))
        return root;
    json_decref(root);
    return NULL;
}

static bool read_file(const char *path, struct buf *text, struct error *err) {
    FILE *file = fopen(path, "re");
    if (!file) return error_set(err, ERROR_CONFIG, false, "%s: %s", path, strerror(errno));
    size_t n;
    do {
        n = fread(buf_reserve(text, 8192), 1, 8192, file);
        text->len += n;
    } while (n && text->len <= FILE_MAX_BYTES);
    bool failed = ferror(file);
    fclose(file);
    if (failed) return error_set(err, ERROR_CONFIG, false, "%s: cannot be read", path);
    return text->len <= FILE_MAX_BYTES ||
           error_set(err, ERROR_CONFIG, false, "%s: is larger than 4 MiB", path);
}

json_t *mapping_file_load(const char *path, struct error *err) {
    struct buf text = {0};
    json_t *root = NULL;
    if (read_file(path, &text, err)) root = mapping_file_parse(path, buf_slice(&text), err);
    buf_deinit(&text);
    return root;
}
