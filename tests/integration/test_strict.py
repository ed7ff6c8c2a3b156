"""Strict for all: the cache's feed as a synchronous standby. A COMMIT returns only after the evict; and what a cache that is stopped,
frozen, cut off or restarted does to commits."""

import json
import time

import pytest

from support.postgres import Postgres
from support.rows import in_background, keep
from support.waiting import wait_until
from test_lease import walsender_stopped


@pytest.fixture(scope="module")
def server(workshop):
    server = Postgres(workshop, wal_sender_timeout="3s")
    yield server
    server.remove()


@pytest.fixture
def shop(server):
    shop = server.create_shop()
    yield shop
    server.set("synchronous_standby_names", None)
    shop.drop()


def standby(shop, state="sync", name="freshet_cache"):
    sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = %s AND application_name = %s"
    wait_until(lambda: shop.value(sql, [state, name]), what=f"{name} is a standby, {state}")


def name(f, key="customers:1"):
    return json.loads(f.redis.get(key))["name"]


def committing(shop, new, level="remote_apply"):
    """An UPDATE on a connection of its own, in the background; the result waits until its COMMIT has returned."""
    connection = shop.connect(options=f"-c synchronous_commit={level}")
    return in_background(lambda: connection.execute("UPDATE customers SET name = %s WHERE id = 1", [new]))


def held(shop):
    """A COMMIT waits for a standby."""
    return shop.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def named(server, shop, f, names="'freshet_cache'"):
    keep(f, "customers:1")
    server.set("synchronous_standby_names", names)
    standby(shop)


@pytest.mark.parametrize("level", ["remote_apply", "on"])
def test_commit_returns_only_after_the_evict(server, shop, freshet, level):
    f = freshet(shop)
    named(server, shop, f)
    f.pause()
    commit = committing(shop, "new", level)
    wait_until(lambda: held(shop), what="the COMMIT waits")
    f.resume()
    commit()
    assert name(f) == "new"


def test_what_the_server_is_told_to_be_applied_is_evicted(server, shop, freshet):
    f = freshet(shop)
    with shop.connect() as connection:
        for round in range(30):
            keep(f, "customers:1")
            connection.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
            lsn = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
            told = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'freshet_cache' AND replay_lsn >= %s"
            wait_until(lambda: connection.execute(told, [lsn]).fetchone()[0], what="it is told", every=0.001)
            assert name(f) == f"v{round}"


@pytest.mark.parametrize("how", ["restarted", "cut"])
def test_a_cache_that_comes_back_lets_the_held_commits_go(server, shop, freshet, how):
    """Its slot waits for the transactions that run, which are those whose COMMITs wait for it."""
    f = freshet(shop)
    named(server, shop, f)
    if how == "restarted":
        f.kill9()
        commit = committing(shop, "new")
        wait_until(lambda: held(shop), what="the COMMIT waits")
        f.start(wait=False)
    else:
        f.pause()
        commit = committing(shop, "new")
        wait_until(lambda: held(shop), what="the COMMIT waits")
        shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        f.resume()
    commit()
    wait_until(lambda: name(f) == "new", what="it answers")
    f.wait_ready()
    standby(shop)
    assert "feed_stands_in" in f.log_text()
    for round in range(20):
        f.redis.get("customers:1")
        committing(shop, f"v{round}")()
        assert name(f) == f"v{round}"


def cut_scenario(server, shop, start):
    """The stand-in lets a COMMIT return while memory has a lease still, and the slot waits for others: nothing is in memory by then."""
    f = start(shop, {"cache": {"max_staleness": "60s"}})
    named(server, shop, f)
    with shop.connect() as other:
        with walsender_stopped(shop):
            other.execute("BEGIN")
            other.execute("SELECT pg_current_xact_id()")
            commit = committing(shop, "new")
            wait_until(lambda: held(shop), what="the COMMIT waits")
            shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        commit()
        assert name(f) == "new", "an old row, after its COMMIT had returned"
        other.execute("ROLLBACK")
    f.wait_ready()
    server.set("synchronous_standby_names", None)


def test_a_cut_feed_gives_no_old_row_to_who_has_committed_since(server, shop, freshet):
    cut_scenario(server, shop, freshet)


def other_standby(server, shop, freshet):
    """A second feed, in the place of a replica."""
    other = freshet(shop, {"cache": {"name": "replica", "publication": "replica"}})
    standby(shop, "async", "replica")
    return other


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_another_standby_takes_over_for_a_dead_cache(server, shop, freshet, how):
    f = freshet(shop)
    other_standby(server, shop, freshet)
    named(server, shop, f, "'FIRST 1 (freshet_cache, replica)'")
    committing(shop, "before")()
    assert name(f) == "before"
    begun = time.monotonic()
    f.kill9() if how == "stopped" else f.pause()
    committing(shop, "after")()
    took = time.monotonic() - begun
    assert how == "stopped" or took > 1, "a frozen one is noticed after wal_sender_timeout"
    if how == "frozen":
        f.resume()
        standby(shop)
        committing(shop, "again")()
        assert name(f) == "again"


# ---- what `freshet check` says of it ----


@pytest.mark.parametrize(
    "names, result, told",
    [
        (None, None, None),
        ("'replica'", None, None),
        ("'freshet_cache'", "warn", "every COMMIT hangs"),
        ("'FIRST 1 (freshet_cache, replica)'", "ok", "another standby confirms in its place, and commits go on"),
        ("'ANY 1 (freshet_cache, replica)'", "warn", "reads are not strict"),
        ("'*'", "warn", "reads are not strict"),
    ],
)
def test_check_tells_what_a_stopped_cache_does_to_commits(postgres, db, cli, names, result, told):
    url = db.url + ("&" if "?" in db.url else "?") + "options=-csynchronous_commit%3Dlocal"
    postgres.set("synchronous_standby_names", names)
    try:
        wait_until(lambda: postgres.value("SHOW synchronous_standby_names") == (names or "").strip("'"), what="it is set")
        ran = cli("check", "--database", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    finally:
        postgres.set("synchronous_standby_names", None)
    lines = [line for line in ran.stdout.splitlines() if " sync standby " in line]
    assert [line.split()[0] for line in lines] == ([result, "warn"] if told else []), ran.stdout
    if told:
        assert told in lines[0] and "do not wait for the cache" in lines[1]
