/* admin.h: the admin port: /metrics, /healthz, /readyz, /status and a small page, on a thread of its own.
 *
 *     struct admin *admin = admin_create("127.0.0.1:9180", &deps, err);      listens at once
 *     admin_destroy(&admin);
 */
#ifndef FRESHET_SERVER_ADMIN_H
#define FRESHET_SERVER_ADMIN_H

#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "server/samplers.h"
#include "server/service.h"

struct admin_deps {
    struct metrics *metrics;
    struct service *service;
    const struct samplers *samplers;
};

struct admin;

struct admin *admin_create(const char *listen, const struct admin_deps *deps, struct error *err);
void admin_destroy(struct admin **admin);
/* The port that was bound. */
uint16_t admin_port(const struct admin *admin);

#endif
