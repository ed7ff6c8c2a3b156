"""Writes through when something goes wrong, or is slow: what is told, what was written, and that memory never shows an older row.

The scenarios that take `start` are run by test_rules.py too, by a program without the rule.
"""

import json
import os
import random
import socket
import threading
import time

import pytest
from redis.exceptions import ExecAbortError, ResponseError

from support.pgproxy import PgProxy
from support.rows import applied, in_background, keep, state
from support.waiting import wait_until
from test_lease import walsender_stopped

TABLE = "CREATE TABLE people (id int PRIMARY KEY, name text, email text UNIQUE)"
ROWS = "INSERT INTO people SELECT i, 'old', i || '@x' FROM generate_series(1, 20) i"
CONFIG = {"cache": {"writes": "through", "workers": 1, "max_staleness": "60s"}}


@pytest.fixture
def proxy(db):
    db.execute(TABLE)
    db.execute(ROWS)
    proxy = PgProxy(db.server)
    yield proxy
    proxy.close()


def start_through(start, proxy, db, **cache):
    return start(None, {"database": {"url": proxy.url(db)}, "cache": CONFIG["cache"] | cache})


def name(f, id=1):
    return f.row(f"people:{id}")["name"]


def stored(db, id=1):
    return db.value(f"SELECT name FROM people WHERE id = {id}")


def test_a_cut_between_commit_and_its_answer_is_told_as_unknown(db, freshet, proxy):
    f = start_through(freshet, proxy, db)
    keep(f, "people:1")
    proxy.cut(b"COMMIT")
    with pytest.raises(ResponseError, match="^UNKNOWN people: COMMIT was sent and not answered: it was written, or it was not"):
        f.redis.hset("people:1", "name", "new")
    assert (stored(db), name(f)) == ("new", "new")
    assert f.metric("freshet_cache_writes_total", outcome="unknown") == 1
    assert f.metric("freshet_cache_write_failures_total", reason="outcome_unknown") == 1
    assert f.redis.hset("people:1", "name", "newer") == 0
    assert name(f) == "newer"


def test_what_never_reached_the_server_is_unknown_too_and_nothing_is_sent_twice(db, freshet, proxy):
    f = start_through(freshet, proxy, db)
    keep(f, "people:1")
    proxy.swallow(b"COMMIT")
    with pytest.raises(ResponseError, match="^UNKNOWN"):
        f.redis.delete("people:1")
    assert (stored(db), name(f)) == ("old", "old")
    applied(f, db)
    assert stored(db) == "old"


def test_a_cut_before_commit_was_sent_has_written_nothing(db, freshet, proxy):
    f = start_through(freshet, proxy, db)
    keep(f, "people:1")
    proxy.cut(b"BEGIN READ WRITE")
    with f.client().pipeline(transaction=True) as tx:
        tx.hset("people:1", "name", "lost").hset("people:2", "name", "lost")
        with pytest.raises(ExecAbortError, match="nothing was written"):
            tx.execute()
    assert (stored(db), stored(db, 2), name(f)) == ("old", "old", "old")
    assert f.metric("freshet_cache_write_failures_total", reason="unavailable") == 1


def test_an_exec_cut_at_its_commit_is_told_as_unknown(db, freshet, proxy):
    f = start_through(freshet, proxy, db)
    proxy.cut(b"COMMIT")
    with f.client().pipeline(transaction=True) as tx:
        tx.hset("people:1", "name", "new").hset("people:2", "name", "new")
        with pytest.raises(ResponseError, match="^UNKNOWN"):
            tx.execute()
    assert (name(f), name(f, 2)) == (stored(db), stored(db, 2)) == ("new", "new")


def test_a_commit_that_takes_too_long_is_told_in_time_and_applied_when_it_returns(db, freshet, proxy):
    f = start_through(freshet, proxy, db, write_timeout="500ms")
    keep(f, "people:1")
    held = proxy.hold(b"COMMIT")
    begun = time.monotonic()
    with pytest.raises(ResponseError, match="^UNKNOWN.*no answer within 500 ms"):
        f.redis.hset("people:1", "name", "new")
    assert time.monotonic() - begun < 5
    assert name(f) == "new"
    assert f.redis.hset("people:2", "name", "over another connection") == 0
    held.release()
    wait_until(lambda: f.redis.hset("people:1", "name", "newer") == 0 and name(f) == "newer", what="all is well")


def test_without_a_database_a_write_is_refused_in_time(make_postgres, freshet):
    server = make_postgres()
    db = server.create_database()
    db.execute(TABLE)
    db.execute(ROWS)
    f = freshet(db, {"cache": CONFIG["cache"] | {"write_timeout": "300ms"}})
    keep(f, "people:1")
    server.stop()
    with pytest.raises(ResponseError, match="people: nothing was written: no free connection to PostgreSQL within 300 ms"):
        f.redis.hset("people:1", "name", "lost")
    server.start()
    wait_until(lambda: is_written(f), 30, "writes go on")
    assert name(f) == "new"


def is_written(f):
    try:
        return f.redis.hset("people:1", "name", "new") == 0
    except ResponseError:
        return False


FENCED = """
CREATE TABLE fence (since timestamptz);
CREATE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT FROM fence, pg_stat_activity WHERE pid = pg_backend_pid() AND backend_start < since) THEN
    RAISE read_only_sql_transaction USING MESSAGE = 'cannot execute UPDATE in a read-only transaction';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fence BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION fence();
"""


def test_a_connection_to_a_server_that_writes_no_more_is_given_up(db, freshet, proxy):
    """As after a failover behind one address: old sessions are on the fenced server, new ones on the new primary."""
    f = start_through(freshet, proxy, db)
    db.execute(FENCED)
    both = [in_background(lambda: f.redis.hset("people:1", "name", "x")) for _ in range(2)]
    assert [one() for one in both] == [0, 0]
    db.execute("INSERT INTO fence VALUES (clock_timestamp())")
    with pytest.raises(ResponseError, match="25006 people: "):
        f.redis.hset("people:1", "name", "y")
    assert f.redis.hset("people:1", "name", "z") == 0
    assert stored(db) == name(f) == "z"


class SilentHost:
    """Takes connections, and never says a word."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self.sockets.append(self._listener.accept()[0])
            except OSError:
                return

    def close(self):
        for each in [self._listener, *self.sockets]:
            each.close()


def test_a_host_that_swallows_packets_is_waited_for_once(db, freshet):
    db.execute(TABLE)
    db.execute(ROWS)
    silent = SilentHost()
    try:
        url = f"postgresql://postgres@127.0.0.1:{silent.port},127.0.0.1:{db.server.port}/{db.name}?connect_timeout=2"
        f = freshet(None, {"database": {"url": url}, "cache": CONFIG["cache"] | {"write_timeout": "20s"}})
        assert f.redis.hset("people:1", "name", "new") == 0
        seen = len(silent.sockets)
        assert db.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'COMMIT' AND application_name LIKE 'freshet%'") > 0
        wait_until(lambda: is_written(f), 30, "writes go on")
        assert len(silent.sockets) == seen
    finally:
        silent.close()


def test_a_lock_that_is_held_too_long_is_a_timeout_that_wrote_nothing(db, freshet, proxy):
    f = start_through(freshet, proxy, db, write_timeout="400ms")
    with db.connect(autocommit=False) as connection:
        connection.execute("SELECT FROM people WHERE id = 1 FOR UPDATE")
        with pytest.raises(ResponseError, match="57014 people: canceling statement due to statement timeout"):
            f.redis.hset("people:1", "name", "late")
    assert f.redis.hset("people:1", "name", "new") == 0


def test_a_client_that_goes_leaves_a_write_that_is_applied(db, freshet, proxy):
    f = start_through(freshet, proxy, db)
    keep(f, "people:1")
    held = proxy.hold(b"COMMIT")
    with f.socket() as socket:
        socket.sendall(b"HSET people:1 name new\r\n")
        held.wait()
    held.release()
    wait_until(lambda: name(f) == "new", what="the write is seen")


# ---- rule 7, and the others on writes ----


def own_write_scenario(db, start):
    """The stream is stopped, and memory may be a minute old: but the writer, and all others, read the write."""
    db.execute(TABLE)
    db.execute(ROWS)
    f = start(db, CONFIG)
    keep(f, "people:1")
    assert keep(f, "people:email=new@x") is None
    with walsender_stopped(db):
        f.redis.hset("people:1", mapping={"name": "new", "email": "new@x"})
        assert name(f) == "new", "an old row after the write"
        assert f.row("people:email=new@x") is not None, "an old row after the write"
        f.redis.delete("people:1")
        assert f.row("people:1") is None, "an old row after the write"


def fill_in_flight_scenario(db, start):
    """A read that began before the write, and ends after it, is not kept."""
    db.execute(TABLE)
    db.execute(ROWS)
    proxy = PgProxy(db.server)
    f = start_through(start, proxy, db)
    keep(f, "people:2")
    with walsender_stopped(db):
        held = proxy.hold(b"1@x")
        early = in_background(lambda: f.row("people:email=1@x"))
        held.wait()
        reads = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%LATERAL%'"
        wait_until(lambda: db.value(reads + " AND state = 'idle' AND pid <> pg_backend_pid()"), what="the row was read")
        f.client().hset("people:1", "name", "new")
        held.release()
        early()
        assert f.row("people:email=1@x")["name"] == "new", "an old row was kept"
    proxy.close()


def later_commit_scenario(db, start):
    """Between a write's COMMIT and its answer another commit touches the row: what the write has left is not kept."""
    db.execute(TABLE)
    db.execute(ROWS)
    proxy = PgProxy(db.server)
    f = start_through(start, proxy, db)
    keep(f, "people:1")
    held = proxy.hold(b"COMMIT")
    written = in_background(lambda: f.client().hset("people:1", "name", "first"))
    held.wait()
    wait_until(lambda: stored(db) == "first", what="the write is committed")
    db.execute("UPDATE people SET name = 'second' WHERE id = 1")
    applied(f, db)
    samples = f.metric("freshet_cache_samples_total")
    wait_until(lambda: f.metric("freshet_cache_samples_total") >= samples + 5, what="five pulses")
    held.release()
    written()
    assert name(f) == "second", "what the write left was kept"
    proxy.close()


SCENARIOS = [own_write_scenario, fill_in_flight_scenario, later_commit_scenario]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_no_read_is_older_than_the_write(db, freshet, scenario):
    scenario(db, freshet)


def test_by_ttl_alone_own_writes_are_seen_at_once(db, freshet):
    db.execute(TABLE)
    db.execute(ROWS)
    f = freshet(db, {"cache": {"writes": "through", "coherence": "ttl"}})
    keep(f, "people:1")
    keep(f, "people:email=1@x")
    assert f.redis.hset("people:1", "name", "new") == 0
    assert name(f) == "new" == f.row("people:email=1@x")["name"]
    assert state(f, "people:1") == "resident"


def own_writes_hunt(db, start, seconds, config=CONFIG["cache"]):
    """Writers through the cache and by SQL, and readers of every kind of key, of a few rows: no read may be older than a write
    that was answered before it began. Versions only grow."""
    db.execute("CREATE TABLE hunted (id int PRIMARY KEY, tag text UNIQUE, v int NOT NULL)")
    db.execute("INSERT INTO hunted SELECT i, 't' || i, 0 FROM generate_series(1, 4) i")
    f = start(db, {"cache": config | {"workers": 2}})
    keep(f, "hunted:1")
    until = time.monotonic() + seconds
    answered = dict.fromkeys(range(1, 5), 0)
    violations, reads = [], [0]

    def write(by):
        client, dice = f.client(), random.Random(by)
        with db.connect() as connection:
            while time.monotonic() < until:
                id = dice.randint(1, 4)
                kind = dice.random()
                if kind < 0.3:
                    connection.execute("UPDATE hunted SET v = v + 1 WHERE id = %s", [id])
                    continue
                if kind < 0.6:
                    v = client.hincrby(f"hunted:{id}", "v", 1)
                elif kind < 0.8:
                    v = client.hincrby(f"hunted:tag=t{id}", "v", 1)
                else:
                    with client.pipeline(transaction=True) as tx:
                        v = tx.hincrby(f"hunted:{id}", "v", 1).hget(f"hunted:{id}", "v").execute()[0]
                answered[id] = max(answered[id], v)

    def read(by):
        client, dice = f.client(), random.Random(by)
        while time.monotonic() < until:
            id = dice.randint(1, 4)
            least = answered[id]
            key = dice.choice([f"hunted:{id}", f"hunted:0{id}", f"hunted:tag=t{id}"])
            v = int(client.hget(key, "v")) if dice.random() < 0.5 else json.loads(client.get(key))["v"]
            reads[0] += 1
            if v < least:
                violations.append((key, v, least))

    runs = [in_background(lambda by=by: write(by)) for by in range(4)] + [in_background(lambda by=by: read(by)) for by in range(4)]
    [run(seconds + 30) for run in runs]
    applied(f, db)
    for id in range(1, 5):
        stored = db.value(f"SELECT v FROM hunted WHERE id = {id}")
        for key in (f"hunted:{id}", f"hunted:tag=t{id}"):
            assert int(f.redis.hget(key, "v")) == stored == json.loads(f.redis.get(key))["v"]
    assert reads[0] > 100
    return violations


def test_no_read_is_older_than_a_write_that_was_answered(db, freshet):
    assert own_writes_hunt(db, freshet, float(os.environ.get("FRESHET_WRITE_HUNT_SECONDS", 2))) == []


def test_a_standby_that_has_not_replayed_a_write_is_not_read(workshop, make_postgres, freshet):
    """Also where the stream has not told of the write yet, and snapshots of the primary see it."""
    server = make_postgres()
    standby = server.create_standby()
    db = server.create_database()
    db.execute(TABLE)
    db.execute(ROWS)
    standby.catch_up()
    try:
        config = {"database": {"replicas": [standby.url(db.name)]}, "cache": CONFIG["cache"] | {"ttl": "1h"}}
        f = freshet(db, config)
        wait_until(lambda: f.metric("freshet_cache_replica_in_use") == 1, what="the replica is in use")
        wait_until(lambda: f.redis.flushall() and name(f) and f.metric("freshet_cache_replica_fills_total") >= 3, what="the replica is read")
        standby.hold()
        with walsender_stopped(db):
            f.redis.hset("people:1", "name", "new")
            samples = f.metric("freshet_cache_samples_total")
            wait_until(lambda: f.metric("freshet_cache_samples_total") >= samples + 5, what="five pulses")
            for _ in range(5):
                f.redis.flushall()
                assert name(f) == "new"
    finally:
        standby.release()
        standby.remove()


def test_an_error_behind_the_commit_does_not_deny_it(db, freshet):
    """With replicas it is asked where the commit ends; what comes of that question changes nothing of the answer."""
    db.execute(TABLE)
    db.execute(ROWS)
    db.execute("""CREATE FUNCTION public.pg_current_wal_insert_lsn() RETURNS pg_lsn LANGUAGE plpgsql AS $$ BEGIN
        IF current_query() NOT LIKE '%flush%' THEN RAISE 'not now'; END IF;
        RETURN pg_catalog.pg_current_wal_insert_lsn(); END $$""")
    db.execute(f'ALTER DATABASE "{db.name}" SET search_path = public, pg_catalog')
    f = freshet(db, CONFIG | {"database": {"replicas": ["postgresql://127.0.0.1:1/nobody"]}})
    assert f.redis.hset("people:1", "name", "new") == 0
    assert (name(f), stored(db)) == ("new", "new")
