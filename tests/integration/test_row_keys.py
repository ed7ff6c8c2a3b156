"""What the commands of plain keys mean for keys of a table: they read rows, and never change one."""

import json

import pytest
import redis

COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attnum > 0 ORDER BY attnum"


@pytest.fixture
def rows(shop, freshet, wait_until):
    f = freshet(shop)
    shop.execute("UPDATE customers SET city = NULL WHERE id = 3")
    f.wait_applied(shop)
    # Until the feed has settled, rows are answered and not kept.
    wait_until(lambda: f.redis.get("customers:1") and "customers:1" in f.redis.keys("customers:1"), 20, "rows are kept")
    f.redis.flushall()
    return f


def columns(shop, id):
    """The row as output functions print it, NULLs left out."""
    names = [column["attname"] for column in shop.rows(COLUMNS)]
    row = shop.rows(f"SELECT {', '.join(f'{name}::text' for name in names)} FROM customers WHERE id = {id}")[0]
    row["vip"] = {"true": "t", "false": "f"}[row["vip"]]  # a cast spells booleans out
    return {name: row[name] for name in names if row[name] is not None}


def test_string_commands_read_the_row_as_json(rows, shop):
    text = shop.value("SELECT row_to_json(c)::text FROM customers c WHERE id = 1")
    assert rows.redis.get("customers:1") == text
    assert rows.redis.strlen("customers:1") == len(text.encode())
    assert rows.redis.getrange("customers:1", 0, 5) == text[:6]
    assert rows.redis.execute_command("SUBSTR", "customers:1", "-4", "-1") == text[-4:]
    assert rows.redis.mget("customers:1", "customers:99999", "plain") == [text, None, None]


def test_hash_commands_read_the_columns(rows, shop):
    for id in (1, 3):
        key, wanted = f"customers:{id}", columns(shop, id)
        assert rows.redis.hgetall(key) == wanted
        assert rows.redis.hkeys(key) == list(wanted)
        assert rows.redis.hvals(key) == list(wanted.values())
        assert rows.redis.hlen(key) == len(wanted)
        assert rows.redis.hexists(key, "city") == (id == 1)
        assert rows.redis.hstrlen(key, "name") == len(wanted["name"].encode())
        assert rows.redis.hmget(key, "name", "city", "none") == [wanted["name"], wanted.get("city"), None]
        assert rows.redis.hscan(key) == (0, wanted)
        assert rows.redis.hrandfield(key) in wanted
        assert set(rows.redis.hrandfield(key, 100)) == set(wanted)


def test_rows_are_keys_of_type_string_with_a_time_to_live(rows):
    assert rows.redis.exists("customers:1", "customers:99999", "customers:2", "customers:1") == 3
    assert rows.redis.touch("customers:1", "customers:99999") == 1
    assert rows.redis.type("customers:5") == "string"
    assert rows.redis.type("customers:99999") == "none"
    assert 0 < rows.redis.ttl("customers:1") <= 300
    assert 0 < rows.redis.pttl("customers:1") <= 300_000
    assert rows.redis.expiretime("customers:1") > 1_700_000_000
    assert rows.redis.ttl("customers:99999") == -2


def test_del_takes_a_row_out_of_memory_only(rows):
    assert rows.redis.get("customers:1")
    assert rows.redis.get("customers:99999") is None
    assert rows.redis.delete("customers:1", "customers:2", "customers:99999") == 1  # 2 was not in memory, 99999 no row
    assert rows.redis.keys("*") == []
    assert rows.redis.unlink("customers:1") == 0
    assert json.loads(rows.redis.get("customers:1"))["id"] == 1


def test_a_row_s_life_can_be_shortened_and_never_made_longer(rows, wait_until):
    rows.redis.get("customers:1")
    assert rows.redis.expire("customers:1", 3000) is False
    assert rows.redis.persist("customers:1") is False
    assert rows.redis.ttl("customers:1") <= 300
    assert rows.redis.expire("customers:1", 50) is True
    assert rows.redis.ttl("customers:1") <= 50
    assert rows.redis.expire("customers:1", 100) is False
    assert rows.redis.pexpire("customers:1", 1) is True
    wait_until(lambda: rows.redis.keys("customers:*") == [], 10, "the row has left memory")
    assert rows.redis.ttl("customers:1") > 50  # read anew
    assert rows.redis.expire("customers:1", 0) is True
    assert rows.redis.keys("customers:*") == []
    assert rows.redis.expire("customers:99999", 10) is False


def test_walks_see_what_is_in_memory_and_no_negative_entry(rows):
    rows.redis.mget("customers:1", "customers:2", "customers:99999")
    rows.redis.hset("customers_note", "a", 1)
    assert sorted(rows.redis.keys("customers*")) == ["customers:1", "customers:2", "customers_note"]
    assert sorted(rows.redis.scan_iter(match="customers:*")) == ["customers:1", "customers:2"]
    assert sorted(rows.redis.scan_iter(_type="string")) == ["customers:1", "customers:2"]
    assert list(rows.redis.scan_iter(_type="hash")) == ["customers_note"]
    assert {rows.redis.randomkey() for _ in range(100)} <= {"customers:1", "customers:2", "customers_note"}
    assert rows.redis.object("encoding", "customers:99999") is None
    assert rows.redis.object("encoding", "customers:1") == "raw"


WRITES = [
    "SET customers:1 x", "SETNX customers:1 x", "SETEX customers:1 10 x", "GETSET customers:1 x", "GETDEL customers:1",
    "GETEX customers:1 EX 10", "APPEND customers:1 x", "SETRANGE customers:1 0 x", "INCR customers:1", "INCRBYFLOAT customers:1 1",
    "MSET plain 1 customers:1 x", "MSETNX plain 1 customers:1 x", "HSET customers:1 name x", "HDEL customers:1 name",
    "HSETNX customers:1 x y", "HINCRBY customers:1 id 1", "SET customers:abc x",
]  # fmt: skip


@pytest.mark.parametrize("command", WRITES)
def test_writes_to_a_row_are_refused(rows, shop, command):
    with pytest.raises(redis.ResponseError, match="READONLY|is a row|read only"):
        rows.redis.execute_command(*command.split())
    assert rows.redis.get("plain") is None
    assert rows.redis.get("customers:1") == shop.value("SELECT row_to_json(c)::text FROM customers c WHERE id = 1")
