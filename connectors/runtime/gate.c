#include "connectors/runtime/gate.h"

enum { SECOND_US = 1000000, BATCHES_PER_SECOND = 10 };

int64_t gate_wait_us(const struct gate *gate, int64_t now_us) {
    if (gate->paused) return GATE_CLOSED;
    return gate->due_us > now_us ? gate->due_us - now_us : 0;
}

void gate_passed(struct gate *gate, size_t n_writes, int64_t now_us) {
    uint64_t rate = gate->config.writes_per_second;
    gate->failures = 0;
    if (!rate) return;
    /* What was not used before is not saved up. */
    if (gate->due_us < now_us) gate->due_us = now_us;
    gate->due_us += (int64_t)(n_writes * SECOND_US / rate);
}

int64_t gate_failed(struct gate *gate, struct backoff *backoff) {
    gate->failures++;
    int64_t wait_us = backoff_next_us(backoff);
    return gate_broken(gate) ? gate->config.breaker_pause_us : wait_us;
}

bool gate_broken(const struct gate *gate) {
    return gate->config.breaker_failures && gate->failures >= gate->config.breaker_failures;
}

size_t gate_batch_writes(const struct gate_config *config) {
    uint64_t rate = config->writes_per_second;
    if (!rate) return 0;
    return rate < BATCHES_PER_SECOND ? 1 : (size_t)(rate / BATCHES_PER_SECOND);
}
