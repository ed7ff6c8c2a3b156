/* checksum.h: SHA-256 in hex, as sha256sum prints it; in one go or as bytes come. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_CHECKSUM_H
#define FRESHET_CONNECTORS_ARCHIVE_CHECKSUM_H

#include "base/slice.h"

enum { CHECKSUM_CHARS = 64 };

struct checksum;

struct checksum *checksum_create(void);
void checksum_destroy(struct checksum **checksum);
void checksum_reset(struct checksum *checksum);
void checksum_add(struct checksum *checksum, struct slice bytes);
/* Of what was added so far; more may follow. `hex` has CHECKSUM_CHARS + 1 bytes. */
void checksum_hex(const struct checksum *checksum, char *hex);

void checksum_of(struct slice bytes, char *hex);

#endif
