#include "cache/access/categories.h"

#include <string.h>

enum category {
    KEYSPACE,
    READ,
    WRITE,
    SET,
    SORTEDSET,
    LIST,
    HASH,
    STRING,
    BITMAP,
    HYPERLOGLOG,
    GEO,
    STREAM,
    PUBSUB,
    ADMIN,
    FAST,
    SLOW,
    BLOCKING,
    DANGEROUS,
    CONNECTION,
    TRANSACTION,
    SCRIPTING,
};
#define BIT(category) (UINT32_C(1) << (category))

const char *const category_names[CATEGORIES] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

static const uint32_t of_flag[][2] = {
    {CMD_WRITE, BIT(WRITE)},
    {CMD_READONLY, BIT(READ)},
    {CMD_ADMIN, BIT(ADMIN) | BIT(DANGEROUS)},
    {CMD_DANGEROUS, BIT(DANGEROUS)},
    {CMD_PUBSUB, BIT(PUBSUB)},
    {CMD_BLOCKING, BIT(BLOCKING)},
};

static const uint32_t of_group[] = {
    [GROUP_STRING] = BIT(STRING),
    [GROUP_BITMAP] = BIT(BITMAP),
    [GROUP_HASH] = BIT(HASH),
    [GROUP_LIST] = BIT(LIST),
    [GROUP_SET] = BIT(SET),
    [GROUP_SORTED_SET] = BIT(SORTEDSET),
    [GROUP_GENERIC] = BIT(KEYSPACE),
    [GROUP_PUBSUB] = 0, /* its flag says it */
    [GROUP_TRANSACTIONS] = BIT(TRANSACTION),
    [GROUP_CONNECTION] = BIT(CONNECTION),
    [GROUP_SERVER] = 0,
    [GROUP_FRESHET] = 0,
    [GROUP_STREAM] = BIT(STREAM),
    [GROUP_GEO] = BIT(GEO),
    [GROUP_HYPERLOGLOG] = BIT(HYPERLOGLOG),
    [GROUP_SCRIPTING] = BIT(SCRIPTING),
    [GROUP_CLUSTER] = 0,
};

/* Where neither flags nor group tell what Redis says. */
static const struct {
    const char *name;
    uint32_t also, not ;
} exceptions[] = {
    {"asking", BIT(CONNECTION), 0},
    {"command", BIT(CONNECTION), 0},
    {"dbsize", BIT(KEYSPACE), 0},
    {"flushall", BIT(KEYSPACE), 0},
    {"flushdb", BIT(KEYSPACE), 0},
    {"swapdb", BIT(KEYSPACE), 0},
    {"readonly", BIT(CONNECTION), 0},
    {"readwrite", BIT(CONNECTION), 0},
    {"role", BIT(ADMIN) | BIT(DANGEROUS), 0},
    {"sort", BIT(LIST) | BIT(SET) | BIT(SORTEDSET) | BIT(DANGEROUS), BIT(KEYSPACE)},
    {"sort_ro", BIT(LIST) | BIT(SET) | BIT(SORTEDSET) | BIT(DANGEROUS), BIT(KEYSPACE)},
    {"wait", BIT(CONNECTION), BIT(KEYSPACE)},
    {"eval_ro", 0, BIT(READ)},
    {"evalsha_ro", 0, BIT(READ)},
    {"fcall_ro", 0, BIT(READ)},
};

uint32_t category_find(struct slice name) {
    for (uint32_t i = 0; i < CATEGORIES; i++)
        if (slice_equal_nocase(name, slice_from(category_names[i]))) return BIT(i);
    return 0;
}

uint32_t category_bits(const struct command *command, const struct command *parent) {
    uint32_t bits = BIT(command->flags & CMD_FAST ? FAST : SLOW);
    const char *name = parent ? parent->name : command->name;
    bool is_mere_container =
        command->subcommands && (!command->run || command->flags & CMD_REFUSED);
    for (size_t i = 0; i < sizeof of_flag / sizeof of_flag[0]; i++)
        if (command->flags & of_flag[i][0]) bits |= of_flag[i][1];
    if (!is_mere_container) bits |= of_group[command->group];
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (strcmp(exceptions[i].name, name) == 0)
            bits = (bits | exceptions[i].also) & ~exceptions[i].not ;
    return bits;
}
