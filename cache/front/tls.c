#include "cache/front/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/mem.h"
#include "cache/front/stream.h"

enum {
    RECORD_MAX =
        16 * 1024, /* what one record holds at most: SSL_read with less room would leave a rest */
    LOG_EVERY_US = 1000 * 1000,
};

struct tls {
    struct tls_config config;
    struct log *log;
    struct metric *handshakes, *refused;
    struct transport transport;
    _Atomic int64_t logged_us; /* one line a second at most: anybody can send rubbish */
    pthread_mutex_t lock;
    SSL_CTX *context; /* under the lock; connections hold references of their own */
};

/* One connection's; its worker's. */
struct tls_state {
    struct tls *tls;
    SSL *ssl;
    int64_t opened_us;
    bool broken; /* no goodbye can be said any more */
    uint8_t read_wants, write_wants;
};

/* --- certificates ------------------------------------------------------------------------------------------- */

/* What OpenSSL has last complained of, on this thread. */
static const char *complaint(char *text, size_t size) {
    unsigned long code = ERR_peek_last_error();
    if (!code) return "no reason given";
    const char *reason = ERR_reason_error_string(code);
    if (reason) return reason;
    ERR_error_string_n(code, text, size);
    return text;
}

static bool refuse_file(struct error *err, const char *option, const char *path) {
    char text[160];
    return error_set(err, ERROR_CONFIG, false, "cache.tls.%s: cannot use %s: %s", option, path,
                     complaint(text, sizeof text));
}

static bool load_client_ca(SSL_CTX *context, const struct tls_config *config, struct error *err) {
    static const unsigned char session_id[] = "freshet";
    if (config->clients == TLS_CLIENTS_OFF) return true;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->ca);
    if (!names || SSL_CTX_load_verify_locations(context, config->ca, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return refuse_file(err, "ca", config->ca);
    }
    SSL_CTX_set_client_CA_list(context, names);
    int mode = SSL_VERIFY_PEER;
    if (config->clients == TLS_CLIENTS_REQUIRED) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context, mode, NULL);
    /* Without it OpenSSL refuses to resume sessions of clients that were verified. */
    SSL_CTX_set_session_id_context(context, session_id, sizeof session_id - 1);
    return true;
}

static bool load_files(SSL_CTX *context, const struct tls_config *config, struct error *err) {
    if (SSL_CTX_use_certificate_chain_file(context, config->certificate) != 1)
        return refuse_file(err, "certificate", config->certificate);
    /* which also finds out that it is not the key of the certificate */
    if (SSL_CTX_use_PrivateKey_file(context, config->key, SSL_FILETYPE_PEM) != 1)
        return refuse_file(err, "key", config->key);
    return load_client_ca(context, config, err);
}

static SSL_CTX *make_context(const struct tls_config *config, struct error *err) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        error_set(err, ERROR_SYSTEM, false, "cannot set up TLS");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* A reply that waits may have moved, and grown, when it is offered again; an idle connection holds no buffers. */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (load_files(context, config, err)) return context;
    SSL_CTX_free(context);
    return NULL;
}

/* --- one connection ------------------------------------------------------------------------------------------ */

static void *tls_open(void *owner, int fd) {
    struct tls *tls = owner;
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->lock);
    if (!ssl || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_accept_state(ssl);
    struct tls_state *state = mem_zalloc(sizeof *state);
    state->tls = tls;
    state->ssl = ssl;
    state->opened_us = clock_mono_us();
    state->read_wants = LOOP_READ;
    state->write_wants = LOOP_WRITE;
    return state;
}

static void note_refusal(struct tls *tls, const char *cause) {
    int64_t now_us = clock_mono_us();
    int64_t logged_us = atomic_load(&tls->logged_us);
    metric_add(tls->refused, 1);
    if (logged_us && now_us - logged_us < LOG_EVERY_US) return;
    if (atomic_compare_exchange_strong(&tls->logged_us, &logged_us, now_us))
        log_info(tls->log, "tls_refused", "cause=\"%s\"", cause);
}

/* SSL_read, SSL_write, SSL_peek have answered n <= 0: as recv and send would tell it. */
static ssize_t judge(struct tls_state *state, int n, uint8_t *wants) {
    int saved = errno;
    char text[160];
    switch (SSL_get_error(state->ssl, n)) {
    case SSL_ERROR_WANT_READ: *wants = LOOP_READ; break;
    case SSL_ERROR_WANT_WRITE: *wants = LOOP_WRITE; break;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL:
        state->broken = true;
        errno = saved && saved != EAGAIN ? saved : ECONNRESET;
        return -1;
    default:
        state->broken = true;
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return 0;
        note_refusal(state->tls, complaint(text, sizeof text));
        errno = EPROTO;
        return -1;
    }
    errno = EAGAIN;
    return -1;
}

static ssize_t tls_read(void *owner, void *bytes, size_t size) {
    struct tls_state *state = owner;
    size_t done = 0;
    bool shaken = SSL_is_init_finished(state->ssl);
    while (done == 0 || size - done >= RECORD_MAX) {
        ERR_clear_error();
        errno = 0;
        int n = SSL_read(state->ssl, (char *)bytes + done, (int)(size - done));
        if (!shaken && SSL_is_init_finished(state->ssl)) {
            shaken = true;
            metric_add(state->tls->handshakes, 1);
        }
        if (n > 0) {
            state->read_wants = LOOP_READ;
            done += (size_t)n;
            continue;
        }
        ssize_t verdict = judge(state, n, &state->read_wants);
        return done ? (ssize_t)done : verdict; /* an end is met again by the next read */
    }
    return (ssize_t)done;
}

static ssize_t tls_write(void *owner, const void *bytes, size_t len) {
    struct tls_state *state = owner;
    size_t done = 0;
    while (done < len) {
        ERR_clear_error();
        errno = 0;
        size_t most = len - done < INT32_MAX ? len - done : INT32_MAX;
        int n = SSL_write(state->ssl, (const char *)bytes + done, (int)most);
        if (n > 0) {
            state->write_wants = LOOP_WRITE;
            done += (size_t)n;
            continue;
        }
        ssize_t verdict = judge(state, n, &state->write_wants);
        if (done) break;
        if (verdict == 0) errno = ECONNRESET; /* it has said goodbye, and will not read */
        return -1;
    }
    return (ssize_t)done;
}

static bool tls_has_gone(void *owner) {
    struct tls_state *state = owner;
    char byte;
    ERR_clear_error();
    errno = 0;
    int n = SSL_peek(state->ssl, &byte, 1);
    if (n > 0) return false;
    return judge(state, n, &state->read_wants) == 0 || errno != EAGAIN;
}

static unsigned tls_read_wants(const void *state) {
    return ((const struct tls_state *)state)->read_wants;
}

static unsigned tls_write_wants(const void *state) {
    return ((const struct tls_state *)state)->write_wants;
}

static bool tls_has_more(const void *state) {
    return SSL_pending(((const struct tls_state *)state)->ssl) > 0;
}

static bool tls_is_overdue(const void *owner, int64_t now_us) {
    const struct tls_state *state = owner;
    if (SSL_is_init_finished(state->ssl)) return false;
    if (now_us - state->opened_us < state->tls->config.handshake_timeout_ms * 1000) return false;
    note_refusal(state->tls, "no handshake in cache.tls.handshake_timeout");
    return true;
}

static void tls_close(void *owner) {
    struct tls_state *state = owner;
    ERR_clear_error();
    if (!state->broken && SSL_is_init_finished(state->ssl)) SSL_shutdown(state->ssl);
    SSL_free(state->ssl);
    mem_free(state);
}

static const struct transport_ops tls_ops = {
    .name = "tls",
    .open = tls_open,
    .read = tls_read,
    .write = tls_write,
    .read_wants = tls_read_wants,
    .write_wants = tls_write_wants,
    .has_more = tls_has_more,
    .has_gone = tls_has_gone,
    .is_overdue = tls_is_overdue,
    .close = tls_close,
};

/* --- life --------------------------------------------------------------------------------------------------- */

struct tls *tls_create(const struct tls_config *config, struct log *log, struct metrics *metrics,
                       struct error *err) {
    SSL_CTX *context = make_context(config, err);
    if (!context) return NULL;
    struct tls *tls = mem_zalloc(sizeof *tls);
    tls->config = *config;
    tls->log = log;
    tls->context = context;
    tls->transport = (struct transport){&tls_ops, tls};
    pthread_mutex_init(&tls->lock, NULL);
    tls->handshakes = metrics_counter(metrics, "freshet_cache_tls_handshakes_total",
                                      "TLS handshakes of RESP clients.", NULL);
    tls->refused =
        metrics_counter(metrics, "freshet_cache_tls_refused_total",
                        "RESP connections closed because of what TLS makes of them.", NULL);
    return tls;
}

void tls_destroy(struct tls **tls) {
    if (!*tls) return;
    SSL_CTX_free((*tls)->context);
    pthread_mutex_destroy(&(*tls)->lock);
    mem_free(*tls);
    *tls = NULL;
}

bool tls_reload(struct tls *tls, struct error *err) {
    SSL_CTX *context = make_context(&tls->config, err);
    if (!context) return false;
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
    return true;
}

const struct transport *tls_transport(const struct tls *tls) { return &tls->transport; }
