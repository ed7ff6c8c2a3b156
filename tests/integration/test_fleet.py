"""Fleets: one publisher, any number of caches that follow its topic of invalidations."""

import os

import pytest
import redis

from faults import FAULTS
from stage import Stage, hunt_with
from support.invalidations import decode
from support.rows import applied, keep, state
from support.waiting import wait_until

PUBLISHER = {"roles": ["cdc"], "cdc": {"invalidations": True, "snapshot": "never", "invalidations_interval": "100ms",
                                       "kafka": {"transaction_interval": "20ms"}}}
FOLLOWER = {"roles": ["cache"], "cache": {"feed": "kafka", "workers": 1, "catalog_poll_interval": "200ms"},
            "cdc": {"invalidations_interval": "100ms"}}


def merged(base, more):
    return {key: merged(base.get(key, {}), more[key]) if isinstance(more.get(key), dict) else more.get(key, base.get(key))
            for key in {**base, **more}}


class Fleet:
    def __init__(self, freshet, db, kafka, prefix, config=None):
        self.make, self.db, self.kafka, self.prefix = freshet, db, kafka, prefix
        self.topic = f"{prefix}.invalidations"
        self.publisher = freshet(db, merged(PUBLISHER, config or {}), kafka=kafka, prefix=prefix)

    def cache(self, config=None, **how):
        return self.make(self.db, merged(FOLLOWER, config or {}), kafka=self.kafka, prefix=self.prefix, **how)

    def records(self):
        return [decode(record.raw_value) for record in self.kafka.read(self.topic)]

    def transactions(self):
        return [record for record in self.records() if record.kind == "T"]

    def published(self):
        """All records up to now."""
        # Not the insert position: what no commit stands behind lies there unflushed, for as long as nothing else happens.
        lsn = self.db.value("SELECT pg_current_wal_flush_lsn() - '0/0'")
        return wait_until(lambda: (all_ := self.records()) and max(r.end for r in all_) >= lsn and all_,
                          what="all is published")


@pytest.fixture
def fleet(freshet, kafka, unique):
    return lambda db, config=None, kafka=kafka: Fleet(freshet, db, kafka, unique, config)


# ---- the publisher ----


def test_each_transaction_is_a_record_of_its_keys(db, fleet):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, name text)")
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, user_id int, total int)")
    f = fleet(db, {"cdc": {"invalidations_columns": ["public.orders.user_id"]}})
    with db.connect() as connection:
        with connection.transaction():
            xid = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()[0]
            connection.execute("INSERT INTO users VALUES (1, 'a@x', 'Ada'), (2, NULL, 'Bob')")
            connection.execute("INSERT INTO orders VALUES (7, 1, 10)")
        with connection.transaction():
            connection.execute("UPDATE users SET id = 3, name = 'Eve' WHERE id = 2")
            connection.execute("DELETE FROM orders WHERE id = 7")
        with connection.transaction(force_rollback=True):
            connection.execute("DELETE FROM users")
        connection.execute("TRUNCATE users, orders")
    f.published()
    first, second, third = f.transactions()
    assert first.xid == xid and first.last and first.part == 0
    assert first.since < first.commit < first.end <= second.since < second.end <= third.since
    assert [(c.operation, c.table, c.old, c.new) for c in first.changes] == [
        ("I", "public.users", None, {"id": "1", "email": "a@x"}),
        ("I", "public.users", None, {"id": "2", "email": None}),
        ("I", "public.orders", None, {"id": "7", "user_id": "1"}),
    ]
    assert [(c.operation, c.table, c.old, c.new) for c in second.changes] == [
        ("U", "public.users", {"id": "2", "email": None}, {"id": "3", "email": None}),
        ("D", "public.orders", {"id": "7", "user_id": None}, None),
    ]
    assert sorted((c.operation, c.table) for c in third.changes) == [("T", "public.orders"), ("T", "public.users")]
    system, timeline = db.value("SELECT system_identifier FROM pg_control_system()"), db.value(
        "SELECT timeline_id FROM pg_control_checkpoint()")
    assert {(r.system, r.timeline, r.database, r.publication) for r in f.records()} == {
        (system, timeline, db.name, "freshet")}


def test_records_are_a_chain_of_heartbeats_and_transactions(db, fleet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = fleet(db)
    for i in range(3):
        db.execute("INSERT INTO t VALUES (%s)", [i])
        f.published()
    records = wait_until(lambda: (r := f.records()) and len(r) > 10 and r)
    through = records[0].since
    for record in records:
        assert record.since == through
        through = record.end
    assert {r.interval_ms for r in records if r.kind == "H"} == {100}
    topic = f.kafka.admin().list_topics(f.topic, timeout=10).topics[f.topic]
    assert len(topic.partitions) == 1
    assert f.publisher.metric("freshet_cdc_invalidation_records_total", kind="transaction") == 3
    assert f.publisher.metric("freshet_cdc_invalidation_records_total", kind="heartbeat") >= 5


def test_a_large_transaction_comes_in_parts_and_skipped_operations_all_the_same(db, fleet):
    db.execute("CREATE TABLE t (id bigint PRIMARY KEY, note text)")
    f = fleet(db, {"cdc": {"skip_operations": ["c", "u", "d", "t"]}})
    db.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 60000) i")
    f.published()
    parts = f.transactions()
    assert len(parts) > 2 and [p.part for p in parts] == list(range(len(parts)))
    assert [p.last for p in parts] == [False] * (len(parts) - 1) + [True]
    assert [bool(p.end) for p in parts] == [p.last for p in parts]
    assert len({p.xid for p in parts}) == len({p.since for p in parts}) == 1
    assert [int(c.new["id"]) for p in parts for c in p.changes] == list(range(1, 60001))


def test_a_killed_publisher_repeats_nothing_that_was_committed(db, fleet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = fleet(db)
    for i in range(20):
        db.execute("INSERT INTO t VALUES (%s)", [i])
        if i % 7 == 6:
            f.publisher.kill9()
            f.publisher.start()
    f.published()
    ids = [int(c.new["id"]) for r in f.transactions() for c in r.changes]
    assert ids == list(range(20))
    records = f.records()
    assert all(b.since <= a.end for a, b in zip(records, records[1:]))


# ---- caches ----


def test_caches_follow_the_topic_and_cost_one_slot(shop, fleet):
    f = fleet(shop)
    caches = [f.cache() for _ in range(3)]
    for one in caches:
        keep(one, "customers:1")
        keep(one, "customers:9001")
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    shop.execute("INSERT INTO customers (id, name, email) VALUES (9001, 'Hedy', 'h@x')")
    caches[0].redis.execute_command("FRESHET.MINLSN", shop.lsn())
    assert caches[0].row("customers:1")["name"] == "new"
    for one in caches:
        applied(one, shop)
        assert one.row("customers:1")["name"] == "new"
        assert one.row("customers:9001")["name"] == "Hedy"
        assert one.status()["cache"]["feed"]["slot"] == f.topic
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = %s", [shop.name]) == 1
    assert shop.value("SELECT count(*) FROM pg_publication") == 1


def test_unique_keys_queries_truncates_and_moves_are_evicted(db, fleet):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE)")
    db.execute("CREATE TABLE orders (id int PRIMARY KEY, user_id int, total int)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute("INSERT INTO users VALUES (1, 'a@x'), (2, 'b@x')")
    db.execute("INSERT INTO orders VALUES (7, 1, 10), (8, 2, 20)")
    queries = {"cache": {"queries": {"of_user": {
        "key": "of_user:{user_id}", "sql": "SELECT id, total FROM orders WHERE user_id = $1 ORDER BY id",
        "depends_on": {"orders": ["user_id"]}}}}}
    f = fleet(db, queries)
    c = f.cache(queries)
    for key in ("users:1", "users:email=a@x", "users:email=c@x", "of_user:1", "of_user:2"):
        keep(c, key)
    db.execute("UPDATE users SET email = 'c@x' WHERE id = 1")
    db.execute("UPDATE orders SET user_id = 2 WHERE id = 7")
    applied(c, db)
    assert c.row("users:email=a@x") is None
    assert c.row("users:email=c@x") == c.row("users:1") == {"id": 1, "email": "c@x"}
    assert c.row("of_user:1") == [] and [row["id"] for row in c.row("of_user:2")] == [7, 8]
    keep(c, "users:2")
    db.execute("TRUNCATE users")
    applied(c, db)
    assert c.row("users:2") is None


def test_a_unique_index_made_later_is_carried(db, fleet):
    db.execute("CREATE TABLE users (id int PRIMARY KEY, email text)")
    db.execute("INSERT INTO users VALUES (1, 'a@x')")
    f = fleet(db)
    c = f.cache()
    db.execute("CREATE UNIQUE INDEX ON users (email)")
    wait_until(lambda: c.row("users:email=a@x") == {"id": 1, "email": "a@x"})
    db.execute("UPDATE users SET email = 'b@x'")
    applied(c, db)
    assert c.row("users:email=a@x") is None
    assert c.row("users:email=b@x") == {"id": 1, "email": "b@x"}
    db.execute("INSERT INTO users VALUES (2, 'c@x')")
    f.published()
    assert wait_until(lambda: db.execute("UPDATE users SET email = email WHERE id = 2") or f.published() and
                      f.transactions()[-1].changes[0].new == {"id": "2", "email": "c@x"})


def test_an_altered_table_is_cleared(db, fleet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    db.execute("INSERT INTO t VALUES (1, 1), (2, 2)")
    f = fleet(db)
    c = f.cache({"cache": {"catalog_poll_interval": "1h"}})
    keep(c, "t:1")
    db.execute("INSERT INTO t VALUES (3, 3)")
    db.execute("ALTER TABLE t ADD COLUMN w text DEFAULT 'w'")
    db.execute("UPDATE t SET v = 5 WHERE id = 2")
    applied(c, db)
    assert c.row("t:1") == {"id": 1, "v": 1, "w": "w"}


def test_without_heartbeats_the_lease_ends_and_reads_go_to_the_database(shop, freshet, make_kafka, unique):
    broker = make_kafka()
    f = Fleet(freshet, shop, broker, unique)
    c = f.cache({"cache": {"max_staleness": "1s"}})
    keep(c, "customers:1")
    broker.pause()

    def bypasses():
        before = c.metric("freshet_cache_bypassed_total")
        return c.row("customers:1") and c.metric("freshet_cache_bypassed_total") > before

    wait_until(bypasses, what="the lease has ended")
    bypassed = c.metric("freshet_cache_bypassed_total")
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    assert c.row("customers:1")["name"] == "new"
    assert c.metric("freshet_cache_bypassed_total") > bypassed
    with pytest.raises(redis.ResponseError, match="TIMEOUT"):
        c.redis.execute_command("FRESHET.WAIT", shop.lsn(), 200)
    wait_until(lambda: "no record for" in (c.status()["cache"]["feed"]["cause"] or ""), timeout=30)
    broker.resume()
    c.wait_applied(shop, timeout=60)
    keep(c, "customers:1")
    assert c.row("customers:1")["name"] == "new" and c.status()["cache"]["feed"]["state"] == "streaming"


def test_what_is_missing_in_the_topic_clears_the_cache(shop, fleet):
    """The publisher's position is moved on behind its back: records are missing, and all that is kept goes."""
    f = fleet(shop)
    c = f.cache()
    keep(c, "customers:1")
    f.publisher.stop()
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    shop.execute("SELECT pg_replication_slot_advance('freshet', pg_current_wal_lsn())")
    position = '{{"end_lsn":{},"lsn":"0/0","snapshot_done":true,"system_identifier":"{}"}}'.format(
        shop.value("SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'freshet'"),
        shop.value("SELECT system_identifier FROM pg_control_system()"))
    f.kafka.produce(f"{f.prefix}.positions", '{"slot":"freshet"}', position)
    f.publisher.start()
    applied(c, shop)
    assert c.row("customers:1")["name"] == "new"
    assert "records are missing" in c.log_text()


def test_another_publication_or_a_missing_topic_is_said(shop, fleet, freshet, kafka, unique):
    f = fleet(shop)
    other = f.cache({"cache": {"publication": "other"}}, wait=False)
    shop.execute("CREATE PUBLICATION other FOR TABLE customers")
    wait_until(lambda: 'cache.publication is "other"' in (other.status()["cache"]["feed"]["cause"] or ""))
    assert other.row("customers:1")["id"] == 1 and state(other, "customers:1") != "resident"
    lost = f.cache({"cache": {"kafka": {"topic": f"{unique}.nowhere"}}}, wait=False)
    wait_until(lambda: "does not exist" in (lost.status()["cache"]["feed"]["cause"] or ""))


def test_a_promoted_standby_clears_the_caches(make_postgres, freshet, kafka, unique):
    """After a failover the publisher begins anew (its slot has stayed behind), and its records tell of another timeline."""
    primary = make_postgres()
    shop = primary.create_shop()
    standby = primary.create_standby()
    shop.url = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{shop.name}?target_session_attrs=read-write"
    f = Fleet(freshet, shop, kafka, unique)
    c = f.cache()
    keep(c, "customers:1")
    lsn = shop.lsn()
    wait_until(lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [lsn]))
    primary.kill9()
    standby.promote()
    after = standby.database(shop.name)
    after.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    wait_until(lambda: "is gone" in (f.publisher.status()["cdc"]["feed"]["cause"] or ""), timeout=30)
    wait_until(lambda: c.row("customers:1")["name"] == "new", timeout=10, what="the lease has ended")
    kafka.produce(f"{unique}.positions", '{"slot":"freshet"}', None)  # an operator's choice: it begins anew
    wait_until(lambda: c.log_text().count("feed_streaming") == 2, timeout=30, what="another session has begun")
    c.wait_ready()
    keep(c, "customers:1")
    after.execute("UPDATE customers SET name = 'newer' WHERE id = 1")
    applied(c, after)
    assert c.row("customers:1")["name"] == "newer"
    assert {r.timeline for r in f.records()} == {1, 2}


def test_a_crash_of_the_database_clears_the_caches(make_postgres, fleet):
    server = make_postgres()
    shop = server.create_shop()
    f = fleet(shop)
    c = f.cache()
    keep(c, "customers:1")
    server.kill9()
    server.start()
    wait_until(lambda: c.log_text().count("feed_streaming") == 2, timeout=30, what="another session has begun")
    c.wait_ready()
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    applied(c, shop)
    assert c.row("customers:1")["name"] == "new"


SECONDS = os.environ.get("FRESHET_HUNT_SECONDS")


@pytest.mark.parametrize("fault", ["topic", "publisher"] if SECONDS else ["publisher"])
def test_no_stale_read_is_found_by_way_of_the_topic(workshop, postgres, kafka, fault):
    with Stage(workshop, postgres, kafka) as stage:
        hunt = hunt_with(stage, FAULTS[fault], float(SECONDS or 4))
    figures = hunt.figures()
    assert not hunt.violations, (hunt.violations[:10], figures)
    assert figures["reads"] > 100 and figures["commits"] > 20 and figures["waits"] > 0, figures


def test_check_looks_at_the_topic_and_its_publication(shop, fleet, cli, kafka, unique):
    f = fleet(shop, {"cdc": {"tables": ["public.customers", "public.orders"]}})
    words = ["check", "--database", shop.url, "--prefix", unique, "--set", "cache.feed=kafka", "--set", "roles=cache",
             "--set", f"cache.kafka.brokers={kafka.brokers}"]
    told = cli(*words)
    assert told.returncode == 0
    assert f'topic "{f.topic}" holds' in told.stdout and 'publication "freshet" covers 2 tables' in told.stdout
    assert 'public.products is not in publication "freshet"' in told.stdout
    assert "freshet_cache" not in told.stdout and "replication slots" not in told.stdout
    told = cli(*words, "--set", "cache.kafka.topic=nowhere")
    assert told.returncode == 0 and 'topic "nowhere" does not exist' in told.stdout
    wrong = cli("check", "--database", shop.url, "--set", "cache.feed=kafka", "--set", "cdc.invalidations_columns=id",
                "--set", "cdc.output=stdout", "--set", "cdc.invalidations=true", "--set", "cache.max_staleness=500ms")
    assert wrong.returncode == 2
    for line in ("cache.kafka.brokers: is not set", "cdc.invalidations: needs cdc.output: kafka",
                 '"id" names no column', "cache.max_staleness: must be at least twice"):
        assert line in wrong.stderr + wrong.stdout
