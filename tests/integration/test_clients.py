"""CLIENT and its like: who is connected, who is silenced, paused, unblocked or killed; MONITOR; RESET."""

import re
import time

import pytest
import redis

from support.resp import Wire, command

PLAIN = {"read_through": False, "workers": 3}


@pytest.fixture
def served(freshet):
    return freshet(None, {"cache": PLAIN})


def client(served, **options):
    return redis.Redis(port=served.port, decode_responses=True, **options)


def line_of(r, client_id):
    return next((c for c in r.client_list() if c["id"] == str(client_id)), None)


def id_of(wire):
    return int(wire.call("CLIENT", "ID")[1:])


# --- LIST, INFO ---


def test_list_and_info_have_redis_s_fields_in_redis_s_order(served, redis_server):
    def fields(port, *words):
        with Wire(port) as wire:
            wire.send(command(*words))
            return re.findall(r"([a-z-]+)=", wire.bulk().decode().splitlines()[0])

    redis_port = redis_server.connection_pool.connection_kwargs["port"]
    for words in (("CLIENT", "LIST"), ("CLIENT", "INFO")):
        theirs = fields(redis_port, *words)
        assert len(theirs) > 20
        assert fields(served.port, *words)[: len(theirs)] == theirs


def test_the_list_shows_what_a_client_does(served, wait_until):
    r = client(served)
    with Wire(served.port) as wire:
        number = id_of(wire)
        wire.call("CLIENT", "SETNAME", "me")
        shown = line_of(r, number)
        assert (shown["name"], shown["flags"], shown["sub"], shown["cmd"]) == ("me", "N", "0", "client|setname")
        wire.send(command("SUBSCRIBE", "a", "b") + command("PSUBSCRIBE", "c*") + command("SSUBSCRIBE", "d"))
        wait_until(lambda: (c := line_of(r, number)) and (c["sub"], c["psub"], c["ssub"], c["flags"]) == ("2", "1", "1", "P"), timeout=5)
        assert [c["id"] for c in r.client_list(_type="pubsub")] == [str(number)]
        assert str(number) not in [c["id"] for c in r.client_list(_type="normal")]
    with Wire(served.port) as wire:
        number = id_of(wire)
        assert wire.call("MONITOR") == b"+OK"
        assert line_of(r, number)["flags"] == "O"
    with Wire(served.port) as wire:
        number = id_of(wire)
        wire.call("WATCH", "watched")
        wire.call("MULTI")
        assert line_of(r, number)["flags"] == "x"
        r.set("watched", "by another")
        assert sorted(line_of(r, number)["flags"]) == ["d", "x"]
        wire.call("DISCARD")
        assert line_of(r, number)["flags"] == "N"
    with Wire(served.port) as wire:
        number = id_of(wire)
        wire.send(command("BLPOP", "none", 0))
        wait_until(lambda: line_of(r, number)["flags"] == "b", timeout=5)
    assert r.client_list(_type="replica") == r.client_list(_type="master") == []
    with pytest.raises(redis.ResponseError, match="Unknown client type 'x'"):
        r.execute_command("CLIENT", "LIST", "TYPE", "x")
    ids = r.client_id(), 99999
    assert [c["id"] for c in r.client_list(client_id=list(ids))] == [str(ids[0])]


def test_one_s_own_request_is_in_the_query_buffer(served):
    with Wire(served.port) as wire:
        wire.send(command("CLIENT", "LIST"))
        assert b" qbuf=26 " in wire.bulk()
        wire.send(command("CLIENT", "INFO"))
        assert b" qbuf=26 " in wire.bulk()


# --- KILL ---


def test_kill_closes_clients_of_every_worker_by_each_filter(served, wait_until):
    r = client(served)

    def killed(*words, n=3):
        wires = [Wire(served.port) for _ in range(n)]
        numbers = [id_of(wire) for wire in wires]
        for wire in wires:
            wire.send(command("SUBSCRIBE", "x"))
            wire.line()
        words = [str(w).format(id=numbers[0], addr="%s:%d" % wires[0].socket.getsockname(), max=numbers[-1]) for w in words]
        count = r.execute_command("CLIENT", "KILL", *words)
        gone = 0
        for wire in wires:
            wire.socket.settimeout(0.3)
            try:
                wire.read_to_end()
                gone += 1
            except TimeoutError:
                pass
            wire.close()
        wait_until(lambda: len(r.client_list()) == 1, timeout=5)
        return count, gone

    assert killed("ID", "{id}") == (1, 1)
    assert killed("ADDR", "{addr}") == (1, 1)
    assert killed("{addr}") in ((True, 1), ("OK", 1))
    assert killed("TYPE", "pubsub") == (3, 3)
    assert killed("TYPE", "normal") == (0, 0)
    assert killed("SKIPME", "yes") == (3, 3)
    assert killed("USER", "default", "TYPE", "pubsub") == (3, 3)
    assert killed("MAXAGE", 1000) == (0, 0)
    for words, why in (
        (("ID", "str"), "greater than 0"),
        (("ID", "10", "x"), "syntax error"),
        (("TYPE", "x"), "Unknown client type"),
        (("USER", "x"), "No such user 'x'"),
        (("SKIPME", "maybe"), "syntax error"),
        (("127.0.0.1:1",), "No such client"),
    ):
        with pytest.raises(redis.ResponseError, match=why):
            r.execute_command("CLIENT", "KILL", *words)


# --- REPLY ---


def test_reply_off_on_and_skip(served):
    with Wire(served.port) as wire:
        wire.send(command("CLIENT", "REPLY", "OFF") + command("PING") + command("NONE") + command("CLIENT", "REPLY", "ON"))
        wire.expect(b"+OK\r\n")
        wire.send(command("CLIENT", "REPLY", "SKIP") + command("PING", "a") + command("PING", "b"))
        wire.expect(b"$1\r\nb\r\n")
        wire.send(command("CLIENT", "REPLY", "SKIP") + command("CLIENT", "REPLY", "ON") + command("PING"))
        wire.expect(b"+OK\r\n+PONG\r\n")
        wire.send(command("CLIENT", "REPLY", "MAYBE"))
        wire.expect(b"-ERR syntax error\r\n")


def test_reply_off_does_not_silence_messages(served):
    with Wire(served.port) as wire:
        wire.send(command("CLIENT", "REPLY", "OFF") + command("SUBSCRIBE", "a"))
        wire.expect(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
        assert client(served).publish("a", "m") == 1
        wire.expect(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n")


# --- PAUSE ---


def waiting(served):
    return served.metric("freshet_cache_clients_waiting")


def test_a_pause_of_writes_holds_writes_and_publishes_and_lets_reads_through(served, wait_until):
    r = client(served)
    r.set("k", "old")
    assert r.execute_command("CLIENT", "PAUSE", 100000, "WRITE") in (True, "OK")
    wires = [Wire(served.port) for _ in range(4)]
    for wire in wires[:3]:
        wire.send(command("SET", "k", "new") + command("GET", "k"))
    wires[3].send(command("PUBLISH", "a", "b"))
    wait_until(lambda: waiting(served) == 4, timeout=5)
    assert r.get("k") == "old"
    with Wire(served.port) as wire:
        assert wire.call("SET", "k") == b"-ERR wrong number of arguments for 'set' command"
    assert r.execute_command("CLIENT", "UNPAUSE") in (True, "OK")
    for wire in wires[:3]:
        wire.expect(b"+OK\r\n$3\r\nnew\r\n")
    wires[3].expect(b":0\r\n")
    assert waiting(served) == 0


def test_a_pause_of_all_ends_by_itself(served):
    r = client(served)
    begin = time.monotonic()
    assert r.execute_command("CLIENT", "PAUSE", 300) in (True, "OK")
    assert r.ping()
    assert 0.25 < time.monotonic() - begin < 5
    assert r.set("k", "v")


def test_a_paused_blocking_command_begins_when_the_pause_ends(served, wait_until):
    r = client(served)
    r.execute_command("CLIENT", "PAUSE", 200, "WRITE")
    with Wire(served.port) as wire:
        wire.send(command("BLPOP", "list", 0))
        wait_until(lambda: waiting(served) == 1, timeout=5)
        assert r.rpush("list", "x") == 1  # waits for the pause's end too
        wire.expect(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n")


@pytest.mark.parametrize(
    "words, why",
    [
        (("PAUSE", "x"), "timeout is not an integer or out of range"),
        (("PAUSE", "-1"), "timeout is negative"),
        (("PAUSE", "10", "READ"), "CLIENT PAUSE mode must be WRITE or ALL"),
        (("UNBLOCK", "x"), "value is not an integer"),
        (("UNBLOCK", "1", "X"), "CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        (("REPLY",), "wrong number of arguments for 'client|reply'"),
    ],
)
def test_errors_are_worded_as_redis_words_them(served, redis_server, words, why):
    texts = []
    for r in (client(served), redis_server):
        with pytest.raises(redis.ResponseError) as error:
            r.execute_command("CLIENT", *words)
        texts.append(str(error.value))
    assert texts[0] == texts[1]


# --- UNBLOCK ---


def test_unblock_ends_a_wait_as_its_deadline_would_or_with_an_error(served, wait_until):
    r = client(served)
    for reason, answer in ((), b"*-1\r\n"), (("TIMEOUT",), b"*-1\r\n"), (("ERROR",), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"):
        with Wire(served.port) as wire:
            number = id_of(wire)
            assert r.execute_command("CLIENT", "UNBLOCK", number, *reason) == 0
            wire.send(command("BLPOP", "none", 0))
            wait_until(lambda: waiting(served) == 1, timeout=5)
            assert r.execute_command("CLIENT", "UNBLOCK", number, *reason) == 1
            wire.expect(answer)
            assert wire.call("PING") == b"+PONG"
            r.rpush("none", "x")
            assert wire.call("LPOP", "none") == b"$1"
            wire.expect(b"x\r\n")
    assert r.execute_command("CLIENT", "UNBLOCK", 12345) == 0


# --- MONITOR ---


def test_monitor_shows_the_commands_of_all_workers_and_hides_secrets(served):
    with Wire(served.port) as wire:
        assert wire.call("MONITOR") == b"+OK"
        others = [Wire(served.port) for _ in range(3)]
        for i, other in enumerate(others):
            other.call("SET", f"k{i}", b'a"b\\\n\x01\xff')
            line = wire.line().decode()
            address = "%s:%d" % other.socket.getsockname()
            assert re.fullmatch(r"\+\d+\.\d{6} \[0 " + re.escape(address) + r'\] "SET" "k' + str(i) + r'" "a\\"b\\\\\\n\\x01\\xff"', line), line
        others[0].call("AUTH", "someone", "secret")
        assert wire.line().endswith(b'"AUTH" "(redacted)" "(redacted)"')
        others[0].call("HELLO", "2", "AUTH", "someone", "secret")
        assert wire.line().endswith(b'"HELLO" "2" "AUTH" "(redacted)" "(redacted)"')
        others[0].call("CONFIG", "GET", "save")  # administration is not shown
        others[1].call("NONE")
        others[1].call("PING")
        assert wire.line().endswith(b'"PING"')
        assert wire.call("RESET") == b"+RESET"
        others[1].call("PING")
        assert wire.call("PING") == b"+PONG"


# --- RESET ---


def test_reset_leaves_every_mode(served):
    r = client(served)
    with Wire(served.port) as wire:
        number = id_of(wire)
        wire.send(command("HELLO", 3, "SETNAME", "me") + command("SUBSCRIBE", "a") + command("CLIENT", "NO-EVICT", "on"))
        wire.send(command("MONITOR") + command("CLIENT", "REPLY", "OFF") + command("RESET"))
        came = b""
        while b"+RESET\r\n" not in came:
            came += wire.read(1)
        shown = line_of(r, number)
        assert (shown["name"], shown["flags"], shown["sub"], shown["resp"]) == ("", "N", "0", "2")
        assert wire.call("PING") == b"+PONG"


def test_nothing_expires_while_writes_are_paused(served, wait_until):
    r = client(served)
    r.set("soon", "v", px=20)
    r.set("later", "v", px=400)  # more than one round of what looks for expired keys
    r.execute_command("CLIENT", "PAUSE", 100000, "WRITE")
    wait_until(lambda: r.get("later") is None, timeout=10)
    assert r.get("soon") is None
    assert r.info("stats")["expired_keys"] == 0
    r.execute_command("CLIENT", "UNPAUSE")
    wait_until(lambda: r.info("stats")["expired_keys"] == 2, timeout=10)
