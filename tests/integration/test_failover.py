"""Failover of the primary: promotion of a real standby, fencing, a new timeline; nothing stale afterwards."""

import os
import time

import pytest
import redis

from support.rows import applied, keep
from support.waiting import wait_until

IN_USE = "freshet_cache_replica_in_use"


@pytest.fixture
def make_standby(request):
    made = []

    def make(primary, database):
        made.append(primary.create_standby())
        made[-1].catch_up()
        return made[-1]

    yield make
    for standby in made:
        standby.remove()


def url_of(database, *servers, more=""):
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@{hosts}/{database.name}{more}"


def kept(f):
    return all(table["kept"] for table in f.status()["cache"]["read_through"]["tables"])


def follows(f, server):
    """The change stream comes from there, and memory may be trusted again."""

    def seen():
        slots = server.value("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name LIKE 'freshet_cache%'")
        return slots == 1 and f.http("/readyz").status_code == 200 and kept(f)

    wait_until(seen, 40, what="it follows the new primary")


def serves_from_memory(f, key):
    hits = f.metric("freshet_cache_hits_total")
    f.redis.get(key)
    return f.metric("freshet_cache_hits_total") > hits


def test_a_promoted_standby_is_followed_and_nothing_is_stale(make_postgres, make_standby, freshet):
    primary = make_postgres()
    shop = primary.create_shop()
    standby = make_standby(primary, shop)
    f = freshet(None, {"database": {"url": url_of(shop, primary, standby)}, "cache": {"fill_timeout": "2s"}})
    for i in range(1, 20):
        keep(f, f"customers:{i}")
    standby.catch_up()
    primary.kill9()
    standby.promote()
    promoted = standby.database(shop.name)
    promoted.execute("UPDATE customers SET name = 'after' WHERE id < 20")
    committed = time.monotonic()
    # Meanwhile an answer is within the bound, or an error, and never older.
    while time.monotonic() < committed + 60:
        begun = time.monotonic()
        try:
            name = f.row("customers:1")["name"]
        except redis.ResponseError:
            continue
        if name == "after":
            break
        assert begun < committed + 2, "an old row, later than max_staleness after the commit"
    follows(f, standby)
    for i in range(1, 20):
        assert f.row(f"customers:{i}")["name"] == "after"
    promoted.execute("UPDATE customers SET name = 'later' WHERE id = 1")
    applied(f, promoted)
    assert f.row("customers:1")["name"] == "later"
    wait_until(lambda: serves_from_memory(f, "customers:1"), what="memory answers again")
    # The old primary comes back as it was, with a history of its own: nobody asks it.
    primary.start()
    assert f.row("customers:2")["name"] == "after"


def fenced_scenario(primary, start):
    """The old primary lives on, read-only, with all the connections that it had."""
    shop = primary.create_shop()
    standby = primary.create_standby()
    try:
        standby.catch_up()
        f = start(None, {"database": {"url": url_of(shop, primary, standby)}})
        for i in range(1, 10):
            keep(f, f"customers:{i}")
        standby.promote()
        primary.set("default_transaction_read_only", "on")
        promoted = standby.database(shop.name)
        primary.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'freshet_cache'")
        follows(f, standby)
        promoted.execute("UPDATE customers SET name = 'after' WHERE id < 20")
        applied(f, promoted)
        for _ in range(3):
            for i in range(1, 20):
                assert f.row(f"customers:{i}")["name"] == "after", "an old row of the old primary"
        return f
    finally:
        standby.remove()


def test_connections_to_a_fenced_primary_are_given_up(make_postgres, freshet):
    f = fenced_scenario(make_postgres(), freshet)
    f.kill9()


def test_replicas_follow_a_failover(make_postgres, make_standby, freshet):
    primary = make_postgres()
    shop = primary.create_shop()
    first, second = make_standby(primary, shop), make_standby(primary, shop)
    f = freshet(None, {"database": {"url": url_of(shop, primary, first), "replicas": [first.url(shop.name), second.url(shop.name)]}})
    names = {server: f"127.0.0.1:{server.port}" for server in (first, second)}
    wait_until(lambda: f.metric(IN_USE) == 2, what="both are in use")
    # One that takes another history while ours goes on is no replica any more, and what it gave is given up.
    second.stop()
    first.promote()
    wait_until(lambda: f.metric(IN_USE) == 0, what="the promoted one is left out")
    second.follow(first)
    wait_until(lambda: "another timeline" in f.log_text(), what="the other one's timeline is noticed")
    shop.execute("UPDATE customers SET name = 'ours' WHERE id = 1")
    first.database(shop.name).execute("UPDATE customers SET name = 'theirs' WHERE id = 1")
    applied(f, shop)
    assert f.row("customers:1")["name"] == "ours"
    assert f.metric(IN_USE) == 0
    # Then the primary goes.
    primary.kill9()
    follows(f, first)
    wait_until(lambda: f.metric(IN_USE, replica=names[second]) == 1, what="it is a replica of the new primary")
    assert f.row("customers:1")["name"] == "theirs"
    promoted = first.database(shop.name)
    for round in range(3):
        promoted.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
        applied(f, promoted)
        assert f.row("customers:1")["name"] == f"v{round}"


@pytest.mark.skipif(not float(os.environ.get("FRESHET_TEST_LONG", 0)) >= 10, reason="takes 20 s: FRESHET_TEST_LONG=10")
def test_a_frozen_primary_does_not_hold_the_cache(make_postgres, make_standby, freshet):
    """Its connections stay open, its port takes new ones, and nothing answers."""
    primary = make_postgres(wal_sender_timeout="2s")
    shop = primary.create_shop()
    standby = make_standby(primary, shop)
    f = freshet(None, {"database": {"url": url_of(shop, primary, standby)}, "cache": {"fill_timeout": "1s"}})
    keep(f, "customers:1")
    primary.pause()
    try:
        standby.promote()
        promoted = standby.database(shop.name)
        promoted.execute("UPDATE customers SET name = 'after' WHERE id < 20")
        follows(f, standby)
        wait_until(lambda: f.row("customers:1")["name"] == "after", 30, what="rows are read from the new primary")
    finally:
        primary.resume()
    for i in range(1, 20):
        assert f.row(f"customers:{i}")["name"] == "after"
