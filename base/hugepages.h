/* hugepages.h: memory of a thread on huge pages, where the kernel has them to give (transparent huge pages: madvise or always).
 *
 *     hugepages_for_thread();        once, at the thread's start
 *
 * For threads that fill a large store which is read at random: with pages of 4 KiB nearly every entry costs a walk of the page
 * tables besides its own cache misses (measured at a million entries: a fifth of the CPU of a GET). The thread gets an arena
 * of jemalloc's of its own, whose new extents ask for huge pages; that costs some MiB of resident memory a thread. Without
 * jemalloc (sanitizers) it does nothing. The arena stays for the process's life, as its memory may be in use elsewhere. */
#ifndef FRESHET_BASE_HUGEPAGES_H
#define FRESHET_BASE_HUGEPAGES_H

void hugepages_for_thread(void);

#endif
