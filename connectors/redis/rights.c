#include "connectors/redis/rights.h"

#include <string.h>

#include "base/mem.h"
#include "connectors/redis/command.h"

enum { WORDS_MAX = 6 };

/* What the connector does, by what a row is there; KEY is a row's, POSITION and ROWS are the connector's own. */
#define KEY      "\1"
#define POSITION "\2"
#define ROWS     "\3"
enum { OF_ALL = 0xf, OF_JSON = 1, OF_HASH = 2, OF_SET = 4, OF_SORTED_SET = 8 };
static const struct wanted {
    unsigned kinds; /* a bit of enum layout_kind each */
    bool expires;   /* only where rows expire */
    const char *words[WORDS_MAX];
} commands[] = {
    {OF_ALL, false, {"HSET", POSITION, "f", "v"}},
    {OF_ALL, false, {"HSET", ROWS, "f", "v"}},
    {OF_ALL, false, {"HGETALL", POSITION}},
    {OF_ALL, false, {"HMGET", ROWS, "f"}},
    {OF_ALL, false, {"HLEN", ROWS}},
    {OF_ALL, false, {"HSCAN", ROWS, "0"}},
    {OF_ALL, false, {"HDEL", ROWS, "f"}},
    {OF_ALL, false, {"UNLINK", KEY}},
    {OF_JSON, false, {"MSET", KEY, "v"}},
    {OF_JSON, false, {"SET", KEY, "v"}},
    {OF_HASH, false, {"HSET", KEY, "f", "v"}},
    {OF_HASH, true, {"PEXPIRE", KEY, "1"}},
    {OF_SET | OF_SORTED_SET, false, {"TYPE", KEY}},
    {OF_SET, false, {"SADD", KEY, "m"}},
    {OF_SET, false, {"SREM", KEY, "m"}},
    {OF_SORTED_SET, false, {"ZADD", KEY, "1", "m"}},
    {OF_SORTED_SET, false, {"ZREM", KEY, "m"}},
};

struct names {
    char *position;
    char *rows;
    struct buf key;
};

static void append(const struct wanted *wanted, const struct names *names, struct buf *out) {
    size_t n = 0;
    while (n < WORDS_MAX && wanted->words[n])
        n++;
    command_begin(out, n);
    for (size_t i = 0; i < n; i++) {
        const char *word = wanted->words[i];
        if (strcmp(word, KEY) == 0)
            command_arg(out, buf_slice(&names->key));
        else if (strcmp(word, POSITION) == 0)
            command_text_arg(out, names->position);
        else if (strcmp(word, ROWS) == 0)
            command_text_arg(out, names->rows);
        else
            command_text_arg(out, word);
    }
}

static size_t compose(const struct names *names, enum layout_kind kind, bool expires,
                      struct buf *out) {
    size_t n = 4;
    command_text(out, 2, "WATCH", names->position);
    command_text(out, 1, "MULTI");
    command_text(out, 1, "EXEC"); /* of nothing */
    command_text(out, 1, "MULTI");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!(commands[i].kinds & 1u << kind) || (commands[i].expires && !expires)) continue;
        append(&commands[i], names, out);
        n++;
    }
    return n;
}

/* Other refusals (memory is full) pass; the connector waits for that. */
static bool judge(const struct link *link, const struct replies *replies, struct error *err) {
    for (size_t i = 0; i < replies->n; i++) {
        const redisReply *reply = replies->at[i];
        if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0)
            return error_set(err, ERROR_REFUSED, false, "%s: %s", link_name(link), reply->str);
    }
    return true;
}

bool rights_look(struct link *link, const char *connector, const struct layout *layout,
                 bool expires, struct error *err) {
    struct names names = {.position = mem_printf("freshet:%s:position", connector),
                          .rows = mem_printf("freshet:%s:rows", connector)};
    layout_example(layout, &names.key);
    struct buf out = {0};
    struct replies replies = {0};
    size_t n = compose(&names, layout_kind(layout), expires, &out);
    bool may = link_open(link, err) && link_exchange(link, buf_slice(&out), n, &replies, err) &&
               judge(link, &replies, err);
    replies_deinit(&replies);
    link_close(link);
    buf_deinit(&out);
    buf_deinit(&names.key);
    mem_free(names.position);
    mem_free(names.rows);
    return may;
}
