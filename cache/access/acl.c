#include "cache/access/acl.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/access/acl_state.h"
#include "cache/cache.h"

static const struct slice default_name = {.data = "default", .len = 7};

const struct command_ids *acl_ids(const struct acl *acl) { return acl->ids; }
const _Atomic uint64_t *acl_version_cell(const struct acl *acl) { return &acl->version; }
bool acl_has_file(const struct acl *acl) { return acl->file != NULL; }

uint64_t acl_version(const struct acl *acl) {
    return atomic_load_explicit(&acl->version, memory_order_acquire);
}

static void lock(struct acl *acl) { pthread_mutex_lock(&acl->lock); }
static void unlock(struct acl *acl) { pthread_mutex_unlock(&acl->lock); }
static void move_on(struct acl *acl) {
    atomic_fetch_add_explicit(&acl->version, 1, memory_order_acq_rel);
}

bool acl_new_channels(const struct acl *acl) {
    return setting(acl->settings, SETTING_ACL_PUBSUB_DEFAULT) != 0;
}

/* --- the list of users -------------------------------------------------------------------------------------- */

bool acl_name_fits(struct slice name) {
    for (size_t i = 0; i < name.len; i++)
        if (memchr(" \t\n\v\f\r", name.data[i], 7)) return false; /* its NUL among them */
    return true;
}

static int compare(const struct acl_user *user, struct slice name) {
    return slice_compare(slice_make(user->name, user->name_len), name);
}

/* The first place whose name is not before `name`. */
static uint32_t place_of(const struct acl_users *users, struct slice name) {
    uint32_t from = 0, to = users->n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (compare(users->items[middle], name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct acl_user *acl_users_find(const struct acl_users *users, struct slice name) {
    uint32_t at = place_of(users, name);
    return at < users->n && compare(users->items[at], name) == 0 ? users->items[at] : NULL;
}

void acl_users_insert(struct acl_users *users, struct acl_user *user) {
    uint32_t at = place_of(users, slice_make(user->name, user->name_len));
    users->items = mem_realloc(users->items, (users->n + 1) * sizeof users->items[0]);
    memmove(&users->items[at + 1], &users->items[at], (users->n - at) * sizeof users->items[0]);
    users->items[at] = user;
    users->n++;
}

struct acl_user *acl_users_add(struct acl_users *users, struct slice name,
                               struct acl_rights **rights) {
    struct acl_user *user = mem_zalloc(sizeof *user);
    user->name = mem_alloc(name.len + 1);
    if (name.len) memcpy(user->name, name.data, name.len);
    user->name[name.len] = '\0';
    user->name_len = name.len;
    user->references = 1;
    user->rights = *rights;
    *rights = NULL;
    acl_users_insert(users, user);
    return user;
}

void acl_user_release(struct acl_user *user) {
    if (--user->references) return;
    acl_rights_release(&user->rights);
    mem_free(user->name);
    mem_free(user);
}

void acl_users_clear(struct acl_users *users) {
    for (uint32_t i = 0; i < users->n; i++) {
        users->items[i]->deleted = true;
        acl_user_release(users->items[i]);
    }
    mem_free(users->items);
    *users = (struct acl_users){0};
}

/* --- making ------------------------------------------------------------------------------------------------- */

static bool apply_rules(const struct acl *acl, struct acl_rights *rights, const struct slice *rules,
                        uint32_t n, struct buf *why) {
    const char *cause;
    for (uint32_t i = 0; i < n; i++) {
        if (acl_rights_apply(rights, acl->ids, rules[i], acl_new_channels(acl), &cause)) continue;
        buf_printf(why, "Error in ACL SETUSER modifier '%.*s': %s",
                   (int)(rules[i].len < 128 ? rules[i].len : 128), rules[i].data, cause);
        return false;
    }
    return true;
}

struct acl_rights *acl_default_rights(const struct acl *acl) {
    static const char *const rules[] = {"on", "nopass", "~*", "&*", "+@all"};
    struct acl_rights *rights = acl_rights_create(false);
    const char *why;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        ASSERT(acl_rights_apply(rights, acl->ids, slice_from(rules[i]), false, &why));
    if (acl->password) {
        struct buf rule = {0};
        buf_append_char(&rule, '>');
        buf_append(&rule, acl->password, acl->password_len);
        ASSERT(acl_rights_apply(rights, acl->ids, buf_slice(&rule), false, &why));
        buf_deinit(&rule);
    }
    return rights;
}

/* "on >secret ~cache:* +@read": rules parted by spaces. */
static bool add_configured_user(struct acl *acl, const struct cache_user_config *user,
                                struct error *err) {
    struct slice rules[256];
    uint32_t n = 0;
    struct buf why = {0};
    bool is_default = strcmp(user->name, "default") == 0;
    if (is_default) rules[n++] = SLICE("reset");
    for (const char *at = user->rules ? user->rules : ""; *at;) {
        size_t len = strcspn(at, " ");
        if (len && n < sizeof rules / sizeof rules[0]) rules[n++] = slice_make(at, len);
        at += len + (at[len] == ' ');
    }
    char *secret = user->password ? mem_printf(">%s", user->password) : NULL;
    if (secret && n < sizeof rules / sizeof rules[0]) rules[n++] = slice_from(secret);
    bool lost;
    bool set = acl_name_fits(slice_from(user->name)) &&
               acl_set_user(acl, slice_from(user->name), rules, n, &lost, &why);
    if (!set)
        error_set(err, ERROR_CONFIG, false, "cache.users.%s: %s", user->name,
                  why.len ? buf_text(&why) : "a user's name has no spaces");
    struct acl_rights *rights = acl_user_rights(acl, slice_from(user->name));
    if (set && !(acl_rights_flags(rights) & ACL_ON))
        log_warn(acl->log, "user_is_off", "user=%s hint=\"there is no 'on' among its rules\"",
                 user->name);
    acl_rights_release(&rights);
    mem_free(secret);
    buf_deinit(&why);
    return set;
}

static bool add_users(struct acl *acl, const struct cache_config *config, struct error *err) {
    for (uint32_t i = 0; i < config->n_users; i++)
        if (!add_configured_user(acl, &config->users[i], err)) return false;
    struct buf why = {0};
    bool loaded = !acl->file || acl_load(acl, &why);
    if (!loaded) error_set(err, ERROR_CONFIG, false, "cache.acl_file: %s", buf_text(&why));
    buf_deinit(&why);
    return loaded;
}

static void make_metrics(struct acl *acl, struct metrics *metrics) {
    static const char *const labels[] = {[ACL_DENIED_COMMAND] = "reason=\"command\"",
                                         [ACL_DENIED_KEY] = "reason=\"key\"",
                                         [ACL_DENIED_CHANNEL] = "reason=\"channel\"",
                                         [ACL_DENIED_AUTH] = "reason=\"auth\""};
    for (int i = ACL_DENIED_COMMAND; i <= ACL_DENIED_AUTH; i++)
        acl->denied[i] =
            metrics_counter(metrics, "freshet_cache_acl_denied_total",
                            "Commands and logins of RESP clients that were denied.", labels[i]);
}

struct acl *acl_create(const struct cache_config *config, const struct settings *settings,
                       struct log *log, struct metrics *metrics, struct error *err) {
    struct acl *acl = mem_zalloc(sizeof *acl);
    acl->ids = command_ids_create();
    acl->settings = settings;
    acl->log = log;
    if (config->password) acl->password = mem_printf("%s", config->password);
    acl->password_len = acl->password ? strlen(acl->password) : 0;
    acl->file = config->acl_file;
    acl->version = 1;
    pthread_mutex_init(&acl->lock, NULL);
    make_metrics(acl, metrics);
    struct acl_rights *rights = acl_default_rights(acl);
    acl_users_add(&acl->users, default_name, &rights);
    if (!add_users(acl, config, err)) acl_destroy(&acl);
    return acl;
}

void acl_destroy(struct acl **acl) {
    struct acl *a = *acl;
    if (!a) return;
    acl_users_clear(&a->users);
    acl_log_clear(&a->events);
    command_ids_destroy(&a->ids);
    mem_free(a->password);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
    *acl = NULL;
}

/* --- sessions ----------------------------------------------------------------------------------------------- */

/* Under the lock. */
static void adopt(struct acl *acl, struct acl_session *session, struct acl_user *user,
                  bool authenticated) {
    if (session->user != user) {
        user->references++;
        if (session->user) acl_user_release(session->user);
        session->user = user;
    }
    acl_rights_release(&session->rights);
    session->rights = acl_rights_acquire(user->rights);
    session->authenticated = authenticated;
    session->seen = acl_version(acl);
    session->cleared = authenticated && acl_rights_are_all(session->rights) ? session->seen : 0;
}

static bool is_open(const struct acl_rights *rights) {
    const uint32_t open = ACL_ON | ACL_NOPASS;
    return (acl_rights_flags(rights) & open) == open;
}

/* Under the lock. */
static void adopt_default(struct acl *acl, struct acl_session *session) {
    struct acl_user *user = acl_users_find(&acl->users, default_name);
    adopt(acl, session, user, is_open(user->rights));
}

void acl_open(struct acl *acl, struct acl_session *session) {
    *session = (struct acl_session){0};
    lock(acl);
    adopt_default(acl, session);
    unlock(acl);
}

void acl_logout(struct acl *acl, struct acl_session *session) {
    lock(acl);
    adopt_default(acl, session);
    unlock(acl);
}

void acl_close(struct acl *acl, struct acl_session *session) {
    if (!session->user) return;
    acl_rights_release(&session->rights);
    lock(acl);
    acl_user_release(session->user);
    unlock(acl);
    session->user = NULL;
}

bool acl_login(struct acl *acl, struct acl_session *session, struct slice name,
               struct slice password) {
    struct acl_rights *rights = acl_user_rights(acl, name);
    bool right = rights && acl_rights_flags(rights) & ACL_ON &&
                 acl_rights_take_password(rights, password); /* hashed outside of the lock */
    acl_rights_release(&rights);
    if (!right) return false;
    lock(acl);
    struct acl_user *user = acl_users_find(&acl->users, name);
    if (user) adopt(acl, session, user, true);
    unlock(acl);
    return user != NULL;
}

bool acl_refresh(struct acl *acl, struct acl_session *session) {
    if (session->seen == acl_version(acl)) return true;
    lock(acl);
    bool there = !session->user->deleted;
    if (there) adopt(acl, session, session->user, session->authenticated);
    unlock(acl);
    return there;
}

struct slice acl_session_name(const struct acl_session *session) {
    return slice_make(session->user->name, session->user->name_len);
}

bool acl_default_is_open(struct acl *acl) {
    lock(acl);
    bool open = is_open(acl_users_find(&acl->users, default_name)->rights);
    unlock(acl);
    return open;
}

bool acl_default_needs_none(struct acl *acl) {
    lock(acl);
    const struct acl_rights *rights = acl_users_find(&acl->users, default_name)->rights;
    bool none = (acl_rights_flags(rights) & ACL_NOPASS) != 0;
    unlock(acl);
    return none;
}

bool acl_is_admitted(struct acl *acl, const struct acl_session *session) {
    return session->authenticated || acl_default_is_open(acl);
}

/* --- users -------------------------------------------------------------------------------------------------- */

struct acl_rights *acl_user_rights(struct acl *acl, struct slice name) {
    lock(acl);
    const struct acl_user *user = acl_users_find(&acl->users, name);
    struct acl_rights *rights = user ? acl_rights_acquire(user->rights) : NULL;
    unlock(acl);
    return rights;
}

bool acl_set_user(struct acl *acl, struct slice name, const struct slice *rules, uint32_t n,
                  bool *channels_lost, struct buf *why) {
    struct acl_rights *before = acl_user_rights(acl, name);
    struct acl_rights *rights =
        before ? acl_rights_copy(before) : acl_rights_create(acl_new_channels(acl));
    bool fits = apply_rules(acl, rights, rules, n, why);
    *channels_lost = fits && before && !acl_rights_cover_channels(rights, before);
    acl_rights_release(&before);
    if (fits) {
        lock(acl);
        struct acl_user *user = acl_users_find(&acl->users, name);
        if (user) {
            struct acl_rights *old = user->rights;
            user->rights = rights;
            rights = old;
        } else {
            acl_users_add(&acl->users, name, &rights);
        }
        move_on(acl);
        unlock(acl);
    }
    acl_rights_release(&rights);
    return fits;
}

void acl_set_default_password(struct acl *acl, struct slice password) {
    struct buf rule = {0}, why = {0};
    bool lost;
    buf_append_char(&rule, '>');
    buf_append_slice(&rule, password);
    struct slice rules[] = {SLICE("resetpass"), password.len ? buf_slice(&rule) : SLICE("nopass")};
    ASSERT(acl_set_user(acl, default_name, rules, 2, &lost, &why));
    char *copy = mem_alloc(password.len + 1);
    if (password.len) memcpy(copy, password.data, password.len);
    lock(acl);
    char *old = acl->password;
    acl->password = password.len ? copy : NULL;
    acl->password_len = password.len;
    unlock(acl);
    mem_free(password.len ? old : copy);
    if (!password.len) mem_free(old);
    buf_deinit(&rule);
    buf_deinit(&why);
}

void acl_default_password(struct acl *acl, struct buf *out) {
    lock(acl);
    buf_append(out, acl->password, acl->password_len);
    unlock(acl);
}

bool acl_delete_user(struct acl *acl, struct slice name) {
    ASSERT(!slice_equal(name, default_name));
    lock(acl);
    uint32_t at = place_of(&acl->users, name);
    struct acl_user *user = acl_users_find(&acl->users, name);
    if (user) {
        struct acl_user **place = &acl->users.items[at];
        acl->users.n--;
        memmove(place, place + 1, (acl->users.n - at) * sizeof place[0]);
        user->deleted = true;
        acl_user_release(user);
        move_on(acl);
    }
    unlock(acl);
    return user != NULL;
}

uint32_t acl_each_user(struct acl *acl, acl_visit *visit, void *arg) {
    lock(acl);
    uint32_t n = acl->users.n;
    for (uint32_t i = 0; visit && i < n; i++) {
        const struct acl_user *user = acl->users.items[i];
        visit(slice_make(user->name, user->name_len), user->rights, arg);
    }
    unlock(acl);
    return n;
}

/* --- the log ------------------------------------------------------------------------------------------------ */

void acl_note(struct acl *acl, const struct acl_event *event) {
    metric_add(acl->denied[event->reason], 1);
    lock(acl);
    acl_log_add(&acl->events, event, (uint64_t)setting(acl->settings, SETTING_ACL_LOG_MAX_LEN));
    unlock(acl);
}

uint32_t acl_each_event(struct acl *acl, uint32_t max, acl_visit_event *visit, void *arg) {
    lock(acl);
    uint32_t n = acl->events.n < max ? acl->events.n : max;
    for (uint32_t i = 1; visit && i <= n; i++)
        visit(&acl->events.events[acl->events.n - i], arg);
    unlock(acl);
    return n;
}

void acl_forget_events(struct acl *acl) {
    lock(acl);
    acl_log_clear(&acl->events);
    unlock(acl);
}
