"""freshet verify NAME: what differs in a connector's sink is named, and nothing else is; --repair writes it again."""

import os
import threading
import time

import pytest
from support.writers import USERS, Writers, fill
from test_opensearch import connect  # noqa: F401: a fixture

KINDS = ("missing", "extra", "changed", "older")
SECONDS = float(os.environ.get("VERIFY_SECONDS", 2))


class Verdict:
    """What the command said: .code, .found as {key: kind}, .repaired, .last (the summary)."""

    def __init__(self, ran):
        self.code, self.text = ran.returncode, ran.stdout + ran.stderr
        lines = [line.split() for line in ran.stdout.splitlines()]
        findings = [line for line in lines if line and line[0] in KINDS]
        self.found = {line[1]: line[0] for line in findings}
        self.repaired = {line[1] for line in findings if line[-1] == "repaired"}


@pytest.fixture
def verify(cli):
    def run(search, *flags):
        return Verdict(cli("verify", search.name, "--admin", f"127.0.0.1:{search.freshet.admin_port}", *flags))

    return run


class Vandal:
    """Writes into the index behind the connector's back."""

    def __init__(self, opensearch, index):
        self.opensearch, self.index = opensearch, index

    def remove(self, key):
        self.opensearch.call("DELETE", f"/{self.index}/_doc/{key}")

    def put(self, key, document, **version):
        query = "&".join(f"{name}={value}" for name, value in version.items())
        self.opensearch.call("PUT", f"/{self.index}/_doc/{key}?{query}", json=document)

    def restore(self, key, document, version, wait_until):
        """As an older backup has it: with a version below the one that is there."""
        self.opensearch.call("PUT", f"/{self.index}/_settings", json={"index.gc_deletes": "0s"})
        self.remove(key)

        def put():
            self.opensearch.call("POST", f"/{self.index}/_refresh")
            path = f"/{self.index}/_doc/{key}?version={version}&version_type=external"
            return "error" not in self.opensearch.call("PUT", path, ok=False, json=document)

        wait_until(put, 30, "the delete is forgotten")


def test_what_is_equal_is_told_so(db, connect, verify):
    db.execute(USERS)
    fill(db, 1200)
    search = connect()
    search.wait_equal()
    db.execute("UPDATE users SET age = age + 1 WHERE id % 7 = 0")
    verdict = verify(search)
    assert (verdict.code, verdict.found) == (0, {}), verdict.text
    assert "compared 1200 rows with the sink and 1200 keys of the sink with the table" in verdict.text
    assert search.metric("verified_rows_total") == 1200
    assert search.status()["verification"]["state"] == "done"


def test_each_kind_of_corruption_is_named_and_repaired(db, connect, verify, opensearch, wait_until):
    db.execute(USERS)
    fill(db, 1500)
    search = connect()
    search.wait_equal()
    old = search.documents()["11"]
    old_version = opensearch.call("GET", f"/{search.index}/_doc/11")["_version"]
    db.execute_many("CHECKPOINT", "UPDATE users SET name = 'of today' WHERE id IN (11, 12)")
    search.wait_equal()
    vandal = Vandal(opensearch, search.index)
    vandal.remove(5)
    vandal.remove(1500)
    vandal.put(7, {"id": 7, "name": "somebody else", "age": 7, "note": None})
    vandal.put(12, {"id": 12, "name": "of today"})
    vandal.put(9999, {"id": 9999, "name": "nobody"})
    vandal.put("no-number", {"id": None})
    vandal.restore(11, old, old_version, wait_until)
    expected = {
        "5": "missing", "1500": "missing", "7": "changed", "12": "changed", "11": "older",
        "9999": "extra", "no-number": "extra",
    }
    verdict = verify(search)
    assert (verdict.code, verdict.found) == (1, expected), verdict.text
    verdict = verify(search, "--repair")
    assert (verdict.code, verdict.found, verdict.repaired) == (0, expected, set(expected)), verdict.text
    search.is_equal()
    assert search.metric("differences_total") == 14
    assert search.metric("repaired_total") == 7
    # What is written again stands below what comes.
    db.execute_many("UPDATE users SET age = 1000", "DELETE FROM users WHERE id IN (7, 1500)", "INSERT INTO users VALUES (9999)")
    search.wait_equal()
    assert verify(search).found == {}


def test_more_differences_than_are_looked_at_together(db, connect, verify, opensearch):
    db.execute(USERS)
    fill(db, 2600)
    search = connect()
    search.wait_equal()
    deletes = "".join('{"delete":{"_id":"%d"}}\n' % key for key in range(1, 2601))
    opensearch.call(
        "POST", f"/{search.index}/_bulk?refresh=true", data=deletes, headers={"Content-Type": "application/x-ndjson"}
    )
    verdict = verify(search)
    assert verdict.code == 1 and len(verdict.found) == 2600 and set(verdict.found.values()) == {"missing"}
    assert verify(search, "--repair").code == 0
    search.is_equal()


def test_keys_of_several_columns_and_what_is_not_published(db, connect, verify, opensearch, wait_until):
    db.execute(
        "CREATE TABLE users (b text, a int, v numeric, big text, twice int GENERATED ALWAYS AS (a * 2) STORED,"
        " hidden text, PRIMARY KEY (a, b))"
    )
    db.execute("ALTER TABLE users ALTER COLUMN big SET STORAGE EXTERNAL")
    db.execute("CREATE PUBLICATION some_of_it FOR TABLE users (a, b, v, big) WHERE (a < 100)")
    db.execute(
        "INSERT INTO users (a, b, v, big) SELECT i, 'x:' || i || '%', i / 3.0, repeat('y', 5000) FROM generate_series(1, 200) i"
    )
    search = connect(publication="some_of_it")
    wait_until(lambda: len(search.documents()) == 99)
    assert verify(search).found == {}
    vandal = Vandal(opensearch, search.index)
    vandal.remove("3:x%253A3%2525")
    vandal.put("3:y", {"a": 3})
    vandal.put("one", {"a": 3})
    vandal.put("1:2:3", {"a": 3})
    expected = {"3:x%3A3%25": "missing", "3:y": "extra", "one": "extra", "1:2:3": "extra"}
    verdict = verify(search, "--repair")
    assert (verdict.code, verdict.found) == (0, expected), verdict.text
    assert verify(search).found == {}


@pytest.mark.timeout(180 + SECONDS)
def test_beside_writers_there_is_no_false_alarm(db, connect, verify, wait_until):
    """VERIFY_SECONDS=600 for long."""
    db.execute(USERS)
    fill(db, 600)
    search = connect()
    search.wait_equal()
    end = time.monotonic() + SECONDS
    writers = Writers(db)
    try:
        while time.monotonic() < end:
            verdict = verify(search)
            assert verdict.found == {}, verdict.text
            assert verdict.code == 0, verdict.text
    finally:
        writers.end()
    search.wait_equal()


def test_beside_writers_corruptions_are_found_and_repaired(db, connect, verify, opensearch):
    db.execute(USERS)
    fill(db, 600)
    fill(db, 300, first=500000)
    search = connect()
    search.wait_equal()
    writers = Writers(db)
    try:
        vandal = Vandal(opensearch, search.index)
        vandal.remove(500001)
        vandal.put(500002, {"id": 500002})
        vandal.put(700000, {"id": 700000})
        verdict = verify(search, "--repair")
    finally:
        writers.end()
    assert verdict.found == {"500001": "missing", "500002": "changed", "700000": "extra"}, verdict.text
    assert verdict.code == 0, verdict.text
    search.wait_equal()
    assert verify(search).found == {}


def test_a_commit_that_is_streamed_and_not_visible_yet_is_no_difference(make_postgres, connect, verify, wait_until):
    db = make_postgres().create_database()
    db.execute(USERS)
    fill(db, 10)
    search = connect(db=db)
    search.wait_equal()
    verdicts = []
    statement = "WITH a AS (INSERT INTO users VALUES (77)), b AS (DELETE FROM users WHERE id = 2) UPDATE users SET age = -1 WHERE id = 3"
    with db.commit_held(statement):
        wait_until(lambda: "77" in search.documents(), what="the sink is ahead")
        asking = threading.Thread(target=lambda: verdicts.append(verify(search)))
        asking.start()
        wait_until(lambda: search.status().get("verification", {}).get("phase") == "looking again")
        time.sleep(1)  # it goes on looking, and does not make up its mind
        assert search.status()["verification"]["differences"] == 0
    asking.join(60)
    assert (verdicts[0].code, verdicts[0].found) == (0, {}), verdicts[0].text


def test_an_open_transaction_is_not_waited_for_to_its_end(db, connect, verify, opensearch):
    db.execute(USERS)
    fill(db, 10)
    search = connect()
    search.wait_equal()
    Vandal(opensearch, search.index).put(700, {"id": 700})
    with db.connect() as other, other.transaction():
        other.execute("UPDATE users SET age = 5 WHERE id = 4")
        verdict = verify(search, "--repair")
    assert (verdict.found, verdict.repaired) == ({"700": "extra"}, {"700"}), verdict.text
    search.wait_equal()


def test_what_cannot_be_verified_is_said(db, connect, cli, verify):
    db.execute(USERS)
    fill(db, 2500)
    search = connect()
    search.wait_equal()
    admin = f"127.0.0.1:{search.freshet.admin_port}"
    ran = cli("verify", "nobody", "--admin", admin)
    assert ran.returncode == 1 and 'no connector "nobody" runs here' in ran.stderr
    assert "rate: a number of rows a second" in verify(search, "--rate", "many").text
    slow = threading.Thread(target=verify, args=(search, "--rate", "2000"))
    slow.start()
    while search.status().get("verification", {}).get("state") != "running":
        time.sleep(0.01)
    assert "a verification is under way already" in verify(search).text
    slow.join(60)
    assert search.status()["verification"]["seconds"] >= 1
    assert search.freshet.http("/verify?connector=search", "POST").status_code == 415


ORDER_DOC = {
    "order_doc": {
        "key": "order_doc:{id}",
        "sql": "SELECT o.total, (SELECT json_agg(i.product ORDER BY i.id) FROM items i WHERE i.order_id = o.id) AS items"
        " FROM orders o WHERE o.id = $1",
        "shape": "row",
        "depends_on": {"orders": ["id"], "items": ["order_id"]},
    }
}


def test_documents_of_a_query_are_compared_with_its_results(db, connect, verify, opensearch, wait_until):
    db.execute_many(
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(10,2))",
        "CREATE TABLE items (id int PRIMARY KEY, order_id int, product text)",
        "ALTER TABLE items REPLICA IDENTITY FULL",
        "INSERT INTO orders SELECT i, i * 1.10 FROM generate_series(1, 30) i",
        "INSERT INTO items SELECT i, i % 30 + 1, 'product ' || i FROM generate_series(1, 90) i",
    )
    search = connect(table=None, query="order_doc", config={"cache": {"queries": ORDER_DOC}})
    wait_until(lambda: len(search.documents()) == 30)
    db.execute("UPDATE items SET product = 'another' WHERE order_id = 3")
    assert verify(search).found == {}
    vandal = Vandal(opensearch, search.index)
    vandal.remove(5)
    vandal.put(6, {"total": 0})
    vandal.put(77, {"total": 0})
    vandal.put("no-number", {})
    expected = {"5": "missing", "6": "changed", "77": "extra", "no-number": "extra"}
    verdict = verify(search, "--repair")
    assert (verdict.code, verdict.found, verdict.repaired) == (0, expected, set(expected)), verdict.text
    assert verify(search).found == {}
