"""Rows that many read: one fill for all of them, refreshed before their end, answered while they are refreshed, and filled at a bounded
pace when they change all the time. None of it gives an old row to anybody."""

import json
import threading
import time

import pytest

from support.rows import Gate, applied, explain, in_background, keep, state
from support.waiting import wait_until
from test_lease import walsender_stopped


def queries(f):
    return f.metric("freshet_cache_fill_queries_total")


def refreshes(f, reason):
    return f.metric("freshet_cache_refreshes_total", reason=reason)


# ---- single flight ----


def test_one_fill_for_the_readers_of_all_workers(db, freshet):
    gate = Gate(db)
    f = freshet(db, {"database": {"url": gate.url}, "cache": {"workers": 4, "fill_timeout": "30s", "early_refresh": 0}})
    keep(f, "gated:2")
    clients = [f.client(single_connection_client=True) for _ in range(24)]
    for client in clients:
        client.ping()
    before, joined = queries(f), f.metric("freshet_cache_fills_joined_total")
    with gate.shut():
        answers = [in_background(lambda client=client: client.get("gated:1")) for client in clients]
        wait_until(lambda: f.metric("freshet_cache_fills_joined_total") == joined + 23, what="all wait for one")
    assert {json.loads(answer())["v"] for answer in answers} == {"old"}
    assert queries(f) == before + 1
    f.stop()
    gate.drop_role()


# ---- early refresh ----


def read_for(f, seconds, keys=("customers:1",)):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key in keys:
            assert f.redis.get(key)


def test_a_row_that_is_read_is_refreshed_before_its_end(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "400ms", "early_refresh": 100}})
    read_for(f, 2.5)
    assert refreshes(f, "early") >= 4
    assert f.metric("freshet_cache_misses_total") <= 1 + refreshes(f, "early") / 4, "readers hardly ever wait"
    assert queries(f) <= refreshes(f, "early") + f.metric("freshet_cache_misses_total"), "one fill each"


def test_without_it_each_end_is_a_miss(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "200ms", "early_refresh": 0}})
    read_for(f, 1.5)
    assert refreshes(f, "early") == 0 and f.metric("freshet_cache_misses_total") >= 3


def test_what_is_not_read_is_not_refreshed(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "300ms", "early_refresh": 100}})
    keep(f, "customers:1")
    before = queries(f)
    wait_until(lambda: state(f, "customers:1") != "resident", what="its TTL has ended")
    assert queries(f) == before


# ---- stale while revalidate ----


def past_its_ttl(f, key, ttl_ms):
    return wait_until(lambda: float(explain(f, key)["age_ms"]) > ttl_ms, what="its TTL has ended")


def test_past_its_ttl_a_row_answers_while_it_is_read_again(db, freshet):
    gate = Gate(db)
    config = {"ttl": "300ms", "stale_while_revalidate": "60s", "fill_timeout": "30s", "early_refresh": 0}
    f = freshet(db, {"database": {"url": gate.url}, "cache": config})
    keep(f, "gated:1")
    f.redis.hgetall("gated:1")
    with gate.shut():
        past_its_ttl(f, "gated:1", 300)
        misses, before = f.metric("freshet_cache_misses_total"), queries(f)
        for _ in range(50):
            assert json.loads(f.redis.get("gated:1"))["v"] == "old"
        wait_until(gate.waiting, what="it is being read again")
        assert refreshes(f, "stale") == 1 and queries(f) == before + 1, "by one fill"
    wait_until(lambda: float(explain(f, "gated:1")["age_ms"]) < 200, what="it is refreshed", every=0.001)
    assert f.metric("freshet_cache_misses_total") == misses
    f.stop()
    gate.drop_role()


def test_what_a_commit_has_touched_is_never_answered_so(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "100ms", "stale_while_revalidate": "60s"}})
    for round in range(10):
        keep(f, "customers:1")
        past_its_ttl(f, "customers:1", 100)
        shop.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
        applied(f, shop)
        assert json.loads(f.redis.get("customers:1"))["name"] == f"v{round}"


def test_it_is_within_the_lease(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "100ms", "stale_while_revalidate": "60s", "max_staleness": "1s"}})
    keep(f, "customers:1")
    with walsender_stopped(shop):
        shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
        wait_until(lambda: f.metric("freshet_cache_lease_held") == 0, what="the lease has lapsed")
        assert json.loads(f.redis.get("customers:1"))["name"] == "new"


def test_a_row_that_has_ended_by_itself_is_not_answered_beyond_that(db, freshet):
    db.execute("CREATE TABLE sessions (id int PRIMARY KEY, ends timestamptz)")
    config = {"ttl": "100ms", "stale_while_revalidate": "60s", "tables": {"public.sessions": {"ttl_column": "ends"}}}
    f = freshet(db, {"cache": config})
    db.execute("INSERT INTO sessions VALUES (1, clock_timestamp() + interval '1 s')")
    keep(f, "sessions:1")
    wait_until(lambda: db.value("SELECT ends < clock_timestamp() - interval '50 ms' FROM sessions"), what="it has ended")
    assert f.redis.get("sessions:1") is None


def test_by_ttl_alone_its_end_is_told_when_it_is_read_again(shop, freshet):
    f = freshet(shop, {"cache": {"coherence": "ttl", "ttl": "300ms", "stale_while_revalidate": "60s"}})
    keep(f, "customers:1")
    f.redis.config_set("notify-keyspace-events", "Ex")
    told = f.redis.pubsub()
    told.subscribe("__keyevent@0__:expired")
    told.get_message(timeout=5)
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    wait_until(lambda: json.loads(f.redis.get("customers:1"))["name"] == "new", what="it is read again")
    assert wait_until(lambda: told.get_message(timeout=1), what="its end is told")["data"] == "customers:1"


# ---- a key that is read and changed all the time ----


class Writer:
    """Bumps the version of one row all the time. `committed`: the version that every later read of the database shows."""

    def __init__(self, db):
        self.db, self.committed, self.stopping = db, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        with self.db.connect() as connection:
            while not self.stopping:
                connection.execute("UPDATE hot SET v = v + 1 WHERE id = 1")
                self.committed += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join(30)


def test_a_row_that_changes_all_the_time_costs_a_bounded_number_of_fills(db, freshet):
    """And no promise: reads are never older than what was applied before them, or committed max_staleness before them; strict ones
    than what was committed before them."""
    db.execute("CREATE TABLE hot (id int PRIMARY KEY, v int NOT NULL)")
    db.execute("INSERT INTO hot VALUES (1, 0)")
    interval, seconds, failures, reads, latest = 0.1, 4, [], [0], []
    f = freshet(db, {"cache": {"min_refill_interval": "100ms", "max_staleness": "1s", "early_refresh": 0}})
    keep(f, "hot:1")

    def reader(command):
        client, history = f.client(single_connection_client=True), []
        while not writer.stopping:
            now, committed = time.monotonic(), writer.committed
            history.append((now, committed))
            while len(history) > 1 and history[1][0] <= now - 1:
                history.pop(0)
            if command == "WAIT":
                lsn = db_of[threading.get_ident()].execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
                client.execute_command("FRESHET.WAIT", lsn, 10000)
            row = client.execute_command("FRESHET.READ", "STRICT", "hot:1")[0] if command == "STRICT" else client.get("hot:1")
            least = committed if command != "GET" else history[0][1] if history[0][0] <= now - 1 else 0
            reads[0] += 1
            latest.append(time.monotonic() - now)
            if json.loads(row)["v"] < least:
                failures.append(f"{command}: {row}, and {least} was committed before")

    db_of = {}

    def guarded(command):
        try:
            with db.connect() as connection:
                db_of[threading.get_ident()] = connection
                reader(command)
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(repr(error))

    with Writer(db) as writer:
        wait_until(lambda: writer.committed > 10, what="it is written")
        threads = [threading.Thread(target=guarded, args=[c], daemon=True) for c in ("GET", "GET", "GET", "STRICT", "WAIT")]
        before, first, begun = queries(f), writer.committed, time.monotonic()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        after, took, written = queries(f), time.monotonic() - begun, writer.committed - first
        writer.stopping = True
        for thread in threads:
            thread.join(30)
    assert failures == []
    assert written > 100 * seconds, "it changes hundreds of times a second"
    assert after - before <= 3 * (took / interval + 2), "three tries an interval at most"
    assert f.metric("freshet_cache_fills_paced_total") > 0 and reads[0] > 5 * seconds
    assert max(latest) < 2.5, "nobody waits long"
    applied(f, db)
    assert json.loads(f.redis.get("hot:1"))["v"] == db.value("SELECT v FROM hot")


def test_without_the_interval_there_are_many_more(db, freshet):
    db.execute("CREATE TABLE hot (id int PRIMARY KEY, v int NOT NULL)")
    db.execute("INSERT INTO hot VALUES (1, 0)")
    f = freshet(db)
    with Writer(db):
        before = queries(f)
        read_for(f, 1, ["hot:1"])
        assert queries(f) - before > 60


def test_several_rows_at_once_keep_the_pace_together(db, freshet):
    db.execute("CREATE TABLE hot (id int PRIMARY KEY, v int NOT NULL)")
    db.execute("INSERT INTO hot SELECT i, 0 FROM generate_series(1, 3) i")
    f = freshet(db, {"cache": {"min_refill_interval": "200ms", "early_refresh": 0}})
    clients = [f.client(single_connection_client=True) for _ in range(8)]
    with Writer(db):
        until, before = time.monotonic() + 2, queries(f)

        def read(client):
            while time.monotonic() < until:
                assert all(client.mget("hot:1", "hot:2", "hot:3"))

        for done in [in_background(lambda client=client: read(client)) for client in clients]:
            done()
        assert queries(f) - before <= 4 * (2 / 0.2 + 2)


def test_an_interval_longer_than_a_fill_may_take_is_a_mistake(cli):
    ran = cli("run", "--set", "cache.min_refill_interval=5s", "--set", "cache.fill_timeout=5s")
    assert ran.returncode == 2 and "cache.min_refill_interval" in ran.stderr
