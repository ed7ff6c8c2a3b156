"""Plain keys are Redis 7.0's: the same commands to a redis-server and to Freshet, all replies equal, errors included."""

import random
import threading
import time

import pytest
from support.pair import story
from support.rawresp import RawResp
from support.waiting import wait_until

FAR = 4102444800  # 2100-01-01: an expiry that no test reaches


# --- edges: each list of commands begins with no keys ---

EDGES = {
    "get and set": """
        GET k | SET k v | GET k | SET k "" | GET k | STRLEN k | SET k | GET | GET a b | SET k v EX | SET k v NX XX
        SET k v NX GET | SET k2 v2 NX GET | GET k2 | SET k w XX GET | GET k | SET none v XX | SET none v XX GET | EXISTS none
        SET k v nx px 100000 | SET new v nx px 100000 | PTTL new | SET new w keepttl | PTTL new | SET new x | PTTL new
        SET k v EX 0 | SET k v EX -1 | SET k v PX 0 | SET k v EXAT 0 | SET k v PXAT -5 | SET k v EX abc | SET k v EX 1.5
        SET k v EX 9223372036854775807 | SET k v PX 9223372036854775807 | SET k v EXAT 9223372036854775807
        SET k v EXAT 9223372036854775 | PEXPIRETIME k | SET k v PXAT 9223372036854775807 | PEXPIRETIME k
        SET k v EX 10 PX 10 | SET k v EX 10 KEEPTTL | SET k v KEEPTTL EX 10 | SET k v EX 10 EX 20 | TTL k
        SET k v PERSIST | SET k v FOO | SET k v GET GET | SET k v EXAT 1 | GET k | EXISTS k | SET k v PXAT 1 | STRLEN k
        HSET h f v | SET h v GET | TYPE h | SET h v | TYPE h | HSET h2 f v | SET h2 v NX | SET h2 v XX | TYPE h2
    """,
    "the other setters": """
        SETNX k v | SETNX k w | GET k | SETEX k 100 v | TTL k | SETEX k 0 v | SETEX k -1 v | SETEX k abc v | PSETEX k 0 v
        PSETEX k 100000 v | PTTL k | SETEX k 9223372036854775807 v | PSETEX k 9223372036854775807 v | SETEX k 10
        GETSET k new | TTL k | GETSET none v | GET none | HSET h f v | GETSET h v | SETNX h v | GETDEL h | GETDEL k | GETDEL k
        SETEX h 100 v | TYPE h | MSET a 1 b 2 | MGET a b c h | MSET a 1 b | MSET a | MSETNX a 1 | MSETNX a 9 z 9 | EXISTS z
        MSETNX y 1 z 2 | MGET y z | MSETNX y 1 z | MSETNX q 1 q 2 | GET q | MSET q 3 q 4 | GET q | MGET q q | MGET
    """,
    "getex": """
        GETEX k | SET k v | GETEX k | TTL k | GETEX k EX 100 | TTL k | GETEX k PERSIST | TTL k | GETEX k EX 0 | GETEX k PX -1
        GETEX k EXAT 4102444800 | EXPIRETIME k | GETEX k PXAT 4102444800000 | PEXPIRETIME k | GETEX k EX 10 PERSIST
        GETEX k PERSIST EX 10 | GETEX k KEEPTTL | GETEX k NX | GETEX k GET | GETEX k EX | GETEX none EX 0 | GETEX none EX abc
        GETEX k EX abc | GETEX k PXAT 1 | EXISTS k | HSET h f v | GETEX h | GETEX h EX 0 | GETEX h PERSIST
    """,
    "ranges": """
        GETRANGE k 0 -1 | SET k "Hello World" | GETRANGE k 0 4 | GETRANGE k -5 -1 | GETRANGE k 0 -1 | GETRANGE k 5 3
        GETRANGE k 20 30 | GETRANGE k -100 4 | GETRANGE k -100 -50 | GETRANGE k -1 -5 | GETRANGE k 3 100 | SUBSTR k 0 4
        GETRANGE k -9223372036854775808 9223372036854775807 | GETRANGE k a 1 | GETRANGE k 1 b | GETRANGE none a b
        GETRANGE k 9223372036854775808 1 | SET e "" | GETRANGE e 0 -1 | HSET h f v | GETRANGE h 0 1 | GETRANGE h a 1
        SETRANGE n 5 x | GET n | SETRANGE n 0 "" | SETRANGE none 3 "" | EXISTS none | SETRANGE n -1 x | SETRANGE n abc x
        SETRANGE n 2 yy | GET n | SETRANGE k 6 Redis | GET k | SETRANGE h 0 x | SETRANGE h 0 "" | SETRANGE n 536870912 x
        SETRANGE n 536870911 "" | SETRANGE none 536870912 x | SETRANGE n 9223372036854775807 x | EXPIREAT k 4102444800
        SETRANGE k 0 J | GET k | EXPIRETIME k | APPEND k !! | GET k | EXPIRETIME k | APPEND new abc | APPEND new "" | APPEND h x
        STRLEN k | STRLEN none | STRLEN h | OBJECT ENCODING k | OBJECT ENCODING new | APPEND once x | OBJECT ENCODING once
    """,
    "counters": """
        INCR n | INCR n | DECR n | INCRBY n 10 | DECRBY n 20 | GET n | INCRBY n abc | INCRBY n 1.5 | INCRBY n "" | DECRBY n x
        INCRBY n 9223372036854775808 | SET n 9223372036854775807 | INCR n | INCRBY n -1 | SET n -9223372036854775808 | DECR n
        DECRBY n 9223372036854775807 | DECRBY n -9223372036854775808 | DECRBY none -9223372036854775808 | SET n abc | INCR n
        SET n "" | INCR n | SET n " 1" | INCR n | SET n "1 " | INCR n | SET n 01 | INCR n | SET n +1 | INCR n | SET n -0 | INCR n
        SET n 1.0 | INCR n | SET n 99999999999999999999999 | INCR n | HSET h f v | INCR h | INCRBY h abc | INCRBYFLOAT h 1
        SET n 5 EX 1000 | INCR n | TTL n | EXPIREAT n 4102444800 | INCRBYFLOAT n 0.5 | EXPIRETIME n | INCR n
        INCRBYFLOAT f 10.5 | INCRBYFLOAT f -5 | INCRBYFLOAT f 5.0e3 | INCRBYFLOAT f 0.1 | INCRBYFLOAT f 0.2 | INCRBYFLOAT f abc
        INCRBYFLOAT f "" | INCRBYFLOAT f " 1" | INCRBYFLOAT f inf | INCRBYFLOAT f -inf | INCRBYFLOAT f nan | INCRBYFLOAT f 1e400
        INCRBYFLOAT f 1e5000 | INCRBYFLOAT f 0x10 | SET f 3.0e3 | INCRBYFLOAT f 200 | SET f "1 " | INCRBYFLOAT f 1 | SET f abc
        INCRBYFLOAT f 1 | SET f 1e20 | INCRBYFLOAT f 1 | SET f -1 | INCRBYFLOAT f 1 | SET f 1e-20 | INCRBYFLOAT f 0 | GET f
        SET f 17179869184 | INCRBYFLOAT f 1.5 | INCRBYFLOAT g 3 | OBJECT ENCODING n | INCR | INCRBY n | INCRBYFLOAT n
        SET f 1e4000 | INCRBYFLOAT f 1 | STRLEN f | SET f 1e4932 | INCRBYFLOAT f 1e4932
    """,
    "expiry": """
        EXPIRE k 10 | SET k v | EXPIRE k 1000 | TTL k | PTTL k | EXPIRETIME none | PEXPIRETIME none | EXPIREAT k 4102444800
        EXPIRETIME k | PEXPIRETIME k | TTL none | PTTL none | PERSIST k | PERSIST k | PERSIST none | TTL k | EXPIRETIME k
        PEXPIREAT k 4102444800499 | EXPIRETIME k | PEXPIREAT k 4102444800500 | EXPIRETIME k | PEXPIRETIME k
        EXPIRE k 2000 NX | PERSIST k | EXPIRE k 2000 XX | EXPIRE k 2000 NX | EXPIRE k 2000 NX | EXPIRE k 1000 GT
        EXPIRE k 3000 GT | EXPIRE k 4000 LT | EXPIRE k 500 LT | TTL k | PERSIST k | EXPIRE k 100 GT | EXPIRE k 100 LT | TTL k
        EXPIRE k 100 XX GT | EXPIRE k 200 XX GT | EXPIRE k 10 XX LT | EXPIRE k 10 NX XX | EXPIRE k 10 NX GT | EXPIRE k 10 GT LT
        EXPIRE k 10 NX LT | EXPIRE k 10 FOO | EXPIRE k 10 nx foo | EXPIRE k abc | EXPIRE k 1.5 | EXPIRE k "" | EXPIRE k
        EXPIRE none abc | EXPIRE none 10 FOO | EXPIRE k 9223372036854775807 | EXPIRE k 9223372036854776
        EXPIRE k -9223372036854775808 | PEXPIRE k 9223372036854775807 | EXPIREAT k 9223372036854775807 | EXISTS k
        PEXPIREAT k 9223372036854775807 | PEXPIRETIME k | EXPIREAT k 9223372036854775 | PEXPIREAT k -1 | EXISTS k
        SET k v | EXPIRE k 0 | EXISTS k | SET k v | EXPIRE k -1 | EXISTS k | SET k v | PEXPIREAT k 1 | EXISTS k | SET k v
        EXPIREAT k 0 | EXISTS k | HSET h f v | EXPIREAT h 4102444800 | HSET h g w | EXPIRETIME h | HDEL h f g | EXISTS h
        HSET h f v | TTL h | SET k v EX 100 | EXPIRE k -5 GT | EXISTS k | EXPIRE k -5 LT | EXISTS k | SET k v | EXPIRE k -5 GT
        EXISTS k | EXPIRE k -5 XX | EXISTS k | PERSIST | TTL | TTL a b | SET k 5 EX 100 | SET k 6 KEEPTTL | TTL k | MSET k 7 | TTL k
    """,
    "keys of any kind": """
        DEL k | DEL | UNLINK | EXISTS | SET a 1 | SET b 2 | HSET h f v | EXISTS a b h none a | DEL a none b | EXISTS a b
        TOUCH a h none h | UNLINK h h | TYPE h | TYPE none | SET a 1 | TYPE a | TYPE | DBSIZE | RANDOMKEY | FLUSHALL | RANDOMKEY
        DBSIZE | KEYS * | SET a 1 | SET "a b" 2 | SET "" empty | GET "" | KEYS * | KEYS a* | KEYS a? | KEYS [ab] | KEYS nope
        KEYS | OBJECT ENCODING a | OBJECT ENCODING none | SET s abc | OBJECT ENCODING s | OBJECT REFCOUNT s
        OBJECT REFCOUNT none | OBJECT IDLETIME none | OBJECT FREQ none | OBJECT | OBJECT FOO | OBJECT ENCODING | OBJECT HELP
        OBJECT ENCODING a b | HSET h f v | OBJECT ENCODING h | SCAN | SCAN abc | SCAN 0 COUNT | SCAN 0 COUNT 0 | SCAN 0 COUNT -1
        SCAN 0 COUNT abc | SCAN 0 FOO x | SCAN 0 MATCH | SCAN " 0" | SCAN 0x | SCAN 99999999999999999999 | SCAN -1 | SCAN 0 TYPE
    """,
    "hashes": """
        HSET h a 1 | HSET h a 2 b 3 | HGET h a | HGET h none | HGET none a | HMGET h a none b | HMGET none a b | HGETALL h
        HGETALL none | HKEYS h | HVALS h | HKEYS none | HVALS none | HLEN h | HLEN none | HEXISTS h a | HEXISTS h z
        HEXISTS none a | HSTRLEN h a | HSTRLEN h z | HSTRLEN none a | HDEL h a | HDEL h a z | HDEL none a | HDEL h b | EXISTS h
        HSET h | HSET h a | HSET h a 1 b | HMSET h a 1 b | HMSET h a 1 | HMSET h | HSETNX h a 9 | HSETNX h c 9 | HGETALL h
        SET s v | HSET s a 1 | HGET s a | HMGET s a | HGETALL s | HDEL s a | HLEN s | HEXISTS s a | HSETNX s a 1 | HINCRBY s a 1
        HINCRBYFLOAT s a 1 | HKEYS s | HVALS s | HSTRLEN s a | HSCAN s 0 | HRANDFIELD s | HRANDFIELD s 2 | HMSET s a 1
        GET h | APPEND h x | HINCRBY h a 5 | HINCRBY h new -3 | HINCRBY h a abc | HINCRBY h a 1.5 | HSET h t text
        HINCRBY h t 1 | HSET h m 9223372036854775807 | HINCRBY h m 1 | HINCRBY h m -1 | HINCRBY h m -9223372036854775808
        HSET h e "" | HINCRBY h e 1 | HINCRBYFLOAT h e 1 | HSET h p " 1" | HINCRBY h p 1 | HINCRBYFLOAT h p 1
        HINCRBYFLOAT h a 0.1 | HINCRBYFLOAT h a 0.2 | HINCRBYFLOAT h t 1 | HINCRBYFLOAT h a abc | HINCRBYFLOAT h a inf
        HINCRBYFLOAT h a nan | HINCRBYFLOAT h fresh 3.0e3 | HINCRBYFLOAT h fresh -1e-3 | HGET h fresh | HINCRBY n a 1
        HINCRBYFLOAT n b 1.5 | HGETALL n | HSET h "" empty | HGET h "" | HSET dup f 1 f 2 | HGETALL dup | HDEL dup f f | EXISTS dup
        HGETALL | HGET h | HLEN | HDEL h | HINCRBY h a | HGETALL h
    """,
    "random fields and scans of hashes": """
        HRANDFIELD none | HRANDFIELD none 2 | HRANDFIELD none -2 | HRANDFIELD none 2 WITHVALUES | HSET h f v | HRANDFIELD h
        HRANDFIELD h 1 | HRANDFIELD h 5 | HRANDFIELD h -3 | HRANDFIELD h 0 | HRANDFIELD h 1 WITHVALUES | HRANDFIELD h -2 WITHVALUES
        HRANDFIELD h abc | HRANDFIELD h 1 FOO | HRANDFIELD h 1 WITHVALUES x | HRANDFIELD h 9223372036854775807
        HRANDFIELD h -9223372036854775808 | HRANDFIELD h 9223372036854775807 WITHVALUES | HRANDFIELD h 9223372036854775808
        HRANDFIELD h -9223372036854775807 FOO | HRANDFIELD h -9223372036854775807 WITHVALUES | HRANDFIELD h 0 WITHVALUES
        HSCAN h 0 | HSCAN none 0 | HSCAN h abc | HSCAN none abc | HSCAN h 0 COUNT 0 | HSCAN none 0 COUNT 0 | HSCAN h 0 MATCH
        HSCAN h 0 TYPE string | HSCAN h 0 FOO 1 | HSCAN h 0 COUNT abc | HSCAN h | HSCAN
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare([command for command in story(EDGES[edge]) if command != ["RANDOMKEY"]])


def test_encodings_and_order_change_at_the_limits_that_redis_has(pair):
    commands = []
    for n in (511, 512, 513):
        commands += [["HSET", f"h{n}", *(word for i in range(n) for word in (f"f{i}", i))], ["OBJECT", "ENCODING", f"h{n}"]]
        commands += [["HGETALL", f"h{n}"], ["HLEN", f"h{n}"]]
    for n in (64, 65):
        commands += [["HSET", f"v{n}", "a", "1", "f", "x" * n], ["OBJECT", "ENCODING", f"v{n}"]]
        commands += [["HSET", f"n{n}", "a", "1", "x" * n, "f"], ["OBJECT", "ENCODING", f"n{n}"]]
        commands += [["HDEL", f"v{n}", "f"], ["OBJECT", "ENCODING", f"v{n}"]]
    for value in ("1", "-5", "9223372036854775807", "9223372036854775808", "01", "x" * 44, "x" * 45):
        commands += [["SET", "s", value], ["OBJECT", "ENCODING", "s"]]
    commands += [["HSET", "o", "z", 1, "a", 2, "m", 3], ["HSET", "o", "a", "longer than before"], ["HDEL", "o", "z"]]
    pair.compare(commands)
    for command in (["HKEYS", "o"], ["HVALS", "o"], ["HKEYS", "h512"]):
        assert pair.redis.call(*command) == pair.freshet.call(*command)


def test_a_value_of_half_a_gigabyte_is_the_most(pair):
    pair.compare([["SETRANGE", "k", 16 * 1024 * 1024, "x"], ["STRLEN", "k"], ["SETRANGE", "k", 536870912 - 1, "xy"]])
    pair.compare([["GETRANGE", "k", 16 * 1024 * 1024 - 3, -1], ["DEL", "k"]])


# --- random commands ---

KEYS = [f"k{i}" for i in range(6)] + ["", "with space", b"\x00\xff"]
FIELDS = [f"f{i}" for i in range(5)] + ["", b"\x00", "x" * 64, "x" * 65]
VALUES = ["", "v", "0", "1", "-1", "10", "3.5", "-0.25", "1e3", " 1", "abc", "9223372036854775807", "-9223372036854775808"]
VALUES += ["x" * 44, "x" * 45, "y" * 64, "y" * 65, "z" * 5000, b"\r\n\x00\xff"]
NUMBERS = ["0", "1", "-1", "7", "-100", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5", "x", ""]
FLOATS = ["0", "1", "-1", "0.1", "2.5e3", "-1e-5", "1e300", "inf", "nan", "x", ""]


def random_command(dice):
    key = lambda: dice.choice(KEYS)
    field = lambda: dice.choice(FIELDS)
    value = lambda: dice.choice(VALUES)
    number = lambda: dice.choice(NUMBERS)
    some = lambda one, most=4: [one() for _ in range(dice.randint(1, most))]
    pairs = lambda one: [word for _ in range(dice.randint(1, 3)) for word in (one(), value())]
    # Hardly ever the same twice: a second EXPIRE 1000 GT hits or misses by the millisecond.
    seconds = lambda: dice.choice([str(dice.randrange(1000, 10**7, 10))] * 4 + ["0", "-5", "x", "9223372036854775807"])
    moment = lambda: dice.choice([FAR, FAR + 1000, FAR + 77777, 1, -1, "x"])
    when = lambda: dice.choice([["EX", seconds()], ["PX", f"{seconds()}000"], ["EXAT", moment()], ["PXAT", f"{moment()}000"]])
    set_word = lambda: dice.choice([["NX"], ["XX"], ["GET"], ["KEEPTTL"], when(), when(), ["BAD"]])
    limit = lambda: dice.sample(["NX", "XX", "GT", "LT", "bad"], dice.choice([0, 0, 0, 1, 1, 2]))
    place = lambda: dice.choice(["0", "1", "3", "100", "-1", "-3", "-100", "x", "9223372036854775807"])
    kinds = [
        lambda: ["GET", key()],
        lambda: ["SET", key(), value()],
        lambda: ["SET", key(), value(), *(word for _ in range(dice.randint(0, 2)) for word in set_word())],
        lambda: [dice.choice(["SETEX", "PSETEX"]), key(), seconds(), value()],
        lambda: [dice.choice(["SETNX", "GETSET", "APPEND"]), key(), value()],
        lambda: ["GETDEL", key()],
        lambda: ["GETEX", key(), *dice.choice([[], ["PERSIST"], when(), when(), ["BAD"]])],
        lambda: ["MGET", *some(key)],
        lambda: [dice.choice(["MSET", "MSETNX"]), *pairs(key)],
        lambda: ["STRLEN", key()],
        lambda: [dice.choice(["GETRANGE", "SUBSTR"]), key(), place(), place()],
        lambda: ["SETRANGE", key(), dice.choice(["0", "1", "5", "70", "-1", "x", "536870912"]), value()],
        lambda: [dice.choice(["INCR", "DECR"]), key()],
        lambda: [dice.choice(["INCRBY", "DECRBY"]), key(), number()],
        lambda: ["INCRBYFLOAT", key(), dice.choice(FLOATS)],
        lambda: [dice.choice(["DEL", "UNLINK", "EXISTS", "TOUCH"]), *some(key)],
        lambda: [dice.choice(["TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"]), key()],
        lambda: ["EXPIRE", key(), seconds(), *limit()],
        lambda: ["PEXPIRE", key(), f"{seconds()}000", *limit()],
        lambda: [dice.choice(["EXPIREAT", "PEXPIREAT"]), key(), moment(), *limit()],
        lambda: ["OBJECT", "ENCODING", key()],
        lambda: [dice.choice(["HSET", "HMSET"]), key(), *pairs(field)],
        lambda: ["HSET", key(), *pairs(field)],
        lambda: ["HSETNX", key(), field(), value()],
        lambda: [dice.choice(["HGET", "HEXISTS", "HSTRLEN"]), key(), field()],
        lambda: [dice.choice(["HMGET", "HDEL"]), key(), *some(field)],
        lambda: [dice.choice(["HGETALL", "HKEYS", "HVALS", "HLEN"]), key()],
        lambda: ["HINCRBY", key(), field(), number()],
        lambda: ["HINCRBYFLOAT", key(), field(), dice.choice(FLOATS)],
        lambda: [dice.choice(["GET", "SET", "HSET", "HGET", "EXPIRE", "MSET", "DEL", "GETEX"]), *some(value, 4)],
        lambda: ["KEYS", dice.choice(["*", "k*", "k[0-2]", "?0", "", "\\k?", "[^k]*"])],
    ]
    return dice.choice(kinds)()


SECONDS_OF_RANDOM = 8  # for each protocol


def test_random_commands_answer_as_redis_does(pair):
    ends = time.monotonic() + SECONDS_OF_RANDOM
    seed = 0
    commands_run = 0
    while time.monotonic() < ends:
        dice = random.Random(seed)
        pair.flush()
        told = []
        for _ in range(10):
            commands = [random_command(dice) for _ in range(100)]
            try:
                pair.compare(commands, told)
            except AssertionError as failure:
                raise AssertionError(f"seed {seed}\n{failure}") from None
            told += commands
            commands_run += len(commands)
        seed += 1
    assert commands_run >= 3000, "too slow to have tried anything"


# --- what has an order or a time of its own ---


def walk(raw, *command):
    """Follows a cursor to its end: (elements, calls)."""
    at = 1 if command[0] == "SCAN" else 2
    elements, calls, cursor = [], 0, b"0"
    while True:
        cursor, part = raw.call(*command[:at], cursor, *command[at:])
        elements += part
        calls += 1
        if cursor == b"0":
            return elements, calls


def test_scan_visits_every_key_and_filters(pair):
    ours = pair.freshet
    keys = {f"key:{i}".encode() for i in range(2000)}
    ours.calls([["SET", key, 1] for key in sorted(keys)])
    ours.calls([["HSET", f"hash:{i}", "f", 1] for i in range(100)])
    hashes = {f"hash:{i}".encode() for i in range(100)}
    found, calls = walk(ours, "SCAN", "COUNT", 50)
    assert sorted(found) == sorted(keys | hashes)
    assert 10 < calls < 100
    assert sorted(walk(ours, "SCAN", "MATCH", "key:1*")[0]) == sorted(key for key in keys if key.startswith(b"key:1"))
    assert set(walk(ours, "SCAN", "TYPE", "hash", "COUNT", 100)[0]) == hashes
    assert set(walk(ours, "SCAN", "TYPE", "STRING", "COUNT", 1000)[0]) == keys
    assert walk(ours, "SCAN", "TYPE", "zset", "COUNT", 1000)[0] == []


def test_scan_sees_what_stays_while_other_keys_come_and_go(pair):
    ours = pair.freshet
    ours.calls([["SET", f"stays:{i}", 1] for i in range(1000)])
    cursor, found = b"0", set()
    for step in range(10000):
        cursor, part = ours.call("SCAN", cursor, "COUNT", 10)
        found |= set(part)
        if cursor == b"0":
            break
        some = [f"goes:{step % 40}:{i}" for i in range(50)]
        ours.calls([["SET", key, 1] for key in some] if step % 80 < 40 else [["DEL", *some]])
    assert cursor == b"0"
    assert {f"stays:{i}".encode() for i in range(1000)} <= found


def test_hscan_visits_every_field(pair):
    ours = pair.freshet
    for n in (100, 3000):
        fields = [f"f{i}" for i in range(n)]
        ours.call("HSET", f"h{n}", *(word for field in fields for word in (field, "v" + field)))
        found, calls = walk(ours, "HSCAN", f"h{n}", "COUNT", 30)
        assert dict(zip(found[::2], found[1::2])) == {f.encode(): f"v{f}".encode() for f in fields}
        assert (calls == 1) == (n == 100)
        assert set(walk(ours, "HSCAN", f"h{n}", "MATCH", "f1")[0]) == {b"f1", b"vf1"}


def test_random_keys_and_fields_are_some_that_exist(pair):
    ours = pair.freshet
    ours.calls([["SET", f"k{i}", i] for i in range(50)])
    seen = {ours.call("RANDOMKEY") for _ in range(500)}
    assert seen <= {f"k{i}".encode() for i in range(50)} and len(seen) > 20
    for n in (20, 2000):
        ours.call("HSET", f"h{n}", *(word for i in range(n) for word in (f"f{i}", i)))
        fields = {f"f{i}".encode() for i in range(n)}
        assert {ours.call("HRANDFIELD", f"h{n}") for _ in range(300)} <= fields
        distinct = ours.call("HRANDFIELD", f"h{n}", 15)
        assert len(set(distinct)) == 15 and set(distinct) <= fields
        assert set(ours.call("HRANDFIELD", f"h{n}", n + 1)) == fields
        assert len(ours.call("HRANDFIELD", f"h{n}", -50)) == 50


def test_keys_go_in_time_without_being_touched(pair, plain):
    ours = pair.freshet
    ours.calls([["SET", f"k{i}", "v", "PX", 100 + i] for i in range(300)])
    ours.call("SET", "stays", "v")
    assert ours.call("DBSIZE") > 1
    wait_until(lambda: ours.call("DBSIZE") == 1, 10, "expired keys have left memory")
    assert plain.metric("freshet_cache_evictions_total", cause="expired") >= 300


def test_an_expired_key_is_gone_at_its_time(pair):
    ours = pair.freshet
    ours.call("SET", "k", "v", "PX", 300)
    assert ours.call("GET", "k") == b"v"
    wait_until(lambda: ours.call("PTTL", "k") == -2, 10, "the key has expired")
    ours.call("PSETEX", "k", 1, "v")
    wait_until(lambda: ours.call("GET", "k") is None, 10, "the key has expired")
    assert ours.calls([["EXISTS", "k"], ["TYPE", "k"], ["TTL", "k"], ["STRLEN", "k"], ["INCR", "k"]])[-1] == 1


def test_memory_is_bounded_and_evicts(freshet):
    small = freshet(None, {"cache": {"read_through": False, "max_memory": "8MiB"}})
    raw = RawResp(small.port)
    hot = [f"hot:{i}" for i in range(50)]
    raw.calls([["SET", key, "h" * 100] for key in hot])
    for start in range(0, 60000, 500):
        raw.calls([["SET", f"cold:{i}", "c" * 200] for i in range(start, start + 500)])
        raw.calls([["GET", key] for key in hot])
    assert raw.calls([["GET", key] for key in hot]) == [b"h" * 100] * 50
    assert 10000 < raw.call("DBSIZE") < 60000
    assert small.metric("freshet_cache_memory_bytes") <= 8 * 1024 * 1024
    assert small.metric("freshet_cache_evictions_total", cause="memory") > 10000
    before = raw.call("DBSIZE")
    assert raw.call("SET", "huge", "x" * (9 * 1024 * 1024)).text.startswith("OOM ")
    assert raw.call("EXISTS", "huge") == 0 and raw.call("DBSIZE") == before
    raw.close()


def most_resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def test_a_pipeline_of_changes_to_a_big_value_takes_little_memory(freshet):
    f = freshet(None, {"cache": {"read_through": False, "workers": 2}})
    raw = RawResp(f.port)
    raw.call("SETRANGE", "big", 16 * 1024 * 1024, "x")
    raw.calls([["APPEND", "big", "x"]] * 200)
    assert raw.call("STRLEN", "big") == 16 * 1024 * 1024 + 201
    assert most_resident(f.pid) < 600 * 1024 * 1024  # 200 copies would be 3.2 GB; ASan keeps 256 MB for itself
    raw.close()


# --- several workers on one store ---


def in_threads(n, run):
    failures = []

    def guarded(i):
        try:
            run(i)
        except BaseException as failure:  # noqa: BLE001 - told to the test's thread
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture
def busy(freshet):
    """More workers than cores, and the connections spread over them."""
    return freshet(None, {"cache": {"read_through": False, "workers": 4}})


def test_counters_lose_nothing_between_workers(busy):
    def count(i):
        raw = RawResp(busy.port)
        for _ in range(20):
            raw.calls([["INCR", "n"], ["HINCRBY", "h", "f", 1], ["HSET", "big", f"{i}:{_}", "x" * 70], ["APPEND", "s", "x"]] * 25)
        raw.close()

    in_threads(8, count)
    raw = RawResp(busy.port)
    assert raw.call("GET", "n") == b"4000"
    assert raw.call("HGET", "h", "f") == b"4000"
    assert raw.call("HLEN", "big") == 160
    assert raw.call("STRLEN", "s") == 4000
    raw.close()


def test_commands_on_several_keys_are_seen_whole(busy):
    pairs = [(f"a{i}", f"b{i}") for i in range(20)]

    def write(i):
        raw = RawResp(busy.port)
        for n in range(60):
            raw.calls([["MSET", one, f"{i}:{n}", other, f"{i}:{n}"] for one, other in pairs])
            raw.calls([["HSET", "h", *(word for f in range(12) for word in (f"f{f}", f"{i}:{n}" + "." * 70))]] * 3)
        raw.close()

    def read(_):
        raw = RawResp(busy.port)
        for _ in range(150):
            for reply in raw.calls([["HGETALL", "h"]] * 4):
                assert len(set(reply[1::2])) <= 1, reply
        raw.close()

    in_threads(8, lambda i: write(i) if i < 4 else read(i))
    raw = RawResp(busy.port)
    for one, other in pairs:
        assert raw.call("GET", one) == raw.call("GET", other)
    raw.close()


def test_everything_at_once_from_many_connections(busy):
    """Replies are not looked at but for their number: what counts is that nothing breaks (worth most under sanitizers)."""

    def storm(i):
        raw = RawResp(busy.port, protocol=2 + i % 2)
        dice = random.Random(1000 + i)
        for _ in range(40):
            commands = [random_command(dice) for _ in range(50)]
            commands += [["SET", f"t{dice.randrange(500)}", "v", "PX", dice.randrange(1, 300)] for _ in range(10)]
            commands += [["SCAN", dice.randrange(2**32), "COUNT", 100], ["RANDOMKEY"], ["HRANDFIELD", "k1", "3"]]
            if dice.random() < 0.1:
                commands.append(["FLUSHALL"])
            raw.calls(commands)
        raw.close()

    in_threads(8, storm)
    assert busy.redis.ping()
