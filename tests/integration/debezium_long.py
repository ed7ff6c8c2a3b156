"""The long form of test_debezium.py (`make check-debezium`): a script of hundreds of statements, in every mode of `format`, on both
versions of PostgreSQL; and the page of what Debezium loses, asked of Debezium itself.
"""

import os
import re
from pathlib import Path

import pytest

from support.kafka import Kafka
from support.oracle import MODES, MORE_MODES, Stand, has_mark, make_publisher, statements
from support.oracle_avro import MODES as AVRO_MODES, AvroStand
from support.waiting import wait_until
from test_debezium import ON_PURPOSE, make_types

SQL = Path(__file__).parent / "sql"

pytestmark = pytest.mark.timeout(2400)
both_versions = pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)


class LargeKafka(Kafka):
    """Hundreds of topics, each with transactions: with half a gigabyte of heap the broker stops answering in the end."""

    heap = "2g"


@pytest.fixture
def kafka(workshop, _servers):
    return _servers("large kafka", lambda: LargeKafka(workshop))


@pytest.fixture
def stand(db, kafka, debezium, freshet, unique):
    db.execute("CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true)")
    return Stand(db, kafka, debezium, make_publisher(freshet, kafka), unique, publication="everything")


@both_versions
def test_the_same_long_script_gives_the_same_events(stand):
    for statement in statements(SQL / "events_schema.sql"):
        stand.db.execute(statement)
    modes = {**MODES, **MORE_MODES}
    for mode in os.environ.get("FRESHET_TEST_MODES", " ".join(modes)).split():
        stand.add(mode, *modes[mode])
    stand.run(SQL / "events.sql")
    stand.run(SQL / "long.sql")
    stand.compare()


@both_versions
def test_the_same_long_script_gives_the_same_avro(db, kafka, connect, registry, freshet, unique):
    for statement in statements(SQL / "events_schema.sql"):
        db.execute(statement)
    db.execute("CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true)")
    stand = AvroStand(db, kafka, connect, registry, freshet, unique, publication="everything")
    for mode in AVRO_MODES:
        stand.add(mode)
    stand.run(SQL / "events.sql")
    stand.run(SQL / "long.sql")
    stand.compare()


def test_heartbeats_are_debeziums(stand):
    stand.db.execute("CREATE TABLE marker (id int PRIMARY KEY)")
    for mode in ("default", "schemas"):
        theirs, ours = MODES[mode]
        stand.add(mode, {"heartbeat.interval.ms": 300, **theirs}, {"heartbeat_interval": "300ms", **ours})
    stand.settle()
    for mode in ("default", "schemas"):
        seen = [stand.kafka.wait_for(f"__debezium-heartbeat.{prefix}", 2)[-1] for prefix in stand.prefixes(mode)]
        theirs, ours = [
            (one.raw_key.decode().replace(prefix, "PREFIX"), re.sub(r"\d{13}", "NOW", one.raw_value.decode()), one.headers)
            for one, prefix in zip(seen, stand.prefixes(mode))
        ]
        assert ours == theirs


def test_debezium_loses_what_the_page_says(make_postgres, kafka, debezium, freshet, unique):
    """So that the page is no longer than it must be: each of its values is another one in Debezium's event, or is not there, or
    ends the connector."""
    server = make_postgres(max_replication_slots=100, max_wal_senders=100)
    db = server.create_database()
    db.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    db.execute("CREATE TABLE marker (id int PRIMARY KEY)")
    make_types(db)
    stand = Stand(db, kafka, debezium, make_publisher(freshet, kafka), unique, publication="everything")
    stand.add("default", {"table.include.list": "public.marker"}, {})  # for there is what would end it

    # A domain over an enum: no connector starts on a database that has one.
    with_domain = server.create_database()
    make_types(with_domain)
    with_domain.execute("CREATE DOMAIN mood_domain AS mood")
    stand.add_connector(f"{unique}domain", {"database.dbname": with_domain.name}, wait=False)
    assert "TypeRegistry" in wait_until(lambda: stand.has_failed(f"{unique}domain"), 60)

    values = [value for value in ON_PURPOSE if "domain" not in value[0]]
    prefixes = [f"{unique}lost{i}" for i in range(len(values))]
    for i, (kind, sql, _) in enumerate(values):
        db.execute(f"CREATE TABLE lost{i} (id int PRIMARY KEY, c {kind}{' DEFAULT 5' if sql == 'NULL' else ''})")
        stand.add_connector(prefixes[i], {
            "snapshot.mode": "no_data", "publication.name": "everything", "table.include.list": f"public.(lost{i}|marker)",
        })
    for i, (_, sql, _) in enumerate(values):
        db.execute(f"INSERT INTO lost{i} VALUES (1, {sql})")
    stand.settle()
    same = []
    for i, (kind, sql, ours) in enumerate(values):
        wait_until(lambda: has_mark(kafka, prefixes[i], 1) or stand.has_failed(prefixes[i]), 60, f"the end of {kind}")
        records = kafka.read(f"{prefixes[i]}.public.lost{i}")
        row = records[0].value["after"] if records else {}
        if "c" in row and row["c"] == ours:
            same.append((kind, sql))
    assert not same
