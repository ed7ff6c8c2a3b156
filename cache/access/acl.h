/* acl.h: the users of the RESP side, and what each connection may do.
 *
 *     struct acl_session session;                                one a connection, its worker's
 *     acl_open(acl, &session);                                   as the default user
 *     acl_login(acl, &session, user, password)                   AUTH
 *     if (!acl_is_cleared(acl, &session)) acl_check(...)         before each command
 *     acl_close(acl, &session);
 *
 * Users change while clients run. Their rights are immutable and replaced as a whole, and each change moves the version on: a
 * session that was found to be logged in with all rights remembers the version at which it was, so the usual client costs one
 * comparison a command, and everyone sees a change with his next command. The others go to acl_check.
 * The users and the log are under one lock, a leaf, held for a login, a change and the first command after a change. */
#ifndef FRESHET_CACHE_ACL_H
#define FRESHET_CACHE_ACL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/access/acl_rights.h"
#include "cache/front/settings.h"

struct acl;
struct acl_user;
struct cache_config;

struct acl_session {
    struct acl_user *user;     /* referenced */
    struct acl_rights *rights; /* the user's, as of `seen`; referenced */
    uint64_t seen;
    uint64_t cleared;   /* the version at which it was logged in and had all rights; 0: never */
    bool authenticated; /* logged in, or the default user needed no password when it came */
};

/* The users of the configuration: the default user with its password, then cache.users, or those of cache.acl_file. False: a rule or
 * the file is wrong. */
struct acl *acl_create(const struct cache_config *config, const struct settings *settings,
                       struct log *log, struct metrics *metrics, struct error *err);
void acl_destroy(struct acl **acl);
const struct command_ids *acl_ids(const struct acl *acl);

/* --- sessions ----------------------------------------------------------------------------------------------- */

void acl_open(struct acl *acl, struct acl_session *session);
void acl_close(struct acl *acl, struct acl_session *session);
uint64_t acl_version(const struct acl *acl);

static inline bool acl_is_cleared(const _Atomic uint64_t *version,
                                  const struct acl_session *session) {
    return session->cleared == atomic_load_explicit(version, memory_order_acquire);
}
const _Atomic uint64_t *acl_version_cell(const struct acl *acl);

/* False: no such user, off, or not his password. */
bool acl_login(struct acl *acl, struct acl_session *session, struct slice user,
               struct slice password);
/* Back to what it was when it came: RESET. */
void acl_logout(struct acl *acl, struct acl_session *session);
/* Takes over what has changed. False: its user has been deleted: the connection has to be closed. */
bool acl_refresh(struct acl *acl, struct acl_session *session);
/* Good until the session is closed or logs in anew. */
struct slice acl_session_name(const struct acl_session *session);
/* May run commands at all: logged in, or the default user needs no password. */
bool acl_is_admitted(struct acl *acl, const struct acl_session *session);
/* The default user is on and needs no password; the second: on or off. */
bool acl_default_is_open(struct acl *acl);
bool acl_default_needs_none(struct acl *acl);

/* --- users -------------------------------------------------------------------------------------------------- */

/* Makes the user, or changes it: all the rules or none. *gone: channels were taken away from the user. False: the error's text in
 * `why`. */
bool acl_set_user(struct acl *acl, struct slice name, const struct slice *rules, uint32_t n,
                  bool *channels_lost, struct buf *why);
/* CONFIG SET requirepass: the default user has this password alone, or with an empty one needs none. */
void acl_set_default_password(struct acl *acl, struct slice password);
void acl_default_password(struct acl *acl, struct buf *out);
/* False: no such user. Its sessions learn of it by acl_refresh. */
bool acl_delete_user(struct acl *acl, struct slice name);
/* The user's rights, acquired; NULL: no such user. */
struct acl_rights *acl_user_rights(struct acl *acl, struct slice name);
/* In the order of their names: `visit` for each; called under the lock. */
typedef void acl_visit(struct slice name, const struct acl_rights *rights, void *arg);
uint32_t acl_each_user(struct acl *acl, acl_visit *visit, void *arg);

/* --- the file (acl_file.c) ---------------------------------------------------------------------------------- */

bool acl_has_file(const struct acl *acl);
/* All of it or nothing: what is wrong in the file is told in `why`. Users that are not in it are deleted. */
bool acl_load(struct acl *acl, struct buf *why);
bool acl_save(struct acl *acl, struct error *err);

/* --- the log ------------------------------------------------------------------------------------------------ */

struct acl_event {
    uint64_t count;
    enum acl_verdict reason;
    const char *context; /* "toplevel", "multi" */
    struct slice object; /* the command, key or channel */
    struct slice user;
    struct slice client; /* as CLIENT INFO shows it */
    int64_t at_ms;       /* wall clock */
};
/* Events of the same kind within a minute are one, counted. */
void acl_note(struct acl *acl, const struct acl_event *event);
/* The newest `max`, the last first; called under the lock. Returns how many. */
typedef void acl_visit_event(const struct acl_event *event, void *arg);
uint32_t acl_events(struct acl *acl);
uint32_t acl_each_event(struct acl *acl, uint32_t max, acl_visit_event *visit, void *arg);
void acl_forget_events(struct acl *acl);

#endif
