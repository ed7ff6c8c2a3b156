/* The configuration: no bytes break us, and each mistake is one printable line. The first byte says whether the rest is a
 * file, a structure given on the command line, or a value with references. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "server/config.h"
#include "server/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *text, size_t len, bool as_flag) {
    struct config_flag flags[] = {
        {"--database", "database.url", "postgres://h/d"},
        {"--set", "connectors", text},
        {"--set", "cdc.tables", text},
        {"--set", text, "1"},
    };
    char *environment[] = {NULL};
    struct config_sources sources = {
        .file = "f.yml", .environment = environment, .n_flags = as_flag ? 4 : 1, .flags = flags};
    struct mistakes *mistakes = mistakes_create();
    struct config *config =
        config_load_text(&sources, as_flag ? NULL : text, as_flag ? 0 : len, mistakes);
    for (uint32_t i = 0; mistakes_line(mistakes, i); i++) {
        const char *line = mistakes_line(mistakes, i);
        ASSERT(*line && !strchr(line, '\n') && !strchr(line, '\033'));
    }
    config_destroy(&config);
    mistakes_destroy(&mistakes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    char *text = mem_slicedup(slice_make(data + 1, size - 1));
    switch (data[0] % 3) {
    case 0: load(text, size - 1, false); break;
    case 1: load(text, size - 1, true); break;
    default: {
        struct expand_scope scope = {.folder = "/nonexistent"};
        struct why why;
        if (!strstr(text, "file:/")) mem_free(expand(text, &scope, &why));
    }
    }
    mem_free(text);
    return 0;
}
