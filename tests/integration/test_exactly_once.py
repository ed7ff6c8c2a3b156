"""Each committed row change once, in order, whatever is killed when: checked from the topics alone by a reader of
committed records. The writers, the faults and the audit are those of `make check-exactly-once` (tests/delivery).
"""

import os
import signal
import time
from collections import Counter

import pytest
from confluent_kafka import TopicPartition

from havoc import EVERYDAY
from support.kafkaproxy import KafkaProxy
from support.waiting import PATIENCE, wait_until
from weather import Storm

AWAY_SECONDS = float(os.environ.get("FRESHET_AWAY_SECONDS", "0"))  # by hand: 60

SECONDS = os.environ.get("FRESHET_STORM_SECONDS")


def streaming(f):
    return f.status()["cdc"]["feed"]["state"] == "streaming"


def caught_up(f, db):
    lsn = db.lsn()

    def done():
        published = f.status()["cdc"]["published_lsn"]
        high, low = (int(part, 16) for part in published.split("/"))
        want_high, want_low = (int(part, 16) for part in lsn.split("/"))
        return (high, low) >= (want_high, want_low)

    wait_until(done, 60, f"published up to {lsn}", every=0.1)


def publisher(freshet, db, broker, unique, wait=True, **cdc):
    return freshet(
        db,
        {"roles": ["cdc"], "cdc": {"slot": f"{unique}_slot", "publication": f"{unique}_pub", **cdc}},
        kafka=broker,
        prefix=unique,
        wait=wait,
    )


@pytest.mark.timeout(int((float(SECONDS or 0) + 420) * PATIENCE))
def test_faults_lose_and_repeat_nothing(workshop):
    with Storm(workshop, seed=7) as storm:
        storm.blow(float(SECONDS) if SECONDS else None, None if SECONDS else EVERYDAY)
        assert storm.findings() == [], storm.figures()
        assert storm.audit.transactions > 100 and storm.commits > 100


def test_at_least_once_repeats_under_kills_and_the_audit_sees_it(workshop, postgres, kafka):
    with Storm(workshop, "at-least-once", seed=1, server=postgres, kafka=kafka,
               config={"cdc": {"kafka": {"transaction_interval": "400ms", "properties": {"linger.ms": "0"}}}}) as storm:  # fmt: skip
        storm.blow(faults=["kill"] * 6)
        audit = storm.audit
        assert audit.twice, "no repeat: the audit, or the kills, are too weak"
        assert audit.marked and not audit.unmarked, "a repeat has the position of what it repeats"
        assert audit.lost + audit.wrong + audit.disorder == []


def test_kafka_away_is_waited_for_in_bounded_memory(freshet, db, make_kafka, unique):
    broker = make_kafka()
    db.execute("CREATE TABLE wide (id int PRIMARY KEY, t text)")
    db.execute("INSERT INTO wide VALUES (0, 'its topic is there')")
    f = publisher(freshet, db, broker, unique, kafka={"queue": "4MiB"})
    caught_up(f, db)
    before = most = f.rss_bytes()
    broker.pause()
    until, n = time.monotonic() + AWAY_SECONDS, 0
    while n < 40 or time.monotonic() < until:
        db.execute(f"INSERT INTO wide SELECT i, repeat(md5(i::text), 30) FROM generate_series({n}*1000+1, {n + 1}*1000) i")
        n, most = n + 1, max(most, f.rss_bytes())
        if n > 40:
            time.sleep(0.2)  # a load, rather than all that the disk takes
    # n megabytes wait in the WAL; the slot keeps them.
    wait_until(lambda: f.metric("freshet_cdc_kafka_queue_records") > 1000, 30, "the queue fills")
    most = max(most, f.rss_bytes())
    assert most - before < 64 * 1024 * 1024
    assert f.http("/healthz").status_code == 200
    broker.resume()
    caught_up(f, db)
    keys = Counter(r.key["id"] for r in broker.read(f"{unique}.public.wide"))
    assert len(keys) == n * 1000 + 1 and set(keys.values()) == {1}
    after = f.rss_bytes()
    assert after - before < 96 * 1024 * 1024
    print(f"\nKafka away while {n} MB were written: resident {before / 2**20:.1f} MiB before, {most / 2**20:.1f} MiB at "
          f"most, {after / 2**20:.1f} MiB when it was back")


def test_kafka_absent_at_the_start_is_waited_for(freshet, db, make_kafka, unique):
    broker = make_kafka()
    broker.stop()
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("INSERT INTO t SELECT generate_series(1, 20)")
    f = publisher(freshet, db, broker, unique, wait=False)
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "waiting", 60, "it waits")
    assert "Kafka" in f.status()["cdc"]["feed"]["cause"]
    broker.start()
    caught_up(f, db)
    assert len(broker.read(f"{unique}.public.t")) == 20


def test_a_large_transaction_is_one_kafka_transaction(freshet, db, kafka, unique):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka={"queue": "4MiB"})
    wait_until(lambda: streaming(f), 30, "streams")
    before = f.rss_bytes()
    db.execute("INSERT INTO big SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i")
    caught_up(f, db)
    assert f.metric("freshet_cdc_events_total", op="c") == 100000
    records = kafka.read(f"{unique}.public.big")
    assert len(records) == 100000 and len({r.value["source"]["txId"] for r in records}) == 1
    assert f.rss_bytes() - before < 96 * 1024 * 1024


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_record_that_the_broker_refuses_is_a_dead_letter_and_the_stream_goes_on(freshet, db, make_kafka, unique, delivery):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    kafka = make_kafka(message__max__bytes=20000)
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka={"delivery": delivery})
    wait_until(lambda: streaming(f), 30, "streams")
    noise = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 1000) g)"  # which does not compress to less
    db.execute(f"INSERT INTO big SELECT i, CASE WHEN i IN (3, 7) THEN {noise} ELSE 'small' END FROM generate_series(1, 9) i")
    db.execute("INSERT INTO big VALUES (10, 'small')")
    wait_until(lambda: any(r.key == {"id": 10} for r in kafka.read(f"{unique}.public.big")), 60, "the stream goes on")
    letters = []

    def both_are_told():
        letters[:] = kafka.read(f"{unique}.dead-letters")
        return {r.value["key"]["id"] for r in letters} == {3, 7}

    wait_until(both_are_told, 30, "two dead letters")
    assert all("max.message.bytes" in r.value["cause"] for r in letters)
    there = [r.key["id"] for r in kafka.read(f"{unique}.public.big")]
    assert sorted(set(there)) == [1, 2, 4, 5, 6, 8, 9, 10]
    if delivery == "exactly-once":
        assert (len(there), len(letters)) == (8, 2)


@pytest.mark.parametrize("choice", ["skip", "fail"])
def test_a_record_too_large_is_left_out_or_ends_it_as_configured(freshet, db, kafka, unique, choice):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", on_oversize=choice)
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO big VALUES (1, repeat('x', 3000000))")
    db.execute("INSERT INTO big VALUES (2, 'small')")
    if choice == "skip":
        assert [r.key for r in kafka.wait_for(f"{unique}.public.big", 1)] == [{"id": 2}]
        assert f.metric("freshet_cdc_oversize_skipped_total") == 1
    else:
        wait_until(lambda: "on_oversize" in str(f.status()["cdc"]["feed"]), 30, "it says why it does not go on")
        assert kafka.read(f"{unique}.public.big") == []
        assert f.status()["cdc"]["feed"]["state"] != "streaming"
    assert f"{unique}.dead-letters" not in kafka.topics(f"{unique}.")


def test_a_record_too_large_is_a_dead_letter_and_the_stream_goes_on(freshet, db, kafka, unique):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never")
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO big VALUES (1, repeat('x', 3000000))")
    db.execute("INSERT INTO big VALUES (2, 'small')")
    kafka.wait_for(f"{unique}.public.big", 1)
    letter = kafka.wait_for(f"{unique}.dead-letters", 1)[0].value
    assert letter["table"] == "big" and letter["key"] == {"id": 1} and "message.max.bytes" in letter["cause"]
    assert [r.key for r in kafka.read(f"{unique}.public.big")] == [{"id": 2}]
    assert f.metric("freshet_cdc_dead_letters_total") == 1


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_request_refused_while_the_next_is_under_way_loses_nothing(freshet, db, make_kafka, unique, delivery):
    """The broker knows nothing of the producer yet, and so takes the second request, with the gap before it."""
    proxy = KafkaProxy()
    broker = make_kafka(advertised__listeners=f"PLAINTEXT://127.0.0.1:{proxy.port}")
    proxy.broker = broker.port
    broker.create_topic(f"{unique}.public.wide")
    db.execute("CREATE TABLE wide (id int PRIMARY KEY, t text)")
    f = publisher(freshet, db, broker, unique, snapshot="never", kafka={"delivery": delivery})
    wait_until(lambda: streaming(f), 30, "streams")
    proxy.refuse_first(f"{unique}.public.wide")
    db.execute("INSERT INTO wide SELECT i, repeat('x', 250000) FROM generate_series(1, 40) i")
    caught_up(f, db)
    assert proxy.refused.is_set() and proxy.requests > 1
    keys = [r.key["id"] for r in broker.read(f"{unique}.public.wide")]
    assert sorted(set(keys)) == list(range(1, 41))
    if delivery == "exactly-once":
        assert keys == list(range(1, 41))
    proxy.close()


# ---- a transaction in parts ----


SPLIT = {"split_transactions": 1000, "transaction_interval": "20ms"}


def test_a_huge_transaction_is_split_where_asked_for_and_says_so(freshet, db, kafka, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka=SPLIT, format={"transaction_metadata": True})
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO t SELECT generate_series(1, 5500)")
    db.execute("INSERT INTO t VALUES (0)")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert Counter(r.key["id"] for r in records) == Counter(range(5501))
    parts = Counter(int(r.headers.get("freshet.part", 0)) for r in records)
    assert set(parts) == set(range(len(parts))) and len(parts) >= 4, parts
    assert max(parts.values()) <= 1100
    boundaries = kafka.read(f"{unique}.transaction")
    large = [r.value for r in boundaries if r.value["id"].split(":")[0] == str(records[5000].value["source"]["txId"])]
    assert Counter(b["status"] for b in large) == {"BEGIN": 1, "PART": len(parts) - 1, "END": 1}
    assert [b["event_count"] for b in large if b["status"] == "END"] == [5500]
    assert next(r for r in records if r.key["id"] == 0).headers == {}


def committed(kafka, topic):
    """The sum of the offsets that readers of committed records get to."""
    consumer = kafka.consumer()
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions)
    finally:
        consumer.close()


def test_a_split_transaction_comes_once_through_kills(freshet, db, kafka, unique):
    """Its beginning is committed, and Freshet dies: the rest alone comes again."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, pad text)")
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka=SPLIT, format={"transaction_metadata": True})
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 60000) i")
    for _ in range(3):
        done = committed(kafka, f"{unique}.public.t")
        wait_until(lambda: committed(kafka, f"{unique}.public.t") > done, 60, "a part more")
        f.kill9()
        f.start(wait=False)
        wait_until(lambda: streaming(f), 60, "streams again")
    caught_up(f, db)
    records = kafka.read(f"{unique}.public.t")
    assert len(records) == 60000 and len({r.key["id"] for r in records}) == 60000
    orders = {r.value["transaction"]["total_order"] for r in records}
    assert orders == set(range(1, 60001))
    ends = [r.value for r in kafka.read(f"{unique}.transaction") if r.value["status"] == "END"]
    assert [end["event_count"] for end in ends] == [60000]


# ---- who may publish ----


def test_a_copy_that_was_frozen_past_its_transaction_publishes_nothing(freshet, db, kafka, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    # Its transaction stays open until long after.
    held = {"transaction_interval": "60s", "properties": {"transaction.timeout.ms": "3000"}}
    f = publisher(freshet, db, kafka, unique, snapshot="never", kafka=held)
    wait_until(lambda: streaming(f), 30, "streams")
    db.execute("INSERT INTO t SELECT generate_series(1, 10)")
    wait_until(lambda: len(kafka.read(f"{unique}.public.t", isolation="read_uncommitted")) == 10, 30, "an open transaction")
    f.pause()
    db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [f"{unique}_slot"])
    second = publisher(freshet, db, kafka, unique, snapshot="never")
    db.execute("INSERT INTO t VALUES (11)")
    caught_up(second, db)
    f.resume()
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "standby", 60, "the first one stands by")
    f.process.signal(signal.SIGTERM)
    f.process.wait_ended(30)
    assert Counter(r.key["id"] for r in kafka.read(f"{unique}.public.t")) == Counter(range(1, 12))
    # Who reads all records sees the first's, too, each at the position of its repeat.
    all_ = kafka.read(f"{unique}.public.t", isolation="read_uncommitted")
    assert len(all_) >= 21
    places = {r.key["id"]: set() for r in all_}
    for r in all_:
        source = r.value["source"]
        places[r.key["id"]].add((source["txId"], source["lsn"], source["sequence"]))
    assert all(len(place) == 1 for place in places.values())
