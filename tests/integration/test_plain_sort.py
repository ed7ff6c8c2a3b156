"""SORT and SORT_RO of plain keys answer as Redis 7.0 does."""

import random
import time

import pytest
from support.pair import story

EDGES = {
    "orders": """
        RPUSH l 3 1 2 10 | SORT l | SORT l DESC | SORT l ALPHA | SORT l ALPHA DESC | SORT l LIMIT 1 2 | SORT l LIMIT -1 2 | SORT l LIMIT 2 -1 | SORT l LIMIT 9 9
        SORT l LIMIT 0 0 | SORT l LIMIT a 1 | SORT l LIMIT 1 b | SORT l LIMIT 1 | SORT l FOO | SORT l BY nosort | SORT l BY nosort DESC | SORT l BY nosort LIMIT 1 2
        SORT l BY nosort DESC LIMIT 1 2 | SORT none | SORT none ALPHA STORE d | SORT | SADD s 3 1 2 | SORT s DESC | ZADD z 5 a 1 b 3 c | SORT z ALPHA
        SORT z | SORT z BY nosort | SORT z BY nosort DESC LIMIT 0 2 | SORT z BY nosort ASC | SET k v | SORT k | HSET h f v | SORT h | SORT_RO l | SORT_RO l STORE d
        SORT_RO k | RPUSH w b a "" C | SORT w | SORT w ALPHA | RPUSH f 1.5 -2 1e3 inf -inf | SORT f | RPUSH e "" 1 | SORT e | RPUSH n nan | SORT n | RPUSH x 0x10 3 | SORT x
        RPUSH t " 5" 3 | SORT t | RPUSH u "5 " 3 | SORT u
    """,
    "patterns": """
        RPUSH l 3 1 2 | MSET w_1 30 w_2 20 w_3 10 | MSET t_1 one t_2 two | HSET h_1 f a g 3 | HSET h_2 f b g 2 | SORT l BY w_* | SORT l BY w_* DESC | SORT l BY t_* ALPHA
        SORT l BY t_* ALPHA DESC | SORT l BY h_*->f ALPHA | SORT l BY h_*->g | SORT l GET t_* | SORT l GET # GET t_* | SORT l GET h_*->f GET h_*->none GET #
        SORT l GET none | SORT l GET h_*-> | SORT l BY t_* | SORT l BY none_* | SORT l GET h_* | SORT l BY w_*->f | SORT l GET "#" BY nosort | SORT l BY h_*->g GET w_* LIMIT 0 2
        SET a->b 5 | SORT l GET a->b | SET x3y three | SORT l GET x*y | SORT l BY w_* GET | SORT l BY | SORT l GET w_* STORE d | LRANGE d 0 -1 | SORT l BY w_* GET t_* STORE d
        LRANGE d 0 -1 | TYPE d | SORT l STORE l | LRANGE l 0 -1 | SETEX d 1000 v | SORT l STORE d | TTL d | SORT none STORE d | EXISTS d | SADD s b a c
        SORT s BY nosort STORE d | LRANGE d 0 -1 | SORT s BY nosort STORE | SORT l STORE d STORE e | EXISTS e | SORT w_1 STORE d | SORT s STORE d | SORT_RO l BY w_* GET #
    """,
}


@pytest.mark.parametrize("edge", EDGES)
def test_edges_answer_as_redis_does(pair, edge):
    pair.compare(story(EDGES[edge]))


def random_command(dice):
    words = []
    by = dice.choice([None, None, "w_*", "h_*->f", "nosort", "t_*"])
    if by:
        words += ["BY", by]
    if dice.random() < 0.4:
        words += ["LIMIT", dice.randrange(-2, 12), dice.randrange(-1, 12)]
    for _ in range(dice.choice([0, 0, 1, 2])):
        words += ["GET", dice.choice(["#", "w_*", "h_*->f", "h_*->g", "t_*", "no"])]
    words += dice.choice([[], ["ASC"], ["DESC"]]) + dice.choice([[], [], ["ALPHA"]])
    key = dice.choice(["l", "z", "s"])
    if key == "s" and by == "nosort":
        key = "l"  # a set has its own order
    if dice.random() < 0.2:
        return ["SORT", key, *words, "STORE", "d"]
    return ["SORT", key, *words]


def test_random_sorts_answer_as_redis_does(pair):
    ends = time.monotonic() + 2
    seed = 0
    while time.monotonic() < ends or seed < 3:
        dice = random.Random(seed)
        pair.flush()
        setup = [["RPUSH", "l", *(dice.randrange(12) for _ in range(10))], ["SADD", "s", *(dice.randrange(12) for _ in range(10))]]
        setup += [["ZADD", "z", dice.randrange(5), dice.randrange(12)] for _ in range(8)]
        for n in range(12):
            if dice.random() < 0.8:
                # no two weights alike: which of two equal ones comes first is a matter of the sort
                setup += [["SET", f"w_{n}", n * 7 % 12], ["SET", f"t_{n}", f"text {n * 5 % 12}"], ["HSET", f"h_{n}", "f", n * 11 % 12, "g", dice.choice("abc")]]
            else:
                setup += [["SET", f"w_{n}", n * 7 % 12], ["SET", f"t_{n}", f"text {n * 5 % 12}"], ["HSET", f"h_{n}", "f", n * 11 % 12]]
        pair.compare(setup)
        for _ in range(60):
            pair.compare([random_command(dice), ["LRANGE", "d", 0, -1]], setup)
        seed += 1
