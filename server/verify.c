/* `freshet verify cache`: a running Freshet compares what it has in memory with the database: one pass, by FRESHET.VERIFY. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "server/commands.h"
#include "server/units.h"
#include "server/verify_connector.h"

enum { ASK_TIMEOUT_S = 5, LOOK_INTERVAL_MS = 100, DEFAULT_RATE = 1000 };

static redisContext *connect_to(const struct config *config) {
    struct timeval timeout = {.tv_sec = ASK_TIMEOUT_S};
    struct address address;
    struct why why;
    if (config->cache.unix_socket)
        return redisConnectUnixWithTimeout(config->cache.unix_socket, timeout);
    if (!units_address(config->cache.listen, &address, &why)) return NULL;
    const char *host = address.host;
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    if (strcmp(host, "::") == 0) host = "::1";
    return redisConnectWithTimeout(host, address.port, timeout);
}

/* NULL after telling why: no answer, or an error. */
static redisReply *ask(redisContext *context, int argc, const char **argv) {
    redisReply *reply = redisCommandArgv(context, argc, argv, NULL);
    if (reply && reply->type != REDIS_REPLY_ERROR) return reply;
    const char *cause = reply ? reply->str : context->errstr;
    fprintf(stderr, "%s: %s\n", argv[0], cause);
    freeReplyObject(reply);
    return NULL;
}

static bool order(redisContext *context, int argc, const char **argv) {
    redisReply *reply = ask(context, argc, argv);
    freeReplyObject(reply);
    return reply != NULL;
}

struct findings {
    bool running;
    long long rate, passes, checked, stale, changed, ttl_only, undecided, unread;
};

static bool look(redisContext *context, struct findings *findings) {
    const char *argv[] = {"FRESHET.VERIFY", "STATUS"};
    const struct {
        const char *name;
        long long *value;
    } numbers[] = {
        {"rate", &findings->rate},           {"passes", &findings->passes},
        {"checked", &findings->checked},     {"stale", &findings->stale},
        {"changed", &findings->changed},     {"ttl_only", &findings->ttl_only},
        {"undecided", &findings->undecided}, {"unread", &findings->unread},
    };
    *findings = (struct findings){0};
    redisReply *reply = ask(context, 2, argv);
    if (!reply) return false;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const char *name = reply->element[i]->str;
        const redisReply *value = reply->element[i + 1];
        if (!name) continue;
        if (strcmp(name, "state") == 0)
            findings->running = value->str && strcmp(value->str, "running") == 0;
        for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
            if (strcmp(name, numbers[n].name) == 0) *numbers[n].value = value->integer;
        }
    }
    freeReplyObject(reply);
    return true;
}

static bool start(redisContext *context, long long rate) {
    char text[24];
    snprintf(text, sizeof text, "%lld", rate);
    const char *argv[] = {"FRESHET.VERIFY", "START", text};
    return order(context, 3, argv);
}

static void rest(void) {
    struct timespec interval = {.tv_nsec = LOOK_INTERVAL_MS * 1000000L};
    nanosleep(&interval, NULL);
}

static int tell(const struct findings *before, const struct findings *now) {
    long long checked = now->checked - before->checked;
    long long stale = now->stale - before->stale;
    printf("compared %lld, wrong %lld; changed meanwhile %lld", checked, stale,
           now->changed - before->changed);
    if (now->ttl_only > before->ttl_only)
        printf(", older by their TTL alone %lld", now->ttl_only - before->ttl_only);
    if (now->undecided > before->undecided)
        printf(", undecided %lld", now->undecided - before->undecided);
    if (now->unread > before->unread) printf(", not read %lld", now->unread - before->unread);
    putchar('\n');
    if (stale > 0)
        fputs("Freshet's log names the keys (cache_stale_entry); they were taken out\n", stderr);
    return stale > 0 || now->unread > before->unread ? EXIT_FAILED : EXIT_DONE;
}

/* One pass. Where a verification ran before, it goes on afterwards at its rate. */
static int verify(redisContext *context, uint32_t configured) {
    struct findings before;
    struct findings now = {0};
    const char *stop[] = {"FRESHET.VERIFY", "STOP"};
    if (!look(context, &before)) return EXIT_FAILED;
    bool going = start(context, configured ? configured : DEFAULT_RATE);
    while (going && now.passes == 0) {
        rest();
        going = look(context, &now);
    }
    if (!going) return EXIT_FAILED;
    if (before.running ? !start(context, before.rate) : !order(context, 2, stop))
        return EXIT_FAILED;
    return tell(&before, &now);
}

int cli_verify(const struct command_line *line) {
    if (strcmp(line->operand, "cache") != 0) return verify_connector(line);
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    int code = EXIT_FAILED;
    redisContext *context = connect_to(config);
    const char *password = config->cache.password;
    const char *auth[] = {"AUTH", password};
    if (!context || context->err)
        fprintf(stderr,
                "%s: %s; does Freshet run, and is that its address (--listen), without TLS?\n",
                config->cache.unix_socket ? config->cache.unix_socket : config->cache.listen,
                context ? context->errstr : "no address");
    else if (!password || order(context, 2, auth))
        code = verify(context, config->cache.verify_rate);
    redisFree(context);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}
