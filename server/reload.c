#include "server/reload.h"

#include <string.h>

/* One row an option that is taken over: the table of options says which these are. */
static void take_over(const char *path, const struct config *fresh, struct log *log) {
    if (strcmp(path, "log.level") == 0) log_set_level(log, (enum log_level)fresh->log_level);
}

static bool differs(const struct config *a, const struct config *b, int option) {
    return strcmp(a->values[option].text, b->values[option].text) != 0;
}

static void compare(struct config *config, const struct config *fresh, struct log *log) {
    uint32_t taken = 0;
    uint32_t left = 0;
    for (int i = 0; options[i].path; i++) {
        if (!differs(config, fresh, i)) continue;
        struct buf from = {0};
        struct buf to = {0};
        config_show(&options[i], config->values[i].text, &from);
        config_show(&options[i], fresh->values[i].text, &to);
        log_event(log, options[i].reloads ? LOG_INFO : LOG_WARN,
                  options[i].reloads ? "option_changed" : "option_needs_restart",
                  "option=%s from=\"%s\" to=\"%s\"", options[i].path, buf_text(&from),
                  buf_text(&to));
        buf_deinit(&from);
        buf_deinit(&to);
        if (!options[i].reloads) {
            left++;
            continue;
        }
        taken++;
        take_over(options[i].path, fresh, log);
        config->values[i].text = arena_strdup(config->arena, fresh->values[i].text);
    }
    log_info(log, "reloaded", "changed=%u need_restart=%u", taken, left);
}

void reload(const struct command_line *line, struct config *config, struct log *log) {
    struct mistakes *mistakes = mistakes_create();
    struct config *fresh = config_load(&line->sources, mistakes);
    for (uint32_t i = 0; mistakes_line(mistakes, i); i++)
        log_error(log, "reload_refused", "cause=\"%s\"", mistakes_line(mistakes, i));
    if (mistakes_count(mistakes) == 0) compare(config, fresh, log);
    config_destroy(&fresh);
    mistakes_destroy(&mistakes);
}
