"""A few connections serve many clients: misses that meet become one statement; what a session is like; PgBouncer."""

import json
import selectors
import time

import psycopg
import pytest
import redis

from support.pgbouncer import PgBouncer
from support.rows import applied, keep
from support.waiting import wait_until

QUERIES = "freshet_cache_fill_queries_total"
CLIENTS = 1000


def connections(db, name="freshet"):
    """Those that read rows: the only ones that may not write."""
    return db.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
        " AND backend_type = 'client backend'",
        [db.name, name],
    )


def command(*words):
    parts = [f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]
    return "".join(parts).encode()


def ask_from_all(f, keys, asked=lambda: None):
    """Each key by a client of its own, all at once; returns their answers in order. Calls `asked` when all have asked."""
    sockets = [f.socket() for _ in keys]
    answers = [b""] * len(keys)
    with selectors.DefaultSelector() as selector:
        for i, one in enumerate(sockets):
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ, i)
        for one, key in zip(sockets, keys):
            one.send(command("GET", key))
        asked()
        deadline = time.monotonic() + 30
        while selector.get_map() and time.monotonic() < deadline:
            for found, _ in selector.select(1):
                answers[found.data] += found.fileobj.recv(65536)
                if answers[found.data].endswith(b"\r\n") and answers[found.data].count(b"\r\n") == 2:
                    selector.unregister(found.fileobj)
    for one in sockets:
        one.close()
    return [json.loads(answer.split(b"\r\n")[1]) for answer in answers]


def test_a_thousand_clients_share_a_few_connections(shop, freshet):
    f = freshet(shop, {"database": {"pool": 2}, "cache": {"workers": 2}})
    keys = [f"customers:{i}" for i in range(1, CLIENTS + 1)]
    with shop.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")

        def release():
            wait_until(lambda: f.metric("freshet_cache_clients_waiting") == CLIENTS, what="all wait")
            holder.execute("COMMIT")

        rows = ask_from_all(f, keys, release)
    assert [row["id"] for row in rows] == list(range(1, CLIENTS + 1))
    queries = f.metric(QUERIES)
    assert queries <= 2 * 2 * 2 + 4, "misses that meet are read together"
    assert [row["id"] for row in ask_from_all(f, keys)] == list(range(1, CLIENTS + 1))
    assert f.metric(QUERIES) == queries
    # Two workers with two each; beside them the two that look at the catalog and the position.
    assert connections(shop) <= 2 * 2 + 2
    assert f.metric("freshet_cache_pool_connections") <= 4


def test_misses_of_one_turn_are_one_statement(shop, freshet):
    f = freshet(shop, {"cache": {"workers": 1}})
    keep(f, "customers:2000")
    with f.redis.pipeline(transaction=False) as pipe:
        for i in range(1, 401):
            pipe.get(f"customers:{i}")
        before = f.metric(QUERIES)
        rows = [json.loads(text) for text in pipe.execute()]
    assert [row["id"] for row in rows] == list(range(1, 401))
    assert f.metric(QUERIES) - before <= 20
    items = shop.rows("SELECT * FROM order_items ORDER BY 1, 2 LIMIT 300")
    first, second = list(items[0])[:2]
    with f.redis.pipeline(transaction=False) as pipe:
        for item in items:
            pipe.hgetall(f"order_items:{item[first]}:{item[second]}")
        before = f.metric(QUERIES)
        answers = pipe.execute()
    assert [answer[second] for answer in answers] == [str(item[second]) for item in items]
    assert f.metric(QUERIES) - before <= 20


def test_sessions_are_named_read_only_and_end_long_statements(shop, freshet):
    shop.execute("CREATE TABLE written (id int PRIMARY KEY)")
    shop.execute(
        "CREATE FUNCTION write_one() RETURNS int LANGUAGE sql VOLATILE AS"
        " 'INSERT INTO written VALUES (1) ON CONFLICT DO NOTHING RETURNING 1'"
    )
    queries = {
        "sleeper": {"key": "sleeper:{n}", "sql": "SELECT $1::int AS n, pg_sleep(20)", "ttl": "1s"},
        "writer": {"key": "writer:{n}", "sql": "SELECT $1::int AS n, write_one()", "ttl": "1s"},
    }
    database = {"statement_timeout": "300ms", "application_name": "orders cache"}
    f = freshet(shop, {"database": database, "cache": {"queries": queries}})
    assert f.row("customers:1")["id"] == 1
    assert connections(shop, "orders cache") >= 1
    assert connections(shop) == 0
    begun = time.monotonic()
    with pytest.raises(redis.ResponseError, match="sleeper: canceling statement due to statement timeout"):
        f.redis.get("sleeper:1")
    assert time.monotonic() - begun < 5
    with pytest.raises(redis.ResponseError, match="writer: cannot execute INSERT in a read-only transaction"):
        f.redis.get("writer:1")
    assert shop.value("SELECT count(*) FROM written") == 0
    assert f.row("customers:2")["id"] == 2


def test_prepared_statements_survive_changed_tables(db, freshet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
    db.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 50) i")
    f = freshet(db, {"cache": {"catalog_poll_interval": "60s", "workers": 1}, "database": {"pool": 1}})
    assert f.redis.hgetall("t:1") == {"id": "1", "a": "1"}
    # The statement is prepared; "cached plan must not change result type" is answered by a new one.
    for round, (change, wanted) in enumerate(
        [
            ("ALTER TABLE t ALTER a TYPE text USING a || 'x'", "{}x"),
            ("ALTER TABLE t ALTER a TYPE varchar(10) USING a || 'y'", "{}xy"),
            ("ALTER TABLE t ALTER a TYPE int USING length(a)", None),
        ]
    ):
        db.execute(change)
        for i in range(10 * round + 2, 10 * round + 12):
            wait_until(lambda: f.redis.hgetall(f"t:{i}")["a"] == (wanted.format(i) if wanted else str(len(f"{i}xy"))))
    assert f.metric("freshet_cache_fills_failed_total") == 0


def test_connections_that_are_ended_are_made_again_unnoticed(shop, freshet):
    f = freshet(shop)
    for round in range(5):
        assert f.row(f"customers:{round + 1}")["id"] == round + 1
        shop.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'freshet'"
            " AND pid <> pg_backend_pid()",
            [shop.name],
        )
        assert f.row(f"customers:{round + 100}")["id"] == round + 100
    assert f.metric("freshet_cache_fills_total", outcome="failed") == 0


# ---- PgBouncer ----


@pytest.fixture
def bouncer(workshop, postgres):
    one = PgBouncer(workshop, postgres)
    yield one
    one.stop()


@pytest.fixture
def pooled(bouncer, shop, freshet):
    return freshet(shop, {"database": {"pooler": bouncer.url(shop.name)}})


def test_rows_are_read_through_pgbouncer_in_transaction_mode(bouncer, shop, pooled):
    f = pooled
    plain = {row["id"]: row["name"] for row in shop.rows("SELECT id, name FROM customers")}
    rows = ask_from_all(f, [f"customers:{i}" for i in range(1, 201)])
    assert {row["id"]: row["name"] for row in rows} == {i: plain[i] for i in range(1, 201)}
    assert f.redis.hget("customers:300", "name") == plain[300]
    assert None not in f.redis.mget("customers:301", "orders:1", "products:1")
    assert f.row("customers:99999") is None
    # One bad value ends a transaction of the pooler's; the next one is not its heir.
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="is not an integer|out of range"):
            f.redis.get("customers:99999999999999999999")
        assert f.row("customers:400")["id"] == 400
        f.redis.delete("customers:400")
    # What is asked of a session is asked of each transaction; nothing of it stays with the pooler.
    with psycopg.connect(bouncer.url(shop.name), autocommit=True, prepare_threshold=None) as other:
        for _ in range(5):
            assert other.execute("SHOW statement_timeout").fetchone()[0] == "0"
            assert other.execute("SHOW default_transaction_read_only").fetchone()[0] == "off"
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] == 0


def test_coherence_holds_through_pgbouncer(shop, pooled):
    f = pooled
    for round in range(10):
        keep(f, "customers:1")
        shop.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
        applied(f, shop)
        assert f.row("customers:1")["name"] == f"v{round}"
    shop.execute("ALTER TABLE customers ADD nickname text DEFAULT 'nick'")
    wait_until(lambda: f.redis.hget("customers:2", "nickname") == "nick")


def test_pgbouncer_may_go_and_come(bouncer, shop, pooled):
    f = pooled
    assert f.row("customers:1")["id"] == 1
    bouncer.stop()
    assert f.row("customers:1")["id"] == 1
    bouncer.start()
    wait_until(lambda: f.row("customers:2")["id"] == 2)


def test_check_looks_where_the_pooler_leads(bouncer, shop, make_postgres, workshop, cli):
    args = ("check", "--database", shop.url, "--set")
    done = cli(*args, f"database.pooler={bouncer.url(shop.name)}")
    assert f"ok    pooler              127.0.0.1:{bouncer.port} leads to the database" in done.stdout
    other = make_postgres()
    astray = PgBouncer(workshop, other)
    try:
        done = cli(*args, f"database.pooler={astray.url('postgres')}")
        assert "FAIL  pooler              it leads to another server" in done.stdout
    finally:
        astray.stop()
