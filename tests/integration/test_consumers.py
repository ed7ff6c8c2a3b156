"""Consumers that others wrote read our topics: kcat, Confluent's Python client with its Avro deserializer, and Debezium's JDBC
sink in Kafka Connect, which rebuilds the tables in another database: they equal the source. And Debezium's events through an Avro
converter, which ours equal."""

import json
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import DeserializingConsumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer

from support.connect import avro
from support.oracle import make_publisher, statements
from support.oracle_avro import AvroStand
from support.waiting import wait_until

SQL = Path(__file__).parent / "sql"

# Types that the sink writes to columns of types of their own, with values at their edges.
SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, balance numeric(12,2), born date, since timestamp, seen timestamptz,
    ratio double precision, small real, active bool NOT NULL DEFAULT true, photo bytea, extra jsonb, code uuid, tiny smallint, big bigint);
CREATE TABLE orders (customer int, n int, note text, at time, PRIMARY KEY (customer, n));
"""
CHANGES = """
INSERT INTO customers VALUES
    (1, 'Ann', 10.50, '1970-01-01', '2020-02-29 23:59:59.999999', '2020-02-29 23:59:59.999999+02', 1.5, 0.1, true, '\\x00ff', '{"a": [1, null]}',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', -32768, 9223372036854775807),
    (2, E'B\\u00f6b \\U0001F600 "q" \\\\', -0.01, '1899-12-31', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59+00', 1e300, -3.4e38, false, '', '[]', NULL, 1, -1),
    (3, '', NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL, NULL);
INSERT INTO orders SELECT 1, n, 'order ' || n, '00:00:00.000001'::time FROM generate_series(1, 300) n;
UPDATE customers SET balance = balance * 3 WHERE id < 3;
UPDATE customers SET id = 30 WHERE id = 3;
DELETE FROM orders WHERE n % 3 = 0;
INSERT INTO customers (id, name) VALUES (4, 'gone');
DELETE FROM customers WHERE id = 4;
UPDATE orders SET note = NULL WHERE n = 1;
INSERT INTO orders VALUES (99, 1, 'last', '24:00:00'::time - interval '1 second');
"""
TABLES = {"customers": "id", "orders": "customer, n"}


@pytest.fixture
def published(freshet, kafka, db):
    """published(prefix, **cdc): the tables, some rows before the publisher starts, the rest while it streams."""

    def make(prefix, **cdc):
        f = freshet(db, {"roles": ["cdc"], "cdc": {"slot": f"{prefix}_slot", "publication": f"{prefix}_pub", **cdc}},
                    kafka=kafka, prefix=prefix)
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", 60, "the publisher streams")
        return f

    return make


def rows(database, table, key):
    return database.rows(f"SELECT * FROM {table} ORDER BY {key}")


def last_order(kafka, topic):
    return any(b"last" in (record.raw_value or b"") for record in kafka.read(topic))


@pytest.fixture
def target(postgres):
    database = postgres.create_database()
    yield database
    database.drop()


def test_a_jdbc_sink_rebuilds_the_tables(db, kafka, connect, registry, published, target, unique):
    db.execute(SCHEMA)
    db.execute("INSERT INTO customers (id, name, balance) SELECT n, 'row ' || n, n / 4.0 FROM generate_series(100, 350) n")
    sinks = {"json-schema": ({}, {}), "avro": (avro(registry), {"schema_registry": {"url": registry.url}})}
    for encoding, (converters, told) in sinks.items():
        prefix = f"{unique}{encoding[0]}"
        published(prefix, format={"encoding": encoding}, **told)
        connect.sink(prefix, target, [f"{prefix}.public.{table}" for table in TABLES], **converters,
                     **{"collection.name.format": f"{encoding[0]}_${{source.table}}"})
    for statement in CHANGES.strip().split(";\n"):
        db.execute(statement)
    for encoding in sinks:
        for table, key in TABLES.items():
            want = rows(db, table, key)

            def equal():
                connect.assert_running(f"{unique}{encoding[0]}")
                got = rows(target, f"{encoding[0]}_{table}", key)
                return got == want or print(encoding, [pair for pair in zip(got, want) if pair[0] != pair[1]][:3])

            wait_until(equal, 60, f"{table} by {encoding}", every=0.2)
        connect.remove(f"{unique}{encoding[0]}")


def test_confluents_deserializer_reads_avro(db, kafka, registry, published, unique):
    db.execute(SCHEMA)
    published(unique, format={"encoding": "avro"}, schema_registry={"url": registry.url})
    for statement in CHANGES.strip().split(";\n"):
        db.execute(statement)
    wait_until(lambda: last_order(kafka, f"{unique}.public.orders"), 60, "the last order")
    client = SchemaRegistryClient({"url": registry.url})
    consumer = DeserializingConsumer({
        "bootstrap.servers": kafka.brokers, "group.id": unique, "auto.offset.reset": "earliest",
        "key.deserializer": AvroDeserializer(client), "value.deserializer": AvroDeserializer(client),
    })
    topic = f"{unique}.public.customers"
    consumer.assign([TopicPartition(topic, p, 0) for p in consumer.list_topics(topic).topics[topic].partitions])
    expected = len(kafka.read(topic))
    folded = {}
    for _ in range(expected):
        message = consumer.poll(30)
        assert message is not None and not message.error(), message and message.error()
        if message.value():
            folded[message.key()["id"]] = message.value()["after"]
        else:
            assert folded.pop(message.key()["id"]) is None
    consumer.close()
    assert sorted(folded) == [1, 2, 30]
    got = [{column: folded[id][column] for column in ("name", "balance", "big", "active")} for id in (1, 2, 30)]
    assert got == db.rows("SELECT name, balance, big, active FROM customers ORDER BY id")
    assert folded[1]["photo"] == b"\x00\xff"


def test_kcat_prints_what_was_published(db, kafka, published, unique):
    db.execute(SCHEMA)
    published(unique)
    for statement in CHANGES.strip().split(";\n"):
        db.execute(statement)
    topic = f"{unique}.public.orders"
    wait_until(lambda: last_order(kafka, topic), 60, "the last order")
    printed = subprocess.run(
        ["kcat", "-C", "-b", kafka.brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed",
         "-f", "%k\\t%S\\t%s\\n"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout
    folded = {}
    for line in printed.splitlines():
        key, size, value = line.split("\t")
        if int(size) > 0:
            folded[key] = json.loads(value)["after"]
        else:
            del folded[key]
    got = [{column: row[column] for column in ("customer", "n", "note")} for row in folded.values()]
    assert sorted(got, key=lambda row: (row["customer"], row["n"])) == db.rows("SELECT customer, n, note FROM orders ORDER BY 1, 2")


# ---- Avro as Debezium has it ----

def test_schemas_and_records_are_those_of_debezium(db, kafka, connect, registry, freshet, unique):
    for statement in statements(SQL / "events_schema.sql"):
        db.execute(statement)
    stand = AvroStand(db, kafka, connect, registry, freshet, unique)
    stand.add("default")  # `make check-debezium` has others, and a longer script
    stand.run(SQL / "events.sql")
    stand.compare()


def test_a_schema_that_the_registry_refuses_stops_the_stream_until_it_takes_it(db, kafka, registry, freshet, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    topic = f"{unique}.public.t"
    f = make_publisher(freshet, kafka)(db, unique, format={"encoding": "avro"}, schema_registry={"url": registry.url})
    db.execute("INSERT INTO t VALUES (1, 1)")
    wait_until(lambda: kafka.read(topic), 30, "the first row")
    registry.call("PUT", f"/config/{topic}-value", {"compatibility": "BACKWARD"})
    db.execute("ALTER TABLE t ALTER v TYPE text USING v::text")
    db.execute("INSERT INTO t VALUES (2, 'two')")
    f.wait_for_log("feed_failed", 30)
    told = next(line for line in f.log_text().splitlines() if "feed_failed" in line)
    assert f"{topic}-value" in told and "409" in told and "compatib" in told and "compatibility to NONE" in told
    registry.call("PUT", f"/config/{topic}-value", {"compatibility": "NONE"})
    records = wait_until(lambda: (r := kafka.read(topic)) and len(r) == 2 and r, 30, "the row behind the change")
    assert sorted(registry.decode(r.raw_value)["after"]["v"] for r in records if registry.decode(r.raw_key)["id"] == 2) == ["two"]
