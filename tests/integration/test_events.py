"""What the configuration makes of events beside their format: message keys, heartbeats, unchanged values read again; and schema
changes that the stream has not come to yet, or tells nothing of.
"""

import pytest

from support.oracle import PLACEHOLDER, make_publisher


@pytest.fixture
def publisher(freshet, kafka):
    return make_publisher(freshet, kafka)


def in_order(records):
    return sorted((r for r in records if r.value), key=lambda r: (r.value["source"]["lsn"], r.value["op"] == "c"))


def test_named_columns_are_the_key(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, region text NOT NULL, v int)")
    db.execute("CREATE TABLE u (id int PRIMARY KEY, region text NOT NULL, v int)")
    db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    publisher(db, unique, message_key={"public.t": ["region", "id"], "public.u": "v"})
    for sql in ("INSERT INTO t VALUES (1, 'eu', 1)", "UPDATE t SET v = 2", "UPDATE t SET region = 'us'", "DELETE FROM t",
                "INSERT INTO u VALUES (1, 'eu', 1)", "DELETE FROM u"):
        db.execute(sql)
    records = kafka.wait_for(f"{unique}.public.t", 7)
    eu, us = {"region": "eu", "id": 1}, {"region": "us", "id": 1}
    assert [(r.value["op"], r.key) for r in in_order(records)] == [("c", eu), ("u", eu), ("d", eu), ("c", us), ("d", us)]
    assert list(in_order(records)[0].key) == ["region", "id"]
    # What is not in the replica identity, a delete does not know.
    assert [(r.value["op"], r.key) for r in in_order(kafka.wait_for(f"{unique}.public.u", 3))] == [("c", {"v": 1}), ("d", {"v": None})]


def test_a_message_key_that_cannot_be_is_a_mistake(db, cli, tmp_path):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    (tmp_path / "f.yml").write_text(
        f"database: {{ url: '{db.url}' }}\ncdc:\n  output: stdout\n  message_key:\n    public.t: [nothing]\n    public.none: [id]\n")
    said = cli("check", "-c", tmp_path / "f.yml")
    assert said.returncode != 0
    assert 'f.yml:5:5: cdc.message_key.public.t: there is no column "nothing" in public.t' in said.stdout + said.stderr
    assert 'f.yml:6:5: cdc.message_key: "public.none" matches no table' in said.stdout + said.stderr


def test_heartbeats_say_that_an_idle_stream_is_alive(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    publisher(db, unique, heartbeat_interval="100ms")
    records = kafka.wait_for(f"__debezium-heartbeat.{unique}", 3)
    assert {str(r.key) for r in records} == {str({"serverName": unique})}
    times = [r.value["ts_ms"] for r in records]
    assert all(list(r.value) == ["ts_ms"] for r in records) and times == sorted(times)
    assert min(b - a for a, b in zip(times, times[1:])) >= 90


def long_text(seed):
    return f"(SELECT string_agg(md5((i + {seed})::text), '') FROM generate_series(1, 1200) i)"


def test_unchanged_values_are_read_again_on_request(db, kafka, publisher, unique):
    db.execute('CREATE TABLE "T x" (a int, "b""" text, big text, bytes bytea, PRIMARY KEY ("b""", a))')
    f = publisher(db, unique, format={"unchanged": "reread"})
    db.execute(f"""INSERT INTO "T x" SELECT 1, 'k', {long_text(0)}, decode({long_text(1)}, 'hex')""")
    db.execute("""UPDATE "T x" SET a = 2""")
    with db.connect(autocommit=False) as connection:
        connection.execute("""UPDATE "T x" SET big = 'short'""")
        connection.execute("""DELETE FROM "T x" """)
        connection.commit()
    records = in_order(kafka.wait_for(f"{unique}.public.T_x", 7))
    assert [(r.value["op"], r.key["a"]) for r in records] == [("c", 1), ("d", 1), ("c", 2), ("u", 2), ("d", 2)]
    whole, moved, gone = (records[i].value["after"] for i in (0, 2, 3))
    # By the time that the event is made the row may be gone already; else it is whole.
    assert moved == {**whole, "a": 2} or PLACEHOLDER in moved["big"]
    assert gone["big"] == "short" and gone["bytes"] != whole["bytes"]
    assert f.metric("freshet_cdc_reread_rows_total", outcome="gone") >= 1
    db.execute(f"""INSERT INTO "T x" SELECT 3, 'k', {long_text(5)}, '\\x00'""")
    db.execute("""UPDATE "T x" SET bytes = '\\x01'""")
    records = in_order(kafka.wait_for(f"{unique}.public.T_x", 9))
    assert records[-1].value["after"]["big"] == records[-2].value["after"]["big"] and len(records[-1].value["after"]["big"]) == 38400
    assert f.metric("freshet_cdc_reread_rows_total", outcome="found") >= 1


def test_rows_are_described_by_the_columns_and_the_key_of_their_own_time(db, kafka, publisher, unique):
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, n int, m mood)")
    db.execute("CREATE TABLE dropped (b int, a int, v text, PRIMARY KEY (a, b))")
    db.execute("CREATE TABLE keyed (id int PRIMARY KEY, code text NOT NULL)")
    f = publisher(db, unique)
    f.stop()
    for sql in (
        "INSERT INTO t VALUES (1, 'one', 5, 'ok')",
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (code), ALTER n TYPE text USING 'n' || n",
        "INSERT INTO t VALUES (2, 'two', 'n6', 'sad')",
        "UPDATE t SET id = 3 WHERE code = 'two'",
        "ALTER TABLE t RENAME code TO kode",
        "ALTER TABLE t DROP n, DROP m",
        "DROP TYPE mood",
        "INSERT INTO t VALUES (4, 'four')",
        "DELETE FROM t WHERE kode = 'two'",
        "INSERT INTO dropped VALUES (1, 2, 'gone')",
        "DROP TABLE dropped",
        "INSERT INTO keyed VALUES (1, 'one')",
        "ALTER TABLE keyed DROP CONSTRAINT keyed_pkey, ADD PRIMARY KEY (code)",
        "INSERT INTO keyed VALUES (2, 'two')",
    ):
        db.execute(sql)
    f.start()
    records = in_order(kafka.wait_for(f"{unique}.public.t", 6))
    assert [(r.value["op"], r.key, r.value["after"]) for r in records] == [
        ("c", {"id": 1}, {"id": 1, "code": "one", "n": 5, "m": "ok"}),
        ("c", {"code": "two"}, {"id": 2, "code": "two", "n": "n6", "m": "sad"}),
        ("u", {"code": "two"}, {"id": 3, "code": "two", "n": "n6", "m": "sad"}),
        ("c", {"kode": "four"}, {"id": 4, "kode": "four"}),
        ("d", {"kode": "two"}, None),
    ]
    assert [r.key for r in in_order(kafka.wait_for(f"{unique}.public.keyed", 2))] == [{"id": 1}, {"code": "two"}]
    (record,) = kafka.wait_for(f"{unique}.public.dropped", 1)
    assert record.key == {"a": 2, "b": 1} and record.value["after"] == {"b": 1, "a": 2, "v": "gone"}


def test_what_the_stream_does_not_tell_of_a_change_is_looked_up(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL DEFAULT 3)")
    db.execute("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
    publisher(db, unique)
    topic = f"{unique}.public.t"
    # The first, before the stream has described the table at all.
    for i, sql in enumerate(("ALTER TABLE t ALTER v SET DEFAULT 7", "ALTER TABLE t ALTER v SET DEFAULT 9",
                             "ALTER TABLE t ALTER v DROP DEFAULT", "ALTER TABLE t ALTER v DROP NOT NULL")):
        db.execute(sql)
        db.execute("DELETE FROM t WHERE id = %s", [i + 1])
        kafka.wait_for(topic, 2 * i + 2)
    assert [r.value["before"]["v"] for r in in_order(kafka.read(topic))] == [7, 9, 0, None]


def test_a_key_that_is_stored_apart_is_in_every_event(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (k text PRIMARY KEY, v int)")
    db.execute("ALTER TABLE t ALTER k SET STORAGE EXTERNAL")
    publisher(db, unique)
    db.execute("INSERT INTO t SELECT string_agg(md5(i::text), ''), 1 FROM generate_series(1, 70) i")
    key = db.value("SELECT k FROM t")
    for sql in ("UPDATE t SET v = 2", "DELETE FROM t"):
        db.execute(sql)
    records = in_order(kafka.wait_for(f"{unique}.public.t", 4))
    assert [(r.value["op"], r.key) for r in records] == [("c", {"k": key}), ("u", {"k": key}), ("d", {"k": key})]
    assert records[1].value["before"] == {"k": key, "v": None} and records[1].value["after"] == {"k": key, "v": 2}
