/* acl_state.h: the inside of acl.h, shared by acl.c and acl_file.c alone. */
#ifndef FRESHET_CACHE_ACL_STATE_H
#define FRESHET_CACHE_ACL_STATE_H

#include <pthread.h>

#include "cache/access/acl.h"
#include "cache/access/acl_log.h"

/* Under the lock, but the name, which never changes. */
struct acl_user {
    char *name;
    size_t name_len;
    uint32_t references; /* the list's and its sessions' */
    bool deleted;
    struct acl_rights *rights;
};

struct acl_users {
    struct acl_user **items; /* by name */
    uint32_t n;
};

struct acl {
    struct command_ids *ids;
    const struct settings *settings;
    struct log *log;
    char *password; /* of the default user where nothing else is said; NULL: none; under the lock */
    size_t password_len;
    const char *file; /* NULL: none */
    _Atomic uint64_t version;
    pthread_mutex_t lock;
    struct acl_users users;
    struct acl_log events;
    struct metric *denied[ACL_DENIED_AUTH + 1]; /* by enum acl_verdict */
};

bool acl_name_fits(struct slice name);
/* NULL: none. */
struct acl_user *acl_users_find(const struct acl_users *users, struct slice name);
/* Takes the rights; the user must not be there. */
struct acl_user *acl_users_add(struct acl_users *users, struct slice name,
                               struct acl_rights **rights);
/* Takes the reference. */
void acl_users_insert(struct acl_users *users, struct acl_user *user);
/* Those in the list lose its reference. */
void acl_users_clear(struct acl_users *users);
void acl_user_release(struct acl_user *user);
/* A default user that may do everything, with the configured password if there is one. */
struct acl_rights *acl_default_rights(const struct acl *acl);
bool acl_new_channels(const struct acl *acl);

#endif
