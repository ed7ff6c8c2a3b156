/* config_test.h: a configuration from texts, and what it says is wrong. */
#ifndef FRESHET_TESTS_CONFIG_H
#define FRESHET_TESTS_CONFIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/config.h"

struct trial {
    struct config_sources sources;
    struct config_flag flags[8];
    const char *environment[8];
    struct mistakes *mistakes;
    struct config *config;
};

static inline void trial_load(struct trial *trial, const char *yaml) {
    trial->sources.file = yaml ? "f.yml" : NULL;
    trial->sources.flags = trial->flags;
    while (trial->flags[trial->sources.n_flags].path)
        trial->sources.n_flags++;
    trial->sources.environment = (char *const *)(uintptr_t)trial->environment;
    trial->mistakes = mistakes_create();
    trial->config =
        config_load_text(&trial->sources, yaml, yaml ? strlen(yaml) : 0, trial->mistakes);
}

static inline void trial_end(struct trial *trial) {
    config_destroy(&trial->config);
    mistakes_destroy(&trial->mistakes);
}

static inline void assert_no_mistakes(const struct trial *trial) {
    if (mistakes_count(trial->mistakes))
        fail_msg("unexpected: %s", mistakes_line(trial->mistakes, 0));
}

/* Exactly these lines, up to a NULL. */
static inline void assert_mistakes(const struct trial *trial, const char *const *lines) {
    uint32_t i = 0;
    for (; lines[i]; i++) {
        const char *line = mistakes_line(trial->mistakes, i);
        if (!line) fail_msg("missing: %s", lines[i]);
        assert_string_equal(line, lines[i]);
    }
    if (mistakes_line(trial->mistakes, i))
        fail_msg("unexpected: %s", mistakes_line(trial->mistakes, i));
}

#define MISTAKES(...)                                                                              \
    (const char *const[]) { __VA_ARGS__, NULL }

#endif
