"""What administrators and dashboards ask: CONFIG, INFO, SLOWLOG, LATENCY, COMMAND, DEBUG."""

import time

import pytest
import redis

from support.pair import story
from support.resp import Wire

PLAIN = {"read_through": False, "workers": 2}


@pytest.fixture
def served(freshet):
    return freshet(None, {"cache": PLAIN})


# --- CONFIG ---


CONFIG_STORIES = {
    "unknown": "CONFIG SET nothing 1 | CONFIG GET nothing | CONFIG SET timeout | CONFIG | CONFIG GET",
    "numbers": "CONFIG SET timeout x | CONFIG SET timeout -1 | CONFIG SET timeout 60 | CONFIG GET timeout | CONFIG SET timeout 0",
    "bytes": "CONFIG SET proto-max-bulk-len 2mb | CONFIG GET proto-max-bulk-len | CONFIG SET proto-max-bulk-len 2k"
    " | CONFIG SET proto-max-bulk-len 2x | CONFIG SET proto-max-bulk-len 512mb",
    "counts": "CLIENT PAUSE 0 WRITE x | CLIENT UNBLOCK 1 TIMEOUT x | PUBSUB CHANNELS a b | ACL LOG 1 2 | CLIENT pause 1 2 3",
    "wordings": "CONFIG SET latency-tracking-info-percentiles '1 x' | CONFIG SET latency-tracking-info-percentiles 101",
    "words": "CONFIG SET latency-tracking maybe | CONFIG SET latency-tracking no | CONFIG GET latency-tracking | CONFIG SET latency-tracking YES",
    "choices": "CONFIG SET acl-pubsub-default allchannels | CONFIG GET acl-pubsub-default | CONFIG SET acl-pubsub-default resetchannels",
    "all or none": "CONFIG SET slowlog-max-len 7 timeout x | CONFIG GET slowlog-max-len | CONFIG SET slowlog-max-len 7 timeout 9"
    " | CONFIG GET timeout | CONFIG GET slowlog-max-len | CONFIG SET slowlog-max-len 128 timeout 0 | CONFIG SET timeout 1 timeout 2",
    "both names": "CONFIG SET hash-max-ziplist-entries 3 | CONFIG GET hash-max-listpack-entries | CONFIG SET hash-max-listpack-entries 512"
    " | CONFIG GET hash-max-ziplist-entries",
    "percentiles": "CONFIG GET latency-tracking-info-percentiles | CONFIG SET latency-tracking-info-percentiles '0.0 50 99.99'"
    " | CONFIG GET latency-tracking-info-percentiles | CONFIG SET latency-tracking-info-percentiles '50 99 99.9'",
    "itself": "CONFIG SET appendonly no | CONFIG SET save ''",
    "password": "CONFIG GET requirepass | CONFIG SET requirepass x | AUTH y | AUTH x | CONFIG GET requirepass | CONFIG SET requirepass ''",
}


@pytest.mark.parametrize("name", CONFIG_STORIES)
def test_config_answers_as_redis_does(pair, name):
    pair.compare(story(CONFIG_STORIES[name]))


def test_every_parameter_may_be_set_to_what_it_is(served):
    for name, value in served.redis.config_get("*").items():
        assert served.redis.config_set(name, value), name
        assert served.redis.config_get(name)[name] == value


def test_what_cannot_change_says_so(served):
    with pytest.raises(redis.ResponseError, match="'port'.* - can't set immutable config"):
        served.redis.config_set("port", 1)
    with pytest.raises(redis.ResponseError, match="CONFIG REWRITE is not supported"):
        served.redis.config_rewrite()


def test_maxclients_is_live(served):
    served.redis.config_set("maxclients", 2)
    with Wire(served.port) as second:
        assert second.call("PING") == b"+PONG"
        with Wire(served.port) as third:
            assert third.read_to_end() == b"-ERR max number of clients reached\r\n"
    served.redis.config_set("maxclients", 100)


def test_maxmemory_is_live(served, wait_until):
    client = served.redis
    pipeline = client.pipeline(transaction=False)
    for i in range(40_000):
        pipeline.set(f"k:{i}", "x" * 400)
    pipeline.execute()
    assert client.dbsize() == 40_000
    client.config_set("maxmemory", "8mb")
    client.set("one", "more")
    wait_until(lambda: client.dbsize() < 30_000, timeout=10)
    assert client.info("memory")["maxmemory"] == 8 << 20


def test_proto_max_bulk_len_is_live(served):
    served.redis.config_set("proto-max-bulk-len", "1mb")
    with Wire(served.port) as wire:
        wire.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
        assert b"invalid bulk length" in wire.read_to_end()


def test_idle_clients_are_closed_after_the_timeout(served, wait_until):
    client = served.redis
    idle, subscribed, blocked = Wire(served.port), Wire(served.port), Wire(served.port)
    assert idle.call("CLIENT", "SETNAME", "idle") == b"+OK"
    assert subscribed.call("SUBSCRIBE", "c") == b"*3"
    blocked.send(b"BLPOP nothing 0\r\n")
    client.config_set("timeout", 1)

    def names():
        return [c["name"] for c in client.client_list()]

    wait_until(lambda: "idle" not in names(), timeout=15)
    assert len(names()) == 3
    assert idle.read_to_end() == b""
    for wire in (idle, subscribed, blocked):
        wire.close()


# --- INFO ---

# What redis_exporter and the usual Grafana dashboards read.
FIELDS = {
    "server": "redis_version redis_mode os arch_bits multiplexing_api process_id run_id tcp_port uptime_in_seconds hz executable config_file",
    "clients": "connected_clients maxclients blocked_clients tracking_clients clients_in_timeout_table",
    "memory": "used_memory used_memory_human used_memory_rss used_memory_peak used_memory_dataset used_memory_lua maxmemory maxmemory_policy"
    " mem_fragmentation_ratio mem_allocator total_system_memory mem_clients_slaves active_defrag_running lazyfree_pending_objects",
    "persistence": "loading rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status aof_enabled"
    " aof_rewrite_in_progress aof_last_write_status rdb_last_bgsave_time_sec",
    "stats": "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes total_net_output_bytes"
    " instantaneous_input_kbps rejected_connections sync_full expired_keys evicted_keys keyspace_hits keyspace_misses pubsub_channels"
    " pubsub_patterns latest_fork_usec total_error_replies tracking_total_keys slave_expires_tracked_keys expired_stale_perc",
    "replication": "role connected_slaves master_replid master_repl_offset repl_backlog_active repl_backlog_size second_repl_offset",
    "cpu": "used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children",
    "cluster": "cluster_enabled",
}


@pytest.mark.parametrize("section", FIELDS)
def test_info_has_the_fields_that_dashboards_read(served, section):
    fields = served.redis.info(section)
    assert [name for name in FIELDS[section].split() if name not in fields] == []


def test_info_has_every_field_that_redis_has(served, redis_server):
    def fields(port):
        with Wire(port) as wire:
            assert wire.call("PING") == b"+PONG"  # something was written before
            wire.send(b"INFO\r\n")
            lines = wire.bulk().decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    ours = fields(served.port)
    theirs = fields(redis_server.connection_pool.connection_kwargs["port"])
    assert [name for name in theirs if name not in ours and not name.startswith(("errorstat_", "db"))] == []
    for name in ("used_memory_rss", "allocator_allocated", "allocator_active", "allocator_resident", "total_reads_processed", "total_writes_processed"):
        assert int(ours[name]) > 0, name
    assert float(ours["rss_overhead_ratio"]) > 0.5 and ours["used_memory_peak_perc"].endswith("%")


def test_memory_stats_has_every_field_that_redis_has(served, redis_server):
    def names(client):
        answer = client.execute_command("MEMORY STATS")
        return {name.decode() if isinstance(name, bytes) else name for name in (answer if isinstance(answer, dict) else answer[::2])}

    assert {name for name in names(redis_server) - names(served.redis) if not name.startswith("db.")} == set()
    assert "jemalloc" in str(served.redis.execute_command("MEMORY MALLOC-STATS"))


def test_info_takes_several_sections_and_their_groups(served):
    def sections(*words):
        text = served.redis.execute_command("INFO", *words)
        text = text if isinstance(text, str) else str(text)
        return text

    raw = Wire(served.port)

    def heads(*words):
        raw.send(b" ".join([b"INFO", *[w.encode() for w in words]]) + b"\r\n")
        return [line[2:] for line in raw.bulk().decode().split("\r\n") if line.startswith("# ")]

    assert heads("cpu", "CLUSTER", "cpu") == ["CPU", "Cluster"]
    assert "Commandstats" not in heads() and "Errorstats" in heads()
    assert heads() == heads("default")
    assert "Commandstats" in heads("all") and heads("all") == heads("everything")
    assert heads("cpu", "default") == heads("default")
    assert heads("nothing") == []
    raw.close()


def test_commands_and_errors_are_counted_by_name_until_the_next_reset(served):
    client = served.redis
    client.config_resetstat()
    client.set("a", "1")
    client.get("a")
    client.get("a")
    for wrong in (["GET"], ["LPUSH", "a", "x"], ["NOTHING"]):
        with pytest.raises(redis.ResponseError):
            client.execute_command(*wrong)
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incr("a")
        pipeline.execute()
    stats = client.info("commandstats")
    assert {k: v for k, v in stats["cmdstat_get"].items() if k.endswith("calls")} == {"calls": 2, "rejected_calls": 1, "failed_calls": 0}
    assert stats["cmdstat_lpush"]["failed_calls"] == 1
    assert stats["cmdstat_incrby"]["calls"] == stats["cmdstat_multi"]["calls"] == stats["cmdstat_exec"]["calls"] == 1
    assert stats["cmdstat_config|resetstat"]["calls"] == 1
    assert client.info("errorstats") == {"errorstat_ERR": {"count": 2}, "errorstat_WRONGTYPE": {"count": 1}}
    assert client.info("stats")["total_error_replies"] == 3
    latencies = client.info("latencystats")
    assert 0 < latencies["latency_percentiles_usec_get"]["p50"] < 1e6
    client.config_resetstat()
    assert "cmdstat_get" not in client.info("commandstats")
    assert client.info("errorstats") == {}
    assert client.info("stats")["total_error_replies"] == 0
    assert served.metric("freshet_cache_error_replies_total") >= 3


def test_a_write_that_finds_no_memory_counts_as_rejected(served):
    client = served.redis
    client.config_resetstat()
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("a", "b")
    stats = client.info("commandstats")["cmdstat_set"]
    assert (stats["calls"], stats["rejected_calls"], stats["failed_calls"]) == (0, 1, 0)
    assert client.info("errorstats") == {"errorstat_OOM": {"count": 1}}
    client.config_set("maxmemory", 0)
    assert client.set("a", "b")


# --- SLOWLOG, LATENCY ---


def test_slow_commands_are_logged_with_who_and_what(freshet):
    served = freshet(None, {"cache": {**PLAIN, "debug_commands": True}})
    client = served.client()
    client.config_set("slowlog-log-slower-than", 30_000)
    client.client_setname("slowpoke")
    client.execute_command("DEBUG", "SLEEP", "0.05")
    entry = client.slowlog_get(1)[0]
    assert entry["command"] == b"DEBUG SLEEP 0.05" or entry["command"] == "DEBUG SLEEP 0.05"
    assert entry["duration"] >= 50_000
    assert entry["client_name"] in (b"slowpoke", "slowpoke")
    assert abs(entry["start_time"] - time.time()) < 60
    assert client.slowlog_len() == 1
    assert client.slowlog_reset() and client.slowlog_len() == 0


def test_the_slow_log_is_bounded_cut_and_without_secrets(served):
    client = served.client(decode_responses=False)
    client.config_set("slowlog-log-slower-than", 0)
    client.config_set("slowlog-max-len", 3)
    for i in range(10):
        client.set(f"k{i}", "v")
    assert client.slowlog_len() == 3
    client.execute_command("SADD", "s", *range(100))
    client.set("big", "x" * 200)
    client.execute_command("ACL SETUSER somebody >secret")
    logged = [entry["command"] for entry in client.slowlog_get(3)]
    assert b"... (71 more arguments)" in logged[2]
    assert b"... (72 more bytes)" in logged[1]
    assert logged[0].lower() == b"acl setuser (redacted) (redacted)"
    client.config_set("slowlog-log-slower-than", -1)
    client.slowlog_reset()
    client.set("k", "v")
    assert client.slowlog_len() == 0


def test_latency_spikes_are_kept_by_event(freshet):
    served = freshet(None, {"cache": {**PLAIN, "debug_commands": True}})
    client = served.redis
    assert client.latency_latest() == []
    client.config_set("latency-monitor-threshold", 20)
    client.execute_command("DEBUG", "SLEEP", "0.03")
    client.execute_command("DEBUG", "SLEEP", "0.04")
    (event,) = client.latency_latest()
    assert event[0] == "command" and 40 <= event[3] < 1000
    assert len(client.latency_history("command")) in (1, 2)
    assert client.latency_history("nothing") == []
    assert "latency spikes" in client.execute_command("LATENCY DOCTOR")
    head, line, *picture = client.execute_command("LATENCY GRAPH command").split("\n")
    assert head.startswith("command - high ") and line == "-" * 80
    assert picture[3][0] in "_o#" and "".join(row[:1] for row in picture[5:])[-1] == "s"
    with pytest.raises(redis.ResponseError, match="No samples available for event 'nothing'"):
        client.execute_command("LATENCY GRAPH nothing")
    assert client.latency_reset() == 1 and client.latency_latest() == []


def test_latency_histograms_are_cumulative(served):
    client = served.client(protocol=3)
    client.config_resetstat()
    for i in range(50):
        client.set("k", i)
    (name, histogram), = client.execute_command("LATENCY HISTOGRAM set nothing client").items()
    assert name == "set" and histogram["calls"] == 50
    bounds, counts = list(histogram["histogram_usec"]), list(histogram["histogram_usec"].values())
    assert bounds == sorted(bounds) and counts == sorted(counts) and counts[-1] == 50


# --- COMMAND, DEBUG, ROLE ---


@pytest.mark.parametrize("text", [
    "COMMAND GETKEYSANDFLAGS set k1 v1 | COMMAND GETKEYSANDFLAGS mset k1 v1 k2 v2 | COMMAND GETKEYSANDFLAGS lmove k1 k2 left right",
    "COMMAND GETKEYSANDFLAGS get k | COMMAND GETKEYSANDFLAGS del a b | COMMAND GETKEYSANDFLAGS zunionstore d 2 a b | COMMAND GETKEYSANDFLAGS ping",
    "COMMAND GETKEYS memory usage key | COMMAND GETKEYS nothing | COMMAND GETKEYS get | COMMAND GETKEYS ping",
    "COMMAND LIST bad | COMMAND LIST FILTERBY bad | COMMAND LIST FILTERBY bad bad | COMMAND LIST FILTERBY PATTERN set | COMMAND LIST FILTERBY MODULE x",
    "COMMAND LIST FILTERBY ACLCAT nothing | COMMAND INFO get|key | COMMAND INFO config|get|key | COMMAND INFO nothing",
])
def test_command_answers_as_redis_does(pair, text):
    commands = [[word.replace("~", "|") for word in command] for command in story(text.replace("|key", "~key").replace("config|get~", "config~get~"))]
    pair.compare(commands)


def test_command_list_names_subcommands(served):
    names = served.redis.execute_command("COMMAND LIST")
    assert {"config", "config|get", "client|list", "acl|setuser"} <= set(names)
    assert set(served.redis.execute_command("COMMAND LIST FILTERBY PATTERN config|*re*")) == {"config|resetstat", "config|rewrite"}


def test_debug_is_refused_unless_it_is_allowed(served):
    with pytest.raises(redis.ResponseError, match="DEBUG command not allowed"):
        served.redis.execute_command("DEBUG", "JMAP")


def test_the_role_is_a_master_without_replicas(pair):
    pair.compare(story("ROLE"))
