#include "server/verify_archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "connectors/archive/examine.h"
#include "server/cli.h"

struct flaws {
    uint64_t n[N_ARCHIVE_FLAWS];
};

static void tell_flaw(void *arg, const char *segment, enum archive_flaw flaw,
                      const struct error *why) {
    struct flaws *flaws = arg;
    flaws->n[flaw]++;
    printf("%-9s  %s  %s\n", archive_flaw_name(flaw), segment, why->message);
}

int verify_archive(const char *path) {
    struct flaws flaws = {0};
    struct archive_sums sums;
    struct error err;
    if (!archive_examine(path, tell_flaw, &flaws, &sums, &err)) {
        fprintf(stderr, "verify: %s\n", err.message);
        return EXIT_FAILED;
    }
    bool whole = true;
    printf("%s: %" PRIu64 " segments with %" PRIu64 " records are whole", path, sums.segments,
           sums.records);
    for (int i = 0; i < N_ARCHIVE_FLAWS; i++) {
        printf("; %s %" PRIu64, archive_flaw_name((enum archive_flaw)i), flaws.n[i]);
        whole = whole && flaws.n[i] == 0;
    }
    putchar('\n');
    return whole ? EXIT_DONE : EXIT_FAILED;
}
