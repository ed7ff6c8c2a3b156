"""The staleness lease: memory answers only while it is proven fresh enough; past that, on_stale decides."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
import redis

from support.rows import applied, explain, keep, refusal
from support.waiting import wait_until

UPDATE = "UPDATE customers SET name = 'new' WHERE id = 1"
BOUND = 1.0
CONFIG = {"cache": {"max_staleness": "1s"}}


def with_mode(on_stale):
    return {"cache": {"max_staleness": "1s", "on_stale": on_stale}}


def name(f, key="customers:1"):
    return f.row(key)["name"]


def feed_pid(db):
    return db.value(
        "SELECT pid FROM pg_stat_replication WHERE application_name = 'freshet_cache' AND pid IN"
        " (SELECT active_pid FROM pg_replication_slots WHERE database = %s)",
        [db.name],
    )


@contextmanager
def walsender_stopped(db):
    pid = feed_pid(db)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def served_from_memory(f, key="customers:1"):
    hits = f.metric("freshet_cache_hits_total")
    f.redis.get(key)
    return f.metric("freshet_cache_hits_total") > hits


def reads_within_the_bound(f, shop):
    """An UPDATE; from max_staleness after its commit on, no read may give the old row."""
    shop.execute(UPDATE)
    committed = time.monotonic()
    while True:
        begun = time.monotonic()
        if name(f) == "new":
            return
        assert begun < committed + BOUND, "an old row, later than max_staleness after the commit"


def stopped_walsender_scenario(shop, start):
    f = start(shop, CONFIG)
    keep(f, "customers:1")
    with walsender_stopped(shop):
        reads_within_the_bound(f, shop)
        # The old entry is still there; it must answer nothing.
        wait_until(lambda: f.metric("freshet_cache_lease_held") == 0, what="the lease has lapsed")
        for _ in range(3):
            assert name(f) == "new"
    wait_until(lambda: served_from_memory(f), what="memory answers again")
    assert name(f) == "new"
    return f


def test_a_stopped_walsender_lets_reads_pass_to_the_database(shop, freshet):
    f = stopped_walsender_scenario(shop, freshet)
    assert f.metric("freshet_cache_bypassed_total") > 0


def test_a_cut_connection_empties_memory_and_starts_over(shop, freshet):
    f = freshet(shop, CONFIG)
    keep(f, "customers:1")
    shop.value("SELECT pg_terminate_backend(%s)", [feed_pid(shop)])
    reads_within_the_bound(f, shop)
    wait_until(lambda: served_from_memory(f), what="memory answers again")
    shop.execute("UPDATE customers SET name = 'newer' WHERE id = 1")
    applied(f, shop)
    assert name(f) == "newer"


def test_changes_during_a_cut_are_not_missed(shop, freshet):
    f = freshet(shop, {"cache": {"max_staleness": "60s"}})
    keep(f, "customers:1")
    with walsender_stopped(shop):
        pid = feed_pid(shop)
        shop.execute(UPDATE)
        shop.value("SELECT pg_terminate_backend(%s)", [pid])
    # Its slot was temporary: what the walsender had not sent will never come.
    wait_until(lambda: feed_pid(shop) not in (None, pid), what="the feed is back")
    wait_until(lambda: f.status()["cache"]["read_through"]["tables"][0]["kept"], what="the tables have joined")
    assert name(f) == "new"
    wait_until(lambda: served_from_memory(f), what="memory answers again")
    assert name(f) == "new"


def test_a_slot_killed_again_and_again_gives_no_old_row(shop, freshet):
    f = freshet(shop, CONFIG)
    for round in range(5):
        keep(f, "customers:1")
        pid = feed_pid(shop)
        shop.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
        shop.value("SELECT pg_terminate_backend(%s)", [pid])
        committed = time.monotonic()
        while name(f) != f"v{round}":
            assert time.monotonic() < committed + BOUND + 0.5
        wait_until(lambda: feed_pid(shop) not in (None, pid), what="the feed is back")


def test_the_server_restarts_and_service_goes_on(make_postgres, freshet):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop, CONFIG)
    keep(f, "customers:1")
    server.stop()
    f.redis.set("plain", "there")
    assert f.redis.get("plain") == "there"
    wait_until(lambda: f.metric("freshet_cache_lease_held") == 0, what="the lease has lapsed")
    server.start()
    shop.execute(UPDATE)

    def read():
        try:
            return name(f) == "new"
        except redis.ResponseError:
            return False

    wait_until(read, what="the new row is read")
    wait_until(lambda: served_from_memory(f), what="memory answers again")
    assert name(f) == "new"


def test_on_stale_serve_answers_from_memory_all_the_same(shop, freshet):
    f = freshet(shop, with_mode("serve"))
    old = keep(f, "customers:1")
    with walsender_stopped(shop):
        shop.execute(UPDATE)
        wait_until(lambda: f.metric("freshet_cache_lease_held") == 0, what="the lease has lapsed")
        assert f.redis.get("customers:1") == old
        assert explain(f, "customers:1")["on_stale"] == "serve"
    wait_until(lambda: name(f) == "new", what="the change is applied")


def test_on_stale_error_says_so(shop, freshet):
    f = freshet(shop, with_mode("error"))
    keep(f, "customers:1")
    with walsender_stopped(shop):
        shop.execute(UPDATE)

        assert wait_until(lambda: refusal(f, "customers:1"), what="the read is refused").startswith("STALE ")
        with pytest.raises(redis.ResponseError, match="^STALE "):
            f.redis.hgetall("customers:2")
        f.redis.set("plain", "x")
        assert f.redis.get("plain") == "x"
    wait_until(lambda: refusal(f, "customers:1") is None, what="reads are answered again")


def test_explain_tells_the_lease(shop, freshet):
    f = freshet(shop, CONFIG)
    keep(f, "customers:1")
    told = explain(f, "customers:1")
    assert told["state"] == "resident"
    assert told["source"] == "primary"
    assert told["lease"] == "held"
    assert 0 <= int(told["staleness_ms"]) <= 1000
    assert 0 <= int(told["ttl_ms"]) <= 300_000
    with walsender_stopped(shop):
        # While nothing is written there is nothing to be behind of.
        shop.execute(UPDATE)
        wait_until(lambda: explain(f, "customers:1")["lease"] == "lapsed", what="the lease has lapsed")
        assert explain(f, "customers:1")["lease_why"]


def test_by_ttl_alone_there_is_no_feed_and_it_says_so(make_postgres, freshet):
    server = make_postgres(wal_level="replica")
    shop = server.create_shop()
    f = freshet(shop, {"cache": {"coherence": "ttl", "ttl": "1s", "negative_ttl": "1s"}})
    old = keep(f, "customers:1")
    assert keep(f, "customers:9001") is None
    shop.execute(UPDATE)
    shop.execute("INSERT INTO customers (id, name, email) VALUES (9001, 'Hedy', 'h@x')")
    told = explain(f, "customers:1")
    assert told["coherence"] == "ttl" and "TTL" in told["bound"]
    assert f.status()["cache"]["read_through"]["coherence"] == "ttl"
    assert f.redis.info("everything")["coherence"] == "ttl"
    assert "name" in old
    wait_until(lambda: name(f) == "new", 5, "the TTL is over")
    wait_until(lambda: f.redis.get("customers:9001") is not None, 5, "the negative TTL is over")
    with pytest.raises(redis.ResponseError, match="TTL"):
        f.redis.execute_command("FRESHET.WAIT", "0/1", 100)


def test_a_read_that_waits_for_a_stopped_database_ends_at_its_deadline(make_postgres, freshet):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop, {"cache": {"max_staleness": "1s", "fill_timeout": "500ms"}})
    keep(f, "customers:1")
    server.stop()
    begun = time.monotonic()
    with pytest.raises(redis.ResponseError, match="^customers: no answer from the database within 500 ms: "):
        f.redis.get("customers:2")
    assert time.monotonic() - begun < 3
    assert f.metric("freshet_cache_fills_total", outcome="timeout") >= 1
    server.start()


