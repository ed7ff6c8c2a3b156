"""Plain sets are Redis 7.0's: the same commands to both, all replies equal but for the order of members."""

import random
import threading
import time

import pytest
from support.pair import story
from support.rawresp import RawResp, Set

EDGES = {
    "members": """
        SADD s a b c a | SADD s a | SCARD s | SISMEMBER s a | SISMEMBER s z | SMISMEMBER s a z b | SMEMBERS s | TYPE s | SADD s "" | SREM s ""
        SREM s a z | SREM s b c | EXISTS s | SREM s a | SCARD s | SMEMBERS s | SISMEMBER s a | SMISMEMBER s a b | SADD n 3 1 2 | SMEMBERS n
        OBJECT ENCODING n | SADD n 01 | OBJECT ENCODING n | SREM n 01 | OBJECT ENCODING n | SMEMBERS n | SET k v | SADD k a | SREM k a
        SCARD k | SISMEMBER k a | SMISMEMBER k a | SMEMBERS k | SRANDMEMBER k | SRANDMEMBER k 2 | SPOP k | SPOP k 2 | SSCAN k 0 | GET n
        HGET n f | SADD n | SADD | SREM n | SCARD | SCARD a b | SISMEMBER n | SISMEMBER n a b | SMISMEMBER n | SMEMBERS
        SADD t 1 | EXPIREAT t 4102444800 | SADD t x | EXPIRETIME t | SREM t x 1 | EXPIRETIME t | SADD t 1 | TTL t | SADD big -9223372036854775808
        SADD big 9223372036854775807 0 | SMEMBERS big | OBJECT ENCODING big | SADD big 9223372036854775808 | OBJECT ENCODING big | SCARD big
        SMISMEMBER big 9223372036854775808 -9223372036854775808 9223372036854775807 -0 00 | APPEND big x | TYPE big
    """,
    "moves": """
        SMOVE a b x | SADD a x y 1 | SMOVE a b z | EXISTS b | SMOVE a b x | SMEMBERS a | SMEMBERS b | SMOVE a a y | SMOVE a a z | SMOVE a b 1
        SMOVE a b y | EXISTS a | SMEMBERS b | SADD n 1 2 | SMOVE b n x | OBJECT ENCODING n | SMOVE b n 1 | SCARD b | SET k v | SMOVE k n a
        SMOVE n k 1 | SMOVE none k 1 | SMOVE k none 1 | SMOVE n k none | SMOVE n n k | SMOVE a b | SADD n2 5 | SMOVE n2 n3 5 | OBJECT ENCODING n3
        EXPIREAT n 4102444800 | SADD s q | SMOVE s n q | EXPIRETIME n | EXISTS s
    """,
    "several": """
        SADD a 1 2 3 x y | SADD b 2 3 4 y z | SADD c 3 y q | SINTER a | SINTER a b | SINTER a b c | SINTER a none | SINTER none | SINTER a a
        SUNION a b c | SUNION none a | SUNION none none2 | SUNION a a | SDIFF a b | SDIFF a b c | SDIFF none a | SDIFF a none | SDIFF a a
        SINTERSTORE d a b | SMEMBERS d | SUNIONSTORE d a b | SMEMBERS d | SDIFFSTORE d a b | SMEMBERS d | SINTERSTORE d none a | EXISTS d
        SUNIONSTORE d none | SDIFFSTORE d a a | SADD d 9 | SDIFFSTORE d a a | EXISTS d | SET k v | SINTER k | SINTER a k | SINTER none k | SINTER k none
        SUNION a k | SDIFF a k | SDIFF none k | SINTERSTORE d a k | SUNIONSTORE d k a | SDIFFSTORE d a k | SUNIONSTORE k a | TYPE k | SCARD k
        SUNIONSTORE a a b | SMEMBERS a | SETEX e 1000 v | SUNIONSTORE e a | TTL e | SADD i1 1 2 3 | SADD i2 2 3 4 | SINTERSTORE d i1 i2
        OBJECT ENCODING d | SUNIONSTORE d i1 i2 b | OBJECT ENCODING d | SINTER | SUNION | SDIFF | SINTERSTORE d | SUNIONSTORE d | SDIFFSTORE
    """,
    "cardinality of an intersection": """
        SADD a 1 2 3 x | SADD b 2 3 x | SINTERCARD 2 a b | SINTERCARD 2 a b LIMIT 2 | SINTERCARD 2 a b limit 0 | SINTERCARD 2 a b LIMIT 99
        SINTERCARD 2 a b LIMIT 1 LIMIT 2 | SINTERCARD 1 a | SINTERCARD 1 none | SINTERCARD 2 a none LIMIT 3 | SINTERCARD 0 a | SINTERCARD -1 a
        SINTERCARD x a | SINTERCARD 1.5 a | SINTERCARD 3 a b | SINTERCARD 1 a b | SINTERCARD 1 a LIMIT | SINTERCARD 1 a LIMIT -1 | SINTERCARD 1 a LIMIT x
        SINTERCARD 1 a FOO 1 | SINTERCARD 1 | SINTERCARD | SET k v | SINTERCARD 1 k | SINTERCARD 2 a k | SINTERCARD 2 none k
        SINTERCARD 9223372036854775807 a | SINTERCARD 9223372036854775808 a | SINTERCARD 2 a a
    """,
    "random members and scans": """
        SRANDMEMBER none | SRANDMEMBER none 2 | SRANDMEMBER none -2 | SPOP none | SPOP none 2 | SPOP none 0 | SADD s v | SRANDMEMBER s
        SRANDMEMBER s 1 | SRANDMEMBER s 5 | SRANDMEMBER s -3 | SRANDMEMBER s 0 | SRANDMEMBER s abc | SRANDMEMBER s 1 2 | SRANDMEMBER s 1.5
        SRANDMEMBER s 9223372036854775807 | SRANDMEMBER s -9223372036854775808 | SRANDMEMBER s 9223372036854775808 | SPOP s 0 | SPOP s -1 | SPOP s x
        SPOP s 1 2 | SPOP s 9223372036854775807 | EXISTS s | SADD s v | SPOP s 1 | EXISTS s | SADD s v | SPOP s | EXISTS s | SPOP s x | SPOP s -1
        SADD s 7 | SPOP s | SADD s 7 | SRANDMEMBER s -2 | SSCAN s 0 | SSCAN none 0 | SSCAN s abc | SSCAN none abc | SSCAN s 0 COUNT 0
        SSCAN none 0 COUNT 0 | SSCAN s 0 MATCH | SSCAN s 0 TYPE string | SSCAN s 0 FOO 1 | SSCAN s 0 COUNT abc | SSCAN s | SSCAN
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare(story(EDGES[edge]))


def test_a_set_of_numbers_is_an_intset_up_to_the_configured_number(pair):
    commands = []
    for n in (511, 512, 513):
        commands += [["SADD", f"s{n}", *range(n)], ["OBJECT", "ENCODING", f"s{n}"], ["SCARD", f"s{n}"]]
    commands += [["SUNIONSTORE", "u", "s511", "s512"], ["OBJECT", "ENCODING", "u"], ["SREM", "s513", 5], ["OBJECT", "ENCODING", "s513"]]
    pair.compare(commands)
    pair.compare([["CONFIG", "SET", "set-max-intset-entries", 3], ["SADD", "c", 1, 2, 3], ["OBJECT", "ENCODING", "c"]])
    pair.compare([["SADD", "c", 4], ["OBJECT", "ENCODING", "c"], ["SADD", "s511", 3], ["OBJECT", "ENCODING", "s511"]])
    pair.compare([["CONFIG", "SET", "set-max-intset-entries", 512]])


KEYS = [f"s{i}" for i in range(6)]
MEMBERS = [str(n) for n in (0, 1, -1, 7, 300, -40000, 70000, 2**40, -(2**63), 2**63 - 1, 2**63)] + [str(n) for n in range(20, 40)]
MEMBERS += ["", "a", "b", "word", "01", "+1", "1.0", b"\x00\xff", "x" * 64, "x" * 65]


def random_command(dice):
    key = lambda: dice.choice(KEYS)
    member = lambda: dice.choice(MEMBERS[:-10] if dice.random() < 0.6 else MEMBERS)
    some = lambda one, most=4: [one() for _ in range(dice.randint(1, most))]
    words = lambda n: [f"w{dice.randrange(200)}" for _ in range(n)]
    numbers = lambda n: [dice.randrange(-(2 ** dice.randrange(1, 63)), 1000) for _ in range(n)]
    kinds = [
        lambda: ["SADD", key(), *some(member, 8)],
        lambda: ["SADD", key(), *some(member, 8)],
        lambda: ["SADD", key(), *(words(60) if dice.random() < 0.5 else numbers(200))],
        lambda: ["SREM", key(), *some(member, 8)],
        lambda: ["SMOVE", key(), key(), member()],
        lambda: [dice.choice(["SISMEMBER"]), key(), member()],
        lambda: ["SMISMEMBER", key(), *some(member)],
        lambda: [dice.choice(["SMEMBERS", "SCARD", "TYPE"]), key()],
        lambda: ["OBJECT", "ENCODING", key()],
        lambda: [dice.choice(["SINTER", "SUNION", "SDIFF"]), *some(key)],
        lambda: [dice.choice(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), *some(key, 4), key()],
        lambda: ["SINTERCARD", dice.choice("1234"), *some(key), *dice.choice([[], [], ["LIMIT", dice.randrange(4)]])],
        lambda: ["DEL", *some(key, 2)],
        lambda: ["SET", key(), "v"] if dice.random() < 0.2 else ["SCARD", key()],
        lambda: ["SPOP", key(), 10**6],
    ]
    return dice.choice(kinds)()


def test_random_commands_answer_as_redis_does(pair):
    ends = time.monotonic() + 3
    seed = 0
    while time.monotonic() < ends or seed < 3:
        dice = random.Random(seed)
        pair.flush()
        pair.compare([random_command(dice) for _ in range(600)])
        seed += 1


def walk(raw, *command):
    members, calls, cursor = [], 0, b"0"
    while True:
        cursor, part = raw.call(*command[:2], cursor, *command[2:])
        members += part
        calls += 1
        if cursor == b"0":
            return members, calls


FORMS = {
    "numbers": [str(n * n).encode() for n in range(300)],
    "words": [f"w{n}".encode() for n in range(100)],
    "table": [f"member {n}".encode() for n in range(3000)],
}


@pytest.mark.parametrize("form", FORMS)
def test_scans_pops_and_draws_of_each_form(pair, form):
    ours, members = pair.freshet, FORMS[form]
    ours.call("SADD", "s", *members)
    found, calls = walk(ours, "SSCAN", "s", "COUNT", 50)
    assert sorted(found) == sorted(members)
    assert (calls > 1) == (form == "table")
    wanted = [m for m in members if b"1" in m]
    assert sorted(walk(ours, "SSCAN", "s", "MATCH", "*1*")[0]) == sorted(wanted)
    for n in (1, 5, len(members) // 2, len(members) - 1, len(members), len(members) + 5):
        drawn = ours.call("SRANDMEMBER", "s", n)
        assert len(drawn) == len(set(drawn)) == min(n, len(members)) and set(drawn) <= set(members)
    repeated = ours.call("SRANDMEMBER", "s", -2 * len(members))
    assert len(repeated) == 2 * len(members) and set(repeated) <= set(members)
    popped = [ours.call("SPOP", "s") for _ in range(10)] + ours.call("SPOP", "s", 30)
    left = ours.call("SMEMBERS", "s")
    assert sorted([*popped, *left]) == sorted(members)
    rest = ours.call("SPOP", "s", len(members))
    assert sorted(rest) == sorted(left) and ours.call("EXISTS", "s") == 0


def test_what_resp3_calls_a_set_is_one(pair):
    replies = []
    for raw in (pair.redis, pair.freshet):
        raw.calls([["SADD", "a", "1"], ["SADD", "b", "1", "2"]])
        kinds = [["SMEMBERS", "a"], ["SINTER", "a", "b"], ["SUNION", "none"], ["SDIFF", "b", "a"], ["SRANDMEMBER", "a", 1], ["SPOP", "b", 0]]
        replies.append([isinstance(reply, Set) for reply in raw.calls([*kinds, ["SPOP", "b", 1], ["SPOP", "a", 1]])])
    assert replies[0] == replies[1]


def test_a_few_words_never_ask_for_an_endless_reply(freshet):
    raw = RawResp(freshet(None, {"cache": {"read_through": False}}).port)
    big = "x" * (8 * 1024 * 1024)
    raw.calls([["SADD", "s", big], ["HSET", "h", "f", big], ["ZADD", "z", 1, big]])
    for command in (["SRANDMEMBER", "s", -1000000], ["HRANDFIELD", "h", -1000000, "WITHVALUES"], ["ZRANDMEMBER", "z", -1000000]):
        assert raw.call(*command).text.startswith("ERR the reply would be longer than"), command
    raw.close()


def test_commands_on_several_sets_are_seen_whole(freshet):
    """Members move between three sets, small and big, under four workers; whoever looks at all three sees each member once."""
    busy = freshet(None, {"cache": {"read_through": False, "workers": 4}})
    members = [f"m{n}" for n in range(300)]
    keys = ["a", "b", "c"]
    raw = RawResp(busy.port)
    raw.calls([["SADD", "a", *members], ["SADD", "b", "only b"], ["SADD", "c", "only c"]])
    failures = []

    def move(i):
        mover, dice = RawResp(busy.port), random.Random(i)
        for _ in range(60):
            mover.calls([["SMOVE", *dice.sample(keys, 2), dice.choice(members)] for _ in range(30)])
        mover.close()

    def look(_):
        looker = RawResp(busy.port)
        for _ in range(60):
            union, a_b, stored = looker.calls([["SUNION", *keys], ["SINTERCARD", 2, "a", "b"], ["SUNIONSTORE", "u", *keys]])
            if (len(union), a_b, stored) != (302, 0, 302):
                failures.append((len(union), a_b, stored))
        looker.close()

    threads = [threading.Thread(target=move if i < 4 else look, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sum(raw.call("SCARD", key) for key in keys) == 302
    raw.close()
