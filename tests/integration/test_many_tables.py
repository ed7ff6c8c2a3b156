"""Many tables, and many partitions of one table: time to start, time to their first rows, memory.

FRESHET_MANY_TABLES=1000, FRESHET_MANY_PARTITIONS=10000 (the latter take PostgreSQL minutes to make); -s shows figures."""

import os
import time

import pytest

from support.waiting import PATIENCE, wait_until

TABLES = int(os.environ.get("FRESHET_MANY_TABLES", "150"))
PARTITIONS = int(os.environ.get("FRESHET_MANY_PARTITIONS", "250"))


def each(db, n, statement):
    """The statement once for each i below n, which %s in it stands for. A thousand locks at most a transaction."""
    for first in range(0, n, 500):
        db.execute(f"DO $$ BEGIN FOR i IN {first}..{min(n, first + 500) - 1} LOOP "
                   f"EXECUTE replace('{statement}', '%s', i::text); END LOOP; END $$")


@pytest.fixture
def stream(freshet, unique):
    """Starts a publisher to standard output; keeps what is to be printed."""

    def start(db):
        began = time.monotonic()
        f = freshet(db, {"roles": ["cdc"], "cdc": {"output": "stdout", "slot": f"{unique}_slot", "prefix": "p",
                                                   "publication": f"{unique}_pub"}}, wait=False)
        f.wait_ready(300)
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", 300, "it streams")
        return f, time.monotonic() - began

    return start


def published(f, op, n):
    began = time.monotonic()
    wait_until(lambda: f.metric("freshet_cdc_events_total", op=op) == n, 300, f"{n} events {op}")
    return time.monotonic() - began


def told(f, what, start, first, again):
    print(f"\n{what}: started in {start:.1f} s, first rows in {first:.1f} s, the next in {again:.1f} s, "
          f"{f.rss_bytes() / 2**20:.1f} MiB resident")


@pytest.mark.timeout(int(1800 * PATIENCE))
def test_many_tables(db, stream):
    each(db, TABLES, "CREATE TABLE table_%s (id int PRIMARY KEY, v text, n numeric(10,2), at timestamptz)")
    f, start = stream(db)
    each(db, TABLES, "INSERT INTO table_%s VALUES (%s, NULL, 1.5, now())")
    first = published(f, "c", TABLES)
    each(db, TABLES, "UPDATE table_%s SET n = 2")
    again = published(f, "u", TABLES)
    told(f, f"{TABLES} tables", start, first, again)
    assert f.rss_bytes() < 64 << 20
    topics = {e["topic"]: e["key"]["id"] for e in f.events() if e["value"]["op"] == "c"}
    assert topics == {f"p.public.table_{i}": i for i in range(TABLES)}


@pytest.mark.timeout(int(3600 * PATIENCE))
@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_many_partitions_of_one_root(db, stream):
    db.execute("CREATE TABLE root (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    each(db, PARTITIONS, "CREATE TABLE root_%s PARTITION OF root FOR VALUES FROM (%s0) TO (%s9)")
    f, start = stream(db)
    rows = f"SELECT (i || '0')::int, 'x' FROM generate_series(0, {PARTITIONS - 1}) i"
    db.execute(f"INSERT INTO root {rows}")
    first = published(f, "c", PARTITIONS)
    db.execute("UPDATE root SET v = 'y'")
    again = published(f, "u", PARTITIONS)
    told(f, f"{PARTITIONS} partitions", start, first, again)
    assert f.rss_bytes() < 64 << 20
    assert {e["topic"] for e in f.events()} == {"p.public.root"}
    # the root's next shape is news
    db.execute("ALTER TABLE root ADD COLUMN more int DEFAULT 7")
    db.execute("UPDATE root SET v = 'z'")
    published(f, "u", 2 * PARTITIONS)
    assert all(e["value"]["after"]["more"] == 7 for e in f.events()[-PARTITIONS:])
