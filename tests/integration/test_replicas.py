"""Fills from hot standbys: only what a standby has replayed is kept, and one that lags is left out."""

import json
import time
from types import SimpleNamespace

import pytest

from support.rows import applied, explain, keep
from support.waiting import wait_until
from test_verify import verify

FILLS = "freshet_cache_replica_fills_total"
REFUSALS = "freshet_cache_replica_refusals_total"
IN_USE = "freshet_cache_replica_in_use"


@pytest.fixture(scope="module")
def pair(workshop):
    from support.postgres import Postgres

    primary = Postgres(workshop)
    primary.create_shop()
    standby = primary.create_standby()
    yield SimpleNamespace(primary=primary, standby=standby)
    standby.remove()
    primary.remove()


@pytest.fixture
def shop(pair):
    """A fresh shop, on both."""
    database = pair.primary.create_shop()
    pair.standby.catch_up()
    yield database
    pair.standby.release()
    pair.standby.catch_up()
    database.drop()


def with_replicas(*urls, **cache):
    return {"database": {"replicas": list(urls)}, "cache": cache}


def started(start, shop, standby, **cache):
    f = start(shop, with_replicas(standby.url(shop.name), **cache))
    wait_until(lambda: f.metric(IN_USE) == 1, what="the replica is in use")
    warm(f)
    return f


@pytest.fixture
def start(pair, shop, freshet):
    return lambda **cache: started(freshet, shop, pair.standby, **cache)


def warm(f):
    """Connections to the replica are made when rows are first wanted; meanwhile the primary answers."""

    def read():
        fills = f.metric(FILLS)
        f.redis.get("customers:1999")
        f.redis.delete("customers:1999")
        return f.metric(FILLS) > fills

    wait_until(read, what="rows are read from the replica")


def test_what_a_replica_gave_is_compared_with_the_primary(pair, shop, start):
    f = start()
    for i in range(1, 51):
        f.redis.get(f"customers:{i}")
    shop.execute("UPDATE customers SET city = 'Ulm' WHERE id < 20")
    found = verify(f)
    assert found["checked"] >= 30 and (found["stale"], found["undecided"]) == (0, 0)


def test_rows_are_read_from_a_replica(pair, shop, start):
    f = start()
    before = f.metric(FILLS)
    for i in range(1, 51):
        assert f.row(f"customers:{i}")["id"] == i
    assert f.redis.hget("customers:7", "id") == "7"
    assert f.row("customers:999999") is None
    assert f.metric(FILLS) >= before + 52
    assert explain(f, "customers:7")["source"] == "replica"
    hits = f.metric("freshet_cache_hits_total")
    assert f.row("customers:7")["id"] == 7
    assert f.metric("freshet_cache_hits_total") == hits + 1


def test_a_change_evicts_what_a_replica_gave(pair, shop, start):
    f = start()
    for round in range(5):
        keep(f, "customers:1")
        shop.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
        applied(f, shop)
        assert f.row("customers:1")["name"] == f"v{round}"


def held_standby_scenario(standby, shop, f):
    """The standby holds still; what it has not replayed must come from the primary."""
    for key in ("customers:1", "customers:2", "customers:3"):
        keep(f, key)
    standby.hold()
    fills = f.metric(FILLS)
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    shop.execute("INSERT INTO customers (id, name, email) VALUES (5000, 'late', 'late@example.com')")
    applied(f, shop)
    for _ in range(3):
        assert f.row("customers:1")["name"] == "new", "an old row of the replica"
        assert f.row("customers:01")["name"] == "new", "an old row of the replica"
        assert f.row("customers:5000") is not None, "a replica's missing row"
    # Untouched rows it may give all the same.
    assert f.row("customers:100")["id"] == 100
    assert f.metric(FILLS) > fills
    standby.release()


def test_what_a_replica_has_not_replayed_comes_from_the_primary(pair, shop, start):
    f = start(max_staleness="60s")
    held_standby_scenario(pair.standby, shop, f)
    assert f.metric("freshet_cache_fills_failed_total") == 0


def test_a_table_that_was_truncated_is_not_read_from_a_replica_behind(pair, shop, start):
    f = start(max_staleness="60s")
    shop.execute("CREATE TABLE gone (id int PRIMARY KEY, a text)")
    shop.execute("INSERT INTO gone VALUES (1, 'there')")
    wait_until(lambda: any(t["table"] == "gone" and t["kept"] for t in f.status()["cache"]["read_through"]["tables"]))
    pair.standby.catch_up()
    pair.standby.hold()
    shop.execute("TRUNCATE gone")
    applied(f, shop)
    assert f.row("gone:1") is None


def test_rows_of_one_mget_come_from_one_snapshot(pair, shop, start):
    f = start(max_staleness="60s")
    pair.standby.hold()
    shop.execute("UPDATE customers SET city = 'Here' WHERE id IN (11, 12)")
    applied(f, shop)
    answers = [json.loads(text)["city"] for text in f.redis.mget("customers:11", "customers:12", "customers:13")]
    assert answers[0] == answers[1] == "Here"
    assert f.redis.mget("customers:14", "orders:1", "products:1", "customers:11")[1] is not None


def test_strict_reads_and_named_positions_go_to_the_primary(pair, shop, start):
    f = start(max_staleness="60s")
    pair.standby.hold()
    before = f.metric(FILLS)
    client = f.client()
    for _ in range(3):
        [text] = client.execute_command("FRESHET.READ", "STRICT", "customers:21")
        assert json.loads(text)["id"] == 21
    assert f.metric(FILLS) == before
    shop.execute("UPDATE customers SET name = 'mine' WHERE id = 22")
    lsn = shop.lsn()
    client.execute_command("FRESHET.MINLSN", lsn)
    assert json.loads(client.get("customers:22"))["name"] == "mine"
    f.wait_applied(lsn)
    assert json.loads(client.get("customers:22"))["name"] == "mine"


def test_a_replica_that_lags_is_left_out_until_it_has_caught_up(pair, shop, start):
    f = start(max_staleness="500ms")
    pair.standby.hold()
    shop.execute("UPDATE customers SET name = 'x' WHERE id = 900")
    wait_until(lambda: f.metric(IN_USE) == 0, what="it is left out")
    assert "cache_replica_left_out" in f.log_text()
    fills = f.metric(FILLS)
    for i in range(1, 20):
        assert f.row(f"customers:{i}")["id"] == i
    assert f.metric(FILLS) == fills
    assert f.metric("freshet_cache_replica_lag_seconds") > 0.4
    pair.standby.release()
    wait_until(lambda: f.metric(IN_USE) == 1, what="it is back")
    for i in range(30, 40):
        f.row(f"customers:{i}")
    assert f.metric(FILLS) > fills


def test_answers_of_a_replica_are_within_the_bound(pair, shop, start):
    """Without a wait for anything: a read is at most max_staleness behind, also while the replica falls behind."""
    f = start(max_staleness="500ms")
    pair.standby.hold()
    shop.execute("UPDATE customers SET name = 'new' WHERE id BETWEEN 1000 AND 1100")
    committed = time.monotonic()
    while time.monotonic() < committed + 1.5:
        for i in range(1000, 1100, 7):
            begun = time.monotonic()
            name = f.row(f"customers:{i}")["name"]
            assert name == "new" or begun < committed + 0.5
            f.redis.delete(f"customers:{i}")


def test_a_replica_that_goes_away_is_done_without(make_postgres, freshet):
    primary = make_postgres()
    shop = primary.create_shop()
    standby = primary.create_standby()
    try:
        standby.catch_up()
        f = freshet(shop, with_replicas(standby.url(shop.name)))
        wait_until(lambda: f.metric(IN_USE) == 1)
        warm(f)
        standby.pause()
        for i in range(1, 30):
            assert f.row(f"customers:{i}")["id"] == i
        standby.resume()
        wait_until(lambda: f.metric(IN_USE) == 1, what="it is back")
        warm(f)
        standby.kill9()
        for i in range(30, 60):
            assert f.row(f"customers:{i}")["id"] == i
        wait_until(lambda: f.metric(IN_USE) == 0)
        standby.start()
        wait_until(lambda: f.metric(IN_USE) == 1, 30, what="it is back")
        warm(f)
    finally:
        standby.remove()


def test_a_server_that_is_no_standby_of_ours_is_not_asked(pair, shop, make_postgres, freshet, cli):
    other = make_postgres()
    foreign = other.create_shop()
    f = freshet(shop, with_replicas(other.url(foreign.name), pair.standby.url(shop.name)))
    wait_until(lambda: f.metric(IN_USE) == 1)
    assert f.metric(IN_USE, replica=f"127.0.0.1:{other.port}") == 0
    states = {one["replica"]: one for one in f.status()["cache"]["read_through"]["replicas"]}
    assert states[f"127.0.0.1:{other.port}"]["trouble"] == "it is no standby"
    assert states[f"127.0.0.1:{pair.standby.port}"]["in_use"]
    replicas = f"{other.url(foreign.name)},{pair.standby.url(shop.name)},postgresql://127.0.0.1:1/none"
    done = cli("check", "--database", shop.url, "--set", f"database.replicas={replicas}")
    assert done.returncode == 0
    assert f"warn  replica             127.0.0.1:{other.port} is no standby" in done.stdout
    assert f"ok    replica             127.0.0.1:{pair.standby.port} is a standby, " in done.stdout
    assert "warn  replica             127.0.0.1:1: connecting to PostgreSQL: " in done.stdout


def test_replicas_need_the_change_stream(shop, pair, cli):
    done = cli("check", "--database", shop.url, "--set", f"database.replicas={pair.standby.url()}", "--set", "cache.coherence=ttl")
    assert done.returncode == 2
    assert "database.replicas: needs cache.coherence: stream" in done.stderr
