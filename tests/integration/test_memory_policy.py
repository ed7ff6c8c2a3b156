"""CONFIG SET maxmemory-policy: which keys may go when memory is full. Rows may always: the database has them."""

import itertools

import pytest
from redis.exceptions import ResponseError

from support.waiting import wait_until

VALUE = "v" * 8000


@pytest.fixture
def full(db, freshet):
    """Rows read, and then keys without an expiry until memory is full several times over, or full at all."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 2000) FROM generate_series(1, 200) i")
    f = freshet(db, {"cache": {"workers": 1, "max_memory": "24MiB"}})

    def fill(policy, n=5000):
        f.redis.config_set("maxmemory-policy", policy)
        assert f.redis.config_get("maxmemory-policy") == {"maxmemory-policy": policy}
        assert f.redis.info("memory")["maxmemory_policy"] == policy
        rows = [f"t:{i}" for i in range(1, 201)]
        wait_until(lambda: f.redis.mget(rows) and f.redis.keys("t:*"), what="rows are kept")
        pipe = f.redis.pipeline(transaction=False)
        for i in range(n):
            pipe.set(f"lasting:{i}", VALUE)
        answers = pipe.execute(raise_on_error=False)
        return [f"lasting:{i}" for i, answer in enumerate(answers) if answer is True], answers

    return f, fill


others = (f"other:{n}" for n in itertools.count())


def is_taken(f):
    try:
        return f.redis.set(next(others), VALUE)
    except ResponseError as error:
        assert str(error) == "command not allowed when used memory > 'maxmemory'."  # OOM is in the error's type
        return False


def is_taken_in_transaction(f, kept):
    pipe = f.redis.pipeline()
    pipe.get(kept)
    pipe.set(next(others), VALUE)
    try:
        return pipe.execute()
    except ResponseError as error:
        assert "command not allowed when used memory" in str(error)
        return False


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_keys_that_may_not_go_stay_and_new_ones_are_refused(full, policy):
    f, fill = full
    kept, answers = fill(policy)
    assert 500 < len(kept) < 4500
    assert {str(answer) for answer in answers if answer is not True} == {"command not allowed when used memory > 'maxmemory'."}
    assert f.redis.exists(*kept) == len(kept)
    # A row may be left while memory is just below its bound, or hidden among so many keys: those that come have it go.
    wait_until(lambda: not is_taken(f) and not f.redis.keys("t:*"), what="rows make room")
    # Rows are read all the same, what takes no memory is done, and so is what frees some.
    assert f.redis.mget("t:1", "t:2") != [None, None]
    wait_until(lambda: not is_taken(f) and not f.redis.keys("t:*"), what="what was read makes room")
    assert f.redis.get(kept[0]) == VALUE
    wait_until(lambda: not is_taken_in_transaction(f, kept[0]), what="a transaction is refused")
    f.redis.delete(*kept[:300])
    wait_until(lambda: is_taken(f), what="there is room again")
    assert f.redis.exists(*kept[300:]) == len(kept) - 300


def test_volatile_keys_go_before_anything_is_refused(full):
    f, fill = full
    f.redis.config_set("maxmemory-policy", "volatile-lfu")
    lasting = [f"mine:{i}" for i in range(500)]
    for key in lasting:
        f.redis.set(key, VALUE)
    pipe = f.redis.pipeline(transaction=False)
    for i in range(5000):
        pipe.set(f"passing:{i}", VALUE, ex=1000)
    assert all(pipe.execute())
    assert f.redis.exists(*lasting) == 500
    assert 200 < len(f.redis.keys("passing:*")) < 4500


def test_by_default_any_key_may_go(full):
    f, fill = full
    assert f.redis.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lfu"}
    kept, answers = fill("allkeys-lru")
    assert len(kept) == 5000 and f.redis.exists(*kept) < 4500


def test_what_is_not_offered_is_refused(full):
    f, _ = full
    for policy in ("allkeys-random", "volatile-random", "volatile-ttl", "lru"):
        with pytest.raises(ResponseError, match="must be one of the following: allkeys-lfu, allkeys-lru, volatile-lfu, volatile-lru, noeviction"):
            f.redis.config_set("maxmemory-policy", policy)
