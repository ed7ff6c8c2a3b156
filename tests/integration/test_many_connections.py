"""Redis as the model for what connections do to one another: near caches, blocked clients, watched keys, messages, notifications.

    FRESHET_CONNECTIONS_SECONDS=600 FRESHET_CONNECTIONS_SEED=7 build/venv/bin/python -m pytest tests/integration/test_many_connections.py

Five connections to each of two servers, a random command on a random one of them, and whatever comes on any connection is the same.
"""

import os
import random
import select
import socket
import time

import pytest

from support.rawresp import RawResp, encode
from support.waiting import PATIENCE

SECONDS = float(os.environ.get("FRESHET_CONNECTIONS_SECONDS", "5"))
SEED = int(os.environ.get("FRESHET_CONNECTIONS_SEED", "1"))
NAMES = "ABCDE"
STEPS = 120

KEYS = ["a1", "a2", "b1", "b2", "ab", "c"]
WRITES = """
SET {k} {n} | SET {k} v GET | SET {k} v NX | SET {k} v XX GET | SETNX {k} 1 | MSET {k} 1 {k} 2 | MSETNX {k} 1 {k} 2 | GETDEL {k} | GETEX {k} EX 100
GETEX {k} PERSIST | APPEND {k} x | SETRANGE {k} 1 '' | SETBIT {k} 3 1 | BITOP AND {k} {k} {k} | BITFIELD {k} SET u8 0 1 | INCR n | DECRBY n 0 | INCRBYFLOAT n 0
DEL {k} {k} | UNLINK {k} | RENAME {k} {k} | COPY {k} {k} REPLACE | EXPIRE {k} 100 | EXPIRE {k} 0 | EXPIRE {k} -1 | EXPIREAT {k} 1 | PERSIST {k}
HSET h f {n} | HSETNX h f 1 | HDEL h f | HINCRBY h n 1 | LPUSH l x | LPOP l | LSET l 0 y | LTRIM l 0 1 | LREM l 0 q | LINSERT l BEFORE x w | LMOVE l l LEFT LEFT
RPOPLPUSH l l2 | LMPOP 1 l LEFT | SORT l ALPHA STORE l2 | SADD s {n} | SREM s {n} | SMOVE s s2 1 | SPOP s 10 | SINTERSTORE s2 s s | SDIFFSTORE s2 s none | SUNIONSTORE s2 none
ZADD z {n} m | ZADD z NX 1 m | ZADD z INCR 1 m | ZINCRBY z 0 m | ZREM z m | ZPOPMIN z | ZREMRANGEBYRANK z 0 0 | ZUNIONSTORE z2 1 z | ZRANGESTORE z2 z 0 -1
"""
READS = """
GET {k} | MGET {k} {k} | STRLEN {k} | GETRANGE {k} 0 1 | BITCOUNT {k} | BITFIELD {k} GET u8 0 | BITFIELD_RO {k} GET u8 0 | EXISTS {k} l | TYPE {k} | TTL none | TOUCH {k} | DBSIZE
OBJECT ENCODING {k} | HGETALL h | HGET h f | LRANGE l 0 -1 | LLEN l | LPOS l x | SORT_RO l ALPHA | SMEMBERS s2 | SCARD s | SINTERCARD 2 s s2 | ZRANGE z 0 -1 | ZCARD z
ZUNION 2 z z2 | DUMP none | LCS none none2
"""
QUEUES = "MULTI | MULTI | EXEC | EXEC | EXEC | DISCARD | WATCH {k} h | WATCH {k} l s z none | UNWATCH"
TRACKS = """
CLIENT TRACKING on {t} | CLIENT TRACKING on {t} | CLIENT TRACKING on {t} | CLIENT TRACKING on | CLIENT TRACKING off | CLIENT CACHING yes | CLIENT CACHING no
CLIENT TRACKINGINFO | RESET | FLUSHALL | SUBSCRIBE __redis__:invalidate | UNSUBSCRIBE __redis__:invalidate
"""
# fmt: off
TRACKING_WORDS = [  # one prefix at most: Redis 7.0 answers twice where later ones overlap
    "", "NOLOOP", "OPTIN", "OPTIN NOLOOP", "OPTOUT", "BCAST", "BCAST PREFIX a", "BCAST NOLOOP PREFIX ab", "BCAST PREFIX ''", "PREFIX b", "REDIRECT {c}", "REDIRECT {c}",
    "REDIRECT {c} BCAST PREFIX b", "REDIRECT {c} NOLOOP", "REDIRECT {c} OPTIN", "REDIRECT {c} REDIRECT {c}", "REDIRECT 0", "BCAST OPTIN", "OPTIN OPTOUT", "XX",
]
# fmt: on
BLOCKS = """
BLPOP {l} {l} {w} | BRPOP {l} {w} | BLMOVE {l} {l} LEFT RIGHT {w} | BRPOPLPUSH {l} {l} {w} | BLMPOP {w} 2 {l} {l} LEFT COUNT 2 | BLMPOP {w} 1 {l} UP | BZPOPMIN {s} {s} {w}
BZPOPMAX {s} {w} | BZMPOP {w} 2 {s} {s} MIN | BZMPOP {w} 1 {s} MAX COUNT 2
"""
SERVES = """
LPUSH {l} a b | LPUSH {l} a | RPUSH {l} x | LPUSHX l1 p | LINSERT l1 BEFORE a w | ZADD {s} 1 m | ZADD {s} 1 m 2 o | ZINCRBY z1 1 q | DEL {l} {s} | SET {l} v | EXPIRE {l} 0
LMOVE {l} {l} LEFT LEFT | RPOPLPUSH l1 l2 | LPOP l1 | LMPOP 1 l1 LEFT | ZPOPMIN z1 | LRANGE {l} 0 -1 | FLUSHALL | CLIENT UNBLOCK {c} | CLIENT UNBLOCK {c} ERROR | CLIENT UNBLOCK {c} TIMEOUT
RESET | MULTI | EXEC | EXEC | CONFIG GET maxmemory-samples | CLIENT UNBLOCK 999999
"""
TELLS = """
PUBLISH {h} m | PUBLISH {h} m | PUBLISH {h} m | SPUBLISH {h} m | SPUBLISH {h} m
SUBSCRIBE {h} {h} | PSUBSCRIBE c* | SSUBSCRIBE {h} | UNSUBSCRIBE {h} | PUNSUBSCRIBE c* x | SUNSUBSCRIBE {h} | PUBSUB NUMSUB {h} {h} | PUBSUB NUMPAT | PUBSUB SHARDNUMSUB {h}
PUBSUB CHANNELS none* | PING | PING x | GET k | SET k 1 | RESET | EXEC | WATCH k | CLIENT NOSUCH | NOSUCH
"""


def commands(*texts):
    return [command.split() for text in texts for command in text.replace("\n", "|").split("|") if command.strip()]


STORIES = {
    "near caches": commands(TRACKS, READS, WRITES, "MULTI | EXEC"),
    "blocked": commands(BLOCKS, SERVES, SERVES),
    "watched": commands(QUEUES, QUEUES, READS, WRITES),
    "messages": commands(TELLS),
    "notifications": commands(WRITES, WRITES, READS, "MULTI | EXEC | FLUSHALL"),
}


def parse(data, at):
    """The reply at data[at] and where it ends; None while it is not all there. Sets and maps come in an order of their own."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, rest, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in b"$=!" and int(rest) >= 0:
        end = at + int(rest)
        return ((kind, data[at:end]), end + 2) if len(data) >= end + 2 else None
    if kind not in b"*~>%" or int(rest) < 0:
        return (kind, rest), at
    items = []
    for _ in range(int(rest) * (2 if kind == b"%" else 1)):
        item = parse(data, at)
        if item is None:
            return None
        items.append(item[0])
        at = item[1]
    if kind == b"%":
        items = list(zip(items[::2], items[1::2]))
    return (kind, sorted(items, key=repr) if kind in b"~%" else items), at


def is_push(reply):
    kind, value = reply
    words = ("message", "pmessage", "smessage")
    return kind == b">" and value[0][1].endswith((b"message", b"invalidate")) or kind == b"*" and value[:1] in [[(b"$", word.encode())] for word in words]


class Side:
    """One server with its connections. `came`: all that has come on each, replies and pushes apart: what a client tells itself comes before
    its reply in Redis 7.0, behind it in newer ones."""

    def __init__(self, port, protocols):
        self.control = RawResp(port)
        self.control.call("FLUSHALL")
        self.sockets, self.came, self.rest = {}, {name: ([], []) for name in NAMES}, dict.fromkeys(NAMES, b"")
        for name in NAMES:
            self.sockets[name] = socket.create_connection(("127.0.0.1", port))
            self.sockets[name].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ids = {}
        for name in NAMES:
            self.ids[name] = self.ask(name, "CLIENT", "ID")[1].decode()
            if protocols[name] == 3:
                self.ask(name, "HELLO", "3")

    def ask(self, name, *words):
        self.send(name, words)
        deadline = time.monotonic() + 10 * PATIENCE
        while not self.came[name][0]:
            assert time.monotonic() < deadline, words
            self.pump(0.1)
        return self.came[name][0].pop()

    def send(self, name, words):
        self.sockets[name].sendall(encode(*(self.ids[word[1]] if word[:1] == "@" else word for word in words)))

    def pump(self, timeout):
        by_socket = {self.sockets[name]: name for name in NAMES}
        for ready in select.select(list(by_socket), [], [], timeout)[0]:
            name = by_socket[ready]
            data = self.rest[name] + ready.recv(1 << 20)
            at = 0
            while at < len(data) and (reply := parse(data, at)):
                self.came[name][is_push(reply[0])].append(self.plain(reply[0]))
                at = reply[1]
            self.rest[name] = data[at:]

    def plain(self, reply):
        """Without the ids, which are the server's own: TRACKINGINFO's redirect."""
        kind, value = reply
        if not isinstance(value, list):
            return reply
        if is_push(reply):  # in Redis 7.0 FLUSHALL is told with the null of the client that has redirected, whatever that one speaks
            value = [(b"_", b"") if item == (b"$", b"-1") else item for item in value]
        pairs = value if kind == b"%" else list(zip(value, value[1:]))
        redirect = next((pair[1] for pair in pairs if pair[0] == (b"$", b"redirect")), None)
        return repr(reply).replace(repr(redirect), "an id") if redirect else (kind, [self.plain(item) if isinstance(item[0], bytes) else item for item in value])

    def is_blocked(self, name):
        line = self.control.call("CLIENT", "LIST", "ID", self.ids[name])
        return b" flags=b" in line or b" flags=xb" in line

    def close(self):
        self.control.close()
        for one in self.sockets.values():
            one.close()


def draw(dice, story):
    words = {
        "{k}": lambda: dice.choice(KEYS), "{n}": lambda: str(dice.randrange(4)), "{l}": lambda: dice.choice(["l1", "l2", "l1", "l2", "str", "z1"]),
        "{s}": lambda: dice.choice(["z1", "z2", "z1", "z2", "str", "l1"]), "{c}": lambda: "@" + dice.choice(NAMES), "{h}": lambda: dice.choice(["ch", "c1", "x", ""]),
        "{w}": lambda: dice.choice(["0", "0", "0", "100", "0.0", "1e9", "inf", "-1", "nan", "x", "0x10", "1e300"]),
    }  # fmt: skip
    template = dice.choice(story)
    if "{t}" in template:
        template = [word for part in template for word in (dice.choice(TRACKING_WORDS) if part == "{t}" else part).split()]
    return ["" if word == "''" else words[word]() if word in words else word for word in template]


def play(ports, story, seed):
    dice = random.Random(f"{story} {seed}")
    protocols = {name: dice.choice([2, 3, 3]) for name in NAMES}
    sides = [Side(port, protocols) for port in ports]
    told = []
    try:
        for side in sides:
            side.control.call("CONFIG", "SET", "notify-keyspace-events", "KEA" if story == "notifications" else "")
        if story == "notifications":
            step(sides, "E", ["PSUBSCRIBE", "__key*__:*"], told)
        names = NAMES[:-1] if story == "notifications" else NAMES
        waiting = set()
        for _ in range(STEPS):
            waiting = {name for name in waiting if all(side.is_blocked(name) for side in sides)}
            name = dice.choice([name for name in names if name not in waiting] or ["A"])
            if name in waiting:
                break
            words = draw(dice, STORIES[story])
            told.append(f"{name}: {' '.join(words)}")
            step(sides, name, words, told)
            if words[0].startswith("B") and all(side.is_blocked(name) for side in sides):
                waiting.add(name)
        return len(told)
    finally:
        for side in sides:
            side.control.call("CONFIG", "SET", "notify-keyspace-events", "")
            side.close()


def step(sides, name, words, told):
    """Until both have answered, or have blocked the client, and all that has come is the same."""
    counts = [len(side.came[name][0]) for side in sides]
    for side in sides:
        side.send(name, words)
    deadline = time.monotonic() + 10 * PATIENCE
    while time.monotonic() < deadline:
        for side in sides:
            side.pump(0.001)
        is_answered = all(len(side.came[name][0]) > n or side.is_blocked(name) for side, n in zip(sides, counts))
        if is_answered and sides[0].came == sides[1].came:
            return
    theirs, ours = sides[0].came, sides[1].came
    different = [f"{one}: redis   {theirs[one][at][-3:]}\n   freshet {ours[one][at][-3:]}" for one in NAMES for at in (0, 1) if theirs[one][at] != ours[one][at]]
    raise AssertionError("\n    ".join(["", *told[-40:]]) + "\n" + "\n".join(different))


@pytest.mark.parametrize("story", STORIES)
def test_what_connections_do_to_one_another_is_what_they_do_in_redis(redis_server, plain, story):
    ports = [redis_server.connection_pool.connection_kwargs["port"], plain.port]
    deadline, seed, steps = time.monotonic() + SECONDS / len(STORIES), SEED, 0
    while time.monotonic() < deadline:
        steps += play(ports, story, seed)
        seed += 1
    print(f"{steps} steps, seeds {SEED} to {seed - 1}")
    assert steps >= STEPS // 2
