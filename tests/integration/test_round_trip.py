"""Random values of every type, through the stream into events and back: what an event holds is the very value, by PostgreSQL's own
text output. FRESHET_TEST_SEED and FRESHET_TEST_ROWS for more (`FRESHET_TEST_ROWS=5000`).
"""

import os
import random

import psycopg
import pytest

from support.values import KINDS

SEED = int(os.environ.get("FRESHET_TEST_SEED", "1"))
ROWS = int(os.environ.get("FRESHET_TEST_ROWS", "60"))

MODES = {
    "default": {},
    "texts": {"decimals": "string", "times": "adaptive-microseconds", "bytes": "hex", "intervals": "string", "hstore": "map"},
    "safe": {"bytes": "base64-url-safe", "non_finite": "string"},
}
DEFAULTS = {"decimals": "precise", "times": "adaptive", "bytes": "base64", "intervals": "numeric", "hstore": "json"}

SCHEMA = """
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy', 'odd "one"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (value > 0);
"""


def columns(of):
    return ", ".join(f"c{i} {kind}" for i, kind in enumerate(of))


@pytest.fixture
def published(db, freshet, unique, wait_until):
    def make(mode):
        f = freshet(db, {"roles": ["cdc"], "cdc": {
            "output": "stdout", "slot": f"{unique}{mode}", "publication": f"{unique}{mode}", "snapshot": "never",
            "format": MODES[mode],
        }})
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming")
        return f

    return make


def copy(connection, table, rows):
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as out:
        for row in rows:
            out.write_row(row)


def valid_rows(db, r):
    """Values that PostgreSQL takes: some of what is made is none (a range from its end to its beginning, say)."""
    rows = []
    with db.connect() as connection:
        connection.execute("SET extra_float_digits = 1")
        for kind, how in KINDS.items():
            made = []
            while len(made) < ROWS:
                text = how.make(r)
                try:
                    made.append(connection.execute(f"SELECT %s::text::{kind}::text", [text]).fetchone()[0])
                except psycopg.DataError:
                    continue
            rows.append(made)
    return [(i, *values) for i, values in enumerate(zip(*rows))]


def test_values_come_back_as_they_went(db, published):
    db.execute(SCHEMA)
    db.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns(KINDS)})")
    streams = {mode: published(mode) for mode in MODES}
    rows = valid_rows(db, random.Random(SEED))
    with db.connect() as connection:
        copy(connection, "t", rows)
    wrong = []
    for mode, stream in streams.items():
        wrong += [(mode, *w) for w in compare(db, mode, stream)]
    assert not wrong, f"seed {SEED}: {len(wrong)} wrong, such as {wrong[:5]}"


def compare(db, mode, stream):
    from support.waiting import wait_until

    count = db.value("SELECT count(*) FROM t")
    wait_until(lambda: len(stream.events()) >= count, 60, f"{count} events")
    settings = {**DEFAULTS, **MODES[mode]}
    back = []
    for event in stream.events()[:count]:
        after = event["value"]["after"]
        values = [how.back(after[f"c{i}"], settings) if after[f"c{i}"] is not None else None
                  for i, how in enumerate(KINDS.values())]
        back.append((after["id"], *values))
    types = [how.via or kind for kind, how in KINDS.items()]
    db.execute("DROP TABLE IF EXISTS back")
    db.execute(f"CREATE TABLE back (id int PRIMARY KEY, {columns(types)})")
    wrong = []
    with db.connect() as connection:
        connection.execute("SET extra_float_digits = 1")
        copy(connection, "back", back)
        for i, (kind, how) in enumerate(KINDS.items()):
            same = how.same
            if kind == "interval" and settings["intervals"] == "string":
                same = "a = b::interval AND a::text = b::interval::text"
            found = connection.execute(
                f"SELECT a::text, b::text FROM (SELECT t.c{i} AS a, back.c{i} AS b FROM t JOIN back USING (id)) one"
                f" WHERE ({same}) IS NOT TRUE").fetchall()
            wrong += [(kind, *pair) for pair in found]
    return wrong
