/* webhook.h: the sink that posts changes to an HTTP endpoint, as the runtime knows it. See request.h for what is sent.
 *
 * What the answer means:
 *
 *     2xx                            taken
 *     408, 409, 425, 429, 5xx, none  sent again, after Retry-After where it is given; 409 says that an attempt before, whose
 *                                    answer did not come, is still being worked on
 *     400, 413, 422                  halved until the change to blame stands alone: a dead letter
 *     other 4xx                      all of its changes are dead letters
 *     others (1xx, 3xx)              sent again: a redirect is not followed */
#ifndef FRESHET_CONNECTORS_WEBHOOK_WEBHOOK_H
#define FRESHET_CONNECTORS_WEBHOOK_WEBHOOK_H

#include "connectors/sink.h"

extern const struct sink_type webhook_sink;

#endif
