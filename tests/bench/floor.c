/* floor.c: what the kernel alone costs: an epoll loop that counts newlines and answers so many constant bytes.
 *
 *     floor PORT NEWLINES_A_REQUEST REPLY_BYTES
 *
 * No server with one thread on one epoll that reads and writes each batch once can be below it. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024, FDS = 65536, REPLIES = 4 * 1024 * 1024 };

static uint32_t newlines_left[FDS]; /* of the request that is being read */

static void serve(int fd, uint32_t per_request, size_t reply_bytes, const char *replies) {
    static char buffer[BUFFER];
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) {
        close(fd);
        return;
    }
    size_t requests = 0;
    uint32_t left = newlines_left[fd];
    for (const char *at = buffer; (at = memchr(at, '\n', (size_t)(buffer + n - at))); at++) {
        if (--left) continue;
        requests++;
        left = per_request;
    }
    newlines_left[fd] = left;
    if (requests) (void)!send(fd, replies, requests * reply_bytes, MSG_NOSIGNAL);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    uint32_t per_request = (uint32_t)atoi(argv[2]);
    size_t reply_bytes = (size_t)atoi(argv[3]);
    char *replies = malloc(REPLIES);
    memset(replies, 'x', REPLIES);
    for (size_t at = 0; reply_bytes && at + reply_bytes <= REPLIES; at += reply_bytes)
        memcpy(replies + at + reply_bytes - 2, "\r\n", 2);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 511)) {
        perror("floor");
        return 1;
    }
    int epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listener) {
                serve(events[i].data.fd, per_request, reply_bytes, replies);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0 || fd >= FDS) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            newlines_left[fd] = per_request;
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
