"""Commands about connections and the server: HELLO, CLIENT, COMMAND, INFO, CONFIG, through redis-py and bare sockets."""

import re

import pytest
import redis

from support.freshet import Freshet
from support.resp import Wire, command


@pytest.fixture(scope="module")
def plain(workshop):
    served = Freshet(workshop, {"cache": {"read_through": False, "workers": 2, "max_memory": "64MiB"}}).start()
    yield served
    served.close()


@pytest.fixture(autouse=True)
def empty(plain):
    plain.redis.flushall()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(plain, request):
    return plain.client(protocol=request.param)


def test_hello_tells_what_clients_look_for(plain):
    for protocol in (2, 3):
        with Wire(plain.port) as wire:
            wire.send(command("HELLO", protocol, "SETNAME", "me") + command("CLIENT", "GETNAME"))
            header = wire.line()
            assert header == (b"%8" if protocol == 3 else b"*16")
            answer = [wire.line() for _ in range(29)]
            words = dict(zip(*[iter([w for w in answer if not w.startswith(b"$")])] * 2))
            assert words[b"server"] == b"redis"
            assert words[b"version"] == b"7.4.0"
            assert words[b"proto"] == b":%d" % protocol
            assert words[b"mode"] == b"standalone" and words[b"role"] == b"master"
            assert words[b"freshet_version"]


def test_a_protocol_holds_until_it_is_changed(plain):
    with Wire(plain.port) as wire:
        assert wire.call("GET", "none") == b"$-1"
        wire.send(command("HELLO", "3") + command("GET", "none") + command("HELLO", "2") + command("GET", "none") + command("QUIT"))
        data = wire.read_to_end()
        assert b"_\r\n*16\r\n" in data and data.endswith(b"$-1\r\n+OK\r\n")


def test_redis_py_speaks_both_protocols(client):
    assert client.ping()
    assert client.set("k", "v") and client.get("k") == "v"
    assert client.hset("h", mapping={"a": "1", "b": "2"}) == 2
    assert client.hgetall("h") == {"a": "1", "b": "2"}
    with client.pipeline(transaction=False) as pipe:
        pipe.set("n", 1).incr("n").mget("n", "none")
        assert pipe.execute() == [True, 2, ["2", None]]


def test_client_list_shows_every_worker_s_clients(plain, client):
    me = client.client_id()
    others = [plain.client() for _ in range(4)]
    for i, other in enumerate(others):
        other.client_setname(f"other-{i}")
    listed = {entry["name"]: entry for entry in client.client_list()}
    assert {f"other-{i}" for i in range(4)} <= set(listed)
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", entry["addr"]) for entry in listed.values())
    mine = client.client_info()
    assert int(mine["id"]) == me and mine["cmd"] == "client|info"
    assert mine["laddr"] == f"127.0.0.1:{plain.port}"
    assert [entry["name"] for entry in client.client_list(client_id=[others[2].client_id()])] == ["other-2"]


def test_the_library_s_name_is_kept(plain):
    with Wire(plain.port) as wire:
        assert wire.call("CLIENT", "SETINFO", "LIB-NAME", "my-lib(x_v1)") == b"+OK"
        assert wire.call("CLIENT", "SETINFO", "LIB-VER", "1.2.3") == b"+OK"
        assert wire.call("CLIENT", "SETINFO", "LIB-NAME", "my lib").startswith(b"-ERR lib-name cannot contain spaces")
        assert wire.call("CLIENT", "SETINFO", "NOPE", "x") == b"-ERR Unrecognized option 'NOPE'"
        wire.send(command("CLIENT", "INFO"))
        assert b"lib-name=my-lib(x_v1) lib-ver=1.2.3" in wire.bulk()


def kill(plain, *words):
    with Wire(plain.port) as wire:
        return wire.call("CLIENT", "KILL", *words)


@pytest.mark.parametrize("by", ["id", "addr", "old form", "laddr and name", "maxage"])
def test_kill_ends_a_client_of_any_worker(plain, wait_until, by):
    victims = [Wire(plain.port) for _ in range(4)]
    for victim in victims:
        victim.send(command("CLIENT", "ID"))
        victim_id = int(victim.line()[1:])
        address = "127.0.0.1:%d" % victim.socket.getsockname()[1]
        if by == "id":
            assert kill(plain, "ID", victim_id) == b":1"
        elif by == "addr":
            assert kill(plain, "ADDR", address, "TYPE", "normal", "USER", "default") == b":1"
        elif by == "old form":
            assert kill(plain, address) == b"+OK"
        elif by == "laddr and name":
            assert kill(plain, "ID", victim_id, "LADDR", "127.0.0.1:1") == b":0"
            assert kill(plain, "ID", victim_id, "LADDR", f"127.0.0.1:{plain.port}") == b":1"
        else:
            assert kill(plain, "ID", victim_id, "MAXAGE", "1000") == b":0"
            assert kill(plain, "ID", victim_id) == b":1"
        wait_until(victim.is_closed, timeout=10)


def test_kill_spares_the_caller_unless_told(plain):
    with Wire(plain.port) as wire:
        assert wire.call("CLIENT", "ID").startswith(b":")
        me = "127.0.0.1:%d" % wire.socket.getsockname()[1]
        assert wire.call("CLIENT", "KILL", "ADDR", me) == b":0"
        wire.send(command("CLIENT", "KILL", "ADDR", me, "SKIPME", "no") + command("PING"))
        assert wire.read_to_end() == b":1\r\n"


def test_a_killed_client_is_listed_no_more(plain):
    with Wire(plain.port) as victim, Wire(plain.port) as wire:
        victim_id = victim.call("CLIENT", "ID")[1:]
        assert wire.call("CLIENT", "KILL", "ID", victim_id.decode()) == b":1"
        wire.send(command("CLIENT", "LIST", "ID", victim_id.decode()))
        assert wire.bulk() == b""


def test_unicode_and_long_names_are_refused(client):
    with pytest.raises(redis.ResponseError, match="cannot contain spaces"):
        client.client_setname("naïve")


def test_info_has_redis_sections_and_fields(client):
    info = client.info()
    for field in (
        "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds connected_clients blocked_clients "
        "maxclients used_memory used_memory_human used_memory_rss maxmemory maxmemory_policy loading aof_enabled "
        "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes rejected_connections "
        "expired_keys evicted_keys keyspace_hits keyspace_misses role connected_slaves used_cpu_sys used_cpu_user cluster_enabled"
    ).split():
        assert field in info, field
    assert info["redis_version"] == "7.4.0" and info["freshet_version"]
    assert info["maxmemory"] == 64 << 20 and info["role"] == "master"
    client.set("a", "1", ex=100)
    client.set("b", "1")
    assert client.info("keyspace")["db0"] == {"keys": 2, "expires": 1, "avg_ttl": 0}
    assert set(client.info("clients")) >= {"connected_clients"} and "redis_version" not in client.info("clients")
    assert client.execute_command("INFO", "server", "cluster") is not None


def test_info_counts(client):
    before = client.info("stats")
    for _ in range(10):
        client.ping()
    with pytest.raises(redis.ResponseError):
        client.execute_command("GET")
    after = client.info("stats")
    assert after["total_commands_processed"] - before["total_commands_processed"] == 12
    assert after["total_error_replies"] - before["total_error_replies"] == 1
    assert after["total_net_input_bytes"] > before["total_net_input_bytes"]


def test_command_tells_its_table(plain, client, redis_server):
    count = client.command_count()
    assert count == len(client.command()) == len([name for name in client.command_list() if "|" not in name])
    theirs = redis_server.command()
    ours = client.command()
    for name, entry in ours.items():
        if name in theirs and name not in ("client", "config", "command"):
            assert entry["arity"] == theirs[name]["arity"], name
            assert entry["first_key_pos"] == theirs[name]["first_key_pos"], name
            assert entry["last_key_pos"] == theirs[name]["last_key_pos"], name
            assert entry["step_count"] == theirs[name]["step_count"], name
            for flag in ("write", "readonly", "fast", "denyoom", "no_auth"):
                assert (flag in entry["flags"]) == (flag in theirs[name]["flags"]), (name, flag)
    docs = client.execute_command("COMMAND DOCS", "get", "client|kill")
    assert "summary" in str(docs) and "client|kill" in str(docs)


def test_every_command_has_its_documentation(plain):
    client = plain.client(protocol=3)
    docs = client.execute_command("COMMAND DOCS")
    assert len(docs) == client.command_count()
    for name, entry in docs.items():
        assert entry["summary"] and entry["since"] and entry["group"] and entry["complexity"], name


def test_config_get(client):
    assert client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}
    assert client.config_get("save") == {"save": ""} and client.config_get("appendonly") == {"appendonly": "no"}
    assert set(client.config_get("max*")) == {"maxclients", "maxmemory", "maxmemory-clients", "maxmemory-policy", "maxmemory-samples"}
    assert client.config_get("MAXCLIENTS", "nope") == {"maxclients": "10000"}
    with pytest.raises(redis.ResponseError, match="not supported"):
        client.execute_command("CONFIG", "REWRITE")


def test_time_and_size(client):
    seconds, micros = client.time()
    assert seconds > 1_700_000_000 and 0 <= micros < 1_000_000
    client.mset({"a": 1, "b": 2})
    assert client.dbsize() == 2
    assert client.flushdb() and client.dbsize() == 0


def test_help_of_containers(plain):
    for container in ("CLIENT", "COMMAND", "CONFIG"):
        with Wire(plain.port) as wire:
            wire.send(command(container, "HELP") + command("QUIT"))
            lines = wire.read_to_end().decode().split("\r\n")
        assert lines[1] == f"+{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        assert "+HELP" in lines


@pytest.mark.parametrize("words", ["PING", "INFO", "-3 HELLO", "COMMAND DOCS get", "--bigkeys"])
def test_redis_cli_is_served(plain, words):
    import subprocess

    done = subprocess.run(["redis-cli", "-p", str(plain.port), *words.split()], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and not done.stdout.startswith("ERR"), done.stdout


def test_redis_benchmark_is_served(plain):
    import subprocess

    done = subprocess.run(
        ["redis-benchmark", "-p", str(plain.port), "-t", "ping,set,get,incr,mset,hset", "-n", "2000", "-c", "10", "-P", "8", "-q"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and "requests per second" in done.stdout and "ERR" not in done.stdout, done.stdout


def test_ipv6_and_all_interfaces(freshet):
    import socket

    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    served = freshet(None, {"cache": {"read_through": False}}, start=False)
    served.config["cache"]["listen"] = f"[::1]:{served.port}"
    served.write_config()
    served.start()
    client = redis.Redis(host="::1", port=served.port, decode_responses=True)
    assert client.ping() and client.client_info()["laddr"] == f"[::1]:{served.port}"
    client.close()


def test_a_port_in_use_is_one_clear_line(plain, cli):
    done = cli("run", "--set", "cache.read_through=false", "--listen", f"127.0.0.1:{plain.port}", "--admin", "127.0.0.1:0")
    assert done.returncode == 1
    assert f"127.0.0.1:{plain.port}" in done.stderr and "Address already in use" in done.stderr
