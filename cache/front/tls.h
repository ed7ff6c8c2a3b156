/* tls.h: TLS for the RESP listeners, by OpenSSL, as a transport of stream.h.
 *
 *     struct tls *tls = tls_create(&config, log, metrics, err);
 *     worker_adopt(worker, fd, tls_transport(tls));
 *     tls_reload(tls, err);                             any thread: new certificates for connections from now on
 *     tls_destroy(&tls);                                once all its connections are closed
 *
 * Hands are shaken by the connection's worker when bytes arrive, so a slow peer holds up nobody; who has not shaken hands after
 * handshake_timeout_ms is closed. TLS 1.2 and 1.3, no compression, no renegotiation. */
#ifndef FRESHET_CACHE_TLS_H
#define FRESHET_CACHE_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"

struct tls;
struct transport;

enum tls_clients { TLS_CLIENTS_OFF, TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED };

/* cache.tls; files are PEM. */
struct tls_config {
    const char *certificate; /* with the chain behind it; NULL: no TLS */
    const char *key;
    const char *ca;     /* who signs the clients' certificates; NULL where none is asked for */
    uint32_t clients;   /* enum tls_clients: must they have a certificate? */
    const char *listen; /* a port of its own, "host:port"; NULL: cache.listen speaks TLS alone */
    int64_t handshake_timeout_ms;
};

struct tls *tls_create(const struct tls_config *config, struct log *log, struct metrics *metrics,
                       struct error *err);
void tls_destroy(struct tls **tls);
/* False: what is wrong with the files; the certificates are those from before. */
bool tls_reload(struct tls *tls, struct error *err) MUST_CHECK;
const struct transport *tls_transport(const struct tls *tls);

#endif
