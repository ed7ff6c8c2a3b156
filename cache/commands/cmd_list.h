/* cmd_list.h: what list commands share: taking elements out, and moving one from list to list. Under the command's guard. */
#ifndef FRESHET_CACHE_CMD_LIST_H
#define FRESHET_CACHE_CMD_LIST_H

#include "cache/commands/cmd.h"
#include "cache/values/list.h"

/* "left" or "right"; false after an error reply. */
bool list_parse_end(struct command_context *ctx, struct slice word, enum list_end *end);

/* Composes up to n elements from that end of a list, in the order in which they go, and takes them out. As an array, or (`single`)
 * the first one alone. `taken` (may be NULL) gets them packed (elements.h). */
struct list_taking {
    enum list_end end;
    size_t n;
    bool single;
    struct buf *taken;
};
void list_take(struct command_context *ctx, struct slice key, struct entry *entry,
               const struct list_taking *taking);

/* Composes the element at `from` of `source`, which is a list, and moves it to `to` of `destination`, which may be the
 * same key. Or answers why not. */
void list_move(struct command_context *ctx, struct slice source, struct slice destination,
               enum list_end from, enum list_end to);

/* Puts elements back at that end (packed, in the order in which they were taken), unless the key is no list by now. */
void list_put_back(struct command_context *ctx, struct slice key, enum list_end end,
                   struct slice taken);

/* numkeys key [key ...] LEFT|RIGHT [COUNT n], from argv[at] on; false after an error reply. */
struct list_pop_request {
    const struct slice *keys;
    uint32_t n_keys;
    enum list_end end;
    int64_t count;
};
bool list_parse_pop(struct command_context *ctx, uint32_t at, struct list_pop_request *request);

/* The first of the keys that holds a list. False: none does, or another type came before, and is answered then. */
bool list_find_first(struct command_context *ctx, const struct slice *keys, uint32_t n_keys,
                     struct slice *key, struct entry **entry);

#endif
