"""Keyspace notifications: the same commands to a redis-server and to Freshet tell of the same events; and commits tell theirs."""

import shlex

import pytest
import redis

PLAIN = {"read_through": False, "workers": 2}
END = "the-end"

STORIES = {
    "strings": """
        SET a 1 | SET a 2 EX 100 | SET a 3 XX | SET a 3 NX | SETNX a 1 | SETNX b 1 | SETEX a 10 v | PSETEX a 10000 v | GETSET a w
        GETDEL a | GETDEL a | MSET a 1 b 2 | MSETNX a 1 c 1 | MSETNX x 1 y 1 | INCR a | DECR a | INCRBY a 5 | INCRBYFLOAT a 0.5
        APPEND b x | SETRANGE b 1 yy | SETRANGE b 1 "" | SETBIT c 7 1 | BITOP AND d a b | BITFIELD c SET u8 0 1
        GETEX b EX 10 | GETEX b PERSIST | GETEX b PERSIST | GETEX b PXAT 1 | GET b
        SET k v KEEPTTL | COPY k k2 | RENAME k2 k3 | RENAMENX k3 k4
    """,
    "keys": """
        SET a 1 | DEL a none | SET a 1 | UNLINK a | SET a 1 | EXPIRE a 100 | PERSIST a | PERSIST a | PEXPIRE a 100000 | EXPIRE a -1
        SET a 1 | EXPIREAT a 4102444800 | PEXPIREAT a 1 | EXPIRE none 1 | EXPIRE a 100 NX
    """,
    "hashes": """
        HSET h f 1 g 2 | HSET h f 2 | HMSET h x 1 | HSETNX h f 1 | HSETNX h y 1 | HINCRBY h n 2 | HINCRBYFLOAT h n 0.5
        HDEL h none | HDEL none f | HDEL h f g | HDEL h x y n | HSET h f v
    """,
    "lists": """
        LPUSH l a b | RPUSH l c | LPUSHX l d | RPUSHX none e | LINSERT l BEFORE a x | LSET l 0 y | LREM l 1 y | LTRIM l 0 2 | LPOP l | RPOP l
        LMOVE l m LEFT RIGHT | RPOPLPUSH m l | DEL l m | RPUSH l a | LPOP l | RPUSH l a b c | LMPOP 1 l LEFT COUNT 2 | LTRIM l 5 6
        RPUSH l 3 1 2 | SORT l | SORT l STORE d | SORT none STORE d | SORT none STORE d | SORT l STORE l
    """,
    "sets": """
        SADD s a b c | SADD s a | SREM s a | SREM s a | SMOVE s t b | SMOVE s t none | SUNIONSTORE u s t | SINTERSTORE v s t
        SDIFFSTORE v u s | SPOP t | SREM s c | SADD s x | SINTERSTORE s s none
    """,
    "sorted sets": """
        ZADD z 1 a 2 b 3 c | ZADD z 1 a | ZADD z INCR 1 a | ZINCRBY z 1 a | ZREM z none | ZREM z a | ZPOPMIN z | ZPOPMAX z
        ZADD z 1 a 2 b 3 c 4 d | ZREMRANGEBYSCORE z 1 1 | ZREMRANGEBYRANK z 0 0 | ZREMRANGEBYLEX z - + | ZADD z 1 a 2 b
        ZRANGESTORE y z 0 -1 | ZUNIONSTORE x 2 y z | ZINTERSTORE w 2 z none | ZDIFFSTORE v 2 z none | ZMPOP 1 z MIN COUNT 5
    """,
}


MISSES = """
    GET k | MGET k k2 | STRLEN k | GETRANGE k 0 1 | EXISTS k | TTL k | TYPE k | HGET k f | HGETALL k | HLEN k | HMGET k f | HKEYS k
    LRANGE k 0 -1 | LLEN k | LINDEX k 0 | SMEMBERS k | SCARD k | SISMEMBER k x | ZCARD k | ZRANGE k 0 -1 | ZSCORE k x | GETBIT k 1
    GETDEL k | GETEX k | GETSET k0 v | SET k1 v GET | COPY k k2 | BITOP AND d k k2 | ZUNIONSTORE d 2 k k2 | ZRANGESTORE d k 0 -1 | SINTERSTORE d k k2
    BITCOUNT k | SET k v | GET k | SINTER k2 | ZCOUNT k2 1 2 | SRANDMEMBER k2 | ZRANK k2 x | LPOS k2 x | HEXISTS k2 f | OBJECT ENCODING k2
"""


def client(port):
    return redis.Redis(port=port, decode_responses=True)


def listen(r, classes):
    r.config_set("notify-keyspace-events", classes)
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("*")
    assert pubsub.get_message(timeout=5) is None
    return pubsub


def heard(r, pubsub):
    """What came before a message that is published now."""
    r.publish(END, "")
    events = []
    while (message := pubsub.get_message(timeout=5)) is not None:
        if message["channel"] == END:
            return events
        events.append((message["channel"], message["data"]))
    pytest.fail(f"the last message did not come after {events}")


def tell(r, story, classes="KEAn"):
    r.flushall()
    pubsub = listen(r, classes)
    told = []
    for words in (shlex.split(part) for line in story.splitlines() for part in line.split("|") if part.strip()):
        try:
            r.execute_command(*words)
        except redis.ResponseError as error:
            told.append((words, "failed", str(error)))
        # at what moment of a command a key is new is nobody's business
        told.append((words, sorted(heard(r, pubsub), key=lambda event: "new" not in (event[1], event[0].split(":")[-1]))))
    pubsub.close()
    r.config_set("notify-keyspace-events", "")
    return told




@pytest.mark.parametrize("name", STORIES)
def test_every_change_is_told_as_redis_tells_it(freshet, redis_server, name):
    served = client(freshet(None, {"cache": PLAIN}).port)
    oracle = client(redis_server.connection_pool.connection_kwargs["port"])
    expected = tell(oracle, STORIES[name])
    got = tell(served, STORIES[name])
    assert [pair for pair in zip(got, expected, strict=True) if pair[0] != pair[1]] == []


def test_misses_are_told_as_redis_tells_them(freshet, redis_server):
    served = client(freshet(None, {"cache": PLAIN}).port)
    oracle = client(redis_server.connection_pool.connection_kwargs["port"])
    expected = tell(oracle, MISSES, "Em")
    assert [pair for pair in zip(tell(served, MISSES, "Em"), expected, strict=True) if pair[0] != pair[1]] == []


def test_off_by_default_and_set_and_shown_as_redis_does(freshet):
    r = client(freshet(None, {"cache": PLAIN}).port)
    assert r.config_get("notify-keyspace-events")["notify-keyspace-events"] == ""
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("*")
    assert pubsub.get_message(timeout=5) is None
    r.set("a", 1)
    assert heard(r, pubsub) == []
    for text, shown in (("gKE", "gKE"), ("KA", "AK"), ("EA", "AE"), ("$lshzxeKE", "$lshzxeKE"), ("KEAmnf", "AnKEm"), ("", "")):
        r.config_set("notify-keyspace-events", text)
        assert r.config_get("notify-keyspace-events")["notify-keyspace-events"] == shown
    with pytest.raises(redis.ResponseError, match="Invalid event class character"):
        r.config_set("notify-keyspace-events", "KEq")


def test_classes_come_from_the_configuration_too(freshet):
    r = client(freshet(None, {"cache": {**PLAIN, "notify_keyspace_events": "E$"}}).port)
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("*")
    assert pubsub.get_message(timeout=5) is None
    r.set("a", 1)
    r.delete("a")
    assert heard(r, pubsub) == [("__keyevent@0__:set", "a")]


def next_event(pubsub):
    message = pubsub.get_message(timeout=10)
    assert message, "no event came"
    return message["channel"], message["data"]


def test_expiry_is_told_when_time_takes_the_key(freshet):
    r = client(freshet(None, {"cache": PLAIN}).port)
    pubsub = listen(r, "Ex")
    r.psetex("soon", 50, "v")
    assert next_event(pubsub) == ("__keyevent@0__:expired", "soon")


def test_a_key_that_has_expired_is_told_of_before_it_is_written_anew(freshet):
    r = freshet(None, {"cache": {**PLAIN, "debug_commands": True}}).redis
    r.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")  # else the time may take it first
    for words in (["MSET", "k", "2"], ["SETEX", "k", 10, "2"], ["ZUNIONSTORE", "k", 1, "z"]):
        r.zadd("z", {"a": 1})
        pubsub = listen(r, "Ex")
        r.set("k", "1", pxat=1)
        r.execute_command(*words)
        assert pubsub.get_message(timeout=5)["channel"] == "__keyevent@0__:expired", words
        pubsub.close()
        r.delete("k")


def test_eviction_is_told(freshet):
    r = client(freshet(None, {"cache": {**PLAIN, "max_memory": "2MiB"}}).port)
    pubsub = listen(r, "Ee")
    for i in range(100):
        r.set(f"k{i}", "x" * 50_000)
    channel, key = next_event(pubsub)
    assert channel == "__keyevent@0__:evicted"
    assert key.startswith("k")


def test_a_commit_tells_of_the_keys_that_it_evicts(freshet, shop):
    f = freshet(shop)
    r = client(f.port)
    pubsub = listen(r, "KEf")
    assert r.get("customers:1")
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    assert next_event(pubsub) == ("__keyspace@0__:customers:1", "freshet")
    assert next_event(pubsub) == ("__keyevent@0__:freshet", "customers:1")
    assert heard(r, pubsub) == []


def test_a_row_that_is_absent_is_a_miss_and_one_that_is_filled_no_new_key(freshet, shop):
    r = client(freshet(shop).port)
    pubsub = listen(r, "Emn")
    assert r.get("customers:1")
    assert r.get("customers:999999") is None
    assert heard(r, pubsub) == [("__keyevent@0__:keymiss", "customers:999999")]
