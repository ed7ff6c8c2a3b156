"""Transactions that the server sends while they are open, or when they are prepared: kept in a spool, published whole at their
commits, in commit order, once, whatever becomes of the spool and the process meanwhile.

FRESHET_LARGE_ROWS=5000000 makes the large one that long; FRESHET_MANY_OPEN=500 has so many open at a time (-s shows figures)."""

import json
import os
import threading
import time
from contextlib import ExitStack

import pytest

from support.waiting import PATIENCE, wait_until
from test_exactly_once import caught_up, publisher

LARGE_ROWS = int(os.environ.get("FRESHET_LARGE_ROWS", "200000"))
MANY_OPEN = int(os.environ.get("FRESHET_MANY_OPEN", "60"))
MANY = 2000  # rows whose changes pass the bound for one transaction below
FILL = "repeat('x', 100)"


@pytest.fixture
def rows(db):
    """Tables `big` and `small`, on a server that streams a transaction early."""
    db.execute(f"ALTER DATABASE {db.name} SET logical_decoding_work_mem = '64kB'")
    db.execute("CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL, pad text)")
    db.execute("CREATE TABLE small (id int PRIMARY KEY, v int NOT NULL)")
    return db


def open_count(f):
    return f.metric("freshet_feed_spool_transactions", feed="cdc")


def wait_open(f, n=1):
    wait_until(lambda: open_count(f) == n, 60, f"{n} open transactions are streamed")


def fill(connection, first, n=MANY, v=0):
    connection.execute(f"INSERT INTO big SELECT i, {v}, {FILL} FROM generate_series({first}, {first + n - 1}) i")


def events(kafka, unique, table="big"):
    return [r for r in kafka.read(f"{unique}.public.{table}") if r.value]


def commit_before(event):
    """The end of the transaction before, which is null for the first of all."""
    first = json.loads(event["source"]["sequence"])[0]
    return int(first or 0)


def ids(kafka, unique, table="big"):
    return sorted(r.key["id"] for r in events(kafka, unique, table))


def spool_files(f):
    return [path for path in (f.folder / "freshet-state" / "spool").glob("*/*") if path.is_file()]


def everything(kafka, unique):
    """All that a consumer sees of all tables, without what the clock says."""
    shown = []
    for record in kafka.read(*kafka.topics(f"{unique}.public.")):
        value = record.value
        if value:
            source = {k: v for k, v in value["source"].items() if k not in ("name", "sequence")}
            value = {**value, "source": source, "ts_ms": 0, "ts_us": 0, "ts_ns": 0}
        shown.append((record.topic.removeprefix(unique), record.partition, record.key, value))
    return shown


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_streamed_or_not_the_topics_are_the_same(freshet, rows, kafka, unique):
    one_partition = {"topic_partitions": 1}
    streamed = publisher(freshet, rows, kafka, unique, snapshot="never", kafka=one_partition)
    other = f"{unique}b"
    whole = publisher(freshet, rows, kafka, other, snapshot="never", kafka=one_partition, streaming=False)
    wait_until(lambda: all(f.status()["cdc"]["feed"]["state"] == "streaming" for f in (streamed, whole)), 30)
    with rows.connect(autocommit=False) as writer:
        fill(writer, 1)
        wait_open(streamed)
        rows.execute("INSERT INTO small VALUES (1, 1)")  # commits in between
        writer.execute("SAVEPOINT one")
        fill(writer, 10_001)
        writer.execute("INSERT INTO small VALUES (2, 2)")
        writer.execute("ROLLBACK TO SAVEPOINT one")  # `small` was described in what is taken back
        writer.execute("INSERT INTO small VALUES (3, 3)")
        writer.execute("SAVEPOINT two")
        fill(writer, 20_001)
        writer.execute("RELEASE SAVEPOINT two")
        writer.execute("ALTER TABLE big ADD COLUMN more int DEFAULT 7")
        fill_more = f"INSERT INTO big SELECT i, 0, {FILL}, i FROM generate_series(30001, {30_000 + MANY}) i"
        writer.execute(fill_more)
        writer.execute("SELECT pg_logical_emit_message(true, 'note', 'in the middle')")
        writer.execute("UPDATE big SET v = 1 WHERE id % 10 = 0")
        writer.execute("DELETE FROM big WHERE id % 100 = 1")
        writer.execute("TRUNCATE small")
        writer.commit()
    rows.execute("INSERT INTO big VALUES (99999, 0, NULL, NULL)")
    with rows.connect(autocommit=False) as writer:
        fill(writer, 50_001, 5 * MANY)
        writer.rollback()
    caught_up(streamed, rows), caught_up(whole, rows)
    assert everything(kafka, unique) == everything(kafka, other)
    assert len(everything(kafka, unique)) > 3 * MANY
    assert streamed.metric("freshet_feed_spool_written_bytes_total", feed="cdc") > 0
    assert whole.metric("freshet_feed_reconnects_total", feed="cdc") == 0
    assert streamed.metric("freshet_feed_reconnects_total", feed="cdc") == 0
    wait_until(lambda: open_count(streamed) == 0, 30, "nothing is left of the one rolled back")


def test_a_process_killed_while_one_is_open_publishes_it_once(freshet, rows, kafka, unique):
    f = publisher(freshet, rows, kafka, unique, snapshot="never", spool_memory="64KiB")
    caught_up(f, rows)
    with rows.connect(autocommit=False) as writer:
        fill(writer, 1)
        wait_open(f)
        wait_until(lambda: spool_files(f), 30, "it is on disk")
        shown = f.status()["cdc"]["feed"]["open_transactions"]
        assert shown["count"] == 1 and shown["disk_bytes"] > 100_000
        f.kill9()
        assert spool_files(f)
        fill(writer, 10_001)
        f.start()
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", 30)
        rows.execute("INSERT INTO small VALUES (1, 1)")
        wait_open(f)
        writer.commit()
    f.kill9()  # while it is replayed, before or behind
    f.start()
    caught_up(f, rows)
    assert ids(kafka, unique) == [*range(1, MANY + 1), *range(10_001, 10_001 + MANY)]
    assert spool_files(f) == []


@pytest.mark.parametrize("trouble", ["limit", "damage", "folder"])
def test_a_spool_in_trouble_loses_nothing(freshet, rows, kafka, unique, trouble):
    options = {"limit": {"spool_limit": "200KiB"}, "damage": {}, "folder": {"spool": "/proc/nowhere"}}[trouble]
    f = publisher(freshet, rows, kafka, unique, snapshot="never", spool_memory="64KiB", **options)
    caught_up(f, rows)
    with rows.connect(autocommit=False) as writer:
        fill(writer, 1)
        if trouble == "damage":
            wait_open(f)
            path = wait_until(lambda: spool_files(f), 30, "it is on disk")[0]
            with open(path, "r+b") as file:
                file.seek(1000)
                file.write(b"\xff\x00\xff")
        fill(writer, 10_001)
        rows.execute("INSERT INTO small VALUES (1, 1)")
        writer.commit()
    caught_up(f, rows)
    assert ids(kafka, unique) == [*range(1, MANY + 1), *range(10_001, 10_001 + MANY)]
    assert ids(kafka, unique, "small") == [1]
    assert spool_files(f) == []
    failures = f.metric("freshet_feed_spool_failures_total", feed="cdc")
    assert failures == (0 if trouble == "folder" else 1)
    assert "spool_unusable" in f.log_text()
    if trouble == "limit":
        assert "cdc.spool_limit" in f.log_text()


def prepare(db, name, first, commit=None):
    with db.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO small VALUES (%s, 0)", [first])
        writer.execute(f"PREPARE TRANSACTION '{name}'")
        writer.commit()


@pytest.mark.parametrize("postgres, two_phase", [("15", True), ("18", True), ("15", False)], indirect=["postgres"])
def test_prepared_transactions_come_at_commit_prepared(freshet, rows, kafka, unique, two_phase):
    name = rows.name
    f = publisher(freshet, rows, kafka, unique, snapshot="never", two_phase=two_phase)
    caught_up(f, rows)
    prepare(rows, f"{name}_a", 1)
    prepare(rows, f"{name}_b", 2)
    with rows.connect(autocommit=False) as writer:
        fill(writer, 1)
        writer.execute(f"PREPARE TRANSACTION '{name}_large'")
        writer.commit()
    rows.execute("INSERT INTO small VALUES (3, 0)")
    caught_up(f, rows)
    assert ids(kafka, unique, "small") == [3] and ids(kafka, unique) == []
    assert open_count(f) == (3 if two_phase else 1)
    f.kill9()  # what is kept of them is gone with it
    f.start()
    rows.execute("INSERT INTO small VALUES (4, 0)")
    caught_up(f, rows)
    rows.execute(f"ROLLBACK PREPARED '{name}_b'")
    rows.execute(f"COMMIT PREPARED '{name}_large'")
    rows.execute(f"COMMIT PREPARED '{name}_a'")
    f.kill9()  # perhaps with some of it in the topics, and not confirmed
    f.start()
    rows.execute("INSERT INTO small VALUES (5, 0)")
    caught_up(f, rows)
    small = events(kafka, unique, "small")
    assert sorted(r.key["id"] for r in small) == [1, 3, 4, 5]
    assert ids(kafka, unique) == [*range(1, MANY + 1)]
    # in commit order: the commit before it tells the place
    place = {r.key["id"]: commit_before(r.value) for r in small}
    assert place[3] < place[4] < place[1] < place[5]
    f.kill9()
    f.start()
    rows.execute("INSERT INTO small VALUES (6, 0)")
    caught_up(f, rows)
    assert ids(kafka, unique, "small") == [1, 3, 4, 5, 6] and len(ids(kafka, unique)) == MANY
    wait_until(lambda: open_count(f) == 0, 30)
    lsn = rows.lsn()
    wait_until(lambda: rows.value("SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots "
                                  f"WHERE slot_name = '{unique}_slot'", [lsn]), 30, "all is confirmed")


def test_a_slot_that_has_sent_prepared_ones_goes_on_without_the_option(freshet, rows, kafka, unique):
    name = rows.name
    f = publisher(freshet, rows, kafka, unique, snapshot="never", two_phase=True)
    caught_up(f, rows)
    prepare(rows, f"{name}_a", 1)
    wait_open(f)
    f.stop()
    f.config["cdc"]["two_phase"] = False
    f.write_config()
    f.start()
    prepare(rows, f"{name}_b", 2)
    wait_open(f, 2)
    rows.execute(f"COMMIT PREPARED '{name}_b'")
    rows.execute(f"COMMIT PREPARED '{name}_a'")
    caught_up(f, rows)
    assert ids(kafka, unique, "small") == [1, 2]


@pytest.mark.timeout(int(3600 * PATIENCE))
def test_a_large_transaction_passes_in_bounded_memory(freshet, db, kafka, unique):
    """By hand with the bounds that there are by default, on either side."""
    by_hand = LARGE_ROWS >= 1_000_000
    db.execute("CREATE TABLE huge (id int PRIMARY KEY, v int NOT NULL, pad text NOT NULL)")
    db.execute("CREATE TABLE small (id int PRIMARY KEY, v int NOT NULL)")
    db.execute(f"ALTER DATABASE {db.name} SET logical_decoding_work_mem = '{64 if by_hand else 4}MB'")
    f = publisher(freshet, db, kafka, unique, snapshot="never", **({} if by_hand else {"spool_memory": "4MiB"}))
    caught_up(f, db)
    most, over = [f.rss_bytes()], threading.Event()

    def watch():
        while not over.wait(0.02):
            most.append(f.rss_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    with db.connect(autocommit=False) as writer:
        writer.execute(f"INSERT INTO huge SELECT i, i, repeat('x', 60) FROM generate_series(1, {LARGE_ROWS}) i")
        wait_open(f)
        inserted = time.monotonic()
        writer.commit()
    committed = time.monotonic()
    db.execute("INSERT INTO small VALUES (1, 1)")
    wait_until(lambda: ids(kafka, unique, "small") == [1], 3000, "what is behind it is published", every=0.2)
    published = time.monotonic()
    over.set()
    watcher.join()
    assert f.metric("freshet_cdc_events_total", op="c") == LARGE_ROWS + 1
    assert f.metric("freshet_feed_reconnects_total", feed="cdc") == 0
    spooled = f.metric("freshet_feed_spool_written_bytes_total", feed="cdc")
    print(f"\n{LARGE_ROWS} rows: resident {most[0] / 2**20:.1f} MiB before, {max(most) / 2**20:.1f} MiB at most; "
          f"spooled {spooled / 2**20:.1f} MiB; inserted in {inserted - began:.1f} s, published "
          f"{published - committed:.1f} s after its commit, {LARGE_ROWS / (published - committed):,.0f} rows/s")
    assert spooled > 0
    assert max(most) < 128 << 20


@pytest.mark.timeout(int(1800 * PATIENCE))
def test_many_interleaved_open_transactions(freshet, make_postgres, kafka, unique):
    server = make_postgres(max_connections=MANY_OPEN + 50, logical_decoding_work_mem="256kB", shared_buffers="64MB")
    db = server.create_database()
    db.execute("CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL, pad text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", spool_memory="1MiB")
    caught_up(f, db)
    per_round, rounds = 40, 4
    with ExitStack() as stack:
        writers = [stack.enter_context(db.connect(autocommit=False)) for _ in range(MANY_OPEN)]
        for number in range(rounds):
            for i, writer in enumerate(writers):
                fill(writer, (i * rounds + number) * per_round + 1, per_round, v=i)
        wait_until(lambda: open_count(f) > MANY_OPEN * 3 // 4, 120, "most of them are streamed")
        descriptors = len(os.listdir(f"/proc/{f.pid}/fd"))
        for i, writer in enumerate(writers):
            writer.rollback() if i % 3 == 2 else writer.commit()
    caught_up(f, db)
    expected = [i for i in range(MANY_OPEN) if i % 3 != 2]
    seen = events(kafka, unique)
    by_partition = {}
    for record in seen:
        by_partition.setdefault(record.partition, []).append(record.value["after"]["v"])
    assert all(values == sorted(values) for values in by_partition.values()), "they are in commit order"
    assert sorted(r.key["id"] for r in seen) == sorted(
        i * rounds * per_round + n + 1 for i in expected for n in range(rounds * per_round))
    rss = f.rss_bytes()
    print(f"\n{MANY_OPEN} open transactions: {rss / 2**20:.1f} MiB resident, {descriptors} descriptors")
    assert descriptors < 64 and rss < 128 << 20
