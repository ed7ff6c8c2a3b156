#include "server/preflight.h"

#include <stdio.h>

#include "server/checks.h"
#include "server/cli.h"

static void log_finding(void *arg, const char *check, enum check_result result, const char *what,
                        const char *mend) {
    struct log *log = arg;
    if (result == CHECK_OK) return;
    char one_line[600] = "";
    snprintf(one_line, sizeof one_line, "%s", mend ? mend : "");
    for (char *c = one_line; *c; c++) {
        if (*c == '\n') *c = ' ';
    }
    log_event(log, result == CHECK_FAIL ? LOG_ERROR : LOG_WARN,
              result == CHECK_FAIL ? "cannot_run" : "limited",
              "check=\"%s\" cause=\"%s\" mend=\"%s\"", check, what, one_line);
}

int preflight(struct config *config, struct log *log) {
    struct check_context context = {.config = config, .report = log_finding, .arg = log};
    checks_run(&context, CHECK_START);
    int code = !context.failures                      ? EXIT_DONE
               : context.failures == context.mistakes ? EXIT_MISUSED
                                                      : EXIT_FAILED;
    checks_deinit(&context);
    return code;
}
