"""The fixtures themselves, each once at work (Freshet's own have tests enough)."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from support.process import ROOT


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
def test_both_versions_of_postgres_stream_logically(postgres, shop):
    assert postgres.value("SHOW server_version").startswith(postgres.version)
    assert postgres.value("SHOW wal_level") == "logical"
    assert shop.value("SELECT count(*) FROM customers") == 2000


def test_databases_are_apart(postgres, db, shop):
    db.execute("CREATE TABLE t (id int)")
    assert shop.value("SELECT to_regclass('t')") is None


def test_a_held_commit_is_not_visible_until_it_is_let_go(make_postgres):
    shop = make_postgres(max_replication_slots=3).create_shop()
    name = "SELECT name FROM customers WHERE id = 1"
    old = shop.value(name)
    with shop.commit_held("UPDATE customers SET name = 'new' WHERE id = 1"):
        assert shop.value(name) == old
    assert shop.value(name) == "new"


def test_kafka_gives_back_what_was_produced(kafka, unique):
    kafka.create_topic(unique)
    kafka.produce(unique, '{"id":1}', None)
    kafka.produce(unique, '{"id":1}', '{"a":2}', [("h", b"x")])
    first, second = kafka.wait_for(unique, 2)
    assert (first.key, first.value) == ({"id": 1}, None)
    assert (second.value, second.headers) == ({"a": 2}, {"h": "x"})


def test_opensearch_lists_documents(opensearch, unique):
    assert opensearch.documents(unique) == {}
    opensearch.call("PUT", f"/{unique}", json={})
    opensearch.call("PUT", f"/{unique}/_doc/1", json={"a": 1})
    assert opensearch.documents(unique) == {"1": {"a": 1}}


def test_debezium_publishes_what_is_inserted(db, kafka, debezium, unique):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    debezium(db, unique, **{"snapshot.mode": "no_data"})
    db.execute("INSERT INTO t VALUES (1, 'one')")
    (record,) = kafka.wait_for(f"{unique}.public.t", 1)
    assert record.key == {"id": 1}
    assert record.value["after"] == {"id": 1, "name": "one"}


def test_a_killed_session_leaves_nothing_behind(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal
        from support.postgres import Postgres
        from support.process import Workshop
        workshop = Workshop()
        server = Postgres(workshop)
        print(workshop.folder, server.process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT / "tests/integration", stdout=subprocess.PIPE, text=True
    )
    assert ended.returncode == -signal.SIGKILL
    folder, pid = ended.stdout.split()  # read to its end: the reaper held the pipe open until it was done
    assert not os.path.exists(folder)
    assert not os.path.exists(f"/proc/{pid}")
