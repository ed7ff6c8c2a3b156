"""The webhook connector: a receiver that checks signatures, keeps what it is told, and has its troubles."""

import json
import random
import ssl
import threading

import pytest

from support.authority import Authority
from support.webhook import Receiver
from support.writers import USERS, Writers, fill


@pytest.fixture
def receive():
    made = []

    def make(**options):
        made.append(Receiver(**options))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()
        assert not receiver.wrong


class Hooks:
    def __init__(self, freshet, db, receiver, start=True, **options):
        self.db, self.receiver = db, receiver
        connector = {"name": "hooks", "type": "webhook", "url": receiver.url, "table": "public.users", **options}
        if receiver.secret:
            connector["secret"] = receiver.secret
        self.freshet = freshet(db, {"roles": ["connectors"], "connectors": [connector]}, start=False)
        self.state = self.freshet.folder / "state"
        self.freshet.config["state_dir"] = str(self.state)
        self.freshet.write_config()
        if start:
            self.freshet.start(wait=False)

    def metric(self, name):
        return self.freshet.metric(f"freshet_connector_{name}", connector="hooks")

    def letters(self):
        path = self.state / "hooks.deadletters.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def is_equal(self):
        rows = {str(row["id"]): row["doc"] for row in self.db.rows("SELECT id, row_to_json(t) AS doc FROM users t")}
        with self.receiver.lock:
            kept = dict(self.receiver.rows)
        wrong = sorted(key for key in rows.keys() | kept.keys() if rows.get(key) != kept.get(key))
        assert not wrong, f"{len(wrong)} differ: {[(key, rows.get(key), kept.get(key)) for key in wrong[:2]]}"
        return self.freshet.status()["connectors"][0]["loaded"]  # and the end of the load was told


@pytest.fixture
def hook(receive, freshet, db, wait_until):
    def make(receiver=None, **options):
        hooks = Hooks(freshet, db, receiver or receive(), **options)
        hooks.wait_equal = lambda timeout=30: wait_until(hooks.is_equal, timeout, "the receiver has the table", 0.1)
        return hooks

    return make


def test_rows_and_their_changes_are_posted_signed_and_in_order(db, hook):
    db.execute(USERS)
    fill(db, 300)
    hooks = hook(batch="4KiB")
    hooks.wait_equal()
    assert len(hooks.receiver.requests) > 5
    db.execute("UPDATE users SET name = 'changed' WHERE id = 7")
    db.execute("DELETE FROM users WHERE id = 8")
    db.execute("UPDATE users SET id = 2009 WHERE id = 9")
    hooks.wait_equal()
    db.execute_many("TRUNCATE users", "INSERT INTO users VALUES (1, 'again', 1, NULL)")
    hooks.wait_equal()
    assert hooks.receiver.most == 1
    assert (hooks.receiver.repeats, hooks.metric("retries_total")) == (0, 0)


def test_a_body_says_what_it_is_about(db, hook, wait_until):
    db.execute(USERS)
    hooks = hook(receiver=None)
    wait_until(lambda: hooks.receiver.keys)  # the end of the load
    db.execute("INSERT INTO users VALUES (5, 'Ann', 30, NULL)")
    hooks.wait_equal()
    identifier, body = list(hooks.receiver.keys.items())[-1]
    body = json.loads(body)
    (change,) = body.pop("changes")
    assert body == {"connector": "hooks", "schema": "public", "table": "users", "position": identifier}
    high, low = identifier.split("/")
    assert change.pop("version") == (int(high, 16) << 32 | int(low, 16))
    assert change.pop("xid") > 0
    assert change == {"operation": "put", "id": "5", "document": {"id": 5, "name": "Ann", "age": 30, "note": None}}


@pytest.mark.parametrize("status", [500, 409, 302])
def test_a_request_that_is_put_off_is_sent_again_under_its_key(db, hook, status):
    db.execute(USERS)
    fill(db, 10)
    hooks = hook()
    hooks.wait_equal()
    before = len(hooks.receiver.requests)
    hooks.receiver.fail(status, 2)
    db.execute("UPDATE users SET age = age + 1")
    hooks.wait_equal()
    came = hooks.receiver.requests[before:]
    assert [(identifier, changes) for identifier, changes, _ in came] == [came[0][:2]] * 3
    assert hooks.metric("retries_total") == 2
    assert hooks.metric("dead_letters_total") == 0


def test_retry_after_is_kept_to(db, hook):
    db.execute(USERS)
    fill(db, 3)
    hooks = hook()
    hooks.wait_equal()
    before = len(hooks.receiver.requests)
    hooks.receiver.fail(429, 1, {"Retry-After": "2"})
    db.execute("UPDATE users SET age = age + 1")
    hooks.wait_equal()
    first, second = (came for _, _, came in hooks.receiver.requests[before:])
    assert second - first >= 1.9


def test_answers_that_are_lost_repeat_a_request_and_its_key_tells(db, hook, wait_until):
    db.execute(USERS)
    fill(db, 10)
    hooks = hook(timeout="500ms")
    hooks.wait_equal()
    left = [Receiver.CUT, Receiver.LOST, Receiver.CUT]
    hooks.receiver.faults.append(lambda request: left.pop() if left else None)
    before = len(hooks.receiver.requests)
    db.execute("UPDATE users SET age = age + 1")
    wait_until(lambda: not left)
    hooks.wait_equal()
    wait_until(lambda: hooks.metric("retrying") == 0)
    assert len({identifier for identifier, _, _ in hooks.receiver.requests[before:]}) == 1


def test_a_receiver_that_does_not_answer_is_given_up_in_time(db, hook, wait_until):
    db.execute(USERS)
    fill(db, 3)
    hooks = hook(timeout="300ms")
    hooks.wait_equal()
    release = threading.Event()
    hung = []

    def hang(request):
        if not hung:
            hung.append(1)
            release.wait(20)
            return Receiver.CUT
        return None

    handle = hooks.receiver.handle
    hooks.receiver.handle = lambda request: hang(request) or handle(request)  # not holding the receiver's lock
    db.execute("UPDATE users SET age = age + 1")
    hooks.wait_equal()
    release.set()
    assert hung and hooks.metric("retries_total") >= 1


def test_several_requests_at_a_time_keep_the_order_of_a_key(db, hook, wait_until):
    db.execute(USERS)
    fill(db, 300)
    hooks = hook(lanes=4, batch_interval="20ms")
    hooks.wait_equal()
    handle = hooks.receiver.handle
    choice = random.Random(3)

    def slowly(request):
        threading.Event().wait(choice.random() / 50)
        return handle(request)

    hooks.receiver.handle = slowly
    writers = Writers(db)
    wait_until(lambda: writers.transactions > 300, 30, "writers write")
    writers.end()
    hooks.wait_equal()
    assert 2 <= hooks.receiver.most <= 4
    assert hooks.receiver.repeats == 0


def has(name):
    return lambda request: any((change.get("document") or {}).get("name") == name for change in request.json["changes"])


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_change_is_found_and_is_a_dead_letter(db, hook, wait_until, status):
    db.execute(USERS)
    fill(db, 50)
    hooks = hook()
    hooks.wait_equal()
    hooks.receiver.fail(status, when=has("poison"))
    db.execute("UPDATE users SET name = CASE WHEN id = 17 THEN 'poison' ELSE 'fine' END")
    wait_until(lambda: hooks.metric("dead_letters_total") == 1)
    wait_until(lambda: sum(row["name"] == "fine" for row in hooks.receiver.rows.values()) == 49)
    (letter,) = hooks.letters()
    assert (letter["id"], letter["status"], letter["document"]["name"]) == ("17", status, "poison")
    assert "a test" in letter["cause"]
    db.execute("UPDATE users SET name = 'mended' WHERE id = 17")
    hooks.wait_equal()


@pytest.mark.parametrize("status", [404])
def test_a_request_that_is_refused_as_a_whole_is_dead_letters(db, hook, wait_until, status):
    db.execute(USERS)
    fill(db, 5)
    hooks = hook()
    hooks.wait_equal()
    hooks.receiver.fail(status, 1)
    db.execute("UPDATE users SET age = 99")
    wait_until(lambda: hooks.metric("dead_letters_total") == 5)
    assert {letter["status"] for letter in hooks.letters()} == {status}
    db.execute("UPDATE users SET age = 100")
    hooks.wait_equal()


def test_kill_9_under_writers_loses_nothing(db, hook, wait_until):
    """And what comes twice has the version that it had."""
    db.execute(USERS)
    fill(db, 300)
    hooks = hook(batch_interval="20ms")
    writers = Writers(db)
    for n in range(4):
        before = writers.transactions
        wait_until(lambda: writers.transactions > before + 80, what="writers write")
        if n > 0:
            done = len(hooks.receiver.requests) + 3
            wait_until(lambda: len(hooks.receiver.requests) > done, 30, "some requests more")
        hooks.freshet.kill9()
        hooks.freshet.start(wait=False)
    writers.end()
    hooks.wait_equal(60)


def test_tls_with_an_authority_of_ones_own(db, hook, receive, tmp_path, wait_until):
    authority = Authority(tmp_path)
    certificate, key = authority.sign("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver = receive(context=context)
    db.execute(USERS)
    fill(db, 3)
    stranger = hook(receiver)
    wait_until(lambda: "certificate" in stranger.freshet.status()["connectors"][0]["last_error"])
    stranger.freshet.stop()
    assert not receiver.requests
    hook(receiver, ca_file=str(authority.ca), slot="trusting").wait_equal()


def test_without_a_secret_nothing_is_signed(db, hook, receive):
    db.execute(USERS)
    fill(db, 3)
    hook(receive(secret=None)).wait_equal()


def test_check_looks_at_url_and_secret(db, cli, tmp_path, receive):
    db.execute(USERS)
    config = tmp_path / "freshet.yml"

    def check(url, secret="whsec_c2VjcmV0"):
        config.write_text(
            json.dumps({
                "database": {"url": db.url}, "state_dir": str(tmp_path), "roles": ["connectors"],
                "connectors": [{"name": "hooks", "type": "webhook", "url": url, "secret": secret, "table": "public.users"}],
            })
        )
        return cli("check", "-c", config)

    receiver = receive()
    assert check(receiver.url).returncode == 0
    nobody = check("http://127.0.0.1:1/hook")
    assert nobody.returncode == 1 and "127.0.0.1:1" in nobody.stdout
    for url, secret in ((receiver.url, "whsec_???"), ("ftp://host/", "x")):
        wrong = check(url, secret)
        assert wrong.returncode == 2 and f"{config}:1:" in wrong.stderr
