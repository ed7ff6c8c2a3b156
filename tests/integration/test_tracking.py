"""CLIENT TRACKING in all its modes: plain keys as Redis 7.0 has it, and rows, which any SQL client's commit invalidates."""

import os
import random
import socket
import threading
import time

import pytest
import redis
from redis.cache import CacheConfig

from support.rawresp import Error, RawResp, Simple

LONG = float(os.environ.get("FRESHET_TEST_LONG", 2))


@pytest.fixture
def plain(freshet):
    return freshet(None, {"cache": {"read_through": False, "workers": 3}})


@pytest.fixture
def rows(shop, freshet, wait_until):
    f = freshet(shop, {"cache": {"workers": 3}})
    settle(f, wait_until)
    return f


def settle(f, wait_until):
    wait_until(lambda: f.redis.get("customers:1") and "customers:1" in f.redis.keys("customers:1"), 20, "rows are kept")
    f.redis.flushall()


class Near(RawResp):
    """A RESP3 client: pushes are put aside in .told, as lists of keys (None: everything)."""

    def __init__(self, f, *tracking):
        self.told = []
        super().__init__(f.port, 3)
        if tracking:
            assert self.call("CLIENT", "TRACKING", *tracking) == Simple("OK")

    def calls(self, commands):
        self._socket.sendall(b"".join(self._encode(command) for command in commands))
        return [self.reply() for _ in commands]

    @staticmethod
    def _encode(command):
        from support.rawresp import encode

        return encode(*command)

    def reply(self):
        while True:
            reply, pushed = self.next()
            if not pushed:
                return reply

    def next(self):
        pushed = self._stream.peek(1)[:1] == b">"
        reply = self.read()
        if pushed:
            assert reply[0] in (b"invalidate", b"tracking-redir-broken")
            self.told.append(reply[1] if reply[0] == b"invalidate" else reply)
        return reply, pushed

    def quiet(self):
        """What it was told so far: a PING is answered behind it."""
        self.call("PING")
        told, self.told = self.told, []
        return told

    def wait_told(self):
        while not self.told:
            self.next()
        told, self.told = self.told, []
        return told


def writer(f):
    return RawResp(f.port)


WRITES = [
    ["SET k 1", "SET k 2"],
    ["SET k 1", "DEL k"],
    ["SET k 1", "EXPIRE k 100"],
    ["SET k 1", "APPEND k x"],
    ["SET k 1", "GETDEL k"],
    ["SET k 1", "SETRANGE k 3 x"],
    ["SET k 1", "SETBIT k 1 1"],
    ["SET k 1 EX 100", "PERSIST k"],
    ["SET k 1", "RENAME k other"],
    ["SET other 1", "RENAME other k"],
    ["SET other 1", "COPY other k"],
    ["HSET k f v", "HSET k f w"],
    ["HSET k f v", "HDEL k f"],
    ["HSET k f 1", "HINCRBY k f 1"],
    ["RPUSH k a", "LPUSH k b"],
    ["RPUSH k a b", "LPOP k"],
    ["RPUSH k a b", "LSET k 0 c"],
    ["RPUSH k a b", "LTRIM k 0 0"],
    ["RPUSH k a b", "LMOVE k other LEFT RIGHT"],
    ["SADD k a", "SADD k b"],
    ["SADD k a", "SMOVE k other a"],
    ["SADD other a", "SINTERSTORE k other"],
    ["ZADD k 1 a", "ZADD k 2 a"],
    ["ZADD k 1 a b", "ZINCRBY k 1 a"],
    ["ZADD k 1 a", "ZPOPMIN k"],
    ["ZADD other 1 a", "ZUNIONSTORE k 1 other"],
    ["", "INCR k"],
]
SILENT = [
    ["SET k 1", "GET k"],
    ["SET k 1", "SETNX k 2"],
    ["SET k 1", "SETBIT k 3 1"],
    ["SET k 1", "SET k 2 NX"],
    ["HSET k f v", "HSETNX k f w"],
    ["", "DEL k"],
    ["SADD k a", "SREM k b"],
    ["RPUSH k a", "LREM k 0 x"],
    ["", "EXPIRE k 10"],
    ["ZADD k 1 a", "ZREM k b"],
]


def test_every_kind_of_write_invalidates_and_what_changes_nothing_does_not(plain):
    near, other = Near(plain, "ON"), writer(plain)
    for told, stories in (([[b"k"]], WRITES), ([], SILENT)):
        for prepare, write in stories:
            other.call("DEL", "k", "other")
            if prepare:
                other.call(*prepare.split())
            near.quiet()
            near.call("EXISTS", "k")
            assert not isinstance(other.call(*write.split()), Error) or not told
            assert (write, near.quiet()) == (write, told)


def test_a_key_is_told_once_until_it_is_read_again(plain):
    near, other = Near(plain, "ON"), writer(plain)
    other.call("SET", "k", 1)
    assert near.call("GET", "k") == b"1"
    for n in range(3):
        other.call("SET", "k", n)
    assert near.quiet() == [[b"k"]]
    near.calls([["MGET", "k", "l", "m"]])
    other.calls([["MSET", "m", 1, "l", 2]])
    assert sorted(near.quiet()) == [[b"l"], [b"m"]]


def test_expiry_eviction_and_flush_are_told(plain, wait_until):
    near, other = Near(plain, "ON"), writer(plain)
    other.call("SET", "k", 1, "PX", 20)
    near.call("GET", "k")
    assert near.wait_told() == [[b"k"]]
    near.call("GET", "k")
    other.call("FLUSHALL")
    assert near.quiet() == [None]
    other.call("SET", "k", 1)
    assert near.quiet() == []  # the flush has forgotten it


def test_eviction_for_memory_is_told(freshet):
    f = freshet(None, {"cache": {"read_through": False, "workers": 2, "max_memory": "16MiB"}})
    near, other = Near(f, "ON"), writer(f)
    keys = [f"k{n}" for n in range(8000)]
    held = set()
    for at in range(0, len(keys), 500):
        some = keys[at : at + 500]
        other.calls([["SET", key, "x" * 1000] for key in some])
        held |= {key for key, value in zip(some, near.calls([["GET", key] for key in some])) if value}
    for n in range(0, 40000, 500):
        other.calls([["SET", f"filler{n + i}", "y" * 1000] for i in range(500)])
    told = {key.decode() for keys in near.quiet() for key in keys}
    gone = {key for key in keys if other.call("EXISTS", key) == 0}
    assert gone and told == gone & held


def test_own_writes_are_told_behind_the_reply_unless_noloop(plain):
    for options, told in ((("ON",), [[b"k"]]), (("ON", "NOLOOP"), [])):
        near = Near(plain, *options)
        near.call("GET", "k")
        assert near.call("SET", "k", "v") == Simple("OK")
        assert near.quiet() == told
        near.call("GET", "k")
        near.calls([["MULTI"], ["SET", "k", "w"], ["EXEC"]])
        assert near.quiet() == told
        near.close()


def test_optin_and_optout_go_by_client_caching(plain):
    other = writer(plain)
    near = Near(plain, "ON", "OPTIN")
    near.calls([["GET", "a"], ["CLIENT", "CACHING", "YES"], ["GET", "b"], ["GET", "c"]])
    near.calls([["CLIENT", "CACHING", "YES"], ["MULTI"], ["GET", "d"], ["GET", "e"], ["EXEC"], ["GET", "f"]])
    for key in "abcdef":
        other.call("SET", key, 1)
    assert near.quiet() == [[b"b"], [b"d"], [b"e"]]
    near = Near(plain, "ON", "OPTOUT")
    near.calls([["GET", "a"], ["CLIENT", "CACHING", "NO"], ["GET", "b"], ["GET", "c"]])
    for key in "abc":
        other.call("SET", key, 1)
    assert near.quiet() == [[b"a"], [b"c"]]


def test_broadcasts_go_by_prefix_one_message_a_command(plain):
    other = writer(plain)
    near = Near(plain, "ON", "BCAST", "PREFIX", "a:", "PREFIX", "b:")
    all_keys = Near(plain, "ON", "BCAST")
    other.call("MSET", "a:1", 1, "b:1", 1, "c:1", 1, "a:2", 1)
    assert sorted(near.quiet()) == [[b"a:1", b"a:2"], [b"b:1"]]
    assert all_keys.quiet() == [[b"a:1", b"a:2", b"b:1", b"c:1"]]
    other.calls([["MULTI"], ["SET", "a:1", 2], ["SET", "a:3", 2], ["DEL", "a:1"], ["EXEC"]])
    assert near.quiet() == [[b"a:1", b"a:3"]]
    near.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "c:")
    other.call("SET", "c:1", 2)
    assert near.quiet() == [[b"c:1"]]
    near.call("CLIENT", "TRACKING", "OFF")
    other.call("SET", "c:1", 3)
    assert near.quiet() == []
    noloop = Near(plain, "ON", "BCAST", "NOLOOP", "PREFIX", "a:")
    noloop.call("SET", "a:1", 1)
    other.call("SET", "a:2", 1)
    assert noloop.quiet() == [[b"a:2"]]


def test_resp2_redirects_to_a_subscriber_and_hears_of_its_end(plain, wait_until):
    inbox, other, near = writer(plain), writer(plain), writer(plain)
    id = inbox.call("CLIENT", "ID")
    inbox.call("SUBSCRIBE", "__redis__:invalidate")
    assert near.call("CLIENT", "TRACKING", "ON", "REDIRECT", id) == Simple("OK")
    assert near.call("CLIENT", "GETREDIR") == id
    near.call("GET", "k")
    other.call("SET", "k", 1)
    assert inbox.read() == [b"message", b"__redis__:invalidate", [b"k"]]
    near.call("GET", "k")
    other.call("FLUSHALL")
    assert inbox.read() == [b"message", b"__redis__:invalidate", None]
    near3 = Near(plain, "ON", "REDIRECT", str(id))
    near3.call("GET", "k")
    inbox.close()
    wait_until(lambda: len(plain.redis.client_list()) == 4)
    other.call("SET", "k", 2)
    assert near3.wait_told() == [[b"tracking-redir-broken", id]]
    info = dict(near3.call("CLIENT", "TRACKINGINFO"))
    assert info == {b"flags": [b"on", b"broken_redirect"], b"redirect": id, b"prefixes": []}


ODD = """
CLIENT TRACKING maybe | CLIENT TRACKING ON BCAST OPTIN | CLIENT TRACKING ON OPTIN OPTOUT | CLIENT TRACKING ON PREFIX a
CLIENT TRACKING ON REDIRECT 999999 | CLIENT TRACKING ON REDIRECT x | CLIENT TRACKING ON REDIRECT 0 | CLIENT TRACKING ON nonsense
CLIENT TRACKING | CLIENT TRACKING ON REDIRECT | CLIENT CACHING YES | CLIENT CACHING | CLIENT GETREDIR | CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST PREFIX FOO PREFIX FOOBAR | CLIENT TRACKING ON BCAST PREFIX FOOBAR PREFIX FOO | CLIENT TRACKINGINFO
CLIENT TRACKING ON BCAST PREFIX FOO PREFIX BAR | CLIENT TRACKING ON BCAST PREFIX FO | CLIENT TRACKING ON BCAST PREFIX BARB
CLIENT TRACKING ON | CLIENT TRACKING OFF | CLIENT TRACKING ON OPTIN | CLIENT TRACKING ON OPTOUT | CLIENT CACHING NO
CLIENT CACHING YES | CLIENT TRACKINGINFO | PING | CLIENT TRACKINGINFO | CLIENT CACHING maybe | CLIENT GETREDIR
CLIENT TRACKING ON NOLOOP | CLIENT TRACKINGINFO | CLIENT TRACKING OFF | CLIENT TRACKINGINFO | CLIENT TRACKING ON OPTOUT NOLOOP
CLIENT CACHING NO | CLIENT TRACKINGINFO | RESET | CLIENT TRACKINGINFO | CLIENT TRACKING ON | RESET | CLIENT GETREDIR
"""


@pytest.mark.parametrize("protocol", [2, 3])
def test_options_and_their_errors_are_redis_s(plain, redis_server, protocol):
    from support.pair import story

    theirs = RawResp(redis_server.connection_pool.connection_kwargs["port"], protocol)
    ours = RawResp(plain.port, protocol)
    for command in story(ODD):
        our, their = ours.call(*command), theirs.call(*command)
        if command[-1] == "TRACKINGINFO":
            our, their = [sorted(x) if isinstance(x, list) else x for x in flat(our)], [
                sorted(x) if isinstance(x, list) else x for x in flat(their)
            ]
        assert (command, our) == (command, their)


def flat(reply):
    return [item for pair in reply for item in pair] if reply and isinstance(reply[0], tuple) else reply


def test_the_table_is_bounded_and_shown(plain):
    near, other = Near(plain, "ON"), writer(plain)
    broadcasting = Near(plain, "ON", "BCAST", "PREFIX", "p:")
    near.calls([["GET", f"k{n}"] for n in range(100)])

    def shown():
        info = plain.redis.info()
        return [info[f"tracking_{name}"] for name in ("clients", "total_keys", "total_items", "total_prefixes")]

    assert shown() == [2, 100, 100, 1]
    broadcasting.call("CLIENT", "TRACKING", "OFF")
    assert shown() == [1, 100, 100, 0]
    other.call("CONFIG", "SET", "tracking-table-max-keys", 10)
    told = near.quiet()
    assert len(told) == 90 and len({key for (key,) in told}) == 90
    assert shown()[1:3] == [10, 10]
    near.calls([["GET", f"l{n}"] for n in range(100)])
    assert shown()[1:3] == [10, 10]
    other.calls([["SET", f"{letter}{n}", 1] for letter in "kl" for n in range(100)])
    told = [key for (key,) in told + near.quiet()]
    assert sorted(told) == sorted(f"{letter}{n}".encode() for letter in "kl" for n in range(100))
    assert shown()[1:3] == [0, 0]
    other.call("CONFIG", "SET", "tracking-table-max-keys", 1000000)


# ---- rows


@pytest.mark.parametrize("read", [["GET", "customers:5"], ["HGETALL", "customers:5"], ["HGET", "customers:id=5", "name"], ["TTL", "customers:5"]])
def test_a_commit_by_any_sql_client_invalidates_a_row(rows, shop, read):
    near = Near(rows, "ON")
    for sql in (
        "UPDATE customers SET city = 'x' WHERE id = 5",
        "UPDATE customers SET name = name || '!'",
        "DELETE FROM order_items; DELETE FROM orders; DELETE FROM customers WHERE id = 5",
        "INSERT INTO customers (id, name, email) VALUES (5, 'n', 'n@x')",
        "TRUNCATE customers CASCADE",
    ):
        near.call(*read)
        shop.execute("UPDATE products SET name = 'x' WHERE id = 1")
        rows.wait_applied(shop)
        assert near.quiet() == []
        shop.execute(sql)
        rows.wait_applied(shop)
        assert (sql, near.quiet()) == (sql, [[read[1].encode()]])


def test_a_changed_table_invalidates_its_rows_and_no_others(rows, shop):
    near, all_keys, products = Near(rows, "ON"), Near(rows, "ON", "BCAST"), Near(rows, "ON", "BCAST", "PREFIX", "prod")
    near.calls([["GET", f"customers:{n}"] for n in range(1, 6)] + [["GET", "products:1"], ["GET", "plain"]])
    shop.execute("ALTER TABLE customers ADD COLUMN extra text")
    shop.execute("UPDATE customers SET extra = 'x' WHERE id = 2000")
    rows.wait_applied(shop)
    told = []
    while len(told) < 5:
        told += near.wait_told()
    assert sorted(told) == [[b"customers:%d" % n] for n in range(1, 6)]
    told = []
    while None not in told:  # another worker may tell it later
        told += all_keys.wait_told()
    assert products.quiet() == []


def test_broadcasts_tell_rows_that_are_not_in_memory(rows, shop):
    near = Near(rows, "ON", "BCAST", "PREFIX", "customers:")
    shop.execute("UPDATE customers SET city = 'x' WHERE id = 123; UPDATE products SET name = 'x' WHERE id = 1")
    rows.wait_applied(shop)
    # Its unique key too: that there is no such row may be remembered.
    assert sorted(near.quiet()) == [[b"customers:123"], [b"customers:email=customer123@example.com"]]


def test_a_row_that_memory_may_not_keep_is_invalidated_behind_its_reply(rows, shop):
    """While the feed does not cover a new table yet, and of a type without an identity, rows come from the database alone."""
    shop.execute("CREATE TABLE loose (id float8 PRIMARY KEY, v text); INSERT INTO loose VALUES (1.5, 'a')")
    near = Near(rows, "ON")
    deadline = time.monotonic() + 20
    while near.call("GET", "loose:1.5") is None and time.monotonic() < deadline:
        pass
    uncached = 0
    for _ in range(200):
        near.quiet()
        near.call("GET", "loose:1.5")
        told = near.quiet()
        kept = "loose:1.5" in rows.redis.keys("loose:*")
        assert kept or told == [[b"loose:1.5"]]
        uncached += not kept
    assert uncached


def test_what_near_caches_hold_is_told_when_the_stream_breaks(shop, freshet, wait_until, postgres):
    f = freshet(shop, {"cache": {"workers": 2, "max_staleness": "500ms"}})
    settle(f, wait_until)
    near = Near(f, "ON")
    near.call("GET", "customers:1")
    assert near.quiet() == []
    shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = current_database()")
    assert near.wait_told() == [[b"customers:1"]]


class Cached(threading.Thread):
    """A near cache over a RESP3 connection: reads through it, drops what it is told to, and after each drain checks what it holds
    against what is certain: no value older than one that was known to be applied before the invalidations were drained."""

    def __init__(self, f, floor, keys, read, seed, *tracking):
        super().__init__()
        self.near = Near(f, *tracking)
        self.floor, self.keys, self.read_value, self.rng = floor, keys, read, random.Random(seed)
        self.held, self.error, self.stop, self.hits, self.checks = {}, None, False, 0, 0

    def drop(self):
        for keys in self.near.told:
            if keys is None:
                self.held.clear()
            for key in keys or ():
                self.held.pop(key.decode(), None)
        self.near.told.clear()

    def run(self):
        try:
            while not self.stop:
                for _ in range(20):
                    key = self.rng.choice(self.keys)
                    self.drop()
                    if key in self.held:
                        self.hits += 1
                        continue
                    value = self.read_value(self.near, key)
                    # An invalidation that came before the reply is of an older value; one behind it is drained next.
                    self.drop_before(key, value)
                self.check()
        except Exception as error:  # noqa: BLE001
            self.error = error

    def drop_before(self, key, value):
        self.drop()
        self.held[key] = value

    def check(self):
        certain = dict(self.floor)
        self.near.call("PING")
        self.drop()
        for key, value in self.held.items():
            assert value >= certain[key], (key, value, certain[key])
        self.checks += 1


def hunt(caches, write, seconds):
    for cache in caches:
        cache.start()
    deadline = time.monotonic() + seconds
    writes = 0
    while time.monotonic() < deadline and not any(cache.error for cache in caches):
        write()
        writes += 1
    for cache in caches:
        cache.stop = True
    for cache in caches:
        cache.join()
    for cache in caches:
        if cache.error:
            raise cache.error
    assert writes > 20 and all(cache.checks > 3 and cache.hits > 10 for cache in caches)


def test_a_near_cache_of_plain_keys_is_never_stale_behind_its_invalidations(plain):
    """Minutes by hand: FRESHET_TEST_LONG=60."""
    keys = [f"k{n}" for n in range(12)]
    plain.redis.mset({key: 0 for key in keys})
    floor, lock = dict.fromkeys(keys, 0), threading.Lock()

    def read(near, key):
        return int(near.call("GET", key))

    caches = [Cached(plain, floor, keys, read, seed, *mode) for seed, mode in enumerate([["ON"], ["ON"], ["ON", "BCAST"]])]
    others = [writer(plain) for _ in range(3)]
    rng = random.Random(5)

    def write():
        key, other = rng.choice(keys), rng.choice(others)
        with lock:
            floor[key] = other.call("INCR", key)

    hunt(caches, write, LONG)


@pytest.mark.parametrize("evicting", [False, True])
def test_a_near_cache_of_rows_is_never_stale_behind_its_invalidations(rows, shop, evicting):
    """Rows change by SQL alone; what FRESHET.WAIT has seen applied must not be held older. Evictions put fills into the game."""
    ids = range(1, 9)
    keys = [f"customers:{id}" for id in ids]
    shop.execute("UPDATE customers SET city = '0' WHERE id < 9")
    rows.wait_applied(shop)
    floor = dict.fromkeys(keys, 0)

    def read(near, key):
        return int(near.call("HGET", key, "city"))

    modes = [["ON"], ["ON"], ["ON", "NOLOOP"], ["ON", "BCAST", "PREFIX", "customers:"]]
    caches = [Cached(rows, floor, keys, read, seed, *mode) for seed, mode in enumerate(modes)]
    rng, numbers, other = random.Random(7), dict.fromkeys(keys, 0), writer(rows)

    def write():
        batch = {rng.choice(keys) for _ in range(3)}
        for key in batch:
            numbers[key] += 1
            shop.execute(f"UPDATE customers SET city = '{numbers[key]}' WHERE id = {key.split(':')[1]}")
            if evicting:
                other.call("DEL", rng.choice(keys))
        rows.wait_applied(shop)
        floor.update({key: numbers[key] for key in batch})

    hunt(caches, write, LONG)


# ---- clients


def test_redis_py_keeps_a_near_cache_of_rows(rows, shop, wait_until):
    client = redis.Redis(port=rows.port, protocol=3, cache_config=CacheConfig(), decode_responses=True)
    first = client.hget("customers:9", "name")
    before = rows.metric("freshet_cache_hits_total") + rows.metric("freshet_cache_misses_total")
    for _ in range(5):
        assert client.hget("customers:9", "name") == first
    assert rows.metric("freshet_cache_hits_total") + rows.metric("freshet_cache_misses_total") == before
    shop.execute("UPDATE customers SET name = 'moved' WHERE id = 9")
    rows.wait_applied(shop)
    wait_until(lambda: client.hget("customers:9", "name") == "moved")
    client.close()
