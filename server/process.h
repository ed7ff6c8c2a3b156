/* process.h: the metrics of the process itself: build, start, CPU, memory, descriptors. */
#ifndef FRESHET_SERVER_PROCESS_H
#define FRESHET_SERVER_PROCESS_H

#include "base/metrics.h"

void process_metrics(struct metrics *metrics);

#endif
