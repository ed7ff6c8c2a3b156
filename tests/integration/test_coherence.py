"""What a read may return after a row has changed: evictions, and the rules that keep an old row from coming back."""

import json

import psycopg
import pytest

from support.rows import Gate, applied, explain, fills, in_background, keep, state
from support.waiting import wait_until

UPDATE = "UPDATE customers SET name = 'new' WHERE id = 1"


def name(f, key="customers:1"):
    row = f.row(key)
    return row and row["name"]


# ---- evictions ----


def test_an_update_is_seen_by_the_next_read_after_it_was_applied(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    shop.execute(UPDATE)
    applied(f, shop)
    assert name(f) == "new"


def test_both_forms_of_a_row_go_together(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    f.redis.hgetall("customers:1")
    assert explain(f, "customers:1")["forms"] == "json,fields"
    shop.execute(UPDATE)
    applied(f, shop)
    assert f.redis.hget("customers:1", "name") == "new"
    assert name(f) == "new"


def test_an_insert_evicts_the_negative_entry(shop, freshet):
    f = freshet(shop)
    assert keep(f, "customers:9001") is None
    assert state(f, "customers:9001") == "absent"
    shop.execute("INSERT INTO customers (id, name, email) VALUES (9001, 'Hedy', 'h@x')")
    applied(f, shop)
    assert name(f, "customers:9001") == "Hedy"


def test_a_delete_is_seen(shop, freshet):
    f = freshet(shop)
    keep(f, "order_items:1:1")
    shop.execute("DELETE FROM order_items WHERE order_id = 1 AND line = 1")
    applied(f, shop)
    assert f.row("order_items:1:1") is None


def test_a_changed_primary_key_is_seen_at_the_old_and_the_new_key(shop, freshet):
    f = freshet(shop)
    shop.execute("INSERT INTO products VALUES (7001, 'thing', 1.50)")
    keep(f, "products:7001")
    assert keep(f, "products:7002") is None
    shop.execute("UPDATE products SET id = 7002 WHERE id = 7001")
    applied(f, shop)
    assert f.row("products:7001") is None
    assert f.row("products:7002")["name"] == "thing"


def test_truncate_evicts_the_whole_table_and_no_other(db, freshet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
    db.execute("INSERT INTO t VALUES (1), (2); INSERT INTO u VALUES (1)")
    f = freshet(db)
    for key in ("t:1", "t:2", "u:1"):
        keep(f, key)
    db.execute("TRUNCATE t")
    applied(f, db)
    assert f.redis.mget("t:1", "t:2") == [None, None]
    assert state(f, "u:1") == "resident"


def test_copy_and_on_conflict_are_seen(shop, freshet):
    f = freshet(shop)
    assert keep(f, "products:8001") is None
    keep(f, "products:1")
    with shop.connect() as connection, connection.cursor().copy("COPY products (id, name, price) FROM STDIN") as copy:
        copy.write_row((8001, "copied", "2.00"))
    shop.execute(
        "INSERT INTO products VALUES (1, 'upserted', 3) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    )
    applied(f, shop)
    assert name(f, "products:8001") == "copied"
    assert name(f, "products:1") == "upserted"


def test_what_is_rolled_back_evicts_nothing(shop, freshet):
    f = freshet(shop)
    for key in ("customers:1", "customers:2", "customers:3"):
        keep(f, key)
    with shop.connect(autocommit=False) as connection:
        connection.execute(UPDATE)
        connection.rollback()
        connection.execute("UPDATE customers SET name = 'kept' WHERE id = 2")
        connection.execute("SAVEPOINT s")
        connection.execute("UPDATE customers SET name = 'undone' WHERE id = 3")
        connection.execute("ROLLBACK TO SAVEPOINT s")
        connection.commit()
    applied(f, shop)
    assert state(f, "customers:1") == "resident"
    assert state(f, "customers:3") == "resident"
    assert name(f, "customers:2") == "kept"


def test_a_savepoint_that_is_kept_evicts(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    with shop.connect(autocommit=False) as connection:
        connection.execute("SAVEPOINT s")
        connection.execute(UPDATE)
        connection.execute("RELEASE SAVEPOINT s")
        connection.commit()
    applied(f, shop)
    assert name(f) == "new"


def test_a_transaction_over_several_tables_is_seen_in_all(shop, freshet):
    f = freshet(shop)
    keys = ("customers:1", "products:1", "order_items:2:1")
    for key in keys:
        keep(f, key)
    shop.execute_many(
        UPDATE, "UPDATE products SET name = 'new' WHERE id = 1", "UPDATE order_items SET quantity = 77 WHERE order_id = 2"
    )
    applied(f, shop)
    rows = [json.loads(text) for text in f.redis.mget(*keys)]
    assert (rows[0]["name"], rows[1]["name"], rows[2]["quantity"]) == ("new", "new", 77)


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX customers_pkey", "DEFAULT"])
def test_any_identity_that_holds_the_key_will_do(shop, freshet, identity):
    shop.execute(f"ALTER TABLE customers REPLICA IDENTITY {identity}")
    f = freshet(shop)
    keep(f, "customers:1")
    keep(f, "customers:3000")
    shop.execute("UPDATE orders SET customer_id = 2 WHERE customer_id = 1")
    shop.execute("UPDATE customers SET id = 3000 WHERE id = 1")
    applied(f, shop)
    assert f.row("customers:1") is None
    assert f.row("customers:3000") is not None


def test_an_identity_without_the_primary_key_means_uncached(shop, freshet):
    shop.execute("ALTER TABLE customers REPLICA IDENTITY USING INDEX customers_email_key")
    f = freshet(shop)
    before = name(f)
    assert explain(f, "customers:1")["why"] == "its replica identity lacks the primary key"
    assert state(f, "customers:1") == "uncached"
    shop.execute(UPDATE)
    assert before != name(f) == "new"


def test_partitions_are_read_and_evicted_by_their_root(db, freshet):
    db.execute("CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
    db.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)")
    db.execute("INSERT INTO p VALUES (1, 'old'), (101, 'old')")
    f = freshet(db)
    keep(f, "p:1")
    keep(f, "p:101")
    db.execute("UPDATE p SET v = 'new' WHERE id = 1")
    db.execute("UPDATE p2 SET v = 'new'")
    applied(f, db)
    assert f.row("p:1")["v"] == f.row("p:101")["v"] == "new"
    keep(f, "p:101")
    # Of a partition that is truncated by itself the stream says nothing; the poll of the catalog sees it.
    db.execute("TRUNCATE p2")
    wait_until(lambda: f.row("p:101") is None, what="the partition's rows are gone")


def test_a_table_without_a_key_keeps_accepting_updates(shop, freshet):
    f = freshet(shop)
    shop.execute("INSERT INTO page_views VALUES ('/x')")
    assert shop.execute("UPDATE page_views SET path = '/y' WHERE path = '/x'") == 1
    assert shop.execute("DELETE FROM page_views WHERE path = '/y'") == 1
    assert f.row("page_views:1") is None
    shop.execute("CREATE TABLE later (a int)")
    shop.execute("INSERT INTO later VALUES (1)")
    shop.execute("CREATE TABLE keyed (id int PRIMARY KEY, v int)")
    shop.execute("INSERT INTO keyed VALUES (1, 1)")
    keep(f, "keyed:1")
    assert shop.execute("UPDATE later SET a = 2") == 1
    assert shop.execute("UPDATE keyed SET v = 2") == 1
    applied(f, shop)
    assert f.row("keyed:1")["v"] == 2


def test_a_key_dropped_while_running_does_not_stop_updates(shop, freshet):
    f = freshet(shop)
    keep(f, "products:1")
    shop.execute("ALTER TABLE order_items DROP CONSTRAINT order_items_product_id_fkey")
    shop.execute("ALTER TABLE products DROP CONSTRAINT products_pkey")

    def updated():
        try:
            return shop.execute("UPDATE products SET name = 'new' WHERE id = 1")
        except psycopg.errors.ObjectNotInPrerequisiteState:
            return False  # until the next poll of the catalog has taken it out of the publication

    wait_until(updated, what="the table accepts updates again")
    wait_until(lambda: f.redis.get("products:1") is None, what="its name is an ordinary prefix")


# ---- the visibility gap ----


def gap_scenario(server, shop, start):
    """Rule 3: a commit is streamed before it is visible. What is read in between must not be kept."""
    f = start(shop)
    keep(f, "customers:1")
    with shop.commit_held(UPDATE):
        wait_until(lambda: state(f, "customers:1") == "uncached", what="the entry is evicted")
        assert name(f) != "new"
        kept_in_gap = state(f, "customers:1")
        assert name(f) != "new"
    assert name(f) == "new", "an old row was kept"
    assert kept_in_gap == "uncached"
    assert fills(f, "retried") > 0 and fills(f, "uncached") > 0
    keep(f, "customers:1")
    assert name(f) == "new"


def table_gap_scenario(server, shop, start):
    """Rule 3 for a whole table: the same with TRUNCATE."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    shop.execute("INSERT INTO t VALUES (1)")
    f = start(shop)
    keep(f, "t:1")
    generations = f.metric("freshet_cache_table_fences_total")
    with shop.commit_held("TRUNCATE t"):
        # TRUNCATE locks the table until it is visible: what would read it waits for that.
        wait_until(lambda: f.metric("freshet_cache_table_fences_total") > generations, what="the table is fenced")
        read = in_background(lambda: f.client().get("t:1"))
    assert read() is None
    assert f.row("t:1") is None


def insert_gap_scenario(server, shop, start):
    """Rule 3 for a row that is not there yet."""
    f = start(shop)
    assert keep(f, "customers:9001") is None
    with shop.commit_held("INSERT INTO customers (id, name, email) VALUES (9001, 'Hedy', 'h@x')"):
        wait_until(lambda: state(f, "customers:9001") == "uncached", what="the negative entry is evicted")
        assert f.row("customers:9001") is None
        assert f.redis.mget("customers:9001", "products:1")[0] is None
    assert name(f, "customers:9001") == "Hedy"


def alias_gap_scenario(server, shop, start):
    """Rule 3 for a row that was asked for by another text than its own."""
    f = start(shop)
    for key in ("customers:01", "customers:+1", "customers:id=1"):
        keep(f, key)
    with shop.commit_held(UPDATE):
        for key in ("customers:01", "customers:+1", "customers:id=1"):
            wait_until(lambda: state(f, key) == "uncached", what=f"{key} is evicted")
            assert name(f, key) != "new"
    for key in ("customers:1", "customers:01", "customers:+1", "customers:id=1"):
        assert name(f, key) == "new"


def start_in_gap_scenario(server, shop, start):
    """Rule 5: a transaction that commits before the stream's first position, and is not visible yet, is in no stream.

    A slot is made in steps that wait for the transactions then running. One that begins after the last of those steps and
    commits before the slot is made is such a transaction.
    """
    first = shop.connect(autocommit=False)
    second = shop.connect(autocommit=False)
    first.execute("SELECT pg_current_xact_id()")
    f = start(shop, wait=False)

    def waits_for(connection):
        xid = connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
        wait_until(
            lambda: shop.value(
                "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'transactionid'"
                " AND NOT l.granted AND l.transactionid::text = %s AND a.backend_type = 'walsender'",
                [xid],
            ),
            what=f"the slot waits for {xid}",
        )

    waits_for(first)
    f.wait_for_log("cache_tables_mapped")  # until then every row is refused
    assert name(f) is not None  # answered all the same
    second.execute("SELECT pg_current_xact_id()")
    first.rollback()
    waits_for(second)
    with shop.commit_held(UPDATE):
        second.rollback()
        f.wait_for_log("cache_tables_joined")
        for _ in range(3):
            assert name(f) != "new"
        kept_in_gap = explain(f, "customers:1")
    assert name(f) == "new", "an old row was kept"
    assert kept_in_gap["state"] == "uncached"
    assert "still running" in kept_in_gap["why"]
    keep(f, "customers:1")
    assert name(f) == "new"
    first.close()
    second.close()


def joined_fill_scenario(server, shop, start):
    """Rule 6: who joins a fill that was sent before a commit was applied is owed what came after it."""
    shop = server.create_database()
    gate = Gate(shop)
    f = start(shop, {"database": {"url": gate.url}, "cache": {"fill_timeout": "20s"}})
    with gate.shut():
        early = in_background(lambda: f.row("gated:1"))
        wait_until(gate.waiting, what="the fill waits")
        shop.execute("UPDATE gated SET v = 'new' WHERE id = 1")
        applied(f, shop)
        late = [in_background(lambda: json.loads(f.client().get("gated:1"))) for _ in range(3)]
        wait_until(lambda: f.metric("freshet_cache_fills_joined_total") >= 3, what="others have joined")
    assert early()["v"] in ("old", "new")
    assert [result()["v"] for result in late] == ["new"] * 3, "a joined fill gave an old row"
    assert f.row("gated:1")["v"] == "new"
    f.stop()
    gate.drop_role()


def forgetting_scenario(server, shop, start):
    """Rule 4: a transaction is remembered as long as a fill is in flight that may not have seen it."""
    shop = server.create_database()
    gate = Gate(shop)
    f = start(shop, {"database": {"url": gate.url}, "cache": {"fill_timeout": "20s"}})
    with gate.shut():
        early = in_background(lambda: f.row("gated:1"))
        wait_until(gate.waiting, what="the fill waits")
        shop.execute("UPDATE gated SET v = 'new' WHERE id = 1")
        applied(f, shop)
        # Snapshots that see it are taken ten times a second: give them time to forget too early.
        samples = f.metric("freshet_cache_samples_total")
        wait_until(lambda: f.metric("freshet_cache_samples_total") >= samples + 5, what="five pulses")
    early()
    assert f.row("gated:1")["v"] == "new", "a fill from before the commit was kept"
    f.stop()
    gate.drop_role()


GAPS = [
    gap_scenario,
    table_gap_scenario,
    insert_gap_scenario,
    alias_gap_scenario,
    start_in_gap_scenario,
    joined_fill_scenario,
    forgetting_scenario,
]


@pytest.mark.parametrize("scenario", GAPS, ids=lambda scenario: scenario.__name__)
def test_no_old_row_comes_back(make_postgres, freshet, scenario):
    server = make_postgres()
    scenario(server, server.create_shop(), freshet)


def test_the_recent_set_empties_once_all_is_visible(shop, freshet):
    f = freshet(shop)
    shop.execute("UPDATE customers SET name = 'x' WHERE id <= 100")
    applied(f, shop)
    wait_until(lambda: f.metric("freshet_cache_recent_keys") == 0, what="the recent set is empty")


def test_wait_answers_the_applied_position_or_times_out(shop, freshet):
    f = freshet(shop)
    lsn = shop.value("SELECT pg_current_wal_insert_lsn()::text")
    answer = f.redis.execute_command("FRESHET.WAIT", lsn, 10000)
    assert shop.value("SELECT %s::pg_lsn >= %s::pg_lsn", [answer, lsn])
    with pytest.raises(Exception, match="TIMEOUT|timeout"):
        f.redis.execute_command("FRESHET.WAIT", "FFFFFFFF/0", 100)
    later = shop.value("SELECT (pg_current_wal_insert_lsn() + 8)::text")
    waiting = in_background(lambda: f.client().execute_command("FRESHET.WAIT", later, 20000))
    shop.execute(UPDATE)
    assert waiting()
    with pytest.raises(Exception, match="LSN"):
        f.redis.execute_command("FRESHET.WAIT", "nonsense", 100)


def test_an_idle_database_stays_fresh_though_nobody_flushes_its_wal(make_postgres, freshet):
    # The WAL writer sleeps: a commit that does not wait for its flush stays unflushed.
    server = make_postgres(wal_writer_delay="10s", bgwriter_delay="10s")
    shop = server.create_shop()
    f = freshet(shop)
    keep(f, "customers:1")
    with shop.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(UPDATE)
        lsn = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
    f.wait_applied(lsn, timeout=2)
    assert name(f) == "new"
    assert f.metric("freshet_cache_lease_held") == 1


def test_many_keys_of_one_transaction_become_a_table_fence(db, freshet):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    db.execute("INSERT INTO t SELECT i, 0 FROM generate_series(1, 300000) i")
    f = freshet(db)
    keep(f, "t:1")
    fences = f.metric("freshet_cache_table_fences_total")
    db.execute("UPDATE t SET v = 1")
    applied(f, db)
    assert f.row("t:1")["v"] == 1
    assert f.metric("freshet_cache_table_fences_total") > fences


def test_a_table_taken_out_of_the_publication_and_put_back_is_read_anew(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    with shop.connect() as connection:
        connection.execute("ALTER PUBLICATION freshet_cache DROP TABLE customers")
        connection.execute(UPDATE)
        connection.execute("ALTER PUBLICATION freshet_cache ADD TABLE customers")
    wait_until(lambda: name(f) == "new", 5, "the poll of the catalog has seen it")
    keep(f, "customers:1")
    shop.execute("UPDATE customers SET name = 'newer' WHERE id = 1")
    applied(f, shop)
    assert name(f) == "newer"


def test_a_dropped_publication_is_made_again(shop, freshet):
    f = freshet(shop)
    keep(f, "customers:1")
    shop.execute("DROP PUBLICATION freshet_cache")
    shop.execute(UPDATE)
    wait_until(lambda: name(f) == "new", what="the new row is read")
    wait_until(lambda: "freshet_cache" in shop.publications(), what="the publication is there again")
    keep(f, "customers:1")
    shop.execute("UPDATE customers SET name = 'newer' WHERE id = 1")
    applied(f, shop)
    assert name(f) == "newer"


def strict_scenario(server, shop, start):
    """The cache's feed as a synchronous standby: once COMMIT has returned, no read gives the old row."""
    f = start(shop)
    server.set("synchronous_standby_names", "'freshet_cache'")
    wait_until(
        lambda: shop.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"), what="the feed is a standby"
    )
    with shop.connect() as connection:
        connection.execute("SET synchronous_commit = remote_apply")
        for round in range(200):
            f.redis.get("customers:1")
            connection.execute("UPDATE customers SET name = %s WHERE id = 1", [f"v{round}"])
            assert name(f) == f"v{round}", "an old row, after its COMMIT had returned"
    server.set("synchronous_standby_names", None)


def test_strict_with_the_feed_as_synchronous_standby(make_postgres, freshet):
    server = make_postgres()
    strict_scenario(server, server.create_shop(), freshet)


def test_waiting_for_an_lsn_behind_an_empty_page_s_header_ends(make_postgres, freshet):
    """The insert position may stand behind the header of a page that nothing was written to: the stream stands before it."""
    page, header = 8192, 24
    shop = make_postgres(autovacuum="off").create_shop()
    f = freshet(shop)

    def position():
        high, low = shop.value("SELECT pg_current_wal_insert_lsn()").split("/")
        return int(high, 16) << 32 | int(low, 16)

    def emit(size):
        shop.execute(f"SELECT pg_logical_emit_message(false, 'x', repeat('x', {size}))")

    emit(1)
    overhead = None
    for _ in range(60):
        before = position()
        left = page - before % page
        emit(left - overhead if overhead and left > overhead + 300 else 400)
        after = position()
        if after // page == before // page:
            overhead = after - before - 400
        if after % page == header:
            break
    else:
        pytest.skip("the position was never there: others write")
    lsn = f"{after >> 32:X}/{after & 0xFFFFFFFF:X}"
    f.redis.execute_command("FRESHET.WAIT", lsn, 10000)
