/* cmd_refused.c: Redis's commands that Freshet does not have: each answers one clear error and appears in no COMMAND, yet ACL
 * rules may name it, so that users who were written for Redis are taken as they stand. */
#include "cache/commands/command.h"
#include "cache/front/reply.h"

/* Its name is that which the client has used: a subcommand's row does not know its container. */
static void refuse(struct command_context *ctx) {
    int len = (int)ctx->argv[0].len; /* no longer than a name in the table */
    reply_error(ctx->reply, "ERR '%.*s' is not supported: %s", len, ctx->argv[0].data,
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
            NO_CLUSTER_HERE, "O(1)", NULL                                                          \
    }

#define NO_STREAM      "Freshet has no streams: changes of tables are published to Kafka (cdc)"
#define NO_GEO         "Freshet has no geographic index: query it in the database and cache the answer"
#define NO_HYPERLOGLOG "Freshet has no HyperLogLog: keep a set, or count in the database"
#define NO_SCRIPTING                                                                               \
    "Freshet runs no scripts and functions: use MULTI and EXEC, or do it in the application"
#define NO_MODULES "Freshet loads no modules"
#define NO_REPLICATION                                                                             \
    "Freshet does not replicate: run another instance beside it, each reads the database"
#define NO_DISK         "Freshet keeps nothing on disk: what matters is in the database"
#define NO_PROCESS      "stop the process by SIGTERM, which drains its clients"
#define NO_CLUSTER_HERE "this is no cluster"
#define NO_DATABASES    "there is one database, 0"

/* What ACL rules may name of the containers. */
#define CONTAINER(name, run, group, why, subcommands)                                              \
    { name, run, -1, CMD_REFUSED, NO_KEYS, "1.0.0", group, why, "O(1)", subcommands }
#define SUB(name, run, flags, group, why)                                                          \
    { name, run, -1, CMD_REFUSED | (flags), NO_KEYS, "1.0.0", group, why, "O(1)", NULL }
#define STREAM_SUB(name, flags)  SUB(name, refuse, flags, GROUP_STREAM, NO_STREAM)
#define SCRIPT_SUB(name, flags)  SUB(name, refuse_but_flush, flags, GROUP_SCRIPTING, NO_SCRIPTING)
#define MODULE_SUB(name, flags)  SUB(name, refuse, flags, GROUP_SERVER, NO_MODULES)
#define CLUSTER_SUB(name, flags) SUB(name, refuse_cluster, flags, GROUP_CLUSTER, NO_CLUSTER_HERE)

static const struct command xgroup_subcommands[] = {
    STREAM_SUB("create", CMD_WRITE),
    STREAM_SUB("createconsumer", CMD_WRITE),
    STREAM_SUB("delconsumer", CMD_WRITE),
    STREAM_SUB("destroy", CMD_WRITE),
    STREAM_SUB("help", 0),
    STREAM_SUB("setid", CMD_WRITE),
    {0},
};

static const struct command xinfo_subcommands[] = {
    STREAM_SUB("consumers", CMD_READONLY),
    STREAM_SUB("groups", CMD_READONLY),
    STREAM_SUB("help", 0),
    STREAM_SUB("stream", CMD_READONLY),
    {0},
};

static const struct command script_subcommands[] = {
    SCRIPT_SUB("debug", 0),
    SCRIPT_SUB("exists", 0),
    SCRIPT_SUB("flush", 0),
    SCRIPT_SUB("help", 0),
    SCRIPT_SUB("kill", 0),
    SCRIPT_SUB("load", 0),
    {0},
};

static const struct command function_subcommands[] = {
    SCRIPT_SUB("delete", CMD_WRITE), SCRIPT_SUB("dump", 0),
    SCRIPT_SUB("flush", CMD_WRITE),  SCRIPT_SUB("help", 0),
    SCRIPT_SUB("kill", 0),           SCRIPT_SUB("list", 0),
    SCRIPT_SUB("load", CMD_WRITE),   SCRIPT_SUB("restore", CMD_WRITE),
    SCRIPT_SUB("stats", 0),          {0},
};

static const struct command module_subcommands[] = {
    MODULE_SUB("help", 0),           MODULE_SUB("list", CMD_ADMIN),   MODULE_SUB("load", CMD_ADMIN),
    MODULE_SUB("loadex", CMD_ADMIN), MODULE_SUB("unload", CMD_ADMIN), {0},
};

static const struct command cluster_subcommands[] = {
    CLUSTER_SUB("addslots", CMD_ADMIN),
    CLUSTER_SUB("addslotsrange", CMD_ADMIN),
    CLUSTER_SUB("bumpepoch", CMD_ADMIN),
    CLUSTER_SUB("count-failure-reports", CMD_ADMIN),
    CLUSTER_SUB("countkeysinslot", 0),
    CLUSTER_SUB("delslots", CMD_ADMIN),
    CLUSTER_SUB("delslotsrange", CMD_ADMIN),
    CLUSTER_SUB("failover", CMD_ADMIN),
    CLUSTER_SUB("flushslots", CMD_ADMIN),
    CLUSTER_SUB("forget", CMD_ADMIN),
    CLUSTER_SUB("getkeysinslot", 0),
    CLUSTER_SUB("help", 0),
    CLUSTER_SUB("info", 0),
    CLUSTER_SUB("keyslot", 0),
    CLUSTER_SUB("links", 0),
    CLUSTER_SUB("meet", CMD_ADMIN),
    CLUSTER_SUB("myid", 0),
    CLUSTER_SUB("nodes", 0),
    CLUSTER_SUB("replicas", CMD_ADMIN),
    CLUSTER_SUB("replicate", CMD_ADMIN),
    CLUSTER_SUB("reset", CMD_ADMIN),
    CLUSTER_SUB("saveconfig", CMD_ADMIN),
    CLUSTER_SUB("set-config-epoch", CMD_ADMIN),
    CLUSTER_SUB("setslot", CMD_ADMIN),
    CLUSTER_SUB("shards", 0),
    CLUSTER_SUB("slaves", CMD_ADMIN),
    CLUSTER_SUB("slots", 0),
    {0},
};

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
    CONTAINER("xgroup", refuse, GROUP_STREAM, NO_STREAM, xgroup_subcommands),
    CONTAINER("xinfo", refuse, GROUP_STREAM, NO_STREAM, xinfo_subcommands),
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
    REFUSED("pfcount", CMD_READONLY, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfmerge", CMD_WRITE, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfdebug", CMD_WRITE | CMD_ADMIN, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("pfselftest", CMD_ADMIN, GROUP_HYPERLOGLOG, NO_HYPERLOGLOG),
    REFUSED("eval", CMD_NOSCRIPT, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("evalsha", CMD_NOSCRIPT, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("eval_ro", CMD_READONLY, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("evalsha_ro", CMD_READONLY, GROUP_SCRIPTING, NO_SCRIPTING),
    CONTAINER("script", refuse_but_flush, GROUP_SCRIPTING, NO_SCRIPTING, script_subcommands),
    CONTAINER("function", refuse_but_flush, GROUP_SCRIPTING, NO_SCRIPTING, function_subcommands),
    REFUSED("fcall", CMD_NOSCRIPT, GROUP_SCRIPTING, NO_SCRIPTING),
    REFUSED("fcall_ro", CMD_READONLY, GROUP_SCRIPTING, NO_SCRIPTING),
    CONTAINER("module", refuse, GROUP_SERVER, NO_MODULES, module_subcommands),
    REFUSED("replicaof", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("slaveof", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("sync", CMD_ADMIN | CMD_NO_MULTI, GROUP_SERVER, NO_REPLICATION),
    REFUSED("psync", CMD_ADMIN | CMD_NO_MULTI, GROUP_SERVER, NO_REPLICATION),
    REFUSED("replconf", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("failover", CMD_ADMIN, GROUP_SERVER, NO_REPLICATION),
    REFUSED("wait", CMD_NOSCRIPT, GROUP_GENERIC, NO_REPLICATION),
    CONTAINER("cluster", refuse_cluster, GROUP_CLUSTER, NO_CLUSTER_HERE, cluster_subcommands),
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
