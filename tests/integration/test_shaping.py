"""What the configuration makes of changes on their way: columns, masks, row filters, images, topics, partitions, outboxes.

Most of it is shown by events on standard output; what only Kafka has (partitions, topics, dead letters) by a broker.
"""

import hashlib
import json

import pytest

TABLE = """
CREATE TABLE users (
    id int PRIMARY KEY, email text NOT NULL, phone varchar(20), name varchar(10), notes text, picture bytea,
    born date, status text NOT NULL DEFAULT 'new')
"""
ROWS = [
    "INSERT INTO users VALUES (1, 'ann@example.com', '555-0001', 'Ann', 'likes €€€ and tea', '\\x0102030405', '1990-01-02', 'active')",
    "INSERT INTO users VALUES (2, 'bob@example.com', NULL, 'Bob', NULL, NULL, NULL, 'draft')",
]
SALT = "pepper"


def hashed(text):
    return hashlib.sha256((SALT + text).encode()).hexdigest()


@pytest.fixture
def publish(freshet, db, unique, wait_until):
    """publish({cdc options}): a Freshet that writes events to standard output, and streams."""

    def make(cdc, **config):
        f = freshet(db, {"roles": ["cdc"], "cdc": {
            "output": "stdout", "slot": unique, "publication": unique, "prefix": "shop", "tables": ["*.*"], **cdc}, **config})
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming")
        return f

    return make


@pytest.fixture
def events(db, wait_until):
    """events(f): all events so far, once a marker that is committed now has come."""
    db.execute("CREATE TABLE marker (n int PRIMARY KEY)")
    marks = iter(range(1, 1000))

    def read(f):
        mark = next(marks)
        db.execute("INSERT INTO marker VALUES (%s)", [mark])

        def there():
            return any(e["key"] in ({"n": mark}, {**(e["key"] or {}), "payload": {"n": mark}}) for e in f.events()
                       if isinstance(e["key"], dict))

        wait_until(there, what="the marker's event")
        return [e for e in f.events() if not e["topic"].endswith(".marker")]

    return read


def values(events, op=None):
    return [e["value"] for e in events if e["value"] and (op is None or e["value"]["op"] == op)]


def test_columns_are_left_out_masked_hashed_and_cut_in_the_snapshot_and_the_stream(publish, events, db):
    db.execute(TABLE)
    db.execute("ALTER TABLE users REPLICA IDENTITY FULL")
    db.execute(ROWS[0])
    f = publish({"hash_salt": SALT, "shape": {
        "public.users": {"exclude_columns": ["born"], "mask": {"ph*": 5}, "hash": ["email", "name"],
                         "truncate": {"notes": 9, "picture": 3}}}})
    db.execute(ROWS[1])
    db.execute("UPDATE users SET email = 'x@example.com', status = 'gone' WHERE id = 1")
    db.execute("DELETE FROM users WHERE id = 2")
    seen = events(f)
    assert all(e["topic"] == "shop.public.users" for e in seen)
    ann = {"id": 1, "email": hashed("ann@example.com"), "phone": "*****", "name": hashed("Ann")[:10],
           "notes": "likes €€€", "picture": "AQID", "status": "active"}
    (read,), (created,), (updated,), (deleted,) = (values(seen, op) for op in "rcud")
    assert read["after"] == ann
    assert created["after"] == {"id": 2, "email": hashed("bob@example.com"), "phone": "*****", "name": hashed("Bob")[:10],
                                "notes": None, "picture": None, "status": "draft"}
    assert updated["before"] == ann
    assert updated["after"] == {**ann, "email": hashed("x@example.com"), "status": "gone"}
    assert deleted["before"] == created["after"] and deleted["after"] is None
    text = json.dumps(seen)
    assert not [secret for secret in ("ann@", "bob@", "x@", "555-0", '"born"', "tea") if secret in text]


def test_a_hashed_key_is_a_hash_in_keys_and_headers_too(publish, events, db):
    db.execute("CREATE TABLE accounts (email text PRIMARY KEY, balance int)")
    f = publish({"hash_salt": SALT, "shape": {"public.accounts": {"hash": ["email"]}}})
    db.execute("INSERT INTO accounts VALUES ('ann@example.com', 1)")
    db.execute("UPDATE accounts SET email = 'bob@example.com'")
    db.execute("DELETE FROM accounts")
    seen = events(f)
    ann, bob = {"email": hashed("ann@example.com")}, {"email": hashed("bob@example.com")}
    assert [e["key"] for e in seen] == [ann, ann, ann, bob, bob, bob]
    assert json.loads(seen[1]["headers"]["__debezium.newkey"]) == bob
    assert json.loads(seen[3]["headers"]["__debezium.oldkey"]) == ann
    assert "example" not in json.dumps(seen)


def test_a_masked_column_of_a_deleted_row_reads_as_masked(publish, events, db):
    db.execute(TABLE)
    db.execute(ROWS[0])
    f = publish({"shape": {"public.users": {"mask": {"email": 3}}}, "format": {"encoding": "json-schema"}})
    db.execute("DELETE FROM users")
    (deleted,) = [e["value"]["payload"] for e in events(f) if e["value"] and e["value"]["payload"]["op"] == "d"]
    assert deleted["before"]["email"] == "***"


def test_columns_that_are_named_one_by_one_are_a_list_in_the_publication(publish, events, db, unique, wait_until):
    db.execute(TABLE)
    db.execute("CREATE TABLE plain (id int PRIMARY KEY, a int)")
    db.execute(ROWS[0])

    def lists():
        rows = db.rows("SELECT tablename, attnames::text[] FROM pg_publication_tables WHERE pubname = %s", [unique])
        return {row["tablename"]: row["attnames"] for row in rows}

    f = publish({"shape": {"public.users": {"columns": ["id", "name", "status"]}, "public.pl*": {"exclude_columns": ["a"]}}})
    assert lists()["users"] == ["id", "name", "status"]
    assert lists()["plain"] == ["id", "a"], "a column that is added later would be missing for a moment"
    db.execute("INSERT INTO plain VALUES (1, 2)")
    seen = events(f)
    assert values(seen, "r")[0]["after"] == {"id": 1, "name": "Ann", "status": "active"}
    assert values(seen, "c")[0]["after"] == {"id": 1}
    f.stop()
    f = publish({"shape": {"public.users": {"columns": ["id", "email"]}}})
    assert lists()["users"] == ["id", "email"], "the list follows the configuration"
    db.execute("ALTER TABLE users REPLICA IDENTITY FULL")
    wait_until(lambda: len(lists()["users"]) == 8, what="a list that would make UPDATE fail is taken away")
    db.execute("UPDATE users SET email = 'new'")
    assert values(events(f), "u")[0]["after"] == {"id": 1, "email": "new"}
    db.execute("ALTER TABLE users REPLICA IDENTITY DEFAULT")
    wait_until(lambda: lists()["users"] == ["id", "email"])
    db.execute("ALTER TABLE users DROP COLUMN email CASCADE")
    wait_until(lambda: lists().get("users") == ["id"], what="the table is back, which has gone with a column of its list")


def row_filter(db, publication, table):
    return db.value(
        "SELECT pg_get_expr(prqual, prrelid) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid "
        "WHERE pubname = %s AND prrelid = %s::regclass", [publication, table])


@pytest.mark.parametrize("full", [False, True])
def test_rows_are_filtered_by_what_sql_says_wherever_that_is_done(publish, events, db, unique, full):
    """By the default identity the filter's column is not in it, and the publication may not have the filter."""
    db.execute(TABLE)
    if full:
        db.execute("ALTER TABLE users REPLICA IDENTITY FULL")
    db.execute(ROWS[0])
    db.execute(ROWS[1])
    where = "status <> 'draft'" if full else "status <> 'draft' -- theirs"
    shape = {"public.users": {"where": where, "hash": ["status"]}}
    f = publish({"shape": shape, "hash_salt": SALT})
    assert bool(row_filter(db, unique, "users")) == full
    for statement in (
        "UPDATE users SET name = 'Bo' WHERE id = 2",  # neither before nor after
        "UPDATE users SET status = 'active' WHERE id = 2",  # joins
        "UPDATE users SET name = 'B' WHERE id = 2",  # stays
        "UPDATE users SET status = 'draft' WHERE id = 2",  # leaves
        "INSERT INTO users VALUES (3, 'c', NULL, 'Cid', NULL, NULL, NULL, 'draft')",
        "DELETE FROM users WHERE id = 1",
    ):
        db.execute(statement)
    seen = [(e["value"]["op"], e["key"]["id"]) for e in events(f) if e["value"]]
    if full:
        assert seen == [("r", 1), ("c", 2), ("u", 2), ("d", 2), ("d", 1)]
        assert f.metric("freshet_cdc_filtered_total") == 0, "the server did it"
    else:  # what was there before is not in the stream: a row that is not to be seen is deleted, one that is comes as an update
        assert seen == [("r", 1), ("d", 2), ("u", 2), ("u", 2), ("d", 2), ("d", 1)]
        assert f.metric("freshet_cdc_filtered_total") >= 1
    for after in (v["after"] for v in values(events(f)) if v["after"]):
        assert after["status"] == hashed("active"), "the filter sees what is hidden from events"


def test_a_filter_over_a_value_that_an_update_does_not_send_is_answered_by_the_table(publish, events, db):
    db.execute("CREATE TABLE docs (id int PRIMARY KEY, status text, doc text, n int)")
    db.execute("ALTER TABLE docs ALTER doc SET STORAGE EXTERNAL")
    shape = {"public.docs": {"where": "status <> 'draft' AND length(doc) > 2000"}}
    f = publish({"shape": shape})
    db.execute("INSERT INTO docs VALUES (1, 'new', repeat('x', 5000), 0), (2, 'new', repeat('x', 1999), 0)")
    for statement in ("UPDATE docs SET n = 1", "UPDATE docs SET status = 'draft'"):
        db.execute(statement)
    seen = [(v["op"], (v["after"] or v["before"])["id"]) for v in values(events(f)) if (v["after"] or v["before"])["id"] == 1]
    assert seen == [("c", 1), ("u", 1), ("d", 1)]
    with db.connect(autocommit=True) as connection:  # gone by the time that it is asked for
        connection.execute("UPDATE docs SET status = 'new', n = 2 WHERE id = 1; DELETE FROM docs WHERE id = 1")
    assert [v["op"] for v in values(events(f)) if (v["after"] or v["before"])["id"] == 1][-1] == "d"


def test_a_snapshot_has_the_filters_rows_and_no_others(publish, events, db):
    """Whoever filters: what is the last row is known, and a row that is not to be seen is not read."""
    db.execute(TABLE)
    db.execute("INSERT INTO users SELECT n, 'e' || n, NULL, 'n', NULL, NULL, NULL, 's' || n % 3 FROM generate_series(1, 9) n")
    f = publish({"shape": {"public.users": {"where": "status = 's1'"}}, "exclude_tables": ["marker"]})
    db.execute("CREATE TABLE tail (id int PRIMARY KEY)")
    reads = values([e for e in f.events()], "r")
    assert [(v["after"]["id"], v["source"]["snapshot"]) for v in reads] == [(1, "first"), (4, "true"), (7, "last")]
    assert f.metric("freshet_cdc_filtered_total") == 0


def test_a_filter_that_changes_is_changed_in_the_publication_and_left_alone_otherwise(publish, db, unique):
    db.execute(TABLE)
    shape = {"public.users": {"where": "id > 10"}}
    publish({"shape": shape}).stop()
    made = db.rows("SELECT oid, xmin FROM pg_publication_rel")
    publish({"shape": shape}).stop()
    assert db.rows("SELECT oid, xmin FROM pg_publication_rel") == made
    publish({"shape": {"public.users": {"where": "id > 20"}}}).stop()
    assert row_filter(db, unique, "users") == "(id > 20)"


def test_a_narrowing_that_the_configuration_no_longer_has_is_told(publish, cli, db, unique):
    """It may be a user's own, so it stays."""
    db.execute(TABLE)
    publish({"shape": {"public.users": {"where": "id > 10", "columns": ["id", "name"]}}}).stop()
    f = publish({})
    assert f.log_text().count('cause="only rows where (id > 10), and only 2 of its 8 columns"') == 1
    f.stop()
    told = cli("check", "--database", db.url, "--set", "roles=[cdc]", "--set", "cdc.output=stdout", "--set",
               f"cdc.publication={unique}").stdout
    assert "which cdc.shape does not ask for" in told
    db.execute(f'ALTER PUBLICATION "{unique}" DROP TABLE "public"."users"')
    assert "publication_narrows" not in publish({}).log_text()
    assert row_filter(db, unique, "users") is None


def test_a_row_that_a_filter_fails_on_is_a_dead_letter_without_its_secrets(publish, events, db):
    db.execute(TABLE)
    f = publish({"hash_salt": SALT, "shape": {
        "public.users": {"where": "length(name) = 3 AND notes::int > 0", "hash": ["email"], "mask": {"notes": 2}}}})
    db.execute("INSERT INTO users VALUES (1, 'ann@example.com', NULL, 'Ann', 'secret')")
    db.execute("INSERT INTO users VALUES (2, 'bob@example.com', NULL, 'Bob', '7')")
    seen = events(f)
    (letter,) = [e["value"] for e in seen if e["topic"] == "shop.dead-letters"]
    assert "22P02" in letter["cause"]
    assert [e["key"] for e in seen if e["topic"] == "shop.public.users"] == [{"id": 2}]
    text = json.dumps(seen) + f.log_text()
    assert "secret" not in text and "ann@" not in text
    assert f.status()["cdc"]["dead_letters"] == 1


@pytest.mark.parametrize("view", ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"])
def test_a_view_decides_which_images_an_event_has(publish, events, db, view):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    db.execute("INSERT INTO t VALUES (1, 'x')")
    f = publish({"shape": {"public.t": {"view": view}}})
    db.execute("UPDATE t SET a = 'y'")
    db.execute("DELETE FROM t")
    seen = events(f)
    x, y = {"id": 1, "a": "x"}, {"id": 1, "a": "y"}
    images = [(e["value"]["before"], e["value"]["after"]) for e in seen if e["value"]]
    key = {"id": 1}
    assert images == {
        "KEYS_ONLY": [(None, key), (key, key), (key, None)],
        "NEW_IMAGE": [(None, x), (None, y), (None, None)],
        "OLD_IMAGE": [(None, None), (x, None), (y, None)],
        "NEW_AND_OLD_IMAGES": [(None, x), (x, y), (y, None)],
    }[view]
    assert all(e["key"] == key for e in seen)


def test_tables_are_routed_to_topics_by_pattern(publish, events, db):
    for month in ("01", "02"):
        db.execute(f"CREATE TABLE orders_2026_{month} (id int PRIMARY KEY)")
    db.execute("CREATE TABLE secret_things (id int PRIMARY KEY)")
    db.execute("CREATE SCHEMA audit CREATE TABLE log (id int PRIMARY KEY)")
    f = publish({"exclude_tables": ["audit.*", "secret_things"], "shape": {
        "public.orders_*_*": {"topic": "shop.orders.$1", "key_field": "__dbz__physicalTableIdentifier"}}})
    for table in ("orders_2026_01", "orders_2026_02", "secret_things", "audit.log"):
        db.execute(f"INSERT INTO {table} VALUES (1)")
    seen = events(f)
    assert [e["topic"] for e in seen] == ["shop.orders.2026"] * 2
    assert [e["key"] for e in seen] == [
        {"id": 1, "__dbz__physicalTableIdentifier": f"shop.public.orders_2026_{month}"} for month in ("01", "02")]
    assert [v["source"]["table"] for v in values(seen)] == ["orders_2026_01", "orders_2026_02"]


def test_tables_that_share_a_topic_without_telling_them_apart_are_named(publish, db, cli):
    for table in ("orders_1", "orders_2", '"a b"', "a_b", "told_1", "told_2"):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
    db.execute("CREATE TABLE orders_3 (id int)")
    db.execute("ALTER TABLE orders_3 REPLICA IDENTITY FULL")
    shape = {"public.orders_*": {"topic": "shop.orders"}, "public.told_*": {"topic": "shop.told", "key_field": "t"}}
    f = publish({"shape": shape})
    assert f.log_text().count("topic_shared") == 2
    told = cli("check", "--database", db.url, "--set", "roles=[cdc]", "--set", "cdc.output=stdout", "--set", "cdc.prefix=shop",
               "--set", f"cdc.shape={json.dumps(shape)}")
    for topic, tables in ("shop.orders", "public.orders_1 and public.orders_2"), ("shop.public.a_b", "public.a b and public.a_b"):
        for text in (f.log_text(), told.stdout):
            assert any(topic in line and all(t in line for t in tables.split(" and ")) for line in text.splitlines()), (topic, text)
    assert "shop.told" not in told.stdout
    alone = cli("check", "--database", db.url, "--set", "roles=[cdc]", "--set", "cdc.output=stdout", "--set",
                "cdc.exclude_tables=[public.a_b]", "--set",
                'cdc.shape={public.orders_*: {topic: shop.orders, key_field: t}}')
    assert "key_field" not in alone.stdout


OUTBOX = """
CREATE TABLE outbox (
    id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text, type text, payload {payload})
"""
EVENT = "4d47e190-0402-4048-bc2c-89dd54343cdc"


@pytest.mark.parametrize("encoding", ["raw", "json"])
def test_rows_of_an_outbox_are_messages_for_the_topics_they_name(publish, events, db, encoding):
    db.execute(OUTBOX.format(payload="jsonb"))
    f = publish({"outbox": {"public.outbox": {"headers": {"eventType": "type"}, "encoding": encoding}},
                 "outbox_messages": {"outbox": {"encoding": encoding}}})
    with db.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO outbox VALUES (%s, 'order', '7', 'OrderCreated', '{\"total\": 1.10}')", [EVENT])
        connection.execute("DELETE FROM outbox")
        connection.commit()
    content = {"id": EVENT, "aggregatetype": "payment", "aggregateid": "8", "payload": {"sum": 1}}
    text = json.dumps(content).replace('"sum": 1', '"sum": 1.10')
    db.execute("SELECT pg_logical_emit_message(true, 'outbox', %s)", [text])
    db.execute("SELECT pg_logical_emit_message(false, 'other', 'left alone')")
    db.execute("INSERT INTO outbox VALUES (%s, 'order', NULL, NULL, NULL)", ["5" + EVENT[1:]])
    db.execute("UPDATE outbox SET type = 'no event'")
    order, payment, other, empty = events(f)
    assert (order["topic"], order["headers"]) == ("outbox.event.order", {"id": EVENT, "eventType": "OrderCreated"})
    assert (payment["topic"], payment["headers"]) == ("outbox.event.payment", {"id": EVENT})
    assert other["topic"] == "shop.message"
    assert (empty["key"], empty["value"]) == (None, None)
    if encoding == "raw":
        assert (order["key"], order["value"]) == (7, {"total": 1.10})
        assert (payment["key"], payment["value"]) == (8, {"sum": 1.10})
    else:
        assert (order["key"], order["value"]) == ("7", '{"total": 1.10}')
        assert (payment["key"], payment["value"]) == ("8", {"sum": 1.10})
    assert f.metric("freshet_cdc_outbox_messages_total") == 3


def test_each_line_of_standard_output_is_json_whatever_an_outbox_holds(publish, events, db):
    db.execute(OUTBOX.format(payload="text"))
    db.execute("CREATE TABLE bytes (LIKE outbox)")
    db.execute("ALTER TABLE bytes ADD PRIMARY KEY (id), ALTER payload TYPE bytea USING NULL")
    f = publish({"outbox": {"public.outbox": {}, "public.bytes": {}}})
    told = ["no JSON \"é\"\n", '{"a":\n [1.10]\r\n}', "", '"x"', "é", "{", "12 13"]
    for i, text in enumerate(told):
        db.execute("INSERT INTO outbox VALUES (gen_random_uuid(), 'o', %s, 't', %s)", [f"k{i}", text])
    db.execute("INSERT INTO bytes VALUES (gen_random_uuid(), 'o', '\"', 't', '\\xff00')")
    seen = [(e["key"], e["value"]) for e in events(f)]
    assert seen == [("k0", told[0]), ("k1", {"a": [1.10]}), ("k2", ""), ("k3", "x"), ("k4", "é"), ("k5", "{"), ("k6", "12 13"),
                    ('"', "/wA=")]


def test_what_an_outbox_cannot_send_is_a_dead_letter(publish, events, db):
    db.execute(OUTBOX.format(payload="text"))
    f = publish({"outbox": {"public.outbox": {}}, "outbox_messages": {"outbox": {}}})
    db.execute("INSERT INTO outbox VALUES (%s, '', '1', 't', 'p')", [EVENT])
    db.execute("SELECT pg_logical_emit_message(true, 'outbox', 'no JSON')")
    db.execute("SELECT pg_logical_emit_message(true, 'outbox', '{}')")
    seen = events(f)
    assert [e["topic"] for e in seen] == ["shop.dead-letters"] * 3


# ---- what only Kafka has ----


@pytest.fixture
def to_kafka(freshet, db, kafka, unique, wait_until):
    """to_kafka({cdc options}): a Freshet that publishes to the broker below `unique`, and streams."""

    def make(cdc):
        f = freshet(db, {"roles": ["cdc"], "cdc": {"slot": unique, "publication": unique, "tables": ["*.*"], **cdc}},
                    kafka=kafka, prefix=unique)
        wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming")
        return f

    return make


def murmur2(data):
    """org.apache.kafka.common.utils.Utils.murmur2, from its description."""
    mask, m, h = 0xFFFFFFFF, 0x5BD1E995, 0x9747B28C ^ len(data)
    for at in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[at:at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    rest = data[len(data) // 4 * 4:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_records_lie_by_other_columns_than_the_key(to_kafka, kafka, db, unique):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, total int)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute("INSERT INTO orders SELECT n, n % 5, 0 FROM generate_series(1, 20) n")
    topic = f"{unique}.public.orders"
    to_kafka({"shape": {"public.orders": {"partition_by": ["customer"]}}, "topics": {f"{unique}.public.*": {"partitions": 7}}})
    db.execute("UPDATE orders SET total = 1")
    db.execute("UPDATE orders SET id = id + 100")
    db.execute("DELETE FROM orders")
    records = kafka.wait_for(topic, 20 + 20 + 60 + 40)
    assert len(records) == 140
    customer = {}
    for record in records:
        row = record.value and (record.value["after"] or record.value["before"])
        if row:
            customer[row["id"]] = row["customer"]
        placed = json.dumps({"customer": customer[record.key["id"]]}, separators=(",", ":")).encode()
        assert record.partition == (murmur2(placed) & 0x7FFFFFFF) % 7
        assert list(record.key) == ["id"]


def test_topics_are_made_as_they_are_configured(to_kafka, kafka, db, unique):
    from confluent_kafka.admin import ConfigResource

    db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    db.execute("CREATE TABLE b (id int PRIMARY KEY)")
    db.execute("INSERT INTO a VALUES (1)")
    db.execute("INSERT INTO b VALUES (1)")
    to_kafka({"kafka": {"topic_partitions": 2}, "topics": {
        f"{unique}.*": {"cleanup": "compact", "partitions": 4},
        "*.b": {"cleanup": "compact,delete", "retention": "7d", "properties": {"min.cleanable.dirty.ratio": "0.2"}}}})

    admin = kafka.admin()

    def made(topic):
        kafka.wait_for(topic, 1)
        (answer,) = admin.describe_configs([ConfigResource("topic", topic)]).values()
        config = {name: entry.value for name, entry in answer.result().items()}
        partitions = len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
        return partitions, config["cleanup.policy"], config["retention.ms"], config["min.cleanable.dirty.ratio"]

    assert made(f"{unique}.public.a")[:2] == (4, "compact")
    assert made(f"{unique}.public.b") == (4, "compact,delete", str(7 * 86400 * 1000), "0.2")


def test_tables_that_are_read_beside_the_stream_are_shaped_too(to_kafka, kafka, db, unique, cli):
    db.execute("CREATE TABLE people (id int PRIMARY KEY, email text, status text)")
    db.execute("INSERT INTO people SELECT n, 'secret' || n, 's' || n % 2 FROM generate_series(1, 20) n")
    to_kafka({"snapshot": "incremental", "shape": {
        "public.people": {"mask": {"email": 2}, "where": "status = 's1'", "topic": f"{unique}.routed"}}})
    records = kafka.wait_for(f"{unique}.routed", 10)
    assert sorted(r.value["after"]["id"] for r in records) == list(range(1, 20, 2))
    assert {(r.value["op"], r.value["after"]["email"]) for r in records} == {("r", "**")}


def test_the_outbox_comes_once_and_in_order_through_a_crash(to_kafka, kafka, db, unique, wait_until):
    db.execute(OUTBOX.format(payload="bytea"))
    topic = f"{unique}-order"
    f = to_kafka({"outbox": {"public.outbox": {"topic": f"{unique}-$1", "headers": {"eventType": "type"}}}})
    for n in range(60):
        db.execute("INSERT INTO outbox SELECT gen_random_uuid(), 'order', %s, 't', %s", [str(n % 3), b"\x00event %d" % n])
        db.execute("DELETE FROM outbox")
        if n == 10:
            kafka.wait_for(topic, 11)  # an initial snapshot that is cut short starts over, and sees no deleted row
        if n in (20, 40):
            f.kill9()
            f.start()
    records = kafka.wait_for(topic, 60)
    assert sorted(r.raw_value for r in records) == sorted(b"\x00event %d" % n for n in range(60))
    for key in (b"0", b"1", b"2"):
        mine = [int(r.raw_value.split()[1]) for r in records if r.raw_key == key]
        assert mine == sorted(mine)
    assert {r.headers["eventType"] for r in records} == {"t"}
    assert f"{unique}.public.outbox" not in kafka.topics(unique)


def test_what_is_hidden_is_in_no_topic_at_all(to_kafka, kafka, db, unique, wait_until):
    """Events, keys, headers, dead letters (of what is too large), invalidations; in the snapshot and in the stream."""
    db.execute("CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, note text, filler text)")
    db.execute("ALTER TABLE people REPLICA IDENTITY FULL")
    db.execute("INSERT INTO people VALUES (1, 'secret-a', 'secret-b', 'x')")
    f = to_kafka({"hash_salt": SALT, "invalidations": True, "shape": {
        "public.people": {"hash": ["email"], "mask": {"note": 1}, "where": "id <> 99"}},
        "kafka": {"properties": {"message.max.bytes": "100000"}}})
    db.execute("INSERT INTO people SELECT n, 'secret-' || n, 'secret', 'x' FROM generate_series(2, 9) n")
    db.execute("UPDATE people SET email = email || '!', filler = repeat(md5(random()::text), 10000) WHERE id = 5")
    db.execute("DELETE FROM people WHERE id < 5")
    db.execute("INSERT INTO people VALUES (10, NULL, NULL, 'the last')")
    wait_until(lambda: any(r.value and r.value["after"] and r.value["after"]["id"] == 10
                           for r in kafka.read(f"{unique}.public.people")))
    kafka.wait_for(f"{unique}.dead-letters", 1)
    wait_until(lambda: kafka.read(f"{unique}.invalidations"))
    records = kafka.read(*kafka.topics(unique))
    assert {r.topic.removeprefix(unique) for r in records} >= {".public.people", ".dead-letters", ".invalidations"}
    for record in records:
        for data in (record.raw_key, record.raw_value, json.dumps(record.headers).encode()):
            assert b"secret" not in (data or b""), record.topic
    assert "secret" not in f.log_text()
    assert row_filter(db, unique, "people") is None, "caches need the rows that events do not have"


def test_a_cache_that_follows_is_right_about_rows_with_hidden_keys(to_kafka, kafka, freshet, db, unique, wait_until):
    db.execute("CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, name text)")
    db.execute("INSERT INTO people VALUES (1, 'a@b.c', 'Ann'), (2, 'x@y.z', 'Xe')")
    to_kafka({"hash_salt": SALT, "invalidations": True, "invalidations_interval": "100ms", "shape": {
        "public.people": {"hash": ["email"], "where": "name <> 'hidden'"}}})
    cache = freshet(db, {"roles": ["cache"], "cache": {"feed": "kafka", "workers": 1, "publication": unique},
                         "cdc": {"invalidations_interval": "100ms"}}, kafka=kafka, prefix=unique)
    wait_until(lambda: cache.row("people:email=a@b.c")["name"] == "Ann")
    for name in ("hidden", "Anna", "hidden", "Annie"):
        db.execute("UPDATE people SET name = %s WHERE id = 1", [name])
        wait_until(lambda: cache.row("people:email=a@b.c")["name"] == name and cache.row("people:1")["name"] == name)


# ---- configuration ----

MISTAKES = [
    ({"shape": {"public.nobody": {}}}, "cdc.shape.public.nobody: matches no table"),
    ({"shape": {"public.users": {"mask": {"nmae": 3}}}}, 'mask: there is no column "nmae" in users'),
    ({"shape": {"public.users": {"mask": {"id": 3}}}}, 'column "id" is of the key of public.users'),
    ({"shape": {"public.users": {"truncate": {"*": 3}}, "public.marks": {"truncate": {"code": 3}}}},
     'column "code" is of the key of public.marks'),
    ({"shape": {"public.users": {"exclude_columns": ["id"]}}}, "it must be there"),
    ({"shape": {"public.users": {"columns": ["email"]}}}, "it must be there"),
    ({"shape": {"public.users": {"truncate": {"born": 3}}}}, 'column "born" of public.users is no text but date'),
    ({"shape": {"public.users": {"mask": {"email": "many"}}}}, '"many" is no number'),
    ({"shape": {"public.users": {"hash": ["email"]}}}, "hash needs a salt"),
    ({"shape": {"public.users": {"partition_by": ["status"]}}}, "is not of the replica identity"),
    ({"shape": {"public.users": {"partition_by": ["nothing"]}}}, 'there is no column "nothing"'),
    ({"shape": {"public.users": {"where": "stauts = 1"}}}, 'column "stauts" does not exist'),
    ({"shape": {"public.users": {"view": "BOTH"}}}, '"BOTH" is none of'),
    ({"shape": {"public.*": {"topic": "t.$2"}}}, "$ stands before the number of a star"),
    ({"shape": {"public.users": {"masks": {}}}}, 'did you mean "mask"'),
    ({"exclude_tables": ["public.gone"]}, '"public.gone" matches no table'),
    ({"outbox": {"public.users": {}}}, 'there is no column "aggregatetype" in public.users'),
    ({"shape": {"sale*.*": {}}}, "matches no table"),
    ({"shape": {"public.users": {"mask": {"zz*": 1}}}}, 'mask: "zz*" matches no column'),
]


def test_check_tells_where_a_mistake_is(cli, db, tmp_path):
    db.execute(TABLE)
    db.execute("CREATE TABLE marks (code text PRIMARY KEY)")
    for at, (cdc, words) in enumerate(MISTAKES):
        path = tmp_path / f"{at}.yml"
        config = {"roles": ["cdc"], "database": {"url": db.url}, "cdc": {"output": "stdout", **cdc}}
        path.write_text(json.dumps(config, indent=1))
        told = cli("check", "-c", path)
        assert told.returncode != 0, words
        lines = [line for line in (told.stdout + told.stderr).splitlines() if words in line]
        assert lines and f"{path}:" in lines[0], (words, told.stdout, told.stderr)


def test_check_tells_what_is_done_where(cli, db):
    db.execute(TABLE)
    told = cli("check", "--database", db.url, "--set", "roles=[cdc]", "--set", "cdc.output=stdout", "--set",
               'cdc.shape={public.users: {columns: [id, name], where: "id > 1"}}')
    assert told.returncode == 0, told.stdout
    assert "email, phone, notes, picture, born, status left out" in told.stdout
    assert "rows where (id > 1), by the publication" in told.stdout
    assert '("id", "name") WHERE ((id > 1))' in told.stdout
