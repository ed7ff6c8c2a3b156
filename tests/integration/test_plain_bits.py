"""Bits of plain strings are Redis 7.0's: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD."""

import random
import time

import pytest
from support.pair import story
from support.rawresp import RawResp
from test_plain_keys import most_resident

EDGES = {
    "single bits": """
        SETBIT k 7 1 | GET k | SETBIT k 7 1 | SETBIT k 7 0 | GET k | SETBIT k 100 1 | STRLEN k | GETBIT k 100 | GETBIT k 101
        GETBIT k 4294967295 | GETBIT k 4294967296 | GETBIT k -1 | GETBIT k abc | GETBIT none 0 | GETBIT none abc | SETBIT k -1 1
        SETBIT k abc 1 | SETBIT k 0 2 | SETBIT k 0 -1 | SETBIT k 0 x | SETBIT k 4294967296 1 | SETBIT k x 5 | SETBIT new 0 0
        GET new | EXISTS new | SET n 123 | SETBIT n 7 0 | GET n | GETBIT n 2 | OBJECT ENCODING n | OBJECT ENCODING new
        HSET h f v | SETBIT h 0 1 | GETBIT h 0 | GETBIT h abc | SETBIT h 0 5 | SETEX t 1000 abc | SETBIT t 0 1 | TTL t | GET t
        SETBIT | SETBIT k 1 | GETBIT k | GETBIT k 1 2 | SET e "" | GETBIT e 0
    """,
    "counting": """
        BITCOUNT none | SET k foobar | BITCOUNT k | BITCOUNT k 0 0 | BITCOUNT k 1 1 | BITCOUNT k 0 -1 | BITCOUNT k 1 1 BYTE
        BITCOUNT k 5 30 BIT | BITCOUNT k 5 30 bit | BITCOUNT k 5 30 NIBBLE | BITCOUNT k 0 | BITCOUNT k 0 1 BIT x | BITCOUNT k a 1
        BITCOUNT k 0 b | BITCOUNT none a 1 | BITCOUNT none 0 | BITCOUNT k -1 -2 | BITCOUNT k -1 -2 NIBBLE | BITCOUNT k -2 -1
        BITCOUNT k 3 1 | BITCOUNT k 3 1 NIBBLE | BITCOUNT k -100 100 | BITCOUNT k 100 200 | BITCOUNT k -100 -50 | BITCOUNT k -9 -1 BIT
        BITCOUNT k 0 0 BIT | BITCOUNT k 47 47 BIT | BITCOUNT k 48 48 BIT | BITCOUNT k -48 -48 BIT | HSET h f v | BITCOUNT h | BITCOUNT h 0
        SET n 12345 | BITCOUNT n | SET e "" | BITCOUNT e | BITCOUNT e 0 -1 | BITCOUNT e 0 -1 BIT | BITCOUNT
    """,
    "finding": r"""
        BITPOS none 0 | BITPOS none 1 | BITPOS none 2 | BITPOS none x | BITPOS none 1 a b c | SETBIT k 8 1 | BITPOS k 1 | BITPOS k 0
        BITPOS k 1 0 | BITPOS k 1 1 | BITPOS k 1 2 | BITPOS k 0 2 | BITPOS k 0 1 1 | BITPOS k 1 -1 | BITPOS k 1 0 0 | BITPOS k 1 0 -1
        BITPOS k 1 8 8 BIT | BITPOS k 1 9 15 BIT | BITPOS k 0 8 8 BIT | BITPOS k 0 8 9 BIT | BITPOS k 1 0 -1 NIBBLE | BITPOS k 1 a
        BITPOS k 1 0 b | BITPOS k 1 0 1 BIT x | BITPOS k 1 a b NIBBLE | BITPOS k 1 3 1 | HSET h f v | BITPOS h 1 | BITPOS h 2 | BITPOS h 1 x
        BITFIELD f SET u8 0 255 SET u8 8 255 | BITPOS f 0 | BITPOS f 0 0 | BITPOS f 0 1 | BITPOS f 0 0 -1 | BITPOS f 0 1 1 | BITPOS f 0 2
        BITPOS f 0 0 -1 BIT | BITPOS f 0 5 9 BIT | BITPOS f 1 5 9 BIT | SET e "" | BITPOS e 0 | BITPOS e 1 | BITPOS e 0 0 | BITPOS e 0 0 -1
        BITPOS k | BITPOS k 1 -100 100 BIT | BITPOS k 0 -100 -99 BIT | SET n 9 | BITPOS n 1
    """,
    "operations": """
        SET a foobar | SET b abc | BITOP AND d a b | GET d | BITOP OR d a b | GET d | BITOP XOR d a b none | GET d | BITOP NOT d a
        BITOP NOT d d | GET d | BITOP NOT d a b | BITOP NAND d a b | BITOP AND d none | EXISTS d | BITOP AND d none none2 | BITOP NOT d none
        BITOP and a a b | GET a | OBJECT ENCODING a | HSET h f v | BITOP AND d h | BITOP AND d a h | EXISTS d | BITOP OR h a b | TYPE h
        SETEX t 1000 x | BITOP OR t a b | TTL t | SET n 1 | BITOP OR d n n | GET d | OBJECT ENCODING d | BITOP AND d | BITOP
        SET e "" | BITOP OR d e e | EXISTS d | BITOP AND z a none | STRLEN z | BITOP XOR self a a | STRLEN self
    """,
    "fields": """
        BITFIELD k | BITFIELD none GET u8 0 | EXISTS none | BITFIELD k SET u8 0 255 | BITFIELD k GET u8 0 GET i8 0 GET u4 4 GET u63 0 GET i64 0
        BITFIELD k INCRBY u8 0 1 | BITFIELD k OVERFLOW SAT INCRBY u8 0 300 | BITFIELD k OVERFLOW FAIL INCRBY u8 0 1 GET u8 0
        BITFIELD k OVERFLOW fail SET u8 0 256 OVERFLOW wrap SET u8 0 257 OVERFLOW sat SET u8 0 -1 | GET k
        BITFIELD k SET i8 #1 127 INCRBY i8 #1 1 OVERFLOW SAT INCRBY i8 #1 -100 SET i8 #1 -200 SET i8 #1 200 | GET k
        BITFIELD k GET u64 0 | BITFIELD k GET i65 0 | BITFIELD k GET u0 0 | BITFIELD k GET x8 0 | BITFIELD k GET u 0 | BITFIELD k GET "" 0
        BITFIELD k GET u8 -1 | BITFIELD k GET u8 x | BITFIELD k GET u8 # | BITFIELD k GET u8 #-1 | BITFIELD k GET u8 "" | BITFIELD k GET u8
        BITFIELD k SET u8 0 | BITFIELD k SET u8 0 x | BITFIELD k INCRBY u8 0 1.5 | BITFIELD k FOO u8 0 | BITFIELD k OVERFLOW
        BITFIELD k OVERFLOW FOO | BITFIELD k OVERFLOW FOO GET u8 0 | BITFIELD k OVERFLOW WRAP | BITFIELD k GET u8 4294967295 | STRLEN k
        BITFIELD k GET u8 4294967296 | BITFIELD_RO k GET u8 0 | BITFIELD_RO k SET u8 0 1 | BITFIELD_RO k | BITFIELD_RO none GET u8 0
        BITFIELD_RO k OVERFLOW SAT GET u8 0 | HSET h f v | BITFIELD h GET u8 0 | BITFIELD h SET u8 0 1 | BITFIELD h | BITFIELD_RO h GET u8 0
        BITFIELD_RO h SET u8 0 1 | SETEX t 1000 abc | BITFIELD t INCRBY i5 3 1 | TTL t | GET t | SET n 12 | BITFIELD n GET u8 0 SET u8 8 65 | GET n
        BITFIELD w INCRBY i64 0 9223372036854775807 INCRBY i64 0 1 | BITFIELD w OVERFLOW SAT INCRBY i64 0 -9223372036854775808
        BITFIELD w INCRBY i64 0 -9223372036854775808 INCRBY i64 0 -9223372036854775808 | BITFIELD w SET u63 1 -1 GET u63 1 INCRBY u63 1 1
        BITFIELD long SET u8 1000 1 | STRLEN long | BITFIELD long SET u1 1007 0 GET u8 1000 | BITFIELD f OVERFLOW FAIL INCRBY u2 0 5 | STRLEN f
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare(story(EDGES[edge]))


def test_ranges_of_bits_of_every_length_and_place(pair):
    dice = random.Random(3)
    for length in [*range(1, 12), 64, 200]:
        value = dice.choice([b"\x00", b"\xff"]) * (length - 1) + bytes([dice.randrange(256)])
        value = bytes(dice.sample(value, length)) if dice.random() < 0.5 else value
        commands = [["SET", "k", value]]
        for _ in range(60):
            start, end = (dice.randrange(-8 * length - 2, 8 * length + 3) for _ in range(2))
            unit = dice.choice([["BIT"], ["BYTE"], []])
            commands += [["BITCOUNT", "k", start, end, *unit], ["BITPOS", "k", dice.randrange(2), start, end, *unit]]
            commands += [["BITPOS", "k", dice.randrange(2), start]]
        pair.compare(commands)


KEYS = [f"b{i}" for i in range(5)]


def random_command(dice):
    key = lambda: dice.choice(KEYS)
    offset = lambda: dice.choice(["0", "1", "7", "8", "63", "64", "200", "1023", "-1", "x"])
    kind = lambda: dice.choice("iu") + str(dice.choice([1, 2, 5, 8, 13, 32, 63, 64, 65]))
    place = lambda: dice.choice(["0", "3", "#0", "#3", "17", "100", "#20"])
    number = lambda: dice.choice([str(dice.randrange(-300, 300)), str(dice.randrange(-(2**63), 2**63))])
    field = lambda: dice.choice(
        [
            ["GET", kind(), place()],
            ["SET", kind(), place(), number()],
            ["INCRBY", kind(), place(), number()],
            ["OVERFLOW", dice.choice(["WRAP", "SAT", "FAIL"])],
        ]
    )
    value = lambda: bytes(dice.randrange(256) for _ in range(dice.choice([0, 1, 3, 8, 40, 100])))
    kinds = [
        lambda: ["SETBIT", key(), offset(), dice.choice(["0", "1", "1", "2"])],
        lambda: ["GETBIT", key(), offset()],
        lambda: ["SET", key(), value()],
        lambda: ["BITCOUNT", key()],
        lambda: ["BITPOS", key(), dice.choice("01")],
        lambda: ["BITOP", dice.choice(["AND", "OR", "XOR"]), key(), *(key() for _ in range(dice.randint(1, 4)))],
        lambda: ["BITOP", "NOT", key(), key()],
        lambda: ["BITFIELD", key(), *(word for _ in range(dice.randint(1, 6)) for word in field())],
        lambda: ["BITFIELD", key(), *(word for _ in range(dice.randint(1, 6)) for word in field())],
        lambda: ["BITFIELD_RO", key(), *field()],
        lambda: ["GET", key()],
        lambda: ["DEL", key()],
    ]
    return dice.choice(kinds)()


def test_random_commands_answer_as_redis_does(pair):
    ends = time.monotonic() + 2
    seed = 0
    while time.monotonic() < ends or seed < 3:
        dice = random.Random(seed)
        pair.flush()
        pair.compare([random_command(dice) for _ in range(500)])
        seed += 1


def test_a_string_that_could_not_be_kept_takes_no_memory(freshet):
    small = freshet(None, {"cache": {"read_through": False, "max_memory": "8MiB"}})
    raw = RawResp(small.port)
    raw.call("SET", "k", "v")
    before = most_resident(small.pid)
    for command in (
        ["SETBIT", "k", 2**32 - 1, 1],
        ["BITFIELD", "k", "SET", "u8", 2**32 - 8, 1],
        ["SETRANGE", "k", 400 * 1024 * 1024, "x"],
    ):
        assert raw.call(*command).text.startswith("OOM "), command
    assert raw.call("GET", "k") == b"v"
    assert most_resident(small.pid) < before + 100 * 1024 * 1024
    raw.close()
