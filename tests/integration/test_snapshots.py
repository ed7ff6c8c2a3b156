"""Snapshots: of the start, interrupted and gone on with, and beside the stream: judged from the topics alone."""

import random
import subprocess
import threading
import time
from collections import Counter

import pytest

from support.freshet import binary
from support.waiting import PATIENCE, wait_until
from test_exactly_once import caught_up, publisher, streaming

ROWS = 12_000


def make_table(db, rows=ROWS, name="t"):
    db.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, pad text NOT NULL)")
    db.execute(f"INSERT INTO {name} SELECT i, 0, repeat('x', 60) FROM generate_series(1, {rows}) i")
    db.execute(f"ANALYZE {name}")


class Writer(threading.Thread):
    """Updates, inserts, deletes and moves rows of `t` until told to stop."""

    def __init__(self, db, rows=ROWS, seed=1):
        super().__init__(daemon=True)
        self.db, self.rows, self.random, self.stop, self.failure = db, rows, random.Random(seed), threading.Event(), None
        self.next = rows * 10 * seed

    def run(self):
        try:
            with self.db.connect(autocommit=False) as connection:
                while not self.stop.wait(0.002):
                    self.one(connection)
        except Exception as failure:  # noqa: BLE001 - shown by the test's thread
            self.failure = failure

    def one(self, connection):
        self.next += 1
        i = self.random.randint(1, self.rows)
        connection.execute("UPDATE t SET n = n + 1 WHERE id = %s", [i])
        connection.execute("INSERT INTO t VALUES (%s, 0, 'new')", [self.next])
        if self.random.random() < 0.3:
            connection.execute("DELETE FROM t WHERE id = %s", [self.random.randint(1, self.rows)])
        if self.random.random() < 0.1:
            connection.execute("UPDATE t SET id = -id WHERE id = %s AND id > 0", [self.random.randint(1, self.rows)])
        connection.rollback() if self.random.random() < 0.1 else connection.commit()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join(30)
        if self.failure:
            raise self.failure


def fold(records):
    """What a consumer that keeps the last value of each key has."""
    table = {}
    for record in records:
        if record.value is None:
            continue
        row = record.value["after"]
        if row is None:
            table.pop(record.key["id"], None)
        else:
            table[record.key["id"]] = row
    return table


def table_of(db, name="t"):
    return {row["id"]: row for row in db.rows(f"SELECT * FROM {name}")}


def reads(records):
    return [r for r in records if r.value and r.value["op"] == "r"]


def increment(f):
    return f.status()["cdc"]["feed"]["increment"]


def settled(f):
    return streaming(f) and not increment(f)["tables"]


@pytest.mark.parametrize("readers", [1, 3])
def test_parts_by_several_readers_give_each_row_once_with_its_marker(freshet, db, kafka, unique, readers):
    make_table(db)
    make_table(db, 10, "u")
    db.execute("CREATE TABLE zempty (id int PRIMARY KEY)")
    f = publisher(freshet, db, kafka, unique, snapshot_readers=readers, snapshot_chunk="64KiB",
                  kafka={"topic_partitions": 1})
    wait_until(lambda: streaming(f), 60, "it streams")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert Counter(r.key["id"] for r in records) == Counter(range(1, ROWS + 1))
    marks = [r.value["source"]["snapshot"] for r in records]
    assert (marks[0], marks[-1]) == ("first", "last_in_data_collection") and set(marks[1:-1]) == {"true"}
    marks = [r.value["source"]["snapshot"] for r in kafka.read(f"{unique}.public.u")]
    assert (marks[0], marks[-1]) == ("first_in_data_collection", "last") and set(marks[1:-1]) == {"true"}
    assert fold(records) == table_of(db)


@pytest.mark.timeout(int(300 * PATIENCE))
def test_kills_during_the_snapshot_under_a_writer(freshet, db, kafka, unique):
    rows = 4 * ROWS  # some of it is left, however late the first kill comes
    make_table(db, rows)
    f = publisher(freshet, db, kafka, unique, wait=False, snapshot_chunk="8KiB",
                  kafka={"transaction_interval": "5ms", "topic_partitions": 1})
    with Writer(db, rows):
        wait_until(lambda: f.metric("freshet_cdc_kafka_batches_total") > 3, 60, "some of it is read", every=0.005)
        f.kill9()
        first = len(reads(kafka.read(f"{unique}.public.t")))
        assert 0 < first < rows
        for _ in range(2):
            f.start(wait=False)
            wait_until(lambda: f.metric("freshet_cdc_increment_rows_total") > 200, 60, "more of it", every=0.005)
            f.kill9()
        assert "snapshot_resumed_done" not in f.log_text()
        f.start(wait=False)
        wait_until(lambda: settled(f), 120, "all of it is read")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert fold(records) == table_of(db)
    again = [key for key, n in Counter(r.key["id"] for r in reads(records)).items() if n > 1]
    assert again == []
    assert f.status()["cdc"]["feed"]["state"] == "streaming"


def test_a_table_on_request_while_it_is_written_to(freshet, db, kafka, unique, cli):
    make_table(db, 20_000)
    f = publisher(freshet, db, kafka, unique, snapshot="never", snapshot_chunk="64KiB", kafka={"topic_partitions": 1})
    wait_until(lambda: streaming(f), 30, "it streams")
    db.execute("UPDATE t SET n = 1 WHERE id = 1")
    caught_up(f, db)  # the topic is there
    lag = []
    with Writer(db, 20_000):
        request = subprocess.Popen([binary(), "snapshot", "public.t", "--admin", f"127.0.0.1:{f.admin_port}"])
        while request.poll() is None:
            lag.append(f.status()["cdc"]["feed"]["lag_seconds"])
            time.sleep(0.02)  # a sample, not a wait
        assert request.returncode == 0
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert fold(records) == table_of(db)
    marks = Counter(r.value["source"]["snapshot"] for r in reads(records))
    assert set(marks) == {"incremental"} and 19_000 < marks["incremental"] < 30_000
    assert kafka.read(f"{unique}.message") == [], "our own messages are nobody's"
    assert max(lag) < 5 * PATIENCE


def test_part_of_a_table_and_what_cannot_be_read(freshet, db, kafka, unique, cli):
    make_table(db, 1000)
    db.execute("CREATE TABLE loose (id int)")
    db.execute("ALTER TABLE loose REPLICA IDENTITY FULL")
    f = publisher(freshet, db, kafka, unique, snapshot="never", tables=["public.*"])
    wait_until(lambda: streaming(f), 30, "it streams")

    def ask(*args):
        return cli("snapshot", *args, "--admin", f"127.0.0.1:{f.admin_port}")

    done = ask("t", "--where", "id <= 10 OR n > 0 -- few")
    assert done.returncode == 0 and "10 rows" in done.stdout
    assert sorted(r.key["id"] for r in kafka.wait_for(f"{unique}.public.t", 10)) == list(range(1, 11))
    for args, cause in [
        (("nobody",), "nobody"),
        (("public.loose",), "no primary key"),
        (("t", "--where", "x ="), "syntax error"),
        (("t", "--where", "true); DROP TABLE t; --"), "syntax error"),
        (('"t',), "no table"),
    ]:
        refused = ask(*args)
        assert refused.returncode == 1 and cause in refused.stderr, (args, refused)
    assert db.value("SELECT count(*) FROM t") == 1000
    assert f.http("/snapshot?table=t", method="POST").status_code == 415
    assert cli("snapshot", "t", "--admin", "127.0.0.1:1").returncode == 1


def test_a_table_that_joins_later_brings_its_rows(freshet, db, kafka, unique):
    make_table(db, 100)
    f = publisher(freshet, db, kafka, unique)
    wait_until(lambda: streaming(f), 30, "it streams")
    db.execute("CREATE TABLE late AS SELECT i AS id, 'old' AS what FROM generate_series(1, 500) i")
    db.execute("ALTER TABLE late ADD PRIMARY KEY (id)")
    wait_until(lambda: "increment_done" in f.log_text(), 60, "its rows are read")
    db.execute("UPDATE late SET what = 'new' WHERE id = 7")
    caught_up(f, db)
    assert fold(kafka.read(f"{unique}.public.late")) == table_of(db, "late")
    f.kill9()
    db.execute("CREATE TABLE later (id int PRIMARY KEY)")
    db.execute("INSERT INTO later SELECT generate_series(1, 300)")
    f.start()
    wait_until(lambda: len(kafka.read(f"{unique}.public.later")) >= 300, 60, "the rows of one that came meanwhile")
    assert {r.key["id"] for r in kafka.read(f"{unique}.public.later")} == set(range(1, 301))
    assert len(kafka.read(f"{unique}.public.t")) == 100


def test_incremental_from_the_start(freshet, db, kafka, unique):
    make_table(db, 5000)
    make_table(db, 10, "u")
    f = publisher(freshet, db, kafka, unique, snapshot="incremental", snapshot_chunk="32KiB")
    wait_until(lambda: "snapshot_resumed_done" in f.log_text(), 60, "all of it is read")
    db.execute("UPDATE t SET n = 1 WHERE id = 1")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t", f"{unique}.public.u")
    assert Counter(r.value["op"] for r in records) == {"r": 5010, "u": 1}
    f.kill9()
    f.start()
    wait_until(lambda: streaming(f), 30, "it streams")
    caught_up(f, db)
    assert len(kafka.read(f"{unique}.public.t")) == 5001


def test_initial_only_ends_and_leaves_no_slot(freshet, db, kafka, unique):
    make_table(db, 1000)
    f = publisher(freshet, db, kafka, unique, snapshot="initial_only", wait=False)
    assert f.process.wait_ended(60) == 0
    assert len(kafka.read(f"{unique}.public.t")) == 1000
    assert db.slots() == []
    f.start(wait=False)
    assert f.process.wait_ended(60) == 0
    assert len(kafka.read(f"{unique}.public.t")) == 1000


def test_when_needed_begins_anew_where_the_slot_is_gone(freshet, db, kafka, unique):
    make_table(db, 100)
    f = publisher(freshet, db, kafka, unique, snapshot="when_needed")
    wait_until(lambda: streaming(f), 30, "it streams")
    caught_up(f, db)
    f.stop()
    db.value("SELECT pg_drop_replication_slot(%s)", [f"{unique}_slot"])
    db.execute("UPDATE t SET n = 5 WHERE id = 1")
    f.start()
    wait_until(lambda: streaming(f), 30, "it streams again")
    db.execute("UPDATE t SET n = 6 WHERE id = 2")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert len(reads(records)) == 200 and fold(records) == table_of(db)


@pytest.mark.parametrize("first", ["initial", "incremental"])
def test_rows_of_any_size_come_byte_for_byte(freshet, db, kafka, unique, first):
    """Larger than what is read at a time, about as large, and smaller; full of what COPY escapes."""
    db.execute("CREATE TABLE sizes (id int PRIMARY KEY, pad text, tail text)")
    sizes = [0, 1, 15, 16, 17, 1000, 70_000, 114_000, 130_000, 131_072, 160_000, 230_000]
    for i, size in enumerate(sizes * 3):
        pad = "a\\\t\n\r\x0b\x08\x0c\"é𝄞N"
        pad = (pad * (size // len(pad) + 1))[:size]
        db.execute("INSERT INTO sizes VALUES (%s, %s, %s)", [i, pad, None if i % 2 else "\\N"])
    want = {row["id"]: row for row in db.rows("SELECT * FROM sizes")}
    publisher(freshet, db, kafka, unique, snapshot=first)
    records = kafka.wait_for(f"{unique}.public.sizes", len(want), 60)
    assert len(records) == len(want) and {r.key["id"]: r.value["after"] for r in records} == want


def test_large_values_come_whole_though_the_stream_overtakes_their_rows(freshet, db, kafka, unique):
    db.execute("CREATE TABLE wide (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, doc text)")
    db.execute("ALTER TABLE wide ALTER doc SET STORAGE EXTERNAL")
    db.execute("INSERT INTO wide SELECT i, 0, repeat(md5(i::text), 100) FROM generate_series(1, 400) i")
    f = publisher(freshet, db, kafka, unique, snapshot="never", snapshot_chunk="64KiB", kafka={"topic_partitions": 1})
    wait_until(lambda: streaming(f), 30, "it streams")
    request = subprocess.Popen([binary(), "snapshot", "public.wide", "--admin", f"127.0.0.1:{f.admin_port}"])
    dice = random.Random(3)
    with db.connect() as connection:
        while request.poll() is None:
            connection.execute("UPDATE wide SET n = n + 1 WHERE id = %s", [dice.randint(1, 400)])
    assert request.returncode == 0
    caught_up(f, db)
    whole = {}
    for record in kafka.read(f"{unique}.public.wide"):
        row = record.value["after"]
        doc = whole.get(row["id"]) if row["doc"] == "__debezium_unavailable_value" else row["doc"]
        whole[row["id"]] = doc
    assert whole == {row["id"]: row["doc"] for row in db.rows("SELECT id, doc FROM wide")}


def test_a_table_without_a_key_goes_on_after_a_kill_by_its_pages(freshet, db, kafka, unique):
    db.execute("CREATE TABLE loose (i int, pad text)")
    db.execute("ALTER TABLE loose REPLICA IDENTITY FULL")
    db.execute("INSERT INTO loose SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i")
    f = publisher(freshet, db, kafka, unique, wait=False, snapshot_chunk="16KiB", tables=["public.*"],
                  kafka={"transaction_interval": "5ms"})
    wait_until(lambda: f.metric("freshet_cdc_kafka_batches_total") > 3, 60, "some of it is read", every=0.005)
    f.kill9()
    assert 0 < len(kafka.read(f"{unique}.public.loose")) < 20000
    db.execute("INSERT INTO loose VALUES (0, 'new')")
    f.start(wait=False)
    wait_until(lambda: settled(f), 60, "all of it is read")
    caught_up(f, db)
    assert Counter(r.value["after"]["i"] for r in kafka.read(f"{unique}.public.loose")) == Counter(range(20001))


def test_a_table_rewritten_before_it_is_read_is_read_all_the_same(freshet, db, kafka, unique):
    make_table(db, 40_000, "a_first")
    make_table(db, 500, "t")
    f = publisher(freshet, db, kafka, unique, wait=False, snapshot_readers=1, snapshot_chunk="8KiB",
                  kafka={"transaction_interval": "5ms", "queue": "1MiB"})
    wait_until(lambda: f.metric("freshet_cdc_kafka_batches_total") > 0, 60, "it reads the first", every=0.002)
    db.execute("ALTER TABLE t ALTER pad TYPE varchar(100), ALTER n TYPE bigint")
    assert f.status()["cdc"]["feed"]["snapshot"]["table"] != "public.t", "too late"
    wait_until(lambda: settled(f), 60, "all of it is read")
    caught_up(f, db)
    assert "snapshot_rewritten" in f.log_text()
    assert fold(kafka.read(f"{unique}.public.t")) == table_of(db)


@pytest.mark.parametrize("postgres", ["18"], indirect=True)
def test_tables_of_many_columns_are_found_in_no_time(freshet, db, kafka, unique):
    """The view of what a publication holds is a query of its own, which must not be run for each column."""
    columns = ", ".join(f"c{i} int" for i in range(1599))
    db.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})")
    db.execute("INSERT INTO wide (id, c1598) VALUES (1, 9)")
    make_table(db, 10)
    f = publisher(freshet, db, kafka, unique, wait=False)
    wait_until(lambda: streaming(f), 20, "it streams")
    assert kafka.wait_for(f"{unique}.public.wide", 1)[0].value["after"]["c1598"] == 9
