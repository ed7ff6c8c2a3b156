"""Named queries: SQL of the configuration read through keys of its own, and evicted by the tables that it depends on."""

import json

import pytest
import redis

from support.rows import applied, explain, in_background, keep, state
from support.waiting import wait_until

SHOP = """
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
    for wrong in ("GET", "HGETALL", "SMEMBERS", "DUMP"):
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
