/* mistakes.h: what is wrong with a configuration, all of it in one run.
 *
 *     mistakes_add(mistakes, "freshet.yml:3:5", "cache.ttl", "\"5\" has no unit, write ...");
 *
 * A mistake prints as `where: key: what is wrong, what would be right`, the key left out where there is none. They
 * keep the order in which they were found. One thread. */
#ifndef FRESHET_SERVER_MISTAKES_H
#define FRESHET_SERVER_MISTAKES_H

#include <stdint.h>
#include <stdio.h>

enum { MISTAKES_MAX = 200 /* past that they are counted, not kept */ };

struct mistakes;

struct mistakes *mistakes_create(void);
void mistakes_destroy(struct mistakes **mistakes);
void mistakes_add(struct mistakes *mistakes, const char *where, const char *key, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));
uint32_t mistakes_count(const struct mistakes *mistakes);
/* The i-th line, or NULL past the last that was kept. */
const char *mistakes_line(const struct mistakes *mistakes, uint32_t i);
/* A line each. */
void mistakes_print(const struct mistakes *mistakes, FILE *out);

#endif
