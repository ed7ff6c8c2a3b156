"""View tables: a table, or a named query's rows, kept in a table of PostgreSQL, with the position beside it."""

import threading

import psycopg
import pytest

USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(20), age int, note text)"
FILL = "INSERT INTO users SELECT i, 'name ' || i, i %% 90, NULL FROM generate_series(1, %s) i"


class View:
    """One Freshet that keeps a table, and what is asked of it."""

    def __init__(self, freshet, db, slot, target=None, queries=None, roles=("connectors",), **options):
        self.db, self.target = db, target or db
        connector = {"name": "v", "type": "view", "into": "public.copy", "slot": slot, **options}
        if target:
            connector["url"] = target.url
        config = {"roles": list(roles), "connectors": [connector]}
        if queries:
            config["cache"] = {"queries": queries}
        self.freshet = freshet(db, config, start=False)
        self.freshet.config["state_dir"] = str(self.freshet.folder / "state")
        self.freshet.write_config()
        self.freshet.start(wait=False)

    def metric(self, name):
        return self.freshet.metric(f"freshet_connector_{name}", connector="v")

    def letters(self):
        path = self.freshet.folder / "state" / "v.deadletters.jsonl"
        return path.read_text().splitlines() if path.exists() else []


def rows(db, sql):
    return [tuple(row.values()) for row in db.rows(sql)]


@pytest.fixture
def view(freshet, unique, wait_until, db):
    def make(expected, kept, **options):
        one = View(freshet, options.pop("db", db), f"{unique}_slot", **options)

        def equal():
            try:
                found = rows(one.target, kept)
            except psycopg.errors.UndefinedTable:
                return False
            wanted = rows(one.db, expected)
            assert found == wanted, f"{found[:3]} is not {wanted[:3]}"
            return True

        one.wait_equal = lambda timeout=30: wait_until(equal, timeout, "the target equals the source", 0.05)
        return one

    return make


def users_view(view, **options):
    return view("SELECT * FROM users ORDER BY id", "SELECT * FROM copy ORDER BY id", table="public.users", **options)


# ---- a table ----


def test_a_table_is_copied_and_followed(db, view):
    db.execute(USERS)
    db.execute(FILL, [500])
    copy = users_view(view)
    copy.wait_equal()
    db.execute("INSERT INTO users VALUES (1001, E'a \"b\" \\\\ {,}\\n', NULL, '')")
    db.execute("UPDATE users SET name = 'changed' WHERE id = 7")
    db.execute("DELETE FROM users WHERE id = 8")
    db.execute("UPDATE users SET id = 2009 WHERE id = 9")
    copy.wait_equal()
    db.execute_many("UPDATE users SET id = id + 10000 WHERE id < 100", "UPDATE users SET age = 0 WHERE id > 10050")
    copy.wait_equal()
    db.execute("TRUNCATE users")
    copy.wait_equal()
    db.execute(FILL, [3])
    copy.wait_equal()
    assert copy.metric("loads_total") == 1
    assert copy.letters() == []
    columns = db.rows("SELECT column_name AS c, data_type AS t FROM information_schema.columns WHERE table_name = 'copy'")
    assert {row["c"]: row["t"] for row in columns} == {
        "id": "bigint", "name": "character varying", "age": "integer", "note": "text",
    }


def test_every_type_arrives_as_it_is(db, view):
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    db.execute(
        """CREATE TABLE users (id serial PRIMARY KEY, a bool, b numeric(10,2), c text[], d jsonb, e bytea, f timestamptz,
           g mood, h interval, i int4range, j char(5), k bit(3), l float8, m uuid, n inet, o date, p mood[])"""
    )
    insert = """INSERT INTO users (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) VALUES (true, 12.50,
        ARRAY['a', NULL, 'b "c" \\ ,{}', 'NULL', ''], '{"a": [1, null]}', '\\x00ff', '2026-11-21 07:41:07.5+05:30', 'happy',
        '1 year 2 days 03:04:05', '[1,5)', 'ab', B'101', 'NaN', 'd7e31f01-82ff-41be-8b39-ac65a0365b50', '::1', 'infinity',
        '{happy,NULL}'), (NULL, NULL, '{}', 'null', '', '-infinity', NULL, NULL, 'empty', '', B'000', 1e300, NULL,
        '10.0.0.0/8', '0044-03-15 BC', '{}')"""
    db.execute(insert)
    texts = "SELECT t::text FROM {} t ORDER BY id"
    copy = view(texts.format("users"), texts.format("copy"), table="public.users")
    copy.wait_equal()
    db.execute(insert)
    copy.wait_equal()
    assert copy.letters() == []


def test_a_source_transaction_is_seen_as_a_whole_or_not_at_all(db, view, wait_until):
    """However it is cut into batches; and its position moves with it."""
    db.execute(USERS)
    db.execute(FILL, [1000])
    copy = users_view(view, batch="1KiB", batch_interval="1ms")
    copy.wait_equal()
    done = threading.Event()
    mixed = []

    def watch():
        with psycopg.connect(db.url, autocommit=True) as reader:
            while not done.is_set():
                ages = reader.execute("SELECT DISTINCT age FROM copy WHERE id <= 300").fetchall()
                if len(ages) > 1 and 1000 not in [age for (age,) in ages]:
                    mixed.append(ages)

    db.execute("UPDATE users SET age = 1001 WHERE id <= 300")
    copy.wait_equal()
    watcher = threading.Thread(target=watch)
    watcher.start()
    for age in range(1002, 1012):
        db.execute("UPDATE users SET age = %s WHERE id <= 300", [age])
    copy.wait_equal()
    done.set()
    watcher.join()
    assert not mixed


def test_kill_9_at_any_moment_loses_and_repeats_nothing(db, view):
    db.execute(USERS)
    db.execute(FILL, [2000])
    copy = users_view(view, batch="8KiB", batch_interval="5ms")
    for round in range(4):
        db.execute("UPDATE users SET age = %s, note = repeat('x', %s) WHERE id %% 3 = %s", [round, round * 10, round % 3])
        db.execute("DELETE FROM users WHERE id = %s", [round + 1])
        db.execute("INSERT INTO users VALUES (%s, 'new', 1, NULL)", [5000 + round])
        copy.freshet.kill9()
        copy.freshet.start(wait=False)
    copy.wait_equal(60)
    assert copy.letters() == []


def test_another_database_is_a_target_and_one_that_lost_its_table_is_loaded_anew(db, postgres, view, wait_until):
    other = postgres.create_database()
    try:
        db.execute(USERS)
        db.execute(FILL, [100])
        copy = users_view(view, target=other)
        copy.wait_equal()
        other.execute("DROP TABLE copy")
        db.execute("UPDATE users SET age = 5 WHERE id = 1")
        copy.wait_equal(60)
        assert copy.metric("loads_total") == 2
        copy.freshet.stop()
    finally:
        other.drop()


def test_a_table_of_positions_of_an_older_freshet_gets_its_new_column(db, view):
    db.execute(USERS)
    db.execute(FILL, [50])
    copy = users_view(view)
    copy.wait_equal()
    copy.freshet.stop()
    db.execute("ALTER TABLE freshet_positions DROP COLUMN note")
    db.execute("UPDATE users SET age = 5 WHERE id = 1")
    copy.freshet.start(wait=False)
    copy.wait_equal()
    assert copy.metric("loads_total") == 0


def test_a_table_with_rows_of_others_is_left_alone(db, view, wait_until):
    db.execute(USERS)
    db.execute("CREATE TABLE copy (id bigint PRIMARY KEY, name text, age int, note text)")
    db.execute("INSERT INTO copy VALUES (77, 'mine', 1, NULL)")
    copy = users_view(view)
    wait_until(lambda: "would lose them" in str(copy.freshet.status()["connectors"][0]), 30)
    assert rows(db, "SELECT id FROM copy") == [(77,)]


def test_a_row_that_the_target_refuses_is_a_dead_letter_and_the_rest_arrives(db, view, wait_until):
    db.execute(USERS)
    db.execute("CREATE TABLE copy (id bigint PRIMARY KEY, name text, age int CHECK (age < 1000), note text)")
    db.execute(FILL, [50])
    copy = view("SELECT * FROM users WHERE age < 1000 ORDER BY id", "SELECT * FROM copy ORDER BY id", table="public.users")
    copy.wait_equal()
    db.execute("INSERT INTO users SELECT i, 'n', CASE WHEN i = 120 THEN 5000 ELSE 1 END, NULL FROM generate_series(101, 150) i")
    copy.wait_equal()
    wait_until(lambda: len(copy.letters()) == 1, 30)
    assert '"120"' in copy.letters()[0]


def test_a_new_column_is_added(db, view, wait_until):
    db.execute(USERS)
    db.execute(FILL, [5])
    copy = users_view(view)
    copy.wait_equal()
    db.execute("ALTER TABLE users ADD COLUMN size numeric(6,2)")
    db.execute("UPDATE users SET size = id + 0.5")
    sizes = "SELECT id, size FROM {} ORDER BY id"
    wait_until(lambda: rows(db, sizes.format("copy")) == rows(db, sizes.format("users")), 30)


# ---- a query ----

ORDERS = {
    "key": "orders_by_user:{user_id}",
    "sql": "SELECT o.id, o.total, p.name AS product FROM orders o LEFT JOIN products p ON p.id = o.product_id "
    "WHERE o.user_id = $1 ORDER BY o.id",
    "depends_on": {
        "orders": ["user_id"],
        "products": "SELECT user_id FROM orders WHERE product_id = {id}",
    },
}
WANTED = "SELECT o.user_id, o.id, o.total, p.name FROM orders o LEFT JOIN products p ON p.id = o.product_id ORDER BY 1, 2"
KEPT = "SELECT user_id, id, total, product FROM copy ORDER BY 1, 2"


def make_orders(db, n=300):
    db.execute("CREATE TABLE products (id int PRIMARY KEY, name text)")
    db.execute("CREATE TABLE orders (id bigint PRIMARY KEY, user_id int, product_id int, total numeric(8,2))")
    db.execute("CREATE INDEX ON orders (user_id)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute("INSERT INTO products SELECT i, 'p' || i FROM generate_series(1, 20) i")
    db.execute("INSERT INTO orders SELECT i, i %% 50, i %% 20 + 1, i FROM generate_series(1, %s) i", [n])


def test_a_querys_rows_are_kept_by_key(db, view):
    make_orders(db)
    copy = view(WANTED, KEPT, query="orders_by_user", queries={"orders_by_user": ORDERS})
    copy.wait_equal()
    db.execute("UPDATE orders SET total = total + 1 WHERE user_id = 7")
    db.execute("UPDATE orders SET user_id = 99 WHERE id = 12")  # of one key to another
    db.execute("DELETE FROM orders WHERE user_id = 8")  # a key that is left without a row
    db.execute("INSERT INTO orders VALUES (1000, 1000, 3, 1), (1001, NULL, 3, 1)")
    db.execute("DELETE FROM orders WHERE user_id IS NULL")
    copy.wait_equal()
    db.execute("UPDATE products SET name = 'renamed' WHERE id = 3")  # known by a query alone
    copy.wait_equal()
    db.execute("DELETE FROM products WHERE id = 4")
    copy.wait_equal()
    db.execute("TRUNCATE orders")
    copy.wait_equal()
    db.execute("INSERT INTO orders VALUES (1, 1, 1, 1)")
    copy.wait_equal()
    assert copy.metric("loads_total") == 1


def test_a_dimension_that_touches_many_keys_is_walked_and_nothing_overtakes_it(db, view):
    make_orders(db, 1)
    db.execute("INSERT INTO orders SELECT i, i, 1, 0 FROM generate_series(10, 9000) i")
    copy = view(WANTED, KEPT, query="orders_by_user", queries={"orders_by_user": ORDERS})
    copy.wait_equal(60)
    db.execute("UPDATE products SET name = 'walked' WHERE id = 1")
    db.execute("UPDATE orders SET total = 1 WHERE id = 8999")
    db.execute("DELETE FROM orders WHERE id BETWEEN 5000 AND 5010")
    copy.wait_equal(60)


def test_one_row_a_key_and_all_keys_touched(db, view):
    db.execute("CREATE TABLE rates (currency text PRIMARY KEY, rate numeric)")
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, currency text, total numeric)")
    db.execute("INSERT INTO rates VALUES ('EUR', 1), ('USD', 1.1)")
    db.execute("INSERT INTO orders SELECT i, CASE WHEN i % 2 = 0 THEN 'EUR' ELSE 'USD' END, i FROM generate_series(1, 100) i")
    query = {
        "key": "order_value:{id}",
        "shape": "row",
        "sql": "SELECT o.id, o.total * r.rate AS value FROM orders o JOIN rates r USING (currency) WHERE o.id = $1",
        "depends_on": {"orders": ["id"], "rates": "all"},
    }
    wanted = "SELECT o.id, o.total * r.rate FROM orders o JOIN rates r USING (currency) ORDER BY 1"
    copy = view(wanted, "SELECT id, value FROM copy ORDER BY 1", query="order_value", queries={"order_value": query})
    copy.wait_equal()
    db.execute("UPDATE rates SET rate = 2 WHERE currency = 'USD'")
    copy.wait_equal()
    db.execute("DELETE FROM rates WHERE currency = 'EUR'")
    copy.wait_equal()


def test_a_key_that_is_all_of_its_row_goes_with_it(db, view):
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric)")
    db.execute("INSERT INTO orders SELECT i, i % 2 FROM generate_series(1, 20) i")
    query = {
        "key": "paid:{id}",
        "shape": "row",
        "sql": "SELECT id FROM orders WHERE id = $1 AND total > 0",
        "depends_on": {"orders": ["id"]},
    }
    wanted = "SELECT id FROM orders WHERE total > 0 ORDER BY 1"
    copy = view(wanted, "SELECT id FROM copy ORDER BY 1", query="paid", queries={"paid": query})
    copy.wait_equal()
    db.execute("UPDATE orders SET total = 1 - total WHERE id < 5")
    db.execute("DELETE FROM orders WHERE id = 7")
    copy.wait_equal()


def test_a_key_is_the_same_whatever_the_type_of_the_column_that_holds_it(db, view):
    db.execute("CREATE TABLE shops (code char(6), n int, PRIMARY KEY (code, n))")
    db.execute("CREATE TABLE sales (id int PRIMARY KEY, shop varchar(9), n numeric(6,2), total int)")
    db.execute("ALTER TABLE sales REPLICA IDENTITY FULL")
    db.execute("INSERT INTO shops VALUES ('a', 1), ('b', 2)")
    db.execute("INSERT INTO sales VALUES (1, 'a', 1, 10)")
    sums = "SELECT s.code, s.n, (SELECT sum(l.total) FROM sales l WHERE l.shop = s.code AND l.n = s.n) AS total FROM shops s"
    query = {
        "key": "shop:{code}:{n}",
        "shape": "row",
        "sql": f"{sums} WHERE s.code = $1 AND s.n = $2",
        "depends_on": {"shops": ["code", "n"], "sales": ["shop", "n"]},
    }
    expected = f"SELECT rtrim(code), n, total FROM ({sums}) q ORDER BY 1"
    copy = view(expected, "SELECT code, n, total FROM copy ORDER BY 1", query="shop", queries={"shop": query})
    copy.wait_equal()
    db.execute("INSERT INTO sales VALUES (2, 'a', 1, 5), (3, 'b', 2.00, 7)")
    copy.wait_equal()
    db.execute_many("UPDATE sales SET shop = 'b', n = 2 WHERE id = 1", "INSERT INTO shops VALUES ('c', 3)")
    copy.wait_equal()
    db.execute("DELETE FROM shops WHERE code = 'b'")
    copy.wait_equal()


def test_a_querys_view_outlives_kill_9(db, view):
    make_orders(db)
    copy = view(WANTED, KEPT, query="orders_by_user", queries={"orders_by_user": ORDERS}, batch_interval="5ms")
    for i in range(3):
        db.execute("UPDATE orders SET total = total + 1, user_id = user_id + 1 WHERE id %% 3 = %s", [i])
        db.execute("UPDATE products SET name = name || '!'")
        copy.freshet.kill9()
        copy.freshet.start(wait=False)
    copy.wait_equal(60)


def test_a_query_whose_old_keys_would_not_be_known_is_refused_with_what_mends_it(db, view, wait_until):
    make_orders(db)
    db.execute("ALTER TABLE orders REPLICA IDENTITY DEFAULT")
    copy = view(
        WANTED, KEPT, query="orders_by_user", queries={"orders_by_user": ORDERS}, roles=["cache", "connectors"]
    )
    wait_until(lambda: "REPLICA IDENTITY FULL" in str(copy.freshet.status()["connectors"][0]), 30)


def test_a_wrong_configuration_is_told_with_its_place(cli, tmp_path, db):
    path = tmp_path / "f.yml"
    path.write_text(
        f"""database: {{ url: "{db.url}" }}
roles: [connectors]
connectors:
  - {{ name: a, type: view, into: public.copy, query: nothing }}
  - {{ name: b, type: view, table: public.users }}
  - {{ name: c, type: opensearch, url: "http://127.0.0.1:1", query: q }}
cache:
  queries:
    q: {{ key: "q:{{id}}", sql: "SELECT $1::int AS id", depends_on: {{ users: [id] }} }}
"""
    )
    told = cli("check", "-c", str(path))
    text = told.stdout + told.stderr
    assert f"{path.name}:4:" in text and 'there is no "nothing" in cache.queries' in text
    assert "has no into" in text
    assert "q gives many rows a key, and opensearch takes one" in text


# ---- counts and sums by group ----

SUMS = {"by": ["user_id", "kind"], "orders": "count", "noted": "count note", "total": "sum total"}
SUMMED = "SELECT user_id, kind, count(*) AS a, count(note) AS b, coalesce(sum(total), 0) AS c FROM orders GROUP BY 1, 2 ORDER BY 1, 2"
SUMS_KEPT = "SELECT user_id, kind, orders, noted, total FROM copy ORDER BY 1, 2"


def test_counts_and_sums_follow_each_row(db, view, wait_until):
    db.execute("CREATE TABLE orders (id serial PRIMARY KEY, user_id int, kind text, total numeric(10,2), note text)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute(
        "INSERT INTO orders (user_id, kind, total, note) SELECT nullif(i % 17, 3), 'k' || i % 3, i - 200, "
        "CASE WHEN i % 2 = 0 THEN repeat('x', 10) END FROM generate_series(1, 1000) i"
    )
    sums = view(SUMMED, SUMS_KEPT, table="public.orders", aggregate=SUMS, batch_interval="5ms")
    sums.wait_equal()
    db.execute("UPDATE orders SET total = -total WHERE id % 5 = 0")
    db.execute("UPDATE orders SET user_id = 4, note = NULL WHERE user_id IS NULL AND id % 2 = 0")
    db.execute("UPDATE orders SET kind = NULL, total = NULL WHERE id < 20")
    db.execute("DELETE FROM orders WHERE user_id = 8")
    db.execute_many("INSERT INTO orders (user_id, kind, total) VALUES (8, 'k', 1)", "DELETE FROM orders WHERE kind = 'k'")
    sums.wait_equal()
    for i in range(3):
        db.execute("UPDATE orders SET total = total + 1, user_id = user_id + 1 WHERE id %% 3 = %s", [i])
        sums.freshet.kill9()
        sums.freshet.start(wait=False)
    sums.wait_equal(60)
    db.execute("TRUNCATE orders")
    db.execute("INSERT INTO orders (user_id, kind, total) VALUES (1, 'a', 2.5)")
    sums.wait_equal()
    db.execute_many("INSERT INTO orders (id, user_id, kind, total) VALUES (5001, 1, 'a', 'NaN')", "DELETE FROM orders WHERE id = 5001")
    db.execute("INSERT INTO orders (user_id, kind, total) VALUES (2, 'b', 1)")
    wait_until(lambda: db.value("SELECT count(*) FROM copy WHERE user_id = 2") == 1)
    assert rows(db, "SELECT orders, total::text FROM copy WHERE user_id = 1") == [(1, "NaN")] and sums.letters() == []


# ---- materialized views ----


def test_materialized_views_are_refreshed_in_their_order(db, freshet, unique, wait_until):
    db.execute("CREATE TABLE orders (id serial PRIMARY KEY, user_id int, total int)")
    db.execute("CREATE TABLE unread (id int PRIMARY KEY)")
    db.execute("INSERT INTO orders (user_id, total) SELECT i % 5, i FROM generate_series(1, 100) i")
    db.execute("CREATE VIEW paid AS SELECT * FROM orders WHERE total > 0")
    db.execute("CREATE MATERIALIZED VIEW by_user AS SELECT user_id, sum(total) AS total FROM paid GROUP BY 1")
    db.execute("CREATE UNIQUE INDEX ON by_user (user_id)")
    db.execute("CREATE MATERIALIZED VIEW overall AS SELECT 1 AS one, sum(total) AS total FROM by_user WITH NO DATA")
    db.execute("CREATE UNIQUE INDEX ON overall (one)")
    connector = {
        "name": "r", "type": "refresh", "views": ["overall", "public.by_user"], "slot": f"{unique}_slot",
        "batch_interval": "50ms", "min_interval": "100ms",
    }
    f = freshet(db, {"roles": ["connectors"], "connectors": [connector]}, wait=False)

    def fresh():
        if not db.value("SELECT ispopulated FROM pg_matviews WHERE matviewname = 'overall'"):
            return False
        return db.value("SELECT total FROM overall") == db.value("SELECT sum(total) FROM orders WHERE total > 0")

    wait_until(fresh, 30)
    db.execute("INSERT INTO orders (user_id, total) VALUES (7, 1000)")
    wait_until(fresh, 30)
    done = f.metric("freshet_connector_indexed_total", connector="r")
    for _ in range(50):
        db.execute("UPDATE orders SET total = total + 1")
    wait_until(fresh, 30)
    assert f.metric("freshet_connector_indexed_total", connector="r") - done < 100
    f.kill9()
    db.execute("DELETE FROM orders WHERE id < 50")
    f.start(wait=False)
    wait_until(fresh, 30)


def test_a_view_whose_query_fails_holds_up_no_other(db, freshet, unique, wait_until, cli):
    db.execute("CREATE TABLE orders (id serial PRIMARY KEY, total int)")
    db.execute("INSERT INTO orders (total) SELECT i FROM generate_series(1, 100) i")
    db.execute("CREATE MATERIALIZED VIEW bad AS SELECT 1 AS one, sum(100 / total) AS total FROM orders")
    db.execute("CREATE MATERIALIZED VIEW good AS SELECT 1 AS one, count(*) AS n FROM orders")
    db.execute_many("CREATE UNIQUE INDEX ON bad (one)", "CREATE UNIQUE INDEX ON good (one)")
    one = {"name": "r", "type": "refresh", "views": ["bad", "good"], "slot": f"{unique}_slot", "batch_interval": "50ms", "min_interval": "50ms"}
    f = freshet(db, {"roles": ["connectors"], "connectors": [one]}, start=False)
    f.config["state_dir"] = str(f.folder / "state")
    f.write_config()
    f.start()
    wait_until(lambda: f.status()["connectors"][0]["loaded"])
    for n in (101, 102):
        db.execute("INSERT INTO orders (total) VALUES (0)")
        wait_until(lambda: db.value("SELECT n FROM good") == n, what=f"the other view has {n}")
    wait_until(lambda: f.metric("freshet_connector_dead_letters_total", connector="r") >= 1)
    assert "division by zero" in (f.folder / "state" / "r.deadletters.jsonl").read_text()
    db.execute("DELETE FROM orders WHERE total = 0")
    wait_until(lambda: db.value("SELECT total FROM bad") == db.value("SELECT sum(100 / total) FROM orders"), what="it is mended")
    assert cli("connector", "retry", "r", "--admin", f"127.0.0.1:{f.admin_port}").returncode == 0
