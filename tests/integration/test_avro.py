"""Avro: the schemas and records are those that Debezium's events get from an Avro converter of Kafka Connect; registries that are
away, refuse or are not there; ids of the configuration."""

import json
from pathlib import Path

import pytest

from support.connect import avro
from support.oracle import around_difference, make_publisher, statements
from support.registry import decode
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
