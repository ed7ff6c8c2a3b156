"""Redis and Freshet side by side: the same commands to both, all replies equal.

    pair.compare([["SET", "k", "v"], ["GET", "k"]])        fails with the commands that led to the first difference
    pair.compare(story("SET k v | GET k"))
"""

import shlex

from support.rawresp import Error, Map, RawResp


def story(text):
    """Commands from a text: one after the other between bars and ends of lines, their words quoted as a shell has it."""
    return [shlex.split(part) for line in text.strip().splitlines() for part in line.split("|") if part.strip()]


class Pair:
    """One connection to each of the two servers."""

    def __init__(self, redis_port, freshet_port, protocol):
        self.redis = RawResp(redis_port, protocol)
        self.freshet = RawResp(freshet_port, protocol)

    def flush(self):
        self.redis.call("FLUSHALL")
        self.freshet.call("FLUSHALL")

    def compare(self, commands, story=()):
        theirs, ours = self.redis.calls(commands), self.freshet.calls(commands)
        for n, (command, their, our) in enumerate(zip(commands, theirs, ours)):
            if not same(command, their, our):
                told = "\n".join(f"    {shorten(c)}" for c in [*story, *commands[:n]][-40:])
                raise AssertionError(f"{told}\n--> {shorten(command)}\nredis:   {repr(their)[:400]}\nfreshet: {repr(our)[:400]}")

    def close(self):
        self.redis.close()
        self.freshet.close()


def shorten(command):
    return " ".join(repr(word) if len(str(word)) < 60 else f"{str(word)[:40]!r}...({len(word)})" for word in command)


def pairs_of(reply):
    return sorted(reply) if isinstance(reply, Map) else sorted(zip(reply[::2], reply[1::2]))


# Where the order, or the very time, is the server's to choose.
UNORDERED = {"KEYS", "HKEYS", "HVALS", "SMEMBERS", "SINTER", "SUNION", "SDIFF"}
NEAR = {"TTL": 1, "PTTL": 2000, "EXPIRETIME": 2, "PEXPIRETIME": 2000}
WALKS = {"SCAN", "HSCAN", "SSCAN", "ZSCAN"}  # they have tests of their own


def same(command, their, our):
    name = str(command[0]).upper()
    if type(their) is not type(our):
        return False
    if isinstance(their, Error):
        return their == our
    if name in UNORDERED or name == "SPOP" and isinstance(their, list):
        return sorted(their) == sorted(our)
    if name == "HGETALL":
        return pairs_of(their) == pairs_of(our)
    if name in NEAR:
        return abs(their - our) <= NEAR[name] and (their < 0) == (our < 0)
    if name in WALKS:
        return len(their) == 2 and len(our) == 2
    return their == our
