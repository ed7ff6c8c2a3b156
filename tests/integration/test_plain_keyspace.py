"""Keys of every kind under Redis's keyspace commands: RENAME, COPY, TYPE, SCAN TYPE, OBJECT, MEMORY USAGE."""

import pytest
from support.pair import story
from support.rawresp import RawResp

MAKE = {
    "string": ["SET", "{}", "value"],
    "int": ["SET", "{}", "12345"],
    "raw": ["APPEND", "{}", "x" * 100],
    "hash": ["HSET", "{}", "a", "1", "b", "2"],
    "big hash": ["HSET", "{}", *(str(n) for n in range(1200))],
    "list": ["RPUSH", "{}", "a", "b", "c"],
    "big list": ["RPUSH", "{}", *(f"element {n}" for n in range(3000))],
    "intset": ["SADD", "{}", "3", "1", "2"],
    "set": ["SADD", "{}", "a", "b", "c"],
    "big set": ["SADD", "{}", *(f"member {n}" for n in range(3000))],
    "zset": ["ZADD", "{}", "1", "a", "2.5", "b"],
    "big zset": ["ZADD", "{}", *(word for n in range(1500) for word in (str(n % 700), f"member {n}"))],
}
READ = {
    "string": ["GET", "{}"],
    "hash": ["HGETALL", "{}"],
    "list": ["LRANGE", "{}", "0", "-1"],
    "set": ["SMEMBERS", "{}"],
    "zset": ["ZRANGE", "{}", "0", "-1", "WITHSCORES"],
}


def on(command, key):
    return [key if word == "{}" else word for word in command]


def make(kind, key):
    return on(MAKE[kind], key)


def look(kind, key):
    name = kind.split()[-1].replace("intset", "set")
    return [on(READ.get(name, READ["string"]), key), ["TYPE", key], ["OBJECT", "ENCODING", key], ["EXPIRETIME", key]]


@pytest.mark.parametrize("kind", MAKE)
def test_a_value_of_any_kind_goes_under_another_name(pair, kind):
    pair.compare([make(kind, "a"), *look(kind, "a"), ["RENAME", "a", "b"], *look(kind, "b"), ["EXISTS", "a"]])
    pair.compare([["COPY", "b", "c"], *look(kind, "c"), *look(kind, "b"), ["COPY", "b", "c"], ["RENAMENX", "b", "c"]])
    pair.compare([["EXPIREAT", "b", 4102444800], ["COPY", "b", "d"], *look(kind, "d"), ["RENAME", "b", "e"], *look(kind, "e")])
    pair.compare([["PERSIST", "e"], ["RENAME", "e", "d"], *look(kind, "d"), ["DEL", "d"], *look(kind, "c"), ["DBSIZE"]])


@pytest.mark.parametrize("kind", MAKE)
def test_a_copy_is_a_value_of_its_own(pair, kind):
    change = {"hash": ["HDEL", "a", "a", "0"], "list": ["LPOP", "a"], "zset": ["ZREM", "a", "a", "member 1"], "set": ["SREM", "a", "a", "1", "member 1"]}
    name = kind.split()[-1].replace("intset", "set")
    pair.compare([make(kind, "a"), ["COPY", "a", "b"], change.get(name, ["APPEND", "a", "!"])])
    pair.compare([*look(kind, "a"), *look(kind, "b"), ["DEL", "a"], *look(kind, "b")])


EDGES = {
    "rename": """
        RENAME none x | RENAME none none | RENAMENX none x | RENAMENX none none | SET a 1 | RENAME a a | GET a | RENAMENX a a | RENAME a b | GET b
        SET a 2 | RENAMENX a b | GET b | RENAMENX a c | GET c | EXISTS a | SETEX t 1000 v | SET p w | RENAME p t | TTL t | SETEX t 1000 v
        SET p w | RENAME t p | TTL p | GET p | HSET h f v | RENAME h p | TYPE p | TTL p | RENAME p | RENAME | RENAMENX a | RENAME "" x | SET "" e
        RENAME "" x | GET x
    """,
    "copy": """
        COPY none x | COPY none none | SET a 1 | COPY a a | COPY a b | GET b | SET a 2 | COPY a b | GET b | COPY a b REPLACE | GET b | COPY a b replace DB 0
        COPY a b DB 0 | COPY a z DB 0 | COPY a y DB x | COPY a y DB | COPY a y FOO | COPY a y DB 0 REPLACE REPLACE | COPY a | SETEX t 1000 v
        COPY t b REPLACE | GET b | EXPIREAT t 4102444800 | COPY t b REPLACE | EXPIRETIME b | COPY a b REPLACE | EXPIRETIME b | OBJECT ENCODING b
        INCRBYFLOAT f 3 | OBJECT ENCODING f | COPY f g | OBJECT ENCODING g | COPY a y DB 1.5
    """,
    "types": """
        SET s v | HSET h f v | RPUSH l a | SADD t a | ZADD z 1 a | TYPE s | TYPE h | TYPE l | TYPE t | TYPE z | TYPE none | KEYS * | DBSIZE
        OBJECT ENCODING h | OBJECT ENCODING l | OBJECT ENCODING t | OBJECT ENCODING z | MEMORY USAGE none | MEMORY USAGE s SAMPLES
        MEMORY USAGE s SAMPLES x | MEMORY USAGE s SAMPLES -1 | MEMORY USAGE s FOO 1 | MEMORY USAGE | MEMORY FOO | GET h | LPUSH s a | SADD h a
        ZADD l 1 a | HSET t a b | INCR z | GETRANGE l 0 1 | TOUCH s h l t z none | DEL s h l t z | DBSIZE
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare(story(EDGES[edge]))


def test_scan_finds_the_keys_of_a_type(pair):
    ours = pair.freshet
    types = {"string": "string", "hash": "hash", "big hash": "hash", "list": "list", "set": "set", "big set": "set", "zset": "zset"}
    for kind in types:
        ours.call(*make(kind, f"a {kind}"))
    for name in ("string", "hash", "list", "set", "zset", "ZSET", "stream", "nope"):
        cursor, found = ours.call("SCAN", 0, "COUNT", 1000, "TYPE", name)
        while cursor != b"0":
            cursor, part = ours.call("SCAN", cursor, "COUNT", 1000, "TYPE", name)
            found += part
        assert sorted(found) == sorted(f"a {kind}".encode() for kind, of in types.items() if of == name.lower())


def test_memory_usage_grows_with_the_value(pair):
    ours = pair.freshet
    for kind in MAKE:
        ours.call(*make(kind, kind))
    used = {kind: ours.call("MEMORY", "USAGE", kind) for kind in MAKE}
    assert used["string"] < 100 and used["int"] < 100 and used["intset"] < 100
    assert used["big hash"] > 600 * 30 and used["big list"] > 3000 * 10 and used["big set"] > 3000 * 30 and used["big zset"] > 1500 * 30
    assert used["big set"] == ours.call("MEMORY", "USAGE", "big set", "SAMPLES", 0)


def test_the_packed_form_of_hashes_ends_where_it_is_configured(pair):
    names = ("hash-max-listpack-entries", "hash-max-listpack-value")
    try:
        pair.compare([["CONFIG", "SET", names[0], 2, names[1], 5], ["HSET", "h", "a", 1, "b", 2], ["OBJECT", "ENCODING", "h"]])
        pair.compare([["HSET", "h", "c", 3], ["OBJECT", "ENCODING", "h"], ["HSET", "g", "a", "12345"], ["OBJECT", "ENCODING", "g"]])
        pair.compare([["HSET", "g", "a", "123456"], ["OBJECT", "ENCODING", "g"]])
    finally:
        pair.compare([["CONFIG", "SET", names[0], 512, names[1], 64]])


def test_a_rename_between_workers_loses_nothing(freshet):
    busy = freshet(None, {"cache": {"read_through": False, "workers": 4}})
    members = [f"member {n}" for n in range(500)]
    one = RawResp(busy.port)
    one.call("SADD", "ball", *members)
    raws = [RawResp(busy.port) for _ in range(6)]
    keys = ["ball", "here", "there"]
    for n in range(150):
        for i, raw in enumerate(raws):
            raw.send("RENAME", keys[(n + i) % 3], keys[(n + 1) % 3])
        for raw in raws:
            raw.read()
    assert sum(one.call("SCARD", key) for key in keys) == 500
    for raw in [one, *raws]:
        raw.close()
