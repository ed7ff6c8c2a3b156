#include "cache/commands/command_tips.h"

#include <stdio.h>
#include <string.h>

#include "cache/commands/command_ids.h"

#define UNSTEADY  "nondeterministic_output"
#define UNORDERED "nondeterministic_output_order"

#define EACH_NODE  "request_policy:all_nodes"
#define EACH_SHARD "request_policy:all_shards"
#define BY_KEYS    "request_policy:multi_shard"

#define ALL_OF_THEM "response_policy:all_succeeded"
#define LEAST       "response_policy:agg_min"
#define SUM         "response_policy:agg_sum"
#define BY_ITSELF   "response_policy:special"

enum { TIPS_MAX = 3 };

static const struct {
    const char *name;
    const char *tips[TIPS_MAX];
} rows[] = {
    {"client|info", {UNSTEADY}},
    {"client|list", {UNSTEADY}},
    {"command", {UNORDERED}},
    {"command|docs", {UNORDERED}},
    {"command|info", {UNORDERED}},
    {"command|list", {UNORDERED}},
    {"config|set", {EACH_NODE, ALL_OF_THEM}},
    {"dbsize", {EACH_SHARD, SUM}},
    {"del", {BY_KEYS, SUM}},
    {"dump", {UNSTEADY}},
    {"exists", {BY_KEYS, SUM}},
    {"flushall", {EACH_SHARD, ALL_OF_THEM}},
    {"flushdb", {EACH_SHARD, ALL_OF_THEM}},
    {"hgetall", {UNORDERED}},
    {"hkeys", {UNORDERED}},
    {"hrandfield", {UNSTEADY}},
    {"hscan", {UNSTEADY}},
    {"hvals", {UNORDERED}},
    {"info", {UNSTEADY, EACH_SHARD, BY_ITSELF}},
    {"keys", {EACH_SHARD, UNORDERED}},
    {"latency|doctor", {UNSTEADY, EACH_NODE, BY_ITSELF}},
    {"latency|graph", {UNSTEADY, EACH_NODE, BY_ITSELF}},
    {"latency|histogram", {UNSTEADY, EACH_NODE, BY_ITSELF}},
    {"latency|history", {UNSTEADY, EACH_NODE, BY_ITSELF}},
    {"latency|latest", {UNSTEADY, EACH_NODE, BY_ITSELF}},
    {"latency|reset", {EACH_NODE, ALL_OF_THEM}},
    {"memory|doctor", {UNSTEADY, EACH_SHARD, BY_ITSELF}},
    {"memory|malloc-stats", {UNSTEADY, EACH_SHARD, BY_ITSELF}},
    {"memory|purge", {EACH_SHARD, ALL_OF_THEM}},
    {"memory|stats", {UNSTEADY, EACH_SHARD, BY_ITSELF}},
    {"mget", {BY_KEYS}},
    {"mset", {BY_KEYS, ALL_OF_THEM}},
    {"msetnx", {BY_KEYS, LEAST}},
    {"object|encoding", {UNSTEADY}},
    {"object|freq", {UNSTEADY}},
    {"object|idletime", {UNSTEADY}},
    {"object|refcount", {UNSTEADY}},
    {"ping", {EACH_SHARD, ALL_OF_THEM}},
    {"pttl", {UNSTEADY}},
    {"randomkey", {EACH_SHARD, UNSTEADY}},
    {"scan", {UNSTEADY, "request_policy:special"}},
    {"sdiff", {UNORDERED}},
    {"sinter", {UNORDERED}},
    {"slowlog|get", {EACH_NODE, UNSTEADY}},
    {"slowlog|len", {EACH_NODE, SUM, UNSTEADY}},
    {"slowlog|reset", {EACH_NODE, ALL_OF_THEM}},
    {"smembers", {UNORDERED}},
    {"spop", {UNSTEADY}},
    {"srandmember", {UNSTEADY}},
    {"sscan", {UNSTEADY}},
    {"sunion", {UNORDERED}},
    {"time", {UNSTEADY}},
    {"touch", {BY_KEYS, SUM}},
    {"ttl", {UNSTEADY}},
    {"unlink", {BY_KEYS, SUM}},
    {"zrandmember", {UNSTEADY}},
    {"zscan", {UNSTEADY}},
};

void command_tips_answer(struct reply *reply, const struct command *command,
                         const struct command *parent) {
    static const char *const none[TIPS_MAX];
    const char *const *tips = none;
    char name[COMMAND_NAME_MAX];
    snprintf(name, sizeof name, "%s%s%s", parent ? parent->name : "", parent ? "|" : "",
             command->name);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0) tips = rows[i].tips;
    size_t n = 0;
    while (n < TIPS_MAX && tips[n])
        n++;
    reply_set(reply, n);
    for (size_t i = 0; i < n; i++)
        reply_text(reply, tips[i]);
}
