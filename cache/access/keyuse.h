/* keyuse.h: what a command does with each of its keys, as Redis 7.0's key specifications tell it: for ACL's %R~ and %W~, and for
 * COMMAND GETKEYSANDFLAGS. */
#ifndef FRESHET_CACHE_KEYUSE_H
#define FRESHET_CACHE_KEYUSE_H

#include <stdint.h>

#include "cache/commands/command.h"

enum key_use {
    KEY_RO = 1 << 0, /* how the value is touched: read, read and written, overwritten, removed */
    KEY_RW = 1 << 1,
    KEY_OW = 1 << 2,
    KEY_RM = 1 << 3,
    KEY_ACCESS = 1 << 4, /* the user's data is answered, copied or told from */
    KEY_UPDATE = 1 << 5,
    KEY_INSERT = 1 << 6,
    KEY_DELETE = 1 << 7,
    KEY_CHANGES = KEY_UPDATE | KEY_INSERT | KEY_DELETE,
};
enum { KEY_USES = 8 };
/* "RO", ... "delete", by the bit's place. */
extern const char *const key_use_names[KEY_USES];

/* Of the nth key (from 0) of this request. `parent` is the container of a subcommand, else NULL. */
uint32_t key_use(const struct command *command, const struct command *parent, uint32_t nth,
                 const struct slice *argv, uint32_t argc);

#endif
