"""FRESHET.VERIFY: memory is compared with the database; a wrong entry is found, and nothing else is taken for one."""

import threading

import pytest
import redis

import support.freshet
from support.freshet import ROOT
from support.process import free_port
from support.rows import applied, explain, in_background, keep, state
from support.waiting import wait_until


def status(f):
    found = f.client().execute_command("FRESHET.VERIFY", "STATUS")
    return found if isinstance(found, dict) else dict(zip(found[::2], found[1::2]))


def verify(f, rate=20000, passes=1):
    """A whole pass or more; the status at its end."""
    f.redis.execute_command("FRESHET.VERIFY", "START", rate)
    wait_until(lambda: status(f)["passes"] >= passes, 60, "a pass is over")
    f.redis.execute_command("FRESHET.VERIFY", "STOP")
    return status(f)


QUERIES = {
    "orders_of": {
        "key": "orders_of:{customer_id}",
        "sql": "SELECT id, total FROM orders WHERE customer_id = $1",
        "depends_on": {"orders": ["customer_id"]},
    },
    "cities": {
        "key": "cities",
        "sql": "SELECT city, count(*) FROM customers WHERE city IS NOT NULL GROUP BY city",
        "shape": "hash",
        "depends_on": {"customers": "all"},
    },
}


def test_every_kind_of_entry_is_compared(shop, freshet):
    shop.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    f = freshet(shop, {"cache": {"queries": QUERIES}})
    keep(f, "customers:1")
    keep(f, "customers:1", "HGETALL")
    keep(f, "customers:0002")
    keep(f, "customers:email=customer3@example.com")
    keep(f, "customers:99999")
    keep(f, "order_items:1:1")
    keep(f, "orders_of:7")
    keep(f, "cities", "HGETALL")
    f.redis.set("plain", "is nobody's")
    assert status(f)["state"] == "stopped"
    found = verify(f)
    assert (found["checked"], found["stale"], found["unread"], found["undecided"]) == (8, 0, 0, 0)
    assert (found["state"], found["rate"]) == ("stopped", 20000)
    assert f.metric("freshet_verify_checked_total") == 8
    assert f.metric("freshet_verify_stale_total") == 0
    told = f.status()["cache"]["read_through"]["verification"]
    assert (told["running"], told["checked"], told["stale"]) == (False, 8, 0)
    assert state(f, "customers:1") == "resident"
    # Changes in between leave nothing wrong.
    shop.execute("UPDATE customers SET city = 'Ulm' WHERE id < 4")
    shop.execute("UPDATE orders SET total = total + 1")
    shop.execute("ALTER TABLE order_items ADD COLUMN note text DEFAULT 'new'")
    found = verify(f)
    assert found["stale"] == 0


def test_its_orders(shop, freshet):
    f = freshet(shop)
    for wrong in (["START", "0"], ["START", "many"], ["START", "1", "2"], ["STOP", "now"], ["PAUSE"], []):
        with pytest.raises(redis.ResponseError):
            f.redis.execute_command("FRESHET.VERIFY", *wrong)
    assert f.redis.execute_command("FRESHET.VERIFY", "START") == "OK"
    assert (status(f)["state"], status(f)["rate"]) == ("running", 1000)
    assert f.redis.execute_command("FRESHET.VERIFY", "STOP") == "OK"
    assert status(f)["state"] == "stopped"


def test_it_may_run_all_the_time(shop, freshet):
    f = freshet(shop, {"cache": {"verify_rate": 500}})
    keep(f, "customers:1")
    wait_until(lambda: f.metric("freshet_verify_checked_total") >= 3, what="it is looked at again and again")
    assert status(f)["state"] == "running"


def test_without_a_stream_a_difference_is_no_breach(shop, freshet):
    f = freshet(shop, {"cache": {"coherence": "ttl"}})
    old = keep(f, "customers:1")
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    found = verify(f)
    assert (found["stale"], found["ttl_only"]) == (0, 1)
    assert f.redis.get("customers:1") == old


@pytest.fixture
def rules(freshet, monkeypatch):
    path = support.freshet.binary().with_name("freshet-rules")
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is not built: make integration")
    monkeypatch.setattr(support.freshet, "binary", lambda: path)
    return lambda rule, *args, **more: freshet(*args, env={"FRESHET_TEST_RULES_OFF": str(rule)}, **more)


def plant(server, shop, f):
    """An old row that a fill has read in the visibility gap: with rule 3 taken out it is kept."""
    keep(f, "customers:1")
    with shop.commit_held("UPDATE customers SET name = 'new' WHERE id = 1"):
        wait_until(lambda: state(f, "customers:1") == "uncached", what="the row is evicted")
        f.row("customers:1")
    applied(f, shop)
    return f.row("customers:1")["name"]


def test_a_wrong_entry_is_found_told_and_taken_out(make_postgres, rules):
    server = make_postgres()
    shop = server.create_shop()
    f = rules(3, shop)
    for i in range(2, 50):
        keep(f, f"customers:{i}")
    assert plant(server, shop, f) != "new"
    found = verify(f)
    assert found["stale"] == 1
    assert f.metric("freshet_verify_stale_total") == 1
    f.wait_for_log("cache_stale_entry")
    assert 'key="customers:1"' in f.log_text()
    assert f.row("customers:1")["name"] == "new"
    assert state(f, "customers:2") == "resident"
    assert verify(f)["stale"] == 1


def test_with_every_rule_in_force_nothing_is_found_there(make_postgres, rules):
    server = make_postgres()
    shop = server.create_shop()
    f = rules("", shop)
    assert plant(server, shop, f) == "new"
    assert verify(f)["stale"] == 0


def test_in_the_visibility_gap_what_is_newer_than_a_snapshot_is_not_called_wrong(make_postgres, freshet):
    """While commits wait for a standby the primary shows old rows, to verification too."""
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop)
    for i in range(1, 30):
        keep(f, f"customers:{i}")
    with shop.commit_held("UPDATE customers SET name = 'new' WHERE id < 20"):
        wait_until(lambda: state(f, "customers:1") == "uncached", what="the rows are evicted")
        f.redis.mget([f"customers:{i}" for i in range(1, 30)])
        assert verify(f)["stale"] == 0
    assert verify(f)["stale"] == 0


def test_under_heavy_writes_nothing_is_falsely_counted(shop, freshet):
    shop.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    f = freshet(shop, {"cache": {"queries": QUERIES, "workers": 2}})
    over = threading.Event()

    def write(worker):
        with shop.connect() as connection:
            for n in range(10**9):
                if over.is_set():
                    return
                connection.execute("UPDATE customers SET city = %s WHERE id %% 40 = %s", [f"city {n % 7}", n % 40])
                connection.execute("UPDATE orders SET total = total + 1 WHERE customer_id = %s", [n % 40 + worker])
                connection.execute("DELETE FROM order_items WHERE order_id = %s", [n % 40 + 1])
                connection.execute("INSERT INTO order_items SELECT %s, i, 1, 9.5 FROM generate_series(1, 3) i"
                                   " ON CONFLICT DO NOTHING", [n % 40 + 1])

    def read():
        client = f.client()
        for n in range(10**9):
            if over.is_set():
                return
            client.mget([f"customers:{i}" for i in range(1, 80)])
            client.hgetall(f"customers:{n % 80}")
            client.get(f"orders_of:{n % 40}")
            client.get(f"order_items:{n % 40}:{n % 4}")
            client.get(f"customers:email=customer{n % 80}@example.com")
            client.hgetall("cities")

    running = [in_background(lambda w=w: write(w)) for w in range(2)] + [in_background(read) for _ in range(2)]
    f.redis.execute_command("FRESHET.VERIFY", "START", 20000)
    try:
        wait_until(lambda: status(f)["checked"] > 3000 and status(f)["changed"] > 20, 60, "enough was compared")
    finally:
        over.set()
        for one in running:
            one()
    f.redis.execute_command("FRESHET.VERIFY", "STOP")
    found = status(f)
    assert found["stale"] == 0, found
    assert verify(f)["stale"] == 0


# ---- freshet verify cache ----


def test_the_command_line_waits_for_a_whole_pass_whatever_doors_the_cache_has(shop, freshet, cli):
    f = freshet(shop, {"cache": {"users": {"default": {"rules": "on ~* +@read +@connection", "password": "pass"}}}})
    client = f.client(password="pass")
    client.mget([f"customers:{i}" for i in range(1, 20)])
    admin = f"127.0.0.1:{f.admin_port}"
    ran = cli("verify", "cache", "--admin", admin, "--rate", "5000")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("compared 19, wrong 0; ")
    assert not f.http("/status").json()["cache"]["read_through"]["verification"]["running"]  # as it was before
    ran = cli("verify", "cache", "--admin", admin, "--rate", "many")
    assert ran.returncode == 1 and "rate: a number of entries a second" in ran.stderr
    ran = cli("verify", "cache", "--admin", f"127.0.0.1:{free_port()}")
    assert ran.returncode == 1 and "does Freshet run" in ran.stderr


def test_the_command_line_tells_of_a_wrong_entry(make_postgres, rules, cli):
    server = make_postgres()
    shop = server.create_shop()
    f = rules(3, shop)
    assert plant(server, shop, f) != "new"
    ran = cli("verify", "cache", "-c", f.config_path)
    assert ran.returncode == 1
    assert ran.stdout.startswith("compared 1, wrong 1; ") and "cache_stale_entry" in ran.stderr
    assert cli("verify", "cache", "-c", f.config_path).returncode == 0


# ---- FRESHET.EXPLAIN ----


def test_explain_tells_what_an_entry_is_and_what_touches_it(shop, freshet):
    f = freshet(shop, {"cache": {"queries": QUERIES}})
    keep(f, "customers:1")
    told = explain(f, "customers:1")
    assert (told["state"], told["is"], told["table"], told["source"]) == ("resident", "a row", "public.customers", "primary")
    assert told["touched_by"] == "public.customers: this row"
    assert 0 <= int(told["age_ms"]) < 60000 and 0 < int(told["ttl_ms"]) <= 300000 and int(told["bytes"]) > 100
    assert int(told["staleness_ms"]) <= 2000 and told["lease"] == "held" and told["coherence"] == "stream"
    assert int(told["snapshot_xmin"]) <= int(told["snapshot_xmax"]) and "/" in told["installed_lsn"]
    keep(f, "customers:email=customer3@example.com")
    told = explain(f, "customers:email=customer3@example.com")
    assert (told["is"], told["index"]) == ("a row by a unique key", "customers_email_key")
    keep(f, "cities", "HGETALL")
    told = explain(f, "cities")
    assert (told["is"], told["touched_by"], told["forms"]) == ("a named query", "public.customers: any row", "fields")
    assert explain(f, "orders_of:7")["touched_by"] == "public.orders by customer_id"
    told = explain(f, "customers:77")
    assert told["state"] == "uncached" and "not been read" in told["why"]
    assert explain(f, "customers:abc")["state"] == "refused"
    assert "not an integer" in explain(f, "customers:abc")["why"]
    f.redis.set("mine", 1)
    assert explain(f, "mine") == {"state": "plain"}
    assert "no table has this prefix" in explain(f, "nothing:1")["why"]
    resp3 = f.client(protocol=3).execute_command("FRESHET.EXPLAIN", "customers:1")
    assert isinstance(resp3, dict) and resp3["state"] == "resident"


def test_explain_tells_of_a_row_that_freshet_has_written(shop, freshet):
    f = freshet(shop, {"cache": {"writes": "through"}})
    f.redis.hset("customers:1", "city", "Ulm")
    wait_until(lambda: f.row("customers:1")["city"] == "Ulm" and explain(f, "customers:1").get("source") == "write",
               what="what was written is kept")
    assert verify(f)["stale"] == 0


def test_explain_tells_of_the_transaction_that_keeps_a_row_out(make_postgres, freshet):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop)
    keep(f, "customers:1")
    with shop.commit_held("UPDATE customers SET name = 'new' WHERE id = 1"):
        wait_until(lambda: state(f, "customers:1") == "uncached", what="the row is evicted")
        told = explain(f, "customers:1")
        assert "may not be visible" in told["why"] and int(told["touched_xid"]) > 0
