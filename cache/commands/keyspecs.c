#include "cache/commands/keyspecs.h"

#include <string.h>

#include "cache/access/keyuse.h"

/* Keys that are found in one way and used in one way. */
struct keyspec {
    uint32_t use;
    int64_t begin; /* argv[begin] is the first, or the count of them */
    bool counted;
    int64_t last,
        step; /* not counted: the last one's distance from the first; from the request's end where negative */
};

enum { KEYSPECS_MAX = 3 };

/* The first key apart from the others, where it is used in another way; then those that an argument counts. */
static size_t keyspecs_of(const struct command *command, const struct command *parent,
                          struct keyspec specs[KEYSPECS_MAX]) {
    struct command_keys keys = command->keys;
    size_t n = 0;
    uint32_t first_use = key_use(command, parent, 0, NULL, 0);
    uint32_t second_use = key_use(command, parent, 1, NULL, 0);
    if (keys.first > 0) {
        bool several = keys.last != keys.first;
        bool apart = several && first_use != second_use;
        int64_t last = keys.last < 0 ? keys.last : keys.last - keys.first;
        specs[n++] = (struct keyspec){first_use, keys.first, false, apart ? 0 : last, keys.step};
        if (apart)
            specs[n++] = (struct keyspec){second_use, keys.first + keys.step, false,
                                          last < 0 ? last : last - keys.step, keys.step};
    }
    if (keys.numkeys > 0)
        specs[n] = (struct keyspec){n ? second_use : first_use, keys.numkeys, true, 0, 1};
    return n + (keys.numkeys > 0);
}

/* What the words of a request make of it: keyuse.h tells that of one, this is what it may be. */
static bool varies(const struct command *command) {
    return strcmp(command->name, "set") == 0 || strcmp(command->name, "bitfield") == 0;
}

static void answer_use(struct reply *reply, const struct command *command, uint32_t use) {
    bool may_change = command->flags & CMD_WRITE && varies(command);
    if (command->flags & CMD_PUBSUB) { /* a channel, that the cluster finds as it finds keys */
        reply_set(reply, 1);
        reply_simple(reply, "not_key");
        return;
    }
    if (may_change) use = KEY_RW | KEY_ACCESS | KEY_UPDATE;
    reply_set(reply, (size_t)__builtin_popcount(use) + may_change);
    for (uint32_t i = 0; i < KEY_USES; i++)
        if (use >> i & 1) reply_simple(reply, key_use_names[i]);
    if (may_change) reply_simple(reply, "variable_flags");
}

static void answer_numbers(struct reply *reply, const char *type, size_t n,
                           const char *const names[], const int64_t numbers[]) {
    reply_map(reply, 2);
    reply_text(reply, "type");
    reply_text(reply, type);
    reply_text(reply, "spec");
    reply_map(reply, n);
    for (size_t i = 0; i < n; i++) {
        reply_text(reply, names[i]);
        reply_integer(reply, numbers[i]);
    }
}

static void answer_keyspec(struct reply *reply, const struct command *command,
                           const struct keyspec *spec) {
    static const char *const index[] = {"index"};
    static const char *const range[] = {"lastkey", "keystep", "limit"};
    static const char *const keynum[] = {"keynumidx", "firstkey", "keystep"};
    reply_map(reply, 3);
    reply_text(reply, "flags");
    answer_use(reply, command, spec->use);
    reply_text(reply, "begin_search");
    answer_numbers(reply, "index", 1, index, &spec->begin);
    reply_text(reply, "find_keys");
    if (spec->counted)
        answer_numbers(reply, "keynum", 3, keynum, (const int64_t[]){0, 1, spec->step});
    else
        answer_numbers(reply, "range", 3, range, (const int64_t[]){spec->last, spec->step, 0});
}

void keyspecs_answer(struct reply *reply, const struct command *command,
                     const struct command *parent) {
    struct keyspec specs[KEYSPECS_MAX];
    size_t n = keyspecs_of(command, parent, specs);
    reply_set(reply, n);
    for (size_t i = 0; i < n; i++)
        answer_keyspec(reply, command, &specs[i]);
}
