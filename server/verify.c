/* `freshet verify cache`: a running Freshet compares what it has in memory with the database, in one pass. It is asked at the admin
 * address, whatever doors the cache has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/ask.h"
#include "server/commands.h"
#include "server/verify_connector.h"

enum { DEFAULT_RATE = 1000 };

/* One order of GET or POST /verify?cache. NULL: *err says why. */
static json_t *order(struct ask *ask, const char *method, const char *order, const char *rate,
                     struct error *err) {
    struct buf path = {0};
    buf_append_text(&path, "/verify");
    ask_argument(&path, "cache", order);
    ask_argument(&path, "rate", rate);
    json_t *state = ask_for(ask, method, &path, err);
    buf_deinit(&path);
    return state;
}

static bool start(struct ask *ask, long long rate, struct error *err) {
    char text[24];
    snprintf(text, sizeof text, "%lld", rate);
    json_t *state = order(ask, "POST", "start", text, err);
    json_decref(state);
    return state != NULL;
}

static bool stop(struct ask *ask, struct error *err) {
    json_t *state = order(ask, "POST", "stop", NULL, err);
    json_decref(state);
    return state != NULL;
}

static long long number(const json_t *state, const char *name) {
    return (long long)json_integer_value(json_object_get(state, name));
}

static long long risen(const json_t *before, const json_t *now, const char *name) {
    return number(now, name) - number(before, name);
}

static int tell(const json_t *before, const json_t *now) {
    static const struct {
        const char *name;
        const char *words;
    } others[] = {{"ttl_only", "older by their TTL alone"},
                  {"undecided", "undecided"},
                  {"unread", "not read"}};
    long long stale = risen(before, now, "stale");
    printf("compared %lld, wrong %lld; changed meanwhile %lld", risen(before, now, "checked"),
           stale, risen(before, now, "changed"));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        long long n = risen(before, now, others[i].name);
        if (n > 0) printf(", %s %lld", others[i].words, n);
    }
    putchar('\n');
    if (stale > 0)
        fputs("Freshet's log names the keys (cache_stale_entry); they were taken out\n", stderr);
    return stale > 0 || risen(before, now, "unread") > 0 ? EXIT_FAILED : EXIT_DONE;
}

/* One pass. Where a verification ran before, it goes on afterwards at its rate. */
static int verify(struct ask *ask, long long rate) {
    struct error err;
    json_t *before = order(ask, "GET", "status", NULL, &err);
    json_t *now = NULL;
    bool going = before && start(ask, rate, &err);
    while (going && number(now, "passes") == 0) {
        ask_rest();
        json_decref(now);
        now = order(ask, "GET", "status", NULL, &err);
        going = now != NULL;
    }
    if (going)
        going = json_is_true(json_object_get(before, "running"))
                    ? start(ask, number(before, "rate"), &err)
                    : stop(ask, &err);
    int code = going ? tell(before, now) : ask_failed("verify", &err);
    json_decref(before);
    json_decref(now);
    return code;
}

static long long wanted_rate(const struct command_line *line, const struct config *config) {
    const char *given = cli_flag(line, "--rate");
    if (given) return atoll(given); /* what is none is refused */
    return config->cache.verify_rate ? config->cache.verify_rate : DEFAULT_RATE;
}

int cli_verify(const struct command_line *line) {
    if (strcmp(line->operand, "cache") != 0) return verify_connector(line);
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    struct error err;
    struct ask *ask = ask_open(config->admin_listen, &err);
    int code = ask ? verify(ask, wanted_rate(line, config)) : ask_failed("verify", &err);
    ask_close(&ask);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}
