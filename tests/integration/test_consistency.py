"""How fresh the rows of a request have to be: FRESHET.READ, and of a connection: FRESHET.CONSISTENCY and FRESHET.MINLSN."""

import json
import time

import pytest
import redis

from support.rows import Gate, applied, in_background, keep, state
from support.waiting import wait_until
from test_lease import walsender_stopped

UPDATE = "UPDATE customers SET name = 'new' WHERE id = 1"
LONG = {"cache": {"max_staleness": "60s"}}


def read(client, *words):
    """FRESHET.READ: the rows."""
    return [text and json.loads(text) for text in client.execute_command("FRESHET.READ", *words)]


def name(client, *level, key="customers:1"):
    return read(client, *level, key)[0]["name"]


def own_name(client, key="customers:1"):
    return json.loads(client.get(key))["name"]


def insert_lsn(db):
    return db.value("SELECT pg_current_wal_insert_lsn()::text")


# ---- each level, beside memory that is stale and within its bound ----


def changed(db, name):
    db.execute("UPDATE customers SET name = %s WHERE id = 1", [name])
    return name


def strict_scenario(db, shop, start):
    f = start(shop, LONG)
    old = json.loads(keep(f, "customers:1"))["name"]
    stale = "a strict read was answered from memory"
    strict = f.client()
    with walsender_stopped(shop):
        new = changed(shop, "new")
        assert own_name(f.redis) == name(f.redis, "CACHED") == old
        assert name(f.redis, "STRICT") == new, stale
        assert strict.execute_command("FRESHET.CONSISTENCY", "STRICT") == "OK"
        new = changed(shop, "newer")
        assert own_name(strict) == new, stale
        new = changed(shop, "third")
        assert strict.hget("customers:1", "name") == new, stale
        new = changed(shop, "fourth")
        assert json.loads(strict.mget("customers:1", "customers:2")[0])["name"] == new, stale
        new = changed(shop, "fifth")
        assert json.loads(strict.pipeline(transaction=True).get("customers:1").execute()[0])["name"] == new, stale
        assert strict.execute_command("FRESHET.CONSISTENCY", "DEFAULT") == "OK"
        changed(shop, "sixth")
        assert own_name(strict) == new


def bounded_scenario(db, shop, start):
    f = start(shop, LONG)
    keep(f, "customers:1")
    with walsender_stopped(shop):
        changed(shop, "new")
        committed = time.monotonic()
        while True:
            begun = time.monotonic()
            if name(f.redis, "BOUNDED", 500) == "new":
                break
            assert begun < committed + 0.5, "an old row, further back than asked"
        changed(shop, "newer")
        assert own_name(f.redis) == name(f.redis, "BOUNDED", 50000) == "new"
        assert name(f.redis, "BOUNDED", 500) == "newer"


def minlsn_scenario(db, shop, start):
    f = start(shop, LONG)
    old = json.loads(keep(f, "customers:1"))["name"]
    mine = f.client(single_connection_client=True)
    with walsender_stopped(shop):
        for new in ("new", "newer"):
            changed(shop, new)
            assert mine.execute_command("FRESHET.MINLSN", insert_lsn(shop)) == "OK"
            assert own_name(f.redis) == old
            assert (name(mine, "CACHED") if new == "newer" else own_name(mine)) == new, "older than the LSN it has named"
            old = new
    applied(f, shop)
    keep(f, "customers:1")
    hits = f.metric("freshet_cache_hits_total")
    assert own_name(mine) == "newer"
    assert f.metric("freshet_cache_hits_total") == hits + 1, "memory answers once all is applied"


def joined_strict_scenario(db, shop, start):
    """A fill that was sent before the request is none that has begun after it, whether it is kept or not."""
    gate = Gate(db)
    f = start(db, {"database": {"url": gate.url}, "cache": {"fill_timeout": "20s", "max_staleness": "60s"}})
    keep(f, "gated:2")
    with walsender_stopped(db):
        with gate.shut():
            early = in_background(lambda: f.client().get("gated:1"))
            wait_until(gate.waiting, what="the fill waits")
            db.execute("UPDATE gated SET v = 'new' WHERE id = 1")
            joined = f.metric("freshet_cache_fills_joined_total")
            strict = in_background(lambda: read(f.client(), "STRICT", "gated:1")[0]["v"])
            usual = in_background(lambda: f.client().get("gated:1"))
            wait_until(lambda: f.metric("freshet_cache_fills_joined_total") >= joined + 2, what="both have joined")
        assert json.loads(early())["v"] == json.loads(usual())["v"] == "old"
        assert strict() == "new", "a fill from before the request answered it"
    f.stop()
    gate.drop_role()


SCENARIOS = [strict_scenario, bounded_scenario, minlsn_scenario, joined_strict_scenario]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_request_is_answered_as_fresh_as_it_asks(db, shop, freshet, scenario):
    scenario(db, shop, freshet)


def test_cached_answers_past_the_lease_and_strict_where_on_stale_is_an_error(shop, freshet):
    f = freshet(shop, {"cache": {"max_staleness": "500ms", "on_stale": "error"}})
    keep(f, "customers:1")
    old = own_name(f.redis)
    with walsender_stopped(shop):
        shop.execute(UPDATE)
        wait_until(lambda: f.metric("freshet_cache_lease_held") == 0, what="the lease has lapsed")
        with pytest.raises(redis.ResponseError, match="STALE"):
            f.redis.get("customers:1")
        assert name(f.redis, "CACHED") == name(f.redis, "BOUNDED", 100000) == old
        assert name(f.redis, "STRICT") == "new"
        with pytest.raises(redis.ResponseError, match="STALE"):
            name(f.redis, "BOUNDED", 1)


def test_bounded_holds_though_on_stale_is_serve(shop, freshet):
    f = freshet(shop, {"cache": {"max_staleness": "500ms", "on_stale": "serve"}})
    keep(f, "customers:1")
    old = own_name(f.redis)
    with walsender_stopped(shop):
        shop.execute(UPDATE)
        wait_until(lambda: f.metric("freshet_cache_lease_held") == 0, what="the lease has lapsed")
        assert own_name(f.redis) == old
        assert name(f.redis, "BOUNDED", 400) == "new"


# ---- what they answer ----


def test_read_answers_as_mget_does(shop, freshet):
    f = freshet(shop)
    f.redis.set("plain", "value")
    f.redis.hset("hash", "a", "b")
    keys = ("customers:1", "plain", "hash", "nothing", "customers:99999", "customers:1")
    for level in (["STRICT"], ["bounded", "1000"], ["CACHED"]):
        assert f.redis.execute_command("FRESHET.READ", *level, *keys) == f.redis.mget(*keys)
    with pytest.raises(redis.ResponseError, match="not an integer"):
        f.redis.execute_command("FRESHET.READ", "STRICT", "customers:1", "customers:abc")


def test_a_strict_read_leaves_a_current_row_in_memory(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    assert name(f.redis, "STRICT") == own_name(f.redis)
    assert state(f, "customers:1") == "resident"


def test_strict_reads_within_a_transaction(shop, freshet):
    f = freshet(shop, LONG)
    keep(f, "customers:1")
    with walsender_stopped(shop):
        shop.execute(UPDATE)
        pipe = f.redis.pipeline(transaction=True)
        pipe.set("plain", 1).execute_command("FRESHET.READ", "STRICT", "customers:1", "plain")
        row, plain = pipe.execute()[1]
        assert (json.loads(row)["name"], plain) == ("new", "1")
        with pytest.raises(redis.ResponseError, match="not allowed inside a transaction"):
            pipe.execute_command("FRESHET.CONSISTENCY", "STRICT").execute()


def test_the_connection_tells_what_it_asks_and_reset_ends_it(shop, freshet):
    c = freshet(shop).client(single_connection_client=True)
    ask = lambda *words: c.execute_command("FRESHET.CONSISTENCY", *words)  # noqa: E731
    assert ask() == "DEFAULT"
    assert ask("bounded", "250") == "OK" and ask() == "BOUNDED 250"
    assert ask("CACHED") == "OK" and ask() == "CACHED"
    assert ask("strict") == "OK" and ask() == "STRICT"
    c.execute_command("RESET")
    assert ask() == "DEFAULT"


@pytest.mark.parametrize(
    "words, told",
    [
        ("FRESHET.READ", "wrong number of arguments"),
        ("FRESHET.READ STRICT", "wrong number of arguments"),
        ("FRESHET.READ BOUNDED 5", "wrong number of arguments"),
        ("FRESHET.READ BOUNDED -1 a", "milliseconds"),
        ("FRESHET.READ BOUNDED soon a", "milliseconds"),
        ("FRESHET.READ SOMEHOW a", "unknown subcommand"),
        ("FRESHET.CONSISTENCY BOUNDED", "STRICT, BOUNDED"),
        ("FRESHET.CONSISTENCY STRICT 5", "STRICT, BOUNDED"),
        ("FRESHET.CONSISTENCY eventual", "STRICT, BOUNDED"),
        ("FRESHET.MINLSN nonsense", "LSN"),
    ],
)
def test_mistakes_are_told(plain, words, told):
    with pytest.raises(redis.ResponseError, match=told):
        plain.redis.execute_command(*words.split())


def test_rights_are_those_of_the_keys(shop, freshet):
    f = freshet(shop)
    f.redis.execute_command("ACL", "SETUSER", "app", "on", "nopass", "~customers:*", "+freshet.read")
    app = f.client(username="app", password="x")
    assert name(app, "STRICT") and name(app, "BOUNDED", "5")
    for level in (["STRICT"], ["BOUNDED", "5"], ["CACHED"]):
        with pytest.raises(redis.ResponseError, match="(?i)no permissions|NOPERM"):
            read(app, *level, "customers:1", "orders:1")


def test_without_a_stream_memory_proves_no_bound(shop, freshet):
    f = freshet(shop, {"cache": {"coherence": "ttl"}})
    keep(f, "customers:1")
    old = own_name(f.redis)
    shop.execute(UPDATE)
    assert own_name(f.redis) == name(f.redis, "CACHED") == old
    assert name(f.redis, "BOUNDED", 100000) == "new"
    with pytest.raises(redis.ResponseError, match="by TTL"):
        f.redis.execute_command("FRESHET.MINLSN", "0/1")
