"""Tables as they are: of every kind, name and right that PostgreSQL knows, read with no more configuration than that takes."""

import json

import pytest
import redis

from support.rows import applied, explain, keep, refusal, state
from support.waiting import wait_until
from test_verify import verify


@pytest.fixture
def role(db):
    """A role that may replicate and read nothing yet."""
    name = f"reader_{db.name}"
    db.execute(f"CREATE ROLE {name} LOGIN REPLICATION")
    yield name
    db.execute(f"DROP OWNED BY {name}")
    db.execute(f"DROP ROLE {name}")


def as_role(db, role):
    return {"database": {"url": db.server.url(db.name, role)}}


def publish(db, *tables):
    """What `check` tells the owner to run where Freshet's role owns nothing."""
    db.execute(f"CREATE PUBLICATION freshet_cache FOR TABLE {', '.join(tables)} WITH (publish_via_partition_root = true)")


def kept_and_evicted(f, db, key, sql, column, value):
    """The row is kept; the statement evicts it; the next read, and the one after, see the new value in both forms."""
    keep(f, key)
    keep(f, key, "HGETALL")
    db.execute(sql)
    applied(f, db)
    for _ in range(2):
        assert str(f.row(key)[column]) == str(value)
        assert f.redis.hget(key, column) == str(value)


# ---- partitions ----

PARTITIONED = """
CREATE TABLE sales (region text, id int, total int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE sales_eu PARTITION OF sales FOR VALUES IN ('eu') PARTITION BY RANGE (id);
CREATE TABLE sales_eu_1 PARTITION OF sales_eu FOR VALUES FROM (0) TO (100);
CREATE TABLE sales_us PARTITION OF sales FOR VALUES IN ('us');
CREATE TABLE sales_rest PARTITION OF sales DEFAULT;
INSERT INTO sales VALUES ('eu', 1, 10), ('us', 1, 20), ('xx', 1, 30);
"""


def test_rows_of_partitions_are_kept_by_their_root_however_they_are_written(db, freshet):
    db.execute(PARTITIONED)
    f = freshet(db)
    kept_and_evicted(f, db, "sales:eu:1", "UPDATE sales SET total = 11 WHERE region = 'eu'", "total", 11)
    kept_and_evicted(f, db, "sales:eu:1", "UPDATE sales_eu_1 SET total = 12", "total", 12)
    kept_and_evicted(f, db, "sales:xx:1", "UPDATE sales_rest SET total = 31", "total", 31)


def test_a_row_that_moves_to_another_partition_is_seen_at_both_keys(db, freshet):
    db.execute(PARTITIONED)
    f = freshet(db)
    keep(f, "sales:us:1")
    keep(f, "sales:us:7")
    db.execute("UPDATE sales SET region = 'us', id = 7 WHERE region = 'xx'")
    db.execute("UPDATE sales SET region = 'zz' WHERE region = 'us' AND id = 1")
    applied(f, db)
    assert f.row("sales:us:1") is None
    assert f.row("sales:us:7")["total"] == 30
    assert f.row("sales:zz:1")["total"] == 20


def test_a_partition_is_read_by_its_own_name_too(db, freshet):
    db.execute(PARTITIONED)
    db.execute("CREATE UNIQUE INDEX ON sales (region, total, id)")
    f = freshet(db)
    assert f.row("sales_eu_1:eu:1") == f.row("sales:eu:1") == {"region": "eu", "id": 1, "total": 10}
    assert f.row("sales_eu:eu:1")["total"] == 10
    assert f.row("sales_us:eu:1") is None and f.row("sales_us:us:1")["total"] == 20
    kept_and_evicted(f, db, "sales_eu_1:eu:1", "UPDATE sales SET total = 11 WHERE region = 'eu'", "total", 11)
    kept_and_evicted(f, db, "sales_eu:eu:1", "UPDATE sales_eu_1 SET total = 12", "total", 12)
    assert explain(f, "sales_eu:eu:1")["touched_by"] == "public.sales: this row"
    keep(f, "sales_us:us:5")
    keep(f, "sales_eu_1:eu:5")
    keep(f, "sales_rest:xx:1")
    db.execute("INSERT INTO sales VALUES ('us', 5, 50)")
    db.execute("UPDATE sales SET region = 'eu', id = 5 WHERE region = 'xx'")
    applied(f, db)
    assert f.row("sales_us:us:5")["total"] == 50
    assert f.row("sales_eu_1:eu:5")["total"] == 30 and f.row("sales_rest:xx:1") is None
    keep(f, "sales_us:us:5")
    db.execute("TRUNCATE sales")
    applied(f, db)
    assert f.row("sales_us:us:5") is None
    found = verify(f)
    assert (found["stale"], found["unread"]) == (0, 0)
    db.execute("ALTER TABLE sales_us RENAME TO sales_them")
    wait_until(lambda: f.redis.get("sales_us:us:5") is None and state(f, "sales_them:us:1") != "missing", what="it is renamed")
    with pytest.raises(redis.exceptions.ReadOnlyError):
        f.redis.set("sales_them:us:1", "{}")


def test_partitions_that_come_and_go(db, freshet):
    db.execute(PARTITIONED)
    f = freshet(db)
    keep(f, "sales:us:1")
    db.execute("ALTER TABLE sales DETACH PARTITION sales_us")
    wait_until(lambda: f.row("sales:us:1") is None, what="the detached rows are gone")
    wait_until(lambda: f.row("sales_us:us:1"), what="it is a table of its own")
    kept_and_evicted(f, db, "sales_us:us:1", "UPDATE sales_us SET total = 21", "total", 21)
    db.execute("ALTER TABLE sales ATTACH PARTITION sales_us FOR VALUES IN ('us')")
    wait_until(lambda: (f.row("sales:us:1") or {}).get("total") == 21, what="the rows are back")
    wait_until(lambda: len(f.status()["cache"]["read_through"]["tables"]) == 1, what="the poll has seen it")
    kept_and_evicted(f, db, "sales:us:1", "UPDATE sales_us SET total = 22", "total", 22)
    db.execute("DROP TABLE sales_us")
    wait_until(lambda: f.row("sales:us:1") is None, what="the dropped rows are gone")


# ---- inheritance ----


def test_tables_that_inherit_are_tables_of_their_own(db, freshet):
    db.execute("CREATE TABLE animals (id int PRIMARY KEY, name text)")
    db.execute("CREATE TABLE birds (wings int, PRIMARY KEY (id)) INHERITS (animals)")
    db.execute("CREATE TABLE stones () INHERITS (animals)")
    db.execute("INSERT INTO animals VALUES (1, 'cow')")
    db.execute("INSERT INTO birds VALUES (2, 'owl', 2)")
    db.execute("INSERT INTO stones VALUES (3, 'flint')")
    f = freshet(db)
    assert f.row("animals:1") == {"id": 1, "name": "cow"}
    # What `SELECT ... FROM animals` would find as well is another table's row, here as in the change stream.
    keep(f, "animals:2")
    assert f.row("animals:2") is None
    assert f.row("birds:2") == {"id": 2, "name": "owl", "wings": 2}
    assert f.row("stones:3") is None
    kept_and_evicted(f, db, "birds:2", "UPDATE animals SET name = 'hawk' WHERE id = 2", "name", "hawk")
    kept_and_evicted(f, db, "animals:1", "UPDATE animals SET name = 'ox'", "name", "ox")
    assert db.value("SELECT name FROM stones") == "ox", "its updates are not refused"


# ---- names ----


def test_any_name_of_schema_table_and_column(db, freshet):
    db.execute('CREATE SCHEMA "My Schema"')
    db.execute('CREATE SCHEMA app')
    db.execute('CREATE TABLE "My Schema"."Odd:Ta""ble" ("I d" int PRIMARY KEY, "select" text, "%s{é}" text)')
    db.execute("""INSERT INTO "My Schema"."Odd:Ta""ble" VALUES (1, 'a', 'b')""")
    db.execute("CREATE TABLE app.users (id int PRIMARY KEY, v int); INSERT INTO app.users VALUES (1, 1)")
    db.execute("CREATE TABLE public.users (id int PRIMARY KEY, v int); INSERT INTO public.users VALUES (1, 2)")
    f = freshet(db)
    key = 'My Schema.Odd:Ta"ble:1'
    assert f.row(key) == {"I d": 1, "select": "a", "%s{é}": "b"}
    assert f.row('My Schema.Odd:Ta"ble:I d=1')["select"] == "a"
    kept_and_evicted(f, db, key, """UPDATE "My Schema"."Odd:Ta""ble" SET "%s{é}" = 'c'""", "%s{é}", "c")
    assert (f.row("app.users:1")["v"], f.row("users:1")["v"]) == (1, 2)
    kept_and_evicted(f, db, "app.users:1", "UPDATE app.users SET v = 3", "v", 3)
    assert f.row("users:1")["v"] == 2
    db.execute("ALTER TABLE app.users RENAME TO people")
    wait_until(lambda: f.row("app.people:1"), what="the new name is read")
    wait_until(lambda: f.redis.get("app.users:1") is None, what="the old one is an ordinary prefix")


# ---- columns ----


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_generated_columns(postgres, db, freshet):
    virtual = ", half numeric GENERATED ALWAYS AS (price / 2) VIRTUAL" if postgres.version == "18" else ""
    db.execute(f"CREATE TABLE goods (id int PRIMARY KEY, price int, gross int GENERATED ALWAYS AS (price * 2) STORED{virtual})")
    db.execute("CREATE TABLE keyed (a int, id int GENERATED ALWAYS AS (a + 100) STORED PRIMARY KEY)")
    db.execute("CREATE TABLE coded (id int PRIMARY KEY, a int, code int GENERATED ALWAYS AS (a * 10) STORED UNIQUE)")
    db.execute("INSERT INTO goods VALUES (1, 5); INSERT INTO keyed VALUES (1); INSERT INTO coded VALUES (1, 1)")
    f = freshet(db)
    kept_and_evicted(f, db, "goods:1", "UPDATE goods SET price = 7", "gross", 14)
    if virtual:
        assert f.redis.get("goods:1") == db.value("SELECT row_to_json(goods)::text FROM goods")
    assert f.row("keyed:101") == {"a": 1, "id": 101}
    db.execute("UPDATE keyed SET a = 2")
    applied(f, db)
    assert f.row("keyed:101") is None and f.row("keyed:102") == {"a": 2, "id": 102}
    for _ in range(3):
        assert f.row("coded:code=10")["id"] == 1
        assert f.row("coded:code=20") is None
    db.execute("UPDATE coded SET a = 2")
    applied(f, db)
    assert f.row("coded:code=10") is None
    assert f.row("coded:code=20")["id"] == 1
    db.execute("INSERT INTO coded VALUES (2, 1)")
    applied(f, db)
    assert f.row("coded:code=10")["id"] == 2


def test_a_configured_subset_of_columns_under_another_prefix(db, freshet):
    db.execute("CREATE SCHEMA app; CREATE TABLE app.users (id int PRIMARY KEY, name text, secret text, n int)")
    db.execute("INSERT INTO app.users VALUES (1, 'ann', 'hush', 1)")
    f = freshet(db, {"cache": {"tables": {"app.users": {"prefix": "u.v1", "columns": ["n", "id", "name"]}}}})
    assert f.row("u.v1:1") == {"id": 1, "name": "ann", "n": 1}
    assert f.redis.hgetall("u.v1:1") == {"id": "1", "name": "ann", "n": "1"}
    assert f.redis.hget("u.v1:1", "secret") is None
    assert f.redis.get("app.users:1") is None
    kept_and_evicted(f, db, "u.v1:1", "UPDATE app.users SET n = 2", "n", 2)


# ---- what the change stream does not have ----


def test_a_temporary_table_is_nobody_elses(db, freshet):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, v int); INSERT INTO users VALUES (1, 1)")
    f = freshet(db, {"cache": {"catalog_poll_interval": "100ms"}})
    keep(f, "users:1")
    db.execute("CREATE TEMPORARY TABLE users (id int PRIMARY KEY, v int)")
    db.execute("INSERT INTO pg_temp.users VALUES (1, 2); CREATE TEMPORARY TABLE mine (id int PRIMARY KEY)")
    db.execute("CREATE TABLE marker (id int PRIMARY KEY); INSERT INTO marker VALUES (1)")
    wait_until(lambda: f.row("marker:1"), what="the catalog was read")
    assert f.row("users:1")["v"] == 1
    assert f.row("mine:1") is None
    assert state(f, "mine:1") == "missing"
    kept_and_evicted(f, db, "users:1", "UPDATE public.users SET v = 3", "v", 3)


def test_a_table_without_a_key_is_an_ordinary_prefix(db, freshet):
    db.execute("CREATE TABLE bag (id int, v int); INSERT INTO bag VALUES (1, 1)")
    f = freshet(db)
    assert f.redis.get("bag:1") is None
    f.redis.set("bag:1", "mine")
    assert f.redis.get("bag:1") == "mine"
    db.execute("UPDATE bag SET v = 2")
    # With a key it is read from then on.
    db.execute("ALTER TABLE bag ADD PRIMARY KEY (id)")
    wait_until(lambda: f.redis.get("bag:1") == '{"id":1,"v":2}', what="it is a row now")
    kept_and_evicted(f, db, "bag:1", "UPDATE bag SET v = 3", "v", 3)


def test_an_unlogged_table_is_kept_for_a_ttl_and_says_so(db, freshet, cli):
    db.execute("CREATE UNLOGGED TABLE sessions (id int PRIMARY KEY, v int); INSERT INTO sessions VALUES (1, 1)")
    db.execute("CREATE UNLOGGED TABLE carts (id int PRIMARY KEY, v int); INSERT INTO carts VALUES (1, 1)")
    f = freshet(db, {"cache": {"max_staleness": "500ms", "tables": {"public.carts": {"ttl": "1h"}}}})
    keep(f, "sessions:1")
    keep(f, "sessions:2")
    told = explain(f, "sessions:1")
    assert told["coherence"] == "ttl" and "TTL" in told["bound"] and "unlogged" in told["touched_by"]
    # With no TTL of its own it is no older than memory may be at all.
    assert 0 < int(told["ttl_ms"]) <= 500
    assert 0 < int(explain(f, "sessions:2")["ttl_ms"]) <= 500
    db.execute("UPDATE sessions SET v = 2; INSERT INTO sessions VALUES (2, 2); UPDATE carts SET v = 2")
    wait_until(lambda: f.row("sessions:1")["v"] == 2 and f.row("sessions:2"), 5, what="their time is over")
    db.execute("UPDATE carts SET v = 1")
    keep(f, "carts:1")
    db.execute("UPDATE carts SET v = 3")
    assert f.row("carts:1")["v"] == 1 and f.redis.ttl("carts:1") > 3000
    read = f.client().execute_command("FRESHET.READ", "BOUNDED", 1000, "carts:1")
    assert json.loads(read[0])["v"] == 3
    f.redis.delete("carts:1")
    assert f.row("carts:1")["v"] == 3
    ran = cli("check", "--database", db.url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert ran.stdout.count("kept for a TTL") == 2
    db.execute("ALTER TABLE sessions SET LOGGED")
    wait_until(lambda: "this row" in explain(f, "sessions:1")["touched_by"], what="it is in the stream now")
    kept_and_evicted(f, db, "sessions:1", "UPDATE sessions SET v = 9 WHERE id = 1", "v", 9)


UNSTREAMED = """
CREATE TABLE t (id int PRIMARY KEY, kind int, v int);
INSERT INTO t VALUES (1, 1, 10), (2, 1, 20);
CREATE VIEW sums AS SELECT kind, sum(v) AS total FROM t GROUP BY kind;
CREATE MATERIALIZED VIEW old_sums AS SELECT * FROM sums;
CREATE EXTENSION IF NOT EXISTS file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE abroad (kind int, total int) SERVER files OPTIONS (filename '{path}', format 'csv');
"""


def test_views_and_foreign_tables_are_read_by_named_queries(db, freshet, tmp_path):
    path = db.server.data.parent / f"{db.name}.csv"
    path.write_text("1,77\n")
    path.chmod(0o644)
    db.execute(UNSTREAMED.replace("{path}", str(path)))
    sql = "SELECT total FROM {} WHERE kind = $1"
    queries = {
        "view_ttl": {"key": "view_ttl:{kind}", "sql": sql.format("sums"), "shape": "value", "ttl": "500ms"},
        "view_stream": {"key": "view_stream:{kind}", "sql": sql.format("sums"), "shape": "value", "depends_on": {"t": ["kind"]}},
        "matview": {"key": "matview:{kind}", "sql": sql.format("old_sums"), "shape": "value", "depends_on": {"old_sums": "all"}},
        "abroad": {"key": "abroad:{kind}", "sql": sql.format("abroad"), "shape": "value", "depends_on": {"abroad": "all"},
                   "ttl": "1h"},
    }
    f = freshet(db, {"cache": {"queries": queries}})
    for key, value in (("view_ttl:1", "30"), ("view_stream:1", "30"), ("matview:1", "30"), ("abroad:1", "77")):
        assert keep(f, key) == value
    for key in ("view_ttl:1", "matview:1", "abroad:1"):
        told = explain(f, key)
        assert told["coherence"] == "ttl" and "TTL" in told["touched_by"], key
    assert 0 < int(explain(f, "matview:1")["ttl_ms"]) <= 2000
    assert explain(f, "view_stream:1")["touched_by"] == "public.t by kind"
    db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    db.execute("UPDATE t SET v = 11 WHERE id = 1")
    applied(f, db)
    assert f.redis.get("view_stream:1") == "31"
    wait_until(lambda: f.redis.get("view_ttl:1") == "31", what="its TTL is over")
    db.execute("REFRESH MATERIALIZED VIEW old_sums")
    wait_until(lambda: f.redis.get("matview:1") == "31", what="its time is over")
    path.write_text("1,88\n")
    assert f.redis.get("abroad:1") == "77"
    f.redis.delete("abroad:1")
    assert f.redis.get("abroad:1") == "88"
    for name in ("sums", "old_sums"):
        assert f.redis.get(f"{name}:1") is None


# ---- rights ----


def test_a_column_without_the_right_to_select_leaves_the_rest_readable(db, freshet, role, cli):
    db.execute("CREATE TABLE staff (id int PRIMARY KEY, name text, salary int, badge text UNIQUE)")
    db.execute("INSERT INTO staff VALUES (1, 'ann', 5000, 'b7')")
    publish(db, "staff")
    db.execute(f"GRANT SELECT (id, name) ON staff TO {role}")
    f = freshet(db, as_role(db, role))
    assert f.row("staff:1") == {"id": 1, "name": "ann"}
    assert f.redis.hgetall("staff:1") == {"id": "1", "name": "ann"}
    with pytest.raises(redis.ResponseError, match="^staff: Freshet's role may not SELECT column salary"):
        f.redis.hget("staff:1", "salary")
    with pytest.raises(redis.ResponseError, match="^staff: Freshet's role may not SELECT column salary"):
        f.redis.hmget("staff:1", "name", "salary")
    with pytest.raises(redis.ResponseError, match="^staff: .*badge"):
        f.redis.get("staff:badge=b7")
    assert f.redis.hget("staff:1", "nothing") is None
    kept_and_evicted(f, db, "staff:1", "UPDATE staff SET name = 'eve'", "name", "eve")
    ran = cli("check", "--database", db.server.url(db.name, role), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert f'GRANT SELECT ("salary", "badge") ON "public"."staff" TO "{role}";' in ran.stdout
    # Rights that come and go are found by the poll of the catalog.
    db.execute(f"GRANT SELECT (salary) ON staff TO {role}")
    wait_until(lambda: f.row("staff:1").get("salary") == 5000, what="the column is readable")
    db.execute(f"REVOKE SELECT (name) ON staff FROM {role}")
    wait_until(lambda: f.row("staff:1") == {"id": 1, "salary": 5000}, what="the column is not readable any more")
    db.execute(f"REVOKE SELECT (id) ON staff FROM {role}")

    wait_until(lambda: "SELECT" in (refusal(f, "staff:1") or ""), what="without its key it cannot be read")
    assert "id" in refusal(f, "staff:1")
    db.execute(f"GRANT SELECT ON staff TO {role}")
    wait_until(lambda: not refusal(f, "staff:1") and f.row("staff:1")["badge"] == "b7", what="it is whole again")


def test_rows_are_read_as_freshets_role_under_row_level_security(db, freshet, role):
    db.execute("CREATE TABLE notes (id int PRIMARY KEY, owner text, v int)")
    db.execute(f"INSERT INTO notes VALUES (1, '{role}', 1), (2, 'else', 1)")
    publish(db, "notes")
    db.execute(f"GRANT SELECT ON notes TO {role}")
    db.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
    db.execute("CREATE POLICY own ON notes USING (owner = current_user)")
    f = freshet(db, as_role(db, role))
    assert f.row("notes:1")["v"] == 1
    keep(f, "notes:2")
    assert state(f, "notes:2") == "absent"
    kept_and_evicted(f, db, "notes:1", "UPDATE notes SET v = 2 WHERE id = 1", "v", 2)
    db.execute(f"UPDATE notes SET owner = '{role}' WHERE id = 2")
    applied(f, db)
    assert f.row("notes:2") is not None
    db.execute("DROP POLICY own ON notes")
    wait_until(lambda: f.row("notes:1") is None, what="a changed policy is found by the poll")
