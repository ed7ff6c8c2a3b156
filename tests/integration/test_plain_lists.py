"""Lists of plain keys are Redis 7.0's, and so are clients that wait for them."""

import os
import random
import threading
import time

import pytest
from support.pair import story
from support.rawresp import Error, RawResp
from support.waiting import wait_until

EDGES = {
    "pushes and pops": """
        RPUSH l a b c | LPUSH l x y | LRANGE l 0 -1 | LPUSH l | RPUSH | LPUSHX none a | RPUSHX none a b | EXISTS none | LPUSHX l p q
        RPUSHX l r | LLEN l | LLEN none | LPOP l | RPOP l | LPOP l 2 | RPOP l 2 | LPOP l 0 | LPOP none | LPOP none 2 | LPOP none 0
        RPOP l -1 | RPOP l x | RPOP l 1.5 | RPOP none -1 | RPOP l 1 2 | RPOP none 1 2 | LPOP l 9223372036854775808 | LPOP l 100 | EXISTS l
        SET s v | LPUSH s a | RPUSHX s a | LPOP s | LPOP s 1 | LPOP s 0 | LPOP s x | LLEN s | GET s | RPUSH l "" | LRANGE l 0 -1 | GET l
        APPEND l x | INCR l | HGET l f | TYPE l | OBJECT ENCODING l | EXPIREAT l 4102444800 | RPUSH l b | EXPIRETIME l | LPOP l
        EXPIRETIME l | LPOP l | EXISTS l | RPUSH l b | TTL l | SET l v | TYPE l | LLEN | LPOP | RPOP | LPUSHX l | LLEN a b
    """,
    "ranges and indexes": """
        RPUSH l a b c d e | LRANGE l 0 0 | LRANGE l 1 3 | LRANGE l -2 -1 | LRANGE l -100 100 | LRANGE l 3 1 | LRANGE l 5 9 | LRANGE l -9 -7
        LRANGE l a 1 | LRANGE l 1 b | LRANGE none a 1 | LRANGE none 0 -1 | LRANGE l 0 -9223372036854775808 | LRANGE l 0 9223372036854775807
        LINDEX l 0 | LINDEX l 4 | LINDEX l 5 | LINDEX l -1 | LINDEX l -5 | LINDEX l -6 | LINDEX l x | LINDEX none x | LINDEX none 0
        LINDEX l -9223372036854775808 | LINDEX l 9223372036854775807 | LSET l 0 A | LSET l -1 E | LSET l 5 x | LSET l -6 x | LSET l y x
        LSET none 0 x | LSET none y x | LRANGE l 0 -1 | LSET l 2 "" | LRANGE l 0 -1 | SET s v | LRANGE s 0 1 | LRANGE s a 1 | LINDEX s 0
        LINDEX s x | LSET s 0 x | LSET s x x | LRANGE l | LINDEX l | LSET l 0 | LRANGE l 0 1 2
    """,
    "in the middle": """
        RPUSH l a b c b d | LINSERT l BEFORE b x | LINSERT l after b y | LINSERT l BEFORE none z | LINSERT none BEFORE a b | LINSERT l MIDDLE a b
        LINSERT none MIDDLE a b | LINSERT l AFTER d end | LINSERT l before a start | LRANGE l 0 -1 | SET s v | LINSERT s BEFORE a b
        LREM l 0 none | LREM l 1 b | LREM l -1 b | LRANGE l 0 -1 | RPUSH m a b a b a b a | LREM m -2 a | LRANGE m 0 -1 | LREM m 2 b | LRANGE m 0 -1
        LREM m 0 a | LRANGE m 0 -1 | LREM m 0 b | EXISTS m | LREM none 0 a | LREM none x a | LREM l x a | LREM s 0 a | LREM s x a
        RPUSH t 1 2 3 4 5 6 | LTRIM t 1 -2 | LRANGE t 0 -1 | LTRIM t 0 100 | LTRIM t -3 1 | LRANGE t 0 -1 | LTRIM t -100 -2 | LRANGE t 0 -1
        LTRIM t 5 9 | EXISTS t | LTRIM none 0 1 | LTRIM none a 1 | LTRIM l 2 1 | EXISTS l | LTRIM s 0 1 | LTRIM s a 1 | RPUSH t 1 2 | LTRIM t 0 -3
        EXISTS t | LINSERT | LREM | LTRIM l 1 | RPUSH e a a a | LREM e -9223372036854775808 a | EXISTS e
    """,
    "lpos": """
        RPUSH l a b c 1 2 3 c c | LPOS l a | LPOS l c | LPOS l none | LPOS none a | LPOS none a COUNT 1 | LPOS l c RANK 2 | LPOS l c RANK -1
        LPOS l c RANK -3 | LPOS l c RANK 4 | LPOS l c COUNT 0 | LPOS l c COUNT 2 | LPOS l c COUNT 2 RANK 2 | LPOS l c COUNT 0 RANK -2
        LPOS l c COUNT 0 RANK -1 | LPOS l c RANK 0 | LPOS l c COUNT -1 | LPOS l c COUNT x | LPOS l c RANK x | LPOS l c MAXLEN -1
        LPOS l c MAXLEN 2 | LPOS l c MAXLEN 3 | LPOS l c MAXLEN 3 RANK -1 | LPOS l c COUNT 0 MAXLEN 7 | LPOS l c COUNT 0 MAXLEN 1 RANK -1
        LPOS l none COUNT 2 | LPOS l c FOO 1 | LPOS l c RANK | LPOS l c COUNT | SET s v | LPOS s a | LPOS s a COUNT 0 | LPOS s a RANK 0
        LPOS l c MAXLEN 0 | LPOS l c rank 1 count 1 maxlen 100 | LPOS l c RANK -9223372036854775808 | LPOS l | LPOS
        LPOS none a RANK 0 | LPOS none a FOO
    """,
    "moves": """
        RPUSH a 1 2 3 4 | LMOVE a b LEFT RIGHT | LMOVE a b right left | LMOVE a b LEFT LEFT | LMOVE a b RIGHT RIGHT | EXISTS a | LRANGE b 0 -1
        LMOVE none b LEFT LEFT | LMOVE b b LEFT RIGHT | LMOVE b b RIGHT LEFT | LMOVE b b LEFT LEFT | LRANGE b 0 -1 | LMOVE b c UP LEFT
        LMOVE b c LEFT DOWN | LMOVE none c UP LEFT | RPOPLPUSH b c | RPOPLPUSH b b | RPOPLPUSH none c | LRANGE b 0 -1 | LRANGE c 0 -1 | SET s v
        LMOVE b s LEFT LEFT | LMOVE s b LEFT LEFT | LMOVE none s LEFT LEFT | RPOPLPUSH b s | RPOPLPUSH s b | LRANGE b 0 -1 | LMOVE b c LEFT
        RPOPLPUSH b | RPUSH one x | LMOVE one one LEFT RIGHT | LRANGE one 0 -1 | EXPIREAT one 4102444800 | RPOPLPUSH one one | EXPIRETIME one
        LMOVE one two LEFT LEFT | TTL two
    """,
    "lmpop": """
        RPUSH a 1 2 3 | RPUSH b 4 5 6 | LMPOP 1 a LEFT | LMPOP 2 none a RIGHT COUNT 5 | LMPOP 2 none b left count 2 | LMPOP 2 none a LEFT
        LMPOP 1 b LEFT COUNT 0 | LMPOP 1 b LEFT COUNT -1 | LMPOP 1 b LEFT COUNT x | LMPOP 0 b LEFT | LMPOP -1 b LEFT | LMPOP x b LEFT
        LMPOP 2 b LEFT | LMPOP 1 b UP | LMPOP 1 b LEFT COUNT | LMPOP 1 b LEFT FOO 1 | LMPOP 1 b LEFT COUNT 1 COUNT 2 | LMPOP 1 b LEFT COUNT 1 x
        LMPOP 9223372036854775807 b LEFT | LMPOP 1 b | LMPOP 1 | SET s v | LMPOP 2 s b LEFT | LMPOP 2 none s LEFT | LMPOP 2 b s LEFT COUNT 10
        EXISTS b
    """,
    "what does not need to wait": """
        RPUSH l a b c d e f | BLPOP l 0 | BRPOP none l 1 | BLMPOP 1 1 l LEFT COUNT 2 | BLMOVE l m LEFT RIGHT 0 | BRPOPLPUSH l m 0 | EXISTS l
        LRANGE m 0 -1 | SET s v | BLPOP s 1 | BLPOP none s 0 | BLPOP m s 0 | BLMOVE s m LEFT LEFT 0 | BLMOVE m s LEFT LEFT 0 | BRPOPLPUSH m s 0
        BLMPOP 0 2 none s LEFT | BLPOP m -1 | BLPOP m x | BLPOP m "" | BLPOP m nan | BLPOP m 1e400 | BLPOP m -0.001 | BRPOP m inf | BLPOP none -inf
        BLMOVE m n LEFT LEFT x | BLMOVE m n UP LEFT -1 | BLMOVE m n LEFT LEFT -1 | BRPOPLPUSH m n -1 | BLMPOP x 1 m LEFT | BLMPOP -1 1 m LEFT
        BLMPOP 0 0 m LEFT | BLMPOP -1 0 m LEFT | BLMPOP x 1 m UP | BLMPOP 0 1 m LEFT COUNT 0 | BLMPOP 0 2 m LEFT | BLMPOP 0 1 m LEFT FOO
        BLPOP none 0.01 | BRPOP none none 0.01 | BLMOVE none m LEFT LEFT 0.01 | BRPOPLPUSH none m 0.01 | BLMPOP 0.01 2 none none2 RIGHT
        BLPOP none 0.0001 | BLPOP | BLPOP l | BLMOVE l m LEFT LEFT | BLMPOP 0 1 l | LRANGE m 0 -1
        MULTI | BLPOP none 0 | BRPOPLPUSH none m 0 | BLMOVE none m LEFT LEFT 0 | BLMPOP 0 1 none LEFT | BLPOP s 0 | BLPOP m 0 | EXEC
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare(story(EDGES[edge]))


KEYS = ["l1", "l2", "l3", "l4"]
WORDS = ["", "a", "b", "1", "12345", "x" * 60, "y" * 200, b"\x00\xff\r\n"]


def random_command(dice, large):
    key = lambda: dice.choice(KEYS)
    word = lambda: dice.choice(WORDS + (["z" * 5000, "q" * 3000] if large else []))
    words = lambda most: [word() for _ in range(dice.randint(1, most))]
    place = lambda: dice.choice([0, 1, -1, 2, 7, -5, 30, -40, 200, -300, "x"])
    end = lambda: dice.choice(["LEFT", "RIGHT"])
    kinds = [
        lambda: [dice.choice(["LPUSH", "RPUSH"]), key(), *words(40 if large else 5)],
        lambda: [dice.choice(["LPUSH", "RPUSH"]), key(), *words(5)],
        lambda: [dice.choice(["LPUSHX", "RPUSHX"]), key(), *words(3)],
        lambda: [dice.choice(["LPOP", "RPOP"]), key(), *dice.choice([[], [], ["3"], ["0"], ["50"]])],
        lambda: ["LLEN", key()],
        lambda: ["LRANGE", key(), place(), place()],
        lambda: ["LINDEX", key(), place()],
        lambda: ["LSET", key(), place(), word()],
        lambda: ["LINSERT", key(), dice.choice(["BEFORE", "AFTER"]), word(), word()],
        lambda: ["LREM", key(), dice.choice([0, 1, 2, -1, -3, 10]), word()],
        lambda: ["LTRIM", key(), dice.choice([0, 0, 1, 3, -50]), dice.choice([-1, -1, -2, -4, 40, 300])],
        lambda: ["LPOS", key(), word(), *dice.choice([[], ["RANK", -1], ["COUNT", 0], ["COUNT", 0, "RANK", -2, "MAXLEN", 20]])],
        lambda: ["LMOVE", key(), key(), end(), end()],
        lambda: ["RPOPLPUSH", key(), key()],
        lambda: ["LMPOP", 2, key(), key(), end(), "COUNT", dice.choice([1, 4])],
        lambda: ["BLPOP", key(), key(), 0.001],
        lambda: [dice.choice(["TYPE", "EXISTS"]), key()],
        lambda: ["OBJECT", "ENCODING", key()],
        lambda: ["DEL", key()] if dice.random() < 0.3 else ["LLEN", key()],
        lambda: ["SET", key(), "v"] if dice.random() < 0.2 else ["LLEN", key()],
    ]
    return dice.choice(kinds)()


SECONDS_OF_RANDOM = float(os.environ.get("FRESHET_TEST_LISTS_SECONDS", 3))  # for each of the two sizes, and protocol


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_random_commands_answer_as_redis_does(pair, large):
    ends = time.monotonic() + SECONDS_OF_RANDOM
    seed = 0
    while time.monotonic() < ends or seed < 2:
        dice = random.Random(seed)
        pair.flush()
        told = []
        for _ in range(4):
            commands = [random_command(dice, large) for _ in range(150)]
            try:
                pair.compare(commands, told)
            except AssertionError as failure:
                raise AssertionError(f"seed {seed}\n{failure}") from None
            told += commands
        pair.compare([["LRANGE", key, 0, -1] for key in KEYS if pair.redis.call("TYPE", key).text == "list"])
        seed += 1


# --- clients that wait ---


@pytest.fixture
def clients(plain, pair):
    """Connections to Freshet: clients() is another one."""
    made = []

    def connect():
        made.append(RawResp(plain.port))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def blocked(raw, n):
    def count():
        told = raw.call("INFO", "clients")
        told = getattr(told, "data", told)
        return next(int(line.split(b":")[1]) for line in told.splitlines() if line.startswith(b"blocked_clients:"))

    wait_until(lambda: count() == n, 10, f"{n} clients are blocked")


def waiting(pair, clients, *commands):
    """One client for each of the commands, blocked in this order."""
    made = []
    for n, command in enumerate(commands):
        made.append(clients())
        made[-1].send(*command)
        blocked(pair.freshet, n + 1)
    return made


def test_a_blocked_pop_is_served_by_whatever_makes_the_list(pair, clients):
    makers = {
        "LPUSH": [["LPUSH", "l", "a"]],
        "RPUSH": [["RPUSH", "l", "a"]],
        "LMOVE": [["RPUSH", "m", "a"], ["LMOVE", "m", "l", "LEFT", "LEFT"]],
        "RPOPLPUSH": [["RPUSH", "m", "a"], ["RPOPLPUSH", "m", "l"]],
        "RENAME": [["RPUSH", "m", "a"], ["RENAME", "m", "l"]],
        "RENAMENX": [["RPUSH", "m", "a"], ["RENAMENX", "m", "l"]],
        "COPY": [["RPUSH", "m", "a"], ["COPY", "m", "l"]],
        "EXEC": [["MULTI"], ["SET", "l", "v"], ["DEL", "l"], ["RPUSH", "l", "a"], ["EXEC"]],
        "other types before": [["SET", "l", "no list"], ["DEL", "l"], ["ZADD", "l", 1, "m"], ["DEL", "l"], ["RPUSH", "l", "a"]],
    }
    for told, commands in makers.items():
        pair.flush()
        (waiter,) = waiting(pair, clients, ["BLPOP", "other", "l", 0])
        for command in commands:
            assert not isinstance(pair.freshet.call(*command), Error), (told, command)
        assert waiter.read() == [b"l", b"a"], told
        assert pair.freshet.call("EXISTS", "l") == 0 or told == "COPY"


def test_a_pusher_sees_what_the_waiters_have_left(pair, clients):
    waiters = waiting(pair, clients, ["BLPOP", "l", 0], ["BRPOP", "l", 0], ["BLMPOP", 0, 1, "l", "RIGHT", "COUNT", 2], ["BLPOP", "l", 0])
    replies = pair.freshet.calls([["RPUSH", "l", "a", "b", "c", "d", "e"], ["LRANGE", "l", 0, -1], ["RPUSH", "l", "f", "g"], ["LRANGE", "l", 0, -1]])
    assert replies == [5, [], 2, [b"f", b"g"]]
    assert [waiter.read() for waiter in waiters] == [[b"l", b"a"], [b"l", b"e"], [b"l", [b"d", b"c"]], [b"l", b"b"]]


def test_waiters_are_served_in_the_order_in_which_they_blocked_across_workers(pair, clients):
    waiters = waiting(pair, clients, *[["BLPOP", "l", "m", 0]] * 8)
    for i in range(4):
        pair.freshet.call("RPUSH", "lm"[i % 2], 2 * i, 2 * i + 1)
    assert [waiter.read()[1] for waiter in waiters] == [b"%d" % i for i in range(8)]


def test_a_transaction_is_over_before_anybody_is_served(pair, clients):
    (waiter,) = waiting(pair, clients, ["BLPOP", "l", 0])
    assert pair.freshet.calls(story("MULTI | RPUSH l a | DEL l | RPUSH l b c | LLEN l | EXEC"))[-1] == [1, 1, 2, 2]
    assert waiter.read() == [b"l", b"b"]
    (waiter,) = waiting(pair, clients, ["BLPOP", "none", 0])
    pair.freshet.calls(story("MULTI | RPUSH none a | DEL none | SET none v | EXEC | DEL none | RPUSH none b"))
    assert waiter.read() == [b"none", b"b"]


def test_moves_that_wait_for_moves_are_done_before_the_pusher_has_its_answer(pair, clients):
    moves = [["BLMOVE", f"l{i}", f"l{i + 1}", "LEFT", "RIGHT", 0] for i in range(6)]
    waiters = waiting(pair, clients, *reversed(moves))
    assert pair.freshet.calls([["RPUSH", "l0", "x"], ["EXISTS", *(f"l{i}" for i in range(6))], ["LRANGE", "l6", 0, -1]]) == [1, 0, [b"x"]]
    assert [waiter.read() for waiter in waiters] == [b"x"] * 6


def test_a_move_in_a_circle_ends(pair, clients):
    waiters = waiting(pair, clients, ["BLMOVE", "a", "b", "LEFT", "RIGHT", 0], ["BLMOVE", "b", "a", "LEFT", "RIGHT", 0], ["BRPOPLPUSH", "c", "c", 0])
    assert pair.freshet.calls([["RPUSH", "a", "x"], ["LRANGE", "a", 0, -1], ["RPUSH", "c", "1", "2"], ["LRANGE", "c", 0, -1]]) == [1, [b"x"], 2, [b"2", b"1"]]
    assert [waiter.read() for waiter in waiters] == [b"x", b"x", b"2"]


def test_a_move_whose_destination_has_become_another_type_leaves_the_element(pair, clients):
    wrong, right = waiting(pair, clients, ["BLMOVE", "l", "m", "LEFT", "RIGHT", 0], ["BLPOP", "l", 0])
    pair.freshet.calls([["SET", "m", "v"], ["RPUSH", "l", "x"]])
    assert wrong.read().text.startswith("WRONGTYPE ")
    assert right.read() == [b"l", b"x"]
    assert pair.freshet.call("GET", "m") == b"v"


def test_waiters_for_one_type_are_not_served_with_another(pair, clients):
    of_set, of_list = waiting(pair, clients, ["BZPOPMIN", "k", 0], ["BLPOP", "k", 0])
    pair.freshet.call("RPUSH", "k", "a")
    assert of_list.read() == [b"k", b"a"]
    pair.freshet.call("ZADD", "k", 1, "m")
    assert of_set.read() == [b"k", b"m", b"1"]


def test_timeouts_end_a_wait_and_leave_the_queue(pair, clients):
    late, never = waiting(pair, clients, ["BLPOP", "l", 0.2], ["BLPOP", "l", 0])
    assert late.read() is None
    pair.freshet.call("RPUSH", "l", "a", "b")
    assert never.read() == [b"l", b"a"]
    assert late.call("LPOP", "l") == b"b"
    start = time.monotonic()
    assert late.call("BLMOVE", "l", "m", "LEFT", "LEFT", 0.3) is None
    assert 0.3 <= time.monotonic() - start < 5
    blocked(pair.freshet, 0)


def test_unblock_ends_a_wait_once(pair, clients):
    ours = pair.freshet
    waiter = clients()
    number = waiter.call("CLIENT", "ID")
    assert ours.call("CLIENT", "UNBLOCK", number) == 0
    for how, expected in ([], None), (["TIMEOUT"], None), (["ERROR"], Error("UNBLOCKED client unblocked via CLIENT UNBLOCK")):
        waiter.send("BLPOP", "l", "m", 0)
        blocked(ours, 1)
        assert ours.calls([["CLIENT", "UNBLOCK", number, *how], ["CLIENT", "UNBLOCK", number, *how], ["RPUSH", "l", "a"], ["LPOP", "l"]]) == [1, 0, 1, b"a"]
        assert waiter.read() == expected
    waiter.send("BLPOP", "l", 0)
    blocked(ours, 1)
    assert ours.calls([["RPUSH", "l", "a"], ["CLIENT", "UNBLOCK", number]]) == [1, 0]
    assert waiter.read() == [b"l", b"a"]


def test_a_client_that_has_gone_is_not_served(pair, clients):
    ours = pair.freshet
    gone, stays = waiting(pair, clients, ["BLPOP", "l", 0], ["BLPOP", "l", 0])
    gone.close()
    blocked(ours, 1)
    ours.call("RPUSH", "l", "a")
    assert stays.read() == [b"l", b"a"]
    killed, stays = waiting(pair, clients, ["BLMOVE", "l", "m", "LEFT", "LEFT", 0], ["BLPOP", "l", 0])
    ours.call("CLIENT", "KILL", "ID", ours_id(ours, b"blmove"))
    blocked(ours, 1)
    ours.call("RPUSH", "l", "b")
    assert stays.read() == [b"l", b"b"]
    assert ours.call("EXISTS", "m") == 0


def test_a_client_that_goes_leaving_requests_behind_its_wait_is_missed(pair, clients):
    for commands in ([["PING"]], [["PING"], ["QUIT"]], [["SET", "k", "x" * 5000]]):
        gone = clients()
        gone.send("BLPOP", "l", 0)
        blocked(pair.freshet, 1)
        for command in commands:
            gone.send(*command)
        pair.freshet.call("PING")
        gone.close()
        blocked(pair.freshet, 0)
    assert pair.freshet.calls([["RPUSH", "l", "a"], ["LLEN", "l"], ["EXISTS", "k"]]) == [1, 1, 0]


def ours_id(raw, command):
    told = raw.call("CLIENT", "LIST")
    told = getattr(told, "data", told)
    (line,) = [line for line in told.splitlines() if b"cmd=" + command + b" " in line and b"flags=b" in line]
    return line.split()[0].split(b"=")[1]


def test_requests_behind_a_wait_are_run_after_it(pair, clients):
    waiter = clients()
    waiter.send("BLPOP", "l", 0)
    waiter.send("RPUSH", "after", "x")
    waiter.send("PING")
    blocked(pair.freshet, 1)
    assert pair.freshet.calls([["EXISTS", "after"], ["RPUSH", "l", "a"]]) == [0, 1]
    assert waiter.read() == [b"l", b"a"]
    assert waiter.read() == 1
    assert waiter.read().text == "PONG"


def test_events_of_served_waiters_are_told_as_redis_tells_them(pair, plain, redis_server):
    waits = [["BLMOVE", "l", "m", "LEFT", "RIGHT", 0], ["BRPOPLPUSH", "m", "m", 0], ["BLPOP", "l", 0], ["BLMPOP", 0, 1, "l", "RIGHT", "COUNT", 3]]
    told = []
    ports = redis_server.connection_pool.connection_kwargs["port"], plain.port
    for server, port in zip((pair.redis, pair.freshet), ports):
        server.call("CONFIG", "SET", "notify-keyspace-events", "Elg")
        listener, *waiters = (RawResp(port) for _ in range(len(waits) + 1))
        listener.call("PSUBSCRIBE", "*")
        for n, (waiter, wait) in enumerate(zip(waiters, waits)):
            waiter.send(*wait)
            blocked(server, n + 1)
        server.calls([["RPUSH", "l", "a", "b", "c", "d"], ["DEL", "m"], ["PUBLISH", "end", "end"]])
        told.append(list(iter(lambda: tuple(listener.read()[2:]), (b"end", b"end"))))
        server.call("CONFIG", "SET", "notify-keyspace-events", "")
        for one in (listener, *waiters):
            one.close()
    assert told[0] == told[1]
    assert len(told[0]) > 8


def test_what_was_on_its_way_to_a_client_that_has_gone_is_put_back(freshet):
    f = freshet(None, {"cache": {"read_through": False, "workers": 2}})
    raw = RawResp(f.port)
    waits = [["BLPOP", "l", 0], ["BRPOP", "l", 0], ["BLMPOP", 0, 1, "l", "LEFT", "COUNT", 5], ["BLMPOP", 0, 1, "l", "RIGHT", "COUNT", 2]]
    for n in range(24):
        waiter = RawResp(f.port)
        waiter.send(*waits[n % len(waits)])
        blocked(raw, 1)
        f.pause()
        waiter.close()
        raw.send("RPUSH", "l", "a", "b", "c")
        f.resume()
        assert raw.read() == 3
        wait_until(lambda: raw.call("LLEN", "l") == 3, 10, "all is there again")
        assert raw.calls([["LRANGE", "l", 0, -1], ["DEL", "l"]]) == [[b"a", b"b", b"c"], 1]
    raw.close()


def test_nothing_is_lost_nor_doubled_where_many_pop_push_and_go(freshet):
    f = freshet(None, {"cache": {"read_through": False, "workers": 4}})
    n, each = 4, 400
    popped = []
    stop = threading.Event()

    def pop(command):
        raw = RawResp(f.port)
        while True:
            reply = raw.call(*command)
            element = reply[-1] if isinstance(reply, list) else reply
            for one in element if isinstance(element, list) else [element]:
                if one == b"end":
                    return raw.close()
                popped.append(one)

    def come_and_go():
        while not stop.is_set():
            raw = RawResp(f.port)
            raw.send("BLPOP", "a", "c", 0)
            raw.close()

    def push(i):
        raw = RawResp(f.port)
        for k in range(each):
            raw.call("RPUSH" if k % 2 else "LPUSH", "abc"[k % 3], f"{i}:{k}")
        raw.close()

    def mover():
        raw = RawResp(f.port)
        while True:
            if raw.call("BLMOVE", "b", "c", "LEFT", "RIGHT", 0) == b"end":
                return raw.close()

    commands = [["BLPOP", "a", "c", 0], ["BRPOP", "c", "a", 0], ["BLMPOP", 0, 2, "a", "c", "LEFT", "COUNT", 3], ["BLPOP", "c", "a", 0]]
    poppers = [threading.Thread(target=pop, args=(command,)) for command in commands]
    movers = [threading.Thread(target=mover) for _ in range(2)]
    visitor = threading.Thread(target=come_and_go)
    pushers = [threading.Thread(target=push, args=(i,)) for i in range(n)]
    for thread in [*poppers, *movers, *pushers]:
        thread.start()
    for thread in pushers:
        thread.join()
    raw = RawResp(f.port)
    wait_until(lambda: raw.call("EXISTS", "a", "b", "c") == 0, 20, "all was popped")
    wait_until(lambda: len(popped) == n * each, 20, "all has arrived")
    assert sorted(popped) == sorted(f"{i}:{k}".encode() for i in range(n) for k in range(each))

    # Of what is pushed while others come and go, only what was on its way to one of these may have gone with it.
    visitor.start()
    for k in range(200):
        raw.call("RPUSH", "a", f"more:{k}")
    stop.set()
    visitor.join()
    wait_until(lambda: raw.call("EXISTS", "a", "c") == 0, 20, "all was popped")
    assert len(set(popped)) == len(popped)
    for _ in movers:
        raw.call("RPUSH", "b", "end")
    for thread in movers:
        thread.join(20)
    wait_until(lambda: raw.call("EXISTS", "b") == 0, 20, "the movers have ended")
    while any(thread.is_alive() for thread in poppers):
        raw.call("RPUSH", "a", "end")
        for thread in poppers:
            thread.join(0.05)
    raw.close()
