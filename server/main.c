#include <stdio.h>
#include <unistd.h>

#include "server/cli.h"
#include "server/help.h"
#include "server/mistakes.h"

int main(int argc, char **argv) {
    struct mistakes *mistakes = mistakes_create();
    struct command_line line;
    cli_parse(&line, argc, argv, environ, mistakes);
    int code = EXIT_MISUSED;
    if (line.help) {
        help_print(stdout, line.command);
        code = EXIT_DONE;
    } else if (line.version) {
        printf("freshet %s\n", FRESHET_VERSION);
        code = EXIT_DONE;
    } else if (line.command && line.command->configured) {
        /* The mistakes of the flags and those of the configuration, in one run. */
        struct config *config = config_load(&line.sources, mistakes);
        config_destroy(&config);
        if (mistakes_count(mistakes) == 0) code = line.command->run(&line);
    } else if (mistakes_count(mistakes) == 0 && line.command) {
        code = line.command->run(&line);
    } else if (mistakes_count(mistakes) == 0) {
        help_print(stderr, NULL);
    }
    mistakes_print(mistakes, stderr);
    mistakes_destroy(&mistakes);
    cli_deinit(&line);
    return code;
}
