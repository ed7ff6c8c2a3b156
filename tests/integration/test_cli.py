"""The command line: help that is complete, mistakes that are told, exit codes."""

import json
import re

import pytest

from support.process import ROOT, free_port

REFERENCE = ROOT / "config" / "reference.md"
COMMANDS = ["run", "check", "status", "verify", "reference", "help"]


def test_the_version_is_told(cli):
    ran = cli("--version")
    assert ran.returncode == 0
    assert re.fullmatch(r"freshet \d+\.\d+\.\d+\n", ran.stdout)


def test_help_names_every_command(cli):
    ran = cli("--help")
    assert ran.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", ran.stdout, re.M), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    for ran in (cli(command, "--help"), cli("help", command)):
        assert ran.returncode == 0
        assert "freshet" in ran.stdout and not ran.stderr


def options_of_the_reference():
    return re.findall(r"^\| `([a-z_.\[\]A-Z]+)` \| [^|]*\|", REFERENCE.read_text().split("## Command line")[0], re.M)


def test_the_help_of_run_is_complete(cli):
    help_text = cli("run", "--help").stdout
    names = options_of_the_reference()
    assert len(names) > 50
    for name in names:
        assert re.search(rf"^  {re.escape(name)} ", help_text, re.M), name
    for flag in ("-c", "--set", "--database", "--kafka", "--listen", "--admin", "--prefix", "--tables"):
        assert re.search(rf"^  {flag}[ ,]", help_text, re.M), flag


def test_the_reference_is_up_to_date(cli):
    assert cli("reference").stdout == REFERENCE.read_text(), "run: make reference"


def test_nothing_said_is_a_mistake_that_shows_the_help(cli):
    ran = cli()
    assert ran.returncode == 2
    assert "Usage:" in ran.stderr and not ran.stdout


@pytest.mark.parametrize(
    "args, line",
    [
        (["runn"], 'command line: runn: is no command, did you mean "run"?'),
        (["run", "--databse", "x"], 'command line: --databse: is unknown, did you mean "--database"?'),
        (["run", "--database"], "command line: --database: needs a value"),
        (["run", "--set", "cache.ttl"], 'command line: --set: "cache.ttl" is not KEY=VALUE'),
        (["check", "now"], "command line: now: is one word too many"),
        (["--set", "a=b"], "command line: --set: does not belong here, see freshet --help"),
        (["help", "me"], "command line: me: is no command, see freshet --help"),
        (["verify"], "command line: verify: of what? freshet verify cache|CONNECTOR|ARCHIVE"),
        (["verify", "cache", "users"], "command line: users: is one word too many"),
        (["verify", "users", "--repair=soon"], "command line: --repair: takes no value"),
        (["run", "--json"], "command line: --json: does not belong here, see freshet COMMAND --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(cli, args, line):
    ran = cli(*args)
    assert ran.returncode == 2
    assert not ran.stdout
    assert ran.stderr.startswith(line)
    assert ran.stderr.count("\n") == 1


def test_all_mistakes_of_the_command_line_are_told_at_once(cli):
    ran = cli("run", "--listne=x", "--listen", "6380", "--set", "cache.tll=1s", "--set", "cache.ttl=5")
    assert ran.returncode == 2
    assert [line.split(" ")[0] for line in ran.stderr.splitlines()] == ["command", "--listen:", "--set:", "--set:"]


def test_status_of_a_running_freshet(freshet, shop, cli):
    f = freshet(shop)
    admin = f"127.0.0.1:{f.admin_port}"
    ran = cli("status", "--admin", admin)
    assert ran.returncode == 0
    assert ran.stdout.startswith("freshet ") and ": ready, up " in ran.stdout
    assert "staleness" in ran.stdout and "feed" in ran.stdout
    as_json = cli("status", "--json", env={"FRESHET_ADMIN_LISTEN": admin})
    assert json.loads(as_json.stdout)["ready"] is True


def test_status_where_nothing_runs_is_a_failure_of_one_line(cli):
    ran = cli("status", "--admin", f"127.0.0.1:{free_port()}")
    assert ran.returncode == 1
    assert not ran.stdout and ran.stderr.count("\n") == 1
    assert cli("status", "--admin", "nowhere").returncode == 2
