#include "server/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "server/commands.h"
#include "server/suggest.h"

static const struct cli_flag replay_flags[] = {
    {"--source", "NAME", .help = "of which of `sources`; else of the main database"},
    {0},
};

static const struct cli_flag reset_flags[] = {
    {"--from", NULL, .choices = "snapshot|now", .required = true, .help = "where to begin"},
    {"--source", "NAME", .help = "of which of `sources`; else of the main database"},
    {0},
};

static const struct cli_flag snapshot_flags[] = {
    {"--where", "SQL", .help = "The rows for which this condition holds alone."},
    {"--source", "NAME", .help = "Of this one of `sources`."},
    {0},
};

static const struct cli_flag archive_flags[] = {
    {"--connector", "NAME", .required = true, .help = "The connector whose target is filled."},
    {0},
};

static const struct cli_flag verify_flags[] = {
    {"--repair", .help = "Write the rows of a connector's sink that differ again."},
    {"--rate", "ROWS",
     .help = "So many rows a second at most; else 20000 of a connector, 1000 of the cache."},
    {0},
};

const struct cli_command cli_commands[] = {
    {"run", cli_run, .configured = true,
     .summary = "Run the cache, the change stream and the connectors, in the foreground.",
     .details =
         "What runs follows from the configuration: a database alone runs the cache; brokers add\n"
         "the publisher, connectors add themselves. It ends with 0 after SIGTERM or SIGINT, with "
         "1\n"
         "after a failure, with 2 when the configuration is wrong. SIGHUP reads it again."},
    {"check", cli_check, .configured = true,
     .summary = "Tell what is right, what is missing, and the SQL that mends it.",
     .details =
         "Connects to everything that `run` would use, and changes nothing. Exit 0: `run` would\n"
         "work."},
    {"status", cli_status, .configured = true, .partial = true, .prints_json = true,
     .summary = "Ask a running Freshet how it is.",
     .details =
         "Asks the admin address of the configuration: --admin HOST:PORT for another. Exit 0:\n"
         "it is ready; 1: it is not, or does not answer."},
    {"snapshot", cli_snapshot, .configured = true, .partial = true, .operand = "TABLE",
     .flags = snapshot_flags, .summary = "Have a running Freshet publish a table's rows again.",
     .details =
         "Reads the table (SCHEMA.TABLE) by its key, beside the stream, which goes on meanwhile; "
         "its\n"
         "rows come as `r` events, and those that the stream has newer are left out. It asks the\n"
         "admin address (--admin HOST:PORT) and waits until it is done; cut short, it goes on "
         "without\n"
         "the waiting. Exit 0: all of it is published; 1: it is not."},
    {"verify", cli_verify, .configured = true, .partial = true,
     .operand = "cache|CONNECTOR|ARCHIVE", .flags = verify_flags,
     .summary = "Compare the cache, or a connector's sink, with the database.",
     .details =
         "`verify cache`: every entry of a running Freshet's memory is read again "
         "(cache.verify_rate of\n"
         "them a second, else 1000) and what is wrong by the rules of coherence is told: nothing "
         "should\n"
         "be.\n"
         "`verify NAME`, of a connector: every row of its table is compared with the sink, and "
         "every key\n"
         "of the sink with the table, beside the stream, and each difference that stays is named: "
         "missing,\n"
         "extra, changed, or older; --repair writes the rows that differ again.\n"
         "Both ask the admin address (--admin HOST:PORT) of the process that runs it, and wait "
         "until "
         "it is\n"
         "done. `verify /PATH`, or the name of an archive's connector: each segment of the archive "
         "is\n"
         "read and compared with the manifest, in this process.\n"
         "Exit 0: nothing is wrong, or all of it is repaired; 1: something is, or it could not be "
         "told."},
    {"rebuild", cli_rebuild, .configured = true, .partial = true, .operand = "NAME",
     .summary = "Fill a connector's target anew, and put it in the old one's place.",
     .details =
         "The table is read into a new index; the old one is served and kept in step meanwhile, "
         "and "
         "when\n"
         "the new one has caught up, all aliases go over to it in one request. It asks the admin "
         "address\n"
         "(--admin HOST:PORT) and waits until it is done; cut short, it goes on without the "
         "waiting.\n"
         "Exit 0: the new one is served; 1: the old one is."},
    {"connector pause", cli_connector_pause, .configured = true, .partial = true, .operand = "NAME",
     .summary = "Have a running connector write nothing until it is resumed.",
     .details =
         "It stays paused over restarts. Changes wait meanwhile, at the server as WAL: see the "
         "option\n"
         "max_retained_wal. It asks the admin address (--admin HOST:PORT)."},
    {"connector resume", cli_connector_resume, .configured = true, .partial = true,
     .operand = "NAME", .summary = "Have a paused connector go on.",
     .details = "It asks the admin address (--admin HOST:PORT)."},
    {"connector retry", cli_connector_retry, .configured = true, .partial = true, .operand = "NAME",
     .summary = "Have a running connector try its dead letters again.",
     .details =
         "Each row that the target refused is read again and written as it is now, or removed "
         "where\n"
         "it is gone; what is refused once more is a dead letter again. It asks the admin address\n"
         "(--admin HOST:PORT) and waits until it is done. Exit 0: no dead letter is left; 1: some "
         "are,\n"
         "or it could not be told."},
    {"cdc reset", cli_cdc_reset, .configured = true, .flags = reset_flags,
     .summary = "Give up the publisher's slot and position, and begin anew on purpose.",
     .details =
         "Where the slot is lost, was made anew, or belongs to another history than the position,\n"
         "the publisher refuses to go on: changes would be missing unnoticed. `--from snapshot` "
         "has\n"
         "`run` publish all rows anew, and then the stream; `--from now` leaves out what was "
         "changed\n"
         "since the position. No process may stream from the slot meanwhile; one that was refused\n"
         "may run, and goes on by itself."},
    {"cdc replay", cli_cdc_replay, .configured = true, .flags = replay_flags,
     .summary = "Publish again what stands in the topic of dead letters.",
     .details =
         "Events that could not be encoded, or that Kafka refused, are in PREFIX.dead-letters. "
         "Once\n"
         "the cause is mended (max.message.bytes of the topic, cdc.format.non_finite, ...), this\n"
         "publishes them, each once however often it is run: what it has read is kept as offsets "
         "of "
         "the\n"
         "consumer group freshet-PREFIX-SLOT-replay. What still cannot be published becomes a "
         "dead\n"
         "letter again. It may run beside `freshet run`; events of one row then come in the order "
         "of\n"
         "publication, an older one behind newer ones. Exit 0: no dead letter is left; 1: some "
         "are."},
    {"replay", cli_replay, .configured = true, .operand = "ARCHIVE", .flags = archive_flags,
     .summary = "Write an archive into the target of a connector.",
     .details =
         "Reads the folder that a connector of type `archive` wrote, from its beginning, and "
         "applies\n"
         "what it holds in its order. Each segment's checksum is looked at first: a damaged one "
         "ends\n"
         "the replay before it. The connector must not run meanwhile; when it runs again it loads\n"
         "its table. Exit 0: all of it is written; 1: some was refused (dead letters), or it "
         "failed."},
    {"reference", cli_reference,
     .summary = "Print the reference of options and commands, in Markdown."},
    {"help", cli_help, .summary = "Print the help of a command: freshet help run."},
    {0},
};

static const struct cli_command *find_command(const char *name) {
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) return command;
    }
    return NULL;
}

/* Does it begin the name of a command of two words? */
static bool is_first_word(const char *word) {
    size_t len = strlen(word);
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        if (strncmp(command->name, word, len) == 0 && command->name[len] == ' ') return true;
    }
    return false;
}

/* The place of a flag among the command's own, or -1. */
static int find_flag(const struct cli_command *command, const char *name) {
    for (int i = 0; command && command->flags && command->flags[i].name; i++) {
        ASSERT(i < CLI_FLAGS_MAX);
        if (strcmp(command->flags[i].name, name) == 0) return i;
    }
    return -1;
}

const char *cli_flag(const struct command_line *line, const char *name) {
    int at = find_flag(line->command, name);
    ASSERT(at >= 0);
    return line->flag_values[at];
}

/* The arguments not yet looked at. */
struct cursor {
    int argc;
    char **argv;
    int at;
    const char *first_word; /* of a command of two; NULL: none was read */
    struct command_line *line;
    struct mistakes *mistakes;
};

static const char *const plain_flags[] = {"--help", "--version", "--config", "--set", "--json"};

static bool takes_value(const char *flag) {
    if (strcmp(flag, "-c") == 0 || strcmp(flag, "--config") == 0) return true;
    if (strcmp(flag, "--set") == 0) return true;
    for (const struct option *option = options; option->path; option++) {
        if (option->flag && strcmp(option->flag, flag) == 0) return true;
    }
    return false;
}

static void unknown_flag(struct cursor *cursor, const char *flag) {
    struct suggestion suggestion = {.word = flag};
    for (size_t i = 0; i < sizeof plain_flags / sizeof *plain_flags; i++)
        suggest(&suggestion, plain_flags[i]);
    const struct cli_flag *own = cursor->line->command ? cursor->line->command->flags : NULL;
    for (; own && own->name; own++)
        suggest(&suggestion, own->name);
    for (const struct option *option = options; option->path; option++) {
        if (option->flag) suggest(&suggestion, option->flag);
    }
    if (suggestion.best && suggestion.distance == 0) {
        mistakes_add(cursor->mistakes, "command line", flag,
                     "does not belong here, see freshet %s--help",
                     cursor->line->command ? "COMMAND " : "");
        if (takes_value(flag) && !strchr(cursor->argv[cursor->at - 1], '=')) cursor->at++;
    } else if (suggestion.best) {
        mistakes_add(cursor->mistakes, "command line", flag, "is unknown, did you mean \"%s\"?",
                     suggestion.best);
        /* Its value is no mistake of its own. */
        bool has_value = cursor->at < cursor->argc && cursor->argv[cursor->at][0] != '-';
        if (takes_value(suggestion.best) && has_value && !strchr(cursor->argv[cursor->at - 1], '='))
            cursor->at++;
    } else
        mistakes_add(cursor->mistakes, "command line", flag, "is unknown, see freshet %s--help",
                     cursor->line->command ? "COMMAND " : "");
}

static void add_setting(struct cursor *cursor, const char *name, const char *path,
                        const char *text) {
    struct config_sources *sources = &cursor->line->sources;
    struct config_flag *flags =
        arena_alloc(cursor->line->arena, (sources->n_flags + 1) * sizeof *flags);
    if (sources->n_flags) memcpy(flags, sources->flags, sources->n_flags * sizeof *flags);
    flags[sources->n_flags++] = (struct config_flag){.name = name, .path = path, .text = text};
    sources->flags = flags;
}

/* --set cache.ttl=5m */
static void add_set(struct cursor *cursor, const char *text) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        mistakes_add(cursor->mistakes, "command line", "--set", "\"%.80s\" is not KEY=VALUE", text);
        return;
    }
    struct arena *arena = cursor->line->arena;
    const char *path = arena_dup(arena, slice_make(text, (size_t)(equals - text))).data;
    add_setting(cursor, "--set", path, equals + 1);
}

static bool set_value_flag(struct cursor *cursor, const char *flag, const char *value) {
    if (strcmp(flag, "-c") == 0 || strcmp(flag, "--config") == 0) {
        if (cursor->line->sources.file)
            mistakes_add(cursor->mistakes, "command line", flag, "stands there twice");
        cursor->line->sources.file = value;
        return true;
    }
    if (strcmp(flag, "--set") == 0) {
        add_set(cursor, value);
        return true;
    }
    for (const struct option *option = options; option->path; option++) {
        if (!option->flag || strcmp(option->flag, flag) != 0) continue;
        add_setting(cursor, option->flag, option->path, value);
        return true;
    }
    return false;
}

/* One of the command's own. */
static void set_own_flag(struct cursor *cursor, int at, const char *value) {
    const struct cli_flag *flag = &cursor->line->command->flags[at];
    if (flag->choices && choice_find(flag->choices, value, strlen(value)) < 0)
        mistakes_add(cursor->mistakes, "command line", flag->name,
                     "\"%.60s\" is not known, it takes %s", value, flag->choices);
    else if (cursor->line->flag_values[at])
        mistakes_add(cursor->mistakes, "command line", flag->name, "stands there twice");
    cursor->line->flag_values[at] = value;
}

static bool set_plain_flag(struct command_line *line, const char *flag) {
    if (strcmp(flag, "--help") == 0 || strcmp(flag, "-h") == 0) return line->help = true;
    if (strcmp(flag, "--version") == 0) return line->version = true;
    if (strcmp(flag, "--json") == 0 && line->command && line->command->prints_json)
        return line->json = true;
    return false;
}

static bool is_switch(const struct cli_flag *flag) { return !flag->argument && !flag->choices; }

/* "--name value", "--name=value", "-c value", "--switch". */
static void parse_flag(struct cursor *cursor) {
    char *argument = cursor->argv[cursor->at++];
    if (set_plain_flag(cursor->line, argument)) return;
    size_t len = strcspn(argument, "=");
    const char *flag = arena_dup(cursor->line->arena, slice_make(argument, len)).data;
    int own = find_flag(cursor->line->command, flag);
    bool configured = cursor->line->command && cursor->line->command->configured;
    if (own < 0 && (!configured || !takes_value(flag))) {
        unknown_flag(cursor, flag);
        return;
    }
    const char *value = NULL;
    if (argument[len] == '=')
        value = argument + len + 1;
    else if (own >= 0 && is_switch(&cursor->line->command->flags[own]))
        value = "";
    else if (cursor->at < cursor->argc)
        value = cursor->argv[cursor->at++];
    if (!value) {
        mistakes_add(cursor->mistakes, "command line", flag, "needs a value");
        return;
    }
    if (own >= 0 && *value && is_switch(&cursor->line->command->flags[own])) {
        mistakes_add(cursor->mistakes, "command line", flag, "takes no value");
        return;
    }
    if (own >= 0) {
        set_own_flag(cursor, own, value);
        return;
    }
    bool known = set_value_flag(cursor, flag, value);
    ASSERT(known);
}

/* "cdc" and "reset" as "cdc reset". */
static const char *join_words(struct cursor *cursor, const char *first, const char *second) {
    if (!first) return second;
    char *both = mem_printf("%s %s", first, second);
    const char *copy = arena_strdup(cursor->line->arena, both);
    mem_free(both);
    return copy;
}

static void parse_command(struct cursor *cursor, const char *word) {
    const char *name = join_words(cursor, cursor->first_word, word);
    cursor->line->command = find_command(name);
    if (cursor->line->command) return;
    if (!cursor->first_word && is_first_word(word)) {
        cursor->first_word = word;
        return;
    }
    struct suggestion suggestion = {.word = name};
    for (const struct cli_command *command = cli_commands; command->name; command++)
        suggest(&suggestion, command->name);
    mistakes_add(cursor->mistakes, "command line", name, "is no command, %s%s%s",
                 suggestion.best ? "did you mean \"" : "see freshet --help",
                 suggestion.best ? suggestion.best : "", suggestion.best ? "\"?" : "");
    cursor->at = cursor->argc; /* what follows cannot be judged */
    cursor->first_word = NULL;
}

static void parse_word(struct cursor *cursor) {
    const char *word = cursor->argv[cursor->at++];
    struct command_line *line = cursor->line;
    if (!line->command) {
        parse_command(cursor, word);
    } else if (line->command->run == cli_help && !line->topic) {
        line->topic = word;
    } else if (line->command->run == cli_help && is_first_word(line->topic)) {
        line->topic = join_words(cursor, line->topic, word);
    } else if (line->command->operand && !line->operand) {
        line->operand = word;
    } else {
        mistakes_add(cursor->mistakes, "command line", word, "is one word too many");
    }
}

/* What the command cannot do without. */
static void check_complete(struct cursor *cursor) {
    const struct command_line *line = cursor->line;
    const struct cli_command *command = line->command;
    if (line->help) return;
    if (!command && cursor->first_word)
        mistakes_add(cursor->mistakes, "command line", cursor->first_word,
                     "needs a second word, see freshet --help");
    if (!command) return;
    if (command->operand && !line->operand)
        mistakes_add(cursor->mistakes, "command line", command->name, "of what? freshet %s %s",
                     command->name, command->operand);
    for (int i = 0; command->flags && command->flags[i].name; i++) {
        const struct cli_flag *flag = &command->flags[i];
        if (flag->required && !line->flag_values[i])
            mistakes_add(cursor->mistakes, "command line", flag->name, "is missing: %s %s",
                         flag->name, flag->choices ? flag->choices : flag->argument);
    }
}

void cli_parse(struct command_line *line, int argc, char **argv, char *const *environment,
               struct mistakes *mistakes) {
    *line = (struct command_line){.arena = arena_create(4096)};
    line->sources.environment = environment;
    struct cursor cursor = {
        .argc = argc, .argv = argv, .at = 1, .line = line, .mistakes = mistakes};
    while (cursor.at < argc) {
        if (argv[cursor.at][0] == '-')
            parse_flag(&cursor);
        else
            parse_word(&cursor);
    }
    check_complete(&cursor);
    /* What was not understood may be what seems to be missing. */
    line->sources.partial = (line->command && line->command->partial) || mistakes_count(mistakes);
}

void cli_deinit(struct command_line *line) { arena_destroy(&line->arena); }

struct config *cli_config(const struct command_line *line) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    if (mistakes_count(mistakes)) {
        mistakes_print(mistakes, stderr);
        config_destroy(&config);
    }
    mistakes_destroy(&mistakes);
    return config;
}
