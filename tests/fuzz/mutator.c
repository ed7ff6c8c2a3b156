/* mutator.c: runs a fuzz target without libFuzzer: its corpus, and deterministic mutations of it, for a time.
 *
 *     fuzz_resp [-max_total_time=SECONDS] [-other=ignored] FOLDER...
 *
 * Only a stand-in: it sees no coverage. The same inputs come in the same order each time. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

enum { MAX_SEEDS = 4096, MAX_INPUT_BYTES = 64 * 1024, MUTATIONS_MAX = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    size_t len;
    uint8_t *data;
};

struct corpus {
    size_t n;
    struct input seeds[MAX_SEEDS];
};

/* xorshift64*, by Vigna. */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

static void corpus_add(struct corpus *corpus, const void *data, size_t len) {
    if (corpus->n == MAX_SEEDS) return;
    struct input *seed = &corpus->seeds[corpus->n++];
    seed->len = len;
    seed->data = mem_alloc(MAX_INPUT_BYTES);
    memcpy(seed->data, data, len);
}

static void corpus_read(struct corpus *corpus, const char *folder) {
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    static uint8_t bytes[MAX_INPUT_BYTES];
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (file == NULL) continue;
        corpus_add(corpus, bytes, fread(bytes, 1, sizeof bytes, file));
        fclose(file);
    }
    closedir(dir);
}

static void mutate_once(struct input *input, const struct corpus *corpus, uint64_t *random) {
    size_t at = input->len ? next_random(random) % input->len : 0;
    switch (next_random(random) % 6) {
    case 0: /* another byte */
        if (input->len) input->data[at] = (uint8_t)next_random(random);
        break;
    case 1: /* a bit */
        if (input->len) input->data[at] ^= (uint8_t)(1U << (next_random(random) % 8));
        break;
    case 2: /* cut off */ input->len = at; break;
    case 3: /* a byte out */
        if (input->len) memmove(input->data + at, input->data + at + 1, input->len-- - at - 1);
        break;
    case 4: /* a byte in */
        if (input->len == MAX_INPUT_BYTES) break;
        memmove(input->data + at + 1, input->data + at, input->len++ - at);
        input->data[at] = (uint8_t)next_random(random);
        break;
    default: { /* the tail of another */
        const struct input *other = &corpus->seeds[next_random(random) % corpus->n];
        size_t from = other->len ? next_random(random) % other->len : 0;
        size_t n = other->len - from;
        if (n > MAX_INPUT_BYTES - at) n = MAX_INPUT_BYTES - at;
        memcpy(input->data + at, other->data + from, n);
        input->len = at + n;
    }
    }
}

/* From memory of exactly that length, so that a byte read too far is seen. */
static void run(const struct input *input) {
    uint8_t *exact = mem_alloc(input->len);
    memcpy(exact, input->data, input->len);
    LLVMFuzzerTestOneInput(exact, input->len);
    mem_free(exact);
}

int main(int argc, char **argv) {
    static struct corpus corpus;
    double seconds = 10;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-max_total_time=", 16) == 0) seconds = atof(argv[i] + 16);
        if (argv[i][0] != '-') corpus_read(&corpus, argv[i]);
    }
    if (corpus.n == 0) corpus_add(&corpus, "", 0);

    unsigned long long executed = 0;
    for (size_t i = 0; i < corpus.n; i++, executed++)
        run(&corpus.seeds[i]);

    struct input input = {.data = mem_alloc(MAX_INPUT_BYTES)};
    uint64_t random = 20261121;
    time_t end = time(NULL) + (time_t)seconds;
    for (; time(NULL) < end; executed++) {
        const struct input *seed = &corpus.seeds[next_random(&random) % corpus.n];
        input.len = seed->len;
        memcpy(input.data, seed->data, seed->len);
        for (uint64_t n = 1 + next_random(&random) % MUTATIONS_MAX; n > 0; n--)
            mutate_once(&input, &corpus, &random);
        run(&input);
    }
    printf("stat::number_of_executed_units: %llu\n", executed);
    mem_free(input.data);
    for (size_t i = 0; i < corpus.n; i++)
        mem_free(corpus.seeds[i].data);
    return 0;
}
