/* reader.h: an archive from its beginning, in order.
 *
 *     archive_read(path, &handler, &sums, err)
 *
 * Each segment's checksum is looked at before any of it is handed out; what follows the last commit is not read. A process
 * may write the archive meanwhile. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_READER_H
#define FRESHET_CONNECTORS_ARCHIVE_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "connectors/archive/examine.h"
#include "connectors/archive/manifest.h"
#include "connectors/document/shape.h"
#include "connectors/runtime/record.h"

/* A false ends the reading. */
struct archive_handler {
    /* Before everything else. */
    bool (*begin)(void *self, const struct manifest *manifest, struct error *err);
    /* Of the records from now on; the same as before may be told again. Borrowed. */
    bool (*shape)(void *self, struct shape *shape, struct error *err);
    /* Valid during the call. */
    bool (*record)(void *self, const struct record *record, struct error *err);
    void *self;
};

/* ERROR_CONFLICT: a segment is damaged or missing, or the manifest is; sums tells how far it came. */
bool archive_read(const char *path, const struct archive_handler *handler,
                  struct archive_sums *sums, struct error *err) MUST_CHECK;

#endif
