"""Waiting for a condition to a deadline: tests never sleep for a guessed time."""

import os
import time

# Sanitizers make everything several times slower; a deadline is no measure of speed.
PATIENCE = float(os.environ.get("FRESHET_TEST_PATIENCE", "1"))


class NotInTime(AssertionError):
    pass


class Hopeless(Exception):
    """What a condition raises when waiting longer cannot help."""


def wait_until(condition, timeout=15, what=None, every=0.02):
    """Calls `condition` until it gives something true, and returns that.

    An exception counts as "not yet"; the last one is the cause of the failure.
    """
    deadline = time.monotonic() + timeout * PATIENCE
    last, cause = None, None
    while True:
        try:
            last, cause = condition(), None
            if last:
                return last
        except Hopeless:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
            cause = error
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__name__", "condition")
            raise NotInTime(f"{name}: not within {timeout} s; last: {cause or last!r}") from cause
        time.sleep(every)
