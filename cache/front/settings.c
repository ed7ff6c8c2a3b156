#include "cache/front/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cache/access/acl.h"
#include "cache/cache.h"
#include "cache/front/command_stats.h"
#include "cache/front/output_limits.h"
#include "cache/front/resp.h"
#include "cache/front/roster.h"
#include "cache/front/server_info.h"
#include "cache/front/worker.h"
#include "cache/signals/notify.h"
#include "cache/signals/tracking.h"
#include "cache/store/store.h"
#include "cache/values/number.h"

static bool refuse(char why[PARAMETER_WHY_MAX], const char *text) {
    snprintf(why, PARAMETER_WHY_MAX, "%s", text);
    return false;
}

/* --- parameters with functions of their own ------------------------------------------------------------------ */

static void get_port(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->info->port);
}

static void get_bind(const struct worker_deps *deps, struct buf *out) {
    const char *colon = strrchr(deps->config->listen, ':');
    buf_append(out, deps->config->listen, (size_t)(colon - deps->config->listen));
}

static void get_io_threads(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->n_workers);
}

static void get_output_limit(const struct worker_deps *deps, struct buf *out) {
    output_limits_format(deps->limits, out);
}

static bool set_output_limit(const struct worker_deps *deps, struct slice text, bool apply,
                             char why[PARAMETER_WHY_MAX]) {
    const char *wrong = output_limits_set(deps->limits, text, apply);
    return !wrong || refuse(why, wrong);
}

static void get_notify(const struct worker_deps *deps, struct buf *out) {
    notify_format(notify_classes(deps->notify), out);
}

static bool set_notify(const struct worker_deps *deps, struct slice text, bool apply,
                       char why[PARAMETER_WHY_MAX]) {
    uint32_t classes;
    if (!notify_parse(text, &classes))
        return refuse(why, "Invalid event class character. Use 'Ag$lshzxeKEtmdnf'.");
    if (apply) notify_set(deps->notify, classes);
    return true;
}

static void trim_tracking(const struct worker_deps *deps, int64_t value) {
    (void)value;
    tracking_trim(deps->tracking);
}

static void limit_clients(const struct worker_deps *deps, int64_t value) {
    roster_set_max(deps->roster, (uint32_t)value);
}

/* 0 is no limit, as in Redis. */
static void limit_memory(const struct worker_deps *deps, int64_t value) {
    store_set_max(deps->store, value ? (uint64_t)value : UINT64_MAX / 4);
}

/* Redis's names say what may be evicted and in which order. The first is kept to the word; in which order, evict.h decides. Rows may go
 * by all of them. */
static const enum evict_scope policy_scopes[] = {EVICT_ANY, EVICT_ANY, EVICT_TIMED, EVICT_TIMED,
                                                 EVICT_ROWS};
#define POLICIES "allkeys-lfu|allkeys-lru|volatile-lfu|volatile-lru|noeviction"

static void choose_policy(const struct worker_deps *deps, int64_t value) {
    store_set_scope(deps->store, policy_scopes[value]);
}

static void get_tls_port(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->info->tls_port);
}

static void append_text(struct buf *out, const char *text) {
    if (text) buf_append_text(out, text);
}

static void get_acl_file(const struct worker_deps *deps, struct buf *out) {
    append_text(out, deps->config->acl_file);
}

static void get_debug(const struct worker_deps *deps, struct buf *out) {
    append_text(out, deps->config->debug_commands ? "yes" : "no");
}

static void get_certificate(const struct worker_deps *deps, struct buf *out) {
    append_text(out, deps->config->tls.certificate);
}

static void get_key(const struct worker_deps *deps, struct buf *out) {
    append_text(out, deps->config->tls.key);
}

static void get_authority(const struct worker_deps *deps, struct buf *out) {
    append_text(out, deps->config->tls.ca);
}

static void get_tls_clients(const struct worker_deps *deps, struct buf *out) {
    static const char *const words[] = {[TLS_CLIENTS_OFF] = "no",
                                        [TLS_CLIENTS_OPTIONAL] = "optional",
                                        [TLS_CLIENTS_REQUIRED] = "yes"};
    append_text(out, words[deps->config->tls.clients]);
}

static void get_unix_socket(const struct worker_deps *deps, struct buf *out) {
    append_text(out, deps->config->unix_socket);
}

static void get_unix_mode(const struct worker_deps *deps, struct buf *out) {
    buf_printf(out, "%" PRIo32, deps->config->unix_mode);
}

/* A bound for all clients together is none of ours: each has its own (client-output-buffer-limit). */
static void get_client_memory(const struct worker_deps *deps, struct buf *out) {
    (void)deps;
    buf_append_char(out, '0');
}

static bool set_client_memory(const struct worker_deps *deps, struct slice text, bool apply,
                              char why[PARAMETER_WHY_MAX]) {
    (void)deps;
    (void)apply;
    int64_t percent;
    if (slice_equal(text, SLICE("0"))) return true;
    bool is_percent = text.len > 1 && text.data[text.len - 1] == '%' &&
                      number_parse_i64(slice_make(text.data, text.len - 1), &percent);
    if (is_percent && percent > 100)
        return refuse(why, "percentage argument must be less or equal to 100");
    return refuse(why, "clients are bounded one by one: set client-output-buffer-limit");
}

static void calibrate(const struct worker_deps *deps, int64_t value) {
    (void)value;
    command_stats_calibrate(deps->stats);
}

static void get_percentiles(const struct worker_deps *deps, struct buf *out) {
    command_stats_percentiles(deps->stats, out);
}

static bool set_percentiles(const struct worker_deps *deps, struct slice text, bool apply,
                            char why[PARAMETER_WHY_MAX]) {
    const char *wrong = command_stats_set_percentiles(deps->stats, text, apply);
    return !wrong || refuse(why, wrong);
}

/* As Redis has it, the password of the default user, who needs none where it is empty. */
static void get_password(const struct worker_deps *deps, struct buf *out) {
    acl_default_password(deps->acl, out);
}

static bool
set_password(const struct worker_deps *deps, struct slice text, bool apply,
             char why[PARAMETER_WHY_MAX]) { /* NOLINT(readability-non-const-parameter) */
    (void)why;
    if (apply) acl_set_default_password(deps->acl, text);
    return true;
}

/* --- the table ---------------------------------------------------------------------------------------------- */

#define FIXED(text_) .kind = PARAMETER_FIXED, .text = (text_)
#define NUMBER(setting_, initial_, min_, max_)                                                     \
    .kind = PARAMETER_NUMBER, .setting = SETTING_##setting_, .initial = (initial_), .min = (min_), \
    .max = (max_)
#define BYTES(setting_, initial_, min_, max_)                                                      \
    .kind = PARAMETER_BYTES, .setting = SETTING_##setting_, .initial = (initial_), .min = (min_),  \
    .max = (max_)
#define OWN(get_, set_) .kind = PARAMETER_OWN, .get = (get_), .set = (set_)

const struct parameter parameters[] = {
    {"acl-pubsub-default", .kind = PARAMETER_CHOICE, .setting = SETTING_ACL_PUBSUB_DEFAULT,
     .choices = "resetchannels|allchannels"},
    {"acllog-max-len", NUMBER(ACL_LOG_MAX_LEN, 128, 0, INT64_MAX)},
    {"aclfile", OWN(get_acl_file, NULL)},
    {"activedefrag", FIXED("no")},
    {"appendonly", FIXED("no")},
    {"bind", OWN(get_bind, NULL)},
    {"client-output-buffer-limit", OWN(get_output_limit, set_output_limit)},
    {"client-query-buffer-limit", BYTES(QUERY_LIMIT, 1 << 30, 1 << 20, INT64_MAX)},
    {"cluster-enabled", FIXED("no")},
    {"daemonize", FIXED("no")},
    {"databases", FIXED("1")},
    {"dir", FIXED("/")},
    {"enable-debug-command", OWN(get_debug, NULL)},
    {"enable-module-command", FIXED("no")},
    {"enable-protected-configs", FIXED("no")},
    {"hash-max-listpack-entries", NUMBER(HASH_MAX_ENTRIES, 512, 0, INT64_MAX)},
    {"hash-max-listpack-value", BYTES(HASH_MAX_VALUE, 64, 0, INT64_MAX)},
    {"hash-max-ziplist-entries", NUMBER(HASH_MAX_ENTRIES, 512, 0, INT64_MAX)},
    {"hash-max-ziplist-value", BYTES(HASH_MAX_VALUE, 64, 0, INT64_MAX)},
    {"hz", FIXED("10")},
    {"io-threads", OWN(get_io_threads, NULL)},
    {"io-threads-do-reads", FIXED("yes")},
    {"latency-monitor-threshold", NUMBER(LATENCY_THRESHOLD, 0, 0, INT64_MAX), .changed = calibrate},
    {"latency-tracking", .kind = PARAMETER_BOOL, .setting = SETTING_LATENCY_TRACKING, .initial = 1},
    {"latency-tracking-info-percentiles", OWN(get_percentiles, set_percentiles)},
    {"lazyfree-lazy-eviction", FIXED("yes")},
    {"lazyfree-lazy-expire", FIXED("yes")},
    {"lazyfree-lazy-server-del", FIXED("yes")},
    {"lazyfree-lazy-user-del", FIXED("yes")},
    {"lazyfree-lazy-user-flush", FIXED("yes")},
    {"list-compress-depth", NUMBER(LIST_COMPRESS_DEPTH, 0, 0, INT32_MAX)},
    {"list-max-listpack-size", NUMBER(LIST_MAX_SIZE, -2, INT32_MIN, INT32_MAX)},
    {"list-max-ziplist-size", NUMBER(LIST_MAX_SIZE, -2, INT32_MIN, INT32_MAX)},
    {"maxclients", NUMBER(MAX_CLIENTS, 10000, 1, UINT32_MAX), .changed = limit_clients},
    {"maxmemory", BYTES(MAX_MEMORY, 0, 0, INT64_MAX), .changed = limit_memory},
    {"maxmemory-clients", OWN(get_client_memory, set_client_memory)},
    {"maxmemory-policy", .kind = PARAMETER_CHOICE, .setting = SETTING_MEMORY_POLICY,
     .choices = POLICIES, .changed = choose_policy},
    {"maxmemory-samples", FIXED("5")},
    {"notify-keyspace-events", OWN(get_notify, set_notify)},
    {"port", OWN(get_port, NULL)},
    {"proto-max-bulk-len", BYTES(MAX_BULK, RESP_MAX_BULK_DEFAULT, 1 << 20, INT64_MAX)},
    {"replicaof", FIXED("")},
    {"requirepass", OWN(get_password, set_password)},
    {"sanitize-dump-payload", FIXED("yes")},
    {"save", FIXED("")},
    {"set-max-intset-entries", NUMBER(SET_MAX_INTSET, 512, 0, INT64_MAX)},
    {"slaveof", FIXED("")},
    {"slowlog-log-slower-than", NUMBER(SLOWLOG_SLOWER_THAN, 10000, -1, INT64_MAX),
     .changed = calibrate},
    {"slowlog-max-len", NUMBER(SLOWLOG_MAX_LEN, 128, 0, INT64_MAX)},
    {"supervised", FIXED("no")},
    {"tcp-backlog", FIXED("511")},
    {"tcp-keepalive", NUMBER(KEEPALIVE, 300, 0, INT32_MAX)},
    {"timeout", NUMBER(TIMEOUT, 0, 0, INT32_MAX)},
    {"tls-auth-clients", OWN(get_tls_clients, NULL)},
    {"tls-ca-cert-file", OWN(get_authority, NULL)},
    {"tls-cert-file", OWN(get_certificate, NULL)},
    {"tls-key-file", OWN(get_key, NULL)},
    {"tls-port", OWN(get_tls_port, NULL)},
    {"tracking-table-max-keys", NUMBER(TRACKING_MAX_KEYS, 1000000, 0, INT64_MAX),
     .changed = trim_tracking},
    {"unixsocket", OWN(get_unix_socket, NULL)},
    {"unixsocketperm", OWN(get_unix_mode, NULL)},
    {"zset-max-listpack-entries", NUMBER(ZSET_MAX_ENTRIES, 128, 0, INT64_MAX)},
    {"zset-max-listpack-value", BYTES(ZSET_MAX_VALUE, 64, 0, INT64_MAX)},
    {"zset-max-ziplist-entries", NUMBER(ZSET_MAX_ENTRIES, 128, 0, INT64_MAX)},
    {"zset-max-ziplist-value", BYTES(ZSET_MAX_VALUE, 64, 0, INT64_MAX)},
    {0},
};

static void put(struct settings *settings, enum setting which, int64_t value) {
    atomic_store_explicit(&settings->values[which], value, memory_order_relaxed);
}

static bool is_setting(const struct parameter *parameter) {
    return parameter->kind != PARAMETER_FIXED && parameter->kind != PARAMETER_OWN;
}

void settings_init(struct settings *settings, const struct cache_config *config) {
    for (const struct parameter *row = parameters; row->name; row++)
        if (is_setting(row)) put(settings, row->setting, row->initial);
    put(settings, SETTING_MAX_MEMORY, (int64_t)config->max_memory_bytes);
    put(settings, SETTING_MAX_CLIENTS, config->max_clients);
    put(settings, SETTING_ACTIVE_EXPIRE, 1);
}

/* --- how values are written ---------------------------------------------------------------------------------- */

/* The place of `word` in "a|b|c"; -1: none. */
static int64_t find_choice(const char *choices, struct slice word) {
    int64_t place = 0;
    for (;; place++, choices++) {
        size_t len = strcspn(choices, "|");
        if (slice_equal_nocase(slice_make(choices, len), word)) return place;
        choices += len;
        if (!*choices) return -1;
    }
}

static struct slice choice_at(const char *choices, int64_t place) {
    for (; place > 0; place--)
        choices += strcspn(choices, "|") + 1;
    return slice_make(choices, strcspn(choices, "|"));
}

void settings_append_policy(const struct settings *settings, struct buf *out) {
    buf_append_slice(out, choice_at(POLICIES, setting(settings, SETTING_MEMORY_POLICY)));
}

/* "100", "1k", "2mb": decimal thousands for k, binary ones for kb, as in Redis's configuration. */
static bool parse_bytes(struct slice text, int64_t *bytes) {
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {{"", 1},
                 {"b", 1},
                 {"k", 1000},
                 {"kb", 1 << 10},
                 {"m", 1000 * 1000},
                 {"mb", 1 << 20},
                 {"g", 1000 * 1000 * 1000},
                 {"gb", 1 << 30}};
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    struct slice unit = slice_make(text.data + digits, text.len - digits);
    if (!number_parse_i64(slice_make(text.data, digits), bytes)) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (slice_equal_nocase(unit, slice_from(units[i].unit)))
            return !__builtin_mul_overflow(*bytes, units[i].factor, bytes);
    return false;
}

static bool check_bounds(const struct parameter *parameter, int64_t value,
                         char why[PARAMETER_WHY_MAX]) {
    if (value >= parameter->min && value <= parameter->max) return true;
    snprintf(why, PARAMETER_WHY_MAX,
             "argument must be between %" PRId64 " and %" PRId64 " inclusive", parameter->min,
             parameter->max);
    return false;
}

static bool refuse_choices(const char *choices, char why[PARAMETER_WHY_MAX]) {
    struct buf text = {0};
    buf_append_text(&text, "argument(s) must be one of the following: ");
    for (; *choices; choices++) {
        if (*choices == '|')
            buf_append_text(&text, ", ");
        else
            buf_append_char(&text, *choices);
    }
    refuse(why, buf_text(&text));
    buf_deinit(&text);
    return false;
}

static bool parse(const struct parameter *parameter, struct slice text, int64_t *value,
                  char why[PARAMETER_WHY_MAX]) {
    switch (parameter->kind) {
    case PARAMETER_NUMBER:
        if (!number_parse_i64(text, value))
            return refuse(why, "argument couldn't be parsed into an integer");
        return check_bounds(parameter, *value, why);
    case PARAMETER_BYTES:
        if (!parse_bytes(text, value)) return refuse(why, "argument must be a memory value");
        return check_bounds(parameter, *value, why);
    case PARAMETER_BOOL:
        *value = slice_equal_nocase(text, SLICE("yes"));
        if (*value || slice_equal_nocase(text, SLICE("no"))) return true;
        return refuse(why, "argument must be 'yes' or 'no'");
    case PARAMETER_CHOICE:
        *value = find_choice(parameter->choices, text);
        if (*value >= 0) return true;
        return refuse_choices(parameter->choices, why);
    case PARAMETER_FIXED:
    case PARAMETER_OWN: break;
    }
    ASSERT_UNREACHABLE();
}

/* --- getting and setting ------------------------------------------------------------------------------------- */

void parameter_get(const struct parameter *parameter, const struct worker_deps *deps,
                   struct buf *out) {
    switch (parameter->kind) {
    case PARAMETER_FIXED: buf_append_text(out, parameter->text); return;
    case PARAMETER_OWN: parameter->get(deps, out); return;
    case PARAMETER_NUMBER:
    case PARAMETER_BYTES: buf_append_i64(out, setting(deps->settings, parameter->setting)); return;
    case PARAMETER_BOOL:
        buf_append_text(out, setting(deps->settings, parameter->setting) ? "yes" : "no");
        return;
    case PARAMETER_CHOICE:
        buf_append_slice(
            out, choice_at(parameter->choices, setting(deps->settings, parameter->setting)));
        return;
    }
}

/* What never changes may be set to what it is: scripts that say `CONFIG SET save ""` go on working. */
static bool is_already(const struct parameter *parameter, const struct worker_deps *deps,
                       struct slice text) {
    struct buf have = {0};
    parameter_get(parameter, deps, &have);
    bool same = slice_equal_nocase(buf_slice(&have), text);
    buf_deinit(&have);
    return same;
}

bool parameter_set(const struct parameter *parameter, const struct worker_deps *deps,
                   struct slice text, bool apply, char why[PARAMETER_WHY_MAX]) {
    if (parameter->kind == PARAMETER_OWN && parameter->set)
        return parameter->set(deps, text, apply, why);
    if (!is_setting(parameter))
        return is_already(parameter, deps, text) || refuse(why, "can't set immutable config");
    int64_t value;
    if (!parse(parameter, text, &value, why)) return false;
    if (!apply) return true;
    put(deps->settings, parameter->setting, value);
    if (parameter->changed) parameter->changed(deps, value);
    return true;
}
