/* `freshet run`: from the configuration to a running service, and signals while it runs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/activation.h"
#include "server/admin.h"
#include "server/commands.h"
#include "server/preflight.h"
#include "server/process.h"
#include "server/reload.h"
#include "server/samplers.h"
#include "server/service.h"

enum { SUPERVISE_NS = 50 * 1000 * 1000, RETURN_MEMORY_MS = 1000 };

/* What `run` holds, in the order in which it is made. */
struct daemon {
    const struct command_line *line;
    struct config *config;
    struct log *log;
    struct metrics *metrics;
    struct service *service;
    struct samplers samplers;
    struct admin *admin;
    bool told_ready;
};

/* Every thread that is made later inherits the mask, so only the main thread takes these, in sigtimedwait. */
static sigset_t block_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static bool fail(struct daemon *daemon, const struct error *err) {
    log_error(daemon->log, "cannot_run", "cause=\"%s\"", err->message);
    return false;
}

static void warn_of_variables(struct daemon *daemon) {
    uint32_t at = 0;
    size_t len;
    const char *name;
    while ((name = config_unknown_variable(daemon->line->sources.environment, &at, &len)))
        log_warn(daemon->log, "variable_ignored", "name=%.*s", (int)(len < 100 ? len : 100), name);
}

static void tell_retained(void *service, const char *slot, uint64_t wal_bytes) {
    service_retains(service, slot, wal_bytes);
}

static bool start(struct daemon *daemon) {
    struct error err;
    struct service_deps deps = {.log = daemon->log, .metrics = daemon->metrics};
    daemon->service = service_create(daemon->config, &deps, &err);
    if (!daemon->service) return fail(daemon, &err);
    struct sampler_listener listener = {.retains = tell_retained, .arg = daemon->service};
    samplers_create(&daemon->samplers, daemon->config, listener, daemon->log, daemon->metrics);
    struct admin_deps admin_deps = {
        .metrics = daemon->metrics, .service = daemon->service, .samplers = &daemon->samplers};
    daemon->admin = admin_create(daemon->config->admin_listen, &admin_deps, &err);
    if (!daemon->admin) return fail(daemon, &err);
    if (!service_start(daemon->service, &err)) return fail(daemon, &err);
    return true;
}

static void tell_ready(struct daemon *daemon) {
    struct service_health health;
    if (daemon->told_ready) return;
    service_health(daemon->service, &health);
    if (!health.ready) return;
    daemon->told_ready = true;
    uint16_t tls_port = service_tls_port(daemon->service);
    char tls[32] = "";
    if (tls_port) snprintf(tls, sizeof tls, " tls_port=%u", tls_port);
    log_info(daemon->log, "ready", "version=%s cache_port=%u%s admin_port=%u", FRESHET_VERSION,
             service_cache_port(daemon->service), tls, admin_port(daemon->admin));
}

/* Until SIGTERM or SIGINT, or until nothing is left that works. The exit code. */
static int supervise(struct daemon *daemon, const sigset_t *signals) {
    for (;;) {
        struct timespec wait = {.tv_nsec = SUPERVISE_NS};
        int signal_number = sigtimedwait(signals, NULL, &wait);
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            log_info(daemon->log, "stopping", "signal=%s",
                     signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
            return EXIT_DONE;
        }
        if (signal_number == SIGHUP) {
            reload(daemon->line, daemon->config, daemon->log);
            service_reload(daemon->service);
        }
        service_supervise(daemon->service, clock_mono_us());
        tell_ready(daemon);
        if (service_done(daemon->service)) {
            log_info(daemon->log, "done", "cause=\"the snapshot is complete (initial_only)\"");
            return EXIT_DONE;
        }
        if (service_failed(daemon->service)) {
            log_error(daemon->log, "failed", "cause=\"every feed has failed for good\"");
            return EXIT_FAILED;
        }
    }
}

/* A second Ctrl-C does not wait for what is being drained. */
static void let_interrupt(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void stop(struct daemon *daemon) {
    let_interrupt();
    if (daemon->service) service_stop(daemon->service);
    admin_destroy(&daemon->admin);
    samplers_destroy(&daemon->samplers);
    service_destroy(&daemon->service);
    metrics_destroy(&daemon->metrics);
}

int cli_run(const struct command_line *line) {
    struct daemon daemon = {.line = line};
    daemon.config = cli_config(line);
    if (!daemon.config) return EXIT_MISUSED;
    daemon.config->cache.n_sockets = activation_read(
        line->sources.environment, getpid(), daemon.config->arena, &daemon.config->cache.sockets);
    mem_return_within(RETURN_MEMORY_MS);
    sigset_t signals = block_signals();
    daemon.log = log_create(STDERR_FILENO, (enum log_level)daemon.config->log_level);
    daemon.metrics = metrics_create();
    process_metrics(daemon.metrics);
    warn_of_variables(&daemon);
    int code = preflight(daemon.config, daemon.log);
    if (code == EXIT_DONE) {
        code = EXIT_FAILED;
        if (start(&daemon)) code = supervise(&daemon, &signals);
    }
    stop(&daemon);
    if (code == EXIT_DONE) log_info(daemon.log, "stopped", "code=%d", code);
    log_destroy(&daemon.log);
    config_destroy(&daemon.config);
    return code;
}
