/* What fits together in connectors, and what must be in the database. Which options a type takes stands in its row
 * (connectors/sink.h). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "server/config.h"

enum { NAME_MAX_CHARS = 50, SLOT_NAME_MAX_BYTES = 63 };

struct connector_check {
    const struct config *config;
    struct mistakes *mistakes;
    uint32_t i;
    struct connector_config *connector;
};

/* Where a field was said; NULL: it was not. */
static const char *said(const struct connector_check *c, const char *field) {
    return config_record_where(c->config, "connectors", c->i, field);
}

/* A mistake of a field, where that was said; else, and with no field, of the connector. */
static void wrong(const struct connector_check *c, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void wrong(const struct connector_check *c, const char *field, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *where = field ? said(c, field) : NULL;
    char *path =
        where ? mem_printf("connectors[%u].%s", c->i, field) : mem_printf("connectors[%u]", c->i);
    mistakes_add(c->mistakes, where ? where : c->config->connector_places[c->i], path, "%s", text);
    mem_free(path);
}

static const char *default_slot(const struct config *config, const char *name) {
    char *text = mem_printf("freshet_%s", name);
    for (char *letter = text; *letter; letter++)
        *letter = *letter == '-' ? '_' : (char)tolower((unsigned char)*letter);
    const char *slot = arena_strdup(config->arena, text);
    mem_free(text);
    return slot;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789_"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool only_has(const char *text, const char *allowed, size_t most) {
    size_t len = strlen(text);
    return len && len <= most && strspn(text, allowed) == len;
}

/* ---- what each type takes ---- */

static void check_option(const struct connector_check *c, const char *option, bool required) {
    const char *type = c->connector->type ? c->connector->type : "";
    enum connector_option rule = connector_option(type, option);
    if (said(c, option) != NULL) {
        if (rule == CONNECTOR_REFUSES) wrong(c, option, "is no option of type %s", type);
    } else if (required || rule == CONNECTOR_NEEDS) {
        wrong(c, NULL, "has no %s", option);
    }
}

static void check_options(const struct connector_check *c) {
    const struct option *option = options[option_find("connectors")].items;
    for (; option->path; option++)
        check_option(c, option->path, option->required);
}

/* ---- one, and all ---- */

static void check_names(const struct connector_check *c) {
    struct connector_config *connector = c->connector;
    if (!connector->name) return;
    if (!only_has(connector->name, LOWER UPPER "-", NAME_MAX_CHARS))
        wrong(c, "name", "\"%.80s\" is not letters, digits, - and _, at most %d", connector->name,
              NAME_MAX_CHARS);
    if (!connector->slot) connector->slot = default_slot(c->config, connector->name);
    if (!connector->publication) connector->publication = connector->slot;
    if (!only_has(connector->slot, LOWER, SLOT_NAME_MAX_BYTES))
        wrong(c, "slot", "\"%.80s\" is no slot name", connector->slot);
}

static void check_connector(const struct connector_check *c) {
    check_options(c);
    const char *table = c->connector->table;
    if (table && (!pattern_valid(table) || strchr(table, '*')))
        wrong(c, "table", "\"%.80s\" names no table, write schema.table", table);
    check_names(c);
}

static void check_unique(const struct connector_check *c) {
    const struct config *config = c->config;
    const struct connector_config *one = c->connector;
    if (!one->name) return;
    if (strcmp(one->slot, config->cdc.slot) == 0)
        wrong(c, NULL, "has the slot of cdc.slot, \"%.80s\"", one->slot);
    if (config->cache.slot && strcmp(one->slot, config->cache.slot) == 0)
        wrong(c, NULL, "has the slot of cache.slot, \"%.80s\"", one->slot);
    for (uint32_t j = 0; j < c->i; j++) {
        const struct connector_config *other = &config->connectors[j];
        if (!other->name) continue;
        bool same_name = strcmp(one->name, other->name) == 0;
        if (!same_name && strcmp(one->slot, other->slot) != 0) continue;
        wrong(c, NULL, "has the %s of connectors[%u], \"%.80s\"", same_name ? "name" : "slot", j,
              same_name ? one->name : one->slot);
        break;
    }
}

void config_check_connectors(struct config *config, struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        struct connector_check check = {
            .config = config, .mistakes = mistakes, .i = i, .connector = &config->connectors[i]};
        check_connector(&check);
        check_unique(&check);
    }
}

/* ---- what depends on the database ---- */

static const char *table_part(const char *qualified) {
    const char *dot = strrchr(qualified, '.');
    return dot ? dot + 1 : qualified;
}

void config_finish_connectors(struct config *config) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        struct connector_config *connector = &config->connectors[i];
        connector->database_url = config->database_url;
        connector->state_dir = config->state_dir;
        if (!connector->index)
            connector->index = arena_strdup(config->arena, table_part(connector->table));
    }
}

static bool has_table(const struct catalog *catalog, const char *name) {
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (pattern_match(name, catalog->tables[i].schema, catalog->tables[i].name)) return true;
    }
    return false;
}

void config_verify_connectors(const struct config *config, const struct catalog *catalog,
                              struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        struct connector_check check = {
            .config = config, .mistakes = mistakes, .i = i, .connector = &config->connectors[i]};
        const char *name = check.connector->table;
        if (!has_table(catalog, name))
            wrong(&check, "table", "there is no table \"%.80s\" in %s", name, catalog->database);
    }
}
