"""DUMP and RESTORE speak Redis 7.0's format: what one dumps the other restores, in both directions."""

import random

import pytest
from support.pair import story
from test_plain_keyspace import MAKE, look, make

MORE = {
    "empty": ["SET", "{}", ""],
    "number": ["SET", "{}", "-12345678"],
    "small number": ["SET", "{}", "7"],
    "bytes": ["SET", "{}", bytes(range(256))],
    "text that is compressed": ["SET", "{}", "all work and no play makes Jack a dull boy. " * 500],
    "zeros that are compressed": ["SETRANGE", "{}", 100000, "x"],
    "long": ["SET", "{}", bytes(random.Random(1).randrange(256) for _ in range(70000))],
    "list of numbers": ["RPUSH", "{}", *(s * 2**n for n in range(0, 63, 3) for s in (1, -1)), 127, 128, -4096, 4095, 4096, 32767, 8388607, -8388608],
    "list of long texts": ["RPUSH", "{}", *("x" * n for n in (1, 63, 64, 200, 4095, 4096, 9000, 20000))],
    "intset of 64 bits": ["SADD", "{}", 1, -5, 2**40, -(2**62)],
    "intset of 32 bits": ["SADD", "{}", 70000, -70000],
    "scores zset": ["ZADD", "{}", "-inf", "a", "+inf", "b", "1.5", "c", "3", "d", "1e-7", "e", "123456789.123", "f"],
    "texts hash": ["HSET", "{}", "a", "x" * 60, "b", "-1", "c", "12345", "", "", "d", "3.0"],
    "compressed hash": ["HSET", "{}", *(word for n in range(100) for word in (f"field {n}", "same text again"))],
}
ALL = {**MAKE, **MORE}


def make_any(kind, key):
    return make(kind, key) if kind in MAKE else [key if word == "{}" else word for word in MORE[kind]]


def look_any(kind, key):
    return look("list" if "list" in kind else kind if kind in MAKE else kind.replace("of 64 bits", "").replace("of 32 bits", "").strip(), key)


@pytest.mark.parametrize("kind", ALL)
def test_what_one_dumps_the_other_restores(pair, kind):
    pair.compare([make_any(kind, "k")])
    theirs, ours = pair.redis.call("DUMP", "k"), pair.freshet.call("DUMP", "k")
    expected = pair.redis.calls(look_any(kind, "k"))
    for raw, payload in ((pair.freshet, theirs), (pair.redis, ours), (pair.freshet, ours)):
        assert raw.call("RESTORE", "there", 0, payload, "REPLACE").text == "OK"
        found = raw.calls(look_any(kind, "there"))
        if isinstance(found[0], list):
            found[0], expected[0] = sorted(found[0]), sorted(expected[0])
        if kind != "raw" and "compressed" not in kind:
            assert found == expected
        else:
            assert found[0] == expected[0]  # the encoding of a string is chosen anew


EDGES = {
    "refusals": r"""
        DUMP none | RESTORE k 0 "" | RESTORE k 0 "123456789" | RESTORE k 0 "1234567890" | RESTORE k abc x | RESTORE k -1 x | RESTORE k 0 x FOO | RESTORE k 0
        RESTORE k 0 x IDLETIME | RESTORE k 0 x IDLETIME -1 | RESTORE k 0 x IDLETIME x | RESTORE k 0 x FREQ 256 | RESTORE k 0 x FREQ -1 | RESTORE k 0 x FREQ 5 IDLETIME 5
        RESTORE k 0 x ABSTTL FREQ | SET k v | RESTORE k 0 x | RESTORE k -1 x | RESTORE k abc x REPLACE | RESTORE k 0 x REPLACE | GET k | DUMP | DUMP a b
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare(story(EDGES[edge]))


def test_a_restored_key_has_the_time_that_was_asked_for(pair):
    pair.compare([["SET", "k", "v"]])
    payload = pair.redis.call("DUMP", "k")
    pair.compare([["RESTORE", "a", 500000, payload], ["PTTL", "a"], ["RESTORE", "a", 4102444800000, payload, "REPLACE", "ABSTTL"], ["PEXPIRETIME", "a"]])
    pair.compare([["RESTORE", "b", 1, payload, "ABSTTL"], ["EXISTS", "b"], ["RESTORE", "a", 1, payload, "ABSTTL", "REPLACE"], ["EXISTS", "a"]])
    pair.compare([["RESTORE", "c", 0, payload, "IDLETIME", 5], ["TTL", "c"], ["RESTORE", "d", 0, payload, "FREQ", 5], ["GET", "d"]])


def test_a_payload_that_was_changed_is_refused(pair):
    pair.compare([["RPUSH", "k", "a", "b"]])
    payload = pair.freshet.call("DUMP", "k")
    for at in range(len(payload)):
        broken = bytearray(payload)
        broken[at] ^= 1
        assert pair.freshet.call("RESTORE", "x", 0, bytes(broken)).text == "ERR DUMP payload version or checksum are wrong"
    assert pair.freshet.call("EXISTS", "x") == 0
