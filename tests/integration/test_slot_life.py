"""The life of the publisher's slot: what it retains, how it is lost, and how the stream goes on: by itself where nothing is
missing, else by `freshet cdc reset`, which somebody has to ask for."""

import psycopg
import pytest

from support.postgres import Database
from support.waiting import wait_until


def config_of(unique, **cdc):
    return {"roles": ["cdc"], "cdc": {"slot": unique, "publication": unique, **cdc}}


@pytest.fixture
def publisher(freshet, kafka, unique):
    def start(db, wait=True, **cdc):
        return freshet(db, config_of(unique, **cdc), kafka=kafka, prefix=unique, wait=wait)

    return start


@pytest.fixture
def ask(cli):
    """`freshet COMMAND...` with the configuration of a Freshet."""

    def run(f, *command):
        return cli(*command[:2], "-c", f.config_path, *command[2:])

    return run


def feed(f):
    return f.status()["cdc"]["feed"]


def streams(f):
    wait_until(lambda: feed(f)["state"] == "streaming", 30, "it streams")


def refuses(f, *said):
    """Loudly, and it stays there to be asked."""
    wait_until(lambda: feed(f)["state"] == "failed" and all(words in feed(f)["cause"] for words in said), 30, f"it says {said}")
    assert f.http("/readyz").status_code == 503
    assert "Choose: `freshet cdc reset --from snapshot`" in feed(f)["cause"]
    assert "feed_failed" in f.log_text()


def ids(kafka, unique, op="c"):
    return [r.key["id"] for r in kafka.read(f"{unique}.public.t") if r.value["op"] == op]


def cut(db, slot):
    db.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", [slot])


def without_walsender(db, slot, sql):
    """Runs what nobody may stream for."""

    def done():
        cut(db, slot)
        try:
            db.execute(sql, [slot])
        except psycopg.errors.ObjectInUse:
            return False
        return True

    wait_until(done, every=0.001)


# ---- refusals, and the way on


def test_a_dropped_slot_is_a_refusal_until_somebody_resets(publisher, ask, db, kafka, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db)
    streams(f)
    db.execute("INSERT INTO t VALUES (1)")
    kafka.wait_for(f"{unique}.public.t", 1)
    held = ask(f, "cdc", "reset", "--from", "now")
    assert held.returncode == 1 and "is active for PID" in held.stderr and "stop the process" in held.stderr
    without_walsender(db, unique, "SELECT pg_drop_replication_slot(%s)")
    db.execute("INSERT INTO t VALUES (2)")
    refuses(f, "is gone")
    told = ask(f, "check")
    assert told.returncode == 1 and "is gone" in told.stdout and "freshet cdc reset --from snapshot" in told.stdout
    assert ids(kafka, unique) == [1]
    reset = ask(f, "cdc", "reset", "--from", "snapshot")
    assert reset.returncode == 0, reset.stderr
    streams(f)  # the very process that had refused
    wait_until(lambda: sorted(ids(kafka, unique, "r")) == [1, 2])
    db.execute("INSERT INTO t VALUES (3)")
    wait_until(lambda: ids(kafka, unique) == [1, 3])
    assert f.http("/readyz").status_code == 200


def test_reset_from_now_leaves_out_what_lies_between(publisher, ask, db, kafka, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db)
    streams(f)
    db.execute("INSERT INTO t VALUES (1)")
    kafka.wait_for(f"{unique}.public.t", 1)
    f.stop()
    # Made anew by somebody else: it is ahead of the position.
    db.execute("SELECT pg_drop_replication_slot(%s)", [unique])
    db.execute("INSERT INTO t VALUES (2)")
    db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [unique])
    f.start(wait=False)
    refuses(f, "is ahead of cdc's position", "made anew")
    f.kill9()
    reset = ask(f, "cdc", "reset", "--from", "now")
    assert reset.returncode == 0, reset.stderr
    told = ask(f, "check")
    assert told.returncode == 0 and "goes on from" in told.stdout, told.stdout
    db.execute("INSERT INTO t VALUES (3)")
    f.start()
    wait_until(lambda: ids(kafka, unique) == [1, 3])
    assert ids(kafka, unique, "r") == []


def test_a_slot_that_the_server_gives_up_raises_an_alarm_before(make_postgres, publisher, ask, kafka, unique):
    server = make_postgres(max_slot_wal_keep_size="32MB", max_wal_size="32MB", min_wal_size="32MB")
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    f = publisher(db, retained_wal_alarm="8MiB")
    streams(f)
    db.execute("INSERT INTO t VALUES (1)")
    kafka.wait_for(f"{unique}.public.t", 1)
    [slot] = wait_until(lambda: f.status()["slots"])
    assert (slot["limit_bytes"], slot["alarm"]) == (32 * 2**20, None)
    assert f.metric("freshet_slot_wal_limit_bytes", slot=unique) == 32 * 2**20
    assert f.metric("freshet_slot_alarm", slot=unique) == 0
    f.pause()  # nobody confirms
    db.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(2, 12000) i")
    f.resume()
    f.wait_for_log("slot_alarm")
    assert "at 32 MiB (max_slot_wal_keep_size) the server gives it up" in f.log_text()
    streams(f)
    kafka.wait_for(f"{unique}.public.t", 12000)
    f.stop()

    def lost():
        db.execute("DELETE FROM t WHERE id > 1")
        db.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(2, 20000) i")
        db.execute("SELECT pg_switch_wal()")
        db.execute("CHECKPOINT")
        return db.slots()[0]["wal_status"] == "lost"

    wait_until(lost, 60)
    f.start(wait=False)
    refuses(f, "is lost")
    wait_until(lambda: f.metric("freshet_slot_alarm", slot=unique) == 1)
    assert "given the slot up" in f.status()["slots"][0]["alarm"]
    told = ask(f, "check")
    assert told.returncode == 1 and "is lost" in told.stdout and "freshet cdc reset" in told.stdout
    assert ask(f, "cdc", "reset", "--from", "now").returncode == 0
    streams(f)


def test_reset_says_what_is_missing(cli, unique):
    ran = cli("cdc", "reset", "--database", "postgres://x/y", "--kafka", "x:1")
    assert ran.returncode == 2 and "--from snapshot|now" in ran.stderr
    ran = cli("cdc", "reset", "--from", "then", "--database", "postgres://x/y", "--kafka", "x:1")
    assert ran.returncode == 2 and "snapshot|now" in ran.stderr
    ran = cli("cdc", "reset", "--from", "now", "--database", "postgres://x/y")
    assert ran.returncode == 2 and "no publisher" in ran.stderr
    ran = cli("cdc")
    assert ran.returncode == 2 and "second word" in ran.stderr
    assert "--from snapshot|now" in cli("help", "cdc", "reset").stdout


# ---- what it retains


def test_the_churn_of_other_databases_retains_no_wal(publisher, postgres, db, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db)
    streams(f)
    other = postgres.create_database()
    other.execute("CREATE TABLE noise (a text)")
    other.execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    target = other.value("SELECT pg_current_wal_lsn() - '0/0'")

    def confirmed():
        postgres.execute("CHECKPOINT")  # as the server makes them by itself, at times
        (slot,) = db.slots()
        return db.value("SELECT %s::pg_lsn - '0/0'", [slot["restart_lsn"]]) >= target

    wait_until(confirmed, 30, "the slot has moved past it", every=0.2)
    other.drop()


def test_heartbeats_move_the_slot_and_are_not_published(publisher, db, kafka, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db, wal_heartbeat="100ms")
    streams(f)
    before = db.lsn()
    wait_until(lambda: db.value("SELECT confirmed_flush_lsn > %s::pg_lsn + 300 FROM pg_replication_slots WHERE slot_name = %s", [before, unique]))
    db.execute("SELECT pg_logical_emit_message(true, 'ours', 'x')")
    kafka.wait_for(f"{unique}.message", 1)
    assert [r.key for r in kafka.read(f"{unique}.message")] == [{"prefix": "ours"}]


# ---- failover


def make_pair(make_postgres, by_itself):
    """PostgreSQL 18: a primary, and a standby that keeps the failover slots in step: by itself, or when it is told."""
    primary = make_postgres("18")
    primary.execute("SELECT pg_create_physical_replication_slot('standby', true)")
    standby = primary.create_standby(primary_slot_name="standby", sync_replication_slots="on" if by_itself else "off")
    primary.set("synchronized_standby_slots", "'standby'")
    return primary, standby


def url_of(db, *servers):
    return f"postgresql://postgres@{','.join(f'127.0.0.1:{s.port}' for s in servers)}/{db.name}"


def synced(standby, slot):
    if standby.value("SHOW sync_replication_slots") == "off":
        standby.execute("SELECT pg_sync_replication_slots()")
    rows = standby.rows("SELECT synced AND NOT temporary AND invalidation_reason IS NULL AS ok FROM pg_replication_slots WHERE slot_name = %s", [slot])
    return bool(rows and rows[0]["ok"])


def test_the_stream_goes_on_at_a_promoted_standby(make_postgres, publisher, ask, freshet, kafka, unique):
    primary, standby = make_pair(make_postgres, by_itself=True)
    try:
        db = primary.create_database()
        db.execute("CREATE TABLE t (id int PRIMARY KEY)")
        reached = Database(primary, db.name)
        reached.url = url_of(db, primary, standby)
        f = publisher(reached)
        streams(f)
        assert db.slots()[0]["failover"]
        for i in range(1, 50):
            db.execute("INSERT INTO t VALUES (%s)", [i])
        wait_until(lambda: synced(standby, unique), 60, "the standby has the slot")
        for i in range(50, 100):
            db.execute("INSERT INTO t VALUES (%s)", [i])
        standby.catch_up()
        primary.kill9()
        standby.promote()
        promoted = standby.database(db.name)
        for i in range(100, 150):
            promoted.execute("INSERT INTO t VALUES (%s)", [i])
        wait_until(lambda: len(ids(kafka, unique)) >= 149, 60, "the stream goes on", every=0.2)
        streams(f)
        assert sorted(ids(kafka, unique)) == list(range(1, 150))
        assert "timeline_changed" in f.log_text()
        f.kill9()  # the position is of the new timeline now
        promoted.execute("INSERT INTO t VALUES (150)")
        f.start()
        wait_until(lambda: sorted(ids(kafka, unique)) == list(range(1, 151)), 30)
        # The old primary comes back with its slot, by itself: that would be another history.
        f.stop()
        standby.stop()
        primary.start()
        f.start(wait=False)
        refuses(f, "timeline 1", "timeline 2", "old primary")
        told = ask(f, "check")
        assert told.returncode == 1 and "old primary" in told.stdout
    finally:
        standby.remove()


def test_changes_that_the_promoted_standby_never_had_are_a_refusal(make_postgres, publisher, kafka, unique):
    primary, standby = make_pair(make_postgres, by_itself=False)
    try:
        db = primary.create_database()
        db.execute("CREATE TABLE t (id int PRIMARY KEY)")
        reached = Database(primary, db.name)
        reached.url = url_of(db, primary, standby)
        f = publisher(reached)
        streams(f)
        db.execute("INSERT INTO t VALUES (1)")
        wait_until(lambda: synced(standby, unique), 60, "the standby has the slot")
        # Now the primary may go ahead of its standby, and does.
        primary.set("synchronized_standby_slots", None)
        standby.set("primary_conninfo", "''")
        wait_until(lambda: primary.value("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'walreceiver'") == 0)
        db.execute("INSERT INTO t VALUES (2)")
        wait_until(lambda: ids(kafka, unique) == [1, 2])
        primary.kill9()
        standby.promote()
        standby.database(db.name).execute("INSERT INTO t VALUES (3)")
        refuses(f, "was lost with the old primary")
        assert ids(kafka, unique) == [1, 2]
    finally:
        standby.remove()


def test_a_slot_of_before_is_let_be_kept_by_standbys(make_postgres, publisher, kafka, unique):
    server = make_postgres("18")
    db = server.create_database()
    db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    f = publisher(db, failover=False)
    streams(f)
    assert not db.slots()[0]["failover"]
    f.stop()
    del f.config["cdc"]["failover"]
    f.write_config()
    f.start()
    assert db.slots()[0]["failover"]
