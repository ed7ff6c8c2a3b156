"""Kafka with passwords, certificates, rights, quotas and limits of its own; and topics that somebody deletes."""

import os
from pathlib import Path

import confluent_kafka
import pytest

from support.waiting import wait_until

BY_HAND = pytest.mark.skipif(not os.environ.get("FRESHET_TEST_LONG"), reason="takes 20 s: FRESHET_TEST_LONG=1")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


def newer_librdkafka(folder):
    """The environment for the librdkafka of the tests' own client: before 2.6.1 its SCRAM is no match for Kafka 4."""
    bundled = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    for library in bundled.glob("librdkafka-*.so.1"):
        (folder / "librdkafka.so.1").symlink_to(library)
        return {"LD_LIBRARY_PATH": f"{folder}:{bundled}"}
    pytest.skip("no newer librdkafka beside the tests' client")


def publisher(freshet, db, unique, brokers, properties=None, wait=True, env=None, **cdc):
    kafka = {"brokers": brokers, "properties": properties or {}, **cdc.pop("kafka", {})}
    config = {
        "roles": ["cdc"],
        "cdc": {"prefix": unique, "slot": f"{unique}_slot", "publication": f"{unique}_pub", "kafka": kafka, **cdc},
    }
    return freshet(db, config, wait=wait, env=env)


def lsn_bytes(lsn):
    high, low = (int(part, 16) for part in lsn.split("/"))
    return high << 32 | low


def state(f):
    return f.status()["cdc"]["feed"]["state"]


def cause(f):
    return str(f.status()["cdc"]["feed"]["cause"])


def allow_all(kafka, user, unique):
    kafka.allow(user, "topic", f"{unique}.", "CREATE", "WRITE", "READ", "DESCRIBE")
    kafka.allow(user, "transactional_id", f"freshet-{unique}-", "WRITE", "DESCRIBE")


def ids(kafka, unique):
    return sorted(r.key["id"] for r in kafka.read(f"{unique}.public.t") if r.value)


@pytest.mark.parametrize(("user", "tls"), [("plain", False), ("scram", True)])
def test_brokers_that_want_a_password(freshet, cli, db, kafka, unique, user, tls, tmp_path):
    db.execute(TABLE)
    db.execute("INSERT INTO t VALUES (1)")
    allow_all(kafka, user, unique)
    brokers, properties = kafka.door(user, tls)
    env = newer_librdkafka(tmp_path) if user == "scram" else None
    f = publisher(freshet, db, unique, brokers, properties, env=env)
    wait_until(lambda: state(f) == "streaming", 30, "it streams")
    db.execute("INSERT INTO t VALUES (2)")
    wait_until(lambda: ids(kafka, unique) == [1, 2], 30, "both rows")
    assert f.status()["cdc"]["delivery"] == "exactly-once"
    assert "open-sesame" not in f.log_text() + str(f.status())


def test_a_full_queue_is_sent_though_its_records_would_linger(freshet, db, kafka, unique):
    """Spread over partitions, no request fills up before the queue does: some ten times in this transaction."""
    db.execute(TABLE)
    kafka_config = {"queue": "1MiB", "topic_partitions": 12}
    f = publisher(freshet, db, unique, kafka.brokers, {"linger.ms": "5000"}, snapshot="never", kafka=kafka_config)
    db.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 12000) i")
    end = db.lsn()
    wait_until(lambda: f.metric("freshet_cdc_published_lsn_bytes") >= lsn_bytes(end), 30, "all are published")
    assert ids(kafka, unique) == list(range(1, 12001))


@pytest.mark.parametrize("fault", ["password", "authority", "rights"])
def test_who_may_not_come_in_is_told_why_and_stops(freshet, cli, db, kafka, unique, fault):
    db.execute(TABLE)
    brokers, properties = kafka.door("plain", tls=True)
    if fault == "password":
        properties["sasl.password"] = "guessed"
    if fault == "authority":
        del properties["ssl.ca.location"]
    f = publisher(freshet, db, unique, brokers, properties, wait=False)
    assert f.process.wait_ended(60) == 1
    wanted = {"password": "uthentication", "authority": "certificate", "rights": "uthorization failed"}[fault]
    assert wanted in f.log_text() and "feed_failed" in f.log_text()
    if fault != "rights":
        done = cli("check", "-c", f.config_path)
        assert done.returncode == 1 and wanted in done.stdout + done.stderr


def test_a_right_that_is_taken_away_is_waited_for_and_nothing_is_lost(freshet, db, kafka, unique):
    db.execute(TABLE)
    allow_all(kafka, "plain", unique)
    brokers, properties = kafka.door("plain", tls=True)
    f = publisher(freshet, db, unique, brokers, properties)
    wait_until(lambda: state(f) == "streaming", 30, "it streams")
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: ids(kafka, unique) == [1], 30, "the first row")
    kafka.deny("plain", "topic", f"{unique}.", "WRITE")
    db.execute("INSERT INTO t VALUES (2)")
    wait_until(lambda: state(f) == "waiting" and "uthorization failed" in cause(f), 60, "it says what it lacks")
    assert f.http("/readyz").status_code != 200
    kafka.allow("plain", "topic", f"{unique}.", "WRITE")
    wait_until(lambda: ids(kafka, unique) == [1, 2], 60, "both rows, once")


def test_a_topic_that_is_deleted_is_made_again(freshet, db, kafka, unique):
    db.execute(TABLE)
    f = publisher(freshet, db, unique, kafka.brokers, {"topic.metadata.refresh.interval.ms": "1000",
                                                      "topic.metadata.propagation.max.ms": "1000"})  # fmt: skip
    wait_until(lambda: state(f) == "streaming", 30, "it streams")
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: ids(kafka, unique) == [1], 30, "the first row")
    admin = kafka.admin()  # the result comes only while it lives
    admin.delete_topics([f"{unique}.public.t"])[f"{unique}.public.t"].result()
    # The producer's next look at it may make it anew at once.
    wait_until(lambda: f"{unique}.public.t" not in kafka.topics(unique) or not ids(kafka, unique), 30, "it is gone")
    for i in range(2, 12):
        db.execute("INSERT INTO t VALUES (%s)", [i])
    wait_until(lambda: ids(kafka, unique)[-1:] == [11], 90, "rows in the new one")
    there = ids(kafka, unique)
    assert len(there) == len(set(there)) and f.process.exit_code is None


def test_positions_that_are_deleted_are_no_reason_to_guess(freshet, db, kafka, unique):
    db.execute(TABLE)
    f = publisher(freshet, db, unique, kafka.brokers, snapshot="never")
    wait_until(lambda: state(f) == "streaming", 30, "it streams")
    db.execute("INSERT INTO t VALUES (1)")
    wait_until(lambda: ids(kafka, unique) == [1], 30, "the first row")
    f.stop()
    admin = kafka.admin()
    admin.delete_topics([f"{unique}.positions"])[f"{unique}.positions"].result()
    wait_until(lambda: f"{unique}.positions" not in kafka.topics(unique), 30, "it is gone")
    db.execute("INSERT INTO t VALUES (2)")
    f.start(wait=False)
    wait_until(lambda: f.process.exit_code is not None or state(f) in ("refused", "failed", "waiting", "streaming"), 60, "it decides")
    # The slot alone tells where to go on: nothing is lost. Or it says that it cannot know.
    if f.process.exit_code is None and state(f) == "streaming":
        wait_until(lambda: ids(kafka, unique) == [1, 2], 30, "the second row, once")
    else:
        assert "position" in f.log_text()


def test_properties_that_are_ours_are_refused_where_they_stand(cli, tmp_path):
    path = tmp_path / "freshet.yml"
    path.write_text(
        "database: {url: postgres://nobody@127.0.0.1:1/none}\n"
        "cdc:\n"
        "  kafka:\n"
        "    brokers: 127.0.0.1:1\n"
        "    properties:\n"
        "      acks: '1'\n"
        "      linger.ms: 5\n"
        "      enable.idempotence: false\n"
        "      security.protocol: tls\n"
        "      batch.sise: 7\n"
    )
    done = cli("run", "-c", path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "cdc.kafka.properties" in line]
    assert len(lines) == 4, done.stderr
    assert lines[0].startswith(f"{path}:6:7: cdc.kafka.properties.acks: ") and "all replicas" in lines[0]
    assert lines[1].startswith(f"{path}:8:7: cdc.kafka.properties.enable.idempotence: ")
    assert lines[2].startswith(f"{path}:9:7: ") and "Invalid value" in lines[2]
    assert lines[3].startswith(f"{path}:10:7: ") and "No such configuration property" in lines[3]
    done = cli("run", "-c", path, "--set", "cdc.kafka.properties.partitioner=random")
    assert "--set: cdc.kafka.properties.partitioner: " in done.stderr


def coordinator_of(kafka, name):
    """The broker that leads the transactional id's partition."""
    number = 0
    for char in name:
        number = (31 * number + ord(char)) & 0xFFFFFFFF
    number -= (number & 0x80000000) << 1
    partitions = kafka.admin().list_topics("__transaction_state", timeout=10).topics["__transaction_state"].partitions
    return partitions[abs(number) % len(partitions)].leader


@BY_HAND
def test_a_coordinator_that_moves_and_too_few_replicas_are_waited_for(freshet, db, make_kafka, unique):
    """Of two brokers one dies: the transaction's coordinator moves, and a topic that wants two replicas takes nothing."""
    both = {
        "transaction__state__log__replication__factor": 2, "offsets__topic__replication__factor": 2, "default__replication__factor": 2,
        "broker__session__timeout__ms": 3000, "broker__heartbeat__interval__ms": 500, "unclean__leader__election__enable": False,
    }  # fmt: skip
    kafka = make_kafka(**both)
    second = make_kafka(mate=kafka, **both)
    wait_until(lambda: len(kafka.admin().list_topics(timeout=5).brokers) == 2, 60, "two brokers")
    db.execute(TABLE)
    kafka.create_topic(f"{unique}.public.t", partitions=2, replicas=2, min__insync__replicas=2)
    f = publisher(freshet, db, unique, kafka.brokers)
    wait_until(lambda: state(f) == "streaming", 60, "it streams")
    for n in range(8):  # to a slot whose coordinator is the one that is to die
        if coordinator_of(kafka, f"freshet-{unique}-{f.config['cdc']['slot']}") == 2:
            break
        f.stop()
        f = publisher(freshet, db, unique, kafka.brokers, slot=f"{unique}_{n}", snapshot="never")
        wait_until(lambda: state(f) == "streaming", 60, "it streams")  # noqa: B023
    assert coordinator_of(kafka, f.status()["cdc"]["transactional_id"]) == 2
    db.execute("INSERT INTO t SELECT generate_series(1, 20)")
    wait_until(lambda: ids(kafka, unique) == list(range(1, 21)), 60, "the first rows")
    second.kill9()
    db.execute("INSERT INTO t SELECT generate_series(21, 40)")
    wait_until(lambda: f.status()["cdc"]["unacknowledged_seconds"] > 12 or state(f) == "waiting", 60, "it waits")
    wait_until(lambda: coordinator_of(kafka, f.status()["cdc"]["transactional_id"]) == 1, 60, "the coordinator has moved")
    assert ids(kafka, unique) == list(range(1, 21))
    second.start()
    wait_until(lambda: ids(kafka, unique) == list(range(1, 41)), 90, "all rows, once")


@BY_HAND
def test_a_quota_slows_it_down_and_nothing_else(freshet, db, kafka, unique):
    db.execute(TABLE)
    allow_all(kafka, "plain", unique)
    kafka.limit("plain", producer_byte_rate=30000)
    try:
        brokers, properties = kafka.door("plain")
        f = publisher(freshet, db, unique, brokers, properties)
        wait_until(lambda: state(f) == "streaming", 30, "it streams")
        for i in range(30):
            noise = "(SELECT string_agg(md5((g * %s)::text), '') FROM generate_series(1, 300) g)" % (i + 1)
            db.execute(f"INSERT INTO t VALUES ({i}, {noise})")
        wait_until(lambda: ids(kafka, unique) == list(range(30)), 120, "all rows, once")
        assert f.http("/healthz").status_code == 200 and f.metric("freshet_feed_reconnects_total", feed="cdc") == 0
    finally:
        kafka.limit("plain", producer_byte_rate=1 << 30)
