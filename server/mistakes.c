#include "server/mistakes.h"

#include <stdarg.h>

#include "base/arena.h"
#include "base/mem.h"

struct mistakes {
    struct arena *arena;
    uint32_t n;
    const char *lines[MISTAKES_MAX];
};

struct mistakes *mistakes_create(void) {
    struct mistakes *mistakes = mem_zalloc(sizeof *mistakes);
    mistakes->arena = arena_create(4096);
    return mistakes;
}

void mistakes_destroy(struct mistakes **mistakes) {
    if (!*mistakes) return;
    arena_destroy(&(*mistakes)->arena);
    mem_free(*mistakes);
    *mistakes = NULL;
}

/* A file's bytes may stand in a message: what is not printable must not reach a terminal as it is. */
static void make_printable(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
    }
}

void mistakes_add(struct mistakes *mistakes, const char *where, const char *key, const char *format,
                  ...) {
    uint32_t place = mistakes->n++;
    if (place >= MISTAKES_MAX) return;
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    char *line = key && *key ? mem_printf("%s: %.200s: %s", where, key, what)
                             : mem_printf("%s: %s", where, what);
    make_printable(line);
    mistakes->lines[place] = arena_strdup(mistakes->arena, line);
    mem_free(line);
}

uint32_t mistakes_count(const struct mistakes *mistakes) { return mistakes->n; }

const char *mistakes_line(const struct mistakes *mistakes, uint32_t i) {
    return i < mistakes->n && i < MISTAKES_MAX ? mistakes->lines[i] : NULL;
}

void mistakes_print(const struct mistakes *mistakes, FILE *out) {
    for (uint32_t i = 0; mistakes_line(mistakes, i); i++)
        fprintf(out, "%s\n", mistakes_line(mistakes, i));
    if (mistakes->n > MISTAKES_MAX)
        fprintf(out, "... and %u mistakes more\n", mistakes->n - MISTAKES_MAX);
}
