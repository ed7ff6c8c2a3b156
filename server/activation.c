#include "server/activation.h"

#include <stdlib.h>
#include <string.h>

#include "server/expand.h"

enum { FIRST_FD = 3, SOCKETS_MAX = 64 };

static const char *get(char *const *environment, const char *name) {
    return environment_get(environment, name, strlen(name));
}

static bool read_number(const char *text, long *number) {
    char *end;
    if (!text || !*text) return false;
    *number = strtol(text, &end, 10);
    return !*end && *number > 0;
}

uint32_t activation_read(char *const *environment, pid_t self, struct arena *arena,
                         const struct cache_socket **sockets) {
    long pid, n;
    if (!read_number(get(environment, "LISTEN_PID"), &pid) || pid != (long)self) return 0;
    if (!read_number(get(environment, "LISTEN_FDS"), &n) || n > SOCKETS_MAX) return 0;
    struct cache_socket *all = arena_zalloc(arena, (size_t)n * sizeof *all);
    const char *names = get(environment, "LISTEN_FDNAMES");
    for (long i = 0; i < n; i++) {
        size_t len = names ? strcspn(names, ":") : 0;
        all[i].fd = FIRST_FD + (int)i;
        all[i].speaks_tls = len == 3 && strncmp(names, "tls", 3) == 0;
        if (names) names += len + (names[len] == ':');
    }
    *sockets = all;
    return (uint32_t)n;
}
