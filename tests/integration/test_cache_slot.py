"""cache.slot: a permanent slot of the cache's feed. It resumes after a cut, and starts anew where it may not resume."""

import pytest

from support.rows import applied, keep, state
from support.waiting import wait_until


@pytest.fixture
def held(shop, freshet, unique):
    """A Freshet with a permanent slot, which is dropped afterwards."""
    f = freshet(shop, {"cache": {"slot": unique, "max_staleness": "60s"}})
    f.slot = unique
    yield f
    f.kill9()
    wait_until(
        lambda: shop.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND active", [unique]) == 0, 30, "the slot is free"
    )
    shop.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [unique])


def starts(f, how):
    return f.metric("freshet_cache_feed_starts_total", how=how)


def cut(f, db):
    """The walsender is killed: the feed connects again."""
    n = starts(f, "anew") + starts(f, "resumed")
    db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [f.slot])
    wait_until(lambda: starts(f, "anew") + starts(f, "resumed") > n, 30, "the feed is back")


def test_after_a_cut_memory_stays_and_what_was_missed_is_applied(held, shop):
    keep(held, "customers:1"), keep(held, "customers:2")
    shop.execute("UPDATE customers SET name = 'before' WHERE id = 3")
    applied(held, shop)
    cut(held, shop)
    assert starts(held, "resumed") == 1
    assert state(held, "customers:1") == "resident"
    shop.execute("UPDATE customers SET name = 'after' WHERE id = 1")
    applied(held, shop)
    assert held.row("customers:1")["name"] == "after"
    assert state(held, "customers:2") == "resident"


def test_a_commit_during_the_cut_is_applied_when_the_feed_resumes(held, shop):
    keep(held, "customers:1"), keep(held, "customers:2")
    held.pause()
    shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [held.slot])
    shop.execute("UPDATE customers SET name = 'meanwhile' WHERE id = 1")
    held.resume()
    wait_until(lambda: starts(held, "resumed") == 1, 30, "the feed is back")
    applied(held, shop)
    assert held.row("customers:1")["name"] == "meanwhile"
    assert state(held, "customers:2") == "resident"


def test_a_slot_that_somebody_has_read_from_meanwhile_is_not_resumed(held, shop):
    keep(held, "customers:1"), keep(held, "customers:2")
    held.pause()
    shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [held.slot])
    wait_until(lambda: shop.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [held.slot]) is None, 30, "it is free")
    shop.execute("UPDATE customers SET name = 'lost' WHERE id = 1")
    shop.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [held.slot])
    held.resume()
    wait_until(lambda: starts(held, "anew") == 2, 30, "the feed is back")
    assert starts(held, "resumed") == 0
    applied(held, shop)
    assert held.row("customers:1")["name"] == "lost"


def test_a_slot_that_is_gone_is_made_anew_and_memory_is_emptied(held, shop):
    keep(held, "customers:1")
    held.pause()
    shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [held.slot])
    wait_until(lambda: shop.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [held.slot]) is None, 30, "it is free")
    shop.execute("SELECT pg_drop_replication_slot(%s)", [held.slot])
    shop.execute("UPDATE customers SET name = 'lost' WHERE id = 1")
    held.resume()
    wait_until(lambda: starts(held, "anew") == 2, 30, "the feed is back")
    applied(held, shop)
    assert held.row("customers:1")["name"] == "lost"


def test_a_restarted_server_is_not_resumed(make_postgres, freshet):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop, {"cache": {"slot": "of_the_cache", "max_staleness": "60s"}})
    keep(f, "customers:1")
    server.stop()
    server.start()
    wait_until(lambda: starts(f, "anew") == 2, 60, "the feed is back")
    assert starts(f, "resumed") == 0
    keep(f, "customers:1")


def test_check_says_what_a_permanent_slot_costs(shop, cli, unique):
    told = cli("check", "--database", shop.url, "--set", f"cache.slot={unique}")
    assert f'"{unique}" of cache.slot is permanent: while the cache is away the server keeps all WAL for it' in told.stdout
    assert told.returncode == 0
    bad = cli("check", "--database", shop.url, "--set", "cache.slot=No-Name")
    assert bad.returncode == 2 and "cache.slot" in bad.stderr and "is no slot name" in bad.stderr
