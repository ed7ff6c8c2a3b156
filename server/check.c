/* `freshet check`: every check, one line a finding, and what mends it below. */
#include <stdio.h>
#include <string.h>

#include "server/checks.h"
#include "server/commands.h"

enum { INDENT = 26 };

static void print_mend(FILE *out, const char *mend) {
    while (*mend) {
        size_t len = strcspn(mend, "\n");
        fprintf(out, "%*s%.*s\n", INDENT, "", (int)len, mend);
        mend += len;
        if (*mend) mend++;
    }
}

static void print_finding(void *arg, const char *check, enum check_result result, const char *what,
                          const char *mend) {
    static const char *const words[] = {
        [CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "FAIL"};
    fprintf(arg, "%-5s %-19s %s\n", words[result], check, what);
    if (mend) print_mend(arg, mend);
    fflush(arg);
}

/* Counted with the others. */
static void check_source(struct check_context *all, struct config *source) {
    struct check_context context = {.config = source, .report = print_finding, .arg = stdout};
    printf("\nsource %s\n", source->source);
    checks_run(&context, CHECK_SOURCE);
    all->failures += context.failures;
    all->warnings += context.warnings;
    all->mistakes += context.mistakes;
    checks_deinit(&context);
}

int cli_check(const struct command_line *line) {
    struct config *config = cli_config(line);
    if (!config) return EXIT_MISUSED;
    struct check_context context = {.config = config, .report = print_finding, .arg = stdout};
    checks_run(&context, CHECK_ALL);
    for (uint32_t i = 0; i < config->n_sources && config->roles & ROLE_CDC; i++)
        check_source(&context, config->sources[i]);
    if (context.failures)
        printf("\n%u failure%s: `freshet run` would not work with this.\n", context.failures,
               context.failures == 1 ? "" : "s");
    else
        printf("\n`freshet run` would work%s.\n",
               context.warnings ? "; the warnings say with what limits" : "");
    int code = !context.failures                      ? EXIT_DONE
               : context.failures == context.mistakes ? EXIT_MISUSED
                                                      : EXIT_FAILED;
    checks_deinit(&context);
    config_destroy(&config);
    return code;
}
