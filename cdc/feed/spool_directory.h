/* spool_directory.h: the files of a spool: a folder that one process has to itself, with a file for each transaction.
 *
 * PARENT/NAME.0, NAME.1, ...: the first that nobody holds a lock of is ours, and what lies in those that nobody holds is
 * deleted: their processes are dead. (A frozen one still holds its own.) One thread. */
#ifndef FRESHET_CDC_SPOOL_DIRECTORY_H
#define FRESHET_CDC_SPOOL_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct spool_directory;

struct spool_directory *spool_directory_open(const char *parent, const char *name,
                                             struct error *err);
void spool_directory_close(struct spool_directory **directory);

/* Adds head and body to the transaction's file. */
bool spool_directory_append(struct spool_directory *directory, uint64_t xid, const void *head,
                            size_t head_bytes, const void *body, size_t body_bytes,
                            struct error *err) MUST_CHECK;
void spool_directory_remove(struct spool_directory *directory, uint64_t xid);
/* Opens the file for reading and takes its name away. -1: errno tells. */
int spool_directory_take(struct spool_directory *directory, uint64_t xid);
/* All of `bytes`, or false. */
bool spool_directory_read(int fd, void *to, size_t bytes) MUST_CHECK;

#endif
