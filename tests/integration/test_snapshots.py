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

ROWS = 30_000


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
    make_table(db)
    f = publisher(freshet, db, kafka, unique, wait=False, snapshot_chunk="32KiB",
                  kafka={"transaction_interval": "5ms", "topic_partitions": 1})
    with Writer(db):
        for kill in range(4):
            before = len(kafka.read(f"{unique}.public.t"))
            wait_until(lambda: len(kafka.read(f"{unique}.public.t")) > before + 500, 60, "more of it", every=0.01)
            f.kill9()
            f.start(wait=False)
        wait_until(lambda: settled(f), 120, "all of it is read")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert fold(records) == table_of(db)
    again = [key for key, n in Counter(r.key["id"] for r in reads(records)).items() if n > 1]
    assert again == []
    assert f.status()["cdc"]["feed"]["state"] == "streaming"
