"""Transactions that are streamed while they are open: they are held until their commit, hold nothing else back, and cost bounded memory.

FRESHET_LARGE_ROWS=5000000 makes the last test's transaction that long, and prints figures (-s)."""

import os
import threading
import time

import pytest

from support.rows import applied, keep, state
from support.waiting import wait_until

LARGE_ROWS = int(os.environ.get("FRESHET_LARGE_ROWS", "60000"))
MANY = 20_000  # rows whose changes pass the server's bound for one transaction, 1 MB


@pytest.fixture
def rows(db):
    """A table `big` of MANY rows and one of few, `small`."""
    db.execute("CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL, pad text NOT NULL)")
    db.execute(f"INSERT INTO big SELECT i, 0, repeat('x', 100) FROM generate_series(1, {MANY}) i")
    db.execute("CREATE TABLE small (id int PRIMARY KEY, v int NOT NULL)")
    db.execute("INSERT INTO small SELECT i, 0 FROM generate_series(1, 100) i")
    return db


def v(f, key):
    return f.row(key)["v"]


def open_transactions(f):
    return f.metric("freshet_cache_open_transactions")


def write_small(rows, f, value):
    """A small transaction that has its turn meanwhile."""
    rows.execute("UPDATE small SET v = %s WHERE id = 1", [value])
    applied(f, rows)
    assert v(f, "small:1") == value


def test_an_open_transaction_is_held_and_applied_at_its_commit(rows, freshet):
    f = freshet(rows)
    keep(f, "big:1"), keep(f, "small:1")
    with rows.connect(autocommit=False) as writer:
        writer.execute("UPDATE big SET v = 1")
        wait_until(lambda: open_transactions(f) == 1, 30, "the open transaction is streamed")
        write_small(rows, f, 7)
        assert state(f, "big:1") == "resident" and v(f, "big:1") == 0
        assert f.metric("freshet_cache_open_transaction_bytes") > 0
        writer.commit()
    applied(f, rows)
    assert [v(f, f"big:{i}") for i in (1, 2, MANY)] == [1, 1, 1]
    assert open_transactions(f) == 0 and f.metric("freshet_cache_open_transaction_bytes") == 0


def test_an_open_transaction_that_is_rolled_back_evicts_nothing(rows, freshet):
    f = freshet(rows)
    keep(f, "big:1")
    with rows.connect(autocommit=False) as writer:
        writer.execute("UPDATE big SET v = 1")
        wait_until(lambda: open_transactions(f) == 1, 30, "the open transaction is streamed")
        writer.rollback()
    write_small(rows, f, 7)
    wait_until(lambda: open_transactions(f) == 0, 30, "the server tells of the abort")
    assert state(f, "big:1") == "resident" and v(f, "big:1") == 0


def test_a_savepoint_that_is_rolled_back_evicts_nothing(rows, freshet):
    f = freshet(rows)
    keep(f, "big:1"), keep(f, f"big:{MANY}")
    with rows.connect(autocommit=False) as writer:
        writer.execute(f"UPDATE big SET v = 1 WHERE id > {MANY // 2}")
        writer.execute("SAVEPOINT one")
        writer.execute(f"UPDATE big SET v = 2 WHERE id <= {MANY // 2}")
        wait_until(lambda: open_transactions(f) == 1, 30, "the open transaction is streamed")
        writer.execute("ROLLBACK TO SAVEPOINT one")
        writer.commit()
    applied(f, rows)
    assert state(f, "big:1") == "resident" and v(f, "big:1") == 0
    assert v(f, f"big:{MANY}") == 1


def test_a_row_read_beside_an_open_transaction_goes_at_its_commit(rows, freshet):
    f = freshet(rows)
    keep(f, "small:1")
    with rows.connect(autocommit=False) as writer:
        writer.execute("UPDATE big SET v = 1")
        wait_until(lambda: open_transactions(f) == 1, 30, "the open transaction is streamed")
        keep(f, "big:5")
        assert v(f, "big:5") == 0
        writer.commit()
    applied(f, rows)
    assert v(f, "big:5") == 1


def test_columns_that_an_open_transaction_adds_are_there_after_its_commit(rows, freshet):
    f = freshet(rows)
    rows.execute("UPDATE big SET v = 0 WHERE id = 3")  # so that its old shape is known
    applied(f, rows)
    keep(f, "big:1")
    with rows.connect(autocommit=False) as writer:
        writer.execute("ALTER TABLE big ADD COLUMN more int DEFAULT 5")
        writer.execute("UPDATE big SET v = 1 WHERE id > 1")
        wait_until(lambda: open_transactions(f) == 1, 30, "the open transaction is streamed")
        write_small(rows, f, 7)
        writer.commit()
    applied(f, rows)
    assert f.row("big:1") | {"pad": ""} == {"id": 1, "v": 0, "pad": "", "more": 5}
    # described as that transaction had it, the next changes are understood
    rows.execute("UPDATE big SET v = 2, more = 6 WHERE id = 2")
    applied(f, rows)
    assert (v(f, "big:2"), f.row("big:2")["more"]) == (2, 6)
    assert f.metric("freshet_feed_reconnects_total", feed="cache") == 0


def test_columns_that_an_open_transaction_adds_and_takes_back_never_were(rows, freshet):
    f = freshet(rows)
    keep(f, "big:1")
    with rows.connect(autocommit=False) as writer:
        writer.execute("ALTER TABLE big ADD COLUMN more int DEFAULT 5")
        writer.execute("UPDATE big SET v = 1")
        wait_until(lambda: open_transactions(f) == 1, 30, "the open transaction is streamed")
        writer.rollback()
    rows.execute("UPDATE big SET v = 3 WHERE id = 2")
    applied(f, rows)
    assert (v(f, "big:1"), v(f, "big:2")) == (0, 3)
    assert f.metric("freshet_feed_reconnects_total", feed="cache") == 0


def test_a_large_transaction_delays_no_other_and_costs_bounded_memory(rows, freshet):
    f = freshet(rows)
    keep(f, "big:1")
    before = f.rss_bytes()
    rows.execute("CREATE TABLE huge (id int PRIMARY KEY, v int NOT NULL)")
    wait_until(lambda: f.redis.get("huge:1") is None and state(f, "huge:1") == "absent", 30, "the table is mapped")
    lags, over = [], threading.Event()

    def write_on():
        with rows.connect() as writer:
            value = 0
            while not over.is_set():
                value += 1
                writer.execute("UPDATE small SET v = %s WHERE id = 1", [value])
                lsn = writer.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
                began = time.monotonic()
                f.redis.execute_command("FRESHET.WAIT", lsn, 60000)
                lags.append((began, time.monotonic() - began))

    with rows.connect(autocommit=False) as large:
        large.execute(f"INSERT INTO huge SELECT i, i FROM generate_series(1, {LARGE_ROWS}) i")
        wait_until(lambda: open_transactions(f) == 1, 600, "the open transaction is streamed")
        lsn = rows.value("SELECT pg_current_wal_insert_lsn()::text")
        f.redis.execute_command("FRESHET.WAIT", lsn, 600000)  # all of it, but for its commit
        most = f.metric("freshet_cache_open_transaction_bytes")
        thread = threading.Thread(target=write_on)
        thread.start()
        wait_until(lambda: len(lags) > 20, 60, "others commit")
        usual, committed = max(lag for _, lag in lags), time.monotonic()
        large.commit()
    applied(f, rows)
    n = len(lags)
    wait_until(lambda: len(lags) > n + 20, 60, "others commit")
    over.set()
    thread.join()
    assert v(f, "huge:1") == 1 and v(f, f"huge:{LARGE_ROWS}") == LARGE_ROWS
    assert most < 33 << 20
    assert f.rss_bytes() - before < 64 << 20
    late = max(lag for began, lag in lags if began + lag > committed)
    print(f"\n{LARGE_ROWS} rows: held {most / 1e6:.1f} MB, resident {(f.rss_bytes() - before) / 1e6:+.1f} MB, "
          f"wait of others {usual * 1e3:.1f} ms before its commit, {late * 1e3:.1f} ms around it")
