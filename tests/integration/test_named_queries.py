"""Named queries: SQL of the configuration read through keys of its own, and evicted by the tables that it depends on."""

import json

import pytest
import redis

from support.rows import applied, explain, in_background, keep, state
from support.waiting import wait_until

SHOP = """
DROP TABLE IF EXISTS orders, users CASCADE;
CREATE TABLE users (id int PRIMARY KEY, name text, city text);
CREATE TABLE orders (id int PRIMARY KEY, user_id int, status text, total numeric(10,2));
CREATE INDEX ON orders (user_id);
ALTER TABLE orders REPLICA IDENTITY FULL;
INSERT INTO users VALUES (1, 'Ada', 'London'), (2, 'Bob', 'Paris'), (3, 'Cy', NULL);
INSERT INTO orders VALUES (10, 1, 'paid', 5.00), (11, 1, 'open', 7.50), (12, 2, 'paid', 1.25), (13, 1, 'paid', 2);
"""

ORDERS = "SELECT id, total, status FROM orders WHERE user_id = $1 ORDER BY id DESC"


@pytest.fixture
def orders(db):
    db.execute(SHOP)
    return db


@pytest.fixture
def start(orders, freshet):
    """start(name=query, ...) -> Freshet with these queries; a query's key is its name, with the columns that it depends on."""

    def run(**queries):
        return freshet(orders, {"cache": {"queries": queries}})

    return run


def query(key, sql, depends_on=None, **more):
    made = {"key": key, "sql": sql, **more}
    if depends_on is not None:
        made["depends_on"] = depends_on
    return made


def by_user(**more):
    return query("orders_by_user:{user_id}", ORDERS, {"orders": ["user_id"]}, **more)


def ids(f, key):
    return [row["id"] for row in f.row(key)]


# ---- shapes ----


def test_rows_are_an_array_of_objects(orders, start):
    f = start(orders_by_user=by_user())
    assert f.redis.get("orders_by_user:1") == orders.value(
        "SELECT json_agg(q)::text FROM (SELECT id, total, status FROM orders WHERE user_id = 1 ORDER BY id DESC) q"
    ).replace("}, \n {", "},{").replace("}, {", "},{")
    assert f.row("orders_by_user:1")[0] == {"id": 13, "total": 2.00, "status": "paid"}
    assert f.redis.get("orders_by_user:99") == "[]"
    assert f.redis.type("orders_by_user:1") == "string"
    assert f.redis.get("orders_by_user:user_id=2") == f.redis.get("orders_by_user:2")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        f.redis.hgetall("orders_by_user:1")
    with pytest.raises(redis.ResponseError, match='orders_by_user: "x" is not an integer \\(column user_id\\)'):
        f.redis.get("orders_by_user:x")
    with pytest.raises(redis.exceptions.ReadOnlyError):
        f.redis.set("orders_by_user:1", "x")


def test_a_row_and_a_value(orders, start):
    f = start(
        last_order=query("last_order:{user}", ORDERS + " LIMIT 5", {"orders": ["user_id"]}, shape="row"),
        spent=query("spent:{user}", "SELECT sum(total) FROM orders WHERE user_id = $1", {"orders": ["user_id"]}, shape="value"),
        paid=query("paid", "SELECT count(*) FROM orders WHERE status = 'paid'", {"orders": "all"}, shape="value"),
    )
    assert json.loads(f.redis.get("last_order:1")) == {"id": 13, "total": 2.00, "status": "paid"}
    assert f.redis.get("last_order:9") is None
    assert f.redis.get("spent:1") == "14.50"
    assert f.redis.get("spent:9") is None  # a sum of nothing is NULL
    assert f.redis.get("paid") == "3"
    assert f.redis.mget("spent:1", "paid", "spent:2") == ["14.50", "3", "1.25"]


def test_a_hash(orders, start):
    f = start(
        by_status=query("by_status:{user}", "SELECT status, count(*) FROM orders WHERE user_id = $1 GROUP BY 1 ORDER BY 1",
                        {"orders": ["user_id"]}, shape="hash"),
        profile=query("profile:{id}", "SELECT id, name, city, name = 'Ada' AS first FROM users WHERE id = $1", {"users": ["id"]},
                      shape="hash"),
    )  # fmt: skip
    assert f.redis.hgetall("by_status:1") == {"open": "1", "paid": "2"}
    assert f.redis.hget("by_status:1", "paid") == "2"
    assert f.redis.hlen("by_status:1") == 2 and f.redis.hlen("by_status:9") == 0
    assert f.redis.hgetall("profile:1") == {"id": "1", "name": "Ada", "city": "London", "first": "t"}
    assert f.redis.hgetall("profile:3") == {"id": "3", "name": "Cy", "first": "f"}  # NULLs are left out
    assert f.redis.type("profile:1") == "hash" and f.redis.type("profile:9") == "none"
    assert f.redis.exists("profile:1", "profile:9") == 1
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        f.redis.get("profile:1")
    keep(f, "profile:1", "HGETALL")
    orders.execute("UPDATE users SET city = 'Turin' WHERE id = 1; INSERT INTO users VALUES (9, 'New', NULL)")
    applied(f, orders)
    assert f.redis.hget("profile:1", "city") == "Turin"
    assert f.redis.hget("profile:9", "name") == "New"


def test_a_list(orders, start):
    f = start(recent=query("recent:{user}", "SELECT status || ':' || id FROM orders WHERE user_id = $1 ORDER BY id DESC",
                           {"orders": ["user_id"]}, shape="list"),
              texts=query("texts", "SELECT * FROM (VALUES (''), (NULL), ('a-b'), ('é\"{}'), (repeat('x', 5000))) v", ttl="1m",
                          shape="list"))  # fmt: skip
    assert f.redis.lrange("recent:1", 0, -1) == ["paid:13", "open:11", "paid:10"]
    for _ in range(2):
        assert f.redis.lrange("recent:1", 1, 1) == ["open:11"]
        assert f.redis.llen("recent:1") == 3 and f.redis.lindex("recent:1", -1) == "paid:10"
        assert f.redis.lpos("recent:1", "open:11") == 1
    assert f.redis.lrange("recent:9", 0, -1) == [] and f.redis.type("recent:9") == "none"
    assert f.redis.type("recent:1") == "list"
    assert f.redis.lrange("texts", 0, -1) == ["", "a-b", 'é"{}', "x" * 5000]
    assert f.redis.execute_command("SORT_RO", "recent:1", "ALPHA") == ["open:11", "paid:10", "paid:13"]
    assert f.redis.object("encoding", "recent:1") == "quicklist"
    assert "recent:1" in f.redis.scan_iter(_type="list") and "recent:1" not in f.redis.scan_iter(_type="string")
    f.redis_bytes.restore("copied", 0, f.redis_bytes.dump("recent:1"))
    assert f.redis.lrange("copied", 0, -1) == ["paid:13", "open:11", "paid:10"]
    for wrong in ("GET", "HGETALL", "SMEMBERS"):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            f.redis.execute_command(wrong, "recent:1")
    with pytest.raises(redis.exceptions.ReadOnlyError):
        f.redis.rpush("recent:1", "x")
    assert f.redis.mget("recent:1", "users:1")[0] is None
    keep(f, "recent:1", "LLEN")
    orders.execute("DELETE FROM orders WHERE id = 11")
    applied(f, orders)
    assert f.redis.lrange("recent:1", 0, -1) == ["paid:13", "paid:10"]


def test_a_sorted_set(orders, start):
    f = start(
        spenders=query("spenders", "SELECT u.name, sum(o.total) FROM users u LEFT JOIN orders o ON o.user_id = u.id GROUP BY 1",
                       {"orders": "all", "users": "all"}, shape="zset"),
        odd=query("odd:{n}", "SELECT * FROM (VALUES ('b', 1::float8), ('a', 1), ('b', -2), ('z', 'infinity'), (NULL, 3)) v(m, s)"
                  " WHERE $1::int = 1 UNION ALL SELECT 'n', 'nan' WHERE $1 = 2", ttl="1m", shape="zset"),
    )  # fmt: skip
    wanted = [("Bob", 1.25), ("Ada", 14.5)]  # whose sum is NULL is left out
    for _ in range(2):
        assert f.redis.zrange("spenders", 0, -1, withscores=True) == wanted
        assert f.redis.zrevrange("spenders", 0, 0) == ["Ada"]
        assert f.redis.zscore("spenders", "Bob") == 1.25 and f.redis.zrank("spenders", "Ada") == 1
        assert f.redis.zcard("spenders") == 2 and f.redis.zrangebyscore("spenders", 2, "+inf") == ["Ada"]
    assert f.redis.zrange("odd:1", 0, -1, withscores=True) == [("b", -2.0), ("a", 1.0), ("z", float("inf"))]
    with pytest.raises(redis.ResponseError, match="odd: a sorted set's score is not a number"):
        f.redis.zrange("odd:2", 0, -1)
    keep(f, "spenders", "ZCARD")
    orders.execute("INSERT INTO orders VALUES (20, 3, 'paid', 0.5)")
    applied(f, orders)
    assert f.redis.zrange("spenders", 0, -1) == ["Cy", "Bob", "Ada"]


def test_results_in_transactions_and_pipelines(orders, start):
    f = start(
        recent=query("recent:{user}", "SELECT id FROM orders WHERE user_id = $1 ORDER BY id", {"orders": ["user_id"]}, shape="list"),
        spenders=query("spenders", "SELECT user_id, sum(total) FROM orders GROUP BY 1", {"orders": "all"}, shape="zset"),
        by_status=query("by_status:{user}", "SELECT status, count(*) FROM orders WHERE user_id = $1 GROUP BY 1",
                        {"orders": ["user_id"]}, shape="hash"),
    )  # fmt: skip
    for transaction in (True, False):
        with f.redis.pipeline(transaction=transaction) as pipe:
            pipe.lrange("recent:1", 0, -1).zrange("spenders", 0, -1).hget("by_status:1", "paid").get("users:1").type("recent:2")
            pipe.exists("recent:1", "recent:9").lrange("users:2", 0, -1).get("recent:1")
            *answers, row_as_list, list_as_string = pipe.execute(raise_on_error=False)
        assert answers[:3] == [["10", "11", "13"], ["2", "1"], "2"]
        assert json.loads(answers[3])["name"] == "Ada" and answers[4:] == ["list", 1]
        assert "WRONGTYPE" in str(row_as_list) and "WRONGTYPE" in str(list_as_string)


# ---- parameters ----


def test_types_of_parameters_are_inferred(orders, start):
    orders.execute(
        "CREATE DOMAIN small AS int CHECK (VALUE < 100); CREATE FUNCTION doubled(x small) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 2'"
    )
    f = start(
        by_two=query("by_two:{user}:{status}", "SELECT id FROM orders WHERE user_id = $1 AND status = $2 ORDER BY 1",
                     {"orders": ["user_id", "status"]}, shape="list"),
        first=query("first:{user}:{n}", "SELECT id FROM orders WHERE user_id = $1 ORDER BY id LIMIT $2 -- $3", {"orders": "all"},
                    shape="list"),
        moved=query("around:{n}", "SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN $1 PRECEDING AND CURRENT ROW) FROM orders"
                    " ORDER BY id", {"orders": "all"}, shape="zset"),
        quoted=query("quoted:{t}", """SELECT '$1 ''$1' || $1::text || $x$ $1 $x$ || "a$1" /* $1 /* $1 */ */ FROM (SELECT E'\\'$1') v("a$1")""",
                     ttl="1m", shape="value"),
        at=query("at:{when}", "SELECT extract(epoch FROM $1::timestamptz)::int", ttl="1m", shape="value"),
        own=query("own:{x}", "SELECT doubled($1)", ttl="1m", shape="value"),
        tags=query("tags:{list}", "SELECT count(*) FROM orders WHERE status = ANY ($1)", {"orders": "all"}, shape="value"),
    )  # fmt: skip
    assert f.redis.lrange("by_two:1:paid", 0, -1) == ["10", "13"]
    assert f.redis.lrange("by_two:status=open,user=1", 0, -1) == ["11"]
    assert f.redis.lrange("by_two:1:a%3Ab", 0, -1) == []
    # A column of many keys is no LIMIT: each key has a statement of its own.
    keys = [("first:1:1", ["10"]), ("first:1:2", ["10", "11"]), ("first:2:5", ["12"])]
    with f.redis.pipeline(transaction=False) as pipe:
        for key, _ in keys:
            pipe.lrange(key, 0, -1)
        assert pipe.execute() == [wanted for _, wanted in keys]
    assert f.redis.zrange("around:1", 0, 0, withscores=True) == [("10", 10.0)]
    assert f.redis.get("quoted:v") == "$1 '$1v $1 '$1"
    assert f.redis.get("at:1970-01-01T01:00:00+01") == "0"
    assert f.redis.get("tags:{paid,open}") == "4"
    assert f.redis.get("own:21") == "42"
    with pytest.raises(redis.ResponseError, match="own: value for domain small violates check constraint"):
        f.redis.get("own:1000")
    with pytest.raises(redis.ResponseError, match=r"first: \"x\" is not an integer \(column n\)|bigint"):
        f.redis.lrange("first:1:x", 0, -1)
    with pytest.raises(redis.ResponseError, match=r"by_two: the key has 2 parts \(by_two:<user>:<status>\), 1 given"):
        f.redis.lrange("by_two:1", 0, -1)


def test_sql_that_cannot_be_run_says_why(orders, start):
    f = start(
        wrong=query("wrong:{x}", "SELECT nosuch FROM orders WHERE id = $1", {"orders": "all"}),
        fails=query("fails:{x}", "SELECT 1 / $1::int AS one", ttl="1m", shape="value"),
        writes=query("writes:{x}", "SELECT setval('s', $1)", ttl="1m", shape="value"),
        numbers=query("numbers:{x}:{y}", "SELECT $1::int", ttl="1m"),
    )
    orders.execute("CREATE SEQUENCE s")

    def failure(key):
        with pytest.raises(redis.ResponseError) as caught:
            f.redis.get(key)
        return str(caught.value)

    assert failure("wrong:1") == 'wrong: cannot be read: column "nosuch" does not exist'
    assert failure("fails:0") == "fails: division by zero"
    assert f.redis.get("fails:1") == "1"
    answers = f.redis.pipeline(transaction=False).get("fails:2").get("fails:0").get("fails:-1").execute(raise_on_error=False)
    assert answers[0] == "0" and "division by zero" in str(answers[1]) and answers[2] == "-1"
    assert failure("numbers:1:2") == "numbers: cannot be read: its SQL has another number of parameters than its key"
    wait_until(lambda: "read-only transaction" in failure("writes:1"), what="the sequence is known")
    # What is mended in the database is taken up.
    orders.execute("ALTER TABLE orders ADD nosuch text")
    wait_until(lambda: "wrong" not in str(f.redis.pipeline().get("wrong:10").execute(raise_on_error=False)[0]), what="it is")
    assert f.row("wrong:10") == [{"nosuch": None}]


# ---- dependencies ----


def test_a_change_touches_the_keys_of_its_old_and_new_values(orders, start):
    f = start(orders_by_user=by_user())
    keys = ["orders_by_user:1", "orders_by_user:01", "orders_by_user:2", "orders_by_user:3"]
    for key in keys:
        keep(f, key)
    orders.execute("UPDATE orders SET total = 9 WHERE id = 10")
    applied(f, orders)
    assert [state(f, key) for key in keys] == ["uncached", "uncached", "resident", "resident"]
    for key in keys:
        keep(f, key)
    orders.execute("UPDATE orders SET user_id = 2 WHERE id = 10")
    applied(f, orders)
    assert [state(f, key) for key in keys] == ["uncached", "uncached", "uncached", "resident"]
    assert ids(f, "orders_by_user:2") == [12, 10]
    for key in keys:
        keep(f, key)
    orders.execute("DELETE FROM orders WHERE id = 12; INSERT INTO orders VALUES (30, NULL)")
    applied(f, orders)
    assert [state(f, key) for key in keys] == ["resident", "resident", "uncached", "resident"]
    orders.execute("INSERT INTO orders VALUES (31, 3)")
    applied(f, orders)
    assert ids(f, "orders_by_user:3") == [31] and ids(f, "orders_by_user:01") == [13, 11]
    keep(f, "orders_by_user:3")
    orders.execute("TRUNCATE orders")
    applied(f, orders)
    assert f.redis.mget(keys) == ["[]"] * 4


def test_a_key_is_touched_however_its_values_are_spelled(db, freshet):
    """And whatever the SQL makes of a parameter before it compares it with the column."""
    db.execute(
        "CREATE TABLE things (id int PRIMARY KEY, price numeric, net cidr, n int, v int); ALTER TABLE things REPLICA IDENTITY FULL;"
        "INSERT INTO things VALUES (1, 1.50, '10.0.0.1/32', 42, 1), (2, 7, '10.0.0.0/8', 43, 1)"
    )
    conditions = {"price": "price = $1", "net": "net = $1", "n": "n = $1::text::int"}
    queries = {
        f"by_{column}": query(f"by_{column}:{{x}}", f"SELECT v FROM things WHERE {where}", {"things": [column]}, shape="value")
        for column, where in conditions.items()
    }
    f = freshet(db, {"cache": {"queries": queries}})
    keys = ["by_price:1.5", "by_price:01.500", "by_price:15e-1", "by_net:10.0.0.1", "by_net:10.0.0.1/32", "by_n:042", "by_n:42"]
    for key in [*keys, "by_price:7.0"]:
        assert keep(f, key) == "1"
    db.execute("UPDATE things SET v = 2 WHERE id = 1")
    applied(f, db)
    assert f.redis.mget(keys) == ["2"] * len(keys)
    assert state(f, "by_price:7.0") == "resident"  # another one's
    db.execute("UPDATE things SET price = 7.00 WHERE id = 1; UPDATE things SET price = 1.500 WHERE id = 2")
    applied(f, db)
    assert f.redis.mget("by_price:1.5", "by_price:7.0", "by_price:7") == ["1", "2", "2"]


def test_where_the_old_value_is_not_in_the_stream_all_results_go(orders, start):
    orders.execute("ALTER TABLE orders REPLICA IDENTITY DEFAULT")
    f = start(orders_by_user=by_user())
    for change, others in (
        ("UPDATE orders SET user_id = 3 WHERE id = 12", "uncached"),
        ("DELETE FROM orders WHERE id = 12", "uncached"),
        ("INSERT INTO orders VALUES (40, 2)", "resident"),  # it has no old value
    ):
        for user in (1, 2, 3):
            keep(f, f"orders_by_user:{user}")
        orders.execute(change)
        applied(f, orders)
        assert state(f, "orders_by_user:1") == others, change
        for user in (1, 2, 3):
            wanted = [row["id"] for row in orders.rows("SELECT id FROM orders WHERE user_id = %s ORDER BY id DESC", [user])]
            assert ids(f, f"orders_by_user:{user}") == wanted, change


def test_a_join_depends_on_several_tables(orders, start):
    f = start(
        card=query(
            "card:{user_id}",
            "SELECT u.name, count(o.*) AS n, rank() OVER (ORDER BY u.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id"
            " WHERE u.id = $1 GROUP BY u.id",
            {"public.users": "id", "orders": ["user_id"]},
            shape="row",
        )
    )
    assert keep(f, "card:9") is None  # absent, and remembered so
    assert state(f, "card:9") == "absent"
    keep(f, "card:1")
    keep(f, "card:2")
    orders.execute("INSERT INTO orders VALUES (50, 1)")
    applied(f, orders)
    assert (state(f, "card:1"), state(f, "card:2")) == ("uncached", "resident")
    assert f.row("card:1") == {"name": "Ada", "n": 4, "rank": 1}
    keep(f, "card:1")
    orders.execute("UPDATE users SET name = 'Zed' WHERE id = 1; INSERT INTO users VALUES (9, 'New')")
    applied(f, orders)
    assert f.row("card:1")["name"] == "Zed" and f.row("card:9") == {"name": "New", "n": 0, "rank": 1}
    assert state(f, "card:2") == "resident"


def test_a_dependency_on_columns_that_name_no_whole_key_touches_all(orders, start):
    f = start(by_two=query("by_two:{user_id}:{status}", "SELECT id FROM orders WHERE user_id = $1 AND status = $2 ORDER BY 1",
                           {"orders": ["user_id"]}))  # fmt: skip
    keep(f, "by_two:1:paid")
    keep(f, "by_two:2:paid")
    orders.execute("INSERT INTO orders VALUES (60, 1, 'paid')")
    applied(f, orders)
    assert ids(f, "by_two:1:paid") == [10, 13, 60]
    assert ids(f, "by_two:2:paid") == [12]


def test_what_is_aggregated_over_everything(orders, start):
    f = start(total=query("total", "SELECT sum(total) FROM orders", {"orders": "all"}, shape="value"))
    assert keep(f, "total") == "15.75"
    orders.execute("UPDATE users SET name = 'x' WHERE id = 1")
    applied(f, orders)
    assert state(f, "total") == "resident"
    orders.execute("UPDATE orders SET total = 0 WHERE id = 10")
    applied(f, orders)
    assert f.redis.get("total") == "10.75"


def test_a_table_that_changes_its_shape_clears_its_queries(orders, start):
    f = start(mine=query("mine:{id}", "SELECT * FROM users WHERE id = $1", {"users": ["id"]}, shape="row"),
              cities=query("cities", "SELECT city FROM users WHERE city IS NOT NULL ORDER BY id", {"users": "all"}, shape="list"))  # fmt: skip
    keep(f, "mine:1")
    keep(f, "cities", "LLEN")
    orders.execute("ALTER TABLE users ADD age int DEFAULT 30; ALTER TABLE users ALTER city TYPE varchar(3) USING left(city, 3)")
    wait_until(lambda: f.row("mine:1") == {"id": 1, "name": "Ada", "city": "Lon", "age": 30}, what="the new shape shows")
    wait_until(lambda: f.redis.lrange("cities", 0, -1) == ["Lon", "Par"], what="the new type shows")


# ---- bounds ----


def test_a_big_result_is_answered_and_not_stored(orders, start):
    sql = "SELECT repeat('x', $1::int)"
    f = start(big=query("big:{n}", sql, ttl="1m", shape="value", max_result="1KiB"),
              list=query("many:{n}", "SELECT i FROM generate_series(1, $1) i", ttl="1m", shape="list", max_result="1KiB"))  # fmt: skip
    assert len(keep(f, "big:1024")) == 1024
    for _ in range(2):
        assert len(f.redis.get("big:1025")) == 1025
        assert f.redis.llen("many:5000") == 5000
    assert state(f, "big:1025") == state(f, "many:5000") == "uncached"
    assert f.metric("freshet_cache_query_results_total", query="big", outcome="too_big") == 2
    assert f.metric("freshet_cache_query_results_total", query="big", outcome="stored") >= 1


def test_a_ttl_alone_bounds_a_query_that_depends_on_nothing(orders, start):
    orders.execute("CREATE VIEW v AS SELECT count(*) AS n FROM orders")
    f = start(counted=query("counted", "SELECT n FROM v", ttl="300ms", shape="value"), slow=by_user(ttl="10m"))
    assert keep(f, "counted") == "4"
    keep(f, "orders_by_user:1")
    assert 290_000 < f.redis.pttl("orders_by_user:1") <= 600_000
    orders.execute("INSERT INTO orders VALUES (70, 1)")
    wait_until(lambda: f.redis.get("counted") == "5", what="the TTL ends")


def test_misses_of_one_query_are_one_statement(orders, start):
    orders.execute("INSERT INTO orders SELECT 1000 + i, 100 + i FROM generate_series(1, 300) i")
    f = start(orders_by_user=by_user())
    before = f.metric("freshet_cache_fill_queries_total")
    answers = f.redis.mget(f"orders_by_user:{100 + i}" for i in range(1, 301))
    assert [json.loads(answer)[0]["id"] for answer in answers] == [1000 + i for i in range(1, 301)]
    assert f.metric("freshet_cache_fill_queries_total") == before + 1


# ---- one snapshot ----


def test_the_rows_of_a_query_come_from_one_snapshot(orders, start):
    """P5: both halves of a pair, and two results of one MGET, are always of one transaction."""
    orders.execute("CREATE TABLE pairs (id int PRIMARY KEY, side int, v int); INSERT INTO pairs VALUES (1, 1, 0), (2, 2, 0)")
    f = start(
        both=query("both:{n}", "SELECT v FROM pairs WHERE side <= $1 ORDER BY id", {"pairs": "all"}, shape="list"),
        side=query("side:{side}", "SELECT v FROM pairs WHERE side = $1", {"pairs": ["side"]}, shape="value"),
        total=query("total", "SELECT sum(v) FROM pairs", {"pairs": "all"}, shape="value"),
    )
    stopped = []

    def write():
        with orders.connect() as connection:
            for v in range(1, 1_000_000):
                connection.execute("UPDATE pairs SET v = %s", [v])
                if stopped:
                    return v

    written = in_background(write)
    try:
        for n in range(400):
            one, other = f.redis.lrange(f"both:{2 + n}", 0, -1)  # a key not read before: a fill
            assert one == other
            # Of one MGET what is fetched is one snapshot, of one query and of several.
            f.redis.delete("side:1", "side:2", "total")
            left, right, total = f.redis.mget("side:1", "side:2", "total")
            assert left == right and int(total) == 2 * int(left), (left, right, total)
    finally:
        stopped.append(True)
    last = written()
    applied(f, orders)
    assert f.redis.mget("side:1", "side:2", "total") == [str(last), str(last), str(2 * last)]


# ---- the visibility gap ----


def gap_scenario(server, db, start, identity="FULL"):
    """Rule 3: a result that is read between a commit's arrival and its visibility is not kept."""
    db.execute(SHOP)
    db.execute(f"ALTER TABLE orders REPLICA IDENTITY {identity}")
    f = start(db, {"cache": {"queries": {"orders_by_user": by_user()}}})
    keep(f, "orders_by_user:2")
    with db.commit_held("UPDATE orders SET user_id = 2 WHERE id = 10"):
        wait_until(lambda: state(f, "orders_by_user:2") == "uncached", what="it is evicted")
        assert ids(f, "orders_by_user:2") == [12]
        kept = state(f, "orders_by_user:2")
    assert ids(f, "orders_by_user:2") == [12, 10], "an old result was kept"
    assert kept == "uncached"


def fence_gap_scenario(server, db, start):
    """The same by the fence of the whole query, where the old value is not in the stream."""
    gap_scenario(server, db, start, "DEFAULT")


def dependents_scenario(server, db, start):
    """A changed row touches the results that depend on it, by its old values and its new ones."""
    db.execute(SHOP)
    f = start(db, {"cache": {"queries": {"orders_by_user": by_user()}}})
    keep(f, "orders_by_user:1")
    keep(f, "orders_by_user:2")
    db.execute("UPDATE orders SET user_id = 2 WHERE id = 10")
    applied(f, db)
    assert ids(f, "orders_by_user:2") == [12, 10], "an old result was kept"
    assert ids(f, "orders_by_user:1") == [13, 11], "an old result was kept"


def untold_scenario(server, db, start):
    """Where the stream lacks the old values, a change touches every result of the query."""
    db.execute(SHOP)
    db.execute("ALTER TABLE orders REPLICA IDENTITY DEFAULT")
    f = start(db, {"cache": {"queries": {"orders_by_user": by_user()}}})
    keep(f, "orders_by_user:1")
    db.execute("UPDATE orders SET user_id = 2 WHERE id = 10")
    applied(f, db)
    assert ids(f, "orders_by_user:1") == [13, 11], "an old result was kept"


SCENARIOS = [gap_scenario, fence_gap_scenario, dependents_scenario, untold_scenario]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_nothing_old_comes_back_by_a_query(make_postgres, freshet, scenario):
    server = make_postgres()
    scenario(server, server.create_database(), freshet)


def test_explain_tells_of_a_query(orders, start):
    f = start(orders_by_user=by_user())
    keep(f, "orders_by_user:1")
    assert explain(f, "orders_by_user:1")["state"] == "resident"
