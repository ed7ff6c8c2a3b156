/* replay.h: an archive, written into a connector's sink.
 *
 *     connector_replay(&config, "/backup/users", &deps, &replayed, err)
 *
 * Reads the archive from its beginning and applies what it holds in its order, with the versions that it had: `config` is
 * the connector that the sink is configured by. No change stream is read, and none is confirmed. What the sink refuses
 * goes to the connector's dead letters. The connector's own position is void from then on: when it runs again it
 * loads its table. The connector must not run meanwhile. */
#ifndef FRESHET_CONNECTORS_REPLAY_H
#define FRESHET_CONNECTORS_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "connectors/connector.h"

struct connector_replayed {
    uint64_t segments;
    uint64_t records;
    uint64_t applied; /* writes: of those of one key that met in a batch the last */
    uint64_t stale;   /* the sink had them, or newer ones */
    uint64_t refused;
};

bool connector_replay(const struct connector_config *config, const char *archive,
                      const struct connector_deps *deps, struct connector_replayed *replayed,
                      struct error *err) MUST_CHECK;

#endif
