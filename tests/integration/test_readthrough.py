"""Reading rows through the cache: which keys are rows, what they answer, and what it costs the database."""

import json
import threading

import pytest
import redis

from support.rows import Gate, applied, explain, fills, in_background, keep, state
from support.waiting import wait_until

# ---- keys of every type: the text asked for, and others that mean the same value ----

TYPES = [
    ("integer", "42", ["042", "+42", "id=42"]),
    ("bigint", "-9223372036854775808", []),
    ("smallint", "7", ["007"]),
    ("oid", "4000000000", []),
    ("uuid", "0b5a1e0c-4d1f-4f62-9a6b-7a8e3c0c6d11", ["0B5A1E0C-4D1F-4F62-9A6B-7A8E3C0C6D11", "{0b5a1e0c4d1f4f629a6b7a8e3c0c6d11}"]),
    ("text", "a:b=c%3A d", ["id=a:b=c%3A d"]),
    ("varchar(5)", "abc", []),
    ("char(5)", "ab", ["ab ", "ab   "]),
    ("numeric", "1.50", ["1.5", "01.500"]),
    ("numeric(10,2)", "1.50", ["1.5"]),
    ("date", "2026-11-21", ["20261121"]),
    ("timestamp", "2026-11-21 10:00:00", ["2026-11-21T10:00"]),
    ("timestamptz", "2026-11-21 10:00:00+00", ["2026-11-21 12:00:00+02", "2026-11-21T10:00:00Z"]),
    ("time", "10:00:00", ["10:00"]),
    ("bytea", "\\x00ff", ["\\x00FF", "\\000\\377"]),
    ("boolean", "t", ["true", "yes"]),
    ("mood", "so so", []),
    ("positive", "5", ["05"]),
    ("inet", "10.0.0.1", ["10.0.0.1/32"]),
    ("double precision", "1.5", ["15e-1"]),
    ("interval", "1 day", ["24:00:00"]),
    ("integer[]", "{1,2}", ["{ 1, 02 }"]),
    ("jsonb", '{"a": "now"}', ['{"a":"now"}']),
    ('"Odd Type"', "x", []),
]


@pytest.mark.parametrize("type, text, others", TYPES, ids=[type for type, _, _ in TYPES])
def test_every_type_of_key_is_read_and_evicted_under_any_of_its_texts(db, freshet, type, text, others):
    db.execute("CREATE TYPE mood AS ENUM ('so so', 'fine')")
    db.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    db.execute("CREATE TYPE \"Odd Type\" AS ENUM ('x', 'y')")
    db.execute(f"CREATE TABLE t (id {type} PRIMARY KEY, v int)")
    db.execute("INSERT INTO t VALUES (%s, 1)", [text])
    f = freshet(db)
    keys = [f"t:{one}" for one in [text, *others]]
    expected = db.value("SELECT row_to_json(t)::text FROM t")
    for key in keys:
        for _ in range(2):
            assert f.redis.get(key) == expected
    for round in (2, 3):
        db.execute("UPDATE t SET v = %s", [round])
        applied(f, db)
        for key in keys:
            assert f.row(key)["v"] == round, key
            assert f.row(key)["v"] == round, key
    db.execute("DELETE FROM t")
    applied(f, db)
    for key in keys:
        assert f.redis.get(key) is None
        assert f.redis.get(key) is None
    db.execute("INSERT INTO t VALUES (%s, 4)", [text])
    applied(f, db)
    for key in keys:
        assert f.row(key)["v"] == 4, key


COMMON = ["integer", "bigint", "uuid", "text", "numeric", "date", "timestamptz", "bytea", "mood", "positive", "interval", "integer[]", "jsonb"]


@pytest.mark.parametrize("type, text, others", [t for t in TYPES if t[0] in COMMON], ids=COMMON)
def test_the_common_types_are_kept_in_memory(db, freshet, type, text, others):
    db.execute("CREATE TYPE mood AS ENUM ('so so', 'fine')")
    db.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    db.execute(f"CREATE TABLE t (id {type} PRIMARY KEY, v int)")
    db.execute("INSERT INTO t VALUES (%s, 1)", [text])
    f = freshet(db)
    for one in [text, *others]:
        keep(f, f"t:{one}")
        assert state(f, f"t:{one}") == "resident"


def test_citext_keys_follow_the_database(db, freshet):
    if not db.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'"):
        pytest.skip("citext is not installed")
    db.execute("CREATE EXTENSION citext")
    db.execute("CREATE TABLE t (id citext PRIMARY KEY, v int)")
    db.execute("INSERT INTO t VALUES ('Bob', 1)")
    f = freshet(db)
    for key in ("t:bob", "t:BOB", "t:Bob"):
        assert f.row(key)["id"] == "Bob"
        assert f.row(key)["v"] == 1
    assert f.row("t:alice") is None
    db.execute("UPDATE t SET v = 2; INSERT INTO t VALUES ('Alice', 1)")
    applied(f, db)
    assert [f.row(key)["v"] for key in ("t:bob", "t:BOB", "t:Bob", "t:alice", "t:ALICE")] == [2, 2, 2, 1, 1]


def test_a_collation_that_holds_two_texts_equal_is_followed(db, freshet):
    db.execute("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    db.execute("CREATE TABLE t (id text COLLATE nocase PRIMARY KEY, v int)")
    f = freshet(db)
    assert f.row("t:bob") is None
    db.execute("INSERT INTO t VALUES ('Bob', 1)")
    applied(f, db)
    assert f.row("t:bob")["v"] == 1
    assert f.row("t:BOB")["v"] == 1
    db.execute("UPDATE t SET v = 2")
    applied(f, db)
    assert f.row("t:bob")["v"] == f.row("t:BOB")["v"] == f.row("t:Bob")["v"] == 2


def test_a_role_with_settings_of_its_own_is_answered_and_evicted_in_them(db, freshet):
    role = f"odd_{db.name}"
    db.execute(f"CREATE ROLE {role} SUPERUSER LOGIN")
    for setting in ("TimeZone = 'Asia/Tokyo'", "DateStyle = 'SQL, DMY'", "bytea_output = 'escape'", "IntervalStyle = 'iso_8601'"):
        db.execute(f"ALTER ROLE {role} SET {setting}")
    db.execute("CREATE TABLE t (id timestamptz PRIMARY KEY, b bytea, i interval, v int)")
    db.execute("INSERT INTO t VALUES ('2026-11-21 10:00:00+00', '\\x00ff', '1 day', 1)")
    db.execute("CREATE TABLE b (id bytea PRIMARY KEY, v int); INSERT INTO b VALUES ('\\x00ff', 1)")
    with db.server.connect(db.name, user=role) as own:
        expected = own.execute("SELECT row_to_json(t)::text, id::text, b::text, i::text FROM t").fetchone()
    f = freshet(db, {"database": {"url": db.server.url(db.name, role)}})
    key = "t:2026-11-21 10:00:00+00"
    assert f.redis.get(key) == expected[0]
    assert f.redis.hmget(key, "id", "b", "i") == list(expected[1:])
    keep(f, key)
    keep(f, "b:\\x00ff")
    db.execute("UPDATE t SET v = 2; UPDATE b SET v = 2")
    applied(f, db)
    assert f.row(key)["v"] == 2
    assert f.row("b:\\x00ff")["v"] == 2
    f.stop()
    db.execute(f"REASSIGN OWNED BY {role} TO postgres")
    db.execute(f"DROP OWNED BY {role}")
    db.execute(f"DROP ROLE {role}")


def test_composite_keys_and_their_escapes(db, freshet):
    db.execute("CREATE TABLE t (a text, b int, v int, PRIMARY KEY (b, a))")
    db.execute("INSERT INTO t VALUES ('x:y%z', 7, 1), ('', 8, 2), ('%3A', 9, 3)")
    f = freshet(db)
    assert f.row("t:7:x%3Ay%25z")["v"] == 1
    assert f.row("t:7:x%3ay%z")["v"] == 1
    assert f.row("t:8:")["v"] == 2
    assert f.row("t:9:%253A")["v"] == 3
    keep(f, "t:7:x%3Ay%25z")
    keep(f, "t:07:x%3Ay%z")
    db.execute("UPDATE t SET v = 10 WHERE b = 7")
    applied(f, db)
    assert f.row("t:7:x%3Ay%25z")["v"] == f.row("t:07:x%3Ay%z")["v"] == 10
    for key, text in (("t:7", "2 parts"), ("t:7:x:y", "2 parts"), ("t:x:y", '"x" is not an integer (column b)')):
        with pytest.raises(redis.ResponseError) as error:
            f.redis.get(key)
        assert str(error.value).startswith("t: ") and text in str(error.value)


def test_names_are_taken_as_they_are_stored(db, freshet):
    db.execute('CREATE SCHEMA sales; CREATE SCHEMA "Mixed Case"')
    db.execute("CREATE TABLE sales.orders (id int PRIMARY KEY, v text)")
    db.execute('CREATE TABLE "Mixed Case"."Tab le" ("Id" int PRIMARY KEY, "select" text, "a""b" text)')
    db.execute('CREATE TABLE "Users" (id int PRIMARY KEY)')
    db.execute("CREATE TABLE users (id int PRIMARY KEY, u text)")
    db.execute("INSERT INTO sales.orders VALUES (1, 'sold')")
    db.execute("""INSERT INTO "Mixed Case"."Tab le" VALUES (1, 'x', 'y')""")
    db.execute("""INSERT INTO "Users" VALUES (5); INSERT INTO users VALUES (6, 'six')""")
    f = freshet(db)
    assert f.row("sales.orders:1") == {"id": 1, "v": "sold"}
    assert f.row("Mixed Case.Tab le:1") == {"Id": 1, "select": "x", 'a"b': "y"}
    assert f.redis.hgetall("Mixed Case.Tab le:1") == {"Id": "1", "select": "x", 'a"b': "y"}
    assert f.row("Users:5") == {"id": 5}
    assert f.row("users:5") is None
    assert f.row("USERS:5") is None
    keep(f, "Mixed Case.Tab le:1")
    db.execute("""UPDATE "Mixed Case"."Tab le" SET "select" = 'z'""")
    applied(f, db)
    assert f.row("Mixed Case.Tab le:1")["select"] == "z"


def test_a_text_that_looks_like_a_named_column(db, freshet):
    db.execute("CREATE TABLE t (id text PRIMARY KEY, v int)")
    db.execute("INSERT INTO t VALUES ('id=5', 1), ('5', 2), ('other=5', 3)")
    f = freshet(db)
    assert f.row("t:id=id=5")["v"] == 1
    assert f.row("t:id=5")["v"] == 2
    assert f.row("t:other=5")["v"] == 3
    keep(f, "t:id=id=5")
    db.execute("UPDATE t SET v = v + 10")
    applied(f, db)
    assert [f.row(key)["v"] for key in ("t:id=id=5", "t:id=5", "t:5", "t:other=5")] == [11, 12, 12, 13]


# ---- what is answered ----


def test_a_row_is_answered_byte_for_byte_as_row_to_json_gives_it(db, freshet):
    db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, f float8, d date, z timestamptz, j jsonb, a int[], b bytea,"
        " c char(4), u text, g int GENERATED ALWAYS AS (id * 2) STORED)"
    )
    db.execute(
        "INSERT INTO t (id, n, f, d, z, j, a, b, c, u) VALUES (1, 1.10, 0.1, '2026-01-02', '2026-01-02 03:04:05.6+00', '{\"k\": [1, null]}', '{1,NULL,3}',"
        " '\\x00ff', 'ab', E'tab\\t \"quoted\" \\u00e9'); INSERT INTO t VALUES (2)"
    )
    f = freshet(db)
    for id in (1, 2):
        assert f.redis.get(f"t:{id}") == db.value("SELECT row_to_json(t)::text FROM t WHERE id = %s", [id])
    with db.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        row = connection.execute("SELECT * FROM t WHERE id = 1")
        names = [column.name for column in row.description]
    texts = db.rows("SELECT id::text, n::text, f::text, d::text, z::text, j::text, a::text, b::text, u, g::text FROM t WHERE id = 1")[0]
    answered = f.redis.hgetall("t:1")
    assert list(answered) == names
    assert {**answered, "c": None} == {**texts, "c": None}
    assert answered["c"] == "ab  "
    assert f.redis.hgetall("t:2") == {"id": "2", "g": "4"}


def test_every_reader_reads_through(shop, freshet):
    f = freshet(shop)
    r = f.redis
    shop.execute("UPDATE customers SET city = NULL, vip = true WHERE id = 7")
    assert r.exists("customers:1", "customers:2", "customers:99999") == 2
    assert r.type("customers:3") == "string"
    assert r.type("customers:99999") == "none"
    assert r.strlen("customers:4") == len(r.get("customers:4").encode())
    assert 0 < r.ttl("customers:5") <= 300
    assert 0 < r.pttl("customers:6") <= 300_050  # the turn that reads began before the row came
    assert r.ttl("customers:99999") == -2
    assert r.hget("customers:7", "vip") == "t"
    assert r.hmget("customers:7", "vip", "city", "nothing") == ["t", None, None]
    assert r.hexists("customers:7", "name") and not r.hexists("customers:7", "city")
    assert r.hlen("customers:7") == 5
    assert r.hkeys("customers:7") == ["id", "name", "email", "vip", "created_at"]
    assert r.hvals("customers:7")[0] == "7"
    assert r.hgetall("customers:99999") == {}
    assert r.hget("customers:99999", "name") is None


def test_mget_answers_rows_and_plain_keys_together(shop, freshet):
    f = freshet(shop)
    f.redis.set("plain", "value")
    for _ in range(2):
        answers = f.redis.mget("customers:1", "plain", "products:1", "customers:99999", "nothing", "customers:1")
        assert json.loads(answers[0])["id"] == 1
        assert answers[1] == "value"
        assert json.loads(answers[2])["id"] == 1
        assert answers[3] is None and answers[4] is None
        assert answers[5] == answers[0]


def test_mget_of_many_keys_is_one_statement(shop, freshet):
    f = freshet(shop)
    queries = f.metric("freshet_cache_fill_queries_total")
    answers = f.redis.mget([f"customers:{i}" for i in range(1, 1501)])
    assert [json.loads(answer)["id"] for answer in answers] == list(range(1, 1501))
    assert f.metric("freshet_cache_fill_queries_total") == queries + 1


def test_what_one_mget_fetches_is_of_one_snapshot(db, freshet):
    db.execute("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)")
    db.execute("INSERT INTO a SELECT i, 0 FROM generate_series(1, 5) i; INSERT INTO b SELECT i, 0 FROM generate_series(1, 5) i")
    # Nothing is kept, so all is fetched.
    f = freshet(db, {"cache": {"ttl": "1ms"}})
    stop = threading.Event()

    def write():
        with db.connect(autocommit=False) as connection:
            value = 0
            while not stop.is_set():
                value += 1
                connection.execute("UPDATE a SET v = %s", [value])
                connection.execute("UPDATE b SET v = %s", [value])
                connection.commit()

    result = in_background(write)
    keys = [f"{table}:{i}" for table in "ab" for i in range(1, 6)]
    for _ in range(200):
        for key in keys:
            f.redis.expire(key, 0)
        values = {json.loads(answer)["v"] for answer in f.redis.mget(keys)}
        assert len(values) == 1
    stop.set()
    result()


def test_an_absent_row_is_remembered(shop, freshet):
    f = freshet(shop)
    assert keep(f, "customers:99999") is None
    queries = f.metric("freshet_cache_fill_queries_total")
    for _ in range(5):
        assert f.redis.get("customers:99999") is None
        assert f.redis.hgetall("customers:99999") == {}
    assert f.metric("freshet_cache_fill_queries_total") == queries
    assert f.metric("freshet_cache_negative_hits_total") >= 10


def test_a_missing_row_is_asked_for_once_however_many_wait(db, freshet):
    gate = Gate(db)
    f = freshet(db, {"database": {"url": gate.url}, "cache": {"fill_timeout": "20s"}})
    with gate.shut():
        results = [in_background(lambda: f.client().get("gated:1")) for _ in range(20)]
        wait_until(lambda: f.metric("freshet_cache_fills_joined_total") == 19, what="nineteen have joined")
        wait_until(gate.waiting, what="the fill waits")
        assert gate.waiting() == 1
        assert f.metric("freshet_cache_clients_waiting") == 20
        assert f.redis.info("clients")["blocked_clients"] == 0  # these wait for rows, not in a blocking command
    assert {json.loads(result())["v"] for result in results} == {"old"}
    assert f.metric("freshet_cache_fill_queries_total") <= 2
    f.stop()
    gate.drop_role()


def test_misses_that_meet_become_one_statement(shop, freshet):
    f = freshet(shop, {"cache": {"workers": 1}})
    queries = f.metric("freshet_cache_fill_queries_total")
    pipe = f.redis.pipeline(transaction=False)
    clients = [f.socket() for _ in range(50)]
    del pipe
    gate = threading.Barrier(50)

    def ask(i):
        gate.wait()
        clients[i].sendall(f"GET customers:{i + 1}\r\n".encode())
        return clients[i].recv(1000)

    results = [in_background(lambda i=i: ask(i)) for i in range(50)]
    for i, result in enumerate(results):
        assert f'"id":{i + 1},'.encode() in result()
    assert f.metric("freshet_cache_fill_queries_total") - queries < 50
    for client in clients:
        client.close()


def test_reads_beyond_the_bound_of_waiting_ones_are_refused(db, freshet):
    gate = Gate(db)
    f = freshet(db, {"database": {"url": gate.url}, "cache": {"workers": 1, "fill_timeout": "20s", "max_pending_reads": 3}})
    with gate.shut():
        many = in_background(lambda: f.client().mget("gated:1", "gated:2", "gated:3", "gated:4"))
        wait_until(gate.waiting, what="the fill waits")
        with pytest.raises(redis.ResponseError, match=r"^gated: too many reads wait .*cache.max_pending_reads is 3"):
            f.redis.get("gated:5")
        assert f.redis.set("plain", 1) and f.redis.get("plain") == "1"
    assert [json.loads(row)["id"] for row in many()] == [1, 2, 3, 4]
    assert json.loads(f.redis.get("gated:5"))["id"] == 5
    assert f.metric("freshet_cache_reads_refused_total") == 1
    f.stop()
    gate.drop_role()


def cold(shop, freshet):
    """A cache that keeps what it reads, with nothing in memory."""
    f = freshet(shop, {"cache": {"workers": 1}})
    f.wait_applied(shop)
    wait_until(lambda: f.redis.get("customers:1") and "customers:1" in f.redis.keys("customers:1"), 20, "rows are kept")
    f.redis.flushall()
    return f


def test_a_pipeline_of_cold_rows_is_one_statement(shop, freshet):
    f = cold(shop, freshet)
    queries, ids = f.metric("freshet_cache_fill_queries_total"), range(1, 301)
    pipe = f.redis.pipeline(transaction=False)
    for id in ids:
        pipe.get(f"customers:{id}")
    assert [json.loads(text)["id"] for text in pipe.execute()] == list(ids)
    assert f.metric("freshet_cache_fill_queries_total") - queries <= 2  # the first read may have come in two parts


def test_a_cold_pipeline_of_all_sorts_is_answered_in_order(shop, freshet):
    f = cold(shop, freshet)
    pipe = f.redis.pipeline(transaction=False)
    wanted = []
    for id in range(1, 200):
        pipe.set(f"note:{id}", id).hget(f"customers:{id}", "id").get(f"note:{id}").exists(f"customers:{id + 1}")
        pipe.get("customers:99999").delete(f"customers:{id + 2}").mget(f"customers:{id + 3}", f"note:{id}").get(f"customers:x{id}")
        wanted.append([True, str(id), str(id), 1, None])
    replies = pipe.execute(raise_on_error=False)
    for i, first in enumerate(wanted):
        some = replies[8 * i : 8 * i + 8]
        assert some[:5] == first
        assert json.loads(some[6][0])["id"] == i + 4 and some[6][1] == str(i + 1)
        assert str(some[7]) == f'customers: "x{i + 1}" is not an integer (column id)'


def test_a_write_behind_a_cold_read_is_seen_by_the_read_behind_it(shop, freshet):
    """The row that is read ahead was read before the commit that the pipeline waits for."""
    f = cold(shop, freshet)
    assert f.redis.get("customers:7")
    f.redis.flushall()
    lsn = shop.value("SELECT pg_current_wal_insert_lsn()")
    shop.execute("UPDATE customers SET name = 'after' WHERE id = 7")
    pipe = f.redis.pipeline(transaction=False)
    pipe.get("customers:6").execute_command("FRESHET.WAIT", shop.value("SELECT pg_current_wal_insert_lsn()"), 10000).get("customers:7")
    replies = pipe.execute(raise_on_error=False)
    assert lsn and json.loads(replies[2])["name"] == "after"


# ---- what is refused ----


@pytest.mark.parametrize(
    "type, text, noun",
    [
        ("integer", "abc", "an integer"),
        ("integer", "", "an integer"),
        ("integer", "1.5", "an integer"),
        ("integer", "99999999999", "an integer"),
        ("integer", "1; DROP TABLE t", "an integer"),
        ("bigint", "9223372036854775808", "an integer"),
        ("uuid", "not-a-uuid", "a uuid"),
        ("uuid", "0b5a1e0c-4d1f", "a uuid"),
        ("numeric", "x", "a number"),
        ("numeric", "1.2.3", "a number"),
        ("date", "tomorrowish", "a date"),
        ("date", "2026-13-45", "a date"),
        ("timestamptz", "2026-11-21 25:99", "a timestamp"),
        ("boolean", "maybe", "a boolean"),
        ("bytea", "\\xZZ", "a bytea value"),
        ("mood", "sad", "a value of type mood"),
    ],
)
def test_a_malformed_value_is_an_error_that_names_table_and_column(db, freshet, type, text, noun):
    db.execute("CREATE TYPE mood AS ENUM ('fine')")
    db.execute(f"CREATE TABLE t (id {type} PRIMARY KEY)")
    f = freshet(db)
    with pytest.raises(redis.ResponseError) as error:
        f.redis.get(f"t:{text}")
    assert str(error.value) == f't: "{text}" is not {noun} (column id)'
    assert f.redis.ping()


def test_a_malformed_value_spoils_no_other_read(db, freshet):
    db.execute("CREATE TABLE t (id date PRIMARY KEY)")
    db.execute("INSERT INTO t VALUES ('2026-01-01')")
    f = freshet(db, {"cache": {"workers": 1}})
    good = [f.socket() for _ in range(10)]
    bad = [f.socket() for _ in range(10)]
    for one, other in zip(good, bad):
        other.sendall(b"GET t:2026-99-99\r\n")
        one.sendall(b"GET t:2026-01-01\r\n")
    for one, other in zip(good, bad):
        assert b"2026-01-01" in one.recv(1000)
        assert b'-ERR t: "2026-99-99" is not a date (column id)' in other.recv(1000)
        one.close()
        other.close()


def test_bytes_that_are_no_text_are_refused(shop, freshet):
    f = freshet(shop)
    shop.execute("CREATE TABLE t (id text PRIMARY KEY)")
    wait_until(lambda: state(f, "t:x") != "missing", what="the table is mapped")
    for value in (b"t:\xff\xfe", b"t:a\x00b"):
        with pytest.raises(redis.ResponseError, match="is not text"):
            f.redis_bytes.get(value)


def test_tables_without_a_key_and_unknown_names_are_ordinary_prefixes(shop, freshet):
    f = freshet(shop)
    for key in ("page_views:1", "nothing:1", "no_colon"):
        assert f.redis.get(key) is None
        f.redis.set(key, "plain")
        assert f.redis.get(key) == "plain"


def test_writes_to_rows_are_refused_and_del_evicts(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    for command in (("SET", "customers:1", "x"), ("HSET", "customers:1", "name", "x"), ("INCR", "customers:1")):
        with pytest.raises(redis.exceptions.ReadOnlyError):
            f.redis.execute_command(*command)
    assert f.redis.delete("customers:1") == 1
    assert state(f, "customers:1") == "uncached"
    assert f.row("customers:1")["id"] == 1


def test_a_table_that_may_not_be_selected_says_so(db, freshet):
    role = f"poor_{db.name}"
    db.execute(f"CREATE ROLE {role} LOGIN REPLICATION")
    db.execute("CREATE TABLE secret (id int PRIMARY KEY); CREATE TABLE open (id int PRIMARY KEY, v int)")
    db.execute("INSERT INTO open VALUES (1, 1)")
    db.execute(f"GRANT SELECT ON open TO {role}")
    db.execute("CREATE PUBLICATION freshet_cache FOR TABLE secret, open WITH (publish_via_partition_root = true)")
    f = freshet(db, {"database": {"url": db.server.url(db.name, role)}})
    with pytest.raises(redis.ResponseError, match="^secret: cannot be read: .*SELECT"):
        f.redis.get("secret:1")
    keep(f, "open:1")
    db.execute("UPDATE open SET v = 2")
    applied(f, db)
    assert f.row("open:1")["v"] == 2
    f.stop()
    db.execute(f"DROP OWNED BY {role}")
    db.execute(f"DROP ROLE {role}")


# ---- configuration ----


def test_prefix_ttl_columns_and_unmapped_names(shop, freshet):
    f = freshet(
        shop,
        {
            "cache": {
                "ttl": "100s",
                "negative_ttl": "7s",
                "tables": {
                    "public.customers": {"prefix": "c", "ttl": "50s", "columns": ["id", "name"]},
                    "public.products": {"mapped": False},
                },
            }
        },
    )
    assert list(f.row("c:1")) == ["id", "name"]
    assert f.redis.hkeys("c:1") == ["id", "name"]
    assert 40 < f.redis.ttl("c:1") <= 50
    assert 90 < f.redis.ttl("orders:1") <= 100
    keep(f, "c:99999")
    assert 0 < int(explain(f, "c:99999")["ttl_ms"]) <= 7000
    assert f.redis.get("customers:1") is None
    assert f.redis.get("products:1") is None
    f.redis.set("products:1", "mine")
    assert f.redis.get("products:1") == "mine"
    keep(f, "c:1")
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    applied(f, shop)
    assert f.row("c:1")["name"] == "new"


def test_a_row_expires_by_its_ttl(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "200ms"}})
    keep(f, "customers:1")
    wait_until(lambda: state(f, "customers:1") == "uncached", what="the entry has expired")


# ---- schema changes ----


def test_schema_changes_while_running(shop, freshet):
    f = freshet(shop)
    keep(f, "products:1")
    f.redis.hgetall("products:1")
    shop.execute("ALTER TABLE products ADD COLUMN stock int NOT NULL DEFAULT 3")
    wait_until(lambda: f.row("products:1").get("stock") == 3, what="the new column is there")
    wait_until(lambda: f.redis.hget("products:1", "stock") == "3", what="and in the hash")
    shop.execute("ALTER TABLE products ALTER COLUMN stock TYPE text USING 'n' || stock")
    wait_until(lambda: f.row("products:1")["stock"] == "n3", what="the type has changed")
    wait_until(lambda: f.redis.hget("products:1", "stock") == "n3", what="and in the hash")
    shop.execute("ALTER TABLE products DROP COLUMN attributes")
    wait_until(lambda: "attributes" not in f.row("products:1"), what="the column is gone")
    wait_until(lambda: "attributes" not in f.redis.hgetall("products:1"), what="and from the hash")
    shop.execute("ALTER TABLE products RENAME COLUMN name TO title")
    wait_until(lambda: "title" in f.redis.hgetall("products:2"), what="the column is renamed")
    keep(f, "products:1")
    shop.execute("UPDATE products SET title = 'new' WHERE id = 1")
    applied(f, shop)
    assert f.row("products:1")["title"] == "new"


def test_a_table_that_is_made_dropped_and_made_again(db, freshet):
    f = freshet(db)
    f.redis.set("t:1", "an ordinary key")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)")
    wait_until(lambda: f.redis.get("t:1") == '{"id":1,"v":1}', what="the table is mapped")
    keep(f, "t:1")
    db.execute("UPDATE t SET v = 2")
    applied(f, db)
    assert f.row("t:1")["v"] == 2
    keep(f, "t:1")
    db.execute_many("DROP TABLE t", "CREATE TABLE t (id text PRIMARY KEY, w int)", "INSERT INTO t VALUES ('1', 7)")
    wait_until(lambda: f.row("t:1") == {"id": "1", "w": 7}, what="the new table is read")
    keep(f, "t:1")
    db.execute("UPDATE t SET w = 8")
    applied(f, db)
    assert f.row("t:1")["w"] == 8
    db.execute("DROP TABLE t")
    wait_until(lambda: f.redis.get("t:1") is None, what="its name is an ordinary prefix")


def test_uncached_fills_are_counted(db, freshet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    db.execute("ALTER TABLE t REPLICA IDENTITY NOTHING")
    f = freshet(db)
    assert f.row("t:1") == {"id": 1}
    assert "replica identity" in explain(f, "t:1")["why"]
    assert fills(f, "uncached") >= 1
