/* activation.h: listening sockets that systemd hands over (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES). */
#ifndef FRESHET_SERVER_ACTIVATION_H
#define FRESHET_SERVER_ACTIVATION_H

#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "cache/cache.h"

/* What the environment says, if it says it to this process; 0: nothing was handed over. A socket whose FileDescriptorName is `tls`
 * speaks TLS. The array is the arena's. */
uint32_t activation_read(char *const *environment, pid_t self, struct arena *arena,
                         const struct cache_socket **sockets);

#endif
