"""The wire: requests in any shape and any pieces, and the answers that Redis gives to the same bytes."""

import threading

import pytest

from support.freshet import Freshet
from support.resp import Wire, command, exchange


@pytest.fixture(scope="module")
def plain(workshop):
    """Plain keys alone, on two workers."""
    served = Freshet(workshop, {"cache": {"read_through": False, "workers": 2}}).start()
    yield served
    served.close()


@pytest.fixture(autouse=True)
def empty(plain):
    plain.redis.flushall()


def lines(*texts):
    return b"".join(text.encode("latin-1") + b"\r\n" for text in texts)


# What follows is sent to redis-server and to us; the replies have to be the same bytes.
SAME_AS_REDIS = {
    "ping": lines("PING"),
    "inline_with_arguments": lines("SET key value", "GET key", "STRLEN   key "),
    "inline_quotes": lines('SET key "a b\\x41\\n\\"c"', "GET key", "ECHO 'it\\'s \\n'", 'ECHO ""'),
    "inline_ends_with_newline_alone": b"PING\nPING\n",
    "empty_lines": b"\r\n\r\nPING\r\n\r\n",
    "multibulk": command("SET", "k", "v") + command("GET", "k") + command("PING", "hello"),
    "binary_value": command("SET", "k", b"\x00\r\n\xff") + command("GET", "k") + command("STRLEN", "k"),
    "empty_value": command("SET", "", "") + command("GET", ""),
    "no_command": b"*0\r\n*-1\r\n" + command("PING"),
    "mixed": lines("PING") + command("ECHO", "x") + lines("ECHO y"),
    "case_of_names": command("pInG") + command("gEt", "x"),
    "unbalanced_quotes": lines("PING", 'SET "a'),
    "unbalanced_single": lines("SET 'a"),
    "text_behind_a_quote": lines('SET "a"b'),
    "multibulk_length_not_a_number": b"*x\r\nPING\r\n",
    "multibulk_length_too_large": b"*3000000000\r\n",
    "multibulk_length_far_too_large": b"*99999999999999999999\r\n",
    "no_dollar_and_half_a_line": b"*1\r\n\r",
    "a_cursor_of_nothing": command("SCAN", "") + command("HSCAN", "none", ""),
    "a_word_for_an_increment": command("ZINCRBY", "z", "nx", "m"),
    "no_dollar": b"*1\r\n:1\r\n",
    "no_dollar_but_a_word": b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
    "bulk_length_negative": b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n",
    "bulk_length_too_large": b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n",
    "bulk_length_not_a_number": b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n",
    "inline_too_long": b"SET key " + b"x" * (70 * 1024),
    "count_line_too_long": b"*" + b"1" * (70 * 1024),
    "length_line_too_long": b"*1\r\n$" + b"1" * (70 * 1024),
    "answers_before_the_error": command("PING") * 3 + b"*1\r\n$-1\r\n" + command("PING"),
    "half_a_request_at_the_end": command("PING") + b"*2\r\n$3\r\nGET\r\n$10\r\nabc",
    "post": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET key stolen\r\n",
    "host": command("PING") + b"\r\nhost: x\r\nPING\r\n",
    "unknown_command": command("FOO") + command("foo", "a", "b c") + lines("foo \"x\\r\\ny\""),
    "unknown_command_with_long_arguments": command("nosuch", "a" * 200, "b", "c") + command("n" * 300, "x"),
    "unknown_subcommand": command("CLIENT", "NOPE") + command("client", "n" * 200) + command("CONFIG", "nope", "x"),
    "wrong_arity": command("GET") + command("GET", "a", "b") + command("SET", "a") + command("MSET", "a", "b", "c"),
    "wrong_arity_of_containers": command("CLIENT") + command("CLIENT", "KILL") + command("CONFIG", "GET"),
    "ping_and_echo": command("PING", "a", "b") + command("ECHO") + command("ECHO", "x"),
    "select": command("SELECT", "0") + command("SELECT", "99") + command("SELECT", "-1") + command("SELECT", "x") + command("SELECT", "2147483648"),
    "auth_without_a_password": command("AUTH", "x") + command("AUTH", "default", "x") + command("AUTH", "you", "x")
    + command("AUTH", "a", "b", "c"),
    "hello_errors": command("HELLO", "1") + command("HELLO", "4") + command("HELLO", "x") + command("HELLO", "2", "NOPE")
    + command("HELLO", "3", "AUTH", "x") + command("HELLO", "3", "SETNAME", "a b"),
    "names": command("CLIENT", "GETNAME") + command("CLIENT", "SETNAME", "me") + command("CLIENT", "GETNAME")
    + command("CLIENT", "SETNAME", "a b") + command("CLIENT", "SETNAME", "") + command("CLIENT", "GETNAME"),
    "reset": command("CLIENT", "SETNAME", "me") + command("RESET") + command("CLIENT", "GETNAME"),
    "quit": command("PING") + command("QUIT") + command("PING"),
    "client_kill_errors": command("CLIENT", "KILL", "000.123.321.567:0") + command("CLIENT", "KILL", "ID")
    + command("CLIENT", "KILL", "ID", "x") + command("CLIENT", "KILL", "ID", "0") + command("CLIENT", "KILL", "ID", "123456")
    + command("CLIENT", "KILL", "TYPE", "nope") + command("CLIENT", "KILL", "TYPE", "master")
    + command("CLIENT", "KILL", "USER", "nobody") + command("CLIENT", "KILL", "SKIPME", "maybe")
    + command("CLIENT", "KILL", "NOPE", "x") + command("CLIENT", "KILL", "ID", "1", "SKIPME"),
    "client_list_errors": command("CLIENT", "LIST", "NOPE") + command("CLIENT", "LIST", "TYPE", "nope")
    + command("CLIENT", "LIST", "TYPE", "replica") + command("CLIENT", "LIST", "ID", "x") + command("CLIENT", "LIST", "ID", "999999"),
    "client_flags": command("CLIENT", "NO-EVICT", "on") + command("CLIENT", "NO-EVICT", "off") + command("CLIENT", "NO-EVICT", "x"),
    "flush": command("SET", "a", "1") + command("DBSIZE") + command("FLUSHDB", "ASYNC") + command("DBSIZE")
    + command("FLUSHALL", "SYNC") + command("FLUSHALL", "NOPE") + command("FLUSHDB", "a", "b"),
    "getkeys": command("COMMAND", "GETKEYS", "GET", "a") + command("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2")
    + command("COMMAND", "GETKEYS", "PING") + command("COMMAND", "GETKEYS", "NOPE") + command("COMMAND", "GETKEYS", "GET"),
    "command_of_nothing": command("COMMAND", "INFO", "nope") + command("COMMAND", "DOCS", "nope") + command("COMMAND", "LIST", "FILTERBY", "MODULE", "x")
    + command("COMMAND", "LIST", "NOPE"),
    "resp3_nulls": command("GET", "nope") + command("HGETALL", "nope") + command("MGET", "a", "b"),
}


@pytest.mark.parametrize("name", SAME_AS_REDIS)
def test_the_same_bytes_get_redis_replies(name, plain, redis_server):
    data = SAME_AS_REDIS[name]
    expected = exchange(redis_server.connection_pool.connection_kwargs["port"], data)
    assert exchange(plain.port, data) == expected


@pytest.mark.parametrize("name", [n for n, data in SAME_AS_REDIS.items() if len(data) < 1000 and n != "host"])
def test_byte_by_byte_gets_the_same_replies(name, plain):
    data = SAME_AS_REDIS[name]
    whole = exchange(plain.port, data)
    plain.redis.flushall()
    assert exchange(plain.port, data, pause=True) == whole


def test_resp3_replies_are_redis_bytes(plain, redis_server):
    port = redis_server.connection_pool.connection_kwargs["port"]
    script = [
        ("SET", "s", "1"), ("GET", "s"), ("GET", "none"), ("HSET", "h", "f", "1", "g", "2"), ("HGETALL", "h"), ("HGETALL", "none"),
        ("HMGET", "h", "f", "x"), ("MGET", "s", "none"), ("INCRBYFLOAT", "s", "0.5"), ("HGET", "s", "f"), ("HRANDFIELD", "none"),
        ("SET", "s", "2", "GET"), ("COMMAND", "INFO", "get"), ("COMMAND", "INFO", "nope"), ("CLIENT", "GETNAME"), ("EXISTS", "s"),
        ("CONFIG", "GET", "nope"),
    ]  # fmt: skip
    answers = []
    for at in (port, plain.port):
        with Wire(at) as wire:
            wire.send(command("HELLO", "3") + command("ECHO", "begin"))
            while wire.line() != b"begin":
                pass
            wire.send(b"".join(command(*words) for words in script))
            wire.half_close()
            answers.append(wire.read_to_end())
    assert answers[1] == answers[0]


def test_a_deep_pipeline_is_answered_in_order(plain):
    n = 50_000
    data = b"".join(command("SET", f"k{i % 100}", i) + command("GET", f"k{i % 100}") for i in range(n))
    expected = b"".join(b"+OK\r\n$%d\r\n%d\r\n" % (len(str(i)), i) for i in range(n))
    with Wire(plain.port, timeout=60) as wire:
        sender = threading.Thread(target=lambda: (wire.send(data), wire.half_close()))
        sender.start()
        assert wire.read_to_end() == expected
        sender.join()


def test_a_client_that_reads_only_after_writing_everything_is_served(plain):
    """As redis-py's pipelines do: replies wait at our side, within the output limit."""
    plain.redis.set("big", "x" * 10_000)
    n = 2000
    with Wire(plain.port, timeout=60) as wire:
        wire.send(command("GET", "big") * n)
        wire.half_close()
        assert len(wire.read_to_end()) == n * (10_000 + len("$10000\r\n\r\n"))


def test_half_closed_sockets_get_their_answers(plain):
    with Wire(plain.port) as wire:
        wire.send(command("SET", "k", "v") + command("GET", "k"))
        wire.half_close()
        assert wire.read_to_end() == b"+OK\r\n$1\r\nv\r\n"


def test_a_bulk_of_many_megabytes(plain):
    value = bytes(range(256)) * (20 * 4096)
    with Wire(plain.port, timeout=60) as wire:
        wire.send(command("SET", "big", value))
        assert wire.line() == b"+OK"
        wire.send(command("GET", "big"))
        assert wire.bulk() == value


def test_many_arguments(plain):
    n = 100_000
    plain.redis.set("k99999", "last")
    with Wire(plain.port, timeout=60) as wire:
        wire.send(command("MGET", *(f"k{i}" for i in range(n))))
        assert wire.line() == b"*%d" % n
        wire.expect(b"$-1\r\n" * (n - 1) + b"$4\r\nlast\r\n")


def test_one_deep_pipeline_does_not_starve_others(plain):
    """A client that never stops sending is answered without end, and others are answered in between."""
    enough = threading.Event()
    with Wire(plain.port, timeout=60) as greedy, Wire(plain.port) as first, Wire(plain.port) as second:

        def send():
            while not enough.is_set():
                greedy.send(b"PING\r\n" * 10_000)
            greedy.half_close()

        received = []
        threads = [threading.Thread(target=send), threading.Thread(target=lambda: received.append(len(greedy.read_to_end())))]
        for thread in threads:
            thread.start()
        for _ in range(100):
            for wire in (first, second):  # one on either worker
                wire.send(b"PING\r\n")
                wire.expect(b"+PONG\r\n")
        enough.set()
        for thread in threads:
            thread.join()
        assert received[0] >= 7 * 10_000 and received[0] % 70_000 == 0


@pytest.mark.parametrize("size", [16_384, 70_000, 1_000_000])
def test_big_values_are_sent_as_they_were_when_they_were_read(plain, size):
    """They are sent from where they lie, though a command behind them replaces or removes them; by pieces to who reads slowly."""
    first, second = b"a" * size, b"b" * (size + 1)
    small = [command("SET", "small", 1), command("GET", "small")]
    requests, replies = [], []
    for i in range(12):
        requests += [command("SET", "big", first), command("GET", "big"), *small, command("GET", "big"), command("SET", "big", second)]
        replies += [b"+OK\r\n", b"$%d\r\n%s\r\n" % (size, first), b"+OK\r\n$1\r\n1\r\n", b"$%d\r\n%s\r\n" % (size, first), b"+OK\r\n"]
        requests += [command("GET", "big"), command("DEL", "big"), command("GET", "big"), command("PING")]
        replies += [b"$%d\r\n%s\r\n" % (size + 1, second), b":1\r\n$-1\r\n+PONG\r\n"]
    with Wire(plain.port, timeout=60, receive_buffer=4096) as wire:
        sender = threading.Thread(target=lambda: wire.send(b"".join(requests)))
        sender.start()
        wire.expect(b"".join(replies))
        sender.join()


def test_big_values_within_a_transaction_and_with_replies_off(plain):
    big = b"x" * 100_000
    with Wire(plain.port, timeout=60) as wire:
        assert wire.call("SET", "big", big) == b"+OK"
        wire.send(command("MULTI") + command("GET", "big") + command("GET", "none") + command("EXEC"))
        wire.expect(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$100000\r\n" + big + b"\r\n$-1\r\n")
        wire.send(command("GET", "big") + command("CLIENT", "REPLY", "SKIP") + command("GET", "big") + command("PING"))
        wire.expect(b"$100000\r\n" + big + b"\r\n+PONG\r\n")


def test_cross_protocol_requests_run_nothing(plain):
    before = plain.metric("freshet_cache_protocol_errors_total")
    assert exchange(plain.port, b"POST / HTTP/1.1\r\nSET stolen 1\r\n") == b""
    assert plain.redis.get("stolen") is None
    assert plain.metric("freshet_cache_protocol_errors_total") == before + 1
