"""MULTI, EXEC, DISCARD, WATCH: as Redis 7.0 on plain keys; atomic across workers; rows are read in, and watched through commits."""

import json
import os
import random
import threading
import time

import pytest

from support.pair import story
from support.rawresp import Error, RawResp, Simple


@pytest.fixture
def plain(freshet):
    return freshet(None, {"cache": {"read_through": False, "workers": 3}})


@pytest.fixture
def rows(shop, freshet, wait_until):
    f = freshet(shop, {"cache": {"workers": 3}})
    wait_until(lambda: f.redis.get("customers:1") and "customers:1" in f.redis.keys("customers:1"), 20, "rows are kept")
    f.redis.flushall()
    return f


def connect(f, protocol=2):
    return RawResp(f.port, protocol)


def test_queueing_and_its_errors_are_worded_as_redis_words_them(plain, redis_server):
    commands = story("""
        EXEC | DISCARD | UNWATCH | MULTI | MULTI | WATCH a | SET a 1 | INCR a | LPUSH a x | GET a | EXEC | EXEC
        MULTI | SET a | SET a 5 | EXEC | GET a
        MULTI | nosuch a | PING | EXEC | MULTI | CONFIG nosuch | EXEC | MULTI | EXEC
        MULTI | SET a 7 | DISCARD | GET a | DISCARD
        MULTI | EXEC x | EXEC | MULTI | DISCARD x | DISCARD | EXEC | MULTI extra | WATCH | UNWATCH x
        RPUSH l a b c | MULTI | LRANGE l 0 -1 | PING | LLEN a | EXEC
        SADD s a | MULTI | SPOP s | EXISTS s | EXEC
        MULTI | BLPOP none 0 | BRPOP none 0 | BLMOVE none other LEFT RIGHT 0 | BZPOPMIN none 0 | BLMPOP 0 1 none LEFT | EXEC
        MULTI | FLUSHALL | DBSIZE | SET k v | KEYS * | RANDOMKEY | SCAN 0 | EXEC
        MULTI | SSUBSCRIBE c | MONITOR | EXEC | MULTI | SELECT 0 | ECHO x | EXEC | MULTI | SET x y | RESET | EXEC | PING
        WATCH k | SET k w | MULTI | GET k | EXEC | MULTI | GET k | EXEC
        WATCH k | UNWATCH | SET k v | MULTI | GET k | EXEC | WATCH k | MULTI | UNWATCH | SET k z | EXEC
        SET k 7 | WATCH k | SETBIT k 0 0 | OBJECT ENCODING k | MULTI | GET k | EXEC | WATCH k | SETBIT k 0 1 | MULTI | GET k | EXEC
        WATCH k | DEL none | MULTI | GET k | EXEC | WATCH none | FLUSHALL | MULTI | PING | EXEC
        SET k v | WATCH k | EXPIRE k 100 | MULTI | PING | EXEC | WATCH k | PERSIST k | MULTI | PING | EXEC
        WATCH k | FLUSHALL | MULTI | PING | EXEC | HSET h f v | WATCH h | HSET h g w | MULTI | PING | EXEC
        RPUSH l a | WATCH l | RPUSH l b | MULTI | PING | EXEC | ZADD z 1 a | WATCH z | ZADD z 2 a | MULTI | PING | EXEC
        SADD s a | WATCH s | SREM s none | MULTI | PING | EXEC | WATCH s | SREM s a | MULTI | PING | EXEC
        SET k v | SET d w | WATCH k | RENAME d k | MULTI | PING | EXEC | WATCH k | COPY k c | MULTI | PING | EXEC
    """)
    redis_server.flushall()
    theirs = RawResp(redis_server.connection_pool.connection_kwargs["port"])
    ours = connect(plain)
    for command in commands:
        assert (command, ours.call(*command)) == (command, theirs.call(*command))


def test_a_key_that_expires_while_it_is_watched_touches_it_and_one_that_had_expired_does_not(plain, wait_until):
    a = connect(plain)
    a.call("SET", "k", "v", "PX", 30)
    a.call("WATCH", "k")
    time.sleep(0.05)  # the time that passes is the case
    a.call("MULTI")
    a.call("PING")
    assert a.call("EXEC") is None
    a.call("SET", "k", "v", "PX", 1)
    wait_until(lambda: a.call("EXISTS", "k") == 0)
    a.call("WATCH", "k")
    a.call("FLUSHALL")
    a.call("MULTI")
    a.call("PING")
    assert a.call("EXEC") == [Simple("PONG")]


def test_a_client_that_goes_leaves_nothing_watched(plain, wait_until):
    for _ in range(50):
        a = connect(plain)
        a.call("WATCH", "k")
        a.call("MULTI")
        a.call("SET", "k", "v")
        a.close()
    plain.redis.set("k", "v")
    assert plain.redis.get("k") == "v"
    wait_until(lambda: len(plain.redis.client_list()) == 1)


def test_a_transaction_refuses_what_cannot_run_in_it_and_aborts(plain):
    a = connect(plain)
    for refused in ("SAVE", "SHUTDOWN"):
        a.call("MULTI")
        assert a.call(refused) == Error("ERR Command not allowed inside a transaction")
        assert a.call("EXEC").text.startswith("EXECABORT")
    a.call("MULTI")
    a.call("EVAL", "return 1", 0)
    assert "not supported" in a.call("EXEC")[0].text


def test_a_transaction_is_one_whatever_it_holds(plain):
    """A client that waits for a key is served behind EXEC, and not in the midst of it by a command of administrators."""
    a, waits = connect(plain), connect(plain)
    waits.send("BLPOP", "l", 0)
    for words in (["MULTI"], ["RPUSH", "l", "x"], ["CLIENT", "UNBLOCK", 999999], ["CONFIG", "SET", "timeout", 0], ["SLOWLOG", "LEN"], ["RPOP", "l"]):
        a.call(*words)
    assert a.call("EXEC")[-1] == b"x"
    a.call("RPUSH", "l", "y")
    assert waits.read() == [b"l", b"y"]


def test_an_exec_that_a_subscription_forbids_ends_the_transaction(plain, redis_server):
    theirs = RawResp(redis_server.connection_pool.connection_kwargs["port"])
    ours = connect(plain)
    # the first EXEC answers the subscription, so that the second one is refused
    for command in story("MULTI | SUBSCRIBE c | EXEC | EXEC | RESET | EXEC"):
        assert (command, ours.call(*command)) == (command, theirs.call(*command))
    for wire in (ours, theirs):
        wire.close()


def test_settings_may_be_changed_within_a_transaction(plain):
    a = connect(plain)
    for command in story("MULTI | SET a 1 | CONFIG SET notify-keyspace-events KEA | FLUSHALL | CLIENT TRACKING ON BCAST | DBSIZE"):
        a.call(*command)
    assert a.call("EXEC") == [Simple("OK")] * 4 + [0]


def transfer(f, accounts, stop, seed, counts, errors):
    """Moves money between two accounts under WATCH, or by two DECRBY/INCRBY alone."""
    try:
        rng = random.Random(seed)
        raw = connect(f)
        while not stop.is_set():
            a, b = rng.sample(range(accounts), 2)
            amount = rng.randrange(1, 10)
            if rng.random() < 0.5:
                raw.calls([["MULTI"], ["DECRBY", f"a{a}", amount], ["PING"], ["INCRBY", f"a{b}", amount], ["EXEC"]])
                counts["moved"] += 1
                continue
            raw.call("WATCH", f"a{a}", f"a{b}")
            left, right = int(raw.call("GET", f"a{a}")), int(raw.call("GET", f"a{b}"))
            done = raw.calls(
                [["MULTI"], ["SET", f"a{a}", left - amount], ["SET", f"a{b}", right + amount], ["EXEC"]]
            )[-1]
            counts["watched" if done else "retried"] += 1
    except Exception as error:  # noqa: BLE001
        errors.append(error)


def test_transactions_are_atomic_across_workers(plain):
    """The sum of all accounts is the same whenever it is read in one MULTI or MGET; ten seconds by hand: FRESHET_TEST_LONG=10."""
    accounts, seconds = 16, float(os.environ.get("FRESHET_TEST_LONG", 1.5))
    plain.redis.mset({f"a{i}": 1000 for i in range(accounts)})
    stop, counts, errors = threading.Event(), dict(moved=0, watched=0, retried=0), []
    threads = [
        threading.Thread(target=transfer, args=(plain, accounts, stop, seed, counts, errors)) for seed in range(5)
    ]
    for thread in threads:
        thread.start()
    raw, sums, deadline = connect(plain), set(), time.monotonic() + seconds
    looks = 0
    while time.monotonic() < deadline and not errors:
        commands = [["MULTI"], *[["GET", f"a{i}"] for i in range(accounts)], ["EXEC"]]
        sums.add(sum(map(int, raw.calls(commands)[-1])))
        looks += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert sums == {1000 * accounts}
    assert sum(map(int, plain.redis.mget([f"a{i}" for i in range(accounts)]))) == 1000 * accounts
    assert looks > 10 and counts["moved"] > 10 and counts["watched"] > 10, (looks, counts)


def test_rows_are_read_in_a_transaction_each_in_both_forms(rows, shop):
    a = connect(rows)
    text = shop.value("SELECT row_to_json(c)::text FROM customers c WHERE id = 7").encode()
    commands = story("""MULTI | GET customers:7 | SET plain x | HGET customers:7 id | MGET customers:7 plain products:1 customers:999999
        EXISTS customers:8 customers:999999 | DEL customers:7 | GET customers:7 | SET customers:7 x | GET customers:abc | EXEC""")
    replies = a.calls(commands)[-1]
    assert replies[0] == text and replies[2] == b"7"
    assert replies[3][:2] == [text, b"x"] and json.loads(replies[3][2])["id"] == 1 and replies[3][3] is None
    assert replies[4] == 1
    assert replies[5] == 1 and replies[6] == text  # DEL takes it out of memory alone
    assert replies[7].text.startswith("READONLY") and replies[8].text.startswith("ERR customers")
    assert a.calls(story("MULTI | GET customers:7 | HGETALL customers:7 | EXEC"))[-1][0] == text


def test_the_rows_of_one_transaction_come_from_one_snapshot(rows, shop):
    """A writer moves both rows together; a transaction that fetches both sees them together."""
    shop.execute("UPDATE customers SET city = '0' WHERE id IN (21, 22)")
    rows.wait_applied(shop)
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            shop.execute(f"UPDATE customers SET city = '{n}' WHERE id IN (21, 22)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        a = connect(rows)
        for _ in range(60):
            a.call("DEL", "customers:21", "customers:22")
            one, two = a.calls(story("MULTI | HGET customers:21 city | HGET customers:22 city | EXEC"))[-1]
            assert one == two
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    "touch",
    [
        "UPDATE customers SET city = 'elsewhere' WHERE id = 5",
        "DELETE FROM customers WHERE id = 5",
        "UPDATE customers SET id = 100005 WHERE id = 5",
        "TRUNCATE customers CASCADE",
    ],
)
def test_a_commit_touches_a_watched_row(rows, shop, touch):
    shop.execute("DELETE FROM order_items; DELETE FROM orders")
    rows.wait_applied(shop)
    a = connect(rows)
    for key in ("customers:5", "customers:id=5"):
        assert a.call("WATCH", key) == Simple("OK")
        shop.execute("UPDATE customers SET city = 'x' WHERE id = 6")
        rows.wait_applied(shop)
        a.call("MULTI")
        a.call("SET", "plain", "v")
        assert a.call("EXEC") == [Simple("OK")], key
    for key in ("customers:5", "customers:id=5"):
        a.call("WATCH", key)
        other = connect(rows)
        other.call("WATCH", key)
    shop.execute(touch)
    rows.wait_applied(shop)
    for client in (a, other):
        client.call("MULTI")
        client.call("SET", "plain", "w")
        assert client.call("EXEC") is None
    assert rows.redis.get("plain") == "v"


def test_an_insert_touches_a_watched_row_that_was_absent(rows, shop):
    a = connect(rows)
    assert a.call("WATCH", "customers:777777") == Simple("OK")
    shop.execute("INSERT INTO customers (id, name, email) VALUES (777777, 'n', 'n@x')")
    rows.wait_applied(shop)
    a.call("MULTI")
    a.call("PING")
    assert a.call("EXEC") is None


def test_a_commit_between_watch_and_exec_is_never_missed(rows, shop):
    """Several clients copy a counter from a row to a plain key under WATCH of the row alone: the copy never goes back."""
    shop.execute("UPDATE customers SET city = '0' WHERE id = 30")
    rows.wait_applied(shop)
    stop, errors, made = threading.Event(), [], []

    def copy():
        try:
            raw = connect(rows)
            while not stop.is_set():
                raw.call("WATCH", "customers:30")
                city = raw.call("HGET", "customers:30", "city")
                made.append(raw.calls([["MULTI"], ["SET", "copy", city], ["EXEC"]])[-1])
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            shop.execute(f"UPDATE customers SET city = '{n}' WHERE id = 30")

    threads = [threading.Thread(target=copy) for _ in range(3)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    raw, last, deadline = connect(rows), 0, time.monotonic() + float(os.environ.get("FRESHET_TEST_LONG", 2))
    while time.monotonic() < deadline and not errors:
        seen = int(raw.call("GET", "copy") or 0)
        assert seen >= last
        last = seen
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert last > 5 and None in made
