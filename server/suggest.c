#include "server/suggest.h"

#include <string.h>
#include <strings.h>

enum { LONGEST_WORD = 64 };

static uint32_t least(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Letters to insert, delete, replace or swap with their neighbour (optimal string alignment). */
static uint32_t distance(const char *a, const char *b) {
    uint32_t rows[3][LONGEST_WORD + 1];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    if (a_len > LONGEST_WORD || b_len > LONGEST_WORD) return UINT32_MAX;
    for (uint32_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (uint32_t i = 1; i <= a_len; i++) {
        uint32_t *row = rows[i % 3];
        const uint32_t *above = rows[(i + 2) % 3];
        const uint32_t *twice_above = rows[(i + 1) % 3];
        row[0] = i;
        for (uint32_t j = 1; j <= b_len; j++) {
            bool same = strncasecmp(&a[i - 1], &b[j - 1], 1) == 0;
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + !same);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && twice_above[j - 2] + 1 < row[j]) row[j] = twice_above[j - 2] + 1;
        }
    }
    return rows[a_len % 3][b_len];
}

void suggest(struct suggestion *suggestion, const char *candidate) {
    size_t len = strlen(suggestion->word);
    uint32_t bound = len <= 3 ? 1 : len <= 6 ? 2 : 3;
    uint32_t found = distance(suggestion->word, candidate);
    if (found > bound) return;
    if (suggestion->best && found >= suggestion->distance) return;
    suggestion->best = candidate;
    suggestion->distance = found;
}
