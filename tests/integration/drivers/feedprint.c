/* feedprint: a feed into standard output, one line a call of the sink; what the feed's tests drive and read.
 *
 *     feedprint URL KEY=VALUE...        slot= publication= temporary=1 snapshot=1 messages=1 pattern= (repeated)
 *                                       position=X/Y snapshot_done=1 system=N quiet=1 (no row lines)
 *                                       unconfirm=1 fail=1 (the commands, from the start)
 *                                       confirm_after_ms=N
 *
 * Commands on standard input, one a line: "hold" (not ready), "go", "unconfirm" (keep what is confirmed),
 * "confirm", "status", "ask" (for a keepalive), "fail" (refuse the next change, retriable), "stop". The process
 * ends after "stop", end of input, or a fatal error (exit 1). */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/lsn.h"
#include "cdc/feed/feed.h"

enum { MAX_PATTERNS = 16 };

struct printer {
    struct feed_config config;
    const char *patterns[MAX_PATTERNS];
    struct change_position position;
    bool quiet;
    atomic_bool hold;
    atomic_bool unconfirm;
    atomic_bool ask;
    atomic_bool fail;
    int64_t confirm_after_us;
    uint64_t seen_lsn; /* end of what was given, at seen_us */
    int64_t seen_us;
    uint64_t confirmed_lsn;
    uint64_t rows; /* of the open transaction */
    struct buf line;
};

static void emit(struct printer *p) {
    buf_append_char(&p->line, '\n');
    size_t done = 0;
    while (done < p->line.len) {
        ssize_t n = write(STDOUT_FILENO, p->line.data + done, p->line.len - done);
        if (n <= 0) exit(3);
        done += (size_t)n;
    }
    p->line.len = 0;
}

static bool prepare(void *self, struct change_position *position, struct error *err) {
    (void)err;
    struct printer *p = self;
    *position = p->position;
    buf_append_text(&p->line, "prepare");
    emit(p);
    return true;
}

static bool started(void *self, const struct feed_identity *identity, struct error *err) {
    (void)err;
    struct printer *p = self;
    buf_printf(&p->line,
               "started system=%" PRIu64 " timeline=%u database=%s slot=%s lsn=" LSN_FMT
               " created=%d start_us=%" PRId64,
               identity->system_identifier, identity->timeline, identity->database, identity->slot,
               LSN_ARG(identity->slot_lsn), identity->slot_created, identity->server_start_us);
    emit(p);
    p->position.system_identifier = identity->system_identifier;
    return true;
}

static void ended(void *self, const struct error *cause) {
    struct printer *p = self;
    buf_printf(&p->line, "ended %s %s", error_code_name(cause->code), cause->message);
    emit(p);
}

static bool relation(void *self, const struct relation *rel, struct error *err) {
    (void)err;
    struct printer *p = self;
    buf_printf(&p->line, "relation %s.%s version=%u identity=%c", rel->schema, rel->name,
               rel->version, rel->replica_identity);
    for (uint16_t i = 0; i < rel->n_columns; i++)
        buf_printf(&p->line, " %s%s:%u", rel->columns[i].identity ? "*" : "", rel->columns[i].name,
                   rel->columns[i].type_oid);
    emit(p);
    return true;
}

static bool begin(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct printer *p = self;
    p->rows = 0;
    buf_printf(&p->line, "begin xid=%" PRIu64 " snapshot=%d", tx->xid, tx->snapshot);
    emit(p);
    return true;
}

static void print_values(struct printer *p, const char *what, const struct relation *rel,
                         const struct value *values) {
    if (!values) return;
    buf_printf(&p->line, " %s=(", what);
    for (uint16_t i = 0; i < rel->n_columns; i++) {
        if (i) buf_append_char(&p->line, ',');
        switch (values[i].kind) {
        case VALUE_NULL: buf_append_text(&p->line, "NULL"); break;
        case VALUE_UNCHANGED: buf_append_text(&p->line, "UNCHANGED"); break;
        case VALUE_TEXT:
        case VALUE_BINARY: buf_append(&p->line, values[i].data, values[i].len); break;
        }
    }
    buf_append_char(&p->line, ')');
}

static const char *const operations[] = {"insert",   "update",  "delete",
                                         "truncate", "message", "read"};
static const char *const markers[] = {"none",          "true", "first",      "first_in_table",
                                      "last_in_table", "last", "incremental"};

static bool change(void *self, const struct transaction *tx, const struct change *c,
                   struct error *err) {
    (void)tx;
    struct printer *p = self;
    ASSERT(c->index == p->rows);
    p->rows++;
    if (atomic_exchange(&p->fail, false))
        return error_set(err, ERROR_UNAVAILABLE, true, "told to fail");
    if (p->quiet && c->operation != CHANGE_MESSAGE) return true;
    buf_printf(&p->line, "%s", operations[c->operation]);
    if (c->relation) buf_printf(&p->line, " %s.%s", c->relation->schema, c->relation->name);
    if (c->marker) buf_printf(&p->line, " marker=%s", markers[c->marker]);
    if (c->operation == CHANGE_TRUNCATE)
        buf_printf(&p->line, " cascade=%d restart=%d", c->cascade, c->restart_identity);
    if (c->operation == CHANGE_MESSAGE)
        buf_printf(&p->line, " transactional=%d prefix=%.*s content=%.*s", c->transactional,
                   (int)c->message_prefix.len, c->message_prefix.data, (int)c->message_content.len,
                   c->message_content.data);
    if (c->relation) {
        print_values(p, c->old_is_key ? "key" : "old", c->relation, c->old_row);
        print_values(p, "new", c->relation, c->new_row);
    }
    emit(p);
    return true;
}

static bool commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct printer *p = self;
    p->seen_lsn = tx->end_lsn;
    p->seen_us = clock_mono_us();
    buf_printf(&p->line, "commit xid=%" PRIu64 " rows=%" PRIu64 " lsn=" LSN_FMT " end=" LSN_FMT,
               tx->xid, p->rows, LSN_ARG(tx->commit_lsn), LSN_ARG(tx->end_lsn));
    emit(p);
    p->position.end_lsn = tx->end_lsn;
    return true;
}

static bool snapshot_done(void *self, uint64_t slot_lsn, struct error *err) {
    (void)err;
    struct printer *p = self;
    buf_printf(&p->line, "snapshot_done lsn=" LSN_FMT, LSN_ARG(slot_lsn));
    emit(p);
    p->position.snapshot_done = true;
    p->position.end_lsn = slot_lsn;
    return true;
}

static bool progress(void *self, uint64_t wal_end_lsn, struct error *err) {
    (void)err;
    struct printer *p = self;
    if (wal_end_lsn > p->seen_lsn) p->seen_lsn = wal_end_lsn;
    if (atomic_exchange(&p->ask, false)) {
        buf_printf(&p->line, "progress lsn=" LSN_FMT, LSN_ARG(wal_end_lsn));
        emit(p);
    }
    return true;
}

static bool tick(void *self, int64_t now_us, struct error *err) {
    (void)err;
    struct printer *p = self;
    bool due = !p->confirm_after_us || now_us - p->seen_us >= p->confirm_after_us;
    if (due && !atomic_load(&p->unconfirm) && p->seen_lsn > p->confirmed_lsn) {
        p->confirmed_lsn = p->seen_lsn;
        if (p->confirmed_lsn > p->position.end_lsn) p->position.end_lsn = p->confirmed_lsn;
    }
    return true;
}

static bool ready(void *self) { return !atomic_load(&((struct printer *)self)->hold); }
static bool wants_progress(void *self) { return atomic_load(&((struct printer *)self)->ask); }
static uint64_t confirmed_lsn(void *self) { return ((struct printer *)self)->confirmed_lsn; }

static const struct change_sink_ops ops = {
    .prepare = prepare,
    .started = started,
    .ended = ended,
    .relation = relation,
    .begin = begin,
    .change = change,
    .commit = commit,
    .snapshot_done = snapshot_done,
    .progress = progress,
    .tick = tick,
    .ready = ready,
    .wants_progress = wants_progress,
    .confirmed_lsn = confirmed_lsn,
};

static bool take_argument(struct printer *p, const char *name, const char *value) {
    struct feed_config *c = &p->config;
    bool on = strcmp(value, "1") == 0;
    if (strcmp(name, "slot") == 0)
        c->slot = value;
    else if (strcmp(name, "publication") == 0)
        c->publication = value;
    else if (strcmp(name, "temporary") == 0)
        c->temporary = on;
    else if (strcmp(name, "snapshot") == 0)
        c->snapshot = on ? FEED_SNAPSHOT_INITIAL : FEED_SNAPSHOT_NEVER;
    else if (strcmp(name, "messages") == 0)
        c->messages = on;
    else if (strcmp(name, "options") == 0)
        c->server_options = value;
    else if (strcmp(name, "quiet") == 0)
        p->quiet = on;
    else if (strcmp(name, "confirm_after_ms") == 0)
        p->confirm_after_us = strtoll(value, NULL, 10) * 1000;
    else if (strcmp(name, "fail") == 0)
        atomic_store(&p->fail, on);
    else if (strcmp(name, "unconfirm") == 0)
        atomic_store(&p->unconfirm, on);
    else if (strcmp(name, "snapshot_done") == 0)
        p->position.snapshot_done = on;
    else if (strcmp(name, "system") == 0)
        p->position.system_identifier = strtoull(value, NULL, 10);
    else if (strcmp(name, "position") == 0)
        return lsn_parse(value, &p->position.end_lsn);
    else if (strcmp(name, "pattern") == 0 && c->n_patterns < MAX_PATTERNS)
        p->patterns[c->n_patterns++] = value;
    else
        return false;
    return true;
}

static void print_status(struct feed *feed) {
    struct feed_status s;
    feed_status(feed, &s);
    printf("status state=%s slot=%s received=" LSN_FMT " confirmed=" LSN_FMT
           " transactions=%" PRIu64 " changes=%" PRIu64 " lag_us=%" PRId64 " cause=%s\n",
           feed_state_name(s.state), s.slot, LSN_ARG(s.received_lsn), LSN_ARG(s.confirmed_lsn),
           s.transactions, s.changes, s.lag_us, s.cause);
    fflush(stdout);
}

static void obey(struct printer *p, struct feed *feed) {
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "hold") == 0) atomic_store(&p->hold, true);
        if (strcmp(line, "go") == 0) atomic_store(&p->hold, false);
        if (strcmp(line, "unconfirm") == 0) atomic_store(&p->unconfirm, true);
        if (strcmp(line, "confirm") == 0) atomic_store(&p->unconfirm, false);
        if (strcmp(line, "ask") == 0) atomic_store(&p->ask, true);
        if (strcmp(line, "fail") == 0) atomic_store(&p->fail, true);
        if (strcmp(line, "status") == 0) print_status(feed);
        if (strcmp(line, "stop") == 0) break;
    }
}

int main(int argc, char **argv) {
    struct printer p = {.config = {.application_name = "feedprint",
                                   .slot = "feedprint",
                                   .publication = "feedprint"}};
    if (argc < 2) return 2;
    p.config.database_url = argv[1];
    p.config.patterns = p.patterns;
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) return 2;
        *value++ = '\0';
        if (!take_argument(&p, argv[i], value)) return 2;
    }
    struct log *log = log_create(STDERR_FILENO, LOG_DEBUG);
    struct metrics *metrics = metrics_create();
    struct feed_deps deps = {.log = log, .metrics = metrics};
    struct change_sink sink = {.ops = &ops, .self = &p, .name = "print"};
    struct feed *feed = feed_create(&p.config, sink, &deps);
    struct error err;
    if (!feed_start(feed, &err)) return 1;
    obey(&p, feed);
    feed_stop(feed);
    print_status(feed);
    struct feed_status status;
    feed_status(feed, &status);
    feed_destroy(&feed);
    metrics_destroy(&metrics);
    log_destroy(&log);
    buf_deinit(&p.line);
    return status.state == FEED_FAILED ? 1 : 0;
}
