"""Rows of tables under commands of other kinds: a row is a string and a hash, never a set, and it goes under no other name."""

import json

import pytest
from support.rawresp import Error, RawResp

WRONG = Error("WRONGTYPE Operation against a key holding the wrong kind of value")


@pytest.fixture
def raw(freshet, shop):
    raw = RawResp(freshet(shop).port)
    yield raw
    raw.close()


def test_a_row_is_no_set(raw):
    raw.call("SADD", "s", "a", "b")
    for command in (
        ["SMEMBERS", "customers:1"],
        ["SCARD", "customers:2"],
        ["SISMEMBER", "customers:3", "a"],
        ["SMISMEMBER", "customers:3", "a"],
        ["SRANDMEMBER", "customers:4"],
        ["SSCAN", "customers:5", 0],
        ["SINTER", "s", "customers:6"],
        ["SUNION", "customers:7", "s"],
        ["SDIFF", "none", "customers:8"],
        ["SINTERCARD", 2, "s", "customers:9"],
    ):
        assert raw.call(*command) == WRONG, command
    assert raw.call("SMEMBERS", "customers:999999") == []
    assert raw.call("SINTERCARD", 1, "customers:999999") == 0
    assert sorted(raw.call("SUNION", "s", "customers:999999")) == [b"a", b"b"]


def test_a_row_is_not_written_by_them(raw):
    raw.calls([["SADD", "s", "a"], ["SET", "k", "v"], ["RPUSH", "l", "1"]])
    dump = raw.call("DUMP", "k")
    for command in (
        ["SADD", "customers:1", "a"],
        ["SREM", "customers:1", "a"],
        ["SPOP", "customers:1"],
        ["SMOVE", "s", "customers:1", "a"],
        ["SUNIONSTORE", "customers:1", "s"],
        ["SETBIT", "customers:1", 0, 1],
        ["BITOP", "NOT", "customers:1", "k"],
        ["BITFIELD", "customers:1", "SET", "u8", 0, 1],
        ["RENAME", "k", "customers:1"],
        ["RENAME", "customers:1", "k"],
        ["COPY", "k", "customers:1"],
        ["RESTORE", "customers:1", 0, dump],
        ["SORT", "l", "STORE", "customers:1"],
    ):
        assert raw.call(*command).text.startswith("READONLY "), command
    assert raw.calls([["SCARD", "s"], ["GET", "k"]]) == [1, b"v"]


def test_a_row_is_a_string_to_those_that_read_bits(raw):
    row = raw.call("GET", "customers:1")
    assert raw.call("BITCOUNT", "customers:1") == sum(byte.bit_count() for byte in row)
    assert raw.call("GETBIT", "customers:2", 0) == 0
    assert raw.call("BITFIELD_RO", "customers:3", "GET", "u8", 0) == [ord("{")]
    assert raw.call("BITPOS", "customers:4", 1) == 1
    assert raw.call("BITPOS", "customers:999999", 1) == -1


def test_a_row_can_be_dumped_as_its_json(raw):
    assert raw.call("DUMP", "customers:999999") is None
    payload = raw.call("DUMP", "customers:7")
    assert raw.call("RESTORE", "kept", 0, payload).text == "OK"
    assert json.loads(raw.call("GET", "kept"))["id"] == 7
    assert raw.call("GET", "kept") == raw.call("GET", "customers:7")
    assert raw.call("MEMORY", "USAGE", "customers:7") > 100
