"""Dead letters, and `freshet cdc replay`, which publishes them once their cause is mended."""

import json

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin import ResourceType as ConfigType

from support.waiting import wait_until


def publisher(freshet, db, broker, unique, **cdc):
    config = {"roles": ["cdc"], "cdc": {"slot": f"{unique}_slot", "publication": f"{unique}_pub", "snapshot": "never", **cdc}}
    f = freshet(db, config, kafka=broker, prefix=unique)
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", 30, "it streams")
    return f


def letters(kafka, unique):
    """The first records, without the pieces of long values."""
    return [record.value for record in kafka.read(f"{unique}.dead-letters") if "cause" in record.value]


def replay(cli, f, *flags):
    done = cli("cdc", "replay", "-c", f.config_path, *flags, timeout=120)
    counts = {words[-2] if not words[-1].isdigit() else " ".join(words[:-1]): int(words[-1])
              for words in (part.split() for part in done.stdout.replace(":", ",").strip().split(","))}  # fmt: skip
    return done, counts


def allow_large(kafka, topic, size):
    change = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigType.TOPIC, topic, incremental_configs=[change])
    admin = kafka.admin()  # the result comes only while it lives
    for done in admin.incremental_alter_configs([resource]).values():
        done.result()


def without_clock(event):
    return {name: value for name, value in event.items() if not name.startswith("ts_")}


def test_what_could_not_be_encoded_is_published_once_it_can(freshet, cli, db, kafka, unique):
    db.execute("CREATE TABLE prices (id int PRIMARY KEY, price numeric(9,2), note text)")
    f = publisher(freshet, db, kafka, unique, format={"non_finite": "error", "transaction_metadata": True})
    db.execute_many(
        "INSERT INTO prices VALUES (1, 1.5, 'right')",
        "INSERT INTO prices VALUES (2, 'NaN', 'wrong')",
        "INSERT INTO prices VALUES (3, NULL, 'right')",
    )
    kafka.wait_for(f"{unique}.public.prices", 2)
    letter = wait_until(lambda: letters(kafka, unique), 30, "a dead letter")[0]
    assert letter["table"] == "prices" and letter["key"] == {"id": 2} and "price" in letter["cause"]
    assert letter["after"] == {"id": "2", "price": "NaN", "note": "wrong"}

    done, counts = replay(cli, f)
    assert done.returncode == 1 and counts == {"dead letters": 1, "published": 0, "still dead": 1, "unreadable": 0}, done.stdout
    assert [one["attempts"] for one in letters(kafka, unique)] == [0, 1]

    done, counts = replay(cli, f, "--set", "cdc.format.non_finite=null")
    assert done.returncode == 0 and counts["published"] == 1, done.stdout + done.stderr
    events = {record.key["id"]: record.value for record in kafka.read(f"{unique}.public.prices")}
    assert events[2]["after"] == {"id": 2, "price": None, "note": "wrong"} and events[2]["op"] == "c"
    assert events[2]["source"]["txId"] == events[1]["source"]["txId"] == letter["txId"]
    assert events[2]["source"]["sequence"].split(",")[0] == events[1]["source"]["sequence"].split(",")[0]
    assert events[2]["source"]["ts_us"] == events[1]["source"]["ts_us"] and events[2]["source"]["lsn"] == letter["lsn"]
    assert events[2]["transaction"]["total_order"] == 2

    done, counts = replay(cli, f, "--set", "cdc.format.non_finite=null")
    assert done.returncode == 0 and counts["dead letters"] == 0
    assert len(kafka.read(f"{unique}.public.prices")) == 3


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_large_value_comes_in_pieces_and_whole_again(freshet, cli, db, kafka, unique, delivery):
    db.execute("CREATE TABLE big (id int PRIMARY KEY, a text, b text)")
    db.execute("ALTER TABLE big REPLICA IDENTITY FULL")
    f = publisher(freshet, db, kafka, unique, kafka={"delivery": delivery})
    value = "(SELECT string_agg('süß €' || g, '') FROM generate_series(1, 300000) g)"
    db.execute(f"INSERT INTO big VALUES (1, 'small', {value})")
    db.execute("UPDATE big SET a = 'other' WHERE id = 1")  # its large value is unchanged, and in the old row
    db.execute("DELETE FROM big WHERE id = 1")
    db.execute("INSERT INTO big VALUES (2, 'small', NULL)")
    kafka.wait_for(f"{unique}.public.big", 1)
    wait_until(lambda: len(letters(kafka, unique)) == 3, 30, "three dead letters")
    assert [one["op"] for one in letters(kafka, unique)] == ["c", "u", "d"]
    assert all(len(record.raw_value) < 1024 * 1024 for record in kafka.read(f"{unique}.dead-letters"))

    allow_large(kafka, f"{unique}.public.big", 20 << 20)
    done, counts = replay(cli, f, "--set", "cdc.kafka.properties.message.max.bytes=20000000")
    assert done.returncode == 0 and counts["published"] == 3, done.stdout + done.stderr
    whole = "".join(f"süß €{g}" for g in range(1, 300001))
    one = [record.value for record in kafka.read(f"{unique}.public.big", timeout=60) if record.key == {"id": 1}]
    one = [event for event in one if event is not None]
    assert [event["op"] for event in one] == ["c", "u", "d"]
    assert one[0]["after"] == {"id": 1, "a": "small", "b": whole}
    assert one[1]["before"]["b"] == whole and one[1]["after"] == {"id": 1, "a": "other", "b": whole}
    assert one[2]["before"] == one[1]["after"]


def test_messages_changed_keys_and_hashed_columns_come_as_they_would_have(freshet, cli, db, kafka, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, n numeric(5,2), secret text)")
    db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    f = publisher(freshet, db, kafka, unique, format={"non_finite": "error"},
                  shape={"public.t": {"hash": ["secret"]}}, hash_salt="s")  # fmt: skip
    db.execute("INSERT INTO t VALUES (1, 1, 'hidden'), (2, 2, 'hidden')")
    db.execute("UPDATE t SET id = 3, n = 'NaN' WHERE id = 1")
    db.execute("SELECT pg_logical_emit_message(true, 'p', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 93750) g))")
    db.execute("UPDATE t SET n = 3 WHERE id = 2")
    wait_until(lambda: any(r.value and r.value["op"] == "u" for r in kafka.read(f"{unique}.public.t")), 30, "the stream goes on")
    assert [(one["op"], one["table"]) for one in letters(kafka, unique)] == [("c", "t"), ("m", "")]
    assert "hidden" not in json.dumps(letters(kafka, unique))

    done, counts = replay(cli, f, "--set", "cdc.format.non_finite=null", "--set", "cdc.kafka.properties.message.max.bytes=9000000")
    assert counts["published"] == 1 and counts["still dead"] == 1, done.stdout + done.stderr  # the topic has its own limit
    allow_large(kafka, f"{unique}.message", 9 << 20)
    done, counts = replay(cli, f, "--set", "cdc.kafka.properties.message.max.bytes=9000000")
    assert counts["published"] == 1 and done.returncode == 0, done.stdout + done.stderr
    records = kafka.read(f"{unique}.public.t")
    moved = [r for r in records if r.key == {"id": 3}]
    assert len(moved) == 1 and json.loads(moved[0].headers["__debezium.oldkey"]) == {"id": 1}
    known = [r.value["after"]["secret"] for r in records if r.value and r.value["after"]]
    assert len(set(known)) == 1 and known[0] != "hidden"
    message = kafka.read(f"{unique}.message")
    assert len(message) == 1 and len(message[0].value["message"]["content"]) == 4000000
