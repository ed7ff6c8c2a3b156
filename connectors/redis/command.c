#include "connectors/redis/command.h"

#include <stdarg.h>

void command_text(struct buf *out, int n, ...) {
    va_list args;
    va_start(args, n);
    command_begin(out, (size_t)n);
    for (int i = 0; i < n; i++)
        command_text_arg(out, va_arg(args, const char *));
    va_end(args);
}
