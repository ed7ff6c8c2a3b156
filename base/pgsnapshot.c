#include "base/pgsnapshot.h"

#include <string.h>

#include "base/mem.h"

/* Takes digits off the front; false: there are none, or too many. */
static bool take_number(struct slice *text, uint64_t *number) {
    size_t i = 0;
    uint64_t value = 0;
    while (i < text->len && text->data[i] >= '0' && text->data[i] <= '9') {
        uint64_t digit = (uint64_t)(text->data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
        i++;
    }
    if (i == 0) return false;
    *number = value;
    *text = slice_make(text->data + i, text->len - i);
    return true;
}

static bool take_char(struct slice *text, char c) {
    if (text->len == 0 || text->data[0] != c) return false;
    *text = slice_make(text->data + 1, text->len - 1);
    return true;
}

static bool take_running(struct slice text, struct pgsnapshot *snapshot) {
    uint32_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == ',';
    if (n > PGSNAPSHOT_MAX_RUNNING) return false;
    snapshot->running = mem_calloc(n, sizeof *snapshot->running);
    while (take_number(&text, &snapshot->running[snapshot->n_running])) {
        uint64_t xid = snapshot->running[snapshot->n_running];
        uint64_t least =
            snapshot->n_running ? snapshot->running[snapshot->n_running - 1] + 1 : snapshot->xmin;
        if (xid < least || xid >= snapshot->xmax) return false;
        snapshot->n_running++;
        if (text.len == 0) return true;
        if (!take_char(&text, ',')) return false;
    }
    return false;
}

bool pgsnapshot_parse(struct slice text, struct pgsnapshot *snapshot) {
    *snapshot = (struct pgsnapshot){0};
    if (!take_number(&text, &snapshot->xmin) || !take_char(&text, ':') ||
        !take_number(&text, &snapshot->xmax) || !take_char(&text, ':') ||
        snapshot->xmin > snapshot->xmax)
        return false;
    if (text.len == 0 || take_running(text, snapshot)) return true;
    pgsnapshot_deinit(snapshot);
    return false;
}

void pgsnapshot_copy(struct pgsnapshot *copy, const struct pgsnapshot *snapshot) {
    *copy = *snapshot;
    copy->running = NULL;
    if (snapshot->n_running == 0) return;
    copy->running = mem_calloc(snapshot->n_running, sizeof *copy->running);
    memcpy(copy->running, snapshot->running, snapshot->n_running * sizeof *copy->running);
}

void pgsnapshot_deinit(struct pgsnapshot *snapshot) {
    mem_free(snapshot->running);
    *snapshot = (struct pgsnapshot){0};
}

static void exclude_running(struct pgsnapshot *snapshot, uint64_t xid) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < snapshot->n_running; i++)
        if (snapshot->running[i] != xid) snapshot->running[kept++] = snapshot->running[i];
    snapshot->n_running = kept;
}

bool pgsnapshot_include(struct pgsnapshot *snapshot, uint64_t xid) {
    if (xid < snapshot->xmax) {
        exclude_running(snapshot, xid);
        return true;
    }
    /* Those between were given before it, and are not over. */
    uint64_t n = snapshot->n_running + (xid - snapshot->xmax);
    if (n > PGSNAPSHOT_MAX_RUNNING) return false;
    snapshot->running = mem_realloc(snapshot->running, (n + 1) * sizeof *snapshot->running);
    while (snapshot->xmax < xid)
        snapshot->running[snapshot->n_running++] = snapshot->xmax++;
    snapshot->xmax = xid + 1;
    return true;
}

bool pgsnapshot_sees(const struct pgsnapshot *snapshot, uint64_t xid) {
    if (xid < snapshot->xmin) return true;
    if (xid >= snapshot->xmax) return false;
    uint32_t low = 0;
    uint32_t high = snapshot->n_running;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (snapshot->running[middle] == xid) return false;
        if (snapshot->running[middle] < xid)
            low = middle + 1;
        else
            high = middle;
    }
    return true;
}

bool pgsnapshot_shows(const struct pgsnapshot *snapshot, uint64_t xid, uint64_t lsn) {
    if (!snapshot->standby) return pgsnapshot_sees(snapshot, xid);
    return lsn != 0 && lsn <= snapshot->lsn;
}
