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

# Of the converter: the schema beside each payload.
SCHEMAS = {
    f"{side}.converter{setting}": value
    for side in ("key", "value")
    for setting, value in (("", "org.apache.kafka.connect.json.JsonConverter"), (".schemas.enable", "true"))
}

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
            **SCHEMAS,
        },
        {
            "decimals": "string",
            "hstore": "map",
            "bytes": "hex",
            "intervals": "string",
            "times": "adaptive-microseconds",
            "transaction_metadata": True,
            "encoding": "json-schema",
        },
    ),
    "doubles": (
        {
            "decimal.handling.mode": "double",
            "binary.handling.mode": "base64-url-safe",
            "time.precision.mode": "connect",
            "tombstones.on.delete": "false",
            **SCHEMAS,
        },
        {"decimals": "double", "bytes": "base64-url-safe", "times": "connect", "tombstones": False, "encoding": "json-schema"},
    ),
    "schemas": (SCHEMAS, {"encoding": "json-schema"}),
    "cloudevents": (
        {
            "value.converter": "io.debezium.converters.CloudEventsConverter",
            "value.converter.serializer.type": "json",
            "value.converter.data.serializer.type": "json",
            "value.converter.json.schemas.enable": "false",
        },
        {"encoding": "cloudevents"},
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
    text = text.replace(f'"name":"{prefix}"', '"name":"PREFIX"').replace(f'"name":"{prefix}.', '"name":"PREFIX.')
    text = re.sub(r'"version":"[^"]*","connector"', '"version":"","connector"', text)
    if '"specversion"' in text:
        text = re.sub(r'"iodebeziumversion":"[^"]*"', "", text.replace(f'"iodebeziumname":"{prefix}"', ""))
        text = text.replace(f"name:{prefix};", "").replace(f"/postgresql/{prefix}", "")
    text = re.sub(r'("op":"[curdt]"),"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+(\}+)$', r"\1\2", text)
    # A Java object's address stands for the collection of logical messages.
    text = re.sub(r'\{"data_collection":"io.debezium[^}]*\},?', "", text).replace("},]", "}]")
    return re.sub(r'\{"op":"m","ts_ms":\d+', '{"op":"m"', text)


def shape(records, prefix):
    """topic (without prefix) and partition -> [(key, value, headers)]; records without a key, which lie anywhere, sorted."""
    shaped = {}
    for record in records:
        topic = record.topic.removeprefix(prefix)
        one = (normal(record.raw_key, prefix), normal(record.raw_value, prefix), record.headers)
        # With its schema a key holds the prefix, which is each one's own, and goes to a partition by that.
        placed = record.key is not None and "schema" not in record.key
        shaped.setdefault((topic, str(record.partition) if placed else "any"), []).append(one)
    for (_, partition), events in shaped.items():
        if partition == "any":
            events.sort(key=lambda event: (event[0] or "", event[1] or ""))
    return shaped


def read_all(kafka, prefix, least=0):
    """All records below the prefix, once the marker's row is there, and `least` of them (a snapshot ends elsewhere)."""

    def complete():
        if not any(r.key.get("payload", r.key) == {"id": 1} for r in kafka.read(f"{prefix}.public.marker")):
            return None
        records = kafka.read(*(t for t in kafka.topics(f"{prefix}.") if t != f"{prefix}.positions"))
        return records if len(records) >= least else None

    return wait_until(complete, 60, f"the marker of {prefix}", every=0.2)


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


def forget_messages(shaped):
    for place in [place for place in shaped if place[0] == ".message"]:
        del shaped[place]


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
        if mode == "cloudevents":  # whose converter has no form for logical messages
            forget_messages(ours)
            forget_messages(theirs)
        compare(ours, theirs, mode)

    # The same rows, read by a snapshot.
    tables = "composite numbers points ranges texts unique_only marker".split()
    theirs, ours = f"{unique}dsnapshot", f"{unique}fsnapshot"
    add_connector(oracle, db, theirs, {
        "snapshot.mode": "initial", "table.include.list": f"public.({'|'.join(tables)})",
    })
    publisher(db, ours, snapshot="initial", tables=[f"public.{table}" for table in tables])
    rows = sum(db.value(f"SELECT count(*) FROM {table}") for table in tables)
    theirs = same_moment(shape(read_all(kafka, theirs, rows), theirs))
    ours = same_moment(shape(read_all(kafka, ours, rows), ours))
    compare(ours, theirs, "snapshot")


def same_moment(records):
    """The two snapshots are of two moments: position, transaction and time differ, for one reason."""
    for place, events in records.items():
        records[place] = [
            (key, re.sub(r'"(ts_ms|ts_us|ts_ns|txId|lsn)":\d+', r'"\1":0', re.sub(r'\\"\d+\\"', "", value)), headers)
            for key, value, headers in events
        ]
    return records


# ---- on purpose: where Debezium loses or garbles, Freshet does not ----

ON_PURPOSE = [
    # (type, value in SQL, JSON value)
    ("name", "'n'", "n"),
    ("point[]", "'{\"(1,2)\",NULL}'", ["(1,2)", None]),
    ("xml[]", "'{<a/>}'", ["<a/>"]),
    ("money[]", "'{1.5}'", ["$1.50"]),
    ("interval[]", "'{1 day}'", ["1 day"]),
    ("varbit[]", "'{101}'", ["101"]),
    ("bit(3)[]", "'{101,NULL}'", ["BQ==", None]),
    ("mood[]", "'{ok,NULL}'", ["ok", None]),
    ("mood_domain", "'ok'", "ok"),
    ("pair", "'(1,x)'", "(1,x)"),
    ("int4multirange", "'{[1,2),[5,8)}'", "{[1,2),[5,8)}"),
    ("line", "'{1,2,3}'", "{1,2,3}"),
    ("lseg", "'[(1,2),(3,4)]'", "[(1,2),(3,4)]"),
    ("box", "'(3,4),(1,2)'", "(3,4),(1,2)"),
    ("path", "'((1,2),(3,4))'", "((1,2),(3,4))"),
    ("polygon", "'((1,2),(3,4),(5,6))'", "((1,2),(3,4),(5,6))"),
    ("circle", "'<(1,2),3>'", "<(1,2),3>"),
    ("pg_lsn", "'16/B374D848'", "16/B374D848"),
    ("tsquery", "'fat & cat'", "'fat' & 'cat'"),
    ("xid", "'42'", "42"),
    ("xid8", "'42'", "42"),
    ("pg_snapshot", "'10:20:10,14,15'", "10:20:10,14,15"),
    ("regclass", "'pg_class'", "pg_class"),
    ("int2vector", "'1 2'", [1, 2]),
    ("text[]", "'{{a,b},{c,d}}'", [["a", "b"], ["c", "d"]]),
    ("time[]", "'{13:51:30.123456,24:00}'", [49890123456, 86400000000]),
    ("date[]", "'{infinity,0044-03-15 BC}'", [-2147472692, -735160]),
    ("timestamptz[]", "'{-infinity}'", ["-infinity"]),
    ("numeric(5,-2)", "12300", "ew=="),
    ("numeric", "'NaN'", None),
    ("numeric(10,2)", "'NaN'", None),
    ("numeric", "'-Infinity'", None),
    ("timestamp", "'294276-12-31 23:59:59.999999'", "294276-12-31 23:59:59.999999"),
    ("timetz", "'12:00:00+02:30:15'", "09:29:45Z"),
    ("interval", "'-178000000 years'", -9223372036854775808),
    ("real", "1.17549435e-38", 1.1754944e-38),
    ("money", "'92233720368547758.07'", "f/////////8="),
    ("int", "NULL", None),
]


def test_what_debezium_loses_is_there(db, kafka, publisher, unique):
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    db.execute("CREATE DOMAIN mood_domain AS mood")
    db.execute("CREATE TYPE pair AS (a int, b text)")
    columns = ", ".join(f"c{i} {kind}" + (" DEFAULT 5" if sql == "NULL" else "")
                        for i, (kind, sql, _) in enumerate(ON_PURPOSE))
    db.execute(f'CREATE TABLE "Ünïcode ☃" (id int PRIMARY KEY, {columns})')
    f = publisher(db, unique)
    db.execute(f'INSERT INTO "Ünïcode ☃" VALUES (1, {", ".join(sql for _, sql, _ in ON_PURPOSE)})')
    topic = unique + ".public." + "".join(c if c.isascii() and c.isalnum() else "_" * len(c.encode()) for c in "Ünïcode ☃")
    value = kafka.wait_for(topic, 1)[0].value
    assert value["source"]["table"] == "Ünïcode ☃"
    got = [value["after"][f"c{i}"] for i in range(len(ON_PURPOSE))]
    wrong = [(kind, sql, want, have) for (kind, sql, want), have in zip(ON_PURPOSE, got) if want != have]
    assert not wrong
    assert f.metric("freshet_cdc_values_as_text_total") == 1  # the timestamp past int64 microseconds


def test_the_identity_index_is_the_key_of_every_event(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL, v int)")
    db.execute("CREATE UNIQUE INDEX t_u ON t (u)")
    db.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_u")
    publisher(db, unique)
    for sql in ("INSERT INTO t VALUES (1, 10, 0)", "UPDATE t SET id = 2", "UPDATE t SET u = 11", "DELETE FROM t"):
        db.execute(sql)
    records = kafka.wait_for(f"{unique}.public.t", 7)
    by_lsn = sorted((r for r in records if r.value), key=lambda r: (r.value["source"]["lsn"], r.value["op"] == "c"))
    assert [(r.value["op"], r.key) for r in by_lsn] == [
        ("c", {"u": 10}), ("u", {"u": 10}), ("d", {"u": 10}), ("c", {"u": 11}), ("d", {"u": 11})]


def test_plain_values_are_rows(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    publisher(db, unique, format={"encoding": "plain"})
    for sql in ("INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'", "UPDATE t SET id = 2", "DELETE FROM t", "TRUNCATE t",
                "SELECT pg_logical_emit_message(true, 'p', 'text')"):
        db.execute(sql)
    records = kafka.wait_for(f"{unique}.public.t", 6)
    seen = sorted((r.key["id"] if r.key else 0, r.offset, r.headers["__op"], r.value) for r in records)
    assert [(key, op, value) for key, _, op, value in seen] == [
        (0, "t", None),
        (1, "c", {"id": 1, "v": "a"}), (1, "u", {"id": 1, "v": "b"}), (1, "d", None),
        (2, "c", {"id": 2, "v": "b"}), (2, "d", None),
    ]
    (message,) = kafka.wait_for(f"{unique}.message", 1)
    assert (message.key, message.value) == ({"prefix": "p"}, {"prefix": "p", "content": "dGV4dA=="})


def test_a_table_made_later_joins_by_itself(db, kafka, publisher, unique):
    db.execute("CREATE TABLE first (id int PRIMARY KEY)")
    publisher(db, unique, tables=["public.*"])
    db.execute("CREATE TABLE second (id int PRIMARY KEY)")
    db.execute("CREATE TABLE keyless (id int)")
    wait_until(lambda: db.value("SELECT count(*) FROM pg_publication_tables WHERE tablename = 'second'"), 20)
    db.execute("INSERT INTO second VALUES (7)")
    assert kafka.wait_for(f"{unique}.public.second", 1)[0].key == {"id": 7}
    # Publishing a table without identity would make its updates fail.
    db.execute("INSERT INTO keyless VALUES (1)")
    db.execute("UPDATE keyless SET id = 2")


def test_columns_that_change_in_the_stream_are_followed(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    publisher(db, unique)
    db.execute("INSERT INTO t VALUES (1, 'x')")
    db.execute("ALTER TABLE t ADD COLUMN n numeric(6,2), ALTER COLUMN a TYPE int USING 1")
    db.execute("INSERT INTO t VALUES (2, 5, 1.5)")
    db.execute("ALTER TABLE t DROP COLUMN a")
    db.execute("INSERT INTO t VALUES (3, 1.5)")
    records = sorted(kafka.wait_for(f"{unique}.public.t", 3), key=lambda r: r.key["id"])
    assert [r.value["after"] for r in records] == [
        {"id": 1, "a": "x"}, {"id": 2, "a": 5, "n": "AJY="}, {"id": 3, "n": "AJY="}]


def test_skipped_operations_are_not_published(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    publisher(db, unique, skip_operations=["u", "t"])
    for sql in ("INSERT INTO t VALUES (1, 1)", "UPDATE t SET v = 2", "TRUNCATE t", "INSERT INTO t VALUES (1, 3)"):
        db.execute(sql)
    records = kafka.wait_for(f"{unique}.public.t", 2)
    assert [(r.value["op"], r.value["after"]["v"]) for r in records] == [("c", 1), ("c", 3)]
