"""Pub/sub: topics, patterns, shards; messages to clients of any worker, in order, and never inside a reply."""

import threading

import pytest
import redis

from support.resp import Wire, command

PLAIN = {"read_through": False, "workers": 3}


@pytest.fixture
def served(freshet):
    return freshet(None, {"cache": PLAIN})


def client(served, **options):
    return redis.Redis(port=served.port, decode_responses=True, **options)


def on_every_worker(served, n=3):
    """Connections are handed out in turn: n of them are on n workers."""
    return [Wire(served.port) for _ in range(n)]


def push(*parts, mark=b">"):
    text = b"".join(
        b":%d\r\n" % part if isinstance(part, int) else b"$%d\r\n%s\r\n" % (len(part), part.encode()) for part in parts
    )
    return mark + b"%d\r\n" % len(parts) + text


def array(*parts):
    return push(*parts, mark=b"*")


def subscribe(wire, word, *names, start=0):
    wire.send(command(word, *names))
    for i, name in enumerate(names):
        wire.expect(array(word.lower(), name, start + i + 1))


def test_a_message_reaches_the_subscribers_of_every_worker(served):
    wires = on_every_worker(served)
    for wire in wires:
        subscribe(wire, "SUBSCRIBE", "news")
    for wire in wires:
        assert wire.call("PING") == b"*2"  # subscribed: a message, not +PONG
        wire.expect(b"$4\r\npong\r\n$0\r\n\r\n")
    assert client(served).publish("news", "hello") == 3
    for wire in wires:
        wire.expect(array("message", "news", "hello"))


def test_patterns_channels_and_shards(served):
    wire = Wire(served.port)
    subscribe(wire, "SUBSCRIBE", "foo.bar")
    subscribe(wire, "PSUBSCRIBE", "foo.*", "*.bar", start=1)
    subscribe(wire, "SSUBSCRIBE", "foo.bar")
    r = client(served)
    assert r.publish("foo.bar", "x") == 3
    wire.expect(array("message", "foo.bar", "x"))
    came = {wire.read(len(array("pmessage", "foo.*", "foo.bar", "x"))) for _ in range(2)}
    assert came == {array("pmessage", pattern, "foo.bar", "x") for pattern in ("foo.*", "*.bar")}
    assert r.execute_command("SPUBLISH", "foo.bar", "y") == 1
    wire.expect(array("smessage", "foo.bar", "y"))
    assert r.publish("foobar", "x") == 0
    assert r.pubsub_channels() == ["foo.bar"]
    assert r.pubsub_channels("x*") == []
    assert r.pubsub_numpat() == 2
    assert r.pubsub_numsub("foo.bar", "none") == [("foo.bar", 1), ("none", 0)]
    info = r.info("stats")
    assert (info["pubsub_channels"], info["pubsub_patterns"], info["pubsubshard_channels"]) == (1, 2, 1)
    assert served.metric("freshet_cache_pushes_total") == 4
    assert r.execute_command("PUBSUB SHARDCHANNELS") == ["foo.bar"]
    assert r.execute_command("PUBSUB SHARDNUMSUB", "foo.bar", "none") == [("foo.bar", 1), ("none", 0)]
    wire.close()


def test_a_client_that_goes_is_no_subscriber_any_more(served, wait_until):
    r = client(served)
    with Wire(served.port) as wire:
        subscribe(wire, "SUBSCRIBE", *[f"c{i}" for i in range(100)])
        assert len(r.pubsub_channels()) == 100
    wait_until(lambda: r.pubsub_channels() == [], timeout=10)
    assert r.publish("c1", "x") == 0


def test_unsubscribing_answers_one_confirmation_a_name_or_one_for_none(served):
    wire = Wire(served.port)
    subscribe(wire, "SUBSCRIBE", "a", "b")
    wire.send(command("UNSUBSCRIBE", "a", "none"))
    wire.expect(array("unsubscribe", "a", 1) + array("unsubscribe", "none", 1))
    wire.send(command("UNSUBSCRIBE"))
    wire.expect(array("unsubscribe", "b", 0))
    for word in ("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"):
        wire.send(command(word))
        wire.expect(b"*3\r\n$%d\r\n%s\r\n$-1\r\n:0\r\n" % (len(word), word.lower().encode()))
    assert wire.call("PING") == b"+PONG"


def test_a_resp2_subscriber_may_do_little_else_until_reset(served):
    wire = Wire(served.port)
    subscribe(wire, "PSUBSCRIBE", "x*")
    for words, name in ((("GET", "k"), b"get"), (("CLIENT", "LIST"), b"client|list"), (("PUBLISH", "a", "b"), b"publish")):
        assert wire.call(*words) == (
            b"-ERR Can't execute '" + name + b"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )
    assert wire.call("RESET") == b"+RESET"
    assert wire.call("GET", "k") == b"$-1"
    assert client(served).publish("x1", "m") == 0
    subscribe(wire, "SUBSCRIBE", "x")
    assert wire.call("QUIT") == b"+OK"
    assert wire.read_to_end() == b""


def test_under_resp3_a_subscriber_goes_on_as_usual_and_messages_are_pushes(served):
    wire = Wire(served.port)
    wire.send(command("HELLO", 3))
    wire.send(command("SUBSCRIBE", "news"))
    answer = b""
    while not answer.endswith(push("subscribe", "news", 1)):
        answer += wire.read(1)
    assert wire.call("PING") == b"+PONG"
    # to itself: behind the reply, never inside it
    wire.send(command("PUBLISH", "news", "m") + command("SET", "k", "v"))
    came = wire.read(len(b":1\r\n+OK\r\n" + push("message", "news", "m")))
    assert came.startswith(b":1\r\n") and push("message", "news", "m") in came and b"+OK\r\n" in came


def test_messages_of_one_publisher_arrive_in_order_on_all_workers(served):
    wires = on_every_worker(served)
    for wire in wires:
        subscribe(wire, "SUBSCRIBE", "a")
    n, publishers = 2000, 3

    def publish(who):
        with Wire(served.port) as wire:
            for i in range(0, n, 100):
                wire.send(b"".join(command("PUBLISH", "a", f"{who}:{j}") for j in range(i, i + 100)))
                for _ in range(100):
                    assert wire.line() == b":3"

    threads = [threading.Thread(target=publish, args=(who,)) for who in range(publishers)]
    for thread in threads:
        thread.start()
    for wire in wires:
        last = [-1] * publishers
        for _ in range(n * publishers):
            wire.expect(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n")
            who, number = map(int, wire.bulk().split(b":"))
            assert number == last[who] + 1
            last[who] = number
        assert last == [n - 1] * publishers
    for thread in threads:
        thread.join()


def test_a_slow_subscriber_is_closed_at_its_limit_and_holds_nobody_up(served, wait_until):
    r = client(served)
    r.config_set("client-output-buffer-limit", "pubsub 1mb 0 0")
    slow = Wire(served.port, receive_buffer=4096)
    subscribe(slow, "SUBSCRIBE", "a")
    quick = Wire(served.port)
    subscribe(quick, "SUBSCRIBE", "a")
    message = "x" * 10_000
    expected = array("message", "a", message)
    for _ in range(3000):
        if r.publish("a", message) == 1:
            break
        quick.expect(expected)
    else:
        pytest.fail("the slow subscriber was never closed")
    quick.expect(expected)
    assert served.metric("freshet_cache_output_limit_closes_total") == 1
    assert "reason=output_limit" in served.log_text()
    assert r.pubsub_numsub("a") == [("a", 1)]
    assert len(slow.read_to_end()) < 8 << 20


def test_a_reply_beyond_a_limit_in_redis_s_words_is_not_sent_and_a_transaction_runs_to_its_end(served):
    r = client(served)
    r.set("big", "x" * 150_000)
    r.config_set("client-output-buffer-limit", "normal 100000 0 0")
    with Wire(served.port) as wire:
        wire.send(command("GET", "big"))
        assert wire.read_to_end() == b""
    with Wire(served.port) as wire:
        wire.send(command("MULTI") + command("GET", "big") + command("SET", "after", "1") + command("EXEC"))
        wire.read_to_end()
    assert r.get("after") == "1"
    assert served.metric("freshet_cache_output_limit_closes_total") == 2


def test_the_soft_limit_closes_after_its_seconds(served, wait_until):
    r = client(served)
    r.config_set("client-output-buffer-limit", "pubsub 0 100kb 1")
    slow = Wire(served.port, receive_buffer=4096)
    subscribe(slow, "SUBSCRIBE", "a")

    def unread():
        return next((int(c["omem"]) for c in r.client_list(_type="pubsub")), None)

    while unread() < 200_000:
        r.publish("a", "x" * 50_000)
    wait_until(lambda: unread() is None, timeout=10)
    assert served.metric("freshet_cache_output_limit_closes_total") == 1


def test_output_limits_are_worded_and_refused_as_redis_does(served):
    r = client(served)
    r.config_set("client-output-buffer-limit", "normal 1mb 2mb 60 replica 3mb 4mb 70 pubsub 5mb 6mb 80")
    assert r.config_get("client-output-buffer-limit")["client-output-buffer-limit"] == (
        "normal 1048576 2097152 60 slave 3145728 4194304 70 pubsub 5242880 6291456 80"
    )
    for text, why in (
        ("wrong number", "Wrong number of arguments"),
        ("invalid_class 10mb 10mb 60", "Invalid client class"),
        ("normal 10mbs 10mb 60", "Error in hard"),
        ("pubsub 10mb 10mb 60s", "soft_seconds"),
    ):
        with pytest.raises(redis.ResponseError, match=why):
            r.config_set("client-output-buffer-limit", text)


def test_many_channels_and_many_subscribers(served):
    wires = on_every_worker(served, 9)
    channels = [f"c{i}" for i in range(500)]
    for wire in wires:
        subscribe(wire, "SUBSCRIBE", *channels)
    r = client(served)
    assert len(r.pubsub_channels()) == 500
    pipe = r.pipeline(transaction=False)
    for channel in channels:
        pipe.publish(channel, "m")
    assert pipe.execute() == [9] * 500
    for wire in wires:
        for channel in channels:
            wire.expect(array("message", channel, "m"))
    for wire in wires:
        wire.send(command("UNSUBSCRIBE"))
    assert wires[0].read(3) == b"*3\r"


def test_no_message_of_a_channel_comes_after_the_last_unsubscribe_was_confirmed(served):
    """A RESP2 client could not tell it from a reply."""
    stop = threading.Event()

    def publish():
        with Wire(served.port) as wire:
            while not stop.is_set():
                wire.send(command("PUBLISH", "a", "m") * 50)
                for _ in range(50):
                    wire.line()

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        with Wire(served.port) as wire:
            for _ in range(200):
                wire.send(command("SUBSCRIBE", "a") + command("UNSUBSCRIBE", "a") + command("ECHO", "done"))
                while (line := wire.line()) != b"$11":
                    pass
                wire.expect(b"unsubscribe\r\n$1\r\na\r\n:0\r\n$4\r\ndone\r\n")
    finally:
        stop.set()
        publisher.join()


def test_redis_py_gets_its_messages(served):
    for protocol in (2, 3):
        with client(served, protocol=protocol) as r, r.pubsub() as pubsub:
            pubsub.subscribe("a")
            pubsub.psubscribe("b*")
            assert [pubsub.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
            r.publish("a", "1")
            r.publish("bb", "2")
            assert pubsub.get_message(timeout=5)["data"] == "1"
            assert pubsub.get_message(timeout=5)["pattern"] == "b*"


def test_shard_channels_are_no_keys(served):
    r = client(served)
    r.execute_command("ACL", "SETUSER", "u", "on", ">x", "+@all", "resetkeys", "resetchannels", "&ch*")
    user = client(served, username="u", password="x")
    assert user.execute_command("SPUBLISH", "ch1", "m") == 0
    for words in (("SPUBLISH", "no", "m"), ("SSUBSCRIBE", "no"), ("PUBLISH", "no", "m")):
        with pytest.raises(redis.exceptions.NoPermissionError, match="channels"):
            user.execute_command(*words)
    with pytest.raises(redis.ResponseError, match="no key arguments"):
        r.execute_command("COMMAND", "GETKEYS", "SPUBLISH", "a", "b")


def test_a_client_that_waits_gets_its_messages_and_a_transaction_s_come_behind_its_reply(served, wait_until):
    wire = Wire(served.port)
    wire.send(command("HELLO", 3) + command("SUBSCRIBE", "a"))
    answer = b""
    while not answer.endswith(push("subscribe", "a", 1)):
        answer += wire.read(1)
    wire.send(command("BLPOP", "list", 0))
    wait_until(lambda: served.metric("freshet_cache_clients_waiting") == 1, timeout=5)
    r = client(served)
    assert r.publish("a", "while it waits") == 1
    wire.expect(push("message", "a", "while it waits"))
    r.rpush("list", "x")
    wire.expect(array("list", "x"))
    wire.send(command("MULTI") + command("PUBLISH", "a", "m") + command("ECHO", "e") + command("EXEC"))
    wire.expect(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\ne\r\n" + push("message", "a", "m"))
