"""What every connector can: be paused, slowed, left alone, tried again; and what it does when the server keeps too much for it."""

import json

import pytest

from support.webhook import Receiver
from support.writers import USERS, fill


class Redis:
    """One Freshet that keeps `users` as strings in a Redis."""

    name = "runtime"

    def __init__(self, freshet, db, client, url, cli, **options):
        self.db, self.client, self.cli = db, client, cli
        one = {"name": self.name, "type": "redis", "url": url, "table": "public.users", "key": "users:{id}", **options}
        self.freshet = freshet(db, {"roles": ["connectors"], "connectors": [one]}, start=False)
        self.freshet.config["state_dir"] = str(self.freshet.folder / "state")
        self.freshet.write_config()
        self.freshet.start(wait=False)

    def metric(self, name):
        return self.freshet.metric(f"freshet_connector_{name}", connector=self.name)

    def status(self):
        return self.freshet.status()["connectors"][0]

    def order(self, action):
        return self.cli("connector", action, self.name, "--admin", f"127.0.0.1:{self.freshet.admin_port}")

    def is_equal(self):
        rows = {f"users:{row['id']}": row["doc"] for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
        keys = list(self.client.scan_iter("users:*", count=1000))
        kept = {key: json.loads(text) for key, text in zip(keys, self.client.mget(keys) if keys else []) if text}
        wrong = sorted(key for key in rows.keys() | kept.keys() if rows.get(key) != kept.get(key))
        assert not wrong, f"{len(wrong)} differ: {[(key, rows.get(key), kept.get(key)) for key in wrong[:2]]}"
        return True


@pytest.fixture
def keep(freshet, db, redis_server, cli, wait_until):
    def make(url=None, **options):
        port = redis_server.get_connection_kwargs()["port"]
        users = Redis(freshet, db, redis_server, url or f"redis://127.0.0.1:{port}", cli, **options)
        users.wait_equal = lambda timeout=40: wait_until(users.is_equal, timeout, "Redis equals the table", 0.1)
        return users

    return make


def test_a_paused_connector_writes_nothing_until_it_is_resumed(db, keep, wait_until):
    db.execute(USERS)
    fill(db, 100)
    users = keep()
    users.wait_equal()
    ran = users.order("pause")
    assert (ran.returncode, ran.stdout) == (0, "runtime: paused\n")
    assert users.metric("paused") == 1
    db.execute("UPDATE users SET name = 'later' WHERE id = 7")
    wait_until(lambda: users.metric("lag_bytes") > 0 or users.metric("lag_seconds") > 0)
    users.freshet.kill9()
    users.freshet.start(wait=False)
    wait_until(lambda: users.status()["feed"]["state"] == "streaming")
    assert users.status()["state"] == "paused"
    refused = users.order("retry")
    assert refused.returncode == 1 and "is paused" in refused.stderr
    assert json.loads(users.client.get("users:7"))["name"] == "name 7"
    assert users.order("resume").returncode == 0
    users.wait_equal()
    assert users.metric("paused") == 0
    assert users.cli("connector", "pause", "none", "--admin", f"127.0.0.1:{users.freshet.admin_port}").returncode == 1


def test_a_rate_is_kept(db, keep, wait_until):
    db.execute(USERS)
    fill(db, 400)
    users = keep(rate_limit=200, load_readers=3)
    wait_until(lambda: users.metric("indexed_total") > 0)
    counts = [users.metric("indexed_total") for _ in range(3)]
    assert counts[-1] < 400
    users.wait_equal()
    log = users.freshet.log_text()
    assert "connector_loading" in log


class Hooks:
    """One Freshet that posts `users` to a receiver."""

    def __init__(self, freshet, db, receiver, kafka=None, **options):
        self.db, self.receiver = db, receiver
        one = {"name": "hooks", "type": "webhook", "url": receiver.url, "secret": receiver.secret, "table": "public.users"}
        self.freshet = freshet(db, {"roles": ["connectors"], "connectors": [{**one, **options}]}, kafka=kafka, start=False)
        self.freshet.config["state_dir"] = str(self.freshet.folder / "state")
        self.freshet.write_config()
        self.freshet.start(wait=False)

    def metric(self, name):
        return self.freshet.metric(f"freshet_connector_{name}", connector="hooks")

    def is_equal(self):
        rows = {str(row["id"]): row["doc"] for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
        assert self.receiver.rows == rows
        return True


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hook(receiver, freshet, db, wait_until):  # the receiver does not end before who posts to it
    def make(**options):
        hooks = Hooks(freshet, db, receiver, **options)
        hooks.wait_equal = lambda timeout=40: wait_until(hooks.is_equal, timeout, "the receiver has the table", 0.1)
        return hooks

    return make


def test_a_sink_that_is_away_is_left_alone_and_found_again(db, hook, wait_until):
    db.execute(USERS)
    fill(db, 50)
    users = hook(breaker_failures=2, breaker_pause="300ms")
    users.wait_equal()
    users.receiver.fail(503)
    db.execute("UPDATE users SET name = 'later' WHERE id = 7")
    wait_until(lambda: users.metric("breaker_open") == 1)
    assert users.freshet.status()["connectors"][0]["breaker"] == "open"
    assert users.metric("breaker_opened_total") == 1
    users.receiver.faults.clear()
    users.wait_equal()
    wait_until(lambda: users.metric("breaker_open") == 0)


def test_a_slot_that_retains_too_much_is_given_up_and_the_table_loaded_anew(db, hook, wait_until):
    db.execute(USERS)
    fill(db, 50)
    users = hook(max_retained_wal="1MiB", breaker_failures=3, breaker_pause="300ms")
    users.wait_equal()
    users.receiver.fail(503)
    db.execute_many("DELETE FROM users WHERE id = 3", "UPDATE users SET name = 'later' WHERE id = 7")
    db.execute("CREATE TABLE filler (t text)")
    db.execute("INSERT INTO filler SELECT repeat(md5(i::text), 30) FROM generate_series(%s::int, 4000) i", [1])
    wait_until(lambda: users.metric("slots_given_up_total") >= 1, 30, "the slot is given up")
    db.execute("DELETE FROM users WHERE id = 4")
    users.receiver.faults.clear()
    users.wait_equal(60)
    assert users.metric("loads_total") >= 2
    db.execute("UPDATE users SET name = 'followed' WHERE id = 7")
    users.wait_equal()


def test_dead_letters_are_tried_again_as_the_rows_are_then(db, hook, receiver, cli, wait_until):
    db.execute(USERS)
    fill(db, 20)
    refused = {"5", "6", "7"}
    receiver.fail(400, when=lambda request: any(change.get("id") in refused for change in request.json["changes"]))
    users = hook()
    wait_until(lambda: users.metric("dead_letters_total") == 3)
    retry = ("connector", "retry", "hooks", "--admin", f"127.0.0.1:{users.freshet.admin_port}")
    refused -= {"5", "7"}
    db.execute_many("DELETE FROM users WHERE id = 7", "UPDATE users SET name = 'mended' WHERE id = 5")
    wait_until(lambda: users.receiver.rows.get("5", {}).get("name") == "mended")
    ran = cli(*retry)
    assert (ran.returncode, ran.stdout) == (1, "hooks: 3 dead letters are tried again, 1 of them refused again\n")
    refused.clear()
    ran = cli(*retry)
    assert (ran.returncode, ran.stdout) == (0, "hooks: 1 dead letters are tried again, 0 of them refused again\n")
    users.wait_equal()
    assert cli(*retry).stdout == "hooks: 0 dead letters are tried again, 0 of them refused again\n"


def test_dead_letters_in_a_topic_are_tried_again_too(db, hook, receiver, cli, kafka, unique, wait_until):
    """Also one that is larger than the brokers take, and one of a file of before; others' letters are left to them."""
    db.execute(USERS)
    fill(db, 20)
    db.execute("UPDATE users SET note = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 60000) i) WHERE id = 6")
    refused = {"5", "6", "7"}
    receiver.fail(400, when=lambda request: any(change.get("id") in refused for change in request.json["changes"]))
    users = hook(dead_letter_topic=f"{unique}.letters", kafka=kafka)
    wait_until(lambda: users.metric("dead_letters_total") == 3)
    letters = {letter.value["id"]: letter.value for letter in kafka.wait_for(f"{unique}.letters", 3)}
    assert letters.keys() == refused and letters["5"]["connector"] == "hooks"
    assert letters["5"]["document"]["id"] == 5
    assert letters["6"]["document"] is None and letters["6"]["left_out_bytes"] > 1900000
    state = users.freshet.folder / "state" / "hooks.deadletters.jsonl"
    assert state.read_text() == ""
    kafka.produce(f"{unique}.letters", "5", json.dumps({**letters["5"], "connector": "another"}))
    retry = ("connector", "retry", "hooks", "--admin", f"127.0.0.1:{users.freshet.admin_port}")
    refused -= {"5", "7"}
    assert cli(*retry).stdout == "hooks: 3 dead letters are tried again, 1 of them refused again\n"
    assert users.freshet.status()["connectors"][0]["dead_letter_topic"] == f"{unique}.letters"
    users.freshet.kill9()
    users.freshet.start(wait=False)
    wait_until(lambda: users.freshet.status()["connectors"][0]["state"] == "streaming")
    refused.clear()
    assert cli(*retry).stdout == "hooks: 1 dead letters are tried again, 0 of them refused again\n"
    users.wait_equal()
    assert cli(*retry).stdout == "hooks: 0 dead letters are tried again, 0 of them refused again\n"
