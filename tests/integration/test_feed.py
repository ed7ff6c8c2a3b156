"""The feed from a replication slot into a sink: what is delivered, in what order, and what is told when it cannot be."""

import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.feed import Feed
from support.postgres import Database

pytestmark = pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)


@pytest.fixture
def feedprint(tmp_path):
    made = []

    def make(database, **options):
        made.append(Feed(database, folder=tmp_path, **options))
        return made[-1]

    yield make
    for feed in made:
        feed.close()


@pytest.fixture
def tables(db):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    db.execute("CREATE PUBLICATION feedprint FOR ALL TABLES WITH (publish_via_partition_root)")
    return db


@pytest.fixture
def streaming(tables, feedprint, unique):
    """A feed that streams from the tables as they are now."""
    feed = feedprint(tables, slot=unique)
    feed.wait_state("streaming")
    return feed


def lsn(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


# ---- what is delivered


def test_what_was_rolled_back_is_never_seen(tables, streaming):
    with pytest.raises(ZeroDivisionError):
        with tables.connect() as connection, connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError
    tables.execute_many(
        "INSERT INTO t VALUES (2)", "SAVEPOINT s", "INSERT INTO t VALUES (3)", "ROLLBACK TO s", "INSERT INTO t VALUES (4)"
    )
    assert streaming.changes(tables) == ["insert public.t new=(2,NULL)", "insert public.t new=(4,NULL)"]


def test_a_transaction_comes_whole_with_its_full_xid(tables, streaming):
    with tables.connect() as connection, connection.transaction():
        xid = connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
        connection.execute("INSERT INTO t SELECT generate_series(1, 3)")
    commit = streaming.wait_for(rf"commit xid={xid} rows=3 lsn=(\S+) end=(\S+)")
    assert lsn(commit[1]) < lsn(commit[2])
    begin = streaming.lines.index(f"begin xid={xid} snapshot=0")
    assert [line.split()[0] for line in streaming.lines[begin:]][:6] == ["begin", "relation"] + ["insert"] * 3 + ["commit"]


def test_copy_delivers_each_row(tables, streaming):
    with tables.connect() as connection, connection.cursor().copy("COPY t FROM STDIN") as copy:
        for i in range(100):
            copy.write_row((i, f"row {i}"))
    assert streaming.changes(tables) == [f"insert public.t new=({i},row {i})" for i in range(100)]


def test_truncate_is_one_change_a_table(tables, streaming):
    tables.execute("CREATE TABLE u (id int PRIMARY KEY REFERENCES t)")
    tables.execute("TRUNCATE t CASCADE")
    tables.execute("TRUNCATE u RESTART IDENTITY")
    assert streaming.changes(tables) == [
        "truncate public.t cascade=1 restart=0",
        "truncate public.u cascade=1 restart=0",
        "truncate public.u cascade=0 restart=1",
    ]


@pytest.mark.parametrize(
    "identity, old, key_change",
    [
        ("DEFAULT", "key=(2,NULL,NULL)", "key=(1,NULL,NULL) "),
        ("FULL", "old=(2,a,y)", "old=(1,a,x) "),
        ("USING INDEX t_a", "key=(NULL,a,NULL)", ""),
    ],
)
def test_old_rows_follow_the_replica_identity(db, feedprint, unique, identity, old, key_change):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b text)")
    db.execute("CREATE UNIQUE INDEX t_a ON t (a)")
    db.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    feed = feedprint(db, slot=unique)
    feed.wait_state("streaming")
    db.execute("INSERT INTO t VALUES (1, 'a', 'x')")
    db.execute("UPDATE t SET id = 2")
    db.execute("UPDATE t SET b = 'y'")
    db.execute("DELETE FROM t")
    insert, new_key, update, delete = feed.changes(db)
    assert insert == "insert public.t new=(1,a,x)"
    assert new_key == f"update public.t {key_change}new=(2,a,x)"
    assert update == "update public.t " + ("old=(2,a,x) " if identity == "FULL" else "") + "new=(2,a,y)"
    assert delete == f"delete public.t {old}"


def test_a_table_without_identity_delivers_inserts(db, feedprint, unique):
    db.execute("CREATE TABLE t (id int)")
    db.execute("ALTER TABLE t REPLICA IDENTITY NOTHING")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t WITH (publish = 'insert, truncate')")
    feed = feedprint(db, slot=unique)
    feed.wait_state("streaming")
    db.execute("INSERT INTO t VALUES (1)")
    db.execute("UPDATE t SET id = 2")
    db.execute("TRUNCATE t")
    assert feed.changes(db) == ["insert public.t new=(1)", "truncate public.t cascade=0 restart=0"]
    assert feed.find(r"relation public.t version=1 identity=n id:23")


def test_partitions_come_as_their_root(tables, streaming):
    tables.execute("CREATE TABLE p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")
    for year in (2025, 2026):
        tables.execute(f"CREATE TABLE p{year} PARTITION OF p FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')")
    tables.execute("INSERT INTO p VALUES (1, '2025-05-05')")
    tables.execute("UPDATE p SET at = '2026-05-05'")
    assert streaming.changes(tables) == [
        "insert public.p new=(1,2025-05-05)",
        "delete public.p key=(1,2025-05-05)",
        "insert public.p new=(1,2026-05-05)",
    ]


def test_a_toasted_value_that_did_not_change_is_marked(tables, streaming):
    tables.execute("ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ADD b int")
    tables.execute("INSERT INTO t VALUES (1, repeat('x', 5000), 1)")
    tables.execute("UPDATE t SET b = 2")
    insert, update = streaming.changes(tables)
    assert len(insert) > 5000
    assert update == "update public.t new=(1,UNCHANGED,2)"


def test_a_changed_schema_comes_with_the_next_row(tables, streaming):
    tables.execute("INSERT INTO t VALUES (1, 'a')")
    tables.execute("ALTER TABLE t ADD b int DEFAULT 7, DROP a")
    tables.execute("INSERT INTO t VALUES (2)")
    tables.execute("ALTER TABLE t RENAME TO renamed")
    tables.execute("INSERT INTO renamed VALUES (3)")
    tables.execute("CREATE INDEX ON renamed (b)")  # the server describes it again; nothing differs
    tables.execute("INSERT INTO renamed VALUES (4)")
    assert streaming.changes(tables) == [
        "insert public.t new=(1,a)",
        "insert public.t new=(2,7)",
        "insert public.renamed new=(3,7)",
        "insert public.renamed new=(4,7)",
    ]
    assert [line for line in streaming.lines if line.startswith("relation")] == [
        "relation public.t version=1 identity=d *id:23 a:25",
        "relation public.t version=2 identity=d *id:23 b:23",
        "relation public.renamed version=3 identity=d *id:23 b:23",
    ]


def test_logical_messages(tables, streaming):
    tables.execute("SELECT pg_logical_emit_message(false, 'p', 'at once')")
    with tables.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("SELECT pg_logical_emit_message(true, 'p', 'within')")
        connection.execute("SELECT pg_logical_emit_message(false, 'p', 'before the commit')")
        tables.execute("INSERT INTO t VALUES (2)")  # another's commit, which flushes the WAL before it
        streaming.wait_for(".*content=before the commit")
    assert streaming.changes(tables) == [
        "message transactional=0 prefix=p content=at once",
        "message transactional=0 prefix=p content=before the commit",
        "insert public.t new=(2,NULL)",
        "insert public.t new=(1,NULL)",
        "message transactional=1 prefix=p content=within",
    ]


def test_values_have_one_text_whatever_the_roles_settings_are(db, feedprint, unique):
    db.execute(
        "CREATE TABLE t (id int PRIMARY KEY, d date, at timestamptz, i interval, f float8, b bytea, m money)"
    )
    row = "'2026-11-21', '2026-11-21 07:00:00+02', '1 day 02:00:00', 0.1::float8 + 0.2, '\\x00ff'::bytea"
    db.execute(f"INSERT INTO t VALUES (1, {row})")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    for setting in (
        "datestyle = 'German'", "timezone = 'Asia/Tokyo'", "intervalstyle = 'iso_8601'", "extra_float_digits = -5",
        "bytea_output = 'escape'",
    ):
        db.execute(f"ALTER DATABASE {db.name} SET {setting}")
    feed = feedprint(db, slot=unique, snapshot=1)
    feed.wait_state("streaming")
    db.execute(f"INSERT INTO t VALUES (2, {row})")
    text = "2026-11-21,2026-11-21 05:00:00+00,1 day 02:00:00,0.30000000000000004,\\x00ff,NULL"
    assert feed.changes(db) == [f"read public.t marker=last new=(1,{text})", f"insert public.t new=(2,{text})"]


# ---- the initial snapshot


def test_snapshot_and_stream_together_are_the_table(tables, feedprint, unique):
    tables.execute("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20000) i")
    feed = feedprint(tables, slot=unique, snapshot=1)
    with tables.connect() as writer:
        for i in range(20001, 20300):
            writer.execute("INSERT INTO t VALUES (%s, 'new')", [i])
            writer.execute("DELETE FROM t WHERE id = %s", [i - 20000])
    feed.wait_state("streaming")
    rows = set()
    for line in feed.changes(tables):
        operation, key = re.match(r"(read|insert|delete) public.t .*=\((\d+),", line).groups()
        if operation == "delete":
            rows.remove(int(key))
        else:
            assert int(key) not in rows
            rows.add(int(key))
    assert rows == {row["id"] for row in tables.rows("SELECT id FROM t")}


def test_snapshot_rows_carry_their_markers(tables, feedprint, unique):
    for name, rows in {"a_empty": 0, "b": 3, "c_one": 1, "d": 2, "e_empty": 0}.items():
        tables.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
        tables.execute(f"INSERT INTO {name} SELECT generate_series(1, {rows})")
    feed = feedprint(tables, slot=unique, snapshot=1, messages=0)
    feed.wait_for("snapshot_done .*")
    assert [line for line in feed.lines if line.startswith("read")] == [
        "read public.b marker=first_in_table new=(1)",
        "read public.b marker=true new=(2)",
        "read public.b marker=last_in_table new=(3)",
        "read public.c_one marker=last_in_table new=(1)",
        "read public.d marker=first_in_table new=(1)",
        "read public.d marker=last new=(2)",
    ]
    tables.execute("INSERT INTO a_empty VALUES (1), (2), (3)")
    feed = feedprint(tables, slot=unique + "2", snapshot=1, pattern=["public.a_*", "d"])
    feed.wait_for("snapshot_done .*")
    assert [line for line in feed.lines if line.startswith("read")] == [
        "read public.a_empty marker=first new=(1)",
        "read public.a_empty marker=true new=(2)",
        "read public.a_empty marker=last_in_table new=(3)",
        "read public.d marker=first_in_table new=(1)",
        "read public.d marker=last new=(2)",
    ]


def test_a_snapshot_of_nothing_is_done(tables, feedprint, unique):
    feed = feedprint(tables, slot=unique, snapshot=1)
    feed.wait_for("commit xid=0 rows=0 .*")
    feed.wait_for("snapshot_done .*")


def test_snapshot_reads_what_the_publication_publishes(db, feedprint, unique):
    db.execute('CREATE SCHEMA "Odd ""S"')
    db.execute(
        'CREATE TABLE "Odd ""S"."T.t" (id int PRIMARY KEY, "a b" text, hidden text, g int GENERATED ALWAYS AS (id * 2) STORED)'
    )
    db.execute("""INSERT INTO "Odd ""S"."T.t" VALUES (1, E'tab\\tslash\\\\', 'h'), (2, NULL, 'h')""")
    db.execute("CREATE TABLE parent (id int PRIMARY KEY)")
    db.execute("CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)")
    db.execute("INSERT INTO parent VALUES (1)")
    db.execute("INSERT INTO child VALUES (2)")
    db.execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    db.execute("INSERT INTO p VALUES (5)")
    db.execute(
        'CREATE PUBLICATION feedprint FOR TABLE "Odd ""S"."T.t" (id, "a b") WHERE (id < 2), parent, p'
        " WITH (publish_via_partition_root)"
    )
    feed = feedprint(db, slot=unique, snapshot=1)
    feed.wait_state("streaming")
    db.execute("""INSERT INTO "Odd ""S"."T.t" VALUES (0, 'streamed', 'h')""")
    db.execute("INSERT INTO p VALUES (6)")
    assert feed.changes(db) == [
        'read Odd "S.T.t marker=last_in_table new=(1,tab\tslash\\)',
        "read public.child marker=last_in_table new=(2)",
        "read public.p marker=last_in_table new=(5)",
        "read public.parent marker=last new=(1)",
        'insert Odd "S.T.t new=(0,streamed)',
        "insert public.p new=(6)",
    ]
    # The stream describes each table as the snapshot did.
    described = [line for line in feed.lines if line.startswith("relation public.p ")]
    assert len(described) == 2 and described[0] == described[1]


def test_a_snapshot_that_failed_starts_over_with_a_new_slot(tables, feedprint, unique):
    tables.execute("INSERT INTO t SELECT generate_series(1, 1000)")
    feed = feedprint(tables, slot=unique, snapshot=1, fail=1)
    done = feed.wait_for("snapshot_done lsn=(.*)")[1]
    assert feed.find("ended unavailable .*told to fail")
    first, second = (re.search("lsn=(\\S+)", line)[1] for line in feed.lines if line.startswith("started"))
    assert lsn(first) < lsn(second) == lsn(done)
    assert sum(line.startswith("read") for line in feed.lines) == 1000
    assert len(tables.slots()) == 1


def test_a_killed_snapshot_starts_over_with_a_new_slot(tables, feedprint, unique):
    tables.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 50000) i")
    feed = feedprint(tables, slot=unique, snapshot=1)
    feed.wait_for("read .*")
    feed.kill9()
    tables.execute("INSERT INTO t VALUES (0, 'between')")
    feed = feedprint(tables, slot=unique, snapshot=1, quiet=1)
    assert feed.wait_for("commit xid=0 rows=(.*) lsn=.*", timeout=60)[1] == "50001"
    assert "slot_recreating" in feed.log_text()


# ---- positions and slots


def test_a_feed_goes_on_where_its_sink_is(tables, feedprint, unique):
    feed = feedprint(tables, slot=unique, unconfirm=1)  # or the slot may get ahead of `position`, which is refused
    feed.wait_state("streaming")
    tables.execute("INSERT INTO t VALUES (1)")
    position = feed.wait_for("commit .* end=(.*)")[1]
    tables.execute("INSERT INTO t VALUES (2)")
    feed.wait_for(r"insert public.t new=\(2,NULL\)")
    feed.kill9()
    tables.execute("INSERT INTO t VALUES (3)")
    feed = feedprint(tables, slot=unique, position=position)
    feed.wait_state("streaming")
    assert feed.changes(tables) == ["insert public.t new=(2,NULL)", "insert public.t new=(3,NULL)"]


def test_stopping_waits_until_the_sink_confirms_what_it_has(tables, feedprint, unique):
    feed = feedprint(tables, slot=unique, confirm_after_ms=1000)
    feed.wait_state("streaming")
    tables.execute("INSERT INTO t VALUES (1)")
    end = feed.wait_for("commit .* end=(.*)")[1]
    assert lsn(tables.slots()[0]["confirmed_flush_lsn"]) < lsn(end)
    assert feed.stop() == 0
    (slot,) = tables.slots()
    assert not slot["active"]
    assert lsn(slot["confirmed_flush_lsn"]) >= lsn(end)
    assert feed.find("ended stopped.*")


def test_nothing_is_confirmed_before_the_sink_says_so(tables, streaming, wait_until):
    streaming.send("unconfirm")
    streaming.status()  # answered behind it
    tables.execute("INSERT INTO t VALUES (1)")
    end = streaming.wait_for("commit .* end=(.*)")[1]
    status = streaming.status()
    assert lsn(status["confirmed"]) < lsn(end) <= lsn(status["received"])
    assert lsn(tables.slots()[0]["confirmed_flush_lsn"]) < lsn(end)
    assert wait_until(lambda: int(streaming.status()["lag_us"]) > 0)
    streaming.send("confirm")
    wait_until(lambda: lsn(tables.slots()[0]["confirmed_flush_lsn"]) >= lsn(end))
    assert wait_until(lambda: int(streaming.status()["lag_us"]) == 0)


def test_a_commit_waits_for_a_feed_that_is_its_synchronous_standby(postgres, make_postgres, feedprint, unique, wait_until):
    server = make_postgres(postgres.version)
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    feed = feedprint(db, slot=unique)
    feed.wait_state("streaming")
    server.set("synchronous_standby_names", "'feedprint'")
    db.execute("SET synchronous_commit = remote_apply")
    for i in range(100):
        db.execute("INSERT INTO t VALUES (%s)", [i])
    feed.send("unconfirm")
    feed.status()
    with db.connect() as writer:
        writer.execute("SET synchronous_commit = remote_apply")
        with ThreadPoolExecutor() as pool:
            commit = pool.submit(writer.execute, "INSERT INTO t VALUES (1000)")
            feed.wait_for(r"insert public.t new=\(1000\)")
            wait_until(lambda: server.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1)
            assert not commit.done()
            feed.send("confirm")
            commit.result(15)
    server.set("synchronous_standby_names", None)


def test_an_idle_feed_confirms_what_others_write(postgres, tables, streaming, wait_until):
    other = postgres.create_database()
    other.execute("CREATE TABLE noise (a int)")
    other.execute("INSERT INTO noise SELECT generate_series(1, 1000)")
    target = lsn(other.lsn())
    streaming.send("ask")
    streaming.wait_for("progress .*")
    wait_until(lambda: lsn(tables.slots()[0]["confirmed_flush_lsn"]) >= target)
    other.drop()


def test_a_temporary_slot_has_its_own_name_and_goes(tables, feedprint, unique, wait_until):
    feed = feedprint(tables, slot=unique, temporary=1)
    feed.wait_state("streaming")
    (slot,) = tables.slots()
    assert slot["temporary"] and re.fullmatch(unique + "_[0-9a-f]{8}", slot["slot_name"])
    assert feed.wait_for("started .* slot=(.*) lsn=.*")[1] == slot["slot_name"]
    feed.kill9()
    wait_until(lambda: not tables.slots())


def assert_fails(feed, *said):
    assert feed.wait_ended() == 1
    status = feed.find("status state=failed .* cause=(.*)")
    assert status, feed.lines
    for words in said:
        assert words in status[1]


@pytest.fixture
def failing(tables, feedprint, unique):
    """Starts a feed that must fail by itself: its standard input stays open, and it ends after a status."""

    def run(database=tables, **options):
        feed = feedprint(database, slot=options.pop("slot", unique), **options)
        feed.wait_state("failed")
        feed.send("stop")
        return feed

    return run


def test_a_vanished_slot_is_an_error(tables, failing):
    feed = failing(position="0/1500000", snapshot_done=1, snapshot=1)
    assert_fails(feed, "is gone", "0/1500000", "Choose")
    assert tables.slots() == []


def test_a_slot_ahead_of_the_position_is_an_error(tables, failing, unique):
    before = tables.lsn()
    tables.execute("INSERT INTO t VALUES (1)")
    tables.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [unique])
    assert_fails(failing(position=before), "ahead", before, "Choose")


def test_a_position_of_another_cluster_is_an_error(tables, failing):
    assert_fails(failing(system=12345), "12345", "another cluster")


def test_a_position_beyond_the_servers_wal_is_an_error(tables, failing, unique):
    tables.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [unique])
    assert_fails(failing(position="FFFF/0"), "beyond the server's WAL")


def test_a_slot_of_another_plugin_is_not_touched(tables, failing, unique):
    tables.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [unique])
    assert_fails(failing(snapshot=1), "test_decoding", "not ours")
    assert len(tables.slots()) == 1


def test_a_slot_of_another_database_is_not_touched(postgres, tables, failing, unique):
    other = postgres.create_database()
    other.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [unique])
    assert_fails(failing(snapshot=1), f'belongs to database "{other.name}"')
    other.drop()


def test_a_missing_publication_is_an_error(failing):
    assert_fails(failing(publication="absent"), 'publication "absent" does not exist')


def test_a_publication_that_was_made_anew_is_a_refusal(tables, streaming):
    """The server looks it up as it was when a change was made: what lies between cannot be had by it, and 18 would leave it out."""
    tables.execute("DROP PUBLICATION feedprint")
    tables.execute("INSERT INTO t VALUES (1)")
    tables.execute("CREATE PUBLICATION feedprint FOR ALL TABLES WITH (publish_via_partition_root)")
    tables.execute("INSERT INTO t VALUES (2)")
    streaming.wait_state("failed", "was made after changes that are still to come")
    assert "Choose" in streaming.status()["cause"]
    assert not streaming.find(r"insert public.t .*")


def test_a_slot_name_that_cannot_be_is_an_error(failing):
    assert_fails(failing(slot="No-Slot"), "only a-z")


def test_an_active_slot_is_waited_for(tables, streaming, feedprint, unique):
    second = feedprint(tables, slot=unique)
    waiting = second.wait_state("standby", "is active for PID")
    assert unique in waiting["cause"]
    streaming.stop()
    second.wait_state("streaming")


def test_making_a_slot_says_what_it_waits_for(tables, feedprint, unique):
    with tables.connect(autocommit=False) as busy:
        busy.execute("INSERT INTO t VALUES (1)")
        pid = busy.info.backend_pid
        feed = feedprint(tables, slot=unique)
        feed.wait_state("connecting", f"waits for the transaction of PID {pid}")
        assert "slot_waiting" in feed.log_text()
        busy.commit()
        feed.wait_state("streaming")


def test_a_feed_that_waits_for_its_slot_can_be_stopped(tables, feedprint, unique, wait_until):
    with tables.connect(autocommit=False) as busy:
        busy.execute("INSERT INTO t VALUES (1)")
        feed = feedprint(tables, slot=unique)
        wait_until(lambda: tables.slots())
        assert feed.stop() == 0
        busy.rollback()
    wait_until(lambda: not tables.slots())


# ---- trouble


def test_a_killed_walsender_loses_and_repeats_nothing(tables, streaming, wait_until):
    for i in range(5):
        tables.execute("INSERT INTO t VALUES (%s)", [i])
        wait_until(
            lambda: tables.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE application_name = 'feedprint'")
        )
        wait_until(lambda: sum(line.startswith("ended") for line in streaming.lines) == i + 1)
        wait_until(lambda: sum(line.startswith("started") for line in streaming.lines) == i + 2)
        streaming.wait_state("streaming")
    assert streaming.changes(tables) == [f"insert public.t new=({i},NULL)" for i in range(5)]


def test_a_sink_that_fails_gets_its_transaction_again(tables, streaming):
    streaming.send("fail")
    tables.execute("INSERT INTO t VALUES (1), (2)")
    streaming.wait_for("ended unavailable told to fail")
    assert streaming.changes(tables) == ["insert public.t new=(1,NULL)", "insert public.t new=(2,NULL)"]


def test_a_full_sink_keeps_its_connection_and_its_memory(tables, feedprint, unique):
    feed = feedprint(tables, slot=unique, options="-c wal_sender_timeout=1000", quiet=1)
    feed.wait_state("streaming")
    feed.send("hold")
    rss = feed.rss_bytes()
    for _ in range(4):
        tables.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i")
        tables.execute("DELETE FROM t")
        tables.execute("SELECT pg_sleep(1)")  # past the server's timeout, four times over
    assert feed.status()["state"] == "streaming"
    assert not feed.find("(begin|ended).*")
    assert feed.rss_bytes() - rss < 8 * 2**20
    feed.send("go")
    assert feed.changes(tables) == []
    assert sum(int(re.search(r"rows=(\d+)", line)[1]) for line in feed.lines if line.startswith("commit")) == 80001
    assert not feed.find("ended.*")


def test_a_feed_outlives_a_restart_of_the_server(postgres, make_postgres, feedprint, unique):
    server = make_postgres(postgres.version)
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    feed = feedprint(db, slot=unique)
    feed.wait_state("streaming")
    db.execute("INSERT INTO t VALUES (1)")
    feed.wait_for("insert .*")
    server.kill9()
    feed.wait_state("waiting")
    server.start()
    feed.wait_state("streaming", timeout=30)
    again = Database(server, db.name)
    again.execute("INSERT INTO t VALUES (2)")
    assert feed.changes(again) == ["insert public.t new=(1,NULL)", "insert public.t new=(2,NULL)"]
    server.stop()  # a fast shutdown waits for its walsenders: they must not keep it
    starts = {re.search("start_us=(.*)", line)[1] for line in feed.lines if line.startswith("started")}
    assert len(starts) == 2


def test_xids_have_the_servers_epoch(postgres, make_postgres, feedprint, unique):
    server = make_postgres(postgres.version)
    if not (server._bin / "pg_resetwal").exists():
        pytest.skip("this PostgreSQL comes without pg_resetwal")
    server.stop()
    subprocess.run(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] * (subprocess.os.geteuid() == 0)
        + [str(server._bin / "pg_resetwal"), "--epoch=5", "-D", str(server.data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    server.start()
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    feed = feedprint(db, slot=unique)
    feed.wait_state("streaming")
    xid = db.value("WITH x AS (INSERT INTO t VALUES (1)) SELECT pg_current_xact_id()::text")
    assert int(xid) >> 32 == 5
    feed.wait_for(f"commit xid={xid} .*")


def test_no_free_slot_is_an_error_at_first_and_waited_for_later(postgres, make_postgres, feedprint, unique):
    server = make_postgres(postgres.version, max_replication_slots=1)
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    first = feedprint(db, slot=unique, temporary=1)
    first.wait_state("streaming")
    second = feedprint(db, slot=unique + "b", temporary=1)
    second.wait_state("failed", "all replication slots are in use")
    first.stop()


def test_a_lost_slot_is_an_error(postgres, make_postgres, feedprint, unique, wait_until):
    server = make_postgres(postgres.version, max_slot_wal_keep_size="1MB", max_wal_size="32MB", min_wal_size="32MB")
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    feed = feedprint(db, slot=unique)
    feed.wait_state("streaming")
    db.execute("INSERT INTO t VALUES (1)")
    position = feed.wait_for("commit .* end=(.*)")[1]
    feed.stop()

    def lost():
        db.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(2, 20000) i")
        db.execute("DELETE FROM t")
        db.execute("SELECT pg_switch_wal()")
        db.execute("CHECKPOINT")
        return db.slots()[0]["wal_status"] == "lost"

    wait_until(lost, timeout=60)
    feed = feedprint(db, slot=unique, position=position)
    feed.wait_state("failed", "is lost")


@pytest.mark.parametrize("command", ["hold", "unconfirm"])
def test_a_sink_that_is_stuck_does_not_keep_the_server_from_stopping(postgres, make_postgres, feedprint, unique, command):
    server = make_postgres(postgres.version)
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    db.execute("CREATE PUBLICATION feedprint FOR TABLE t")
    feed = feedprint(db, slot=unique, quiet=1)
    feed.wait_state("streaming")
    feed.send(command)
    db.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
    feed.wait_state("streaming")
    server.process.signal(signal.SIGINT)  # a fast shutdown
    assert server.process.wait_ended(30) == 0
    server.start()
    feed.send("go")
    feed.send("confirm")
    feed.wait_for(".* rows=20000 .*", timeout=40)
