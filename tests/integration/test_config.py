"""The configuration as a user meets it: mistakes, strength, secrets, reloading."""

import signal
import socket

import redis

from support.process import ROOT, free_port


def write(tmp_path, text):
    path = tmp_path / "freshet.yml"
    path.write_text(text)
    return path


def test_all_mistakes_are_told_in_one_run_and_nothing_starts(cli, tmp_path):
    port = free_port()
    path = write(
        tmp_path,
        f"""database:
  url: postgres://nobody@127.0.0.1:1/none
cache:
  listen: 127.0.0.1:{port}
  ttl: 5
  max_memory: 1 gigabyte
  colour: red
  coherence: [stream]
connectors:
  - type: opensearch
admin: yes
""",
    )
    ran = cli("run", "-c", path, "--set", "cache.on_stale=maybe", env={"FRESHET_CDC_SNAPSHOT": "sometimes"})
    assert ran.returncode == 2
    assert [line.split(" ")[:2] for line in ran.stderr.splitlines()] == [
        [f"{path}:5:8:", "cache.ttl:"],
        [f"{path}:6:15:", "cache.max_memory:"],
        [f"{path}:7:3:", "cache.colour:"],
        [f"{path}:8:14:", "cache.coherence:"],
        [f"{path}:11:8:", "admin:"],
        ["FRESHET_CDC_SNAPSHOT:", "cdc.snapshot:"],
        ["--set:", "cache.on_stale:"],
        [f"{path}:10:5:", "connectors[0]:"],
        [f"{path}:10:5:", "connectors[0]:"],
        [f"{path}:10:5:", "connectors[0]:"],
    ]
    assert not ran.stdout


def test_a_file_that_cannot_be_read_is_a_mistake(cli, tmp_path):
    for path, cause in ((tmp_path / "absent.yml", "No such file"), (tmp_path, "Is a directory")):
        ran = cli("check", "-c", path, "--database", "postgres://h/d")
        assert ran.returncode == 2
        assert ran.stderr == f"{path}: cannot be read: {ran.stderr.split(': ')[-1]}"
        assert cause in ran.stderr


def test_a_database_is_needed_unless_plain_keys_alone_are_wanted(cli, freshet):
    ran = cli("run")
    assert ran.returncode == 2
    assert "database.url: is not set" in ran.stderr and ran.stderr.count("\n") == 1
    f = freshet(None, {"cache": {"read_through": False}})
    assert f.redis.set("customers:1", "plain")
    assert f.redis.get("customers:1") == "plain"
    assert f.status()["roles"] == ["cache"]


def test_a_flag_beats_the_environment_beats_the_file(freshet, shop):
    config = {"cache": {"ttl": "1m", "negative_ttl": "1m"}}
    env = {"FRESHET_CACHE_TTL": "2m", "FRESHET_CACHE_NEGATIVE_TTL": "2m"}
    f = freshet(shop, config, args=["--set", "cache.ttl=3m"], env=env)
    f.row("customers:1")
    f.row("customers:99999")
    assert 170 < f.redis.ttl("customers:1") <= 180
    # An absent row has no TTL to show; what EXPLAIN says of it is the loader's matter.
    assert "absent" in str(f.redis.execute_command("FRESHET.EXPLAIN", "customers:99999")).lower()


def test_a_secret_comes_from_a_file(freshet, shop, tmp_path):
    (tmp_path / "password").write_text("open sesame\n")
    f = freshet(shop, {"cache": {"password": "${file:%s}" % (tmp_path / "password")}})
    try:
        f.client().get("customers:1")
        raise AssertionError("no password was asked for")
    except redis.AuthenticationError:
        pass
    assert f.client(password="open sesame").get("customers:1")
    assert "open sesame" not in f.log_text()


def test_names_that_the_database_lacks_are_mistakes_with_their_place(cli, shop, tmp_path):
    path = write(
        tmp_path,
        f"""database: {{url: "{shop.url}"}}
cache:
  tables:
    public.custommers: {{ttl: 1m}}
    public.customers: {{columns: [name, colour]}}
cdc: {{output: stdout, tables: [public.*, public.ordres]}}
connectors:
  - {{name: a, type: opensearch, url: "http://127.0.0.1:1", table: public.absent}}
state_dir: {tmp_path}
""",
    )
    ran = cli("run", "-c", path)
    assert ran.returncode == 2
    for text in (
        f"{path}:4:5: cache.tables.public.custommers: there is no such table in",
        f"{path}:5:5: cache.tables.public.customers: there is no column \\\"colour\\\"",
        f"{path}:5:5: cache.tables.public.customers: the columns lack \\\"id\\\" of the primary key",
        "\\\"public.ordres\\\" matches no table in",
        f"{path}:8:60: connectors[0].table: there is no table \\\"public.absent\\\" in",
    ):
        assert text.replace("\\", "") in ran.stderr.replace("\\", ""), text
    assert shop.publications() == []


def test_an_unknown_variable_is_a_warning(freshet, shop):
    f = freshet(shop, env={"FRESHET_CACHE_TLL": "1m"})
    assert "variable_ignored name=FRESHET_CACHE_TLL" in f.log_text()


def test_sighup_takes_over_what_it_can_and_says_what_it_cannot(freshet, shop, wait_until):
    f = freshet(shop)
    f.config["log"] = {"level": "debug"}
    f.config["cache"]["max_clients"] = 7
    f.write_config()
    f.process.signal(signal.SIGHUP)
    f.wait_for_log("reloaded changed=1 need_restart=1")
    assert 'option_changed option=log.level from="info" to="debug"' in f.log_text()
    assert 'option_needs_restart option=cache.max_clients from="10000" to="7"' in f.log_text()
    f.config["log"] = {"level": "loud"}
    f.write_config()
    f.process.signal(signal.SIGHUP)
    f.wait_for_log("reload_refused")
    assert f.row("customers:1")["id"] == 1


def test_the_example_of_the_repository_is_right(cli):
    example = ROOT / "config" / "freshet.yml"
    ran = cli("check", "-c", example, "--database", "postgres://nobody@127.0.0.1:1/none")
    assert ran.returncode == 1, ran.stderr
    assert not ran.stderr


def test_a_port_in_use_is_one_clear_line(cli, shop):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flags in (["--listen", address, "--admin", "127.0.0.1:0"], ["--listen", "127.0.0.1:0", "--admin", address]):
            ran = cli("run", "--database", shop.url, *flags)
            assert ran.returncode == 1
            failures = [line for line in ran.stderr.splitlines() if "level=error" in line]
            assert len(failures) == 1
            assert failures[0].startswith("cannot_run ") and address in failures[0]
            assert "Address already in use" in failures[0]


def test_a_state_folder_that_cannot_be_written_is_one_clear_line(cli, shop):
    connector = "connectors=[{name: a, type: opensearch, url: 'http://127.0.0.1:1', table: public.customers}]"
    ran = cli("run", "--database", shop.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", connector,
              "--set", "state_dir=/proc/nowhere")
    assert ran.returncode == 1
    failures = [line for line in ran.stderr.splitlines() if "level=error" in line]
    assert len(failures) == 1
    assert "/proc/nowhere" in failures[0]
