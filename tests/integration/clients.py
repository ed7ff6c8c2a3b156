"""Clients of other languages, as their users run them (`make check-clients`; tests/clients/build makes the programs).

A program prints `ok STEP` for each step that held and `done` at the end; at `ask update` it waits until its row was changed by SQL.
"""

import subprocess

import pytest

from support.process import ROOT

PROGRAMS = ROOT / "build" / "clients"
CLIENTS = {
    "ioredis": (["node", PROGRAMS / "node" / "ioredis.mjs"], 1, {"types", "pipeline", "multi", "blocking", "pubsub", "row"}),
    "node-redis": (
        ["node", PROGRAMS / "node" / "node-redis.mjs"],
        2,
        {"types", "pipeline", "multi", "blocking", "pubsub", "near cache", "row"},
    ),
    "go-redis": ([PROGRAMS / "go" / "check"], 3, {"types", "pipeline", "multi", "blocking", "pubsub", "row"}),
    "jedis": (
        ["java", "-cp", f"{PROGRAMS}/java/target/classes:{PROGRAMS}/java/target/lib/*", "Check"],
        4,
        {"types", "pipeline", "multi", "blocking", "pubsub", "near cache", "row"},
    ),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_client(freshet, shop, name):
    command, row, steps = CLIENTS[name]
    f = freshet(shop)
    program = subprocess.Popen(
        [*map(str, command), str(f.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    held, said = set(), []
    try:
        for line in program.stdout:
            said.append(line)
            word, _, rest = line.strip().partition(" ")
            if word == "ok":
                held.add(rest)
            elif word == "ask":
                shop.execute("UPDATE customers SET name = 'changed' WHERE id = %s", [row])
                program.stdin.write("\n")
                program.stdin.flush()
            elif word == "done":
                break
        program.stdin.close()
        error = program.stderr.read()
        assert program.wait(30) == 0, error
    finally:
        program.kill()
    assert held == steps, (said, error)
