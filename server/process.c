#include "server/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

static double cpu_seconds(void *owner) {
    (void)owner;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) < 0) return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* /proc/self/statm: total and resident pages. */
static double resident_bytes(void *owner) {
    (void)owner;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm) return 0;
    long total = 0;
    long resident = 0;
    int n = fscanf(statm, "%ld %ld", &total, &resident);
    fclose(statm);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double open_descriptors(void *owner) {
    (void)owner;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) return 0;
    int n = -3; /* ".", ".." and the folder's own */
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

void process_metrics(struct metrics *metrics) {
    metric_set(metrics_gauge(metrics, "freshet_build_info", "Always 1; the version is its label.",
                             "version=\"" FRESHET_VERSION "\""),
               1);
    metric_set(metrics_gauge(metrics, "freshet_process_start_time_seconds",
                             "When the process started, in Unix time.", NULL),
               clock_wall_us() / 1000000);
    metrics_gauge_fn(metrics, "freshet_process_cpu_seconds",
                     "CPU time of all threads, user and system.", NULL, cpu_seconds, NULL);
    metrics_gauge_fn(metrics, "freshet_process_resident_memory_bytes", "Resident memory.", NULL,
                     resident_bytes, NULL);
    metrics_gauge_fn(metrics, "freshet_process_open_fds", "Open file descriptors.", NULL,
                     open_descriptors, NULL);
}
