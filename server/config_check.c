/* What fits each option alone and not together; and the tables and columns that must exist. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/kafka.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "cache/access/acl_rights.h"
#include "cache/front/output_limits.h"
#include "cache/rows/named.h"
#include "cache/rows/rowttl.h"
#include "cache/rows/sources.h"
#include "cache/signals/notify.h"
#include "server/config.h"
#include "server/fleet.h"
#include "server/sources.h"

enum { NAME_MAX_BYTES = 63 /* NAMEDATALEN - 1 */ };

struct checker {
    struct config *config;
    const struct config_sources *sources;
    struct mistakes *mistakes;
};

/* Where an option was said; of one that was not, where it could have been. */
static const char *where(const struct checker *c, const char *path) {
    const struct config_value *value = config_value(c->config, path);
    if (value->strength != FROM_DEFAULT) return value->where;
    return c->sources->file ? c->sources->file : "configuration";
}

#define WRONG(checker, path, ...)                                                                  \
    mistakes_add((checker)->mistakes, where(checker, path), path, __VA_ARGS__)

static bool only_has(const char *text, const char *allowed) {
    return *text && text[strspn(text, allowed)] == '\0';
}

#define DIGITS  "0123456789"
#define LOWER   "abcdefghijklmnopqrstuvwxyz"
#define LETTERS LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool slot_name_valid(const char *name) {
    return only_has(name, LOWER DIGITS "_") && strlen(name) <= NAME_MAX_BYTES;
}

static void check_roles(struct checker *c) {
    struct config *config = c->config;
    bool to_stdout = config->cdc.output == OUTPUT_STDOUT;
    if (config->roles == 0) {
        config->roles = config->n_sources && !config->database_url ? 0 : ROLE_CACHE;
        if (config->cdc.kafka.brokers || to_stdout || config->n_sources) config->roles |= ROLE_CDC;
        if (config->n_connectors) config->roles |= ROLE_CONNECTORS;
        return;
    }
    bool brokers = config->cdc.kafka.brokers || config_value(config, "cdc.kafka.brokers")->wrong;
    if (config->roles & ROLE_CDC && !brokers && !to_stdout && !config->n_sources)
        WRONG(
            c, "cdc.kafka.brokers",
            "is not set, and the role cdc needs it: give --kafka HOST:PORT, or cdc.output: stdout");
    if (config->roles & ROLE_CONNECTORS && config->n_connectors == 0)
        WRONG(c, "connectors", "is empty, and the role connectors needs one at least");
}

static void check_database(struct checker *c) {
    const struct config *config = c->config;
    bool needed = config->cache_read_through || config->roles != ROLE_CACHE;
    if (config->n_sources && config->roles == ROLE_CDC) needed = false;
    if (!config->database_url) {
        if (needed && !config_value(config, "database.url")->wrong)
            WRONG(
                c, "database.url",
                "is not set: give --database URL, FRESHET_DATABASE_URL, or database.url in a file "
                "(cache.read_through: false runs plain keys alone)");
        return;
    }
    struct error err;
    char *conninfo = pg_conninfo(config->database_url, &(struct pg_options){0}, &err);
    if (!conninfo) WRONG(c, "database.url", "%s; write postgres://USER@HOST/DATABASE", err.message);
    mem_free(conninfo);
}

static void check_url(struct checker *c, const char *path, const char *url) {
    struct error err;
    char *conninfo = pg_conninfo(url, &(struct pg_options){0}, &err);
    if (!conninfo) WRONG(c, path, "%s; write postgres://USER@HOST/DATABASE", err.message);
    mem_free(conninfo);
}

static void check_replicas(struct checker *c) {
    const struct cache_config *cache = &c->config->cache;
    for (uint32_t i = 0; i < cache->n_replicas; i++)
        check_url(c, "database.replicas", cache->replicas[i]);
    if (cache->pooler_url) check_url(c, "database.pooler", cache->pooler_url);
    if (cache->n_replicas > SOURCES_MAX_STANDBYS)
        WRONG(c, "database.replicas", "are more than %d", SOURCES_MAX_STANDBYS);
    if (cache->n_replicas && cache->coherence != COHERENCE_STREAM)
        WRONG(c, "database.replicas",
              "needs cache.coherence: stream, which tells what a standby has to have replayed");
    if (strlen(cache->application_name) > NAME_MAX_BYTES)
        WRONG(c, "database.application_name", "is longer than %d bytes", NAME_MAX_BYTES);
}

/* Whoever comes in has to say who he is: by a password, or a certificate. */
static bool is_guarded(const struct config *config, bool is_tls_port) {
    const struct cache_config *cache = &config->cache;
    bool speaks_tls = cache->tls.certificate && (is_tls_port || !cache->tls.listen);
    if (cache->password || cache->acl_file) return true;
    for (uint32_t i = 0; i < cache->n_users; i++)
        if (strcmp(cache->users[i].name, "default") == 0) return true;
    return speaks_tls && cache->tls.clients == TLS_CLIENTS_REQUIRED;
}

static void check_tls(struct checker *c) {
    const struct tls_config *tls = &c->config->cache.tls;
    if (tls->certificate && !tls->key)
        WRONG(c, "cache.tls.key", "is not set, and cache.tls.certificate needs it");
    if (!tls->certificate && (tls->key || tls->listen || tls->clients != TLS_CLIENTS_OFF))
        WRONG(c, "cache.tls.certificate", "is not set, and TLS needs it");
    if (tls->clients != TLS_CLIENTS_OFF && !tls->ca)
        WRONG(c, "cache.tls.ca", "is not set, and nothing else says which clients are right");
}

/* One rule after the other, as the cache will take them. */
static void check_rules(struct checker *c, const struct command_ids *ids, uint32_t i) {
    const struct cache_user_config *user = &c->config->cache.users[i];
    struct acl_rights *rights = acl_rights_create(false);
    char *path = mem_printf("cache.users.%s", user->name);
    const char *why;
    if (strpbrk(user->name, " \t"))
        mistakes_add(c->mistakes, c->config->user_places[i], path, "a user's name has no spaces");
    for (const char *at = user->rules ? user->rules : ""; *at;) {
        size_t len = strcspn(at, " ");
        if (!acl_rights_apply(rights, ids, slice_make(at, len), false, &why))
            mistakes_add(c->mistakes, c->config->user_places[i], path, "\"%.*s\": %s",
                         (int)(*at == '>' || *at == '<' ? 1 : len), at, why);
        at += len + (at[len] == ' ');
    }
    mem_free(path);
    acl_rights_release(&rights);
}

static void check_users(struct checker *c) {
    struct config *config = c->config;
    char *end;
    unsigned long mode = strtoul(config->cache_unix_mode, &end, 8);
    if (*end || mode > 0777)
        WRONG(c, "cache.unix_mode", "\"%.60s\" is no mode, write 0700 or the like",
              config->cache_unix_mode);
    config->cache.unix_mode = (uint32_t)mode;
    struct command_ids *ids = config->cache.n_users ? command_ids_create() : NULL;
    for (uint32_t i = 0; i < config->cache.n_users; i++)
        check_rules(c, ids, i);
    if (ids) command_ids_destroy(&ids);
    if (config->cache.acl_file && config->cache.n_users)
        WRONG(c, "cache.acl_file",
              "and cache.users are both set: users are in the one or the other");
}

static void check_listeners(struct checker *c) {
    const struct config *config = c->config;
    struct address address;
    struct why why;
    const char *const listens[][2] = {{"cache.listen", config->cache.listen},
                                      {"cache.tls.listen", config->cache.tls.listen}};
    for (size_t i = 0; i < sizeof listens / sizeof *listens && config->roles & ROLE_CACHE; i++) {
        const char *text = listens[i][1];
        bool open = text && units_address(text, &address, &why) && !address_is_loopback(&address);
        if (open && config->cache_protected_mode && !is_guarded(config, i == 1))
            WRONG(c, listens[i][0],
                  "\"%.80s\" is beyond loopback and there is no password: set cache.password, or "
                  "cache.protected_mode: false where the network is trusted",
                  text);
    }
    if (units_address(config->admin_listen, &address, &why) && !address_is_loopback(&address) &&
        !config->admin_allow_remote)
        WRONG(c, "admin.listen",
              "\"%.80s\" is beyond loopback, and this port asks for no password: set "
              "admin.allow_remote: true where the network is trusted",
              config->admin_listen);
}

static void check_names(struct checker *c) {
    const struct config *config = c->config;
    static const char slot_rule[] = "\"%.80s\" is no slot name, write lower-case letters, digits "
                                    "and _, at most 63";
    if (!slot_name_valid(config->cdc.slot)) WRONG(c, "cdc.slot", slot_rule, config->cdc.slot);
    const char *slot = config->cache.slot;
    if (slot && !slot_name_valid(slot)) WRONG(c, "cache.slot", slot_rule, slot);
    if (slot && strcmp(slot, config->cdc.slot) == 0)
        WRONG(c, "cache.slot", "is the slot of cdc.slot, \"%.80s\"", slot);
    if (strlen(config->cdc.publication) > NAME_MAX_BYTES)
        WRONG(c, "cdc.publication", "is longer than %d bytes", NAME_MAX_BYTES);
    if (strlen(config->cache.publication) > NAME_MAX_BYTES)
        WRONG(c, "cache.publication", "is longer than %d bytes", NAME_MAX_BYTES);
    if (strcmp(config->cache.publication, config->cdc.publication) == 0 && !fleet_follows(config))
        WRONG(c, "cache.publication",
              "is the same as cdc.publication; the cache needs its own, without row filters");
    if (strlen(config->cache.feed_name) > NAME_MAX_BYTES)
        WRONG(c, "cache.name", "is longer than %d bytes", NAME_MAX_BYTES);
    if (config->cdc.prefix && !only_has(config->cdc.prefix, LETTERS DIGITS "._-"))
        WRONG(c, "cdc.prefix",
              "\"%.80s\" cannot begin a topic's name, write letters, digits, dot, _ and -",
              config->cdc.prefix);
    if (config->cache.max_staleness_ms < 2 * config->cache.sample_interval_ms)
        WRONG(c, "cache.max_staleness",
              "must be at least twice cache.sample_interval (%lld ms), or it can never be proved",
              (long long)config->cache.sample_interval_ms);
}

static void check_cache_words(struct checker *c) {
    const struct cache_config *cache = &c->config->cache;
    const char *events = cache->notify_keyspace_events;
    uint32_t classes;
    if (events && !notify_parse(slice_from(events), &classes))
        WRONG(c, "cache.notify_keyspace_events",
              "\"%.80s\" has a letter that is no class, write some of Ag$lshzxeKEtmdnf", events);
    struct output_limits unused;
    output_limits_init(&unused, 0);
    const char *limits = cache->client_output_buffer_limit;
    const char *why = limits ? output_limits_set(&unused, slice_from(limits), false) : NULL;
    if (why)
        WRONG(c, "cache.client_output_buffer_limit",
              "\"%.80s\": %s write \"pubsub 32mb 8mb 60\": class, hard, soft, seconds", limits,
              why);
}

/* Who waits for a fill that is put off must not give up before it is sent. */
static void check_pace(struct checker *c) {
    const struct cache_config *cache = &c->config->cache;
    if (cache->min_refill_interval_ms * 2 > cache->fill_timeout_ms)
        WRONG(c, "cache.min_refill_interval", "is more than half of cache.fill_timeout (%lldms)",
              (long long)cache->fill_timeout_ms);
}

static void check_properties(struct checker *c, const struct kafka_config *kafka,
                             const char *path) {
    for (size_t i = 0; i < kafka->n_properties; i++) {
        const struct kafka_property *property = &kafka->properties[i];
        struct error err;
        if (kafka_property_check(property, &err)) continue;
        char *name = mem_printf("%s.%s", path, property->name);
        mistakes_add(c->mistakes, config_pair_where(c->config, path, property->name), name, "%s",
                     err.message);
        mem_free(name);
    }
}

static void check_kafka(struct checker *c) {
    check_properties(c, &c->config->cdc.kafka, "cdc.kafka.properties");
    check_properties(c, &c->config->cache_kafka, "cache.kafka.properties");
}

static bool names_one_table(const char *name) { return pattern_valid(name) && !strchr(name, '*'); }

static void check_tables(struct checker *c) {
    struct config *config = c->config;
    /* The table is const to all readers; here it gets the default that no text stands for. */
    struct cache_table_config *tables =
        (struct cache_table_config *)(uintptr_t)config->cache.tables;
    for (uint32_t i = 0; i < config->cache.n_tables; i++) {
        struct cache_table_config *table = &tables[i];
        if (table->ttl_ms == 0) table->ttl_ms = -1;
        if (!table->table) continue;
        char *path = mem_printf("cache.tables.%s", table->table);
        const char *at = config->table_places[i];
        if (!names_one_table(table->table))
            mistakes_add(c->mistakes, at, path, "names no table, write schema.table");
        if (table->prefix && strpbrk(table->prefix, ":= "))
            mistakes_add(c->mistakes, at, path, "the prefix \"%.60s\" holds a colon, = or space",
                         table->prefix);
        for (uint32_t j = 0; j < i && table->prefix; j++) {
            if (tables[j].prefix && strcmp(tables[j].prefix, table->prefix) == 0)
                mistakes_add(c->mistakes, at, path, "has the prefix \"%.60s\" of %.100s",
                             table->prefix, tables[j].table);
        }
        mem_free(path);
    }
}

static void check_query(struct checker *c, struct cache_query_config *query, const char *at) {
    char *path = mem_printf("cache.queries.%s", query->name);
    struct named_key key;
    const char *wrong = query->key ? named_key_parse(query->key, &key) : NULL;
    if (!query->key) mistakes_add(c->mistakes, at, path, "has no key");
    if (!query->sql) mistakes_add(c->mistakes, at, path, "has no sql");
    if (!only_has(query->name, LETTERS DIGITS "_.-"))
        mistakes_add(c->mistakes, at, path,
                     "is named otherwise than by letters, digits, _, . and -");
    if (wrong) mistakes_add(c->mistakes, at, path, "the key \"%.80s\" %s", query->key, wrong);
    if (query->n_dependencies == 0 && query->ttl_ms == 0)
        mistakes_add(c->mistakes, at, path,
                     "has neither depends_on nor a ttl: nothing would bound a result's age");
    for (uint32_t i = 0; i < query->n_dependencies; i++) {
        if (!names_one_table(query->dependencies[i].table))
            mistakes_add(c->mistakes, at, path, "depends on \"%.80s\", which names no table",
                         query->dependencies[i].table);
    }
    if (query->ttl_ms == 0) query->ttl_ms = -1;
    mem_free(path);
}

/* Those who read them want them in the order of their names. */
static void sort_queries(struct config *config, struct cache_query_config *queries) {
    for (uint32_t i = 1; i < config->cache.n_queries; i++) {
        for (uint32_t j = i; j > 0 && strcmp(queries[j - 1].name, queries[j].name) > 0; j--) {
            struct cache_query_config query = queries[j];
            const char *at = config->query_places[j];
            queries[j] = queries[j - 1];
            queries[j - 1] = query;
            config->query_places[j] = config->query_places[j - 1];
            config->query_places[j - 1] = at;
        }
    }
}

static void check_queries(struct checker *c) {
    struct config *config = c->config;
    /* As for tables: const to all readers. */
    struct cache_query_config *queries =
        (struct cache_query_config *)(uintptr_t)config->cache.queries;
    for (uint32_t i = 0; i < config->cache.n_queries; i++)
        if (!queries[i].name) return; /* told already */
    sort_queries(config, queries);
    for (uint32_t i = 0; i < config->cache.n_queries; i++) {
        check_query(c, &queries[i], config->query_places[i]);
        struct named_key key, other;
        for (uint32_t j = 0; j < i && queries[i].key && queries[j].key; j++) {
            if (named_key_parse(queries[i].key, &key) || named_key_parse(queries[j].key, &other) ||
                !slice_equal(key.prefix, other.prefix))
                continue;
            char *path = mem_printf("cache.queries.%s", queries[i].name);
            mistakes_add(c->mistakes, config->query_places[i], path,
                         "has keys that begin as those of \"%.80s\"", queries[j].name);
            mem_free(path);
        }
    }
}

void config_check_publisher(struct config *config, const struct config_sources *sources,
                            struct mistakes *mistakes) {
    struct checker checker = {.config = config, .sources = sources, .mistakes = mistakes};
    if (config->database_url) check_url(&checker, "database.url", config->database_url);
    check_names(&checker);
    check_kafka(&checker);
    fleet_check(config, sources->file, mistakes);
    config_check_message_keys(config, mistakes);
    config_check_registry(config, sources->file, mistakes);
    config_check_shapes(config, mistakes);
    bool to_stdout = config->cdc.output == OUTPUT_STDOUT;
    if (!config->cdc.kafka.brokers && !to_stdout)
        mistakes_add(mistakes, config->source_place, "cdc.kafka.brokers",
                     "is not set, neither here nor in the main `cdc`");
}

void config_check(struct config *config, const struct config_sources *sources,
                  struct mistakes *mistakes) {
    struct checker checker = {.config = config, .sources = sources, .mistakes = mistakes};
    check_roles(&checker);
    check_database(&checker);
    check_replicas(&checker);
    check_listeners(&checker);
    check_tls(&checker);
    check_users(&checker);
    fleet_check(config, sources->file, mistakes);
    check_names(&checker);
    check_cache_words(&checker);
    check_pace(&checker);
    check_kafka(&checker);
    config_check_message_keys(config, mistakes);
    config_check_registry(config, sources->file, mistakes);
    check_tables(&checker);
    check_queries(&checker);
    config_check_connectors(config, mistakes);
    config_check_shapes(config, mistakes);
    sources_check(config, sources, mistakes);
}

static const char *beneath(struct arena *arena, const char *folder, const char *name) {
    char *path = mem_printf("%s/%s", folder, name);
    const char *kept = arena_strdup(arena, path);
    mem_free(path);
    return kept;
}

void config_finish(struct config *config, const char *database) {
    const char *name = arena_strdup(config->arena, database);
    if (config->cache_read_through) config->cache.database_url = config->database_url;
    config->cdc.database_url = config->database_url;
    config->cdc.database = name;
    if (!config->cdc.prefix) config->cdc.prefix = name;
    config->cdc.version = FRESHET_VERSION;
    config->cdc.output_fd = 1;
    if (!config->cdc_spool.directory)
        config->cdc_spool.directory = beneath(config->arena, config->state_dir, "spool");
    fleet_finish(config);
    config_finish_connectors(config);
}

static const struct catalog_table *find_named(const struct catalog *catalog, const char *name) {
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (pattern_match(name, catalog->tables[i].schema, catalog->tables[i].name))
            return &catalog->tables[i];
    }
    return NULL;
}

static bool has_column(const struct catalog_table *table, const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return true;
    }
    return false;
}

static bool tells_time(const struct catalog_table *table, const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0)
            return rowttl_is_time(table->columns[i].base_type_name);
    }
    return false;
}

static bool lists_column(const struct cache_table_config *table, const char *name) {
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i], name) == 0) return true;
    }
    return false;
}

static void verify_columns(const struct cache_table_config *wanted,
                           const struct catalog_table *table, const char *at, const char *path,
                           struct mistakes *mistakes) {
    for (uint32_t i = 0; i < wanted->n_columns; i++) {
        if (!has_column(table, wanted->columns[i]))
            mistakes_add(mistakes, at, path, "there is no column \"%.80s\" in %s.%s",
                         wanted->columns[i], table->schema, table->name);
    }
    if (wanted->ttl_column && !tells_time(table, wanted->ttl_column))
        mistakes_add(mistakes, at, path,
                     "ttl_column: there is no column \"%.80s\" in %s.%s that tells a time",
                     wanted->ttl_column, table->schema, table->name);
    if (wanted->delete_expired && !wanted->ttl_column)
        mistakes_add(mistakes, at, path, "delete_expired needs a ttl_column");
    const struct catalog_index *key = table->primary_key;
    for (uint16_t i = 0; wanted->n_columns && key && i < key->n_columns; i++) {
        const char *name = table->columns[key->columns[i]].name;
        if (!lists_column(wanted, name))
            mistakes_add(mistakes, at, path, "the columns lack \"%.80s\" of the primary key", name);
    }
}

/* The tables that a named query depends on, and their columns. */
static void verify_query(const struct config *config, uint32_t i, const struct catalog *catalog,
                         struct mistakes *mistakes) {
    const struct cache_query_config *query = &config->cache.queries[i];
    const char *at = config->query_places[i];
    for (uint32_t d = 0; d < query->n_dependencies; d++) {
        const struct cache_dependency *dependency = &query->dependencies[d];
        const struct catalog_table *table = find_named(catalog, dependency->table);
        char *path = mem_printf("cache.queries.%s.depends_on.%s", query->name, dependency->table);
        if (!table)
            mistakes_add(mistakes, at, path, "there is no such table in %s", catalog->database);
        if (named_depends_by_sql(dependency->columns)) table = NULL; /* no columns to look for */
        for (const char *word = dependency->columns; table && *word;) {
            word += strspn(word, ", ");
            size_t len = strcspn(word, ",");
            char *name = mem_slicedup(slice_make(word, len));
            for (size_t end = len; end > 0 && name[end - 1] == ' '; end--)
                name[end - 1] = '\0';
            if (*name && strcmp(dependency->columns, "all") != 0 && !has_column(table, name))
                mistakes_add(mistakes, at, path, "there is no column \"%.80s\" in %s.%s", name,
                             table->schema, table->name);
            mem_free(name);
            word += len;
        }
        mem_free(path);
    }
}

void config_verify(const struct config *config, const struct catalog *catalog,
                   struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->cache.n_tables && config->roles & ROLE_CACHE; i++) {
        const struct cache_table_config *wanted = &config->cache.tables[i];
        const struct catalog_table *table = find_named(catalog, wanted->table);
        char *path = mem_printf("cache.tables.%s", wanted->table);
        if (table)
            verify_columns(wanted, table, config->table_places[i], path, mistakes);
        else
            mistakes_add(mistakes, config->table_places[i], path, "there is no such table in %s",
                         catalog->database);
        mem_free(path);
    }
    for (uint32_t i = 0; i < config->cache.n_queries && config->roles & ROLE_CACHE; i++)
        verify_query(config, i, catalog, mistakes);
    for (uint32_t i = 0; i < config->cdc.n_tables && config->roles & ROLE_CDC; i++) {
        const char *pattern = config->cdc.tables[i];
        /* A pattern may wait for tables to come; a name is a promise that it is there. */
        if (names_one_table(pattern) && !find_named(catalog, pattern))
            mistakes_add(mistakes, config_value(config, "cdc.tables")->where, "cdc.tables",
                         "\"%.80s\" matches no table in %s", pattern, catalog->database);
    }
    if (config->roles & ROLE_CDC) config_verify_message_keys(config, catalog, mistakes);
    config_verify_shapes(config, catalog, mistakes);
    if (config->roles & ROLE_CONNECTORS) config_verify_connectors(config, catalog, mistakes);
}
