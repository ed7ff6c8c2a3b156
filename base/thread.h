/* thread.h: threads that leave signals to the main one. */
#ifndef FRESHET_BASE_THREAD_H
#define FRESHET_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* pthread_create's code: 0, or an errno. `name` of at most 15 bytes; NULL: that of whoever starts it. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

/* The calling thread, which does little at a time, waits less for the time slices of others: its own get short (EEVDF's custom
 * slices, from Linux 6.12 on). Returns what they are now, in nanoseconds; 0: the kernel has none, and nothing has changed. */
uint64_t thread_be_prompt(void);

#endif
