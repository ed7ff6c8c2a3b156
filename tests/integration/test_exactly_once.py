"""Each committed row change once, in order, whatever is killed when: checked from the topics alone by a reader of
committed records, against what the writers wrote.

Writers move money between accounts and append to a sequence each. After the storm the folded topics must equal the
tables, each change must be there once, the sum must be constant after every transaction.
"""

import random
import threading
import time
from collections import Counter

import psycopg
import pytest

from support.waiting import PATIENCE, wait_until

ACCOUNTS = 20
START = 1000


def make_tables(db):
    db.execute("CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, version int NOT NULL DEFAULT 0)")
    db.execute("CREATE TABLE steps (writer int, n int, PRIMARY KEY (writer, n))")
    db.execute(f"INSERT INTO accounts SELECT i, {START} FROM generate_series(1, {ACCOUNTS}) i")


class Writer(threading.Thread):
    """Transfers and steps until told to stop; some transactions roll back, some are large."""

    def __init__(self, db, number, seed):
        super().__init__(daemon=True)
        self.db, self.number, self.random = db, number, random.Random(seed)
        self.stop = threading.Event()
        self.n = 0
        self.failure = None

    def run(self):
        try:
            with self.db.connect(autocommit=False) as connection:
                while not self.stop.is_set():
                    self.one(connection)
                    self.stop.wait(0.002)
        except Exception as failure:  # noqa: BLE001 - shown by the test's thread
            self.failure = failure

    def one(self, connection):
        a, b = sorted(self.random.sample(range(1, ACCOUNTS + 1), 2))  # one order: no deadlocks
        amount = self.random.randint(-50, 50)
        move = "UPDATE accounts SET balance = balance + %s, version = version + 1 WHERE id = %s"
        steps = 200 if self.random.random() < 0.02 else 1
        try:
            connection.execute(move, [-amount, a])
            connection.execute(move, [amount, b])
            connection.execute(
                "INSERT INTO steps SELECT %s, i FROM generate_series(%s::int, %s::int) i",
                [self.number, self.n + 1, self.n + steps],
            )
            if self.random.random() < 0.1:
                connection.rollback()
                return
            connection.commit()
            self.n += steps
        except psycopg.errors.SerializationFailure:
            connection.rollback()


class Storm:
    def __init__(self, db, writers=3, seed=1):
        self.writers = [Writer(db, i + 1, seed * 100 + i) for i in range(writers)]

    def __enter__(self):
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        for writer in self.writers:
            writer.stop.set()
        for writer in self.writers:
            writer.join(30)
            if writer.failure:
                raise writer.failure


def read_topics(kafka, prefix):
    return kafka.read(f"{prefix}.public.accounts", f"{prefix}.public.steps")


def check(records, db):
    """Everything that is wrong with what a reader of committed records sees: [] when all is well."""
    wrong = []
    accounts = [r.value for r in records if r.topic.endswith(".accounts") and r.value]
    steps = [r.value for r in records if r.topic.endswith(".steps") and r.value]

    # Each change once. Row LSNs repeat, (account, version) and (writer, n) do not.
    seen = Counter((e["after"]["id"], e["after"]["version"]) for e in accounts)
    wrong += [f"account {i} version {v} {n} times" for (i, v), n in seen.items() if n > 1]
    numbers = Counter((e["after"]["writer"], e["after"]["n"]) for e in steps)
    wrong += [f"step {s} {n} times" for s, n in numbers.items() if n > 1]
    wanted = {(row["writer"], row["n"]) for row in db.rows("SELECT * FROM steps")}
    wrong += [f"step {s} lost" for s in sorted(wanted - set(numbers))[:10]]
    wrong += [f"step {s} never was" for s in sorted(set(numbers) - wanted)[:10]]

    # In order per key: the partition's order is the version's.
    last = {}
    for e in accounts:
        account, version = e["after"]["id"], e["after"]["version"]
        if account in last and version <= last[account]:
            wrong.append(f"account {account}: version {version} after {last[account]}")
        elif account not in last and e["op"] == "r":
            pass  # the snapshot may have been taken late
        elif version != last.get(account, -1) + 1:
            wrong.append(f"account {account}: version {version} follows {last.get(account)}")
        last[account] = version

    # Folded, the topic is the table.
    folded = {e["after"]["id"]: e["after"]["balance"] for e in accounts}
    table = {row["id"]: row["balance"] for row in db.rows("SELECT id, balance FROM accounts")}
    if folded != table:
        wrong.append(f"folded {folded}, table {table}")

    # The sum is constant transaction by transaction, in commit order.
    balances = {}
    by_transaction = {}
    for e in accounts:
        if e["op"] == "r":
            balances[e["after"]["id"]] = e["after"]["balance"]
            continue
        # A transaction's rows lie on both sides of no other's commit: order them by the commit before them.
        order = (int(commit_before(e)), e["source"]["txId"])
        by_transaction.setdefault(order, []).append(e)
    for order in sorted(by_transaction):
        for e in by_transaction[order]:
            balances[e["after"]["id"]] = e["after"]["balance"]
        if sum(balances.values()) != ACCOUNTS * START:
            wrong.append(f"sum {sum(balances.values())} after {order}")
    return wrong


def commit_before(event):
    """The end of the transaction before: the first element, which is null for the first transaction of all."""
    first = event["source"]["sequence"].strip("[]").split(",")[0].strip('"')
    return 0 if first == "null" else first


def streaming(f):
    return f.status()["cdc"]["feed"]["state"] == "streaming"


def caught_up(f, db):
    lsn = db.lsn()

    def done():
        published = f.status()["cdc"]["published_lsn"]
        high, low = (int(part, 16) for part in published.split("/"))
        want_high, want_low = (int(part, 16) for part in lsn.split("/"))
        return (high, low) >= (want_high, want_low)

    wait_until(done, 60, f"published up to {lsn}", every=0.1)


def publisher(freshet, db, broker, unique, wait=True, **cdc):
    return freshet(
        db,
        {"roles": ["cdc"], "cdc": {"slot": f"{unique}_slot", "publication": f"{unique}_pub", **cdc}},
        kafka=broker,
        prefix=unique,
        wait=wait,
    )


@pytest.mark.slow
@pytest.mark.timeout(int(420 * PATIENCE))
def test_kills_at_random_times_lose_and_repeat_nothing(freshet, db, kafka, unique):
    make_tables(db)
    f = publisher(freshet, db, kafka, unique, kafka={"transaction_interval": "30ms"})
    dice = random.Random(7)
    with Storm(db):
        for kill in range(12):
            if kill % 2:  # every other one hits a process that streams, the rest whatever a start is doing
                wait_until(lambda: streaming(f), 60, "it streams")
            time.sleep(dice.uniform(0.02, 0.8))  # the time of the kill is the point
            f.kill9()
            f.start(wait=False)
        wait_until(lambda: streaming(f), 60, "it streams")
    caught_up(f, db)
    records = read_topics(kafka, unique)
    assert check(records, db) == []
    assert len(records) > 200


def test_at_least_once_repeats_under_kills_and_the_checker_sees_it(freshet, db, kafka, unique):
    make_tables(db)
    cdc = {"kafka": {"delivery": "at-least-once", "transaction_interval": "1s"}}
    f = publisher(freshet, db, kafka, unique, **cdc)
    caught_up(f, db)
    with Storm(db):
        for _ in range(8):
            # Some of a batch is in the topic, and the batch is not confirmed.
            before = len(read_topics(kafka, unique))
            wait_until(lambda: len(read_topics(kafka, unique)) > before, 60, "more records", every=0.01)
            f.kill9()
            f.start(wait=False)
            wait_until(lambda: streaming(f), 60, "streams again")
    caught_up(f, db)
    wrong = check(read_topics(kafka, unique), db)
    assert any("times" in w for w in wrong), "no repeat: the checker, or the kills, are too weak"
    assert not any("lost" in w for w in wrong)


def test_kafka_away_is_waited_for_in_bounded_memory(freshet, db, make_kafka, unique):
    broker = make_kafka()
    db.execute("CREATE TABLE wide (id int PRIMARY KEY, t text)")
    db.execute("INSERT INTO wide VALUES (0, 'its topic is there')")
    f = publisher(freshet, db, broker, unique, kafka={"queue": "4MiB"})
    caught_up(f, db)
    before = f.rss_bytes()
    broker.pause()
    for i in range(40):
        db.execute(f"INSERT INTO wide SELECT i, repeat(md5(i::text), 30) FROM generate_series({i}*1000+1, {i + 1}*1000) i")
    # 40 MB wait in the WAL; the slot keeps them.
    wait_until(lambda: f.metric("freshet_cdc_kafka_queue_records") > 1000, 30, "the queue fills")
    assert f.rss_bytes() - before < 64 * 1024 * 1024
    assert f.http("/healthz").status_code == 200
    broker.resume()
    caught_up(f, db)
    keys = Counter(r.key["id"] for r in broker.read(f"{unique}.public.wide"))
    assert len(keys) == 40001 and set(keys.values()) == {1}
    assert f.rss_bytes() - before < 96 * 1024 * 1024


def test_kafka_absent_at_the_start_is_waited_for(freshet, db, make_kafka, unique):
    broker = make_kafka()
    broker.stop()
    make_tables(db)
    f = publisher(freshet, db, broker, unique, wait=False)
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "waiting", 60, "it waits")
    assert "Kafka" in f.status()["cdc"]["feed"]["cause"]
    broker.start()
    caught_up(f, db)
    assert check(read_topics(broker, unique), db) == []


def test_a_large_transaction_is_one_kafka_transaction(freshet, db, kafka, unique):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka={"queue": "4MiB"})
    wait_until(lambda: streaming(f), 30, "streams")
    before = f.rss_bytes()
    db.execute("INSERT INTO big SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i")
    caught_up(f, db)
    assert f.metric("freshet_cdc_events_total", op="c") == 100000
    records = kafka.read(f"{unique}.public.big")
    assert len(records) == 100000 and len({r.value["source"]["txId"] for r in records}) == 1
    assert f.rss_bytes() - before < 96 * 1024 * 1024


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_record_that_the_broker_refuses_is_a_dead_letter_and_the_stream_goes_on(freshet, db, make_kafka, unique, delivery):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    kafka = make_kafka(message__max__bytes=20000)
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka={"delivery": delivery})
    wait_until(lambda: streaming(f), 30, "streams")
    noise = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 1000) g)"  # which does not compress to less
    db.execute(f"INSERT INTO big SELECT i, CASE WHEN i IN (3, 7) THEN {noise} ELSE 'small' END FROM generate_series(1, 9) i")
    db.execute("INSERT INTO big VALUES (10, 'small')")
    wait_until(lambda: any(r.key == {"id": 10} for r in kafka.read(f"{unique}.public.big")), 60, "the stream goes on")
    letters = []

    def both_are_told():
        letters[:] = kafka.read(f"{unique}.dead-letters")
        return {r.value["key"]["id"] for r in letters} == {3, 7}

    wait_until(both_are_told, 30, "two dead letters")
    assert all("max.message.bytes" in r.value["cause"] for r in letters)
    there = [r.key["id"] for r in kafka.read(f"{unique}.public.big")]
    assert sorted(set(there)) == [1, 2, 4, 5, 6, 8, 9, 10]
    if delivery == "exactly-once":
        assert (len(there), len(letters)) == (8, 2)


@pytest.mark.parametrize("choice", ["skip", "fail"])
def test_a_record_too_large_is_left_out_or_ends_it_as_configured(freshet, db, kafka, unique, choice):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", on_oversize=choice)
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO big VALUES (1, repeat('x', 3000000))")
    db.execute("INSERT INTO big VALUES (2, 'small')")
    if choice == "skip":
        assert [r.key for r in kafka.wait_for(f"{unique}.public.big", 1)] == [{"id": 2}]
        assert f.metric("freshet_cdc_oversize_skipped_total") == 1
    else:
        wait_until(lambda: "on_oversize" in str(f.status()["cdc"]["feed"]), 30, "it says why it does not go on")
        assert kafka.read(f"{unique}.public.big") == []
        assert f.status()["cdc"]["feed"]["state"] != "streaming"
    assert f"{unique}.dead-letters" not in kafka.topics(f"{unique}.")


def test_a_record_too_large_is_a_dead_letter_and_the_stream_goes_on(freshet, db, kafka, unique):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never")
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO big VALUES (1, repeat('x', 3000000))")
    db.execute("INSERT INTO big VALUES (2, 'small')")
    kafka.wait_for(f"{unique}.public.big", 1)
    letter = kafka.wait_for(f"{unique}.dead-letters", 1)[0].value
    assert letter["table"] == "big" and letter["key"] == {"id": 1} and "message.max.bytes" in letter["cause"]
    assert [r.key for r in kafka.read(f"{unique}.public.big")] == [{"id": 2}]
    assert f.metric("freshet_cdc_dead_letters_total") == 1
