"""Until when a row stays: TTLs by table, jitter, the row's own end (ttl_column), EXPIRE, and the deletion of what has ended."""

import json
import time

import pytest
import redis

from support.rows import applied, explain, keep, refusal, state
from support.waiting import wait_until


@pytest.fixture
def sessions(db):
    db.execute("CREATE TABLE sessions (id int PRIMARY KEY, name text UNIQUE NOT NULL, ends timestamptz)")
    return db


def with_column(freshet, db, column="ends", table="public.sessions", cache=None, **more):
    return freshet(db, {"cache": {"ttl": "1h", "tables": {table: {"ttl_column": column, **more}}, **(cache or {})}})


def add(db, id, ends, table="sessions"):
    db.execute(f"INSERT INTO {table} VALUES ({id}, 's{id}', {ends})")


# ---- the row's own end ----


def test_a_row_that_has_ended_reads_as_absent_in_every_form(sessions, freshet):
    add(sessions, 1, "now() - interval '1 s'")
    add(sessions, 2, "now() + interval '1 h'")
    add(sessions, 3, "NULL")
    add(sessions, 4, "'infinity'")
    add(sessions, 5, "'-infinity'")
    f = with_column(freshet, sessions)
    for _ in range(2):  # from the database, and from memory
        for key in ("sessions:1", "sessions:name=s1", "sessions:5"):
            assert f.redis.get(key) is None and f.redis.hgetall(key) == {} and f.redis.exists(key) == 0, key
            assert f.redis.ttl(key) == -2
        for key in ("sessions:2", "sessions:name=s2", "sessions:3", "sessions:4"):
            assert json.loads(f.redis.get(key))["name"] == f.redis.hget(key, "name")
        assert [row is None for row in f.redis.mget("sessions:1", "sessions:2", "sessions:name=s1")] == [True, False, True]


def test_it_ends_in_memory_when_it_ends(sessions, freshet):
    f = with_column(freshet, sessions)
    add(sessions, 1, "clock_timestamp() + interval '1500 ms'")
    assert keep(f, "sessions:1") and f.redis.hget("sessions:1", "name") == "s1"
    assert 0 < f.redis.pttl("sessions:1") <= 1500
    wait_until(lambda: f.redis.get("sessions:1") is None, what="it has ended")
    assert sessions.value("SELECT ends <= clock_timestamp() FROM sessions WHERE id = 1")
    assert f.redis.hgetall("sessions:1") == {}


def test_a_later_end_brings_it_back_at_once(sessions, freshet):
    f = with_column(freshet, sessions, cache={"negative_ttl": "1h"})
    add(sessions, 1, "now() - interval '1 s'")
    for key in ("sessions:1", "sessions:name=s1"):
        wait_until(lambda: f.redis.get(key) is None and state(f, key) == "absent", what="its absence is remembered")
    sessions.execute("UPDATE sessions SET ends = now() + interval '1 h' WHERE id = 1")
    applied(f, sessions)
    assert f.redis.get("sessions:1") and f.redis.get("sessions:name=s1")
    keep(f, "sessions:1")
    sessions.execute("UPDATE sessions SET ends = now() WHERE id = 1")
    applied(f, sessions)
    assert f.redis.get("sessions:1") is None


@pytest.mark.parametrize(
    "type, past, future",
    [
        ("timestamp", "localtimestamp - interval '1 s'", "localtimestamp + interval '1 h'"),
        ("date", "current_date", "current_date + 2"),
        ("bigint", "extract(epoch from now())::bigint - 1", "extract(epoch from now())::bigint + 3600"),
        ("int", "0", "extract(epoch from now())::int + 3600"),
        ("numeric", "extract(epoch from now()) - 0.5", "'NaN'"),
        ("double precision", "extract(epoch from now()) - 0.5", "'Infinity'"),
    ],
)
def test_types_that_tell_a_time(db, freshet, type, past, future):
    db.execute(f"CREATE TABLE kinds (id int PRIMARY KEY, name text, ends {type})")
    add(db, 1, past, "kinds")
    add(db, 2, future, "kinds")
    f = with_column(freshet, db, table="public.kinds", delete_expired=True)
    assert f.redis.get("kinds:1") is None and f.redis.get("kinds:2")
    wait_until(lambda: db.value("SELECT array_agg(id) FROM kinds") == [2], what="what has ended is deleted")


def test_a_ttl_column_that_is_none_is_an_error(sessions, freshet, cli):
    def run(column):
        settings = f"cache.tables={{public.sessions: {{ttl_column: {column}}}}}"
        return cli("check", "--database", sessions.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", settings)

    assert "tells a time" not in run("ends").stdout
    for column in ("name", "nowhere"):
        ran = run(column)
        assert ran.returncode != 0 and "tells a time" in ran.stdout + ran.stderr
    f = with_column(freshet, sessions)
    add(sessions, 1, "NULL")
    keep(f, "sessions:1")
    sessions.execute("ALTER TABLE sessions DROP COLUMN ends")

    wait_until(lambda: "ttl_column" in (refusal(f, "sessions:1") or ""), what="rows are not served without their end")


# ---- what has ended is deleted, where that is asked for ----


def test_rows_are_deleted_at_a_bounded_rate_and_none_other(sessions, freshet):
    sessions.execute("INSERT INTO sessions SELECT i, 's' || i, now() - interval '1 s' FROM generate_series(1, 60) i")
    sessions.execute("INSERT INTO sessions SELECT i, 's' || i, now() + interval '1 h' FROM generate_series(61, 70) i")
    add(sessions, 71, "NULL")
    sessions.execute("CREATE TABLE bystanders (id int PRIMARY KEY, name text, ends timestamptz)")
    add(sessions, 1, "now() - interval '1 s'", "bystanders")
    sessions.execute("CREATE TABLE batches (n int)")
    sessions.execute(
        "CREATE FUNCTION count_batch() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO batches SELECT count(*) FROM gone; RETURN NULL; END $$"
    )
    sessions.execute(
        "CREATE TRIGGER counted AFTER DELETE ON sessions REFERENCING OLD TABLE AS gone EXECUTE FUNCTION count_batch()"
    )
    begun = time.monotonic()
    f = with_column(freshet, sessions, delete_expired=True, cache={"delete_rate": 40, "delete_batch": 20})
    wait_until(lambda: sessions.value("SELECT count(*) FROM sessions") == 11, what="they are deleted")
    assert time.monotonic() - begun > 0.9, "60 rows at 40 a second, in threes of 20: two rests of half a second"
    assert sessions.value("SELECT array_agg(n) FROM batches WHERE n > 0") == [20, 20, 20]
    assert sessions.value("SELECT count(*) FROM bystanders") == 1
    wait_until(lambda: f.metric("freshet_cache_rows_deleted_total") == 60, what="they are counted")


def test_rows_that_others_have_locked_are_passed_over(sessions, freshet):
    f = with_column(freshet, sessions, delete_expired=True)
    with sessions.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO sessions VALUES (0, 'mine', NULL)")
        for id in (1, 2):
            add(sessions, id, "clock_timestamp() + interval '500 ms'")
        connection.execute("SELECT FROM sessions WHERE id = 1 FOR UPDATE")
        wait_until(lambda: sessions.value("SELECT array_agg(id) FROM sessions") == [1], what="the other is deleted")
        connection.execute("UPDATE sessions SET ends = NULL WHERE id = 1")
    applied(f, sessions)
    assert json.loads(f.redis.get("sessions:1"))["ends"] is None


def test_by_default_nothing_is_deleted(sessions, freshet):
    add(sessions, 1, "now() - interval '1 s'")
    f = with_column(freshet, sessions)
    assert f.redis.get("sessions:1") is None
    named = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DELETE%'"
    assert not f.metric("freshet_cache_rows_deleted_total") and sessions.value(named) == 0
    assert sessions.value("SELECT count(*) FROM sessions") == 1


def test_a_right_that_is_missing_is_told(sessions, freshet, cli):
    add(sessions, 1, "now() - interval '1 s'")
    sessions.execute("CREATE ROLE reads_only LOGIN REPLICATION")
    try:
        sessions.execute("GRANT SELECT ON sessions TO reads_only")
        settings = "cache.tables={public.sessions: {ttl_column: ends, delete_expired: true}}"
        url = sessions.server.url(sessions.name, "reads_only")
        ran = cli("check", "--database", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", settings)
        assert "GRANT DELETE ON" in ran.stdout and "CREATE INDEX" in ran.stdout
        sessions.execute("CREATE INDEX ON sessions (ends)")
        ran = cli("check", "--database", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", settings)
        assert "CREATE INDEX" not in ran.stdout
    finally:
        sessions.execute("DROP OWNED BY reads_only")
        sessions.execute("DROP ROLE reads_only")


# ---- TTLs ----


def test_jitter_only_shortens_and_spreads(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "1000s", "ttl_jitter": 50}})
    left = [f.redis.ttl(f"customers:{i}") for i in range(1, 41) if f.redis.get(f"customers:{i}")]
    assert all(490 <= ttl <= 1000 for ttl in left)
    assert max(left) - min(left) > 100


def test_expire_shortens_and_never_lengthens(shop, freshet):
    f = freshet(shop, {"cache": {"ttl": "100s"}})
    r = f.redis
    keep(f, "customers:1")
    assert r.expire("customers:1", 1000) == 0 and r.ttl("customers:1") <= 100
    assert r.pexpireat("customers:1", 2**45) == 0 and r.ttl("customers:1") <= 100
    assert r.persist("customers:1") == 0 and 0 < r.ttl("customers:1") <= 100
    assert r.expire("customers:1", 50) == 1 and r.ttl("customers:1") <= 50
    assert r.expire("customers:1", 80) == 0 and r.ttl("customers:1") <= 50
    r.hgetall("customers:1")  # the other form comes to it, not another life
    assert r.ttl("customers:1") <= 50
    assert r.pexpire("customers:1", 50) == 1
    wait_until(lambda: r.exists("customers:1") and r.ttl("customers:1") > 50, what="it is read anew")


def test_expire_reaches_named_queries(shop, freshet):
    query = {"key": "cheap:{id}", "sql": "SELECT name FROM customers WHERE id = $1", "ttl": "20s", "depends_on": {"customers": ["id"]}}
    f = freshet(shop, {"cache": {"ttl": "100s", "queries": {"cheap": query}}})
    keep(f, "cheap:1")
    assert 10 < f.redis.ttl("cheap:1") <= 20
    assert f.redis.expire("cheap:1", 50) == 0
    assert f.redis.expire("cheap:1", 5) == 1 and f.redis.ttl("cheap:1") <= 5
