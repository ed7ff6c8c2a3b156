"""Bounded everything: clients, output, what is read before AUTH, and what a silent or slow client costs."""

import pytest
import redis

from support.freshet import binary, symbols
from support.resp import Wire, command, exchange

PLAIN = {"read_through": False, "workers": 2}


def serve(freshet, **cache):
    return freshet(None, {"cache": {**PLAIN, **cache}})


def test_too_many_clients_are_told_and_closed(freshet, wait_until):
    served = serve(freshet, max_clients=3)
    wires = [Wire(served.port) for _ in range(3)]
    for wire in wires:
        assert wire.call("PING") == b"+PONG"
    with Wire(served.port) as refused:
        assert refused.read_to_end() == b"-ERR max number of clients reached\r\n"
    assert served.metric("freshet_cache_connections_rejected_total") == 1
    wires.pop().close()

    def has_room():
        with Wire(served.port) as wire:
            wire.send(b"PING\r\n")
            return wire.read_to_end if wire.line() == b"+PONG" else None

    wait_until(has_room, timeout=10)
    for wire in wires:
        wire.close()


def test_a_reader_slower_than_the_output_limit_is_closed(freshet, wait_until):
    served = serve(freshet, client_output_limit="1MiB")
    served.redis.set("big", "x" * 100_000)
    with Wire(served.port, receive_buffer=4096) as slow:
        try:
            for _ in range(200):
                slow.send(command("GET", "big") * 10)
        except OSError:
            pass
        wait_until(lambda: served.metric("freshet_cache_output_limit_closes_total") == 1, timeout=10)
    assert "reason=output_limit" in served.log_text()
    assert served.redis.ping()


def test_slow_readers_hold_their_limit_at_most_and_nobody_s_time(freshet):
    served = serve(freshet, client_output_limit="1MiB", workers=1)
    value, readers, times = b"x" * 90_000, 20, 10
    served.redis_bytes.set("big", value)
    before = served.rss_bytes()
    wires = [Wire(served.port, receive_buffer=4096) for _ in range(readers)]
    for wire in wires:
        wire.send(command("GET", "big") * times)
    with Wire(served.port) as quick:
        for _ in range(500):
            assert quick.call("PING") == b"+PONG"
    if "__asan_init" not in symbols() and "__tsan_init" not in symbols():
        assert served.rss_bytes() - before < readers * (1 << 20) * 1.5
    for wire in wires:
        wire.expect(b"$90000\r\n%s\r\n" % value * times)
        wire.close()
    assert served.metric("freshet_cache_output_limit_closes_total") == 0


def test_a_request_beyond_the_query_limit_closes(freshet):
    served = serve(freshet)
    served.redis.config_set("client-query-buffer-limit", 1 << 20)
    with Wire(served.port) as wire:
        try:
            wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n" + b"x" * 2_900_000)
            assert wire.read_to_end() == b""
        except OSError:
            pass  # it was closed with bytes unread
    assert "reason=query_limit" in served.log_text()
    assert served.metric("freshet_cache_protocol_errors_total") == 1
    assert served.redis.get("k") is None


def test_one_reply_larger_than_the_limit_reaches_who_reads_it(freshet):
    served = serve(freshet, client_output_limit="1MiB")
    value = "x" * (8 << 20)
    assert served.redis.set("big", value)
    assert served.redis.get("big") == value
    assert served.metric("freshet_cache_output_limit_closes_total") == 0


def test_before_auth_little_is_read_and_nothing_run(freshet):
    served = freshet(None, {"cache": {**PLAIN, "password": "secret"}})
    port = served.port
    assert exchange(port, command("GET", "a")) == b"-NOAUTH Authentication required.\r\n"
    assert exchange(port, command("NOSUCH")).startswith(b"-ERR unknown command")
    assert exchange(port, b"*11\r\n") == b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    assert exchange(port, b"*1\r\n$16385\r\n") == b"-ERR Protocol error: unauthenticated bulk length\r\n"
    assert exchange(port, command("AUTH", "wrong")) == b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    assert exchange(port, command("AUTH", "someone", "secret")).startswith(b"-WRONGPASS")
    assert exchange(port, command("HELLO", "3")).startswith(b"-NOAUTH HELLO must be called")
    # What comes behind an AUTH in the same packet has the full bounds.
    wide = command("MSET", *(word for i in range(20) for word in (f"k{i}", "x" * 20_000)))
    assert exchange(port, command("AUTH", "secret") + wide) == b"+OK\r\n+OK\r\n"
    assert exchange(port, command("AUTH", "default", "secret") + command("PING")) == b"+OK\r\n+PONG\r\n"
    # RESET takes the right away again.
    assert exchange(port, command("AUTH", "secret") + command("RESET") + command("PING")).endswith(b"-NOAUTH Authentication required.\r\n")


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_authenticates(freshet, protocol):
    served = freshet(None, {"cache": {**PLAIN, "password": "secret"}})
    assert served.client(password="secret", protocol=protocol).ping()
    assert served.client(username="default", password="secret", protocol=protocol).ping()
    with pytest.raises(redis.exceptions.AuthenticationError):
        served.client(password="wrong", protocol=protocol).ping()


def test_an_announced_bulk_costs_only_what_was_sent(freshet):
    served = serve(freshet)
    served.redis.ping()
    before = served.rss_bytes()
    wires = [Wire(served.port) for _ in range(50)]
    for wire in wires:
        wire.send(b"*2\r\n$3\r\nGET\r\n$536870912\r\n" + b"x" * 1000)
    assert served.redis.ping()
    assert served.rss_bytes() - before < 50 << 20
    for wire in wires:
        wire.close()


def test_idle_clients_cost_little(freshet, wait_until):
    if any(name in binary().read_bytes() for name in (b"__asan_init", b"__tsan_init")):
        pytest.skip("a sanitizer keeps what was freed")
    served = serve(freshet, max_clients=5000)
    served.redis.set("big", "x" * 100_000)
    n = 900
    before = served.rss_bytes()
    wires = [Wire(served.port) for _ in range(n)]
    for wire in wires:  # each had large buffers once
        wire.send(command("SET", "k", "y" * 50_000) + command("GET", "big"))
        assert wire.line() == b"+OK"
        assert len(wire.bulk()) == 100_000
    wait_until(lambda: served.redis.info("clients")["connected_clients"] == n + 1, timeout=10)
    assert (served.rss_bytes() - before) / n < 16 << 10
    for wire in wires:
        wire.close()


def test_clients_that_go_in_the_middle_leave_nothing(freshet, wait_until):
    served = serve(freshet)
    served.redis.set("big", "x" * 1_000_000)
    for i in range(60):
        wire = Wire(served.port, receive_buffer=4096)
        wire.send([command("GET", "big") * 5, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc", b"PI"][i % 3])
        wire.close()
    wait_until(lambda: served.metric("freshet_cache_connections_total") == 61, timeout=10)
    wait_until(lambda: served.metric("freshet_cache_clients") == 1, timeout=10)
    assert served.redis.info("clients")["connected_clients"] == 1


def test_the_end_sends_what_is_on_its_way(freshet):
    served = serve(freshet)
    served.redis.set("big", "x" * 3_000_000)
    with Wire(served.port, timeout=30, receive_buffer=4096) as wire:
        wire.send(command("GET", "big"))
        wire.expect(b"$3000000\r\n")
        served.process.signal(15)
        assert len(wire.read_to_end()) == 3_000_002
    assert served.process.wait_ended(20) == 0


def test_a_few_words_ask_for_no_more_than_a_reply_may_be(freshet):
    """One MGET of one key many times over, and one EXEC of many reads of it: refused at 512 MiB, and what writes is done."""
    served = serve(freshet, workers=1)
    served.redis.set("big", "x" * (8 << 20))
    served.redis.hset("h", "f", "x" * (8 << 20))
    with Wire(served.port) as wire:
        for words in (["MGET"] + ["big"] * 500, ["HMGET", "h"] + ["f"] * 500):
            assert wire.call(*words).startswith(b"-ERR the reply would be longer than 536870912 bytes")
    with Wire(served.port, receive_buffer=4096) as wire:
        wire.send(command("MULTI") + command("GET", "big") * 2000 + command("SET", "after", "1") + command("EXEC"))
        for _ in range(2002):
            wire.line()
        assert wire.line() == b"*2001"
        assert served.redis.get("after") == "1"
        if "__asan_init" not in symbols() and "__tsan_init" not in symbols():
            assert served.rss_bytes() < 2 << 30
