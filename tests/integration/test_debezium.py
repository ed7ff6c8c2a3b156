"""Debezium is the judge: the same SQL, published by both to one broker, gives the same topics, partitions, keys, values
and headers, byte for byte, but for the version, the wall clock outside `source`, and where the page of differences
(below, "on purpose") says so.
"""

import re
from pathlib import Path

import pytest
import requests

from support.waiting import wait_until

SQL = Path(__file__).parent / "sql"
PLACEHOLDER = "__debezium_unavailable_value"

# What Debezium is told, and what Freshet is told, to do the same.
MODES = {
    "default": ({}, {}),
    "strings": (
        {
            "decimal.handling.mode": "string",
            "hstore.handling.mode": "map",
            "binary.handling.mode": "hex",
            "interval.handling.mode": "string",
            "time.precision.mode": "adaptive_time_microseconds",
            "provide.transaction.metadata": "true",
        },
        {
            "decimals": "string",
            "hstore": "map",
            "bytes": "hex",
            "intervals": "string",
            "times": "adaptive-microseconds",
            "transaction_metadata": True,
        },
    ),
    "doubles": (
        {
            "decimal.handling.mode": "double",
            "binary.handling.mode": "base64-url-safe",
            "time.precision.mode": "connect",
            "tombstones.on.delete": "false",
        },
        {"decimals": "double", "bytes": "base64-url-safe", "times": "connect", "tombstones": False},
    ),
}


def transactions(path):
    """The statements of a script, grouped by the transaction they make."""
    group = []
    for line in path.read_text().splitlines():
        if not line or line.startswith("--"):
            continue
        together = line.endswith("-- together")
        group.append(line.removesuffix("-- together").strip())
        if not together:
            yield group
            group = []


def run_sql(db, groups):
    with db.connect(autocommit=False) as connection:
        for group in groups:
            for statement in group:
                connection.execute(statement)
            connection.commit()


def streaming(f):
    return f.status()["cdc"]["feed"]["state"] == "streaming"


@pytest.fixture
def publisher(freshet, kafka, unique):
    """publisher(db, prefix, format={...}): a Freshet that streams, and publishes all tables of db."""

    def make(db, prefix, format=None, **cdc):
        f = freshet(
            db,
            {"roles": ["cdc"], "cdc": {
                "slot": f"{prefix}_slot", "publication": f"{prefix}_pub", "snapshot": "never", "tables": ["*.*"],
                "format": format or {}, **cdc,
            }},
            kafka=kafka,
            prefix=prefix,
        )
        wait_until(lambda: streaming(f), what="the publisher streams")
        return f

    return make


def normal(data, prefix):
    """The bytes without what may differ."""
    if data is None:
        return None
    text = data.decode()
    text = text.replace(f'"name":"{prefix}"', '"name":"PREFIX"')
    text = re.sub(r'"version":"[^"]*","connector"', '"version":"","connector"', text)
    text = re.sub(r'("op":"[curdt]"),"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+\}$', r"\1}", text)
    # A Java object's address stands for the collection of logical messages.
    text = re.sub(r'\{"data_collection":"io.debezium[^}]*\},?', "", text).replace("},]", "}]")
    return re.sub(r'^\{"op":"m","ts_ms":\d+', '{"op":"m"', text)


def shape(records, prefix):
    """topic (without prefix) and partition -> [(key, value, headers)]; records without a key, which lie anywhere, sorted."""
    shaped = {}
    for record in records:
        topic = record.topic.removeprefix(prefix)
        one = (normal(record.raw_key, prefix), normal(record.raw_value, prefix), record.headers)
        shaped.setdefault((topic, str(record.partition) if record.key is not None else "any"), []).append(one)
    for (_, partition), events in shaped.items():
        if partition == "any":
            events.sort(key=lambda event: event[1] or "")
    return shaped


def read_all(kafka, prefix):
    """All records below the prefix, once the marker's row is there."""

    def complete():
        return any(r.key == {"id": 1} for r in kafka.read(f"{prefix}.public.marker"))

    wait_until(complete, 60, f"the marker of {prefix}", every=0.2)
    return kafka.read(*(t for t in kafka.topics(f"{prefix}.") if t != f"{prefix}.positions"))


def set_up(db):
    for line in (SQL / "events_schema.sql").read_text().splitlines():
        db.execute(line)


def around_difference(mine, their):
    """The two texts where they part, short enough to read."""
    mine, their = str(mine), str(their)
    at = next((i for i, (a, b) in enumerate(zip(mine, their)) if a != b), min(len(mine), len(their)))
    return f"ours ...{mine[max(0, at - 60):at + 60]}...\n    theirs ...{their[max(0, at - 60):at + 60]}..."


def compare(ours, theirs, mode):
    assert sorted(ours) == sorted(theirs)
    differences = []
    for place in sorted(ours):
        if len(ours[place]) != len(theirs[place]):
            differences.append(f"{place}: {len(ours[place])} records, Debezium {len(theirs[place])}")
        for i, (mine, their) in enumerate(zip(ours[place], theirs[place])):
            if mine != their:
                differences.append(f"{place}, record {i}, key {their[0]}:\n    {around_difference(mine, their)}")
    assert not differences, f"{mode}:\n" + "\n".join(differences)


def forgive_url_safe_placeholder(shaped):
    """Debezium writes null for an unchanged bytea in base64-url-safe mode: the value is lost, ours is not."""
    for events in shaped.values():
        for i, (key, value, headers) in enumerate(events):
            if value and PLACEHOLDER in value:
                events[i] = (key, re.sub(r'"b":(null|"[^"]*")', '"b":""', value), headers)


def add_connector(oracle, db, prefix, settings):
    """Another connector in the oracle's own process: a JVM takes longer to start than all the rest."""
    url = f"http://127.0.0.1:{oracle.rest}/connectors"
    config = requests.get(f"{url}/oracle/config", timeout=10).json()
    config.update({"name": prefix, "topic.prefix": prefix, "slot.name": f"{prefix}_slot",
                   "publication.name": f"{prefix}_publication", **settings})
    requests.put(f"{url}/{prefix}/config", json=config, timeout=30).raise_for_status()

    def streams():
        return any(s["slot_name"] == f"{prefix}_slot" and s["active"] for s in db.slots())

    wait_until(streams, 90, f"{prefix} streams", every=0.1)


def test_the_same_sql_gives_the_same_events(db, kafka, debezium, publisher, unique):
    set_up(db)
    oracle = None
    for mode, (theirs_told, ours_told) in MODES.items():
        theirs, ours = f"{unique}d{mode}", f"{unique}f{mode}"
        if oracle:
            add_connector(oracle, db, theirs, theirs_told)
        else:
            oracle = debezium(db, theirs, **{"snapshot.mode": "no_data", **theirs_told})
        publisher(db, ours, format=ours_told)
    run_sql(db, transactions(SQL / "events.sql"))
    db.execute("INSERT INTO marker VALUES (1)")
    for mode in MODES:
        theirs, ours = f"{unique}d{mode}", f"{unique}f{mode}"
        theirs = shape(read_all(kafka, theirs), theirs)
        ours = shape(read_all(kafka, ours), ours)
        if mode == "doubles":
            forgive_url_safe_placeholder(ours)
            forgive_url_safe_placeholder(theirs)
        compare(ours, theirs, mode)

    # The same rows, read by a snapshot.
    tables = "composite numbers points ranges texts unique_only marker".split()
    theirs, ours = f"{unique}dsnapshot", f"{unique}fsnapshot"
    add_connector(oracle, db, theirs, {
        "snapshot.mode": "initial", "table.include.list": f"public.({'|'.join(tables)})",
    })
    publisher(db, ours, snapshot="initial", tables=[f"public.{table}" for table in tables])
    theirs = same_moment(shape(read_all(kafka, theirs), theirs))
    ours = same_moment(shape(read_all(kafka, ours), ours))
    compare(ours, theirs, "snapshot")


def same_moment(records):
    """The two snapshots are of two moments: position, transaction and time differ, for one reason."""
    for place, events in records.items():
        records[place] = [
            (key, re.sub(r'"(ts_ms|ts_us|ts_ns|txId|lsn)":\d+', r'"\1":0', re.sub(r'\\"\d+\\"', "", value)), headers)
            for key, value, headers in events
        ]
    return records
