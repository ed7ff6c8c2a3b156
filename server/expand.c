#include "server/expand.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

const char *environment_get(char *const *environment, const char *name, size_t name_len) {
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, name_len) == 0 && (*environment)[name_len] == '=')
            return *environment + name_len + 1;
    }
    return NULL;
}

static bool read_all(int fd, struct buf *out) {
    size_t start = out->len;
    while (out->len - start <= EXPAND_FILE_MAX) {
        ssize_t n = read(fd, buf_reserve(out, 4096), 4096);
        if (n == 0) return true;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        out->len += (size_t)n;
    }
    errno = EFBIG;
    return false;
}

static bool append_file(struct buf *out, const char *path, const struct expand_scope *scope,
                        struct why *why) {
    bool relative = path[0] != '/' && scope->folder;
    char *full = mem_printf("%s%s%s", relative ? scope->folder : "", relative ? "/" : "", path);
    size_t start = out->len;
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool done = fd >= 0 && read_all(fd, out);
    if (!done) why_set(why, "cannot read \"%.120s\": %s", full, strerror(errno));
    if (fd >= 0) close(fd);
    mem_free(full);
    if (!done) return false;
    if (memchr(out->data + start, '\0', out->len - start))
        return why_set(why, "\"%.120s\" holds a NUL byte", path);
    if (out->len > start && out->data[out->len - 1] == '\n') out->len--;
    if (out->len > start && out->data[out->len - 1] == '\r') out->len--;
    return true;
}

static bool is_name(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        bool letter = (text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= 'a' && text[i] <= 'z');
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (!letter && text[i] != '_' && (!digit || i == 0)) return false;
    }
    return len > 0;
}

/* `inner`: what stands between the braces. */
static bool append_reference(struct buf *out, const char *inner, size_t len,
                             const struct expand_scope *scope, struct why *why) {
    static const char file[] = "file:";
    if (len > sizeof file - 1 && strncmp(inner, file, sizeof file - 1) == 0) {
        char *path = mem_slicedup(slice_make(inner + sizeof file - 1, len - (sizeof file - 1)));
        bool done = append_file(out, path, scope, why);
        mem_free(path);
        return done;
    }
    int shown = len > 60 ? 60 : (int)len;
    if (!is_name(inner, len))
        return why_set(why, "${%.*s} is neither ${NAME} nor ${file:PATH}; $${ stands for ${ itself",
                       shown, inner);
    const char *value = environment_get(scope->environment, inner, len);
    if (!value) return why_set(why, "${%.*s} is not set in the environment", shown, inner);
    buf_append_text(out, value);
    return true;
}

static bool append_expanded(struct buf *out, const char *text, const struct expand_scope *scope,
                            struct why *why) {
    while (*text) {
        if (strncmp(text, "$${", 3) == 0) {
            buf_append_text(out, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            const char *end = strchr(text, '}');
            if (!end) return why_set(why, "\"${\" without its \"}\"; $${ stands for ${ itself");
            if (!append_reference(out, text + 2, (size_t)(end - text - 2), scope, why))
                return false;
            text = end + 1;
        } else {
            buf_append_char(out, *text++);
        }
    }
    return true;
}

char *expand(const char *text, const struct expand_scope *scope, struct why *why) {
    struct buf out = {0};
    if (!append_expanded(&out, text, scope, why)) {
        buf_deinit(&out);
        return NULL;
    }
    buf_text(&out);
    return out.data;
}
