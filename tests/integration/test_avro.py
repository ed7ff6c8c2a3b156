"""Avro: the schemas and records are those that Debezium's events get from an Avro converter of Kafka Connect; registries that are
away, refuse or are not there; ids of the configuration."""

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest

from support.connect import avro
from support.oracle import around_difference, make_publisher, statements
from support.registry import decode
from support.standin_registry import StandinRegistry
from support.waiting import wait_until

SQL = Path(__file__).parent / "sql"

# What Debezium is told, and what Freshet is told, to do the same.
MODES = {
    "default": ({"provide.transaction.metadata": "true"}, {"transaction_metadata": True}),
    "others": (
        {"decimal.handling.mode": "string", "hstore.handling.mode": "map", "binary.handling.mode": "hex",
         "interval.handling.mode": "string", "time.precision.mode": "connect"},
        {"decimals": "string", "hstore": "map", "bytes": "hex", "intervals": "string", "times": "connect"},
    ),
}
ADJUSTED = {"schema.name.adjustment.mode": "avro", "field.name.adjustment.mode": "avro"}


@pytest.fixture
def publisher(freshet, kafka, registry):
    make = make_publisher(freshet, kafka)

    def start(db, prefix, format=None, registry_config=None, **cdc):
        return make(db, prefix, format={"encoding": "avro", **(format or {})},
                    schema_registry=registry_config or {"url": registry.url}, **cdc)

    return start


def without_prefix(value, prefix):
    return json.loads(json.dumps(value).replace(prefix, "PREFIX"))


def plain(value):
    """What records are compared by: bytes and NaN are equal only to themselves."""
    return repr(value)


def normal(record):
    """Without the version and the wall clock."""
    if not record:
        return record
    record = {k: v for k, v in record.items() if not (k.startswith("ts_") and "source" in record)}
    if "source" in record:
        record["source"] = {**record["source"], "version": "", "name": ""}
    # A Java object's address stands for the collection of logical messages.
    if record.get("data_collections"):
        record["data_collections"] = [c for c in record["data_collections"] if "@" not in c["data_collection"]]
    return record


def events_of(kafka, registry, prefix):
    """topic (without prefix) -> [(key, value)], in the order of each key's, and the topics' schemas."""
    events, schemas = {}, {}
    for topic in kafka.topics(f"{prefix}."):
        if topic == f"{prefix}.positions":
            continue
        name = topic.removeprefix(prefix)
        for record in kafka.read(topic):
            for side, data in (("key", record.raw_key), ("value", record.raw_value)):
                if data is not None:
                    schema = without_nan(without_prefix(registry.schema(int.from_bytes(data[1:5], "big")), prefix))
                    schemas.setdefault((name, side), []).append(schema)
            key, value = (decode(data, lambda id: without_nan(registry.schema(id))) for data in (record.raw_key, record.raw_value))
            one = (plain(key), plain(normal(value)), record.headers)
            events.setdefault(name, []).append(one)
    # Those without a key lie in any partition, and so in any order.
    return {name: sorted(those, key=lambda e: (e[0], e[1] if e[0] == "None" else "")) for name, those in events.items()}, schemas


def wait_for_marker(kafka, registry, prefix):
    wait_until(lambda: kafka.read(f"{prefix}.public.marker"), 60, f"the marker of {prefix}", every=0.2)


def without_nan(schema):
    """On purpose: NaN, which Avro's readers refuse as a default, is none."""
    if isinstance(schema, dict):
        return {k: without_nan(v) for k, v in schema.items() if not (k.endswith("default") and v in ("NaN", "Infinity"))}
    return [without_nan(item) for item in schema] if isinstance(schema, list) else schema


def without_null_in_enums(schema):
    """On purpose: an enum's element may be null."""
    if isinstance(schema, dict):
        if schema.get("type") == "array" and isinstance(schema["items"], list):
            item = schema["items"][-1]
            if isinstance(item, dict) and item.get("connect.name") == "io.debezium.data.Enum":
                schema = {**schema, "items": item}
        return {k: without_null_in_enums(v) for k, v in schema.items()}
    return [without_null_in_enums(item) for item in schema] if isinstance(schema, list) else schema


def test_schemas_and_records_are_those_of_debezium(db, kafka, registry, connect, publisher, unique):
    for statement in statements(SQL / "events_schema.sql"):
        db.execute(statement)
    pairs = []
    for mode, (theirs_told, ours_told) in MODES.items():
        theirs, ours = f"{unique}d{mode}", f"{unique}f{mode}"
        connect.source(db, theirs, **avro(registry), **ADJUSTED, **theirs_told)
        publisher(db, ours, format=ours_told)
        pairs.append((mode, theirs, ours))
    with db.connect(autocommit=True) as connection:
        for statement in statements(SQL / "events.sql"):
            if statement:
                connection.execute(statement)
        connection.execute("INSERT INTO marker VALUES (1)")
    for mode, theirs, ours in pairs:
        wait_for_marker(kafka, registry, theirs)
        wait_for_marker(kafka, registry, ours)
        their_events, their_schemas = events_of(kafka, registry, theirs)
        our_events, our_schemas = events_of(kafka, registry, ours)
        connect.remove(theirs)
        differences = []
        for place in sorted(set(their_schemas) | set(our_schemas)):
            mine, their = without_null_in_enums(our_schemas.get(place)), their_schemas.get(place)
            if mine != their:
                differences.append(f"schema {place}: {around_difference(json.dumps(mine), json.dumps(their))}")
        for topic in sorted(set(their_events) | set(our_events)):
            mine, their = our_events.get(topic, []), their_events.get(topic, [])
            if len(mine) != len(their):
                differences.append(f"{topic}: {len(mine)} records, Debezium {len(their)}")
            for a, b in zip(mine, their):
                if a != b:
                    differences.append(f"{topic} {b[0]}: {around_difference(a, b)}")
        assert not differences, f"{mode}:\n" + "\n".join(differences)


# ---- registries that are away, refuse, or are not there ----


@pytest.fixture
def standin():
    one = StandinRegistry()
    yield one
    one.stop()


def state(f):
    return f.status()["cdc"]["feed"]["state"]


def cause(f):
    return f.status()["cdc"]["feed"]["cause"]


def ids_of(kafka, topic, schema):
    """Sorted: keys lie in any partition."""
    return sorted(decode(record.raw_value, schema)["after"]["id"] for record in kafka.read(topic))


def test_while_the_registry_is_away_the_stream_waits_and_nothing_is_lost(db, kafka, standin, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db, unique, registry_config={"url": standin.url})
    standin.fail = (503, "not now")
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: state(f) == "waiting" and "not now" in cause(f), 30, "it waits")
    standin.fail = None
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.schema) == [1], 30, "the row")
    standin.stop()
    db.execute("CREATE TABLE u (id int PRIMARY KEY)")
    db.execute("INSERT INTO t VALUES (2)")  # whose schema is known
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.schema) == [1, 2], 30, "a known table's row")
    wait_until(lambda: db.value("SELECT count(*) FROM pg_publication_tables WHERE tablename = 'u'"), 30, "the new table")
    db.execute("INSERT INTO u VALUES (1)")
    wait_until(lambda: state(f) == "waiting" and "schema registry" in cause(f), 30, "it waits again")
    db.execute("INSERT INTO u VALUES (2)")
    standin.start()
    wait_until(lambda: ids_of(kafka, f"{unique}.public.u", standin.schema) == [1, 2], 60, "the rows")
    assert ids_of(kafka, f"{unique}.public.t", standin.schema) == [1, 2]
    assert f.metric("freshet_cdc_schema_failures_total") >= 2 and f.metric("freshet_cdc_schemas") == 4
    # Once a table, not once a row.
    assert sum("public.t-value" in r for r in standin.requests) <= sum("public.t-key" in r for r in standin.requests)


def test_a_schema_that_the_registry_refuses_stops_the_stream_until_it_takes_it(db, kafka, registry, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    topic = f"{unique}.public.t"
    f = publisher(db, unique)
    db.execute("INSERT INTO t VALUES (1, 1)")
    wait_until(lambda: kafka.read(topic), 30, "the first row")
    registry.call("PUT", f"/config/{topic}-value", {"compatibility": "BACKWARD"})
    db.execute("ALTER TABLE t ALTER v TYPE text USING v::text")
    db.execute("INSERT INTO t VALUES (2, 'two')")
    f.wait_for_log("feed_failed")
    told = next(line for line in f.log_text().splitlines() if "feed_failed" in line)
    assert f"{topic}-value" in told and "409" in told and "compatib" in told and "compatibility to NONE" in told
    assert len(kafka.read(topic)) == 1
    registry.call("PUT", f"/config/{topic}-value", {"compatibility": "NONE"})
    wait_until(lambda: ids_of(kafka, topic, registry.schema) == [1, 2], 30, "the row behind the change")


def test_without_a_registry_each_schema_has_its_id_from_the_configuration(db, kafka, freshet, registry, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    topic = f"{unique}.public.t"
    ids = {f"{topic}-key": 11, f"{topic}-value": 12}
    f = publisher(db, unique, registry_config={"ids": ids})
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: kafka.read(topic), 30, "the first row")
    assert kafka.read(topic)[0].raw_key == b"\0\0\0\0\x0b\x02"
    # The id says which schema a record has: a new schema wants one of its own.
    db.execute("ALTER TABLE t ADD COLUMN v int")
    db.execute("INSERT INTO t VALUES (2, 2)")
    f.wait_for_log("feed_failed")
    precise = re.search(rf"{re.escape(topic)}-value@[0-9a-f]{{8}}", f.log_text()).group()
    f.stop()
    f.config["cdc"]["schema_registry"]["ids"][precise] = 13
    f.write_config()
    f.start()
    records = wait_until(lambda: (r := kafka.read(topic)) and len(r) == 2 and r, 30, "the second row")
    assert sorted(int.from_bytes(r.raw_value[1:5], "big") for r in records) == [12, 13]


def test_it_gives_its_password_and_trusts_the_certificates_that_it_is_told_to(db, kafka, publisher, workshop, cli, tmp_path, unique):
    folder = workshop.make_folder("registry-certificate")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key", "-out", folder / "crt"],
                   check=True, capture_output=True)
    standin = StandinRegistry((folder / "crt", folder / "key"))
    standin.user = ("freshet", "secret")
    told = {"url": standin.url, "user": "freshet", "password": "secret", "ca": str(folder / "crt")}
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db, unique, registry_config=told)
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.schema) == [1], 30, "the row")

    def checked(**more):
        config = copy.deepcopy(f.config)
        config["cdc"]["schema_registry"].update(more)
        (tmp_path / "freshet.yml").write_text(json.dumps(config))
        ran = cli("check", "-c", tmp_path / "freshet.yml")
        return next(line for line in ran.stdout.splitlines() if "schema registry" in line)

    assert "ok" in checked()
    wrong = checked(password="wrong")
    assert "fail" in wrong.lower() and "401" in wrong
    assert "certificate" in checked(ca="/etc/ssl/certs/ca-certificates.crt")
    standin.stop()
    assert "fail" in checked().lower()


def test_what_avro_has_no_form_for_becomes_a_dead_letter(db, kafka, standin, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a int[])")
    publisher(db, unique, registry_config={"url": standin.url})
    db.execute("INSERT INTO t VALUES (1, '{{1},{2}}'), (2, '{1,NULL}')")
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.schema) == [2], 30, "the other row")
    letter = kafka.wait_for(f"{unique}.dead-letters", 1)[0].value
    assert letter["key"] == {"id": 1} and '"a"' in letter["cause"] and "Avro" in letter["cause"]
    assert letter["after"] == {"id": "1", "a": "{{1},{2}}"}


def test_mistakes_of_its_configuration_are_told(cli):
    def mistakes(*settings):
        args = [word for setting in ("roles=cdc", "cdc.format.encoding=avro", *settings) for word in ("--set", setting)]
        return cli("check", "--database", "postgres://x@127.0.0.1:1/x", "--kafka", "127.0.0.1:1", *args).stderr

    assert "cdc.schema_registry.url" in mistakes()
    url = "cdc.schema_registry.url=http://r:1"
    assert "one or the other" in mistakes(url, "cdc.schema_registry.ids.x-value=5")
    assert '"five" is no schema\'s id' in mistakes("cdc.schema_registry.ids.x-value=five")
    assert "no http:// or https:// URL" in mistakes("cdc.schema_registry.url=registry:8081")
    assert "lines of JSON" in mistakes(url, "cdc.output=stdout")
    assert "cdc.format.non_finite" in mistakes(url, "cdc.format.non_finite=string")
