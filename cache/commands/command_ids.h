/* command_ids.h: a number for every command and subcommand, those that are refused included: ACL's bits and the counts of
 * INFO commandstats go by it. Made once, immutable, shared by all threads. */
#ifndef FRESHET_CACHE_COMMAND_IDS_H
#define FRESHET_CACHE_COMMAND_IDS_H

#include <stdint.h>

#include "cache/commands/command.h"

enum { COMMAND_IDS_MAX = 640, COMMAND_NAME_MAX = 64 };

struct command_ids;

struct command_ids *command_ids_create(void);
void command_ids_destroy(struct command_ids **ids);
uint32_t command_ids_count(const struct command_ids *ids);
uint32_t command_id(const struct command_ids *ids, const struct command *command);
const struct command *command_of_id(const struct command_ids *ids, uint32_t id);
/* NULL: it is no subcommand. */
const struct command *command_parent_of_id(const struct command_ids *ids, uint32_t id);
uint32_t command_categories_of_id(const struct command_ids *ids, uint32_t id);
/* "get", "config|set". */
void command_full_name(const struct command_ids *ids, uint32_t id, char name[COMMAND_NAME_MAX]);
/* Of "get" or "config|set", in any case; -1: there is none. */
int32_t command_id_of_name(const struct command_ids *ids, struct slice name);

#endif
