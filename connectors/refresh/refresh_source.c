#include "connectors/refresh/refresh_source.h"

#include <stdatomic.h>
#include <string.h>

#include "base/catalog.h"
#include "base/mem.h"
#include "connectors/refresh/matviews.h"

struct refresh_source {
    struct source_database database;
    uint32_t n_views;
    const char *const *names;
    struct matviews *views; /* feed's thread */
    bool walked;            /* sender's thread: the views of the walk in hand are given */
};

struct refresh_source *refresh_source_create(const struct refresh_source_config *config) {
    struct refresh_source *source = mem_zalloc(sizeof *source);
    source_database_init(&source->database, &config->database);
    source->n_views = config->n_views;
    source->names = config->views;
    return source;
}

void refresh_source_destroy(struct refresh_source **source) {
    struct refresh_source *old = *source;
    *source = NULL;
    if (!old) return;
    matviews_destroy(&old->views);
    source_database_deinit(&old->database);
    mem_free(old);
}

/* ---- feed's thread ---- */

static bool is_read(const struct matviews *views, uint32_t table) {
    for (uint32_t i = 0; i < views->n; i++) {
        if (matviews_reads(&views->views[i], table)) return true;
    }
    return false;
}

/* Every table that any of them reads. */
static bool publish(const struct refresh_source *source, PGconn *conn,
                    const struct catalog *catalog, struct error *err) {
    const struct catalog_table **tables = mem_calloc(catalog->n_tables + 1u, sizeof *tables);
    uint32_t n = 0;
    bool ok = true;
    for (uint32_t i = 0; i < catalog->n_tables && ok; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (!is_read(source->views, table->oid)) continue;
        tables[n++] = table;
        if (!catalog_table_publishable(table))
            ok =
                error_set(err, ERROR_CONFIG, false,
                          "the changes of %s.%s, which a view reads, cannot be followed: it has no "
                          "primary key, or no replica identity in force",
                          table->schema, table->name);
    }
    if (ok && n == 0) ok = error_set(err, ERROR_CONFIG, false, "the views read no table");
    ok = ok && source_database_publish(&source->database, conn, n, tables, err);
    mem_free(tables);
    return ok;
}

static bool prepare(void *self, struct shape **shape, uint64_t *system_identifier,
                    struct error *err) {
    static const struct shape_column column = {.name = "view", .class = CLASS_TEXT};
    static const uint16_t key = 0;
    struct refresh_source *source = self;
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    struct catalog *catalog = catalog_load(conn, err);
    struct matviews *views =
        catalog ? matviews_load(conn, source->n_views, source->names, err) : NULL;
    bool ready = views != NULL;
    if (ready) {
        matviews_destroy(&source->views);
        source->views = views;
    }
    ready = ready && publish(source, conn, catalog, err) &&
            source_database_system(conn, system_identifier, err);
    catalog_destroy(&catalog);
    PQfinish(conn);
    if (ready) *shape = shape_create("refresh", "views", 1, &column, 1, &key);
    return ready;
}

static bool load_floor(void *self, const char *slot, uint64_t *floor_lsn, struct error *err) {
    const struct refresh_source *source = self;
    return source_database_load_floor(&source->database, slot, floor_lsn, err);
}

static bool follows(void *self, const struct relation *relation) {
    const struct refresh_source *source = self;
    return is_read(source->views, relation->oid);
}

static struct value text_value(const char *text) {
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(text), .data = text};
}

static bool touch(void *self, const struct change *change, const struct touched *touched,
                  struct error *err) {
    (void)err;
    const struct refresh_source *source = self;
    for (uint32_t i = 0; i < source->views->n; i++) {
        if (!matviews_reads(&source->views->views[i], change->relation->oid)) continue;
        struct value name = text_value(source->views->views[i].qualified);
        touched->key(touched->arg, &name);
    }
    return true;
}

/* ---- sender's thread ---- */

static void forget(void *self) {
    struct refresh_source *source = self;
    source->walked = false;
}

/* All of them, by the names that were configured: a load. */
static bool walk(void *self, const struct batch *walk, struct batch *part, struct error *err) {
    (void)err;
    struct refresh_source *source = self;
    for (uint32_t i = 0; i < source->n_views && !source->walked; i++) {
        bool qualified = strchr(source->names[i], '.');
        char *name = mem_printf("%s%s", qualified ? "" : "public.", source->names[i]);
        struct value row = text_value(name);
        batch_put(part, slice_from(name), &walk->walk.stamp, &row, NULL);
        mem_free(name);
    }
    source->walked = !source->walked;
    return true;
}

/* As source.h has it. NOLINTNEXTLINE(readability-non-const-parameter) */
static bool reread(void *self, struct batch *batch, uint64_t *rows, struct error *err) {
    (void)self, (void)batch, (void)rows, (void)err;
    return true; /* a name is complete */
}

struct source refresh_source_as_source(struct refresh_source *source) {
    static const struct source_ops ops = {.prepare = prepare,
                                          .load_floor = load_floor,
                                          .follows = follows,
                                          .touch = touch,
                                          .walk = walk,
                                          .forget = forget,
                                          .reread = reread};
    return (struct source){.ops = &ops, .self = source};
}
