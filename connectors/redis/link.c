#include "connectors/redis/link.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "connectors/redis/command.h"

enum { POLL_SLICE_MS = 200, READ_BYTES = 64 * 1024, WRITE_BYTES = 256 * 1024 };

struct link {
    char *host;
    char *port;
    char *name; /* host:port */
    char *user;
    char *password;
    char *database;
    const _Atomic bool *stop;
    SSL_CTX *tls; /* NULL: none */

    int fd; /* -1: closed */
    SSL *ssl;
    redisReader *reader;
    short wants; /* poll's events that the last read or write waits for */
    char *input;
};

/* ---- the configuration ---- */

static char *url_part(CURLU *url, CURLUPart part, unsigned flags) {
    char *text = NULL;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK || !text) return NULL;
    char *copy = mem_strdup(text);
    curl_free(text);
    return copy;
}

/* "[::1]" as getaddrinfo takes it. */
static void strip_brackets(char *host) {
    size_t len = strlen(host);
    if (len < 2 || host[0] != '[') return;
    memmove(host, host + 1, len - 2);
    host[len - 2] = '\0';
}

static bool read_url(struct link *link, const char *text, bool *tls, struct error *err) {
    CURLU *url = curl_url();
    if (!url) abort();
    char *scheme = NULL;
    char *path = NULL;
    bool read = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    if (read) {
        scheme = url_part(url, CURLUPART_SCHEME, 0);
        link->host = url_part(url, CURLUPART_HOST, 0);
        link->port = url_part(url, CURLUPART_PORT, 0);
        link->user = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
        link->password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
        path = url_part(url, CURLUPART_PATH, 0);
        *tls = scheme && strcmp(scheme, "rediss") == 0;
        read = scheme && (*tls || strcmp(scheme, "redis") == 0) && link->host && link->host[0];
    }
    const char *database = path && path[0] == '/' ? path + 1 : "";
    if (read) read = strspn(database, "0123456789") == strlen(database) && strlen(database) < 9;
    if (read) {
        strip_brackets(link->host);
        if (!link->port) link->port = mem_strdup("6379");
        link->database = mem_strdup(database[0] ? database : "0");
        link->name = mem_printf("%s:%s", link->host, link->port);
    }
    curl_url_cleanup(url);
    mem_free(scheme);
    mem_free(path);
    return read || error_set(err, ERROR_CONFIG, false,
                             "the url is not redis://host:port/database, nor rediss:// for TLS");
}

static bool tls_error(struct error *err, enum error_code code, const char *what) {
    char reason[200] = "";
    unsigned long number = ERR_get_error();
    if (number) ERR_error_string_n(number, reason, sizeof reason);
    ERR_clear_error();
    return error_set(err, code, code != ERROR_CONFIG, "%s: %s", what,
                     number ? reason : "the connection was closed");
}

static bool prepare_tls(struct link *link, const struct link_config *config, struct error *err) {
    link->tls = SSL_CTX_new(TLS_client_method());
    if (!link->tls) return tls_error(err, ERROR_CONFIG, "TLS");
    SSL_CTX_set_min_proto_version(link->tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(link->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(link->tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (config->ca ? SSL_CTX_load_verify_locations(link->tls, config->ca, NULL) != 1
                   : SSL_CTX_set_default_verify_paths(link->tls) != 1)
        return tls_error(err, ERROR_CONFIG, config->ca ? config->ca : "the system's certificates");
    if (!config->certificate) return true;
    if (SSL_CTX_use_certificate_chain_file(link->tls, config->certificate) != 1)
        return tls_error(err, ERROR_CONFIG, config->certificate);
    const char *key = config->key ? config->key : config->certificate;
    return SSL_CTX_use_PrivateKey_file(link->tls, key, SSL_FILETYPE_PEM) == 1 ||
           tls_error(err, ERROR_CONFIG, key);
}

static void replace(char **text, const char *by) {
    if (!by || !by[0]) return;
    mem_free(*text);
    *text = mem_strdup(by);
}

struct link *link_create(const struct link_config *config, struct error *err) {
    struct link *link = mem_zalloc(sizeof *link);
    link->fd = -1;
    link->stop = config->stop;
    link->input = mem_alloc(READ_BYTES);
    bool tls = false;
    if (!read_url(link, config->url ? config->url : "", &tls, err) ||
        (tls && !prepare_tls(link, config, err))) {
        link_destroy(&link);
        return NULL;
    }
    replace(&link->user, config->user);
    replace(&link->password, config->password);
    return link;
}

void link_destroy(struct link **link) {
    struct link *old = *link;
    *link = NULL;
    if (!old) return;
    link_close(old);
    SSL_CTX_free(old->tls);
    mem_free(old->host);
    mem_free(old->port);
    mem_free(old->name);
    mem_free(old->user);
    mem_free(old->password);
    mem_free(old->database);
    mem_free(old->input);
    mem_free(old);
}

const char *link_name(const struct link *link) { return link->name; }

bool link_is_open(const struct link *link) { return link->fd >= 0; }

void link_close(struct link *link) {
    SSL_free(link->ssl);
    link->ssl = NULL;
    if (link->reader) redisReaderFree(link->reader);
    link->reader = NULL;
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
}

/* ---- waiting ---- */

static bool fail(struct link *link, enum error_code code, struct error *err, const char *what) {
    error_set(err, code, true, "redis %s: %s", link->name, what);
    link_close(link);
    return false;
}

/* Waits for what the last call wants. */
static bool wait_for(struct link *link, int64_t due_us, struct error *err) {
    while (true) {
        if (link->stop && atomic_load_explicit(link->stop, memory_order_relaxed))
            return fail(link, ERROR_STOPPED, err, "given up: stopping");
        int64_t left_ms = (due_us - clock_mono_us()) / 1000;
        if (left_ms <= 0) return fail(link, ERROR_TIMEOUT, err, "does not answer");
        struct pollfd waiter = {.fd = link->fd, .events = link->wants};
        int n = poll(&waiter, 1, (int)(left_ms < POLL_SLICE_MS ? left_ms : POLL_SLICE_MS));
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return fail(link, ERROR_SYSTEM, err, strerror(errno));
    }
}

/* ---- bytes: > 0 so many, 0: later, < 0: the connection is gone ---- */

static ssize_t tls_result(struct link *link, int n) {
    if (n > 0) return n;
    switch (SSL_get_error(link->ssl, n)) {
    case SSL_ERROR_WANT_READ: link->wants |= POLLIN; return 0;
    case SSL_ERROR_WANT_WRITE: link->wants |= POLLOUT; return 0;
    default: return -1;
    }
}

static ssize_t plain_result(struct link *link, ssize_t n, short wants) {
    if (n > 0) return n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        link->wants |= wants;
        return 0;
    }
    if (n == 0) errno = ECONNRESET;
    return -1;
}

static ssize_t write_some(struct link *link, struct slice bytes) {
    size_t len = bytes.len < WRITE_BYTES ? bytes.len : WRITE_BYTES;
    if (link->ssl) return tls_result(link, SSL_write(link->ssl, bytes.data, (int)len));
    return plain_result(link, send(link->fd, bytes.data, len, MSG_NOSIGNAL), POLLOUT);
}

static ssize_t read_some(struct link *link) {
    if (link->ssl) return tls_result(link, SSL_read(link->ssl, link->input, READ_BYTES));
    return plain_result(link, recv(link->fd, link->input, READ_BYTES, 0), POLLIN);
}

/* ---- a pipeline ---- */

static bool take_replies(struct link *link, size_t n, struct replies *replies, struct error *err) {
    while (replies->n < n) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK)
            return fail(link, ERROR_PROTOCOL, err, link->reader->errstr);
        if (!reply) return true;
        replies->at[replies->n++] = reply;
    }
    return true;
}

static bool lost(struct link *link, struct error *err) {
    const char *reason = errno ? strerror(errno) : "the connection is lost";
    return fail(link, ERROR_UNAVAILABLE, err, reason);
}

bool link_exchange(struct link *link, struct slice commands, size_t n, struct replies *replies,
                   struct error *err) {
    *replies = (struct replies){.at = mem_calloc(n + 1, sizeof *replies->at)};
    size_t sent = 0;
    int64_t due_us = clock_mono_us() + LINK_STALL_TIMEOUT_MS * 1000LL;
    bool done = true;
    while (done && replies->n < n) {
        errno = 0;
        link->wants = 0;
        ssize_t written = 0;
        if (sent < commands.len)
            written = write_some(link, slice_make(commands.data + sent, commands.len - sent));
        ssize_t got = written < 0 ? -1 : read_some(link);
        if (written < 0 || got < 0) {
            done = lost(link, err);
        } else if (written == 0 && got == 0) {
            done = wait_for(link, due_us, err);
        } else {
            sent += (size_t)written;
            due_us = clock_mono_us() + LINK_STALL_TIMEOUT_MS * 1000LL;
            redisReaderFeed(link->reader, link->input, (size_t)got);
            done = take_replies(link, n, replies, err);
        }
    }
    if (!done) replies_deinit(replies);
    return done;
}

size_t link_push(struct link *link, struct slice commands) {
    size_t sent = 0;
    while (link_is_open(link) && sent < commands.len) {
        ssize_t n = write_some(link, slice_make(commands.data + sent, commands.len - sent));
        if (n <= 0) break;
        sent += (size_t)n;
    }
    return sent;
}

void replies_deinit(struct replies *replies) {
    for (size_t i = 0; i < replies->n; i++)
        freeReplyObject(replies->at[i]);
    mem_free(replies->at);
    *replies = (struct replies){0};
}

/* ---- opening ---- */

static bool finish_connect(struct link *link, int64_t due_us, struct error *err) {
    link->wants = POLLOUT;
    if (!wait_for(link, due_us, err)) return false;
    int code = 0;
    socklen_t size = sizeof code;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
    if (code) return fail(link, ERROR_UNAVAILABLE, err, strerror(code));
    int on = 1;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return true;
}

static bool connect_to(struct link *link, const struct addrinfo *address, int64_t due_us,
                       struct error *err) {
    link->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) return fail(link, ERROR_SYSTEM, err, strerror(errno));
    if (connect(link->fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
        return fail(link, ERROR_UNAVAILABLE, err, strerror(errno));
    return finish_connect(link, due_us, err);
}

/* Each address that the name has, until one answers. */
static bool dial(struct link *link, int64_t due_us, struct error *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses;
    int code = getaddrinfo(link->host, link->port, &hints, &addresses);
    if (code) return fail(link, ERROR_UNAVAILABLE, err, gai_strerror(code));
    bool connected = false;
    for (struct addrinfo *one = addresses; one && !connected; one = one->ai_next)
        connected = connect_to(link, one, due_us, err);
    freeaddrinfo(addresses);
    return connected;
}

static bool handshake(struct link *link, int64_t due_us, struct error *err) {
    link->ssl = SSL_new(link->tls);
    if (!link->ssl) return tls_error(err, ERROR_SYSTEM, "TLS");
    SSL_set_fd(link->ssl, link->fd);
    struct in6_addr ignored;
    bool is_address = inet_pton(AF_INET, link->host, &ignored) == 1 ||
                      inet_pton(AF_INET6, link->host, &ignored) == 1;
    if (is_address) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link->ssl), link->host);
    } else {
        SSL_set_tlsext_host_name(link->ssl, link->host);
        SSL_set1_host(link->ssl, link->host);
    }
    while (true) {
        link->wants = 0;
        ssize_t result = tls_result(link, SSL_connect(link->ssl));
        if (result > 0) return true;
        if (result < 0) {
            long verdict = SSL_get_verify_result(link->ssl);
            if (verdict != X509_V_OK)
                return fail(link, ERROR_REFUSED, err, X509_verify_cert_error_string(verdict));
            char what[300];
            snprintf(what, sizeof what, "redis %s: TLS", link->name);
            link_close(link);
            return tls_error(err, ERROR_UNAVAILABLE, what);
        }
        if (!wait_for(link, due_us, err)) return false;
    }
}

/* AUTH, as a user or with a password alone, and SELECT. */
static bool greet(struct link *link, struct error *err) {
    struct buf commands = {0};
    bool authenticates = link->password != NULL;
    if (authenticates && link->user && link->user[0])
        command_text(&commands, 3, "AUTH", link->user, link->password);
    else if (authenticates)
        command_text(&commands, 2, "AUTH", link->password);
    command_text(&commands, 2, "SELECT", link->database);
    struct replies replies;
    bool done = link_exchange(link, buf_slice(&commands), 1u + authenticates, &replies, err);
    for (size_t i = 0; done && i < replies.n; i++) {
        if (replies.at[i]->type != REDIS_REPLY_ERROR) continue;
        done = link_refused(link, replies.at[i], authenticates && i == 0 ? "AUTH" : "SELECT", err);
    }
    replies_deinit(&replies);
    buf_deinit(&commands);
    if (!done) link_close(link);
    return done;
}

bool link_open(struct link *link, struct error *err) {
    if (link->fd >= 0) return true;
    int64_t due_us = clock_mono_us() + LINK_CONNECT_TIMEOUT_MS * 1000LL;
    if (!dial(link, due_us, err)) return false;
    if (link->tls && !handshake(link, due_us, err)) return false;
    link->reader = redisReaderCreate();
    return greet(link, err);
}

/* ---- what the server says no with ---- */

bool link_refused(const struct link *link, const redisReply *reply, const char *what,
                  struct error *err) {
    /* Users and their rights are the server's to mend: a restarted one may not have loaded them yet. */
    static const char *const passing[] = {"OOM",         "LOADING",   "MISCONF",    "READONLY",
                                          "BUSY",        "TRYAGAIN",  "MASTERDOWN", "NOREPLICAS",
                                          "CLUSTERDOWN", "WRONGPASS", "NOAUTH",     "NOPERM"};
    bool retriable = false;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        size_t len = strlen(passing[i]);
        if (strncmp(reply->str, passing[i], len) == 0 && reply->str[len] == ' ') retriable = true;
    }
    return error_set(err, ERROR_REFUSED, retriable, "redis %s: %s: %.400s", link->name, what,
                     reply->str);
}
