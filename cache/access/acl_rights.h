/* acl_rights.h: what one user may do, made of ACL rules as Redis 7.0 writes them (redis.io/docs/management/security/acl).
 *
 *     struct acl_rights *rights = acl_rights_create();
 *     if (!acl_rights_apply(rights, ids, SLICE("+@read"), &why)) ...       one rule after the other
 *     acl_rights_check(rights, ids, command, argv, argc, &at)              may it run?
 *
 * Pure: no lock, no I/O. Rights are changed only while one thread has them; then they are shared, and read without a lock. Selectors,
 * "(...)", are refused. Passwords are kept as SHA-256, in hexadecimal. */
#ifndef FRESHET_CACHE_ACL_RIGHTS_H
#define FRESHET_CACHE_ACL_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/commands/command_ids.h"

struct acl_rights;

enum acl_flag {
    ACL_ON = 1 << 0,
    ACL_NOPASS = 1 << 1,
    ACL_SANITIZE = 1 << 2, /* shown back, and nothing else */
    ACL_SKIP_SANITIZE = 1 << 3,
    ACL_ALL_KEYS = 1 << 4,
    ACL_ALL_CHANNELS = 1 << 5,
    ACL_ALL_COMMANDS = 1 << 6, /* none has been taken away since +@all */
    ACL_BEGAN_WITH_ALL = 1 << 7,
};

enum acl_verdict {
    ACL_PERMITTED,
    ACL_DENIED_COMMAND,
    ACL_DENIED_KEY,
    ACL_DENIED_CHANNEL,
    ACL_DENIED_AUTH, /* for the log */
};

enum { ACL_HASH_LEN = 64 };

/* Off, without passwords, commands, keys. */
struct acl_rights *acl_rights_create(bool all_channels);
struct acl_rights *acl_rights_copy(const struct acl_rights *rights);
/* Rights are shared by the clients that use them. */
struct acl_rights *acl_rights_acquire(struct acl_rights *rights);
void acl_rights_release(struct acl_rights **rights);

uint32_t acl_rights_flags(const struct acl_rights *rights);
/* Everything is permitted: nothing has to be checked. */
bool acl_rights_are_all(const struct acl_rights *rights);

/* One rule: "on", ">secret", "+@read", "-config|set", "~cache:*", "%R~shared:*", "&news.*", "reset", ... False: *why, worded as Redis
 * words it, and the rights are as before. `channels_by_default` is what `reset` leaves. */
bool acl_rights_apply(struct acl_rights *rights, const struct command_ids *ids, struct slice rule,
                      bool channels_by_default, const char **why);

/* *at: the argument whose key or channel is denied. argv[0] is the command's name. */
enum acl_verdict acl_rights_check(const struct acl_rights *rights, const struct command_ids *ids,
                                  const struct command *command, const struct slice *argv,
                                  uint32_t argc, uint32_t *at);
/* May such a channel be subscribed to? A pattern has to be among the rights word by word. */
bool acl_rights_has_channel(const struct acl_rights *rights, struct slice channel, bool is_pattern);
/* Has all the channels that the other has, word by word. */
bool acl_rights_cover_channels(const struct acl_rights *rights, const struct acl_rights *other);
/* Takes as long whichever hash it is. */
bool acl_rights_take_password(const struct acl_rights *rights, struct slice password);

/* As ACL GETUSER and ACL LIST print them. */
void acl_rights_describe_commands(const struct acl_rights *rights, const struct command_ids *ids,
                                  struct buf *out);
void acl_rights_describe_keys(const struct acl_rights *rights, struct buf *out);
void acl_rights_describe_channels(const struct acl_rights *rights, struct buf *out);
uint32_t acl_rights_passwords(const struct acl_rights *rights);
struct slice acl_rights_password(const struct acl_rights *rights, uint32_t i);
/* All of it: "on nopass ~* &* +@all". */
void acl_rights_describe(const struct acl_rights *rights, const struct command_ids *ids,
                         struct buf *out);
/* "on", "off", ...; NULL behind the last. */
const char *acl_rights_flag_name(const struct acl_rights *rights, uint32_t *at);

/* SHA-256 in lower-case hexadecimal. */
void acl_hash(struct slice password, char hash[ACL_HASH_LEN]);

#endif
