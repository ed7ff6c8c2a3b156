/* categories.h: the ACL categories of the commands, as Redis 7.0 derives them from a command's flags and group. */
#ifndef FRESHET_CACHE_CATEGORIES_H
#define FRESHET_CACHE_CATEGORIES_H

#include <stdint.h>

#include "base/slice.h"
#include "cache/commands/command.h"

enum { CATEGORIES = 21 };

/* In the order in which ACL CAT lists them; a category's bit is its place here. */
extern const char *const category_names[CATEGORIES];

/* 0: there is none of that name. */
uint32_t category_find(struct slice name);
/* `parent` is the container of a subcommand, else NULL. */
uint32_t category_bits(const struct command *command, const struct command *parent);

#endif
