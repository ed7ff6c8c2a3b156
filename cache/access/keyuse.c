#include "cache/access/keyuse.h"

#include <string.h>

const char *const key_use_names[KEY_USES] = {"RO",     "RW",     "OW",     "RM",
                                             "access", "update", "insert", "delete"};

enum {
    READS = KEY_RO | KEY_ACCESS,
    LOOKS = KEY_RO, /* tells whether it is there, its type, its length */
    INSERTS = KEY_RW | KEY_INSERT,
    UPDATES = KEY_RW | KEY_UPDATE,
    DELETES = KEY_RW | KEY_DELETE,
    TAKES = KEY_RW | KEY_ACCESS | KEY_DELETE,
    CHANGES = KEY_RW | KEY_ACCESS | KEY_UPDATE,
    REPLACES = KEY_OW | KEY_UPDATE,
    CREATES = KEY_OW | KEY_INSERT,
    REMOVES = KEY_RM | KEY_DELETE,
};

/* What differs from READS for a command that reads and CHANGES for one that writes. The second use is of the second key and
 * all that follow it. */
static const struct {
    const char *name;
    uint8_t first, second;
} rows[] = {
    {"append", INSERTS, 0},
    {"bitop", REPLACES, READS},
    {"blmove", TAKES, INSERTS},
    {"blmpop", TAKES, 0},
    {"blpop", TAKES, 0},
    {"brpop", TAKES, 0},
    {"brpoplpush", TAKES, INSERTS},
    {"bzmpop", TAKES, 0},
    {"bzpopmax", TAKES, 0},
    {"bzpopmin", TAKES, 0},
    {"copy", READS, REPLACES},
    {"del", REMOVES, 0},
    {"exists", LOOKS, 0},
    {"expire", UPDATES, 0},
    {"expireat", UPDATES, 0},
    {"getdel", TAKES, 0},
    {"hdel", DELETES, 0},
    {"hexists", LOOKS, 0},
    {"hlen", LOOKS, 0},
    {"hmset", UPDATES, 0},
    {"hset", UPDATES, 0},
    {"hsetnx", INSERTS, 0},
    {"hstrlen", LOOKS, 0},
    {"linsert", INSERTS, 0},
    {"llen", LOOKS, 0},
    {"lmove", TAKES, INSERTS},
    {"lmpop", TAKES, 0},
    {"lpop", TAKES, 0},
    {"lpush", INSERTS, 0},
    {"lpushx", INSERTS, 0},
    {"lrem", DELETES, 0},
    {"lset", UPDATES, 0},
    {"ltrim", DELETES, 0},
    {"memory|usage", LOOKS, 0},
    {"mset", REPLACES, 0},
    {"msetnx", CREATES, 0},
    {"object|encoding", LOOKS, 0},
    {"object|freq", LOOKS, 0},
    {"object|idletime", LOOKS, 0},
    {"object|refcount", LOOKS, 0},
    {"persist", UPDATES, 0},
    {"pexpire", UPDATES, 0},
    {"pexpireat", UPDATES, 0},
    {"psetex", REPLACES, 0},
    {"rename", TAKES, REPLACES},
    {"renamenx", TAKES, CREATES},
    {"restore", REPLACES, 0},
    {"rpop", TAKES, 0},
    {"rpoplpush", TAKES, INSERTS},
    {"rpush", INSERTS, 0},
    {"rpushx", INSERTS, 0},
    {"sadd", INSERTS, 0},
    {"scard", LOOKS, 0},
    {"sdiffstore", REPLACES, READS},
    {"setex", REPLACES, 0},
    {"setnx", CREATES, 0},
    {"setrange", UPDATES, 0},
    {"sinterstore", UPDATES, READS},
    {"sismember", LOOKS, 0},
    {"smove", TAKES, INSERTS},
    {"sort", READS, REPLACES},
    {"spop", TAKES, 0},
    {"srem", DELETES, 0},
    {"strlen", LOOKS, 0},
    {"sunionstore", REPLACES, READS},
    {"touch", LOOKS, 0},
    {"type", LOOKS, 0},
    {"unlink", REMOVES, 0},
    {"watch", LOOKS, 0},
    {"zadd", UPDATES, 0},
    {"zcard", LOOKS, 0},
    {"zdiffstore", REPLACES, READS},
    {"zinterstore", REPLACES, READS},
    {"zmpop", TAKES, 0},
    {"zpopmax", TAKES, 0},
    {"zpopmin", TAKES, 0},
    {"zrangestore", REPLACES, READS},
    {"zrem", DELETES, 0},
    {"zremrangebylex", DELETES, 0},
    {"zremrangebyrank", DELETES, 0},
    {"zremrangebyscore", DELETES, 0},
    {"zunionstore", REPLACES, READS},
};

static bool has_word(const struct slice *argv, uint32_t argc, uint32_t from, struct slice word) {
    for (uint32_t i = from; i < argc; i++)
        if (slice_equal_nocase(argv[i], word)) return true;
    return false;
}

/* "get" is `name`; "object|encoding" is the row of `encoding` in that of `object`. */
static bool is_named(const char *full, const struct command *command,
                     const struct command *parent) {
    if (!parent) return strcmp(full, command->name) == 0;
    size_t len = strlen(parent->name);
    return strncmp(full, parent->name, len) == 0 && full[len] == '|' &&
           strcmp(full + len + 1, command->name) == 0;
}

uint32_t key_use(const struct command *command, const struct command *parent, uint32_t nth,
                 const struct slice *argv, uint32_t argc) {
    /* Two whose arguments say what they do. */
    if (strcmp(command->name, "set") == 0 && !parent)
        return has_word(argv, argc, 3, SLICE("get")) ? CHANGES : REPLACES;
    if (strcmp(command->name, "bitfield") == 0) {
        bool writes =
            has_word(argv, argc, 2, SLICE("set")) || has_word(argv, argc, 2, SLICE("incrby"));
        return writes ? CHANGES : READS;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (is_named(rows[i].name, command, parent))
            return nth && rows[i].second ? rows[i].second : rows[i].first;
    return command->flags & CMD_WRITE ? CHANGES : READS;
}
