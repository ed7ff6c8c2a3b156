#include "server/help.h"

#include <string.h>

#include "server/commands.h"

enum { WIDTH = 98, INDENT = 6 };

const char *help_default(const struct option *option) {
    if (option->shown) return option->shown;
    if (option->initial && *option->initial) return option->initial;
    return "none";
}

void help_type(const struct option *option, char *out, size_t size) {
    bool fixed = option->type == OPTION_CHOICE || option->type == OPTION_SET ||
                 option->type == OPTION_LETTERS || option->type == OPTION_WORD;
    if (!fixed) {
        snprintf(out, size, "%s", option_type_name(option));
        return;
    }
    bool many = option->type == OPTION_SET || option->type == OPTION_LETTERS;
    size_t used = (size_t)snprintf(out, size, "%s", many ? "some of " : "");
    if (option->choices) {
        for (const char *c = option->choices; *c && used + 4 < size; c++)
            used += (size_t)snprintf(out + used, size - used, *c == '|' ? " | " : "%c", *c);
        return;
    }
    for (const char *const *word = option->words(); *word && used < size; word++)
        used += (size_t)snprintf(out + used, size - used, "%s%s",
                                 word == option->words() ? "" : " | ", *word);
}

/* Broken between words, each line behind the indent; backquotes are the reference's, not a terminal's. */
static void print_wrapped(FILE *out, const char *text) {
    size_t column = 0;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column == 0 || column + 1 + len > WIDTH) {
            fprintf(out, "%s%*s", column ? "\n" : "", INDENT, "");
            column = INDENT;
        } else {
            fputc(' ', out);
            column++;
        }
        for (size_t i = 0; i < len; i++) {
            if (text[i] != '`') fputc(text[i], out);
        }
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct option *option, const char *prefix) {
    char type[160];
    help_type(option, type, sizeof type);
    fprintf(out, "  %s%s", prefix, option->path);
    if (option->flag) fprintf(out, "   %s %s", option->flag, option->argument);
    fprintf(out, "   (%s; ", type);
    if (option->required)
        fprintf(out, "required)\n");
    else {
        fputs("default: ", out);
        for (const char *c = help_default(option); *c; c++) {
            if (*c != '`') fputc(*c, out);
        }
        fputs(")\n", out);
    }
    print_wrapped(out, option->help);
    for (const struct option *item = option->items; item && item->path; item++) {
        char inner[96];
        snprintf(inner, sizeof inner, "%s%s", option->path,
                 option->type == OPTION_NAMED ? ".NAME." : "[].");
        if (option->type != OPTION_NAMED || item != option->items) print_option(out, item, inner);
    }
}

static void print_flags(FILE *out, const struct cli_command *command) {
    fputs("\nFlags:\n", out);
    if (command->configured) {
        fputs("  -c, --config FILE      the configuration, in YAML\n"
              "  --set KEY=VALUE        any option below; may be repeated\n",
              out);
        for (const struct option *option = options; option->path; option++) {
            if (!option->flag) continue;
            char flag[64];
            snprintf(flag, sizeof flag, "%s %s", option->flag, option->argument);
            fprintf(out, "  %-22s %s\n", flag, option->path);
        }
    }
    for (const struct cli_flag *own = command->flags; own && own->name; own++) {
        char flag[64];
        const char *value = own->choices ? own->choices : own->argument;
        snprintf(flag, sizeof flag, "%s%s%s", own->name, value ? " " : "", value ? value : "");
        fprintf(out, "  %-22s %s%s\n", flag, own->help, own->required ? " (required)" : "");
    }
    if (command->prints_json) fputs("  --json                 as JSON\n", out);
    fputs("  -h, --help             this\n", out);
}

static void print_command(FILE *out, const struct cli_command *command) {
    fprintf(out, "freshet %s: %s\n", command->name, command->summary);
    if (command->details) fprintf(out, "\n%s\n", command->details);
    const char *word = command->operand;
    fprintf(out, "\nUsage: freshet %s%s%s%s\n", command->name, word ? " " : "", word ? word : "",
            command->run == cli_help ? " [COMMAND]" : " [FLAGS]");
    print_flags(out, command);
    if (!command->configured) return;
    fputs("\nOptions, as keys of the file. Each can be given as --set KEY=VALUE and in the "
          "environment, as\n"
          "FRESHET_CACHE_TTL for cache.ttl; a flag is stronger than the environment, that than the "
          "file.\n"
          "Durations and sizes carry units: 250ms, 5m, 64MiB. ${NAME} reads the environment, "
          "${file:PATH}\n"
          "a file.\n\n",
          out);
    for (const struct option *option = options; option->path; option++)
        print_option(out, option, "");
}

void help_print(FILE *out, const struct cli_command *command) {
    if (command && command->run != cli_help) {
        print_command(out, command);
        return;
    }
    fputs("freshet: a read-through cache that speaks Redis's protocol in front of PostgreSQL, and "
          "keeps\n"
          "itself, a Kafka change stream and search indexes in step with every committed row.\n\n"
          "Usage: freshet COMMAND [FLAGS]\n\nCommands:\n",
          out);
    for (const struct cli_command *each = cli_commands; each->name; each++)
        fprintf(out, "  %-11s %s\n", each->name, each->summary);
    fputs("\nFlags:\n"
          "  -h, --help   this; freshet COMMAND --help lists the command's flags and every option\n"
          "  --version    the version\n\n"
          "Begin with: freshet check --database postgres://user@host/database\n",
          out);
}

int cli_help(const struct command_line *line) {
    if (!line->topic) {
        help_print(stdout, NULL);
        return EXIT_DONE;
    }
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        if (strcmp(command->name, line->topic) != 0) continue;
        help_print(stdout, command);
        return EXIT_DONE;
    }
    fprintf(stderr, "command line: %s: is no command, see freshet --help\n", line->topic);
    return EXIT_MISUSED;
}
