"""The database in trouble: each time the answer that a user would expect, within the deadline, and metrics that tell.

What the machine does not allow (a small file system to fill) is skipped, and says so.
"""

import shutil
import subprocess
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest
from redis.exceptions import ResponseError

from support.rows import applied, fills, in_background, keep, state
from support.waiting import PATIENCE, wait_until

TIMEOUT = 1.0
CACHE = {"max_staleness": "2s", "fill_timeout": f"{int(TIMEOUT * 1000)}ms", "workers": 1}


def refused(f, *command, within=TIMEOUT + 1):
    """The error that the command is answered, in time."""
    client = f.client()
    begun = time.monotonic()
    with pytest.raises(ResponseError) as error:
        client.execute_command(*command)
    assert time.monotonic() - begun < within * PATIENCE
    return str(error.value)


@contextmanager
def taken(server, user, leave=0):
    """All connections that the user may have are taken but some."""
    taken_ones = []
    try:
        with pytest.raises(psycopg.OperationalError, match="connection"):
            while True:
                taken_ones.append(psycopg.connect(server.url("postgres", user)))
        for _ in range(leave):
            taken_ones.pop().close()
        yield
    finally:
        for one in taken_ones:
            one.close()


# ---- down ----


def test_while_the_database_is_down_memory_answers_for_as_long_as_is_proven_then_an_error(make_postgres, freshet):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop, {"cache": CACHE})
    keep(f, "customers:1")
    f.redis.set("plain", "value")
    server.kill9()
    assert f.row("customers:1")["id"] == 1
    assert refused(f, "GET", "customers:2").startswith("customers: no answer from the database within 1000 ms")
    assert refused(f, "MGET", "plain", "customers:3").startswith("customers: no answer")
    failed = fills(f, "timeout") + fills(f, "failed")
    assert failed >= 2

    def ended():
        try:
            return not f.row("customers:1")
        except ResponseError as error:
            return "no answer from the database" in str(error)

    wait_until(ended, what="the lease has ended")
    assert f.redis.get("plain") == "value" and f.redis.ping()
    assert f.metric("freshet_cache_staleness_seconds") > 2 or f.metric("freshet_cache_staleness_seconds") < 0
    assert f.http("/healthz").status_code == 200 and f.http("/readyz").status_code == 503
    assert f.status()["ready"] is False and f.status()["reason"]
    server.start()
    f.wait_ready()
    keep(f, "customers:1")
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    applied(f, shop)
    assert f.row("customers:1")["name"] == "new"


def test_on_stale_error_says_that_the_database_is_down(make_postgres, freshet):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop, {"cache": {**CACHE, "max_staleness": "500ms", "on_stale": "error"}})
    keep(f, "customers:1")
    server.kill9()

    def told():
        try:
            f.redis.get("customers:1")
        except ResponseError as error:
            return str(error)

    assert "STALE" in wait_until(told).upper()
    server.start()


# ---- slow ----


def test_a_slow_view_is_an_error_at_its_deadline_and_holds_nobody_else_up(shop, freshet):
    shop.execute("CREATE VIEW slow AS SELECT id, name, pg_sleep(30) IS NULL AS slept FROM customers")
    query = {"key": "slow:{id}", "sql": "SELECT id, name, slept FROM slow WHERE id = $1", "ttl": "1m", "shape": "row"}
    f = freshet(shop, {"cache": {**CACHE, "queries": {"slow": query}}})
    waiting = [in_background(lambda i=i: refused(f, "GET", f"slow:{i}")) for i in range(1, 9)]
    wait_until(lambda: shop.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slow%' AND state = 'active'"
                                  " AND wait_event = 'PgSleep'"))
    for i in range(1, 20):
        assert f.row(f"customers:{i}")["id"] == i
    for answer in waiting:
        assert "slow: no answer from the database within 1000 ms" in answer() or "57014" in answer()
    assert fills(f, "timeout") + fills(f, "failed") >= 8
    # What nobody waits for any more is not left running.
    wait_until(lambda: shop.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 0, timeout=10)
    shop.execute("CREATE OR REPLACE VIEW slow AS SELECT id, name, false AS slept FROM customers")
    wait_until(lambda: f.row("slow:1") == {"id": 1, "name": f.row("customers:1")["name"], "slept": False})


def test_slow_reads_one_after_another_leave_connections_to_others(shop, freshet):
    """They find each other's statements in flight, and do not take what is left: a slow query and a locked table at once."""
    shop.execute("CREATE VIEW slow AS SELECT id, name, pg_sleep(30) IS NULL AS slept FROM customers")
    query = {"key": "slow:{id}", "sql": "SELECT id, slept FROM slow WHERE id = $1", "ttl": "1m", "shape": "row"}
    f = freshet(shop, {"cache": {**CACHE, "fill_timeout": "2s", "queries": {"slow": query}}})
    assert f.row("products:1")["id"] == 1
    with shop.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        waiting = []
        for key in ("slow", "orders"):
            for i in range(1, 13):
                waiting.append(in_background(lambda key=key, i=i: refused(f, "GET", f"{key}:{i}", within=4)))
                time.sleep(0.01)
        begun = time.monotonic()
        for i in range(1, 50):
            assert f.row(f"customers:{i}")["id"] == i
        assert time.monotonic() - begun < 1.5 * PATIENCE
        for answer in waiting:
            answer()


def test_a_statement_timeout_of_the_server_is_told(db, freshet):
    """database.statement_timeout shorter than the deadline: the server ends the statement, and its words are the answer."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("INSERT INTO t VALUES (1)")
    query = {"key": "slow:{id}", "sql": "SELECT id, pg_sleep(30) IS NULL AS s FROM t WHERE id = $1", "ttl": "1m",
             "shape": "row"}
    f = freshet(db, {"database": {"statement_timeout": "200ms"}, "cache": {**CACHE, "queries": {"slow": query}}})
    answer = refused(f, "GET", "slow:1", within=TIMEOUT)
    assert "slow" in answer and "statement timeout" in answer
    assert fills(f, "failed") + fills(f, "timeout") >= 1
    assert f.row("t:1") == {"id": 1}


def test_a_locked_table_is_an_error_at_its_deadline(shop, freshet):
    f = freshet(shop, {"cache": CACHE})
    keep(f, "customers:1")
    with shop.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        assert f.row("customers:1")["id"] == 1
        assert refused(f, "GET", "customers:2").startswith("customers: ")
        assert f.row("products:1")["id"] == 1
    assert f.row("customers:2")["id"] == 2


# ---- out of connections ----


def test_out_of_connections_is_told_and_passes(make_postgres, freshet):
    server = make_postgres(max_connections=30, superuser_reserved_connections=3)
    shop = server.create_shop()
    server.execute("CREATE ROLE app LOGIN REPLICATION")
    shop.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    shop.execute("CREATE PUBLICATION freshet_cache FOR TABLE customers, products, orders, order_items "
                 "WITH (publish_via_partition_root = true)")
    f = freshet(shop, {"database": {"url": server.url(shop.name, "app")}, "cache": CACHE})
    with taken(server, "app"):
        answer = refused(f, "GET", "customers:2")
        assert answer.startswith("customers: no answer from the database within 1000 ms: ")
        assert "too many clients" in answer or "remaining connection slots" in answer
        assert fills(f, "timeout") + fills(f, "failed") >= 1
        assert f.redis.set("plain", "1") and f.redis.get("plain") == "1"
    keep(f, "customers:2")
    assert f.row("customers:2")["id"] == 2


def test_with_one_connection_left_service_goes_on(make_postgres, freshet):
    server = make_postgres(max_connections=30, superuser_reserved_connections=3)
    shop = server.create_shop()
    server.execute("CREATE ROLE app LOGIN REPLICATION")
    shop.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    shop.execute("CREATE PUBLICATION freshet_cache FOR TABLE customers, products, orders, order_items "
                 "WITH (publish_via_partition_root = true)")
    f = freshet(shop, {"database": {"url": server.url(shop.name, "app"), "pool": 4}, "cache": CACHE})
    with taken(server, "app", leave=1):
        clients = [in_background(lambda i=i: f.client().get(f"customers:{i}")) for i in range(1, 60)]
        assert all(f'"id":{i}' in one() for i, one in enumerate(clients, 1))


# ---- writes: read-only, deadlock, disk full ----


@pytest.fixture
def writer(freshet):
    return lambda db, **cache: freshet(db, {"cache": {**CACHE, "writes": "through", **cache}})


def test_after_a_failover_to_a_server_that_is_read_only_writes_are_refused_and_reads_answered(make_postgres, freshet):
    """The primary is gone, and what is left is a hot standby that nobody has promoted (yet)."""
    primary = make_postgres()
    shop = primary.create_shop()
    standby = primary.create_standby()
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    f = freshet(None, {"database": {"url": f"postgresql://postgres@{hosts}/{shop.name}",
                                    "replicas": [standby.url(shop.name)]},
                       "cache": {**CACHE, "writes": "through", "write_timeout": "1s"}})
    keep(f, "customers:1")
    lsn = shop.lsn()
    wait_until(lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn]))
    primary.kill9()
    answer = refused(f, "HSET", "customers:1", "name", "new")
    assert "customers" in answer
    assert f.row("customers:1")["id"] == 1
    wait_until(lambda: f.metric("freshet_cache_write_failures_total") >= 1
               or f.metric("freshet_cache_writes_total", outcome="failed") >= 1)
    standby.promote()

    def written():
        try:
            return f.redis.hset("customers:1", "name", "new") == 0
        except ResponseError:
            return False

    wait_until(written, timeout=30)
    assert f.row("customers:1")["name"] == "new"
    f.wait_ready()


def test_a_deadlock_is_an_error_and_nothing_cached_changes(shop, writer):
    f = writer(shop, fill_timeout="5s")
    old = [f.row(f"customers:{i}")["name"] for i in (1, 2)]
    with shop.connect() as other:
        other.execute("SET deadlock_timeout = '60s'")
        other.execute("BEGIN")
        other.execute("UPDATE customers SET city = 'x' WHERE id = 2")

        def write():
            pipe = f.client().pipeline(transaction=True)
            pipe.hset("customers:1", "name", "new1")
            pipe.hset("customers:2", "name", "new2")
            return pipe.execute()

        writing = in_background(write)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        wait_until(lambda: shop.value(waits, [shop.name]) == 1)
        other.execute("UPDATE customers SET city = 'x' WHERE id = 1")
        with pytest.raises(Exception, match="40P01"):
            writing()
        other.execute("ROLLBACK")
    assert [f.row(f"customers:{i}")["name"] for i in (1, 2)] == old
    assert f.redis.hset("customers:1", "name", "new1") == 0 and f.row("customers:1")["name"] == "new1"


@pytest.fixture
def small_disk(workshop):
    """A file system of a few megabytes that PostgreSQL may write to."""
    folder = workshop.make_folder("small-disk", unprivileged=True)
    owner = folder.stat()
    options = f"size=8m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    if shutil.which("mount") is None or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
                                                        capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk_refuses_writes_and_answers_reads(make_postgres, writer, small_disk):
    server = make_postgres()
    server.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    db = server.create_database()
    db.execute("CREATE TABLE notes (id int PRIMARY KEY, body text) TABLESPACE small")
    db.execute("ALTER TABLE notes ALTER body SET STORAGE EXTERNAL")
    db.execute("INSERT INTO notes VALUES (1, 'first')")
    f = writer(db)
    keep(f, "notes:1")
    body = "x" * 1_000_000
    told = None
    for i in range(2, 30):
        try:
            f.redis.set(f"notes:{i}", f'{{"body":"{body}"}}')
        except ResponseError as error:
            told = str(error)
            break
    assert told and "53100" in told and "No space left" in told
    assert f.row("notes:1") == {"id": 1, "body": "first"}
    assert f.row(f"notes:{i}") is None and f.row("notes:2")["body"] == body
    assert f.metric("freshet_cache_write_failures_total") >= 1
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    assert f.redis.set("notes:1", '{"body":"again"}')
    assert f.row("notes:1") == {"id": 1, "body": "again"}
