"""The rows that one command fetches are of one database snapshot (P5)."""

import json
import threading

import pytest

from support.rows import Gate, in_background
from support.waiting import wait_until

PAIRS = 20


def gate_scenario(db, start):
    """Both tables' rows wait in the middle of their statements; a transaction changes both while the first one waits."""
    gate = Gate(db)
    role = f"gate_{db.name}"
    db.execute("CREATE TABLE other (id int PRIMARY KEY, v text); INSERT INTO other VALUES (1, 'old'), (2, 'old')")
    db.execute("ALTER TABLE other ENABLE ROW LEVEL SECURITY; ALTER TABLE other FORCE ROW LEVEL SECURITY")
    db.execute(f"CREATE POLICY gate ON other USING (pass_gate()); ALTER TABLE other OWNER TO {role}")
    # One connection: statements that are not one transaction would then run one after the other. No stream: what one of
    # them has read would be read again when the commit is seen, and so be as new.
    f = start(db, {"database": {"url": gate.url, "pool": 1}, "cache": {"fill_timeout": "20s", "coherence": "ttl"}})
    for command in (["MGET"], ["FRESHET.READ", "STRICT"]):
        with gate.shut():
            read = in_background(lambda: f.client().execute_command(*command, "gated:1", "other:1", "gated:2", "other:2"))
            wait_until(gate.waiting, what="the first statement waits")
            db.execute_many(*[f"UPDATE {table} SET v = v || '+' WHERE id <= 2" for table in ("gated", "other")])
        values = [json.loads(text)["v"] for text in read()]
        assert len(set(values)) == 1, f"rows of several snapshots: {values}"
    f.stop()
    gate.drop_role()


def test_rows_of_several_tables_are_of_one_snapshot(db, freshet):
    gate_scenario(db, freshet)


def test_rows_that_one_transaction_keeps_equal_are_equal_when_fetched_together(db, freshet):
    # Of these tables nothing is kept, so that every MGET fetches all.
    for table in ("a", "b"):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v bigint NOT NULL UNIQUE)")
        db.execute(f"INSERT INTO {table} SELECT i, i FROM generate_series(1, {PAIRS}) i")
        db.execute(f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX {table}_v_key")
    f = freshet(db)
    stop = threading.Event()

    def write():
        with db.connect() as connection:
            while not stop.is_set():
                with connection.transaction():
                    for table in ("a", "b"):
                        connection.execute(f"UPDATE {table} SET v = v + {PAIRS}")

    written = in_background(write)
    keys = [f"{table}:{i}" for i in range(1, PAIRS + 1) for table in ("a", "b")]
    seen = set()
    try:
        def read_changes():
            rounds = []
            for text in f.redis.mget(keys):
                row = json.loads(text)
                rounds.append((row["v"] - row["id"]) // PAIRS)
            assert len(set(rounds)) == 1, rounds
            seen.add(rounds[0])
            return len(seen) > 20

        for _ in range(2000):
            if read_changes():
                break
    finally:
        stop.set()
        written()
    assert len(seen) > 20, "the rows have hardly changed"
    assert f.metric("freshet_cache_hits_total") == 0


@pytest.mark.parametrize("other", ["aside", "within"])  # before and behind the gated one
def test_a_table_that_is_emptied_meanwhile_is_not_seen_empty(db, freshet, other):
    """TRUNCATE empties a table for older snapshots too: it waits for a command that has begun to read."""
    gate = Gate(db)
    db.execute(f"CREATE TABLE {other} (id int PRIMARY KEY, v text)")
    db.execute(f"ALTER TABLE {other} OWNER TO gate_{db.name}")
    db.execute(f"INSERT INTO {other} VALUES (1, 'old')")
    f = freshet(db, {"database": {"url": gate.url}, "cache": {"fill_timeout": "20s"}})

    def refill():
        with db.connect() as connection, connection.transaction():
            connection.execute(f"TRUNCATE {other}")
            connection.execute(f"INSERT INTO {other} VALUES (1, 'new')")

    with gate.shut():
        rows = in_background(lambda: f.client().mget("gated:1", f"{other}:1"))
        wait_until(gate.waiting, what="it has begun to read")
        refilled = in_background(refill)
        waits = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND mode = 'AccessExclusiveLock' AND NOT granted"
        wait_until(lambda: db.value(waits, [other]) or db.value(f"SELECT v FROM {other}") == "new", what="it waits, or is done")
    assert [json.loads(row)["v"] for row in rows()] == ["old", "old"]
    refilled()
    wait_until(lambda: json.loads(f.redis.get(f"{other}:1"))["v"] == "new", what="the new row is read")
    f.stop()
    gate.drop_role()
