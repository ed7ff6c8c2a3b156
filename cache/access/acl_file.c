/* acl_file.c: users in a file of their own, as Redis's aclfile: one "user NAME RULES..." a line, which ACL SAVE writes anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/access/acl_state.h"

enum { FILE_MAX_BYTES = 16 * 1024 * 1024, SHOWN_MAX = 128 };

/* False: *why. */
static bool read_file(const char *path, struct buf *text, struct buf *why) {
    FILE *file = fopen(path, "re");
    size_t n = 1;
    while (file && n && text->len < FILE_MAX_BYTES) {
        n = fread(buf_reserve(text, 64 * 1024), 1, 64 * 1024, file);
        text->len += n;
    }
    bool whole = file && !ferror(file) && feof(file);
    if (!whole)
        buf_printf(why, "Error loading ACLs, opening file '%s': %s", path,
                   file && !ferror(file) ? "it is too large" : strerror(errno));
    if (file) fclose(file);
    return whole;
}

/* The next word of *line, which loses it; empty at the end. */
static struct slice next_word(struct slice *line) {
    while (line->len && strchr(" \t\r", line->data[0]))
        *line = slice_make(line->data + 1, line->len - 1);
    size_t len = 0;
    while (len < line->len && !strchr(" \t\r", line->data[len]))
        len++;
    struct slice word = slice_make(line->data, len);
    *line = slice_make(line->data + len, line->len - len);
    return word;
}

static void parse_line(const struct acl *acl, struct slice line, uint32_t number,
                       struct acl_users *users, struct buf *why) {
    struct slice keyword = next_word(&line), name = next_word(&line);
    if (keyword.len == 0) return;
    if (!slice_equal(keyword, SLICE("user")) || name.len == 0) {
        buf_printf(why, "%s:%u should start with user keyword followed by the username. ",
                   acl->file, number);
        return;
    }
    if (acl_users_find(users, name)) {
        buf_printf(why, "WARNING: Duplicate user '%.*s' found on line %u. ",
                   (int)(name.len < SHOWN_MAX ? name.len : SHOWN_MAX), name.data, number);
        return;
    }
    struct acl_rights *rights = acl_rights_create(acl_new_channels(acl));
    struct slice rule;
    const char *cause;
    while ((rule = next_word(&line)).len) {
        if (acl_rights_apply(rights, acl->ids, rule, acl_new_channels(acl), &cause)) continue;
        bool names = strchr("+-", rule.data[0]) != NULL; /* others may hold a secret */
        buf_printf(
            why, names ? "%s:%u: Error in applying operation '%.*s': %s. " : "%s:%u: %.*s%s. ",
            acl->file, number, names ? (int)(rule.len < SHOWN_MAX ? rule.len : SHOWN_MAX) : 0,
            rule.data, cause);
        break;
    }
    acl_users_add(users, name, &rights);
}

static void parse_file(const struct acl *acl, struct slice text, struct acl_users *users,
                       struct buf *why) {
    for (uint32_t number = 1; text.len; number++) {
        const char *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;
        parse_line(acl, slice_make(text.data, len), number, users, why);
        len += end != NULL;
        text = slice_make(text.data + len, text.len - len);
    }
}

/* The default user stays the same object, as its clients are not closed. */
static void replace_users(struct acl *acl, struct acl_users *fresh) {
    struct acl_user *default_user = acl_users_find(fresh, SLICE("default"));
    struct acl_rights *rights =
        default_user ? acl_rights_acquire(default_user->rights) : acl_default_rights(acl);
    pthread_mutex_lock(&acl->lock);
    struct acl_user *old = acl_users_find(&acl->users, SLICE("default"));
    acl_rights_release(&old->rights);
    old->rights = rights;
    old->references++;
    acl_users_clear(&acl->users);
    old->deleted = false;
    for (uint32_t i = 0; i < fresh->n; i++) {
        if (fresh->items[i] != default_user) continue;
        acl_user_release(default_user);
        fresh->items[i] = old;
    }
    acl->users = *fresh;
    if (!default_user) acl_users_insert(&acl->users, old);
    atomic_fetch_add_explicit(&acl->version, 1, memory_order_acq_rel);
    pthread_mutex_unlock(&acl->lock);
}

bool acl_load(struct acl *acl, struct buf *why) {
    struct buf text = {0};
    struct acl_users fresh = {0};
    bool read = read_file(acl->file, &text, why);
    if (read) parse_file(acl, buf_slice(&text), &fresh, why);
    bool right = read && why->len == 0;
    if (right) {
        replace_users(acl, &fresh);
    } else {
        acl_users_clear(&fresh);
        if (read)
            buf_append_text(why, "WARNING: ACL errors detected, no change to the previously active "
                                 "ACL rules was performed");
    }
    buf_deinit(&text);
    return right;
}

static bool write_file(const char *path, struct slice text, struct error *err) {
    char *fresh = mem_printf("%s.tmp-%d", path, (int)getpid());
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len &&
                   fsync(fd) == 0 && rename(fresh, path) == 0;
    if (!written) error_set(err, ERROR_SYSTEM, true, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    if (fd >= 0 && !written) unlink(fresh);
    mem_free(fresh);
    return written;
}

struct listing {
    const struct acl *acl;
    struct buf text;
};

static void add_line(struct slice name, const struct acl_rights *rights, void *arg) {
    struct listing *listing = arg;
    buf_printf(&listing->text, "user %.*s ", (int)name.len, name.data);
    acl_rights_describe(rights, listing->acl->ids, &listing->text);
    buf_append_char(&listing->text, '\n');
}

bool acl_save(struct acl *acl, struct error *err) {
    struct listing listing = {.acl = acl};
    acl_each_user(acl, add_line, &listing);
    bool saved = write_file(acl->file, buf_slice(&listing.text), err);
    buf_deinit(&listing.text);
    return saved;
}
