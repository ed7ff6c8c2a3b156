/* give_up.h: drops a connector's slot, so that the server keeps nothing for it any more.
 *
 * Between sessions of the feed that reads it. */
#ifndef FRESHET_CONNECTORS_GIVE_UP_H
#define FRESHET_CONNECTORS_GIVE_UP_H

#include <stdbool.h>

#include "base/error.h"

/* *dropped: it was there. False: try again, the server may not have seen yet that the feed has left it. */
bool give_up_slot(const char *database_url, const char *slot, bool *dropped,
                  struct error *err) MUST_CHECK;

#endif
