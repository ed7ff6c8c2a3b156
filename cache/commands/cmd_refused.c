/* cmd_refused.c: Redis's commands that Freshet does not have: each answers one clear error and appears in no COMMAND, yet ACL
 * rules may name it, so that users who were written for Redis are taken as they stand. */
#include "cache/commands/command.h"
#include "cache/front/reply.h"

static void refuse(struct command_context *ctx) {
    reply_error(ctx->reply, "ERR '%s' is not supported: %s", ctx->command->name,
                ctx->command->summary);
}

/* Redis's own words: clients look for them to learn that this is no cluster. */
static void refuse_cluster(struct command_context *ctx) {
    reply_error(ctx->reply, "ERR This instance has cluster support disabled");
}

/* SCRIPT FLUSH and FUNCTION FLUSH are true of none at all: suites and frameworks begin with them. */
static void refuse_but_flush(struct command_context *ctx) {
    if (ctx->argc >= 2 && slice_equal_nocase(ctx->argv[1], SLICE("flush")))
        reply_ok(ctx->reply);
    else
        refuse(ctx);
}

#define REFUSED(name, flags, group, why)                                                           \
    { name, refuse, -1, CMD_REFUSED | (flags), NO_KEYS, "1.0.0", group, why, "O(1)", NULL }
#define NO_CLUSTER(name)                                                                           \
    {                                                                                              \
        name, refuse_cluster, -1, CMD_REFUSED | CMD_FAST, NO_KEYS, "3.0.0", GROUP_CLUSTER,         \
            "this is no cluster", "O(1)", NULL                                                     \
    }

#define NO_STREAM      "Freshet has no streams: changes of tables are published to Kafka (cdc)"
#define NO_GEO         "Freshet has no geographic index: query it in the database and cache the answer"
#define NO_HYPERLOGLOG "Freshet has no HyperLogLog: keep a set, or count in the database"
#define NO_SCRIPTING                                                                               \
    "Freshet runs no scripts and functions: use MULTI and EXEC, or do it in the application"
#define NO_MODULES "Freshet loads no modules"
#define NO_REPLICATION                                                                             \
    "Freshet does not replicate: run another instance beside it, each reads the database"
#define NO_DISK      "Freshet keeps nothing on disk: what matters is in the database"
#define NO_PROCESS   "stop the process by SIGTERM, which drains its clients"
#define NO_DATABASES "there is one database, 0"

const struct command commands_refused[] = {
    REFUSED("xadd", CMD_WRITE | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("xlen", CMD_READONLY | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("xrange", CMD_READONLY, GROUP_STREAM, NO_STREAM),
    REFUSED("xrevrange", CMD_READONLY, GROUP_STREAM, NO_STREAM),
    REFUSED("xdel", CMD_WRITE | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("xtrim", CMD_WRITE, GROUP_STREAM, NO_STREAM),
    REFUSED("xread", CMD_READONLY | CMD_BLOCKING, GROUP_STREAM, NO_STREAM),
    REFUSED("xreadgroup", CMD_WRITE | CMD_BLOCKING, GROUP_STREAM, NO_STREAM),
    REFUSED("xack", CMD_WRITE | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("xclaim", CMD_WRITE | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("xautoclaim", CMD_WRITE | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("xpending", CMD_READONLY, GROUP_STREAM, NO_STREAM),
    REFUSED("xgroup", CMD_WRITE, GROUP_STREAM, NO_STREAM),
    REFUSED("xinfo", CMD_READONLY, GROUP_STREAM, NO_STREAM),
    REFUSED("xsetid", CMD_WRITE | CMD_FAST, GROUP_STREAM, NO_STREAM),
    REFUSED("geoadd", CMD_WRITE, GROUP_GEO, NO_GEO),
    REFUSED("geodist", CMD_READONLY, GROUP_GEO, NO_GEO),
    REFUSED("geohash", CMD_READONLY, GROUP_GEO, NO_GEO),
    REFUSED("geopos", CMD_READONLY, GROUP_GEO, NO_GEO),
    REFUSED("georadius", CMD_WRITE, GROUP_GEO, NO_GEO),
    REFUSED("georadius_ro", CMD_READONLY, GROUP_GEO, NO_GEO),
    REFUSED("georadiusbymember", CMD_WRITE, GROUP_GEO, NO_GEO),
    REFUSED("georadiusbymember_ro", CMD_READONLY, GROUP_GEO, NO_GEO),
    REFUSED("geosearch", CMD_READONLY, GROUP_GEO, NO_GEO),
    REFUSED("geosearchstore", CMD_WRITE, GROUP_GEO, NO_GEO),
    REFUSED("pfadd", CMD_WRITE | CMD_FAST, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfcount", CMD_WRITE, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfmerge", CMD_WRITE, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfdebug", CMD_WRITE, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfselftest", CMD_WRITE, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("eval", CMD_NOSCRIPT, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("evalsha", CMD_NOSCRIPT, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("eval_ro", CMD_READONLY, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("evalsha_ro", CMD_READONLY, GROUP_SCRIPTING, NO_SCRIPTING),
    {"script", refuse_but_flush, -1, CMD_REFUSED | CMD_NOSCRIPT, NO_KEYS, "2.6.0", GROUP_SCRIPTING,
     NO_SCRIPTING, "O(1)", NULL},
    {"function", refuse_but_flush, -1, CMD_REFUSED | CMD_NOSCRIPT, NO_KEYS, "2.6.0",
     GROUP_SCRIPTING, NO_SCRIPTING, "O(1)", NULL},
    REFUSED("fcall", CMD_NOSCRIPT, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("fcall_ro", CMD_READONLY, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("module", CMD_ADMIN, GROUP_SERVER, NO_MODULES),
    REFUSED("replicaof", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("slaveof", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("sync", CMD_ADMIN | CMD_NO_MULTI, GROUP_SERVER, NO_REPLICATION),
    REFUSED("psync", CMD_ADMIN | CMD_NO_MULTI, GROUP_SERVER, NO_REPLICATION),
    REFUSED("replconf", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("failover", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("wait", CMD_NOSCRIPT, GROUP_GENERIC, NO_REPLICATION),
    NO_CLUSTER("cluster"),
    NO_CLUSTER("asking"),
    NO_CLUSTER("readonly"),
    NO_CLUSTER("readwrite"),
    REFUSED("save", CMD_ADMIN | CMD_NO_MULTI, GROUP_SERVER, NO_DISK),
    REFUSED("bgsave", CMD_ADMIN, GROUP_SERVER, NO_DISK),
    REFUSED("bgrewriteaof", CMD_ADMIN, GROUP_SERVER, NO_DISK),
    REFUSED("lastsave", CMD_ADMIN | CMD_FAST, GROUP_SERVER, NO_DISK),
    REFUSED("shutdown", CMD_ADMIN | CMD_NO_MULTI, GROUP_SERVER, NO_PROCESS),
    REFUSED("swapdb", CMD_WRITE | CMD_FAST | CMD_DANGEROUS, GROUP_SERVER, NO_DATABASES),
    REFUSED("move", CMD_WRITE | CMD_FAST, GROUP_GENERIC, NO_DATABASES),
    REFUSED("migrate", CMD_WRITE | CMD_DANGEROUS, GROUP_GENERIC, NO_DATABASES),
    {0},
};
