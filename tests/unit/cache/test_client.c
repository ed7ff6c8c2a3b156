/* A worker with clients on socket pairs. The commands under test wait, so they are the test's own: its table stands in for that of
 * cmd_freshet.c, which the linker then leaves out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/cache.h"
#include "cache/commands/command.h"
#include "cache/front/client.h"
#include "cache/front/command_stats.h"
#include "cache/front/gate.h"
#include "cache/front/output_limits.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/server_info.h"
#include "cache/front/settings.h"
#include "cache/front/worker.h"
#include "cache/store/store.h"
#include "cache/values/number.h"

/* --- a mailbox for tickets, between the worker and the test ------------------------------------------------- */

static struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct client_ticket tickets[64];
    uint32_t n;
} mailbox = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

static void post_ticket(struct client_ticket ticket) {
    pthread_mutex_lock(&mailbox.lock);
    assert_true(mailbox.n < 64);
    mailbox.tickets[mailbox.n++] = ticket;
    pthread_cond_signal(&mailbox.came);
    pthread_mutex_unlock(&mailbox.lock);
}

/* The i-th ticket since the test began. */
static struct client_ticket await_ticket(uint32_t i) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&mailbox.lock);
    while (mailbox.n <= i)
        assert_int_equal(pthread_cond_timedwait(&mailbox.came, &mailbox.lock, &until), 0);
    struct client_ticket ticket = mailbox.tickets[i];
    pthread_mutex_unlock(&mailbox.lock);
    return ticket;
}

/* --- commands that wait ------------------------------------------------------------------------------------- */

/* T.BLOCK ms: until it is woken, or so long; 0: for ever. */
static void cmd_block(struct command_context *ctx) {
    int64_t ms;
    assert_true(number_parse_i64(ctx->argv[1], &ms));
    if (ctx->timed_out) {
        assert_true(ctx->now_us >= ctx->deadline_us);
        reply_null_array(ctx->reply);
    } else if (ctx->woken) {
        reply_simple(ctx->reply, "woken");
    } else {
        client_block(ctx, ms ? ctx->now_us + ms * 1000 : 0);
        post_ticket(client_ticket(ctx));
    }
}

/* T.ROWS word times: answers the word after so many rounds of fetching. */
static void cmd_rows(struct command_context *ctx) {
    int64_t times;
    assert_true(number_parse_i64(ctx->argv[2], &times));
    int64_t fetched = ctx->fetched ? *(const int64_t *)(const void *)ctx->fetched : 0;
    if (fetched >= times) {
        reply_bulk(ctx->reply, ctx->argv[1]);
        return;
    }
    struct client_ticket first = client_ticket(ctx), again = client_ticket(ctx);
    assert_true(first.wait == again.wait); /* one run, one ticket */
    ctx->n_pending = 1;
    post_ticket(first);
}

/* T.HOLD: the worker's thread stands still until the test lets it go. */
static struct hold { _Atomic bool reached, over; } hold;

static void cmd_hold(struct command_context *ctx) {
    atomic_store(&hold.reached, true);
    while (!atomic_load(&hold.over))
        sched_yield();
    reply_ok(ctx->reply);
}

/* T.NOTE word: what runs in which order. */
static struct notes {
    char words[8192];
    _Atomic uint32_t n;
} notes;

static void cmd_note(struct command_context *ctx) {
    assert_true(notes.n < sizeof notes.words);
    notes.words[notes.n++] = ctx->argv[1].data[0];
    reply_ok(ctx->reply);
}

const struct command commands_freshet[] = {
    {"t.hold", cmd_hold, 1, CMD_READONLY, NO_KEYS, "0.1.0", GROUP_FRESHET, "", "O(1)", NULL},
    {"t.note", cmd_note, 2, CMD_READONLY, NO_KEYS, "0.1.0", GROUP_FRESHET, "", "O(1)", NULL},
    {"t.block", cmd_block, 2, CMD_BLOCKING, NO_KEYS, "0.1.0", GROUP_FRESHET, "", "O(1)", NULL},
    {"t.rows", cmd_rows, 3, CMD_READONLY, NO_KEYS, "0.1.0", GROUP_FRESHET, "", "O(1)", NULL},
    {0},
};

/* --- the scene ---------------------------------------------------------------------------------------------- */

struct scene {
    struct cache_config config;
    struct server_info info;
    struct settings settings;
    struct acl *acl;
    struct command_stats *stats;
    struct log *log;
    struct metrics *metrics;
    struct command_table *commands;
    struct store *store;
    struct roster *roster;
    struct output_limits limits;
    struct gate *gate;
    struct worker *worker;
    bool running;
};

static int setup(void **state) {
    struct scene *s = mem_zalloc(sizeof *s);
    s->config = (struct cache_config){.listen = "127.0.0.1:0",
                                      .max_clients = 100,
                                      .max_memory_bytes = 64 << 20,
                                      .client_output_limit_bytes = 1 << 20};
    s->info.version = "0";
    s->log = log_create(STDERR_FILENO, LOG_ERROR);
    s->metrics = metrics_create();
    s->commands = command_table_create();
    s->roster = roster_create(100);
    s->store = store_create(
        &(struct store_config){.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = 1}, NULL);
    output_limits_init(&s->limits, s->config.client_output_limit_bytes);
    s->gate = gate_create();
    settings_init(&s->settings, &s->config);
    s->acl = acl_create(&s->config, &s->settings, s->log, s->metrics, NULL);
    s->stats = command_stats_create(acl_ids(s->acl), 1, &s->settings);
    struct worker_deps deps = {.config = &s->config,
                               .info = &s->info,
                               .commands = s->commands,
                               .store = s->store,
                               .roster = s->roster,
                               .log = s->log,
                               .metrics = s->metrics,
                               .n_workers = 1,
                               .limits = &s->limits,
                               .gate = s->gate,
                               .settings = &s->settings,
                               .acl = s->acl,
                               .stats = s->stats};
    s->worker = worker_create(&deps, 0, NULL);
    assert_non_null(s->worker);
    assert_true(worker_start(s->worker, NULL));
    s->running = true;
    mailbox.n = 0;
    *state = s;
    return 0;
}

static void stop(struct scene *s, int64_t grace_us) {
    worker_drain(s->worker, clock_mono_us() + grace_us);
    worker_join(s->worker);
    s->running = false;
}

static int teardown(void **state) {
    struct scene *s = *state;
    if (s->running) stop(s, 0);
    assert_int_equal(roster_count(s->roster), 0);
    worker_destroy(&s->worker);
    store_destroy(&s->store);
    command_stats_destroy(&s->stats);
    acl_destroy(&s->acl);
    roster_destroy(&s->roster);
    gate_destroy(&s->gate);
    command_table_destroy(&s->commands);
    metrics_destroy(&s->metrics);
    log_destroy(&s->log);
    mem_free(s);
    return 0;
}

static int dial(struct scene *s) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    worker_adopt(s->worker, pair[1], NULL);
    return pair[0];
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hear(int fd, const char *expected) {
    char got[256] = {0};
    size_t n = 0, want = strlen(expected);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (n < want && poll(&poll_fd, 1, 20000) == 1) {
        ssize_t more = recv(fd, got + n, want - n, 0);
        if (more <= 0) break;
        n += (size_t)more;
    }
    assert_string_equal(got, expected);
}

static void hear_the_end(int fd) {
    char byte;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 20000), 1);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static bool hears_nothing(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Runs on the worker's thread, as the loader's callbacks do. */
struct delivery {
    struct loop_message message;
    struct client_ticket ticket;
    int64_t fetched;
    enum client_resumed result;
    _Atomic bool done;
};

static void run_delivery(struct loop_message *message, void *owner) {
    (void)message;
    struct delivery *delivery = owner;
    delivery->result =
        client_resume(delivery->ticket, (struct fetched_rows *)(void *)&delivery->fetched);
    delivery->done = true;
}

static enum client_resumed deliver(struct client_ticket ticket, int64_t fetched) {
    struct delivery delivery = {.ticket = ticket, .fetched = fetched};
    delivery.message = (struct loop_message){.run = run_delivery, .owner = &delivery};
    loop_post(worker_loop(ticket.worker), &delivery.message);
    while (!delivery.done)
        sched_yield();
    return delivery.result;
}

/* --- waiting for rows --------------------------------------------------------------------------------------- */

static void a_command_that_waits_for_rows_holds_back_what_is_behind_it(void **state) {
    int fd = dial(*state);
    say(fd, "PING\r\nT.ROWS value 1\r\nECHO behind\r\n");
    hear(fd, "+PONG\r\n"); /* what stands before it is answered at once */
    struct client_ticket ticket = await_ticket(0);
    say(fd, "PING\r\n");
    assert_true(hears_nothing(fd));
    assert_int_equal(deliver(ticket, 1), RESUMED_DONE);
    hear(fd, "$5\r\nvalue\r\n$6\r\nbehind\r\n+PONG\r\n");
    close(fd);
}

static void a_command_may_wait_again_on_a_new_ticket(void **state) {
    int fd = dial(*state);
    say(fd, "*3\r\n$6\r\nT.ROWS\r\n$1\r\na\r\n$1\r\n2\r\n");
    struct client_ticket first = await_ticket(0);
    assert_int_equal(deliver(first, 1), RESUMED_WAITING);
    struct client_ticket second = await_ticket(1);
    assert_true(first.wait != second.wait);
    assert_int_equal(deliver(first, 2), RESUMED_GONE);
    assert_true(hears_nothing(fd));
    assert_int_equal(deliver(second, 2), RESUMED_DONE);
    hear(fd, "$1\r\na\r\n");
    close(fd);
}

static void a_ticket_of_a_client_that_was_killed_does_nothing(void **state) {
    struct scene *s = *state;
    int fd = dial(s), other = dial(s);
    say(fd, "T.ROWS a 1\r\n");
    struct client_ticket ticket = await_ticket(0);
    say(other, "CLIENT KILL TYPE normal\r\n");
    hear(other, ":1\r\n");
    hear_the_end(fd);
    int again = dial(s); /* likely in the same slot */
    say(again, "T.ROWS b 1\r\n");
    struct client_ticket newer = await_ticket(1);
    assert_int_equal(deliver(ticket, 1), RESUMED_GONE);
    assert_true(hears_nothing(again));
    assert_int_equal(deliver(newer, 1), RESUMED_DONE);
    hear(again, "$1\r\nb\r\n");
    close(fd), close(other), close(again);
}

static void a_half_closed_client_still_gets_its_rows(void **state) {
    int fd = dial(*state);
    say(fd, "T.ROWS a 1\r\nT.ROWS b 1\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_int_equal(deliver(await_ticket(0), 1), RESUMED_WAITING);
    assert_int_equal(deliver(await_ticket(1), 1), RESUMED_DONE);
    hear(fd, "$1\r\na\r\n$1\r\nb\r\n");
    hear_the_end(fd);
    close(fd);
}

/* --- waiting for an event ------------------------------------------------------------------------------------- */

static void a_blocked_command_is_woken_by_any_thread(void **state) {
    int fd = dial(*state);
    say(fd, "T.BLOCK 0\r\nPING\r\n");
    client_wake(await_ticket(0));
    hear(fd, "+woken\r\n+PONG\r\n");
    close(fd);
}

static void a_blocked_command_ends_at_its_deadline(void **state) {
    int fd = dial(*state);
    int64_t began = clock_mono_us();
    say(fd, "T.BLOCK 20\r\nPING\r\n");
    hear(fd, "*-1\r\n+PONG\r\n");
    assert_true(clock_mono_us() - began >= 20000);
    client_wake(await_ticket(0)); /* too late: nothing */
    say(fd, "PING\r\n");
    hear(fd, "+PONG\r\n");
    close(fd);
}

static void a_woken_command_is_not_timed_out_later(void **state) {
    int fd = dial(*state);
    say(fd, "T.BLOCK 50\r\n");
    client_wake(await_ticket(0));
    hear(fd, "+woken\r\n");
    say(fd, "T.BLOCK 200\r\n"); /* beyond the first deadline */
    hear(fd, "*-1\r\n");
    close(fd);
}

static void a_blocked_client_that_goes_is_missed(void **state) {
    struct scene *s = *state;
    int fd = dial(s);
    say(fd, "T.BLOCK 0\r\n");
    struct client_ticket ticket = await_ticket(0);
    close(fd);
    int64_t until = clock_mono_us() + 20000000;
    while (roster_count(s->roster) > 0)
        assert_true(clock_mono_us() < until && sched_yield() == 0);
    client_wake(ticket);
    int other = dial(s);
    say(other, "PING\r\n");
    hear(other, "+PONG\r\n");
    close(other);
}

/* --- fairness ------------------------------------------------------------------------------------------------- */

static void a_deep_pipeline_lets_others_in_between(void **state) {
    enum { DEEP = 5000 };
    struct scene *s = *state;
    int holding = dial(s), greedy = dial(s), modest = dial(s);
    say(greedy, "PING\r\n"), say(modest, "PING\r\n");
    hear(greedy, "+PONG\r\n"), hear(modest, "+PONG\r\n");
    atomic_store(&hold.reached, false), atomic_store(&hold.over, false), atomic_store(&notes.n, 0);
    say(holding, "T.HOLD\r\n");
    while (!atomic_load(&hold.reached))
        sched_yield();
    char deep[DEEP * 10 + 1];
    for (int i = 0; i < DEEP; i++)
        memcpy(deep + (ptrdiff_t)i * 10, "T.NOTE g\r\n", 11);
    say(greedy, deep); /* all of it is there before the worker looks: it fits one read */
    say(modest, "T.NOTE m\r\n");
    atomic_store(&hold.over, true);
    hear(holding, "+OK\r\n");
    hear(modest, "+OK\r\n");
    int64_t until = clock_mono_us() + 20000000;
    while (atomic_load(&notes.n) < DEEP + 1)
        assert_true(clock_mono_us() < until && sched_yield() == 0);
    const char *m = memchr(notes.words, 'm', DEEP + 1);
    assert_non_null(m);
    assert_true(m - notes.words <= 1024);
    close(holding), close(greedy), close(modest);
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static void drain_waits_for_rows_and_closes_who_is_idle(void **state) {
    struct scene *s = *state;
    int idle = dial(s), waiting = dial(s);
    say(idle, "PING\r\n");
    hear(idle, "+PONG\r\n");
    say(waiting, "T.ROWS a 1\r\nPING\r\n");
    struct client_ticket ticket = await_ticket(0);
    worker_drain(s->worker, clock_mono_us() + 20000000);
    hear_the_end(idle);
    assert_int_equal(deliver(ticket, 1), RESUMED_DONE);
    hear(waiting, "$1\r\na\r\n+PONG\r\n"); /* what it had sent is answered too */
    hear_the_end(waiting);
    worker_join(s->worker);
    s->running = false;
    close(idle), close(waiting);
}

static void drain_ends_at_its_deadline(void **state) {
    struct scene *s = *state;
    int fd = dial(s);
    say(fd, "T.BLOCK 0\r\n");
    await_ticket(0);
    stop(s, 20000);
    hear_the_end(fd);
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    static const struct CMUnitTest tests[] = {
        CASE(a_command_that_waits_for_rows_holds_back_what_is_behind_it),
        CASE(a_command_may_wait_again_on_a_new_ticket),
        CASE(a_ticket_of_a_client_that_was_killed_does_nothing),
        CASE(a_half_closed_client_still_gets_its_rows),
        CASE(a_blocked_command_is_woken_by_any_thread),
        CASE(a_blocked_command_ends_at_its_deadline),
        CASE(a_woken_command_is_not_timed_out_later),
        CASE(a_blocked_client_that_goes_is_missed),
        CASE(a_deep_pipeline_lets_others_in_between),
        CASE(drain_waits_for_rows_and_closes_who_is_idle),
        CASE(drain_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
