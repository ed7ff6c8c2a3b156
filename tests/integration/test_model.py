"""Redis as the model: random commands of every type on the same few keys, side by side, all replies equal.

    FRESHET_MODEL_SECONDS=3600 FRESHET_MODEL_SEED=7 build/venv/bin/python -m pytest tests/integration/test_model.py

What the tests of each type cannot meet is met here: keys that change their type, expiries that are kept or lost by a write of another
kind, transactions over several types, RENAME and COPY of everything, options that do not go together.
"""

import os
import random
import re
import time

from support.pair import NEAR, UNORDERED, WALKS

SECONDS = float(os.environ.get("FRESHET_MODEL_SECONDS", "12"))
SEED = int(os.environ.get("FRESHET_MODEL_SEED", "1"))

KEYS = [f"k{i}" for i in range(6)]
SMALL = ["", "0", "1", "-1", "17", "9223372036854775807", "3.5", "abc", "value", "x" * 70, "a b", "inf", "nan", "+1", "01", "1e3"]
MEMBERS = [f"m{i}" for i in range(30)] + ["1", "2", "3", "-7", "3.0", "", "long" * 20]
WORDS = {
    "k": lambda dice: dice.choice(KEYS),
    "z": lambda dice: dice.choice(["lex0", "lex1"]),  # one score: else the order by name means nothing
    "v": lambda dice: dice.choice(SMALL) if dice.random() < 0.8 else "y" * dice.randrange(1, 300),
    "m": lambda dice: dice.choice(MEMBERS),
    "f": lambda dice: dice.choice(MEMBERS[:12]),
    "i": lambda dice: str(dice.choice([0, 1, -1, 2, 3, 5, 10, -3, 100, -100, dice.randrange(-50, 50)])),
    "n": lambda dice: str(dice.randrange(1, 6)),
    "d": lambda dice: str(dice.choice([0, 1, -1, 0.5, 2.25, "1e2", "abc", "inf", "-inf", dice.randrange(-20, 20)])),
    "t": lambda dice: str(dice.choice([100, 1000, 100000, 0, -1, "abc", 5000])),
    "T": lambda dice: str(dice.randrange(101, 90000)),  # no ties, which a millisecond would decide
    "o": lambda dice: str(dice.choice([0, 1, 7, 8, 100, 1000, -1, "abc", dice.randrange(0, 300)])),
    "b": lambda dice: dice.choice(["0", "1", "0", "1", "2"]),
    "r": lambda dice: dice.choice(["-inf", "+inf", "0", "1", "(1", "(2.5", "5", "abc", "(5", "-3"]),
    "x": lambda dice: dice.choice(["-", "+", "[a", "(m1", "[m1", "[m20", "(z", "abc", "[long"]),
    "p": lambda dice: dice.choice(["*", "m*", "k?", "m[1-3]", "nothing"]),
}

# (a|b) is one of them, [..] may be left out, {m}+ one or more of it; the letters are those of WORDS.
GRAMMAR = """
SET {k} {v} [(NX|XX)] [GET] [(EX {t}|PX 100000|PX -1|KEEPTTL|EXAT 9999999999)]
SETNX {k} {v} | SETEX {k} {t} {v} | PSETEX {k} 100000 {v} | GETSET {k} {v} | GETDEL {k} | GET {k} | STRLEN {k} | APPEND {k} {v}
GETEX {k} [(EX {t}|PERSIST|PXAT 9999999999000)] | MGET {k}+ | MSET {k} {v} {k} {v} | MSETNX {k} {v} {k} {v}
LCS {k} {k} [(LEN|IDX [MINMATCHLEN {i}] [WITHMATCHLEN])] | GETRANGE {k} {i} {i} | SUBSTR {k} {i} {i} | SETRANGE {k} {o} {v} | INCR {k} | DECR {k} | INCRBY {k} {i} | DECRBY {k} {i} | INCRBYFLOAT {k} {d}
SETBIT {k} {o} {b} | GETBIT {k} {o} | BITCOUNT {k} [{i} {i} [(BYTE|BIT)]] | BITPOS {k} {b} [{i} [{i}]] | BITOP (AND|OR|XOR|NOT) {k} {k}+
BITFIELD {k} [(GET u8 {o}|SET i5 {o} {i}|OVERFLOW (SAT|FAIL|WRAP) INCRBY u4 {o} {i})] | BITFIELD_RO {k} GET u16 {o}
DEL {k}+ | UNLINK {k} | EXISTS {k}+ | TOUCH {k}+ | TYPE {k} | OBJECT ENCODING {k} | DBSIZE | KEYS {p}
EXPIRE {k} {t} [(NX|XX)] | EXPIRE {k} {T} (GT|LT) | PEXPIRE {k} 100000 [(NX|XX)] | EXPIREAT {k} 9999999999 | TTL {k} | PTTL {k} | EXPIRETIME {k} | PERSIST {k}
RENAME {k} {k} | RENAMENX {k} {k} | COPY {k} {k} [REPLACE]
HSET {k} {f} {v} [{f} {v}] | HMSET {k} {f} {v} | HSETNX {k} {f} {v} | HGET {k} {f} | HMGET {k} {f}+ | HGETALL {k} | HDEL {k} {f}+ | HLEN {k}
HEXISTS {k} {f} | HSTRLEN {k} {f} | HINCRBY {k} {f} {i} | HINCRBYFLOAT {k} {f} {d} | HKEYS {k} | HVALS {k}
LPUSH {k} {m}+ | RPUSH {k} {m}+ | LPUSHX {k} {m} | RPUSHX {k} {m}+ | LPOP {k} [{i}] | RPOP {k} [{n}] | LLEN {k} | LRANGE {k} {i} {i} | LINDEX {k} {i}
LSET {k} {i} {m} | LINSERT {k} (BEFORE|AFTER) {m} {v} | LREM {k} {i} {m} | LTRIM {k} {i} {i} | LMOVE {k} {k} (LEFT|RIGHT) (LEFT|RIGHT) | RPOPLPUSH {k} {k}
LPOS {k} {m} [RANK {i}] [COUNT {i}] [MAXLEN {i}] | LMPOP 2 {k} {k} (LEFT|RIGHT) [COUNT {i}] | BLPOP {k} {k} 0.001 | BLMOVE {k} {k} LEFT RIGHT 0.001
SADD {k} {m}+ | SREM {k} {m}+ | SISMEMBER {k} {m} | SMISMEMBER {k} {m}+ | SCARD {k} | SMEMBERS {k} | SMOVE {k} {k} {m} | SPOP {k} 1000
SINTER {k}+ | SUNION {k}+ | SDIFF {k}+ | SINTERSTORE {k} {k}+ | SUNIONSTORE {k} {k}+ | SDIFFSTORE {k} {k}+ | SINTERCARD 2 {k} {k} [LIMIT {i}]
ZADD {k} [(NX|XX|GT|LT)] [CH] [INCR] {d} {m} | ZADD {k} {d} {m} {d} {m} {d} {m} | ZINCRBY {k} {d} {m} | ZREM {k} {m}+ | ZCARD {k} | ZSCORE {k} {m}
ZMSCORE {k} {m}+ | ZRANK {k} {m} | ZREVRANK {k} {m} | ZCOUNT {k} {r} {r} | ZLEXCOUNT {z} {x} {x} | ZADD {z} 0 {m} 0 {m} 0 {m} | ZPOPMIN {k} [{i}] | ZPOPMAX {k} [{n}]
ZRANGE {k} {i} {i} [REV] [WITHSCORES] | ZRANGE {k} {r} {r} BYSCORE [REV] [LIMIT {i} {i}] [WITHSCORES] | ZRANGE {z} {x} {x} BYLEX [REV] [LIMIT {i} {i}]
ZRANGESTORE {k} {k} {i} {i} | ZRANGEBYSCORE {k} {r} {r} [WITHSCORES] [LIMIT {i} {i}] | ZREVRANGEBYSCORE {k} {r} {r} | ZREVRANGE {k} {i} {i} [WITHSCORES]
ZREMRANGEBYRANK {k} {i} {i} | ZREMRANGEBYSCORE {k} {r} {r} | ZREMRANGEBYLEX {z} {x} {x} | ZMPOP 2 {k} {k} (MIN|MAX) [COUNT {i}] | BZPOPMIN {k} 0.001
ZUNION 2 {k} {k} [WEIGHTS {d} {d}] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES] | ZINTER 2 {k} {k} [WITHSCORES] | ZDIFF 2 {k} {k} [WITHSCORES]
ZUNIONSTORE {k} 2 {k} {k} [WEIGHTS {d} {d}] | ZINTERSTORE {k} 2 {k} {k} [AGGREGATE (SUM|MIN|MAX)] | ZDIFFSTORE {k} 2 {k} {k} | ZINTERCARD 2 {k} {k} [LIMIT {i}]
"""
TOKEN = re.compile(r"\{(\w)\}(\+?)|([()\[\]|])|([^\s()\[\]|{}]+)")


def parse(text):
    """A sequence of nodes: ("word", text), ("draw", letter, repeated), ("choice", [sequence, ...], optional)."""
    tokens = TOKEN.findall(text)
    at = 0

    def sequences(end):
        nonlocal at
        found = [[]]
        while at < len(tokens):
            letter, plus, mark, word = tokens[at]
            at += 1
            if mark and mark == end:
                return found
            if mark == "|":
                found.append([])
            elif mark:
                found[-1].append(("choice", sequences({"(": ")", "[": "]"}[mark]), mark == "["))
            elif letter:
                found[-1].append(("draw", letter, bool(plus)))
            else:
                found[-1].append(("word", word))
        assert end is None, text
        return found

    return sequences(None)


COMMANDS = [command for line in GRAMMAR.strip().splitlines() for command in parse(line)]


def grow(sequence, dice):
    words = []
    for kind, what, *flag in sequence:
        if kind == "word":
            words.append(what)
        elif kind == "draw":
            words += [WORDS[what](dice) for _ in range(dice.randrange(1, 5) if flag[0] else 1)]
        elif not flag[0] or dice.random() < 0.4:
            words += grow(dice.choice(what), dice)
    return words


def command(dice):
    words = grow(dice.choice(COMMANDS), dice)
    if dice.random() < 0.01 and len(words) > 2:
        words.pop()  # the arity is told as Redis tells it
    return words


def in_order(words):
    return words[0] not in {*UNORDERED, *NEAR, *WALKS, "HGETALL", "SPOP"}


def batch(dice):
    commands = [command(dice) for _ in range(50)]
    if dice.random() < 0.3:
        inside = [words for words in (command(dice) for _ in range(8)) if in_order(words)]
        commands += [["MULTI"], *inside, [dice.choice(["EXEC", "EXEC", "DISCARD"])]]
    return commands


def test_random_commands_of_all_types_answer_as_redis_does(pair):
    deadline, seed, told = time.monotonic() + SECONDS / 2, SEED, 0  # once for each protocol
    while time.monotonic() < deadline:
        dice, before = random.Random(seed), []
        pair.flush()
        for _ in range(8):
            commands = batch(dice)
            pair.compare(commands, before)
            before += commands
        told += len(before)
        seed += 1
    print(f"{told} commands, seeds {SEED} to {seed - 1}")
    assert told > 1000
