/* What lies outside the database: brokers, folders, ports. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/kafka.h"
#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/front/tls.h"
#include "cdc/encode/encode.h"
#include "server/checks.h"

enum { PROBE_TIMEOUT_MS = 10 * 1000 };

void check_kafka(struct check_context *context) {
    const struct publisher_config *cdc = &context->config->cdc;
    if (!(context->config->roles & ROLE_CDC) || cdc->output != OUTPUT_KAFKA) return;
    struct log *log = log_create(STDERR_FILENO, LOG_ERROR);
    struct kafka_probe probe;
    struct error err;
    unsigned failures = context->failures;
    static const char mend[] = "start Kafka, or correct cdc.kafka.brokers (--kafka); the cache "
                               "runs without it all the same";
    if (!kafka_probe(&cdc->kafka, PROBE_TIMEOUT_MS, log, &probe, &err))
        check_report(context, CHECK_FAIL, mend, "%s", err.message);
    else if (!probe.transactional && cdc->delivery == DELIVERY_EXACTLY_ONCE)
        check_report(context, CHECK_FAIL,
                     "mend the brokers' transaction.state.log.* settings, or set "
                     "cdc.kafka.delivery: at-least-once",
                     "%s is there (%d brokers) but offers no transactions", cdc->kafka.brokers,
                     probe.n_brokers);
    else
        check_report(context, CHECK_OK, NULL, "%s: %d broker%s%s", cdc->kafka.brokers,
                     probe.n_brokers, probe.n_brokers == 1 ? "" : "s",
                     probe.transactional ? ", transactional" : "");
    context->kafka_failed = context->failures > failures;
    log_destroy(&log);
}

void check_schema_registry(struct check_context *context) {
    const struct publisher_config *cdc = &context->config->cdc;
    const struct event_encoder *encoder = event_encoder_find(cdc->format.encoding);
    if (!(context->config->roles & ROLE_CDC) || !encoder || !encoder->registers) return;
    if (!cdc->registry.url) {
        check_report(context, CHECK_OK, NULL, "%u ids of schemas in cdc.schema_registry.ids",
                     (unsigned)cdc->registry.n_ids);
        return;
    }
    char *subject = mem_printf("%s.transaction-value", cdc->prefix);
    struct error err;
    if (schema_registry_probe(&cdc->registry, subject, &err))
        check_report(context, CHECK_OK, NULL, "the registry answers");
    else
        check_report(context, CHECK_FAIL,
                     "start it, or correct cdc.schema_registry; until it answers the stream waits",
                     "%s", err.message);
    mem_free(subject);
}

/* The folder itself, or the nearest one above it that exists: it is made at the start. False: *cause, to be freed. */
static bool is_writable(const char *folder, char **cause) {
    char *path = mem_strdup(folder);
    while (access(path, F_OK) < 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) {
            strcpy(path, slash ? "/" : "."); /* at least one byte was there */
            break;
        }
        *slash = '\0';
    }
    bool writable = access(path, W_OK | X_OK) == 0;
    if (!writable)
        *cause = mem_printf("\"%s\" cannot be written: %s: %s", folder, path, strerror(errno));
    mem_free(path);
    return writable;
}

static void check_folder(struct check_context *context, const char *folder,
                         enum check_result failure, const char *mend) {
    char *cause = NULL;
    if (is_writable(folder, &cause))
        check_report(context, CHECK_OK, NULL, "\"%s\" can be written", folder);
    else
        check_report(context, failure, mend, "%s", cause);
    mem_free(cause);
}

void check_state_dir(struct check_context *context) {
    if (!(context->config->roles & ROLE_CONNECTORS)) return;
    check_folder(context, context->config->state_dir, CHECK_FAIL,
                 "set state_dir to a folder that Freshet may write");
}

void check_spool(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & (ROLE_CDC | ROLE_CONNECTORS)) || !config->cdc_streaming) return;
    if (!config->cdc_spool.directory) return; /* by default, and no database was reached */
    check_folder(context, config->cdc_spool.directory, CHECK_WARN,
                 "set cdc.spool to a folder that Freshet may write; until then large transactions "
                 "come at their commits, by way of the server's own disk");
}

/* Bound for a moment, and given back. 0 or an errno. */
static int try_bind(const struct addrinfo *at) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    int failed = bind(fd, at->ai_addr, at->ai_addrlen) < 0 ? errno : 0;
    close(fd);
    return failed;
}

static void check_listener(struct check_context *context, const char *option, const char *text) {
    struct address address;
    struct why why;
    if (!units_address(text, &address, &why)) return;
    char port[8];
    snprintf(port, sizeof port, "%u", address.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(address.host, port, &hints, &found);
    const char *cause = failed ? gai_strerror(failed) : NULL;
    if (!failed) {
        int refused = try_bind(found);
        if (refused) cause = strerror(refused);
        freeaddrinfo(found);
    }
    if (cause)
        check_report(context, CHECK_FAIL,
                     "stop what listens there (perhaps a Freshet that runs), or choose another",
                     "%s: cannot listen on %s: %s", option, text, cause);
    else
        check_report(context, CHECK_OK, NULL, "%s: %s is free", option, text);
}

void check_listeners(struct check_context *context) {
    if (context->config->roles & ROLE_CACHE)
        check_listener(context, "cache.listen", context->config->cache.listen);
    if (context->config->roles & ROLE_CACHE && context->config->cache.tls.listen)
        check_listener(context, "cache.tls.listen", context->config->cache.tls.listen);
    check_listener(context, "admin.listen", context->config->admin_listen);
}

void check_certificates(struct check_context *context) {
    const struct tls_config *config = &context->config->cache.tls;
    if (!(context->config->roles & ROLE_CACHE) || !config->certificate) return;
    struct error err;
    struct metrics *metrics = metrics_create();
    struct tls *tls = tls_create(config, NULL, metrics, &err);
    if (tls)
        check_report(context, CHECK_OK, NULL, "%s and its key fit together", config->certificate);
    else
        check_report(context, CHECK_FAIL, "name PEM files that Freshet's user may read", "%s",
                     err.message);
    tls_destroy(&tls);
    metrics_destroy(&metrics);
}

void check_acl_file(struct check_context *context) {
    const struct cache_config *config = &context->config->cache;
    if (!(context->config->roles & ROLE_CACHE) || !config->acl_file) return;
    struct error err;
    struct settings settings;
    struct metrics *metrics = metrics_create();
    settings_init(&settings, config);
    struct acl *acl = acl_create(config, &settings, NULL, metrics, &err);
    if (acl)
        check_report(context, CHECK_OK, NULL, "%s: %u users", config->acl_file,
                     acl_each_user(acl, NULL, NULL));
    else
        check_report(context, CHECK_FAIL, "mend the file, or leave cache.acl_file out", "%s",
                     err.message);
    acl_destroy(&acl);
    metrics_destroy(&metrics);
}
