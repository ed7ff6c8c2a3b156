"""What goes wrong in a storm: one function a fault, which does its worst and leaves everything running."""

import signal

from support.waiting import wait_until


def streaming(freshet):
    return freshet.process.exit_code is None and freshet.status()["cdc"]["feed"]["state"] == "streaming"


def wait_streaming(storm, timeout=90):
    wait_until(lambda: any(streaming(one) for one in storm.copies), timeout, "one of the copies streams", every=0.05)


def cut(storm):
    storm.server.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NOT NULL",
        [storm.prefix],
    )


def kill(storm, dice):
    """Freshet dies, streaming or in the middle of its start."""
    if dice.random() < 0.6:
        wait_streaming(storm)
    storm.rest(dice.uniform(0.02, 0.6))
    storm.copies[0].kill9()
    storm.copies[0].start(wait=False)


def broker(storm, dice):
    """The broker dies, and is away for a moment."""
    storm.rest(dice.uniform(0.05, 0.5))
    storm.kafka.kill9()
    storm.rest(dice.uniform(0, 2))
    storm.kafka.start()


def stall(storm, dice):
    """The broker stops, and goes on."""
    storm.kafka.pause()
    storm.rest(dice.uniform(0.5, 4))
    storm.kafka.resume()


def database(storm, dice):
    """An immediate shutdown of PostgreSQL, as a crash: recovery at the next start."""
    storm.rest(dice.uniform(0.05, 0.5))
    storm.server.process.signal(signal.SIGQUIT)
    storm.server.process.wait_ended(30)
    storm.server.start()


def walsender(storm, dice):
    """The stream is cut."""
    wait_streaming(storm)
    storm.rest(dice.uniform(0.02, 0.3))
    cut(storm)


def zombie(storm, dice):
    """Freshet stops with a transaction open, past the transaction's timeout; a second copy takes over; the first wakes up."""
    wait_streaming(storm)
    first = next((one for one in storm.copies if streaming(one)), storm.copies[0])
    second = storm.second(first)
    storm.rest(dice.uniform(0.02, 0.3))
    first.pause()
    try:
        # The server notices by its wal_sender_timeout; a shorter wait is as good. Where the first was about to stream again, that
        # is what it takes.
        cut(storm)
        wait_until(lambda: streaming(second), 60, "the second copy takes over", every=0.05)
        storm.rest(dice.choice([0.2, storm.transaction_timeout_s + 1]))
    finally:
        first.resume()
    storm.rest(dice.uniform(0.3, 1.5))  # it has a transaction to commit, and must not
    (first if dice.random() < 0.5 else second).kill9()
    storm.copies = [one for one in (first, second) if one.process.exit_code is None]
    wait_streaming(storm)


FAULTS = {each.__name__: each for each in (kill, broker, stall, database, walsender, zombie)}
EVERYDAY = ["kill", "walsender", "zombie", "database", "kill", "broker"]
