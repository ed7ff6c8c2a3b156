#include "cdc/feed/spool_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    MAX_FOLDERS = 64, /* processes of one name on one folder */
    NAME_BYTES = 24,  /* of a file: an xid */
};

struct spool_directory {
    char *path;
    int fd; /* locked */
};

/* mkdir -p */
static bool make_folders(const char *path) {
    char *copy = mem_strdup(path);
    bool ok = true;
    for (char *at = copy + 1; ok; at++) {
        if (*at != '/' && *at != '\0') continue;
        char was = *at;
        *at = '\0';
        ok = mkdir(copy, 0700) == 0 || errno == EEXIST;
        *at = was;
        if (was == '\0') break;
    }
    int saved = errno;
    mem_free(copy);
    errno = saved;
    return ok;
}

/* Only what we name so: whoever points the option at a folder with other things in it keeps them. */
static bool is_ours(const char *name) {
    return *name && strlen(name) < NAME_BYTES && strspn(name, "0123456789") == strlen(name);
}

static void empty_folder(int fd) {
    int copy = dup(fd);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder) {
        if (copy >= 0) close(copy);
        return;
    }
    rewinddir(folder);
    for (struct dirent *file; (file = readdir(folder));) {
        if (is_ours(file->d_name)) unlinkat(fd, file->d_name, 0);
    }
    closedir(folder);
}

/* -1: somebody else's, or not to be had (errno). */
static int lock_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Takes the first free folder, and empties the others that are free. */
static bool claim(struct spool_directory *directory, const char *parent, const char *name) {
    for (int i = 0; i < MAX_FOLDERS; i++) {
        char *path = mem_printf("%s/%s.%d", parent, name, i);
        bool made = directory->fd < 0 && mkdir(path, 0700) == 0;
        bool there = made || directory->fd >= 0 || errno == EEXIST;
        int fd = there ? lock_folder(path) : -1;
        bool is_end = fd < 0 && errno != EWOULDBLOCK;
        if (fd >= 0) empty_folder(fd);
        if (fd >= 0 && directory->fd < 0) {
            directory->fd = fd;
            directory->path = path;
            continue;
        }
        if (fd >= 0) close(fd);
        mem_free(path);
        if (is_end) break;
    }
    return directory->fd >= 0;
}

struct spool_directory *spool_directory_open(const char *parent, const char *name,
                                             struct error *err) {
    struct spool_directory *directory = mem_zalloc(sizeof *directory);
    directory->fd = -1;
    bool writable = make_folders(parent) && claim(directory, parent, name) &&
                    faccessat(directory->fd, ".", W_OK | X_OK, 0) == 0;
    if (writable) return directory;
    error_set(err, ERROR_SYSTEM, true, "the spool's folder \"%s\" cannot be written: %s", parent,
              strerror(errno));
    spool_directory_close(&directory);
    return NULL;
}

void spool_directory_close(struct spool_directory **directory) {
    struct spool_directory *self = *directory;
    if (!self) return;
    *directory = NULL;
    if (self->fd >= 0) close(self->fd);
    mem_free(self->path);
    mem_free(self);
}

static void name_file(char name[NAME_BYTES], uint64_t xid) {
    snprintf(name, NAME_BYTES, "%llu", (unsigned long long)xid);
}

/* 0, or errno. */
static int write_all(int fd, struct iovec *parts, int n_parts) {
    while (n_parts) {
        ssize_t written = writev(fd, parts, n_parts);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written < 0 ? errno : ENOSPC;
        size_t left = (size_t)written;
        while (n_parts && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            n_parts--;
        }
        if (!n_parts) break;
        parts->iov_base = (char *)parts->iov_base + left;
        parts->iov_len -= left;
    }
    return 0;
}

bool spool_directory_append(struct spool_directory *directory, uint64_t xid, const void *head,
                            size_t head_bytes, const void *body, size_t body_bytes,
                            struct error *err) {
    char name[NAME_BYTES];
    name_file(name, xid);
    int fd =
        openat(directory->fd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int failure = fd < 0 ? errno : 0;
    struct iovec parts[] = {{(void *)(uintptr_t)head, head_bytes},
                            {(void *)(uintptr_t)body, body_bytes}};
    if (!failure) failure = write_all(fd, parts, 2);
    if (fd >= 0 && close(fd) != 0 && !failure) failure = errno;
    if (!failure) return true;
    return error_set(err, ERROR_SYSTEM, true,
                     "spool \"%s\": %s. Open transactions are sent again, at their commits",
                     directory->path, strerror(failure));
}

void spool_directory_remove(struct spool_directory *directory, uint64_t xid) {
    char name[NAME_BYTES];
    name_file(name, xid);
    unlinkat(directory->fd, name, 0);
}

int spool_directory_take(struct spool_directory *directory, uint64_t xid) {
    char name[NAME_BYTES];
    name_file(name, xid);
    int fd = openat(directory->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) unlinkat(directory->fd, name, 0);
    return fd;
}

bool spool_directory_read(int fd, void *to, size_t bytes) {
    char *at = to;
    while (bytes) {
        ssize_t n = read(fd, at, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}
