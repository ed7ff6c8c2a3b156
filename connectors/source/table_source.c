#include "connectors/source/table_source.h"

#include <string.h>

#include "base/arena.h"
#include "base/catalog.h"
#include "base/mem.h"
#include "base/pg.h"
#include "connectors/source/reread.h"
#include "connectors/source/source_database.h"
#include "connectors/source/table_reader.h"

struct table_source {
    struct source_database database;
    char *schema;
    char *table;
    struct table_parts parts; /* own copies */

    /* Feed's thread. */
    struct catalog *catalog;
    const struct catalog_table *described; /* in the catalog */

    /* Sender's thread. */
    PGconn *conn;
    struct shape *prepared; /* what REREAD_STATEMENT was prepared for */
};

struct table_parts table_parts_of(const struct connector_config *config) {
    return (struct table_parts){.n_choices = config->n_columns,
                                .choices = config->columns,
                                .routing = config->routing,
                                .document = config->document};
}

static struct table_parts copy_parts(const struct table_parts *from) {
    struct shape_choice *choices = mem_calloc(from->n_choices + 1u, sizeof *choices);
    for (uint32_t i = 0; i < from->n_choices; i++)
        choices[i] = (struct shape_choice){.column = mem_strdup(from->choices[i].column),
                                           .name = mem_strdup(from->choices[i].name)};
    return (struct table_parts){.n_choices = from->n_choices,
                                .choices = choices,
                                .routing = from->routing ? mem_strdup(from->routing) : NULL,
                                .document = from->document ? mem_strdup(from->document) : NULL};
}

static void free_const(const void *memory) { mem_free((void *)(uintptr_t)memory); }

static void free_parts(struct table_parts *parts) {
    for (uint32_t i = 0; i < parts->n_choices; i++) {
        free_const(parts->choices[i].column);
        free_const(parts->choices[i].name);
    }
    free_const(parts->choices);
    free_const(parts->routing);
    free_const(parts->document);
}

struct table_source *table_source_create(const struct table_source_config *config,
                                         struct error *err) {
    const char *dot = strchr(config->table, '.');
    if (!config->table[0] || (dot && (dot == config->table || !dot[1]))) {
        error_set(err, ERROR_CONFIG, false, "table \"%s\": write schema.table", config->table);
        return NULL;
    }
    struct table_source *source = mem_zalloc(sizeof *source);
    source_database_init(&source->database, &config->database);
    source->schema = dot ? mem_slicedup(slice_make(config->table, (size_t)(dot - config->table)))
                         : mem_strdup("public");
    source->table = mem_strdup(dot ? dot + 1 : config->table);
    source->parts = copy_parts(&config->parts);
    return source;
}

void table_source_destroy(struct table_source **source) {
    struct table_source *old = *source;
    *source = NULL;
    if (!old) return;
    if (old->conn) PQfinish(old->conn);
    shape_release(&old->prepared);
    catalog_destroy(&old->catalog);
    source_database_deinit(&old->database);
    mem_free(old->schema);
    mem_free(old->table);
    free_parts(&old->parts);
    mem_free(old);
}

/* ---- the table as the catalog has it; feed's thread ---- */

static bool load_table(struct table_source *source, PGconn *conn, struct error *err) {
    struct catalog *catalog = catalog_load(conn, err);
    if (!catalog) return false;
    catalog_destroy(&source->catalog);
    source->catalog = catalog;
    source->described = catalog_find(catalog, source->schema, source->table);
    if (source->described) return true;
    return error_set(err, ERROR_CONFIG, false, "table %s.%s does not exist in database \"%s\"",
                     source->schema, source->table, catalog->database);
}

/* The columns that name a row in the sink: those that the stream has of a deleted row. */
static const struct catalog_index *key_of(const struct catalog_table *table) {
    for (uint16_t i = 0; i < table->n_indexes && table->replica_identity == 'i'; i++) {
        if (table->indexes[i].replica_identity) return &table->indexes[i];
    }
    return table->primary_key;
}

static bool check_table(const struct catalog_table *table, struct error *err) {
    const struct catalog_index *key = key_of(table);
    if (!key || !key->usable_as_key)
        return error_set(err, ERROR_CONFIG, false,
                         "table %s.%s has no primary key (or REPLICA IDENTITY USING INDEX), so its "
                         "rows have no name in a sink",
                         table->schema, table->name);
    if (!catalog_table_publishable(table))
        return error_set(err, ERROR_CONFIG, false,
                         "table %s.%s cannot be followed: its replica identity is not in force; "
                         "ALTER TABLE ... REPLICA IDENTITY DEFAULT mends it",
                         table->schema, table->name);
    if (!table->selectable)
        return error_set(err, ERROR_REFUSED, false,
                         "table %s.%s: no right to read it; GRANT SELECT mends it", table->schema,
                         table->name);
    return true;
}

/* What the type's own OID does not tell: a domain has its base type's class; citext is text; an array of what we
 * do not know is an array of strings. */
static struct shape_column classify(const struct catalog_column *column) {
    struct shape_column shape = {
        .name = column->name, .class = CLASS_KEYWORD, .type_name = column->type_name};
    if (shape_builtin_type(column->base_type_oid, &shape)) return shape;
    if (strcmp(column->base_type_name, "citext") == 0) shape.class = CLASS_TEXT;
    shape.array = column->element_type_oid != 0 && column->base_type_name[0] == '_';
    return shape;
}

static struct shape *shape_of_table(const struct catalog_table *table) {
    struct shape_column *columns = mem_calloc(table->n_columns + 1u, sizeof *columns);
    for (uint16_t i = 0; i < table->n_columns; i++)
        columns[i] = classify(&table->columns[i]);
    const struct catalog_index *key = key_of(table);
    struct shape *shape = shape_create(table->schema, table->name, table->n_columns, columns,
                                       key->n_columns, key->columns);
    mem_free(columns);
    return shape;
}

/* What is generated is in no change stream that we read. */
static bool check_generated(const struct catalog_table *table, const struct table_parts *parts,
                            uint32_t *choice, struct error *err) {
    for (*choice = 0; *choice < parts->n_choices; ++*choice) {
        const char *name = parts->choices[*choice].column;
        for (uint16_t i = 0; i < table->n_columns; i++) {
            if (table->columns[i].generated && strcmp(table->columns[i].name, name) == 0)
                return error_set(err, ERROR_CONFIG, false,
                                 "column \"%s\" of %s.%s is generated, and not in the change "
                                 "stream",
                                 name, table->schema, table->name);
        }
    }
    return true;
}

/* Of the chosen columns alone. Takes the shape away where it has not all of them. */
static bool choose(struct shape **shape, const struct table_parts *parts, uint32_t *choice,
                   struct error *err) {
    if (parts->n_choices == 0) return true;
    struct shape *all = *shape;
    *shape = shape_choose(all, parts->n_choices, parts->choices, choice, err);
    shape_release(&all);
    return *shape != NULL;
}

/* Takes the shape away where it cannot have its parts. The routing of a deleted row must come with it, or its shard is not
 * known. */
static bool set_parts(struct shape **shape, const struct table_parts *parts, char replica_identity,
                      struct error *err) {
    struct shape *given = *shape;
    const char *routing = parts->routing;
    const char *document = parts->document;
    bool found = shape_set_parts(given, routing, document);
    bool told = !given->routing_apart || replica_identity == 'f';
    bool json =
        given->document == SHAPE_NONE || given->columns[given->document].class == CLASS_JSON;
    if (found && told && json) return true;
    const char *missing = routing && given->routing == SHAPE_NONE ? routing : document;
    const char *schema = given->schema;
    const char *table = given->table;
    if (!found)
        error_set(err, ERROR_CONFIG, false, "table %s.%s has no column \"%s\"", schema, table,
                  missing);
    else if (!json)
        error_set(err, ERROR_CONFIG, false,
                  "table %s.%s: column \"%s\" is not json or jsonb, and is no document", schema,
                  table, document);
    else
        error_set(err, ERROR_CONFIG, false,
                  "table %s.%s: routing column \"%s\" is none of the key's, and a deleted row "
                  "comes without it; ALTER TABLE %s.%s REPLICA IDENTITY FULL mends it",
                  schema, table, routing, schema, table);
    shape_release(shape);
    return false;
}

struct shape *table_source_shape(const struct catalog_table *table, const struct table_parts *parts,
                                 uint32_t *choice, struct error *err) {
    *choice = parts->n_choices;
    if (!check_table(table, err) || !check_generated(table, parts, choice, err)) return NULL;
    struct shape *shape = shape_of_table(table);
    if (!choose(&shape, parts, choice, err)) return NULL;
    return set_parts(&shape, parts, table->replica_identity, err) ? shape : NULL;
}

static bool prepare(void *self, struct shape **shape, uint64_t *system_identifier,
                    struct error *err) {
    struct table_source *source = self;
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    bool ready = load_table(source, conn, err) && check_table(source->described, err) &&
                 source_database_publish(&source->database, conn, 1, &source->described, err) &&
                 source_database_system(conn, system_identifier, err);
    PQfinish(conn);
    if (!ready) return false;
    uint32_t choice;
    *shape = table_source_shape(source->described, &source->parts, &choice, err);
    if (*shape && source->database.publication)
        (*shape)->tables = source_database_tables(1, &source->described);
    return *shape != NULL;
}

static bool tables_now(void *self, uint64_t *tables, struct error *err) {
    const struct table_source *source = self;
    const char *const names[] = {source->schema, source->table};
    *tables = 0;
    return !source->database.publication ||
           source_database_tables_now(&source->database, 1, names, tables, err);
}

static bool load_floor(void *self, const char *slot, uint64_t *floor_lsn, struct error *err) {
    const struct table_source *source = self;
    return source_database_load_floor(&source->database, slot, floor_lsn, err);
}

static bool follows(void *self, const struct relation *relation) {
    const struct table_source *source = self;
    return strcmp(relation->name, source->table) == 0 &&
           strcmp(relation->schema, source->schema) == 0;
}

/* ---- shapes of streamed relations; feed's thread ---- */

static const struct catalog_column *find_column(const struct catalog_table *table,
                                                const struct relation_column *column) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct catalog_column *known = &table->columns[i];
        if (known->type_oid == column->type_oid && strcmp(known->name, column->name) == 0)
            return known;
    }
    return NULL;
}

/* The stream tells a type's number alone; its name, and what an own type (an enum, a domain) is, the catalog. */
static bool knows_all(const struct catalog_table *table, const struct relation *relation) {
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (!find_column(table, &relation->columns[i])) return false;
    }
    return true;
}

static bool reload_table(struct table_source *source, struct error *err) {
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    bool loaded = load_table(source, conn, err);
    PQfinish(conn);
    return loaded;
}

static struct shape_column classify_streamed(const struct catalog_table *table,
                                             const struct relation_column *column) {
    const struct catalog_column *known = find_column(table, column);
    struct shape_column shape = {.class = CLASS_KEYWORD};
    if (known)
        shape = classify(known);
    else
        (void)shape_builtin_type(column->type_oid, &shape);
    shape.name = column->name;
    return shape;
}

static bool find_keys(const struct catalog_table *table, const struct relation *relation,
                      uint16_t *keys, uint16_t *n_keys) {
    const struct catalog_index *key = key_of(table);
    for (uint16_t i = 0; key && i < key->n_columns; i++) {
        const char *name = table->columns[key->columns[i]].name;
        uint16_t at = 0;
        while (at < relation->n_columns && strcmp(relation->columns[at].name, name) != 0)
            at++;
        if (at == relation->n_columns || !relation->columns[at].identity) return false;
        keys[(*n_keys)++] = at;
    }
    return *n_keys > 0;
}

static bool shape_of(void *self, const struct relation *relation, struct shape **shape,
                     struct error *err) {
    struct table_source *source = self;
    if (!knows_all(source->described, relation) && !reload_table(source, err)) return false;
    const struct catalog_table *table = source->described;
    struct shape_column *columns = mem_calloc(relation->n_columns + 1u, sizeof *columns);
    uint16_t *keys = mem_calloc(relation->n_columns + 1u, sizeof *keys);
    uint16_t n_keys = 0;
    for (uint16_t i = 0; i < relation->n_columns; i++)
        columns[i] = classify_streamed(table, &relation->columns[i]);
    bool found = find_keys(table, relation, keys, &n_keys);
    if (found)
        *shape = shape_create(relation->schema, relation->name, relation->n_columns, columns,
                              n_keys, keys);
    else
        error_set(err, ERROR_CONFLICT, true,
                  "table %s.%s: the key's columns or the replica identity have changed",
                  relation->schema, relation->name);
    mem_free(keys);
    mem_free(columns);
    uint32_t choice;
    return found && choose(shape, &source->parts, &choice, err) &&
           set_parts(shape, &source->parts, relation->replica_identity, err);
}

/* ---- reading again; sender's thread ---- */

static bool has_incomplete(struct batch *batch) {
    const struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        if (write->incomplete) return true;
    }
    return false;
}

static void disconnect(struct table_source *source) {
    if (source->conn) PQfinish(source->conn);
    source->conn = NULL;
    shape_release(&source->prepared);
}

static bool reread(void *self, struct batch *batch, uint64_t *rows, struct error *err) {
    struct table_source *source = self;
    if (!has_incomplete(batch)) return true;
    if (!source->conn && !(source->conn = source_database_connect(&source->database, err)))
        return false;
    if (source->prepared != batch->shape) {
        shape_release(&source->prepared);
        if (!reread_prepare(source->conn, batch->shape, err)) {
            disconnect(source);
            return false;
        }
        source->prepared = shape_acquire(batch->shape);
    }
    if (reread_batch(source->conn, batch, rows, err)) return true;
    /* Anew next time: a dropped column, a changed type, a lost connection. Not for a wait alone. */
    if (err->code != ERROR_TIMEOUT) disconnect(source);
    return false;
}

/* ---- reading for a comparison; any thread: of the source what never changes alone ---- */

/* What comes from elsewhere has all columns of all rows. */
static bool read_published(const struct table_source *source, PGconn *conn, struct shape *shape,
                           struct table_published *published, struct error *err) {
    const char *publication = source->database.publication;
    if (publication) return table_published_read(conn, publication, shape, published, err);
    *published = (struct table_published){.shape = shape_acquire(shape)};
    return true;
}

/* What the stream and the load have of the table: policies of rows have no say in those. */
static bool published_now(const struct table_source *source, PGconn *conn,
                          struct table_published *published, bool *partitioned, struct error *err) {
    if (!pg_exec(conn, "SET row_security = off", err)) return false;
    struct catalog *catalog = catalog_load(conn, err);
    if (!catalog) return false;
    const struct catalog_table *table = catalog_find(catalog, source->schema, source->table);
    if (!table)
        error_set(err, ERROR_CONFIG, false, "table %s.%s does not exist", source->schema,
                  source->table);
    bool read = false;
    if (table && check_table(table, err)) {
        struct shape *shape = shape_of_table(table);
        uint32_t choice;
        read = choose(&shape, &source->parts, &choice, err) &&
               read_published(source, conn, shape, published, err) &&
               set_parts(&published->shape, &source->parts, table->replica_identity, err);
        *partitioned = table->kind == 'p';
        shape_release(&shape);
    }
    catalog_destroy(&catalog);
    return read;
}

static bool open_reader(void *self, struct row_reader *reader, struct error *err) {
    const struct table_source *source = self;
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    struct table_published published = {0};
    bool partitioned;
    bool read = published_now(source, conn, &published, &partitioned, err);
    if (read)
        *reader = table_reader_create(&conn, &published, partitioned);
    else
        table_published_deinit(&published);
    if (conn) PQfinish(conn);
    return read;
}

const struct catalog_table *table_source_described(const struct table_source *source) {
    return source->described;
}

struct source table_source_as_source(struct table_source *source) {
    static const struct source_ops ops = {.prepare = prepare,
                                          .load_floor = load_floor,
                                          .follows = follows,
                                          .shape_of = shape_of,
                                          .reread = reread,
                                          .tables_now = tables_now,
                                          .open_reader = open_reader};
    return (struct source){.ops = &ops, .self = source};
}
