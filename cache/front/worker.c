#include "cache/front/worker.h"

#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/hugepages.h"
#include "base/mem.h"
#include "cache/cache.h"
#include "cache/front/client.h"
#include "cache/front/gate.h"
#include "cache/front/server_info.h"
#include "cache/front/settings.h"
#include "cache/front/worker_state.h"
#include "cache/rows/readthrough.h"
#include "cache/store/store.h"

enum {
    EXPIRE_EVERY_US = 100 * 1000,
    EXPIRE_AGAIN_US = 1000, /* when the budget did not suffice */
    EXPIRE_BUDGET = 2000,   /* entries: some hundred microseconds */
    TICK_US = 1000 * 1000,
};

struct account *worker_account(struct worker *worker) {
    return &worker->account;
}
uint32_t worker_index(const struct worker *worker) { return worker->index; }
struct loop *worker_loop(struct worker *worker) {
    return worker->loop;
}
const struct worker_deps *worker_deps(const struct worker *worker) { return &worker->deps; }
int64_t worker_now_ms(const struct worker *worker) { return worker->now_ms; }
struct loader *worker_loader(const struct worker *worker) {
    return worker->loader;
}

void worker_attach(struct worker *worker, struct keyspace *keyspace, struct loader *loader) {
    worker->keyspace = keyspace;
    worker->loader = loader;
}

struct client *worker_client(struct worker *worker, uint32_t slot, uint64_t id) {
    struct client *client = slot < worker->n_slots ? worker->clients[slot] : NULL;
    return client && client_id(client) == id ? client : NULL;
}

uint32_t worker_load(const struct worker *worker) {
    return atomic_load_explicit(&worker->n_clients, memory_order_relaxed);
}

/* --- slots ------------------------------------------------------------------------------------------------- */

static uint32_t take_slot(struct worker *worker) {
    if (worker->n_free == 0) {
        uint32_t n = worker->n_slots ? 2 * worker->n_slots : 64;
        worker->clients = mem_realloc(worker->clients, n * sizeof worker->clients[0]);
        worker->free_slots = mem_realloc(worker->free_slots, n * sizeof worker->free_slots[0]);
        for (uint32_t slot = n; slot-- > worker->n_slots;) {
            worker->clients[slot] = NULL;
            worker->free_slots[worker->n_free++] = slot;
        }
        worker->n_slots = n;
    }
    return worker->free_slots[--worker->n_free];
}

void worker_release_slot(struct worker *worker, uint32_t slot) {
    worker->clients[slot] = NULL;
    worker->free_slots[worker->n_free++] = slot;
    atomic_fetch_sub_explicit(&worker->n_clients, 1, memory_order_relaxed);
}

/* --- turns ------------------------------------------------------------------------------------------------- */

static void on_sleep(void *arg) {
    struct worker *worker = arg;
    store_reader_leave(worker->deps.store, worker->index);
    store_tidy(worker->deps.store);
}

static void on_wake(void *arg) {
    struct worker *worker = arg;
    worker->now_ms = clock_wall_us() / 1000;
    store_reader_enter(worker->deps.store, worker->index);
}

void worker_backlog(struct worker *worker, uint32_t slot) {
    if (worker->n_backlog == worker->backlog_cap) {
        worker->backlog_cap = worker->backlog_cap ? 2 * worker->backlog_cap : 64;
        worker->backlog =
            mem_realloc(worker->backlog, worker->backlog_cap * sizeof worker->backlog[0]);
    }
    worker->backlog[worker->n_backlog++] = slot;
}

/* One quantum each; who still has requests then is behind the others again. */
static void run_backlog(struct worker *worker) {
    uint32_t n = worker->n_backlog;
    if (n == 0) return;
    for (uint32_t i = 0; i < n; i++) {
        struct client *client = worker->clients[worker->backlog[i]];
        if (client) client_continue(client);
    }
    worker->n_backlog -= n;
    memmove(worker->backlog, worker->backlog + n, worker->n_backlog * sizeof worker->backlog[0]);
}

void worker_pushed(struct worker *worker, uint32_t slot) {
    if (worker->n_pushed == worker->pushed_cap) {
        worker->pushed_cap = worker->pushed_cap ? 2 * worker->pushed_cap : 64;
        worker->pushed = mem_realloc(worker->pushed, worker->pushed_cap * sizeof worker->pushed[0]);
    }
    worker->pushed[worker->n_pushed++] = slot;
}

static void flush_pushed(struct worker *worker) {
    for (uint32_t i = 0; i < worker->n_pushed; i++) {
        struct client *client = worker->clients[worker->pushed[i]];
        if (client) client_flush(client);
    }
    worker->n_pushed = 0;
}

static void ignore(void *arg, int64_t now_us) {
    (void)arg;
    (void)now_us;
}

static void on_turn_end(void *arg) {
    struct worker *worker = arg;
    run_backlog(worker);
    if (worker->n_pushed) flush_pushed(worker);
    if (worker->keyspace) keyspace_end_turn(worker->keyspace);
    if (worker->n_backlog)
        loop_timer_set(worker->loop, &worker->again_timer, loop_now_us(worker->loop));
    if (worker->draining && worker_load(worker) == 0) loop_stop(worker->loop);
}

/* --- timers ------------------------------------------------------------------------------------------------ */

static void expire(void *arg, int64_t now_us) {
    struct worker *worker = arg;
    /* what changes nothing for clients stands still too while they are paused */
    bool paused = gate_is_paused(worker->deps.gate, now_us);
    bool expires = !paused && setting(worker->deps.settings, SETTING_ACTIVE_EXPIRE);
    uint32_t n = !expires ? 0
                          : store_expire(worker->deps.store, worker->index, worker->deps.n_workers,
                                         worker->now_ms, EXPIRE_BUDGET);
    if (!paused) store_tend(worker->deps.store, EXPIRE_BUDGET);
    if (worker->index == 0) store_follow(worker->deps.store, mem_resident());
    if (worker->index == 0 && worker->keyspace) keyspace_tick(worker->keyspace, now_us);
    int64_t next = n < EXPIRE_BUDGET ? EXPIRE_EVERY_US : EXPIRE_AGAIN_US;
    loop_timer_set(worker->loop, &worker->expire_timer, now_us + next);
}

static int64_t rate(int64_t now, int64_t *before, int64_t elapsed_us) {
    int64_t per_second = (now - *before) * 1000000 / elapsed_us;
    *before = now;
    return per_second;
}

/* What INFO calls instantaneous: over the last second. */
static void sample_rates(struct worker *worker, int64_t now_us) {
    int64_t elapsed = now_us - worker->sampled_us;
    if (elapsed <= 0) return;
    worker->sampled_us = now_us;
    struct metrics *metrics = worker->deps.metrics;
    struct server_info *info = worker->deps.info;
    int64_t commands = metrics_sum(metrics, "freshet_cache_commands_total", NULL);
    int64_t in = metrics_sum(metrics, "freshet_cache_received_bytes_total", NULL);
    int64_t out = metrics_sum(metrics, "freshet_cache_sent_bytes_total", NULL);
    info->commands_per_second = rate(commands, &worker->sampled_commands, elapsed);
    info->bytes_in_per_second = rate(in, &worker->sampled_in, elapsed);
    info->bytes_out_per_second = rate(out, &worker->sampled_out, elapsed);
}

static void tick(void *arg, int64_t now_us) {
    struct worker *worker = arg;
    for (uint32_t slot = 0; slot < worker->n_slots; slot++)
        if (worker->clients[slot]) client_tick(worker->clients[slot], now_us);
    if (worker->index == 0) {
        sample_rates(worker, now_us);
        command_stats_calibrate(worker->deps.stats);
        mem_give_back();
    }
    loop_timer_set(worker->loop, &worker->tick_timer, now_us + TICK_US);
}

/* --- messages ---------------------------------------------------------------------------------------------- */

struct order {
    struct loop_message message;
    int fd;
    const struct transport *transport;
    uint32_t slot;
    uint64_t client_id;
    int64_t deadline_us;
    bool error;
};

static void send_order(struct worker *worker, struct order order,
                       void (*run)(struct loop_message *message, void *owner)) {
    struct order *copy = mem_alloc(sizeof *copy);
    *copy = order;
    copy->message = (struct loop_message){.run = run, .owner = worker};
    loop_post(worker->loop, &copy->message);
}

/* The message is an order's first member. */
static struct order take_order(struct loop_message *message) {
    struct order *order = (struct order *)(void *)message;
    struct order copy = *order;
    mem_free(order);
    return copy;
}

static void run_adopt(struct loop_message *message, void *owner) {
    struct worker *worker = owner;
    struct order order = take_order(message);
    if (worker->draining) {
        close(order.fd);
        atomic_fetch_sub_explicit(&worker->n_clients, 1, memory_order_relaxed);
        return;
    }
    uint32_t slot = take_slot(worker);
    worker->clients[slot] = client_open(worker, slot, order.fd, order.transport);
    if (!worker->clients[slot]) worker_release_slot(worker, slot);
}

void worker_adopt(struct worker *worker, int fd, const struct transport *transport) {
    atomic_fetch_add_explicit(&worker->n_clients, 1, memory_order_relaxed);
    send_order(worker, (struct order){.fd = fd, .transport = transport}, run_adopt);
}

static void run_kill(struct loop_message *message, void *owner) {
    struct worker *worker = owner;
    struct order order = take_order(message);
    struct client *client = worker_client(worker, order.slot, order.client_id);
    if (client) client_close(client);
}

static void run_overrun(struct loop_message *message, void *owner) {
    struct worker *worker = owner;
    struct order order = take_order(message);
    struct client *client = worker_client(worker, order.slot, order.client_id);
    if (!client) return;
    client_overrun(client);
    client_close(client);
}

void worker_overrun(struct worker *worker, uint32_t slot, uint64_t id) {
    send_order(worker, (struct order){.slot = slot, .client_id = id}, run_overrun);
}

void worker_kill(struct worker *worker, uint32_t slot, uint64_t id) {
    send_order(worker, (struct order){.slot = slot, .client_id = id}, run_kill);
}

static void run_unblock(struct loop_message *message, void *owner) {
    struct worker *worker = owner;
    struct order order = take_order(message);
    struct client *client = worker_client(worker, order.slot, order.client_id);
    if (client) client_unblock(client, order.error);
}

void worker_unblock(struct worker *worker, uint32_t slot, uint64_t id, bool error) {
    send_order(worker, (struct order){.slot = slot, .client_id = id, .error = error}, run_unblock);
}

static void close_clients(struct worker *worker) {
    for (uint32_t slot = 0; slot < worker->n_slots; slot++)
        if (worker->clients[slot]) client_close(worker->clients[slot]);
}

static void drain_is_over(void *arg, int64_t now_us) {
    (void)now_us;
    struct worker *worker = arg;
    close_clients(worker);
    loop_stop(worker->loop);
}

static void run_drain(struct loop_message *message, void *owner) {
    struct worker *worker = owner;
    struct order order = take_order(message);
    worker->draining = true;
    for (uint32_t slot = 0; slot < worker->n_slots; slot++)
        if (worker->clients[slot]) client_drain(worker->clients[slot]);
    loop_timer_set(worker->loop, &worker->drain_timer, order.deadline_us);
}

void worker_drain(struct worker *worker, int64_t deadline_us) {
    send_order(worker, (struct order){.deadline_us = deadline_us}, run_drain);
}

/* --- life -------------------------------------------------------------------------------------------------- */

static void make_metrics(struct worker_metrics *cells, struct metrics *metrics) {
    cells->connections = metrics_counter(metrics, "freshet_cache_connections_total",
                                         "RESP connections accepted.", NULL);
    cells->rejected =
        metrics_counter(metrics, "freshet_cache_connections_rejected_total",
                        "RESP connections refused because there were max_clients already.", NULL);
    cells->clients = metrics_gauge(metrics, "freshet_cache_clients", "RESP connections now.", NULL);
    cells->waiting =
        metrics_gauge(metrics, "freshet_cache_clients_waiting",
                      "RESP connections whose command waits for rows or an event.", NULL);
    cells->blocked = metrics_gauge(
        metrics, "freshet_cache_clients_blocked",
        "RESP connections whose command waits for an event, such as an element in a list.", NULL);
    cells->commands =
        metrics_counter(metrics, "freshet_cache_commands_total", "Commands answered.", NULL);
    cells->error_replies = metrics_counter(metrics, "freshet_cache_error_replies_total",
                                           "Error replies to RESP clients.", NULL);
    cells->bytes_in = metrics_counter(metrics, "freshet_cache_received_bytes_total",
                                      "Bytes read from RESP clients.", NULL);
    cells->bytes_out = metrics_counter(metrics, "freshet_cache_sent_bytes_total",
                                       "Bytes sent to RESP clients.", NULL);
    cells->reads = metrics_counter(metrics, "freshet_cache_socket_reads_total",
                                   "Reads of RESP connections that brought bytes.", NULL);
    cells->sends = metrics_counter(metrics, "freshet_cache_socket_writes_total",
                                   "Writes to RESP connections that took bytes.", NULL);
    cells->protocol_errors =
        metrics_counter(metrics, "freshet_cache_protocol_errors_total",
                        "RESP connections closed because of what they sent.", NULL);
    cells->pushes =
        metrics_counter(metrics, "freshet_cache_pushes_total",
                        "Messages, invalidations and MONITOR lines handed to RESP clients.", NULL);
    cells->output_limit_closes =
        metrics_counter(metrics, "freshet_cache_output_limit_closes_total",
                        "RESP connections closed because they did not read their replies.", NULL);
}

struct worker *worker_create(const struct worker_deps *deps, uint32_t index, struct error *err) {
    struct loop *loop = loop_create(err);
    if (!loop) return NULL;
    struct worker *worker = mem_zalloc(sizeof *worker);
    worker->deps = *deps;
    worker->index = index;
    worker->loop = loop;
    worker->now_ms = clock_wall_us() / 1000;
    worker->read_bytes = mem_alloc(WORKER_READ_BYTES);
    resp_init(&worker->parser, RESP_MAX_BULK_DEFAULT);
    make_metrics(&worker->metrics, deps->metrics);
    account_init(&worker->account, deps->stats, index);

    loop_around_sleep(loop, on_sleep, on_wake, worker);
    loop_each_turn(loop, on_turn_end, worker);
    worker->expire_timer = (struct loop_timer){.fire = expire, .arg = worker};
    worker->tick_timer = (struct loop_timer){.fire = tick, .arg = worker};
    worker->again_timer = (struct loop_timer){.fire = ignore};
    worker->drain_timer = (struct loop_timer){.fire = drain_is_over, .arg = worker};
    int64_t now_us = loop_now_us(loop);
    loop_timer_set(loop, &worker->expire_timer, now_us + EXPIRE_EVERY_US);
    loop_timer_set(loop, &worker->tick_timer, now_us + TICK_US);
    worker->sampled_us = now_us;
    return worker;
}

void worker_destroy(struct worker **worker) {
    struct worker *w = *worker;
    if (!w) return;
    ASSERT(!w->started);
    loop_deliver(w->loop); /* what others have sent since it ended */
    loop_destroy(&w->loop);
    mem_free(w->clients);
    mem_free(w->free_slots);
    mem_free(w->backlog);
    mem_free(w->pushed);
    mem_free(w->read_bytes);
    buf_deinit(&w->replies);
    resp_deinit(&w->parser);
    mem_free(w->argv);
    buf_deinit(&w->hashes);
    mem_free(w);
    *worker = NULL;
}

static void *run(void *arg) {
    struct worker *worker = arg;
    hugepages_for_thread(); /* entries are made on workers */
    store_reader_enter(worker->deps.store, worker->index);
    loop_run(worker->loop);
    close_clients(worker);
    store_reader_leave(worker->deps.store, worker->index);
    return NULL;
}

bool worker_start(struct worker *worker, struct error *err) {
    int failure = pthread_create(&worker->thread, NULL, run, worker);
    if (failure)
        return error_set(err, ERROR_SYSTEM, true, "cannot start worker %u: %s", worker->index,
                         strerror(failure));
    worker->started = true;
    return true;
}

void worker_join(struct worker *worker) {
    if (!worker->started) return;
    pthread_join(worker->thread, NULL);
    worker->started = false;
}
