"""The admin port, and what it says when parts of Freshet do not work."""

import re
import subprocess

from support.freshet import binary
from support.process import free_port
from support.waiting import PATIENCE
from test_exactly_once import caught_up


def test_metrics_are_prometheus_text_with_help_for_each(freshet, shop):
    f = freshet(shop)
    f.row("customers:1")
    answer = f.http("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    helped, typed = set(), set()
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            assert text.strip(), name
            assert name not in helped, f"{name} twice"
            helped.add(name)
        elif line.startswith("# TYPE "):
            typed.add(line.split(" ")[2])
        else:
            name = re.match(r"[a-z_0-9]+", line)[0]
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name.startswith("freshet_"), line
            assert name in helped or family in helped, line
            float(line.rsplit(" ", 1)[1])
    assert helped == typed and len(helped) > 10
    assert f.metric("freshet_build_info") == 1
    assert f.metric("freshet_process_resident_memory_bytes") > 1_000_000


def test_pages_and_methods(freshet):
    f = freshet(None, {"cache": {"read_through": False}})
    assert f.http("/healthz").text == "ok\n"
    assert f.http("/readyz").text == "ready\n"
    assert f.http("/").status_code == 200
    assert f.http("/nothing").status_code == 404
    refused = f.http("/metrics", "POST", data="x" * 100_000)
    assert refused.status_code == 405 and refused.headers["Allow"] == "GET, HEAD"
    head = f.http("/status", "HEAD")
    assert head.status_code == 200 and not head.content


def test_the_ready_line_comes_once_and_begins_with_ready(freshet, shop):
    f = freshet(shop)
    f.wait_for_log("\nready ")
    f.row("customers:1")
    assert len(re.findall(r"^ready ", f.log_text(), re.M)) == 1
    assert f"cache_port={f.port} admin_port={f.admin_port}" in f.log_text()


def test_not_ready_says_what_it_waits_for(freshet, shop, wait_until):
    """Making a slot waits for the transactions that run; until then reads are answered, uncached."""
    with shop.connect(autocommit=False) as writer:
        writer.execute("UPDATE customers SET vip = vip WHERE id = 1")
        f = freshet(shop, wait=False)
        wait_until(lambda: f.http("/readyz").status_code == 503)
        assert f.http("/readyz").text.startswith("not ready: cache: ")
        assert f.http("/healthz").status_code == 200
        wait_until(lambda: f.row("customers:1")["id"] == 1)
        status = f.status()
        assert status["ready"] is False and status["reason"]
        assert not re.search(r"^ready ", f.log_text(), re.M)
        writer.rollback()
    f.wait_ready()


def test_status_tells_of_feeds_and_slots(freshet, shop, wait_until, unique):
    f = freshet(shop, {"cdc": {"output": "stdout", "slot": unique, "publication": unique}})
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", 30)
    status = f.status()
    assert status["roles"] == ["cache", "cdc"]
    assert status["cache"]["feed"]["state"] == "streaming"
    assert status["cdc"]["feed"]["slot"] == unique
    wait_until(lambda: {slot["slot"]: slot for slot in f.status()["slots"] or []}[unique]["active"])
    assert len(f.status()["slots"]) == 2
    assert f.metric("freshet_slot_active", slot=unique) == 1
    assert f.metric("freshet_slot_retained_wal_bytes", slot=unique) >= 0


def test_the_cache_serves_while_kafka_is_absent(freshet, shop, unique, wait_until):
    brokers = f"127.0.0.1:{free_port()}"
    f = freshet(shop, {"cdc": {"kafka": {"brokers": brokers}, "slot": unique, "publication": unique}})
    shop.execute("UPDATE customers SET name = 'before' WHERE id = 1")
    f.wait_applied(shop)
    assert f.row("customers:1")["name"] == "before"
    wait_until(lambda: "degraded: cdc" in f.http("/readyz").text, 20)
    assert f.http("/readyz").status_code == 200
    assert f.status()["degraded"].startswith("cdc")
    shop.execute("UPDATE customers SET name = 'after' WHERE id = 1")
    f.wait_applied(shop)
    assert f.row("customers:1")["name"] == "after"


def test_a_publisher_that_failed_for_good_leaves_the_cache_alone(freshet, shop, kafka, unique, wait_until):
    """Its slot is dropped under it: events are lost, which is told loudly; reads go on."""
    f = freshet(shop, {"cdc": {"slot": unique, "publication": unique}}, kafka=kafka, prefix=unique)
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "streaming", 30)
    shop.execute("UPDATE customers SET name = 'old' WHERE id = 1")
    caught_up(f, shop)  # a position is noted, to which the next slot does not fit

    def dropped():
        shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                     "WHERE slot_name = %s AND active", [unique])
        shop.execute("SELECT pg_drop_replication_slot(%s)", [unique])
        return True

    wait_until(dropped, every=0.001)
    wait_until(lambda: f.status()["cdc"]["feed"]["state"] == "failed", 30)
    assert unique in f.status()["cdc"]["feed"]["cause"]
    f.wait_for_log("feed_failed")
    assert f.http("/readyz").status_code == 200
    assert "degraded: cdc: failed" in f.http("/readyz").text
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    f.wait_applied(shop)
    assert f.row("customers:1")["name"] == "new"


def test_a_process_without_the_cache_is_ready_when_its_feed_streams(freshet, shop, unique):
    f = freshet(shop, {"roles": ["cdc"], "cdc": {"output": "stdout", "slot": unique, "publication": unique}})
    assert f.status()["roles"] == ["cdc"]
    assert "cache" not in f.status()


def test_a_process_whose_only_feed_failed_ends_with_1(shop, unique):
    command = ["run", "--database", shop.url, "--admin", "127.0.0.1:0", "--set", "roles=cdc", "--set", "cdc.output=stdout",
               "--set", f"cdc.slot={unique}", "--set", f"cdc.publication={unique}"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run([str(binary()), *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60 * PATIENCE)
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr and "every feed has failed" in ran.stderr


def test_it_goes_on_when_the_database_was_there_once(freshet, make_postgres, wait_until):
    server = make_postgres()
    shop = server.create_shop()
    f = freshet(shop)
    assert f.row("customers:1")
    server.stop()
    wait_until(lambda: f.status()["cache"]["feed"]["state"] in ("waiting", "connecting"), 30)
    server.start()
    wait_until(lambda: f.status()["cache"]["feed"]["state"] == "streaming", 30)
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    wait_until(lambda: f.row("customers:1")["name"] == "new")


def test_a_cache_feed_that_was_refused_comes_back_when_the_right_does(freshet, shop, postgres, unique, wait_until):
    """Its slot is temporary: starting it again can lose nothing. Meanwhile reads go to the database."""
    shop.execute(f"CREATE ROLE {unique} LOGIN REPLICATION SUPERUSER")
    f = freshet(None, {"database": {"url": postgres.url(shop.name, unique)}})
    shop.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {unique}")
    shop.execute(f"ALTER ROLE {unique} NOREPLICATION NOSUPERUSER")
    shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE usename = %s", [unique])
    wait_until(lambda: f.status()["cache"]["feed"]["cause"] and "must be superuser" in f.status()["cache"]["feed"]["cause"])
    wait_until(lambda: f.http("/readyz").status_code == 503)
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    wait_until(lambda: f.row("customers:1")["name"] == "new")
    shop.execute(f"ALTER ROLE {unique} REPLICATION")
    f.wait_ready()
    assert f.status()["cache"]["feed"]["state"] == "streaming"
    f.stop()
    shop.execute(f"DROP OWNED BY {unique}")
    postgres.execute(f"DROP ROLE {unique}")
