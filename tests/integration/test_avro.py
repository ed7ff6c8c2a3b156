"""Avro: registries that are away or refuse, ids of the configuration, values without a form. That schemas and records are right,
test_consumers.py asks those who know."""

import copy
import json
import re
import subprocess

import pytest

from support.oracle import make_publisher
from support.registry import decode
from support.standin_registry import StandinRegistry
from support.waiting import wait_until


@pytest.fixture
def publisher(freshet, kafka):
    make = make_publisher(freshet, kafka)

    def start(db, prefix, registry):
        return make(db, prefix, format={"encoding": "avro"}, schema_registry=registry)

    return start


@pytest.fixture
def standin():
    one = StandinRegistry()
    yield one
    one.stop()


def state(f):
    return f.status()["cdc"]["feed"]["state"]


def cause(f):
    return f.status()["cdc"]["feed"]["cause"]


def ids_of(kafka, topic, reader):
    """Sorted: keys lie in any partition."""
    return sorted(decode(record.raw_value, reader)["after"]["id"] for record in kafka.read(topic))


def test_while_the_registry_is_away_the_stream_waits_and_nothing_is_lost(db, kafka, standin, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db, unique, {"url": standin.url})
    standin.fail = (503, "not now")
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: state(f) == "waiting" and "not now" in cause(f), 30, "it waits")
    standin.fail = None
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.reader) == [1], 30, "the row")
    standin.stop()
    db.execute("CREATE TABLE u (id int PRIMARY KEY)")
    db.execute("INSERT INTO t VALUES (2)")  # whose schema is known
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.reader) == [1, 2], 30, "a known table's row")
    wait_until(lambda: db.value("SELECT count(*) FROM pg_publication_tables WHERE tablename = 'u'"), 30, "the new table")
    db.execute("INSERT INTO u VALUES (1)")
    wait_until(lambda: state(f) == "waiting" and "schema registry" in cause(f), 30, "it waits again")
    db.execute("INSERT INTO u VALUES (2)")
    standin.start()
    wait_until(lambda: ids_of(kafka, f"{unique}.public.u", standin.reader) == [1, 2], 60, "the rows")
    assert ids_of(kafka, f"{unique}.public.t", standin.reader) == [1, 2]
    assert f.metric("freshet_cdc_schema_failures_total") >= 2 and f.metric("freshet_cdc_schemas") == 4
    # Once a table, not once a row.
    assert sum("public.t-value" in r for r in standin.requests) <= sum("public.t-key" in r for r in standin.requests)


def test_names_that_begin_with_a_digit_are_taken_by_the_registry(db, kafka, registry, publisher, unique):
    db.execute('CREATE SCHEMA "7up" CREATE TABLE "2024_orders" ("1st" int PRIMARY KEY)')
    publisher(db, unique, {"url": registry.url})
    db.execute('INSERT INTO "7up"."2024_orders" VALUES (7)')
    (record,) = kafka.wait_for(f"{unique}.7up.2024_orders", 1)
    assert registry.decode(record.raw_key) == {"_1st": 7}
    schema = registry.schema(int.from_bytes(record.raw_value[1:5], "big"))
    assert schema["namespace"] == f"{unique}._7up._2024_orders"


def test_without_a_registry_each_schema_has_its_id_from_the_configuration(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    topic = f"{unique}.public.t"
    ids = {f"{topic}-key": 11, f"{topic}-value": 12}
    f = publisher(db, unique, {"ids": ids})
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


def test_an_id_of_the_configuration_means_one_schema_across_restarts(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    topic = f"{unique}.public.t"
    ids = {f"{topic}-key": 11, f"{topic}-value": 12}
    f = publisher(db, unique, {"ids": ids})
    db.execute("INSERT INTO t VALUES (1)")
    kafka.wait_for(topic, 1)
    f.stop()
    db.execute("ALTER TABLE t ADD COLUMN v int")
    db.execute("INSERT INTO t VALUES (2, 2)")
    f.start(wait=False)
    f.wait_for_log("feed_failed")
    assert len(kafka.read(topic)) == 1
    f.kill9()
    f.config["cdc"]["schema_registry"]["ids"][f"{topic}-value"] = 13  # as good as the fingerprint: the old id is no longer in use
    f.write_config()
    f.start()
    records = kafka.wait_for(topic, 2)
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
    f = publisher(db, unique, told)
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.reader) == [1], 30, "the row")

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
    publisher(db, unique, {"url": standin.url})
    db.execute("INSERT INTO t VALUES (1, '{{1},{2}}'), (2, '{1,NULL}')")
    wait_until(lambda: ids_of(kafka, f"{unique}.public.t", standin.reader) == [2], 30, "the other row")
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
