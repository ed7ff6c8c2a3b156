/* The table itself. See options.h for what a row means; keep the order of the reference. */
#include <stddef.h>

#include "server/config.h"
#include "server/options.h"

#define AT(field) .offset = offsetof(struct config, field), .size = sizeof((struct config){0}.field)
#define COUNTED(field)                                                                             \
    .count_offset = offsetof(struct config, field), .count_size = sizeof((struct config){0}.field)
#define IN(type, field)                                                                            \
    .offset = offsetof(struct type, field), .size = sizeof((struct type){0}.field)

#define STRING   OPTION_STRING
#define SECRET   OPTION_SECRET
#define URL      OPTION_URL
#define DURATION OPTION_DURATION
#define SIZE     OPTION_SIZE
#define COUNT    OPTION_COUNT
#define BOOL     OPTION_BOOL
#define CHOICE   OPTION_CHOICE
#define LETTERS  OPTION_LETTERS
#define ADDRESS  OPTION_ADDRESS
#define PATTERNS OPTION_PATTERNS

static const struct option cache_table_options[] = {
    {"table", STRING, IN(cache_table_config, table),
     .help = "`schema.table`, the key of the entry."},
    {"prefix", STRING, IN(cache_table_config, prefix),
     .shown = "the table's name; outside `public` with its schema before it",
     .help = "What stands before the colon in the keys of this table."},
    {"ttl", DURATION, IN(cache_table_config, ttl_ms), .shown = "`cache.ttl`", .min = 1,
     .help = "How long a row of this table stays at most."},
    {"ttl_column", STRING, IN(cache_table_config, ttl_column), .shown = "none",
     .help = "A column that tells when the row ends: a date or time, or a number of seconds since "
             "1970. From then on it reads as absent."},
    {"delete_expired", BOOL, IN(cache_table_config, delete_expired), .initial = "false",
     .help = "Rows that have ended by `ttl_column` are deleted from the table, in the background."},
    {"writes", OPTION_WORD, IN(cache_table_config, writes), .choices = "refuse|through",
     .shown = "`cache.writes`", .help = "The same for this table alone."},
    {"mapped", BOOL, IN(cache_table_config, mapped), .initial = "true",
     .help = "`false`: this table's name is an ordinary key prefix; its rows cannot be read."},
    {"columns", OPTION_LIST, IN(cache_table_config, columns),
     .count_offset = offsetof(struct cache_table_config, n_columns), .count_size = sizeof(uint32_t),
     .shown = "all", .help = "The columns that can be read; the key's are needed among them."},
    {0},
};

static const struct option cache_query_options[] = {
    {"name", STRING, IN(cache_query_config, name),
     .help = "The query's name, the key of the entry."},
    {"key", STRING, IN(cache_query_config, key), .required = true,
     .help = "`orders_by_user:{user_id}`: what its keys look like; the first parameter is `$1`."},
    {"sql", STRING, IN(cache_query_config, sql), .required = true,
     .help = "One SELECT; the types of its parameters are inferred."},
    {"shape", CHOICE, IN(cache_query_config, shape), .choices = "rows|row|value|hash|list|zset",
     .initial = "rows",
     .help = "What a result is: for GET a JSON array of the rows (`rows`), the first row as an "
             "object (`row`), or its one column (`value`); a hash (of two columns: each row a "
             "field and its value; else the first row's columns), a list (each row's one column), "
             "or a sorted set (each row's two columns: member and score)."},
    {"ttl", DURATION, IN(cache_query_config, ttl_ms), .shown = "`cache.ttl`", .min = 1,
     .help = "How long a result stays at most."},
    {"max_result", SIZE, IN(cache_query_config, max_result_bytes), .initial = "1MiB", .min = 1,
     .help = "A bigger result is answered, and not stored."},
    {"depends_on", OPTION_PAIRS, IN(cache_query_config, dependencies),
     .count_offset = offsetof(struct cache_query_config, n_dependencies),
     .count_size = sizeof(uint32_t), .joins = true,
     .shown = "nothing: then its TTL alone bounds a result's age, and must be given",
     .help = "The tables, each with the columns that hold the parameters' values, in their order "
             "or of their names: `orders: [user_id]`; or `all`, where any change touches every "
             "result; or, for connectors, a SELECT of the touched parameters, with columns of the "
             "changed row in braces: `products: SELECT order_id FROM items WHERE product = {id}` "
             "(to the cache that is `all`)."},
    {0},
};

static const struct option cache_user_options[] = {
    {"name", STRING, IN(cache_user_config, name), .help = "The user's name, the key of the entry."},
    {"rules", STRING, IN(cache_user_config, rules), .shown = "none: nothing is permitted",
     .help = "As `ACL SETUSER` takes them: `on ~cache:* +@read +set`."},
    {"password", SECRET, IN(cache_user_config, password),
     .help = "Added to those of the rules: `${file:/run/secrets/app}`."},
    {0},
};

#define LISTED(type, list, count)                                                                  \
    IN(type, list), .count_offset = offsetof(struct type, count), .count_size = sizeof(uint32_t)

static const struct option cdc_shape_options[] = {
    {"table", STRING, IN(shape_entry, table),
     .help = "A pattern of tables, the key of the entry: `public.users`, `sales.*`. All entries "
             "that name a table apply to it; of single values the last one holds."},
    {"columns", OPTION_LIST, LISTED(shape_entry, columns, n_columns), .shown = "all",
     .help = "The columns that events have, by patterns (`note_*`). Named one by one, the "
             "publication lists them, and the server sends no others."},
    {"exclude_columns", OPTION_LIST, LISTED(shape_entry, excluded, n_excluded), .shown = "none",
     .help = "Columns that events do not have, by patterns."},
    {"mask", OPTION_PAIRS, LISTED(shape_entry, masked, n_masked), .shown = "nothing",
     .help = "`phone: 8`: columns that read as so many asterisks, by patterns; Debezium's "
             "`column.mask.with.N.chars`."},
    {"hash", OPTION_LIST, LISTED(shape_entry, hashed, n_hashed), .shown = "nothing",
     .help = "Columns that read as a hash of `cdc.hash_salt` and their value, in hex, by patterns; "
             "Debezium's `column.mask.hash.v2`."},
    {"truncate", OPTION_PAIRS, LISTED(shape_entry, truncated, n_truncated), .shown = "nothing",
     .help = "`notes: 100`: texts (and `bytea`) that are cut to so many characters, by patterns; "
             "Debezium's `column.truncate.to.N.chars`."},
    {"where", STRING, IN(shape_entry, where), .shown = "all rows",
     .help = "SQL over the row's columns: the rows that are published. A row that leaves them is "
             "deleted, one that joins them is created."},
    {"view", OPTION_WORD, IN(shape_entry, view), .choices = SHAPE_VIEWS,
     .shown = "NEW_AND_OLD_IMAGES",
     .help = "What an event holds of the row, as DynamoDB Streams has it: `KEYS_ONLY` the key's "
             "columns alone, `NEW_IMAGE` no `before`, `OLD_IMAGE` no `after`."},
    {"topic", STRING, IN(shape_entry, topic), .shown = "`PREFIX.SCHEMA.TABLE`",
     .help = "The topic, in full; `$1` is what the first star of the entry's pattern stands for."},
    {"key_field", STRING, IN(shape_entry, key_field), .shown = "none",
     .help = "A field of keys that holds the usual topic's name, so that rows of several tables in "
             "one topic stay apart: `__dbz__physicalTableIdentifier` in Debezium."},
    {"partition_by", OPTION_LIST, LISTED(shape_entry, partition_by, n_partition_by),
     .shown = "the key",
     .help = "Columns whose values decide a record's partition, while its key stays what it is."},
    {0},
};

#define OUTBOX_FIELDS                                                                              \
    {"topic", STRING, IN(outbox_entry, topic), .initial = "outbox.event.$1",                       \
     .help = "The topic, in full; `$1` is what `route_by` holds."},                                \
        {"route_by", STRING, IN(outbox_entry, route_by), .initial = "aggregatetype",               \
         .help = "What decides the topic."},                                                       \
        {"key", STRING, IN(outbox_entry, key), .initial = "aggregateid",                           \
         .help = "What becomes the record's key."},                                                \
        {"payload", STRING, IN(outbox_entry, payload), .initial = "payload",                       \
         .help = "What becomes the record's value."},                                              \
        {"id", STRING, IN(outbox_entry, id), .initial = "id",                                      \
         .help = "What becomes the header `id`, by which consumers tell repetitions."},            \
        {"headers", OPTION_PAIRS, LISTED(outbox_entry, headers, n_headers), .shown = "none",       \
         .help = "More headers: `eventType: type`."},                                              \
        {"encoding",                                                                               \
         CHOICE,                                                                                   \
         IN(outbox_entry, encoding),                                                               \
         .initial = "raw",                                                                         \
         .choices = "raw|json",                                                                    \
         .help = "`raw`: key and value are the text that they are, a `bytea` its bytes. `json`: "  \
                 "JSON values, as Kafka Connect's JSON converter writes them."},                   \
    {                                                                                              \
        0                                                                                          \
    }

static const struct option cdc_outbox_options[] = {
    {"table", STRING, IN(outbox_entry, name),
     .help = "A pattern of tables, the key of the entry. The fields below name columns."},
    OUTBOX_FIELDS,
};

static const struct option cdc_outbox_message_options[] = {
    {"prefix", STRING, IN(outbox_entry, name),
     .help = "The messages' prefix, the key of the entry. The fields below name fields of the JSON "
             "object that the message holds."},
    OUTBOX_FIELDS,
};

static const struct option cdc_topic_options[] = {
    {"topic", STRING, IN(topic_entry, name),
     .help = "A pattern of topics, the key of the entry: `shop.public.*`. All entries that name a "
             "topic apply; of each setting the last one holds."},
    {"partitions", COUNT, IN(topic_entry, partitions), .shown = "`cdc.kafka.topic_partitions`",
     .min = 1, .max = 10000, .help = "How many partitions."},
    {"replication", COUNT, IN(topic_entry, replication), .shown = "`cdc.kafka.topic_replication`",
     .min = 1, .max = 100, .help = "How many replicas."},
    {"cleanup", OPTION_WORD, IN(topic_entry, cleanup), .choices = "delete|compact|compact,delete",
     .shown = "the broker's", .help = "Kafka's `cleanup.policy`."},
    {"retention", DURATION, IN(topic_entry, retention_ms), .shown = "the broker's", .min = 1,
     .help = "How long a record is kept, where it is not compacted."},
    {"properties", OPTION_PAIRS, LISTED(topic_entry, properties, n_properties),
     .help = "Kafka's other settings of topics: `max.message.bytes: 10000000`."},
    {0},
};

static const struct option connector_options[] = {
    {"name", STRING, IN(connector_config, name), .required = true,
     .help = "Unique among the connectors: letters, digits, `-` and `_`."},
    {"type", OPTION_WORD, IN(connector_config, type), .words = connector_types, .required = true,
     .help = "What it writes to."},
    {"table", STRING, IN(connector_config, table),
     .help = "`schema.table`, the source; this or `query`."},
    {"columns", OPTION_PAIRS, IN(connector_config, columns),
     .count_offset = offsetof(struct connector_config, n_columns), .count_size = sizeof(uint32_t),
     .names = true, .shown = "all, as they are",
     .help = "Those columns of the `table` that the target is given, some under other names there: "
             "`[id, name, {email: mail}]`. The key's are among them."},
    {"query", STRING, IN(connector_config, query_name),
     .help = "The name of one of `cache.queries`, whose results are the source: those of each key, "
             "by its SQL. What changes them is told by `depends_on`."},
    {"url", URL, IN(connector_config, url), .help = "The target: `http://search:9200`."},
    {"index", STRING, IN(connector_config, index), .shown = "the table's name",
     .help = "The index that is kept equal to the table; made if absent."},
    {"mapping", STRING, IN(connector_config, mapping), .shown = "from the columns' types",
     .help =
         "A file of JSON with `mappings`, `settings` or both, as the index is created with; what "
         "`mappings` says of columns holds, the others are mapped by their types."},
    {"aliases", OPTION_LIST, IN(connector_config, aliases),
     .count_offset = offsetof(struct connector_config, n_aliases), .count_size = sizeof(uint32_t),
     .shown = "none", .help = "Further names that the index is searched by."},
    {"pipeline", STRING, IN(connector_config, pipeline), .shown = "the index's own",
     .help = "The ingest pipeline that documents go through."},
    {"routing", STRING, IN(connector_config, routing), .shown = "by `_id`",
     .help = "The column whose value chooses the shard. It is of the table's key, or the table has "
             "`REPLICA IDENTITY FULL`."},
    {"document", STRING, IN(connector_config, document), .shown = "the row",
     .help = "A column of JSON that is the document, in place of the row with all its columns."},
    {"api_key", SECRET, IN(connector_config, api_key),
     .help = "For the target, in place of `user`: sent as `Authorization: ApiKey`."},
    {"ca_file", STRING, IN(connector_config, ca_file), .shown = "the system's",
     .help = "Who may sign the certificate of an `https` target: a file of certificates (PEM)."},
    {"user", STRING, IN(connector_config, user), .help = "For the target."},
    {"password", SECRET, IN(connector_config, password), .help = "For the target."},
    {"secret", SECRET, IN(connector_config, secret), .shown = "none: requests are not signed",
     .help = "Of `webhook`: the key of the signature, as text, or `whsec_` and the key in base64."},
    {"timeout", DURATION, IN(connector_config, timeout_ms), .shown = "30s", .min = 100,
     .max = 10 * 60 * 1000, .help = "Of `webhook`: how long an answer may take."},
    {"path", STRING, IN(connector_config, path),
     .help = "Of `archive`: the folder that the segments and the manifest are in; made if absent."},
    {"segment_size", SIZE, IN(connector_config, segment_bytes), .shown = "64MiB", .min = 1024,
     .help = "Of `archive`: a segment that has so many bytes, compressed, is closed."},
    {"segment_interval", DURATION, IN(connector_config, segment_interval_ms), .shown = "1h",
     .min = 1000, .help = "Of `archive`: and one of this age, when something is written."},
    {"into", STRING, IN(connector_config, into),
     .help = "Of `view`: `schema.table`, the table that is kept equal; made if absent."},
    {"key", STRING, IN(connector_config, key),
     .help = "Of `redis`: a row's key, with columns in braces: `users:{id}`, "
             "`users:by_country:{country}`."},
    {"as", OPTION_WORD, IN(connector_config, as), .choices = "json|hash|set|sorted-set",
     .shown = "json",
     .help =
         "Of `redis`: what a row is there: a string of JSON, a hash of its columns, or a member "
         "of the set or sorted set at `key`."},
    {"member", STRING, IN(connector_config, member), .shown = "the row's key",
     .help = "Of `redis`: the member, with columns in braces as in `key`."},
    {"score", STRING, IN(connector_config, score),
     .help = "Of `redis`: the column of a sorted set's scores, a number, or a date or timestamp, "
             "which counts in seconds since 1970."},
    {"ttl", DURATION, IN(connector_config, ttl_ms), .shown = "none", .min = 1,
     .help = "Of `redis`: how long a string or hash lives after its last change."},
    {"certificate_file", STRING, IN(connector_config, certificate_file),
     .help = "Of `redis`: our certificate for TLS, where the server asks for one (PEM)."},
    {"key_file", STRING, IN(connector_config, key_file), .shown = "in the same file",
     .help = "Of `redis`: the certificate's key."},
    {"aggregate", OPTION_PAIRS, IN(connector_config, aggregates),
     .count_offset = offsetof(struct connector_config, n_aggregates),
     .count_size = sizeof(uint32_t), .joins = true, .shown = "the table's rows as they are",
     .help = "Of `view`: counts and sums of the table's rows by group: `{by: [user_id], orders: "
             "count, total: sum total}`; each other entry is a column, `count`, `count COLUMN` or "
             "`sum COLUMN`. Kept by what each change adds and takes, which wants `REPLICA IDENTITY "
             "FULL`."},
    {"views", OPTION_LIST, IN(connector_config, views),
     .count_offset = offsetof(struct connector_config, n_views), .count_size = sizeof(uint32_t),
     .help =
         "Of `refresh`: materialized views, `schema.name`, which are refreshed when a table that "
         "they read has changed: those that were touched during a `batch_interval`, one after "
         "the other, each after those that it reads. Each wants a unique index."},
    {"min_interval", DURATION, IN(connector_config, min_interval_ms), .initial = "1s",
     .max = 24 * 3600 * 1000,
     .help = "Of `refresh`: the time from one refresh of a view to the next, at least."},
    {"rebuild_grace", DURATION, IN(connector_config, rebuild_grace_ms), .initial = "3s",
     .max = 24 * 3600 * 1000,
     .help = "Of `opensearch`: so long after `freshet rebuild` has switched to the new index the "
             "old one is kept, for searches and scrolls that are under way in it."},
    {"from", CHOICE, IN(connector_config, from), .choices = "slot|kafka", .initial = "slot",
     .help = "Where changes come from: a replication slot of its own; or the topic of the table's "
             "rows, as a member of a consumer group, at the brokers and with the format of `cdc`. "
             "Members share the topic's partitions."},
    {"topic", STRING, IN(connector_config, topic), .shown = "`PREFIX.SCHEMA.TABLE`",
     .help = "With `from: kafka`: the topic, of Debezium's events in JSON. It holds every row: it "
             "is compacted, or keeps all records."},
    {"group", STRING, IN(connector_config, group), .shown = "`freshet_NAME`",
     .help = "With `from: kafka`: the consumer group."},
    {"dead_letter_topic", STRING, IN(connector_config, dead_letter_topic),
     .shown = "none: `state_dir/NAME.deadletters.jsonl`",
     .help = "A topic of the brokers of `cdc.kafka` that dead letters go to, in place of a file; "
             "made if absent. Several connectors may share it."},
    {"slot", STRING, IN(connector_config, slot), .shown = "`freshet_NAME`",
     .help = "Its replication slot: lower-case letters, digits and `_`."},
    {"publication", STRING, IN(connector_config, publication), .shown = "`freshet_NAME`",
     .help = "Its publication, made if absent and allowed."},
    {"batch", SIZE, IN(connector_config, batch_bytes), .initial = "4MiB", .min = 1024,
     .max = 100 * 1024 * 1024,
     .help = "A write to the target is sent at the latest with this many bytes."},
    {"batch_interval", DURATION, IN(connector_config, batch_interval_ms), .initial = "100ms",
     .min = 1, .max = 60 * 1000, .help = "And at the latest after this time."},
    {"lanes", COUNT, IN(connector_config, lanes), .shown = "1", .min = 1, .max = 16,
     .help = "Types opensearch and webhook: so many writes to the target are under way at once, of "
             "different keys; of one key they follow each other."},
    {"rate_limit", COUNT, IN(connector_config, rate_limit), .shown = "none", .min = 1,
     .max = 100000000, .help = "So many rows a second are written to the target at most."},
    {"breaker_failures", COUNT, IN(connector_config, breaker_failures), .initial = "10",
     .max = 1000000,
     .help = "After so many failures in a row the target is left alone for `breaker_pause`, and "
             "then tried once; `0`: it is tried on, with growing waits."},
    {"breaker_pause", DURATION, IN(connector_config, breaker_pause_ms), .initial = "15s", .min = 1,
     .max = 24 * 3600 * 1000, .help = "See `breaker_failures`."},
    {"load_readers", COUNT, IN(connector_config, load_readers), .initial = "1", .min = 1, .max = 64,
     .help = "Connections that read the table for its initial load."},
    {"max_retained_wal", SIZE, IN(connector_config, max_retained_wal), .shown = "any amount",
     .min = 1024 * 1024,
     .help = "When the server keeps more WAL than this for the slot, because the target is away or "
             "slow, the slot is given up rather than the server's disk filled, and the table is "
             "loaded anew once the target takes writes; so it is when the server has given up the "
             "slot itself. Without it nothing is given up, and a lost slot wants an operator."},
    {0},
};

const struct option options[] = {
    {"roles", OPTION_SET, AT(roles), .choices = "cache|cdc|connectors",
     .shown = "what is configured: the cache; `cdc` with brokers or `cdc.output: stdout`; "
              "`connectors` where there are any",
     .help = "What this process runs."},
    {"database.url", URL, AT(database_url), .flag = "--database", .argument = "URL",
     .help = "The PostgreSQL database, as a URL or a conninfo string. Its role needs LOGIN, "
             "REPLICATION and SELECT."},
    {"database.pool", COUNT, AT(cache.pool), .initial = "4", .min = 1, .max = 1000,
     .help = "Connections a cache worker keeps for reading rows."},
    {"database.write_pool", COUNT, AT(cache.write_pool), .initial = "4", .min = 1, .max = 1000,
     .help = "Connections a cache worker makes for writing, where `cache.writes` is `through`."},
    {"database.replicas", OPTION_LIST, AT(cache.replicas), COUNTED(cache.n_replicas),
     .shown = "none",
     .help = "URLs of hot standbys that rows are read from, as long as they are not behind by more "
             "than `cache.max_staleness`; the primary otherwise."},
    {"database.pooler", URL, AT(cache.pooler_url),
     .shown = "none: rows are read over `database.url`",
     .help = "The URL of a pooler in transaction mode (PgBouncer) through which rows are read; all "
             "else goes over `database.url`."},
    {"database.statement_timeout", DURATION, AT(cache.statement_timeout_ms), .min = 1,
     .max = 3600 * 1000, .shown = "`cache.fill_timeout`",
     .help = "How long the database works on a statement that reads rows before it gives up."},
    {"database.application_name", STRING, AT(cache.application_name), .initial = "freshet",
     .help = "What connections call themselves, but for the feed's (`cache.name`)."},

    {"cache.listen", ADDRESS, AT(cache.listen), .initial = "127.0.0.1:6380", .flag = "--listen",
     .argument = "HOST:PORT", .help = "Where Redis clients connect. Port 0 takes a free one."},
    {"cache.password", SECRET, AT(cache.password), .help = "What clients must AUTH with."},
    {"cache.users", OPTION_NAMED, AT(cache.users), COUNTED(cache.n_users),
     .items = cache_user_options, .item_size = sizeof(struct cache_user_config),
     .shown = "the user `default`, who may do everything with `cache.password`",
     .help = "Users and their rights, by name, in the words of Redis's ACL."},
    {"cache.acl_file", STRING, AT(cache.acl_file),
     .help = "Or a file of them, as Redis's `aclfile`: `ACL LOAD` reads it anew, `ACL SAVE` writes "
             "it."},
    {"cache.verify_rate", COUNT, AT(cache.verify_rate), .initial = "0", .max = 100000,
     .help =
         "Entries a second that are read again and compared with the database, all the time; 0: "
         "none, but when FRESHET.VERIFY START asks for it."},
    {"cache.debug_commands", BOOL, AT(cache.debug_commands), .initial = "false",
     .help = "Answer DEBUG, which test suites use."},
    {"cache.protected_mode", BOOL, AT(cache_protected_mode), .initial = "true",
     .help = "Refuse to listen beyond loopback without a password."},
    {"cache.workers", COUNT, AT(cache.workers), .initial = "0", .max = 1024,
     .shown = "0: one a core", .help = "Threads that serve clients."},
    {"cache.max_memory", SIZE, AT(cache.max_memory_bytes), .initial = "1GiB", .min = 1024 * 1024,
     .help = "Past it entries are evicted."},
    {"cache.ttl", DURATION, AT(cache.ttl_ms), .initial = "5m", .min = 1,
     .help = "How long a row stays in memory at most, changed or not."},
    {"cache.negative_ttl", DURATION, AT(cache.negative_ttl_ms), .initial = "30s", .min = 1,
     .help = "How long it is remembered that a row is absent; its INSERT ends that at once."},
    {"cache.ttl_jitter", COUNT, AT(cache.ttl_jitter_percent), .initial = "0", .max = 100,
     .help =
         "Percent: each entry's TTL is shortened by a random part of it, up to so much, so that "
         "what was read together does not expire together."},
    {"cache.early_refresh", COUNT, AT(cache.early_refresh), .initial = "1", .max = 100,
     .help = "A row that is being read is refreshed by one of its readers shortly before its TTL "
             "ends: on average so many times before it as a fill takes (XFetch). 0: never."},
    {"cache.stale_while_revalidate", DURATION, AT(cache.stale_while_revalidate_ms), .initial = "0s",
     .max = 86400 * 1000,
     .help = "That long a row answers beyond its TTL, while it is read again. Within the staleness "
             "lease all the same: what a commit has touched never does."},
    {"cache.min_refill_interval", DURATION, AT(cache.min_refill_interval_ms), .initial = "0s",
     .max = 60 * 1000,
     .help =
         "One key is read from the database at most once in this time, and its readers wait for "
         "that: it bounds what a row costs that is changed and read all the time."},
    {"cache.delete_rate", COUNT, AT(cache.delete_rate), .initial = "200", .min = 1,
     .max = 1000 * 1000,
     .help =
         "So many rows a second at most are deleted, of the tables that have `delete_expired`."},
    {"cache.delete_batch", COUNT, AT(cache.delete_batch), .initial = "100", .min = 1,
     .max = 10 * 1000, .help = "So many of them in one transaction, at most."},
    {"cache.fill_timeout", DURATION, AT(cache.fill_timeout_ms), .initial = "5s", .min = 10,
     .max = 3600 * 1000,
     .help = "How long a read waits for the database before it answers an error."},
    {"cache.max_pending_reads", COUNT, AT(cache.max_pending_reads), .initial = "100000", .min = 1,
     .help = "While the clients of a worker wait for so many rows, a further read that misses is "
             "answered an error."},
    {"cache.read_through", BOOL, AT(cache_read_through), .initial = "true",
     .help = "`false`: plain keys alone, no database."},
    {"cache.coherence", CHOICE, AT(cache.coherence), .initial = "stream", .choices = "stream|ttl",
     .help = "`stream`: each committed change evicts. `ttl`: where there is no logical replication "
             "to be had; the TTL is then the only bound."},
    {"cache.feed", CHOICE, AT(cache.feed), .initial = "slot", .choices = "slot|kafka",
     .help = "Where committed changes come from: a temporary replication slot of this cache, or "
             "the topic of a publisher with `cdc.invalidations`."},
    {"cache.kafka.brokers", STRING, AT(cache_kafka.brokers), .joins = true,
     .shown = "`cdc.kafka.brokers`", .help = "Of `feed: kafka`: Kafka's bootstrap servers."},
    {"cache.kafka.topic", STRING, AT(cache_topic),
     .shown = "`PREFIX.invalidations`, of `cdc.prefix`", .help = "The topic that is followed."},
    {"cache.kafka.properties", OPTION_PAIRS, AT(cache_kafka.properties),
     COUNTED(cache_kafka.n_properties), .shown = "`cdc.kafka.properties`",
     .help = "librdkafka's own settings."},
    {"cache.max_staleness", DURATION, AT(cache.max_staleness_ms), .initial = "2s", .min = 100,
     .max = 86400 * 1000,
     .help = "How far behind the database's commits an answer from memory may be; beyond it "
             "`on_stale` decides."},
    {"cache.on_stale", CHOICE, AT(cache.on_stale), .initial = "bypass",
     .choices = "bypass|serve|error",
     .help = "`bypass`: read the database. `serve`: answer from memory all the same. `error`: "
             "answer an error."},
    {"cache.writes", CHOICE, AT(cache.writes), .initial = "refuse", .choices = "refuse|through",
     .help = "What SET, HSET and the like do on a row's key. `refuse`: an error, and DEL evicts. "
             "`through`: "
             "they change the row in the database, and DEL deletes it."},
    {"cache.write_timeout", DURATION, AT(cache.write_timeout_ms), .initial = "5s", .min = 10,
     .max = 3600 * 1000, .help = "How long such a write may take before it is answered an error."},
    {"cache.sample_interval", DURATION, AT(cache.sample_interval_ms), .initial = "100ms", .min = 10,
     .max = 60 * 1000,
     .help = "How often the database's WAL position is asked for, to know how stale memory is."},
    {"cache.catalog_poll_interval", DURATION, AT(cache.catalog_poll_interval_ms), .initial = "1s",
     .min = 50, .max = 3600 * 1000,
     .help = "How often changed table definitions are looked for; the bound on staleness for DDL."},
    {"cache.max_clients", COUNT, AT(cache.max_clients), .initial = "10000", .min = 1,
     .max = 1000 * 1000, .help = "One more is answered an error and closed."},
    {"cache.client_output_limit", SIZE, AT(cache.client_output_limit_bytes), .initial = "64MiB",
     .min = 64 * 1024, .help = "A client that leaves more replies than this unread is closed."},
    {"cache.client_output_buffer_limit", STRING, AT(cache.client_output_buffer_limit),
     .shown = "pubsub 32mb 8mb 60",
     .help = "The same by class, as Redis words it: `pubsub HARD SOFT SECONDS`, `normal ...`; the "
             "soft limit may be passed for so many seconds."},
    {"cache.notify_keyspace_events", STRING, AT(cache.notify_keyspace_events), .shown = "none",
     .help = "Keyspace notifications, in Redis's letters (`KEA`: all), and `f` for keys that a "
             "commit has evicted."},
    {"cache.warm", STRING, AT(cache.warm_path), .shown = "none: each start is a cold one",
     .help = "A file for the names of the hottest rows: written at intervals and at a clean stop; "
             "at the next start "
             "they are read from the database again. It holds no values."},
    {"cache.warm_interval", DURATION, AT(cache.warm_interval_ms), .initial = "1m", .min = 1000,
     .help = "How often that file is written."},
    {"cache.warm_keys", COUNT, AT(cache.warm_keys), .initial = "100000", .min = 1,
     .max = 5 * 1000 * 1000, .help = "So many rows at most, the most used ones."},
    {"cache.warm_rate", COUNT, AT(cache.warm_rate), .initial = "2000", .min = 1, .max = 1000 * 1000,
     .help = "So many of them a second are read at the start."},
    {"cache.slot", STRING, AT(cache.slot),
     .shown = "none: a temporary one, which goes with the connection",
     .help = "A permanent replication slot for the cache's feed, of this name: after a cut the "
             "feed resumes, and "
             "memory is kept. While the cache is away, it retains WAL."},
    {"cache.unix_socket", STRING, AT(cache.unix_socket),
     .help = "A unix socket beside it, at this path."},
    {"cache.unix_mode", STRING, AT(cache_unix_mode), .initial = "0700",
     .help = "The mode of the unix socket, in octal: who may connect."},
    {"cache.tls.certificate", STRING, AT(cache.tls.certificate),
     .help = "A PEM file, with the chain behind the certificate: TLS is spoken. SIGHUP reads it "
             "anew."},
    {"cache.tls.key", STRING, AT(cache.tls.key), .help = "Its key, a PEM file."},
    {"cache.tls.listen", ADDRESS, AT(cache.tls.listen),
     .shown = "none: `cache.listen` speaks TLS, and nothing is plain",
     .help = "A port for TLS beside the plain one."},
    {"cache.tls.clients", CHOICE, AT(cache.tls.clients), .initial = "off",
     .choices = "off|optional|required",
     .help = "Whether clients need a certificate that `cache.tls.ca` has signed."},
    {"cache.tls.ca", STRING, AT(cache.tls.ca),
     .help = "The certificates, in one PEM file, that sign those of clients."},
    {"cache.tls.handshake_timeout", DURATION, AT(cache.tls.handshake_timeout_ms), .initial = "10s",
     .min = 100, .max = 3600 * 1000, .help = "Who has not shaken hands after this time is closed."},
    {"cache.name", STRING, AT(cache.feed_name), .initial = "freshet_cache",
     .help =
         "The feed's application_name: what `synchronous_standby_names` names for strict reads."},
    {"cache.publication", STRING, AT(cache.publication), .initial = "freshet_cache",
     .help = "The cache's own publication, made if absent and allowed."},
    {"cache.tables", OPTION_NAMED, AT(cache.tables), COUNTED(cache.n_tables),
     .items = cache_table_options, .item_size = sizeof(struct cache_table_config),
     .shown = "every table with a primary key",
     .help = "What differs from the defaults, by `schema.table`."},
    {"cache.queries", OPTION_NAMED, AT(cache.queries), COUNTED(cache.n_queries),
     .items = cache_query_options, .item_size = sizeof(struct cache_query_config), .shown = "none",
     .help = "Named queries, by their names: SQL read through keys of their own."},

    {"cdc.prefix", STRING, AT(cdc.prefix), .shown = "the database's name", .flag = "--prefix",
     .argument = "NAME", .help = "The first part of the topics' names."},
    {"cdc.tables", PATTERNS, AT(cdc.tables), COUNTED(cdc.n_tables),
     .shown = "every table with a key", .flag = "--tables", .argument = "LIST",
     .help = "The tables whose changes are published: `public.*`, `sales.orders`."},
    {"cdc.exclude_tables", PATTERNS, AT(cdc.shape.exclude), COUNTED(cdc.shape.n_exclude),
     .shown = "none", .help = "Of these tables, those that are not published: `audit.*`."},
    {"cdc.shape", OPTION_NAMED, AT(cdc.shape.entries), COUNTED(cdc.shape.n_entries),
     .items = cdc_shape_options, .item_size = sizeof(struct shape_entry), .shown = "none",
     .help = "What becomes of tables' changes on their way, by patterns of tables: columns, masks, "
             "row filters, images, topics, partitions."},
    {"cdc.hash_salt", SECRET, AT(cdc.shape.hash_salt),
     .help = "What hashes are salted with: `${file:/run/secrets/salt}`."},
    {"cdc.hash_algorithm", OPTION_WORD, AT(cdc.shape.hash_algorithm), .initial = "SHA-256",
     .choices = "MD5|SHA-1|SHA-224|SHA-256|SHA-384|SHA-512|SHA3-256|SHA3-512",
     .help = "How columns are hashed."},
    {"cdc.outbox", OPTION_NAMED, AT(cdc.outboxes), COUNTED(cdc.n_outboxes),
     .items = cdc_outbox_options, .item_size = sizeof(struct outbox_entry), .shown = "none",
     .help = "Tables whose inserted rows are messages for topics that they name, by patterns; "
             "Debezium's `EventRouter`."},
    {"cdc.outbox_messages", OPTION_NAMED, AT(cdc.outbox_messages), COUNTED(cdc.n_outbox_messages),
     .items = cdc_outbox_message_options, .item_size = sizeof(struct outbox_entry), .shown = "none",
     .help = "The same for logical messages (`pg_logical_emit_message`), by their prefixes."},
    {"cdc.topics", OPTION_NAMED, AT(cdc.topics), COUNTED(cdc.n_topics), .items = cdc_topic_options,
     .item_size = sizeof(struct topic_entry), .shown = "none",
     .help = "How topics are made that are not there, by patterns of their names."},
    {"cdc.slot", STRING, AT(cdc.slot), .initial = "freshet",
     .help = "The permanent replication slot, made if absent."},
    {"cdc.failover", BOOL, AT(cdc_failover), .initial = "true",
     .help =
         "From PostgreSQL 17 on: permanent slots are marked so that standbys with "
         "`sync_replication_slots` keep a copy, from which the stream goes on after a promotion."},
    {"cdc.retained_wal_alarm", SIZE, AT(retained_wal_alarm_bytes),
     .shown = "half of the server's `max_slot_wal_keep_size`, where that is set",
     .help = "A slot that retains more WAL than this is an alarm: in the log, `freshet status` and "
             "`freshet_slot_alarm`."},
    {"cdc.wal_heartbeat", DURATION, AT(cdc.wal_heartbeat_ms), .initial = "0s",
     .max = 24 * 60 * 60 * 1000, .shown = "none",
     .help =
         "How often a logical message is written into the database's WAL, so that its slot moves "
         "on although nothing else changes there. It is not published. Keepalives do the same "
         "without writing, unless something between swallows them."},
    {"cdc.publication", STRING, AT(cdc.publication), .initial = "freshet",
     .help = "Made if absent and allowed; `freshet check` prints the SQL otherwise."},
    {"cdc.snapshot", CHOICE, AT(cdc_snapshot), .initial = "initial",
     .choices = "initial|never|initial_only|when_needed|incremental",
     .help = "Whether and how the rows that are there at the start are published. `initial`: once, "
             "before "
             "the stream; interrupted, it goes on where it was, beside the stream. `when_needed`: "
             "again, too, where the slot is gone or does not fit the position. `initial_only`: "
             "then it ends, and the slot goes. `incremental`: beside the stream, from the start."},
    {"cdc.snapshot_readers", COUNT, AT(cdc_snapshot_readers), .initial = "2", .min = 1, .max = 64,
     .help = "Connections that read tables for the initial snapshot at once."},
    {"cdc.snapshot_chunk", SIZE, AT(cdc_snapshot_chunk_bytes), .initial = "2MiB", .min = 1024,
     .max = 256 * 1024 * 1024,
     .help = "About so much of a table is read at a time, and not again after a restart."},
    {"cdc.skip_operations", LETTERS, AT(cdc.skip_operations), .initial = "", .choices = "c|u|d|t",
     .shown = "none",
     .help = "Operations that are not published: create, update, delete, truncate."},
    {"cdc.message_key", OPTION_PAIRS, AT(cdc.message_keys), COUNTED(cdc.n_message_keys),
     .joins = true, .shown = "a table's primary key",
     .help = "The columns that make the key of a table's records: `public.orders: [region, id]`. "
             "They should be part of its replica identity, or a delete lacks them."},
    {"cdc.heartbeat_interval", DURATION, AT(cdc.heartbeat_interval_ms), .initial = "0s",
     .max = 24 * 60 * 60 * 1000, .shown = "none",
     .help = "How often a record on the topic `__debezium-heartbeat.PREFIX` says that the stream "
             "is alive."},
    {"cdc.on_oversize", CHOICE, AT(cdc.on_oversize), .initial = "dead-letter",
     .choices = "dead-letter|skip|fail",
     .help = "What becomes of an event that is larger than Kafka takes."},
    {"cdc.streaming", BOOL, AT(cdc_streaming), .initial = "true",
     .help = "A large transaction (larger than the server's `logical_decoding_work_mem`) is sent "
             "while it is open and kept in `cdc.spool` until it commits, connectors' too; `false`: "
             "the server keeps it on its own disk and sends it at its commit."},
    {"cdc.spool", STRING, AT(cdc_spool.directory), .shown = "`spool` in `state_dir`",
     .help = "The folder for what was sent of open transactions. Nothing in it outlives the "
             "process. Where it cannot be written, transactions come at their commits."},
    {"cdc.spool_memory", SIZE, AT(cdc_spool.memory_bytes), .initial = "16MiB", .min = 64 * 1024,
     .help = "So much of all open transactions is kept in memory, and the rest in the folder."},
    {"cdc.spool_limit", SIZE, AT(cdc_spool.limit_bytes), .initial = "16GiB",
     .help =
         "And so much at the most there (0: what the disk has). Beyond it, and when the disk is "
         "full, the server is asked to keep them itself; nothing is lost by it."},
    {"cdc.two_phase", BOOL, AT(cdc_two_phase), .initial = "false",
     .help =
         "Transactions are sent when they are prepared, not only at COMMIT PREPARED (15+). They "
         "are published at COMMIT PREPARED all the same. The slot keeps it once it was on."},
    {"cdc.output", CHOICE, AT(cdc.output), .initial = "kafka", .choices = "kafka|stdout",
     .help = "`stdout`: events as JSON, one a line, on standard output; no broker."},
    {"cdc.kafka.brokers", STRING, AT(cdc.kafka.brokers), .joins = true, .flag = "--kafka",
     .variable = "FRESHET_KAFKA_BROKERS", .argument = "HOST:PORT,...",
     .help = "Kafka's bootstrap servers."},
    {"cdc.kafka.delivery", CHOICE, AT(cdc.delivery), .initial = "exactly-once",
     .choices = "exactly-once|at-least-once",
     .help = "`exactly-once`: in Kafka transactions; readers with `read_committed` see each change "
             "once."},
    {"cdc.kafka.properties", OPTION_PAIRS, AT(cdc.kafka.properties),
     COUNTED(cdc.kafka.n_properties),
     .help = "librdkafka's own settings: `compression.type: lz4`, `security.protocol: ssl`."},
    {"cdc.kafka.topic_partitions", COUNT, AT(cdc.topic_partitions), .initial = "0", .max = 10000,
     .shown = "the broker's", .help = "Partitions of topics that are made."},
    {"cdc.kafka.topic_replication", COUNT, AT(cdc.topic_replication), .initial = "0", .max = 100,
     .shown = "the broker's", .help = "Replicas of topics that are made."},
    {"cdc.kafka.transaction_interval", DURATION, AT(cdc.transaction_interval_ms),
     .initial = "100ms", .min = 1, .max = 60 * 1000,
     .help = "A row is with consumers about this time after its commit, at the latest: a Kafka "
             "transaction ends after it, a small one so much earlier as its commit takes."},
    {"cdc.kafka.transaction_records", COUNT, AT(cdc.transaction_records), .initial = "50000",
     .min = 1, .max = 100 * 1000 * 1000,
     .help =
         "And at the latest with this many records, once the PostgreSQL transaction in hand has "
         "ended."},
    {"cdc.kafka.split_transactions", COUNT, AT(cdc.split_transactions), .initial = "0",
     .max = 100 * 1000 * 1000, .shown = "0: never",
     .help = "A PostgreSQL transaction of more records than this is published in parts, each in a "
             "Kafka transaction of its own: readers may then see its beginning before its end. "
             "Records behind the first part carry the header `freshet.part`, and with transaction "
             "metadata each part ends with PART."},
    {"cdc.kafka.queue", SIZE, AT(cdc.queue_bytes), .initial = "64MiB", .min = 1024 * 1024,
     .help =
         "Bound on what is sent and not acknowledged; while Kafka is away, reading stops there."},
    {"cdc.kafka.position_header", CHOICE, AT(cdc.position_header), .initial = "at-least-once",
     .choices = "at-least-once|always|never",
     .help =
         "Which records carry the header `freshet.position`: "
         "`COMMIT_LSN:CHANGE_IN_TRANSACTION:RECORD_OF_CHANGE`, the same where a restart repeats "
         "a record. `at-least-once`: those of that delivery."},
    {"cdc.invalidations", BOOL, AT(cdc.invalidations), .initial = "false",
     .help =
         "Publish the keys of what each transaction touched to `PREFIX.invalidations`, for "
         "caches with `cache.feed: kafka`: any number of them then cost the database one slot."},
    {"cdc.invalidations_interval", DURATION, AT(cdc.invalidations_interval_ms), .initial = "250ms",
     .min = 10, .max = 60 * 1000,
     .help = "How often a heartbeat tells these caches that nothing more has happened; their "
             "`max_staleness` must be longer."},
    {"cdc.invalidations_retention", DURATION, AT(cdc.invalidations_retention_ms), .initial = "1h",
     .min = 1000, .help = "How long the topic keeps a record, where we make the topic."},
    {"cdc.invalidations_columns", OPTION_LIST, AT(cdc.invalidation_columns),
     COUNTED(cdc.n_invalidation_columns), .shown = "none",
     .help = "Columns that come along beside the unique ones and those that `cache.queries` of "
             "this configuration depend on: `public.orders.user_id`."},
    {"cdc.format.encoding", OPTION_WORD, AT(cdc.format.encoding), .initial = "json",
     .choices = "json|json-schema|plain|cloudevents|avro",
     .help = "How an event is written. `avro` wants `cdc.schema_registry`."},
    {"cdc.format.tombstones", BOOL, AT(cdc.format.tombstones), .initial = "true",
     .help = "A record with a null value after each delete, for compacted topics."},
    {"cdc.format.transaction_metadata", BOOL, AT(cdc.format.transaction_metadata),
     .initial = "false",
     .help = "BEGIN and END events, and each event's place in its transaction."},
    {"cdc.format.decimals", CHOICE, AT(cdc.format.decimals), .initial = "precise",
     .choices = "precise|string|double", .help = "How `numeric` is written."},
    {"cdc.format.non_finite", CHOICE, AT(cdc.format.non_finite), .initial = "null",
     .choices = "null|string|error",
     .help = "NaN and infinities of a `numeric` in precise decimals."},
    {"cdc.format.times", CHOICE, AT(cdc.format.times), .initial = "adaptive",
     .choices = "adaptive|adaptive-microseconds|connect",
     .help = "How times and timestamps are written."},
    {"cdc.format.bytes", CHOICE, AT(cdc.format.bytes), .initial = "base64",
     .choices = "base64|base64-url-safe|hex", .help = "How `bytea` is written."},
    {"cdc.format.intervals", CHOICE, AT(cdc.format.intervals), .initial = "numeric",
     .choices = "numeric|string", .help = "How `interval` is written."},
    {"cdc.format.hstore", CHOICE, AT(cdc.format.hstore), .initial = "json", .choices = "json|map",
     .help = "How `hstore` is written."},
    {"cdc.format.unchanged", CHOICE, AT(cdc.format.unchanged), .initial = "placeholder",
     .choices = "placeholder|reread",
     .help = "A large value that an update did not touch, which PostgreSQL leaves out of the "
             "stream: `__debezium_unavailable_value`, or what the table holds when the event is "
             "made (a query a row)."},

    {"cdc.schema_registry.url", URL, AT(cdc.registry.url),
     .help =
         "Where schemas get their ids: a registry with Confluent's API, `http://registry:8081`, "
         "or Apicurio's `http://registry:8080/apis/ccompat/v7`. Subjects are `TOPIC-key` and "
         "`TOPIC-value`."},
    {"cdc.schema_registry.user", STRING, AT(cdc.registry.user), .help = "For the registry."},
    {"cdc.schema_registry.password", SECRET, AT(cdc.registry.password),
     .help = "For the registry."},
    {"cdc.schema_registry.ca", STRING, AT(cdc.registry.ca_file), .shown = "the system's",
     .help = "The certificates, in one PEM file, that sign the registry's."},
    {"cdc.schema_registry.register", BOOL, AT(cdc.registry.register_schemas), .initial = "true",
     .help =
         "Schemas that the registry does not have are registered; `false`: they must be there."},
    {"cdc.schema_registry.ids", OPTION_PAIRS, AT(cdc.registry.ids), COUNTED(cdc.registry.n_ids),
     .shown = "none",
     .help = "In place of a registry: the id of each subject's schema, `shop.public.orders-value: "
             "7`. After a table has changed, the new schema wants an id of its own, with the "
             "fingerprint that Freshet logs: `shop.public.orders-value@1f6bd1a0: 8`."},

    {"sources", OPTION_SOURCES, AT(sources_said), .shown = "none",
     .help =
         "More databases, published by this process beside the main one: each entry has a `name`, "
         "`database: {url}`, and a `cdc` of its own, which begins as the main `cdc` is. By default "
         "its slot is `freshet_NAME`, its publication is called as the slot, and the prefix is the "
         "database's name."},

    {"connectors", OPTION_RECORDS, AT(connectors), COUNTED(n_connectors),
     .items = connector_options, .item_size = sizeof(struct connector_config),
     .help = "What else is kept equal to tables."},

    {"admin.listen", ADDRESS, AT(admin_listen), .initial = "127.0.0.1:9180", .flag = "--admin",
     .argument = "HOST:PORT", .help = "`/metrics`, `/healthz`, `/readyz` and `/status` over HTTP."},
    {"admin.allow_remote", BOOL, AT(admin_allow_remote), .initial = "false",
     .help = "Allow it to listen beyond loopback: it asks for no password."},
    {"log.level", CHOICE, AT(log_level), .initial = "info", .choices = "debug|info|warn|error",
     .reloads = true, .help = "The least important lines that are logged."},
    {"state_dir", STRING, AT(state_dir), .initial = "freshet-state",
     .help = "Where connectors keep positions and dead letters."},
    {0},
};
