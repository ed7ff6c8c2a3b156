"""A short hunt for stale reads; FRESHET_HUNT_SECONDS makes it longer."""

import os

from hunter import Standby, hunt

SECONDS = float(os.environ.get("FRESHET_HUNT_SECONDS", 10))


def expect_none(result):
    assert not result.violations, result.violations[:10]
    assert result.reads > 100 and result.writes > 20 and result.waits > 0


def test_no_stale_read_is_found(db, freshet):
    expect_none(hunt(db, freshet, SECONDS))


def test_no_stale_read_is_found_while_the_feed_is_cut(db, freshet):
    def cut(f):
        db.value(
            "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots"
            " WHERE database = %s AND active_pid IS NOT NULL AND random() < 0.1",
            [db.name],
        )

    expect_none(hunt(db, freshet, SECONDS, disturb=cut))


def test_no_stale_read_is_found_under_memory_pressure_and_short_ttl(db, freshet):
    expect_none(hunt(db, freshet, SECONDS / 2, config={"ttl": "20ms", "negative_ttl": "20ms"}))


def test_no_stale_read_is_found_beside_a_standby_that_stalls(make_postgres, freshet):
    """Commits wait for a standby that is not there, again and again: the gap is open half of the time."""
    server = make_postgres()
    db = server.create_database()
    standby = Standby(server)
    result = hunt(db, freshet, SECONDS, disturb=standby.toggle, calm=standby.release, writers=8)
    assert not result.violations, result.violations[:10]
    assert result.reads > 100 and result.writes > 20
