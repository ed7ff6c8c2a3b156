#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_fail(const char *condition, const char *file, int line) {
    fprintf(stderr, "assertion_failed condition=\"%s\" at=%s:%d\n", condition, file, line);
    abort();
}
