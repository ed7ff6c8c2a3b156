/* `freshet reference`: config/reference.md, from the tables of options, commands and RESP commands. */
#include <stdio.h>
#include <string.h>

#include "cache/commands/command.h"
#include "server/commands.h"
#include "server/help.h"

/* A vertical bar would end a cell of the table. */
static void print_cell(const char *text) {
    for (; *text; text++) {
        if (*text == '|') fputc('\\', stdout);
        fputc(*text, stdout);
    }
}

static void print_default(const struct option *option) {
    bool code = !option->shown && option->initial && *option->initial;
    if (option->required) {
        fputs("required", stdout);
        return;
    }
    if (code) fputc('`', stdout);
    print_cell(help_default(option));
    if (code) fputc('`', stdout);
}

static void print_row(const struct option *option, const char *prefix) {
    char type[160];
    help_type(option, type, sizeof type);
    printf("| `%s%s` | ", prefix, option->path);
    print_cell(type);
    fputs(" | ", stdout);
    print_default(option);
    fputs(" | ", stdout);
    print_cell(option->help);
    if (option->flag) printf(" Flag: `%s`.", option->flag);
    if (option->reloads) fputs(" SIGHUP takes it over.", stdout);
    fputs(" |\n", stdout);
    for (const struct option *item = option->items; item && item->path; item++) {
        char inner[96];
        snprintf(inner, sizeof inner, "%s%s", option->path,
                 option->type == OPTION_NAMED ? ".NAME." : "[].");
        if (option->type != OPTION_NAMED || item != option->items) print_row(item, inner);
    }
}

static void print_options(void) {
    fputs(
        "# Reference\n\n"
        "Written by `freshet reference`; `make reference` brings it up to date.\n\n"
        "## Options\n\n"
        "Each is a key of the YAML file (`cache.ttl` is `ttl` under `cache`), of `--set "
        "KEY=VALUE`, and\n"
        "of the environment: `FRESHET_CACHE_TTL`. A flag is stronger than the environment, the\n"
        "environment than the file. Lists are written with commas on the command line and in the\n"
        "environment; mappings and lists of mappings there as YAML: `--set 'connectors=[{name: s, "
        "...}]'`.\n"
        "`${NAME}` in a value reads the environment, `${file:PATH}` a file, and `$${` stands for "
        "`${`.\n\n"
        "| option | type | default | |\n|---|---|---|---|\n",
        stdout);
    for (const struct option *option = options; option->path; option++)
        print_row(option, "");
}

static void print_cli(void) {
    fputs("\n## Command line\n\n| command | |\n|---|---|\n", stdout);
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        const char *word = command->operand;
        printf("| `freshet %s%s", command->name, word ? " " : "");
        if (word) print_cell(word);
        for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++) {
            const char *value = flag->choices ? flag->choices : flag->argument;
            printf(" %s%s", flag->name, value ? " " : "");
            if (value) print_cell(value);
        }
        printf("` | %s |\n", command->summary);
    }
    fputs("\nExit codes: 0 done; 1 a failure; 2 a wrong command line or configuration.\n", stdout);
}

static void print_command(const struct command *command, const char *parent) {
    printf("| `%s%s%s` | ", parent, *parent ? " " : "", command->name);
    print_cell(command->summary ? command->summary : "");
    printf(" | %s |\n", command->since ? command->since : "");
    for (const struct command *sub = command->subcommands; sub && sub->name; sub++)
        print_command(sub, command->name);
}

static void print_commands(void) {
    fputs("\n## Commands of the cache\n\n"
          "As in Redis 7.0, on plain keys and, where they read, on keys of tables.\n\n"
          "| command | | since |\n|---|---|---|\n",
          stdout);
    const struct command *command;
    for (uint32_t i = 0; (command = command_at(i)); i++)
        print_command(command, "");
}

int cli_reference(const struct command_line *line) {
    (void)line;
    print_options();
    print_cli();
    print_commands();
    return EXIT_DONE;
}
