/* thread.h: threads that leave signals to the main one. */
#ifndef FRESHET_BASE_THREAD_H
#define FRESHET_BASE_THREAD_H

#include <pthread.h>

/* pthread_create's code: 0, or an errno. `name` of at most 15 bytes; NULL: that of whoever starts it. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

#endif
