"""Several databases and slots in one process: `sources` beside the main `database`."""

import pytest

from support.waiting import wait_until


def states(f):
    status = f.status()
    told = {one["name"]: one["feed"]["state"] for one in status.get("sources", [])}
    if "cdc" in status:
        told["main"] = status["cdc"]["feed"]["state"]
    return told


def source(db, name, **cdc):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    return {"name": name, "database": {"url": db.url}, "cdc": {"prefix": f"{name}_{cdc.pop('unique')}", **cdc}}


@pytest.fixture
def other(postgres):
    database = postgres.create_database()
    yield database
    database.drop()


def test_sources_beside_the_main_database(freshet, shop, db, other, kafka, unique, cli):
    config = {
        "cdc": {"slot": unique, "publication": unique, "snapshot": "never", "kafka": {"brokers": kafka.brokers}},
        "sources": [
            source(db, "one", unique=unique, slot=f"{unique}_1"),
            source(other, "Two-b", unique=unique, snapshot="initial", slot=f"{unique}_2", publication="p", format={"encoding": "plain"}),
        ],
    }
    other.execute("INSERT INTO t VALUES (7)")
    f = freshet(shop, config, prefix=f"main_{unique}")
    wait_until(lambda: states(f) == {"main": "streaming", "one": "streaming", "Two-b": "streaming"}, 30)
    db.execute("INSERT INTO t VALUES (1)")
    other.execute("INSERT INTO t VALUES (2)")
    shop.execute("UPDATE customers SET name = 'x' WHERE id = 1")
    assert kafka.wait_for(f"one_{unique}.public.t", 1)[0].value["source"]["db"] == db.name
    assert [r.value["id"] for r in kafka.wait_for(f"Two-b_{unique}.public.t", 2)] in ([7, 2], [2, 7])  # the row alone
    assert kafka.wait_for(f"main_{unique}.public.customers", 1)[0].value["after"]["name"] == "x"
    assert f.row("customers:1")["name"] == "x"  # the cache is the main database's
    # By source, with a label.
    assert f.metric("freshet_cdc_events_total", op="c", source="one") == 1
    assert f.metric("freshet_cdc_events_total", op="r", source="Two-b") == 1
    assert f.metric("freshet_feed_state", source="one", state="streaming") == 1
    assert f.metric("freshet_feed_state", feed="cdc", state="streaming") == 1
    wait_until(lambda: {slot.get("source") for slot in f.status()["slots"]} >= {None, "one", "Two-b"})
    assert f.metric("freshet_slot_active", slot=f"{unique}_1", source="one") == 1
    assert other.publications() == ["p"] and db.publications() == [f"{unique}_1"]  # called as the slot
    told = cli("status", "--admin", f"127.0.0.1:{f.admin_port}").stdout
    assert "source     one" in told and f"prefix Two-b_{unique}" in told
    told = cli("check", "-c", f.config_path)
    assert "source one" in told.stdout and f'slot "{unique}_1" goes on from' in told.stdout
    # One that fails does not stop the others.
    db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [f"{unique}_1"])

    def dropped():
        db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", [f"{unique}_1"])
        db.execute("SELECT pg_drop_replication_slot(%s)", [f"{unique}_1"])
        return True

    wait_until(dropped, every=0.001)
    wait_until(lambda: states(f)["one"] == "failed", 30)
    other.execute("INSERT INTO t VALUES (3)")
    kafka.wait_for(f"Two-b_{unique}.public.t", 3)
    assert states(f) == {"main": "streaming", "one": "failed", "Two-b": "streaming"}
    assert "degraded: one: failed" in f.http("/readyz").text
    reset = cli("cdc", "reset", "-c", f.config_path, "--source", "one", "--from", "now")
    assert reset.returncode == 0, reset.stderr
    wait_until(lambda: states(f)["one"] == "streaming", 30)
    db.execute("INSERT INTO t VALUES (4)")
    assert [r.key["id"] for r in kafka.wait_for(f"one_{unique}.public.t", 2)] == [1, 4]


def test_sources_alone_and_one_of_them_away(freshet, make_postgres, db, kafka, unique):
    server = make_postgres()
    away = server.create_database()
    config = {
        "cdc": {"kafka": {"brokers": kafka.brokers}},
        "sources": [source(db, "here", unique=unique, slot=f"{unique}_1"), source(away, "away", unique=unique)],
    }
    server.stop()
    f = freshet(None, config, wait=False)
    wait_until(lambda: states(f) == {"here": "streaming", "away": "waiting"} or states(f) == {"here": "streaming", "away": "failed"}, 30)
    db.execute("INSERT INTO t VALUES (1)")
    kafka.wait_for(f"here_{unique}.public.t", 1)
    assert f.status()["roles"] == ["cdc"] and "away: waiting" in f.http("/readyz").text
    server.start()
    wait_until(lambda: set(states(f).values()) == {"streaming"}, 30)
    f.wait_ready()


@pytest.mark.parametrize(
    "sources, said",
    [
        ("[{database: {url: postgres://x/a}}]", "sources[0]: has no name"),
        ("[{name: a}]", "a has no database.url"),
        ("[{name: a, database: {url: postgres://x/a}, cache: {}}]", "known here are: name, database, cdc"),
        ("[{name: a b, database: {url: postgres://x/a}}]", "is no name"),
        ("[{name: a, database: {url: postgres://x/a, pool: 3}}]", "has one key here"),
        ("[{name: a, database: [x]}]", "has one key here"),
        ("[{name: a, database: {url: postgres://x/a}, cdc: {sloot: b}}]", 'did you mean "cdc.slot"?'),
        ("[{name: a, database: {url: postgres://x/a}, cdc: {slot: B}}]", "is no slot name"),
        ("[{name: a, database: {url: postgres://x/a}}, {name: a, database: {url: postgres://x/b}}]", '"a" stands there twice'),
        ("[{name: a, database: {url: postgres://x/a}}, {name: b, database: {url: postgres://y/a}}]", "has the prefix of a"),
        ("[{name: a, database: {url: postgres://x/a}, cdc: {slot: s}}, {name: b, database: {url: postgres://x/a}, cdc: {slot: s}}]",
         'b has the slot of a, "s"'),
    ],
)
def test_mistakes_in_sources(cli, tmp_path, sources, said):
    path = tmp_path / "freshet.yml"
    path.write_text(f"cdc: {{kafka: {{brokers: 'x:1'}}}}\nsources: {sources}\n")
    ran = cli("run", "-c", path)
    assert ran.returncode == 2 and said in ran.stderr, ran.stderr
    assert "freshet.yml:2:" in ran.stderr
