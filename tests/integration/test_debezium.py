"""Debezium is the judge: the same SQL, published by both to one broker, gives the same topics, partitions, keys, values
and headers, byte for byte, but for the version, the wall clock outside `source`, and where the page of differences
(below, "on purpose") says so.
"""

from pathlib import Path

import pytest

from support.oracle import MODES, SHAPED, Stand, differences, make_publisher, read_topics, same_moment, shape, statements
from support.waiting import wait_until

SQL = Path(__file__).parent / "sql"


@pytest.fixture
def publisher(freshet, kafka):
    return make_publisher(freshet, kafka)


def test_the_same_sql_gives_the_same_events(db, kafka, debezium, publisher, unique):
    for statement in statements(SQL / "events_schema.sql"):
        db.execute(statement)
    stand = Stand(db, kafka, debezium, publisher, unique)
    for mode, told in MODES.items():
        stand.add(mode, *told)
    stand.add("shaped", *SHAPED)
    stand.run(SQL / "events.sql")
    stand.compare()

    # The same rows, read by a snapshot.
    tables = "composite numbers points ranges texts unique_only marker".split()
    theirs, ours = f"{unique}dsnapshot", f"{unique}fsnapshot"
    stand.add_connector(theirs, {
        "snapshot.mode": "initial", "table.include.list": f"public.({'|'.join(tables)})",
    })
    publisher(db, ours, snapshot="initial", tables=[f"public.{table}" for table in tables])
    rows = sum(db.value(f"SELECT count(*) FROM {table}") for table in tables)

    def read(prefix):
        records = wait_until(lambda: (all_of := read_topics(kafka, prefix)) and len(all_of) >= rows and all_of, 60)
        return same_moment(shape(records, prefix))

    found = differences(read(ours), read(theirs))
    assert not found, "\n".join(found)


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
    ("mood_domain[]", "'{ok,NULL}'", ["ok", None]),
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
    ("timestamp", "'294276-12-31 23:59:59.999999'", "294276-12-31 23:59:59.999999"),
    ("timetz", "'12:00:00+02:30:15'", "09:29:45Z"),
    ("real", "1.17549435e-38", 1.1754944e-38),
    ("int", "NULL", None),
]


def make_types(db):
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    db.execute("CREATE TYPE pair AS (a int, b text)")


def test_what_debezium_loses_is_there(db, kafka, publisher, unique):
    make_types(db)
    db.execute("CREATE DOMAIN mood_domain AS mood")
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


def test_an_index_whose_columns_rows_may_share_is_no_key(db, kafka, publisher, unique):
    # To Debezium any unique index is a key: rows of one key then are one in a compacted topic, and all but the last are lost.
    db.execute("CREATE TABLE nullable (a int UNIQUE, b int NOT NULL)")
    db.execute("CREATE TABLE part (a int NOT NULL, b bool NOT NULL)")
    db.execute("CREATE UNIQUE INDEX ON part (a) WHERE b")
    for table in ("nullable", "part"):
        db.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    publisher(db, unique)
    db.execute("INSERT INTO nullable VALUES (NULL, 1), (NULL, 2)")
    db.execute("INSERT INTO part VALUES (1, false), (1, false)")
    for table in ("nullable", "part"):
        assert [r.key for r in kafka.wait_for(f"{unique}.public.{table}", 2)] == [None, None]


def test_partitions_that_are_published_by_themselves_are_tables(db, kafka, publisher, unique):
    db.execute("CREATE TABLE t (id int, region text, v int NOT NULL DEFAULT 7, PRIMARY KEY (region, id)) PARTITION BY LIST (region)")
    db.execute("CREATE TABLE eu PARTITION OF t FOR VALUES IN ('eu')")
    db.execute("CREATE TABLE us PARTITION OF t FOR VALUES IN ('us')")
    db.execute("ALTER TABLE us REPLICA IDENTITY FULL")
    db.execute("CREATE PUBLICATION by_leaf FOR ALL TABLES")
    publisher(db, unique, publication="by_leaf")
    db.execute("INSERT INTO t VALUES (1, 'eu', 2), (2, 'us', 3)")
    db.execute("DELETE FROM t")
    for leaf, id, before in (("eu", 1, 7), ("us", 2, 3)):  # 7: of a column that is never null, its default, where it is not sent
        events = kafka.wait_for(f"{unique}.public.{leaf}", 3)
        assert [list(r.key.items()) for r in events] == [[("region", leaf), ("id", id)]] * 3
        assert events[1].value["before"]["v"] == before


def test_an_enums_labels_are_those_of_now(db, kafka, publisher, unique):
    # To Debezium they are those of when it started.
    db.execute("CREATE TYPE mood AS ENUM ('sad')")
    publisher(db, unique, format={"encoding": "json-schema"})
    db.execute("ALTER TYPE mood ADD VALUE 'ok'")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, m mood)")
    wait_until(lambda: db.value("SELECT count(*) FROM pg_publication_tables WHERE tablename = 't'"), 20)
    db.execute("INSERT INTO t VALUES (1, 'ok')")
    schema = kafka.wait_for(f"{unique}.public.t", 1)[0].value["schema"]
    (after,) = [field for field in schema["fields"] if field["field"] == "after"]
    assert after["fields"][1]["parameters"] == {"allowed": "sad,ok"}


def test_a_default_is_whole_or_not_told(db, kafka, publisher, unique):
    # Debezium's end at a quote ("it", "", "a"), or are an expression's text.
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT 'it''s', b text DEFAULT '''q''', c text DEFAULT ('a' || 'b'), "
               "d timestamp DEFAULT 'infinity')")
    publisher(db, unique, format={"encoding": "json-schema"})
    db.execute("INSERT INTO t VALUES (1)")
    schema = kafka.wait_for(f"{unique}.public.t", 1)[0].value["schema"]
    (after,) = [field for field in schema["fields"] if field["field"] == "after"]
    assert [field.get("default") for field in after["fields"]] == [None, "it's", "'q'", None, 9223372036825200000]


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
    # A row that moves to another key is a delete and a create.
    for sql in ("INSERT INTO t VALUES (1, 1)", "UPDATE t SET v = 2", "TRUNCATE t", "INSERT INTO t VALUES (1, 3)",
                "UPDATE t SET id = 2"):
        db.execute(sql)
    records = [r.value for r in kafka.wait_for(f"{unique}.public.t", 5) if r.value]
    records.sort(key=lambda value: (value["source"]["lsn"], value["op"] == "c"))
    assert [(value["op"], value["after"]) for value in records] == [
        ("c", {"id": 1, "v": 1}), ("c", {"id": 1, "v": 3}), ("d", None), ("c", {"id": 2, "v": 3})]
