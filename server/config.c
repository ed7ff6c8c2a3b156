/* Four layers are laid over one another, the weakest first, each writing the typed fields through the option table. So
 * every layer's mistakes are told, also of a value that a stronger one replaces. */
#include "server/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "server/layer.h"
#include "server/sources.h"
#include "server/yaml.h"

static void lay_defaults(struct config *config) {
    layer_initials(config, options, config);
    for (int i = 0; options[i].path; i++) {
        config->values[i].where = "default";
        config->values[i].text = options[i].initial ? options[i].initial : "";
    }
}

static void lay_environment(struct layer layer) {
    layer.strength = FROM_ENVIRONMENT;
    layer.has_positions = false;
    layer.scope.folder = NULL;
    for (const struct option *option = options; option->path; option++) {
        char name[OPTION_ENVIRONMENT_MAX];
        option_environment_name(option, name);
        const char *names[] = {option->variable, name};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const char *text =
                names[i] ? environment_get(layer.scope.environment, names[i], strlen(names[i]))
                         : NULL;
            if (!text || !*text) continue; /* as compose files pass what is not set */
            layer.name = arena_strdup(layer.config->arena, names[i]);
            layer_setting(&layer, option->path, text);
        }
    }
}

static bool is_variable(const char *variable, size_t len) {
    for (const struct option *option = options; option->path; option++) {
        char name[OPTION_ENVIRONMENT_MAX];
        option_environment_name(option, name);
        if (strlen(name) == len && strncmp(name, variable, len) == 0) return true;
        const char *other = option->variable;
        if (other && strlen(other) == len && strncmp(other, variable, len) == 0) return true;
    }
    return false;
}

const char *config_unknown_variable(char *const *environment, uint32_t *at, size_t *len) {
    for (; environment[*at]; ++*at) {
        const char *variable = environment[*at];
        *len = strcspn(variable, "=");
        if (strncmp(variable, "FRESHET_", 8) != 0 || is_variable(variable, *len)) continue;
        ++*at;
        return variable;
    }
    return NULL;
}

static void lay_flags(struct layer layer, const struct config_sources *sources) {
    layer.strength = FROM_FLAG;
    layer.has_positions = false;
    layer.scope.folder = NULL;
    for (uint32_t i = 0; i < sources->n_flags; i++) {
        layer.name = sources->flags[i].name;
        layer_setting(&layer, sources->flags[i].path, sources->flags[i].text);
    }
}

static const char *folder_of(struct arena *arena, const char *file) {
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (!slash) return NULL;
    return arena_dup(arena, slice_make(file, slash == file ? 1 : (size_t)(slash - file))).data;
}

static struct config *config_create(void) {
    uint32_t n = 0;
    while (options[n].path)
        n++;
    struct arena *arena = arena_create(64 * 1024);
    struct config *config = arena_zalloc(arena, sizeof *config);
    config->arena = arena;
    config->values = arena_zalloc(arena, n * sizeof *config->values);
    return config;
}

struct config *config_load_text(const struct config_sources *sources, const char *text, size_t len,
                                struct mistakes *mistakes) {
    struct config *config = config_create();
    struct layer layer = {
        .config = config,
        .mistakes = mistakes,
        .strength = FROM_FILE,
        .name = sources->file,
        .has_positions = true,
        .scope = {.environment = sources->environment,
                  .folder = folder_of(config->arena, sources->file)},
    };
    lay_defaults(config);
    bool whole = !text || layer_file(&layer, text, len);
    lay_environment(layer);
    lay_flags(layer, sources);
    if (whole) sources_load(config, mistakes);
    if (whole && !sources->partial) config_check(config, sources, mistakes);
    return config;
}

static bool read_file(const char *path, struct buf *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n;
    do {
        n = read(fd, buf_reserve(out, 16384), 16384);
        if (n > 0) out->len += (size_t)n;
    } while ((n > 0 && out->len <= YAML_MAX_BYTES) || (n < 0 && errno == EINTR));
    int saved = errno;
    close(fd);
    errno = saved;
    return n >= 0;
}

struct config *config_load(const struct config_sources *sources, struct mistakes *mistakes) {
    struct buf text = {0};
    bool read = sources->file && read_file(sources->file, &text);
    if (sources->file && !read)
        mistakes_add(mistakes, sources->file, NULL, "cannot be read: %s", strerror(errno));
    struct config *config =
        config_load_text(sources, read ? buf_text(&text) : NULL, text.len, mistakes);
    buf_deinit(&text);
    return config;
}

void config_destroy(struct config **config) {
    if (!*config) return;
    struct arena *arena = (*config)->arena; /* the config itself lies in it */
    *config = NULL;
    arena_destroy(&arena);
}

const char *config_pair_where(const struct config *config, const char *path, const char *name) {
    size_t len = strlen(path);
    for (uint32_t i = config->n_pairs; i-- > 0;) {
        const struct config_pair *pair = &config->pairs[i];
        if (strncmp(pair->path, path, len) == 0 && pair->path[len] == '.' &&
            strcmp(pair->path + len + 1, name) == 0)
            return pair->where;
    }
    return config_value(config, path)->where;
}

const char *config_record_where(const struct config *config, const char *path, uint32_t i,
                                const char *field) {
    char name[128];
    snprintf(name, sizeof name, "%s[%u].%s", path, i, field);
    for (uint32_t p = config->n_pairs; p-- > 0;) {
        if (strcmp(config->pairs[p].path, name) == 0) return config->pairs[p].where;
    }
    return NULL;
}

const struct config_value *config_value(const struct config *config, const char *path) {
    int at = option_find(path);
    ASSERT(at >= 0);
    return &config->values[at];
}

/* postgres://app:secret@db/shop: what stands between the first ":" behind "//" and the "@". */
static void show_url(const char *text, struct buf *out) {
    const char *host = strstr(text, "://");
    const char *at = host ? strrchr(host, '@') : NULL;
    const char *colon = at ? memchr(host + 3, ':', (size_t)(at - host - 3)) : NULL;
    if (colon)
        buf_printf(out, "%.*s:***%s", (int)(colon - text), text, at);
    else if (!host && strstr(text, "password"))
        buf_append_text(out, "***");
    else
        buf_append_text(out, text);
}

void config_show(const struct option *option, const char *text, struct buf *out) {
    if (option->type == OPTION_SECRET || option->type == OPTION_RECORDS ||
        option->type == OPTION_SOURCES)
        buf_append_text(out, "***");
    else if (option->type == OPTION_URL || strstr(text, "://"))
        show_url(text, out);
    else
        buf_append_text(out, text);
}
