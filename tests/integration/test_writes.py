"""Writes through (`cache.writes: through`): what commands do to rows, what they answer, what memory then holds."""

import json
import threading

import pytest
import redis
from redis.exceptions import ExecAbortError, ReadOnlyError, ResponseError, WatchError

from support.freshet import Freshet, merge
from support.postgres import Postgres
from support.rows import applied, in_background, keep, state
from support.waiting import wait_until
from test_lease import walsender_stopped

THROUGH = {"cache": {"writes": "through", "workers": 2}}

TABLES = """
CREATE TABLE people (
    id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, visits int, score numeric(10,2),
    shout text GENERATED ALWAYS AS (upper(name)) STORED, changed int NOT NULL DEFAULT 0,
    CONSTRAINT sane CHECK (visits < 1000));
CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.changed := OLD.changed + 1; RETURN NEW; END $$;
CREATE TRIGGER counting BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION count_change();
CREATE TABLE pairs (a int, b text, v text, n bigint NOT NULL DEFAULT 7, PRIMARY KEY (a, b));
INSERT INTO people (id, name, email, visits) SELECT i, 'p' || i, 'p' || i || '@x', i FROM generate_series(1, 20) i;
INSERT INTO pairs VALUES (1, 'x', 'v');
"""


RESET = TABLES[TABLES.index("INSERT") :]


@pytest.fixture(scope="module")
def shared(workshop, _servers):
    """One cache for the tests that leave the tables' definitions as they are."""
    database = _servers("postgres15", lambda: Postgres(workshop)).create_database()
    database.execute(TABLES)
    one = Freshet(workshop, merge({"database": {"url": database.url}}, THROUGH)).start()
    keep(one, "people:20")  # the tables have joined
    yield database, one
    one.close()
    database.drop()


@pytest.fixture
def people(shared):
    database, one = shared
    # a TRUNCATE would be a new file: the table would have to join anew
    database.execute("DELETE FROM people; DELETE FROM pairs")
    database.execute(RESET)
    applied(one, database)
    one.redis.flushall()
    return database


@pytest.fixture
def f(people, shared):
    return shared[1]


@pytest.fixture
def own(db):
    db.execute(TABLES)
    return db


@pytest.fixture
def own_f(own, freshet):
    f = freshet(own, THROUGH)
    keep(f, "people:20")
    return f


def tuples(db, sql):
    return [tuple(row.values()) for row in db.rows(sql)]


def column(db, name, id=1):
    return db.value(f"SELECT {name} FROM people WHERE id = {id}")


# ---- each command ----


def test_hset_updates_columns_and_answers_how_many_were_null(f, people):
    assert f.redis.hset("people:1", mapping={"name": "Ada", "score": "1.5"}) == 1
    assert tuples(people, "SELECT name, score::text, shout, changed FROM people WHERE id = 1") == [("Ada", "1.50", "ADA", 1)]
    assert f.redis.hset("people:1", "name", "Bea") == 0
    assert f.redis.execute_command("HSET", "people:1", "name", "x", "name", "Cid") == 0
    assert column(people, "name") == "Cid"
    assert f.redis.execute_command("HMSET", "people:1", "name", "Dan") in (True, "OK")


def test_the_row_as_the_database_stored_it_is_what_memory_then_holds(f, people):
    keep(f, "people:1")
    f.redis.hset("people:1", "name", "Ada")
    assert state(f, "people:1") == "resident"
    misses = f.metric("freshet_cache_misses_total")
    row = f.row("people:1")
    assert (row["name"], row["shout"], row["changed"]) == ("Ada", "ADA", 1)
    assert f.redis.hget("people:1", "changed") == "1"
    assert f.metric("freshet_cache_misses_total") == misses
    applied(f, people)  # its own transaction's way through the stream leaves it
    assert state(f, "people:1") == "resident"
    assert f.row("people:1") == people.value("SELECT to_json(people) FROM people WHERE id = 1")
    assert f.metric("freshet_cache_misses_total") == misses


def test_an_after_trigger_and_a_deferred_one_are_in_what_memory_holds(own_f, own):
    own.execute(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.email IS NOT NULL THEN UPDATE people SET email = NULL WHERE id = NEW.id; END IF; RETURN NULL; END $$"
    )
    own.execute(
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON people DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION later()"
    )
    own_f.redis.hset("people:1", "name", "Ada")
    assert own_f.row("people:1")["email"] is None is column(own, "email")


def test_hdel_makes_columns_null(f, people):
    assert f.redis.hdel("people:1", "email", "score") == 1
    assert (column(people, "email"), f.row("people:1")["email"]) == (None, None)
    assert f.redis.hdel("people:1", "email") == 0
    assert f.redis.hdel("people:404", "email") == 0
    with pytest.raises(ResponseError, match="CONSTRAINT 23502 people: null value in column"):
        f.redis.hdel("people:1", "name")


def test_hsetnx_sets_only_what_is_null(f, people):
    assert f.redis.hsetnx("people:1", "name", "x") == 0
    assert f.redis.hsetnx("people:1", "score", "2") == 1
    assert (column(people, "name"), str(column(people, "score")), column(people, "changed")) == ("p1", "2.00", 1)


def test_hincrby_and_hincrbyfloat(f, people):
    assert f.redis.hincrby("people:1", "visits", 5) == 6
    assert f.redis.hincrby("people:1", "visits", -10) == -4
    assert f.redis.hget("people:1", "visits") == "-4"
    people.execute("UPDATE people SET visits = NULL WHERE id = 2")
    assert f.redis.hincrby("people:2", "visits", 3) == 3
    assert f.redis.execute_command("HINCRBYFLOAT", "people:1", "score", "1.25") in (1.25, "1.25")
    assert f.redis.execute_command("HINCRBYFLOAT", "people:1", "score", "1.25") in (2.5, "2.50")
    with pytest.raises(ResponseError, match="hash value is not an integer"):
        f.redis.hset("people:1", "score", "1.5") and None
        f.redis.hincrby("people:1", "score", 1)
    assert str(column(people, "score")) == "1.50"
    with pytest.raises(ResponseError, match="42883|42804|22P02"):
        f.redis.hincrby("people:1", "name", 1)
    with pytest.raises(ResponseError, match="22003 people: integer out of range"):
        f.redis.hincrby("people:3", "visits", 2**31 - 1)
    with pytest.raises(ResponseError, match="value is not an integer"):
        f.redis.execute_command("HINCRBY", "people:1", "visits", "x")


def test_many_clients_count_without_losing_one(f, people):
    def count():
        client = f.client()
        for _ in range(25):
            client.hincrby("people:5", "visits", 1)

    threads = [threading.Thread(target=count) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert column(people, "visits", 5) == 205 == int(f.redis.hget("people:5", "visits"))


def test_set_inserts_and_then_sets_only_the_fields_given(f, people):
    assert keep(f, "people:100") is None
    assert f.redis.set("people:100", '{"name": "new", "visits": 4}') is True
    assert f.row("people:100") == {
        "id": 100, "name": "new", "email": None, "visits": 4, "score": None, "shout": "NEW", "changed": 0,
    }  # fmt: skip
    assert f.redis.set("people:100", '{"score": 2.5}') is True
    assert tuples(people, "SELECT name, score::text FROM people WHERE id = 100") == [("new", "2.50")]
    assert f.redis.set("people:100", "{}") is True
    # What GET gives may be changed and given back, computed columns and key and all.
    row = f.row("people:100") | {"name": "again"}
    assert f.redis.set("people:100", json.dumps(row)) is True
    assert f.row("people:100")["shout"] == "AGAIN"
    with pytest.raises(ResponseError, match="CONSTRAINT 23502"):
        f.redis.set("people:101", '{"visits": 1}')


def test_set_with_nx_and_xx(f, people):
    assert f.redis.set("people:1", '{"name": "x"}', nx=True) is None
    assert f.redis.set("people:200", '{"name": "x"}', xx=True) is None
    assert f.redis.set("people:200", '{"name": "x"}', nx=True) is True
    assert f.redis.set("people:200", '{"name": "y"}', xx=True) is True
    assert f.redis.setnx("people:200", '{"name": "z"}') is False
    assert column(people, "name", 200) == "y"
    assert column(people, "name") == "p1"


@pytest.mark.parametrize(
    "value, error",
    [
        ("word", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"nope": 1}', 'there is no column "nope"'),
        ('{"id": 2, "name": "x"}', "key columns are those of another row"),
        ('{"name": "x", "visits": "many"}', '22P02 people: invalid input syntax for type integer: "many"'),
    ],
)
def test_set_of_what_is_no_such_row_is_an_error(f, people, value, error):
    with pytest.raises(ResponseError, match=error):
        f.redis.set("people:1", value)
    assert column(people, "name") == "p1"


def test_del_deletes_and_counts(f, people):
    f.redis.set("plain", "v")
    assert f.redis.delete("people:1", "people:2", "people:404", "plain", "people:1") == 3
    assert people.value("SELECT count(*) FROM people WHERE id < 3") == 0
    assert f.redis.mget("people:1", "people:2", "plain") == [None, None, None]
    assert f.redis.unlink("people:3") == 1
    assert state(f, "people:3") == "absent"


def test_composite_and_unique_keys(f, people):
    assert f.redis.hset("pairs:1:x", "v", "w") == 0
    assert f.redis.set("pairs:2:y%3Az", '{"v": "made"}') is True
    assert tuples(people, "SELECT * FROM pairs ORDER BY a") == [(1, "x", "w", 7), (2, "y:z", "made", 7)]
    assert f.redis.hincrby("pairs:2:y%3Az", "n", 1) == 8
    assert f.redis.hset("people:email=p1@x", "name", "by email") == 0
    assert f.row("people:1")["name"] == "by email" == f.row("people:email=p1@x")["name"]
    assert f.redis.delete("pairs:1:x", "people:email=p2@x") == 2
    assert f.row("people:2") is None


def test_a_changed_unique_column_is_seen_at_once_by_its_old_and_its_new_value(f):
    keep(f, "people:email=p1@x")
    assert keep(f, "people:email=new@x") is None
    f.redis.hset("people:1", "email", "new@x")
    assert f.row("people:email=p1@x") is None
    assert f.row("people:email=new@x")["id"] == 1


def test_a_changed_primary_key_is_seen_at_once(f):
    keep(f, "people:1")
    assert keep(f, "people:500") is None
    f.redis.hset("people:1", "id", 500)
    assert f.row("people:1") is None
    assert f.row("people:500")["name"] == "p1"


def test_set_by_a_unique_key(own_f, own):
    own.execute("CREATE TABLE tags (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tag text UNIQUE, n int DEFAULT 1)")
    wait_until(lambda: own_f.redis.get("tags:1") is None and state(own_f, "tags:1") == "absent", what="the table is known")
    assert own_f.redis.set("tags:tag=a", "{}") is True
    assert own_f.redis.set("tags:tag=a", '{"n": 2}') is True
    row = own_f.row("tags:tag=a")
    assert row == {"id": 1, "tag": "a", "n": 2} == own_f.row("tags:1")
    assert own_f.redis.set("tags:tag=a", json.dumps(row | {"n": 3})) is True
    assert own_f.redis.set("tags:7", '{"tag": "given"}') is True
    with pytest.raises(ResponseError, match="another row"):
        own_f.redis.set("tags:tag=a", '{"id": 7, "n": 9}')


# ---- errors ----


def test_a_constraint_is_an_error_with_its_code_and_nothing_changes(f, people):
    before = keep(f, "people:1")
    failures = f.metric("freshet_cache_write_failures_total", reason="constraint")
    refused = f.metric("freshet_cache_writes_total", outcome="refused")
    with pytest.raises(ResponseError) as error:
        f.redis.hset("people:1", "email", "p2@x")
    assert str(error.value) == (
        'CONSTRAINT 23505 people: duplicate key value violates unique constraint "people_email_key"'
        " (Key (email)=(p2@x) already exists.)"
    )
    with pytest.raises(ResponseError, match='CONSTRAINT 23514 .*"sane"'):
        f.redis.hset("people:1", "visits", 5000)
    assert (state(f, "people:1"), f.redis.get("people:1")) == ("resident", before)
    assert f.metric("freshet_cache_write_failures_total", reason="constraint") == failures + 2
    assert f.metric("freshet_cache_writes_total", outcome="refused") == refused + 2


def test_a_deferred_constraint_that_fails_is_answered(own_f, own):
    own.execute("ALTER TABLE pairs ADD CONSTRAINT ref FOREIGN KEY (a) REFERENCES people DEFERRABLE INITIALLY DEFERRED")
    with pytest.raises(ResponseError, match="CONSTRAINT 23503"):
        own_f.redis.set("pairs:999:x", "{}")
    assert own_f.redis.get("pairs:999:x") is None


def test_a_row_that_is_absent_is_not_made_by_hset(f, people):
    with pytest.raises(ResponseError, match="NOROW people: there is no row 'people:404'"):
        f.redis.hset("people:404", "name", "x")
    with pytest.raises(ResponseError, match="NOROW"):
        f.redis.hincrby("people:404", "visits", 1)
    assert people.value("SELECT count(*) FROM people WHERE id = 404") == 0


def test_columns_and_values_that_the_table_does_not_take(f):
    for arguments, error in [
        (("people:1", "nope", "x"), 'people: there is no column "nope"'),
        (("people:1", "name", "a\0b"), "NUL byte"),
        (("people:1", "visits", "many"), "22P02 people: invalid input syntax for type integer"),
        (("people:1", "shout", "x"), "428C9"),
        (("people:x", "name", "x"), '"x" is not an integer'),
        (("people:1", "name"), "wrong number of arguments"),
    ]:
        with pytest.raises(ResponseError, match=error):
            f.redis.execute_command("HSET", *arguments)


def test_commands_that_cannot_write_rows_say_so(f):
    for command in [("APPEND", "people:1", "x"), ("RPUSH", "people:1", "x"), ("SETEX", "people:1", "9", "{}")]:
        with pytest.raises(ReadOnlyError, match="cannot write it"):
            f.redis.execute_command(*command)
    with pytest.raises(ResponseError, match="only NX or XX"):
        f.redis.set("people:1", "{}", ex=10)
    keep(f, "people:20")
    assert f.redis.expire("people:20", 100) is True


def test_by_default_rows_are_read_only_and_del_evicts(own, freshet):
    f = freshet(own, {"cache": {"tables": {"pairs": {"writes": "through"}}}})
    keep(f, "people:1")
    for command in [("HSET", "people:1", "name", "x"), ("SET", "people:1", "{}"), ("HINCRBY", "people:1", "visits", "1")]:
        with pytest.raises(ReadOnlyError, match="cache.writes is refuse"):
            f.redis.execute_command(*command)
    assert f.redis.delete("people:1") == 1
    assert column(own, "name") == "p1"
    assert f.redis.hset("pairs:1:x", "v", "by the table's own setting") == 0
    assert f.redis.delete("pairs:1:x", "people:1") == 1


def test_a_role_without_the_right_is_told(own, freshet, unique):
    role = f"reader_{unique}"
    own.execute(f"CREATE ROLE {role} LOGIN REPLICATION")
    own.execute(f"GRANT CREATE ON DATABASE {own.name} TO {role}")
    for table in ("people", "pairs"):
        own.execute(f"ALTER TABLE {table} OWNER TO {role}")
        own.execute(f"REVOKE INSERT, UPDATE, DELETE ON {table} FROM {role}")
    f = freshet(None, {"database": {"url": own.server.url(own.name, role)}, **THROUGH})
    try:
        with pytest.raises(ResponseError, match="42501 people: permission denied for table people"):
            f.redis.hset("people:1", "name", "x")
    finally:
        f.stop()
        own.execute(f"REASSIGN OWNED BY {role} TO postgres")
        own.execute(f"DROP OWNED BY {role}")
        own.execute(f"DROP ROLE {role}")


def test_a_deadlock_is_answered_with_its_code(f, people):
    with people.connect(autocommit=False) as connection:
        connection.execute("UPDATE people SET visits = 0 WHERE id = 2")
        pipeline = f.client().pipeline(transaction=True)
        pipeline.hset("people:1", "visits", 1).hset("people:2", "visits", 1)
        written = in_background(pipeline.execute)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        wait_until(lambda: people.value(waits) == 1, what="the write waits for the row")
        refused = None
        try:
            connection.execute("SET deadlock_timeout = '10s'")
            connection.execute("UPDATE people SET visits = 0 WHERE id = 1")
            connection.commit()
        except Exception as error:  # noqa: BLE001 - one of the two is refused
            refused = error
    if refused is None:
        with pytest.raises(ExecAbortError, match="CONFLICT 40P01"):
            written()
    else:
        written()


# ---- MULTI ----


def test_exec_is_one_transaction_and_answers_each_command(f, people):
    f.redis.set("plain", "1")
    with f.client().pipeline(transaction=True) as tx:
        tx.get("people:1").hset("people:1", "name", "one").hget("people:1", "name").hincrby("people:2", "visits", 1)
        tx.incr("plain").delete("people:3").exists("people:3").set("people:300", '{"name": "n"}').hdel("people:1", "email")
        answers = tx.execute()
    assert json.loads(answers[0])["name"] == "p1"
    assert answers[1:] == [0, "one", 3, 2, 1, 0, True, 1]
    assert people.value("SELECT count(DISTINCT xmin::text) FROM people WHERE id IN (1, 2, 300)") == 1
    assert f.row("people:1")["changed"] == 2


def test_exec_writes_all_or_nothing(f, people):
    keep(f, "people:1")
    f.redis.set("plain", "1")
    with f.client().pipeline(transaction=True) as tx:
        tx.hset("people:1", "name", "lost").incr("plain").hset("people:2", "email", "p3@x")
        with pytest.raises(ExecAbortError, match="CONSTRAINT 23505"):
            tx.execute()
        tx.hset("people:1", "name", "lost").hset("people:404", "name", "x")
        with pytest.raises(ExecAbortError, match="NOROW"):
            tx.execute()
        tx.hset("people:1", "name", "lost").hset("people:1", "nope", "x")
        with pytest.raises(ExecAbortError, match="no column"):
            tx.execute()
    assert (column(people, "name"), f.row("people:1")["name"], f.redis.get("plain")) == ("p1", "p1", "1")
    assert f.redis.ping()


def test_watch_of_a_row_holds_against_a_commit_that_the_stream_has_not_brought(f, people):
    def bump(client, id, between=None):
        with client.pipeline() as tx:
            tx.watch(f"people:{id}")
            visits = int(tx.hget(f"people:{id}", "visits"))
            if between:
                between()
            tx.multi()
            tx.hset(f"people:{id}", "visits", visits + 1)
            return tx.execute()

    assert bump(f.client(), 7) == [0]
    with pytest.raises(WatchError):
        bump(f.client(), 7, lambda: people.execute("UPDATE people SET visits = 100 WHERE id = 7"))
    assert column(people, "visits", 7) == 100

    def many():
        client = f.client()
        for _ in range(6):
            while True:
                try:
                    bump(client, 8)
                    break
                except (WatchError, ExecAbortError):
                    pass

    runs = [in_background(many) for _ in range(4)]
    [run() for run in runs]
    assert column(people, "visits", 8) == 8 + 24


def test_watch_of_an_absent_row_holds(f, people):
    client = f.client()
    with client.pipeline() as tx:
        tx.watch("people:600")
        assert tx.get("people:600") is None
        people.execute("INSERT INTO people (id, name) VALUES (600, 'theirs')")
        tx.multi()
        tx.set("people:600", '{"name": "ours"}')
        with pytest.raises(WatchError):
            tx.execute()
    assert column(people, "name", 600) == "theirs"


# ---- who is told ----


def test_tracking_and_notifications_follow_writes(f):
    keep(f, "people:1")
    f.redis.config_set("notify-keyspace-events", "KEA")
    listener = f.client().pubsub()
    listener.psubscribe("__key*__:*")
    wait_until(lambda: listener.get_message(timeout=1), what="subscribed")
    pushes = f.client(protocol=3)
    told = []
    pushes.connection_pool.reset()
    tracker = f.client(protocol=3, single_connection_client=True)
    tracker.connection._parser.set_invalidation_push_handler(told.append)
    tracker.execute_command("CLIENT", "TRACKING", "ON")
    tracker.get("people:1")
    f.redis.hset("people:1", "name", "Ada")
    tracker.ping()
    assert [push[1] for push in told] == [[b"people:1"]] or [push[1] for push in told] == [["people:1"]]
    events = set()

    def heard():
        message = listener.get_message(timeout=0.2)
        if message:
            events.add((message["channel"], message["data"]))
        return ("__keyspace@0__:people:1", "hset") in events

    wait_until(heard, what="hset is told")


def test_acl_asks_for_the_right_to_write_the_key(own_f):
    own_f.redis.execute_command("ACL", "SETUSER", "reader", "on", ">r", "~*", "+@read")
    own_f.redis.execute_command("ACL", "SETUSER", "some", "on", ">s", "%R~*", "%W~pairs:*", "+@all")
    reader, some = (own_f.client(username=u, password=u[0]) for u in ("reader", "some"))
    with pytest.raises(redis.exceptions.NoPermissionError):
        reader.hset("people:1", "name", "x")
    with pytest.raises(redis.exceptions.NoPermissionError):
        some.hset("people:1", "name", "x")
    assert some.hset("pairs:1:x", "v", "mine") == 0
    assert some.hget("people:1", "name") == "p1"


def test_pipelined_writes_and_reads_are_answered_in_order(f):
    pipeline = f.client().pipeline(transaction=False)
    for i in range(30):
        pipeline.hset("people:1", "visits", i)
        pipeline.hget("people:1", "visits")
    assert pipeline.execute() == [x for i in range(30) for x in (0, str(i))]


def test_the_numbers(own_f):
    own_f.redis.hset("people:1", "name", "x")
    own_f.redis.delete("people:2", "people:3")
    assert own_f.metric("freshet_cache_writes_total", outcome="done") == 2
    assert own_f.metric("freshet_cache_rows_written_total") == 3
    assert own_f.metric("freshet_cache_write_seconds_count") == 2
    assert own_f.metric("freshet_cache_write_connections") >= 1
    assert own_f.metric("freshet_cache_writes_waiting") == 0


# ---- tables as they are ----


def test_named_queries_see_an_own_write_at_once_and_are_read_in_exec(db, freshet):
    db.execute(TABLES)
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, person int, total int)")
    db.execute("INSERT INTO orders VALUES (1, 1, 10), (2, 1, 20), (3, 2, 30)")
    of = "SELECT id, total FROM orders WHERE person = $1 ORDER BY id"
    ids = "SELECT id FROM orders WHERE person = $1 ORDER BY id"
    queries = {
        "orders_of": {"key": "orders_of:{person}", "sql": of, "depends_on": {"orders": ["person"]}},
        "ids_of": {"key": "ids_of:{person}", "sql": ids, "shape": "list", "depends_on": {"orders": ["person"]}},
        "all_orders": {"key": "all_orders", "sql": "SELECT count(*) FROM orders", "shape": "value", "depends_on": {"orders": "all"}},
    }
    f = freshet(db, {"cache": THROUGH["cache"] | {"max_staleness": "60s", "queries": queries}})
    keys = ("orders_of:1", "orders_of:2", "all_orders")
    for key in keys:
        keep(f, key)
    keep(f, "ids_of:1", "TYPE")
    with walsender_stopped(db):
        assert f.redis.hset("orders:1", "person", 2) == 0
        assert [len(json.loads(text)) for text in f.redis.mget(*keys[:2])] == [1, 2]
        assert f.redis.set("orders:4", '{"person": 1, "total": 40}') is True
        assert f.redis.delete("orders:3") == 1
        assert [len(json.loads(text)) for text in f.redis.mget(*keys[:2])] == [2, 1]
        assert f.redis.get("all_orders") == "3"
        with f.client().pipeline(transaction=True) as tx:
            tx.get("orders_of:1").delete("orders:4").get("orders_of:1").lrange("ids_of:1", 0, -1).get("all_orders").get("people:x")
            answers = tx.execute(raise_on_error=False)
        assert [len(json.loads(answers[i])) for i in (0, 2)] == [2, 1]
        assert answers[3:5] == [["2"], "2"] and "not an integer" in str(answers[5])
        with pytest.raises(ReadOnlyError, match="result of a named query"):
            f.redis.set("all_orders", "{}")


def test_partitioned_quoted_and_restricted_tables(db, freshet):
    db.execute('CREATE SCHEMA "Sales"; CREATE DOMAIN positive AS int CHECK (VALUE > 0)')
    db.execute('CREATE TABLE "Sales"."Order Lines" ("Id" uuid PRIMARY KEY, "the count" positive, at timestamptz, raw bytea, tags text[])')
    db.execute("CREATE TABLE parts (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)")
    db.execute("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')")
    db.execute("CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-07-01') TO ('2027-01-01')")
    db.execute("CREATE TABLE subset (id int PRIMARY KEY, shown text, hidden text DEFAULT 'h')")
    tables = {'Sales.Order Lines': {"prefix": "lines"}, "subset": {"columns": ["id", "shown"]}}
    f = freshet(db, {"cache": THROUGH["cache"] | {"tables": tables}})
    key = "lines:6f1e2f2e-0000-4000-8000-00000000000A"
    row = {"the count": 3, "at": "2026-11-21T10:00:00+00:00", "raw": "\\x00ff", "tags": ["a", 'b"c']}
    assert f.redis.set(key, json.dumps(row)) is True
    assert f.row(key.lower()) == {"Id": key[6:].lower()} | row
    assert f.redis.hincrby(key, "the count", 2) == 5
    with pytest.raises(ResponseError, match="CONSTRAINT 23514"):
        f.redis.hincrby(key, "the count", -9)
    assert f.redis.set("parts:1:2026-02-03", '{"v": "a"}') is True
    assert f.redis.hset("parts:1:2026-02-03", "day", "2026-08-09") == 0
    assert (f.row("parts:1:2026-02-03"), f.row("parts:1:2026-08-09")["v"]) == (None, "a")
    assert db.value("SELECT count(*) FROM parts_2") == 1
    assert f.redis.set("subset:1", '{"shown": "s"}') is True
    assert f.row("subset:1") == {"id": 1, "shown": "s"}
    with pytest.raises(ResponseError, match='no column "hidden"'):
        f.redis.hset("subset:1", "hidden", "x")


def test_a_table_that_is_altered_is_written_as_it_is(own_f, own):
    own.execute("ALTER TABLE people DROP COLUMN score; ALTER TABLE people ADD COLUMN fresh text DEFAULT 'f'")

    def written():
        try:
            return own_f.redis.hset("people:1", "fresh", "x") == 0
        except ResponseError as error:
            assert "42703" in str(error) or "no column" in str(error)

    wait_until(written, what="the new column is written")
    row = own_f.row("people:1")
    assert row["fresh"] == "x" and "score" not in row
    assert own_f.redis.hgetall("people:1")["fresh"] == "x"
