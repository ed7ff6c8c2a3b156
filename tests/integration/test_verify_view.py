"""freshet verify NAME of view tables: of a table, of a query's rows, of counts and sums."""

import os
import re
import threading
import time

import pytest
from support.writers import USERS, Writers, fill
from test_verify_connector import Verdict
from test_view import KEPT, ORDERS, SUMMED, SUMS, SUMS_KEPT, WANTED, make_orders, users_view, view  # noqa: F401: a fixture

SECONDS = float(os.environ.get("VERIFY_SECONDS", 2))


@pytest.fixture
def verify(cli):
    def run(copy, *flags):
        return Verdict(cli("verify", "v", "--admin", f"127.0.0.1:{copy.freshet.admin_port}", *flags))

    return run


def summed(verdict):
    found = re.search(r"by the sums of ranges alone (\d+)", verdict.text)
    return int(found[1]) if found else 0


def repaired(verify, copy, expected):
    """Found and named, then repaired, then gone."""
    verdict = verify(copy)
    assert (verdict.code, verdict.found) == (1, expected), verdict.text
    verdict = verify(copy, "--repair")
    assert (verdict.code, verdict.found, verdict.repaired) == (0, expected, set(expected)), verdict.text
    copy.wait_equal()
    verdict = verify(copy)
    assert (verdict.code, verdict.found) == (0, {}), verdict.text


def test_of_a_large_table_only_ranges_that_differ_are_read(db, view, verify):
    db.execute(USERS)
    fill(db, 20000)
    copy = users_view(view)
    copy.wait_equal()
    verdict = verify(copy)
    assert verdict.code == 0 and summed(verdict) == 20000, verdict.text
    assert "compared 20000 rows with the sink and 20000 keys" in verdict.text
    db.execute("UPDATE users SET name = 'of today' WHERE id = 11")
    copy.wait_equal()
    db.execute_many(
        "DELETE FROM copy WHERE id IN (5, 20000)",
        "UPDATE copy SET name = 'name 11' WHERE id = 11",  # as an older backup has it
        "UPDATE copy SET note = '' WHERE id = 16001",  # an empty text is no NULL
        "INSERT INTO copy VALUES (0, 'before all'), (90000, 'behind all')",
    )
    expected = {"5": "missing", "20000": "missing", "11": "changed", "16001": "changed", "0": "extra", "90000": "extra"}
    verdict = verify(copy)
    assert (verdict.code, verdict.found) == (1, expected), verdict.text
    assert 18000 <= summed(verdict) < 20000
    repaired(verify, copy, expected)
    # The stream goes on over what was written again.
    db.execute_many("UPDATE users SET age = 1000 WHERE id < 9000", "DELETE FROM users WHERE id IN (5, 11)")
    copy.wait_equal()
    assert verify(copy).found == {}
    assert copy.metric("loads_total") == 1


def test_renamed_columns(db, view, verify):
    """Two names change places: what is compared goes by the source's, on both sides."""
    db.execute("CREATE TABLE users (id int PRIMARY KEY, name text, note text)")
    db.execute("INSERT INTO users SELECT i, 'n' || i, 'o' || i FROM generate_series(1, 3000) i")
    copy = view("SELECT id AS user_id, name AS note, note AS name FROM users ORDER BY id", "SELECT user_id, note, name FROM copy ORDER BY user_id",
                table="public.users", columns=[{"id": "user_id"}, {"name": "note"}, {"note": "name"}])
    copy.wait_equal()
    verdict = verify(copy)
    assert (verdict.code, verdict.found) == (0, {}) and summed(verdict) == 3000, verdict.text
    db.execute_many("DELETE FROM copy WHERE user_id = 3", "UPDATE copy SET note = name WHERE user_id = 4",
                    "INSERT INTO copy VALUES (4000)")
    repaired(verify, copy, {"3": "missing", "4": "changed", "4000": "extra"})


def test_a_table_of_other_types_and_keys_of_text(db, view, verify):
    """Keys in an order that servers need not agree on, and values that the target's columns have changed."""
    db.execute("CREATE TABLE users (a text, b int, v numeric, t timestamptz, PRIMARY KEY (a, b))")
    db.execute("CREATE TABLE copy (a varchar(40), b bigint, v numeric(10,1), t date, PRIMARY KEY (a, b))")
    db.execute("INSERT INTO users SELECT 'x:' || i || '%', i, i / 7.0, now() FROM generate_series(1, 1200) i")
    texts = "SELECT a, b, v::numeric(10,1), t::date FROM {} ORDER BY b, a"
    copy = view(texts.format("users"), texts.format("copy"), table="public.users")
    copy.wait_equal()
    verdict = verify(copy)
    assert (verdict.code, verdict.found) == (0, {}), verdict.text
    db.execute_many(
        "DELETE FROM copy WHERE b = 3", "UPDATE copy SET v = 7 WHERE b = 4", "INSERT INTO copy VALUES ('y', 3)"
    )
    repaired(verify, copy, {"x%3A3%25:3": "missing", "x%3A4%25:4": "changed", "y:3": "extra"})


@pytest.mark.parametrize("other", [False, True])
def test_keys_of_text_are_summed_up_where_both_order_them_alike(db, view, verify, other):
    db.execute("CREATE TABLE users (id text PRIMARY KEY, name text)")
    db.execute("CREATE TABLE copy (id text%s PRIMARY KEY, name text)" % (' COLLATE "und-x-icu"' if other else ""))
    db.execute("INSERT INTO users SELECT chr(65 + i %% 57) || md5(i::text), 'n' FROM generate_series(1, %s) i", [3000])
    copy = view("SELECT * FROM users ORDER BY id", "SELECT * FROM copy ORDER BY id COLLATE \"default\"", table="public.users")
    copy.wait_equal()
    verdict = verify(copy)
    assert (verdict.code, summed(verdict)) == (0, 0 if other else 3000), verdict.text
    db.execute_many("UPDATE copy SET name = 'x' WHERE id = 'B' || md5('1')", "DELETE FROM copy WHERE id = 'C' || md5('2')", "INSERT INTO copy VALUES ('~é', 'e')")
    keys = {row["n"]: row["id"] for row in db.rows("SELECT id, n FROM users, (VALUES (1), (2)) v(n) WHERE id = chr(65 + n) || md5(n::text)")}
    repaired(verify, copy, {keys[1]: "changed", keys[2]: "missing", "~é": "extra"})


def test_rows_of_a_query(db, view, verify):
    make_orders(db)
    copy = view(WANTED, KEPT, query="orders_by_user", queries={"orders_by_user": ORDERS})
    copy.wait_equal()
    assert verify(copy).found == {}
    db.execute_many(
        "DELETE FROM copy WHERE user_id = 5",
        "DELETE FROM copy WHERE id = (SELECT min(id) FROM copy WHERE user_id = 6)",
        "INSERT INTO copy SELECT * FROM copy WHERE user_id = 7",
        "UPDATE copy SET product = 'none' WHERE user_id = 8 AND id % 2 = 0",
        "INSERT INTO copy (user_id, id) VALUES (7777, 1)",
    )
    repaired(verify, copy, {"5": "missing", "6": "changed", "7": "changed", "8": "changed", "7777": "extra"})
    db.execute("UPDATE orders SET total = total + 1 WHERE user_id < 10")
    copy.wait_equal()


def test_counts_and_sums(db, view, verify):
    db.execute("CREATE TABLE orders (id serial PRIMARY KEY, user_id int, kind text, total numeric(10,2), note text)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute(
        "INSERT INTO orders (user_id, kind, total, note) SELECT nullif(i % 17, 3), 'k:' || i % 3, i - 200, "
        "CASE WHEN i % 2 = 0 THEN repeat('x', 10) END FROM generate_series(1, 1000) i"
    )
    sums = view(SUMMED, SUMS_KEPT, table="public.orders", aggregate=SUMS, batch_interval="5ms")
    sums.wait_equal()
    verdict = verify(sums)
    assert (verdict.code, verdict.found) == (0, {}), verdict.text
    db.execute_many(
        "DELETE FROM copy WHERE user_id = 5 AND kind = 'k:1'",
        "DELETE FROM copy WHERE user_id IS NULL AND kind = 'k:2'",
        "UPDATE copy SET total = total + 0.01 WHERE user_id = 6 AND kind = 'k:2'",
        "UPDATE copy SET orders = orders - 1 WHERE user_id IS NULL AND kind = 'k:0'",
        "INSERT INTO copy SELECT 77, kind, orders, noted, total FROM copy WHERE user_id = 7 AND kind = 'k:0'",
    )
    expected = {
        "5:k%3A1": "missing", "%N:k%3A2": "missing", "6:k%3A2": "changed", "%N:k%3A0": "changed", "77:k%3A0": "extra",
    }
    repaired(verify, sums, expected)
    db.execute("UPDATE orders SET total = total * 2, user_id = user_id + 1 WHERE id % 3 > 0")
    db.execute("DELETE FROM orders WHERE user_id IS NULL")
    sums.wait_equal()
    assert verify(sums).found == {}


@pytest.mark.timeout(180 + SECONDS)
def test_beside_writers_there_is_no_false_alarm_and_corruptions_are_repaired(db, view, verify):
    """VERIFY_SECONDS=600 for long."""
    db.execute(USERS)
    fill(db, 600)
    fill(db, 3000, first=500000)
    copy = users_view(view, batch_interval="20ms")
    copy.wait_equal()
    end = time.monotonic() + SECONDS
    writers = Writers(db)
    try:
        while time.monotonic() < end:
            verdict = verify(copy)
            assert (verdict.code, verdict.found) == (0, {}), verdict.text
        db.execute_many(
            "DELETE FROM copy WHERE id = 500001",
            "UPDATE copy SET age = -7 WHERE id = 500002",
            "INSERT INTO copy VALUES (700000)",
        )
        verdict = verify(copy, "--repair")
    finally:
        writers.end()
    assert verdict.found == {"500001": "missing", "500002": "changed", "700000": "extra"}, verdict.text
    assert verdict.code == 0, verdict.text
    copy.wait_equal()
    assert verify(copy).found == {}


@pytest.mark.timeout(180 + SECONDS)
def test_counts_that_change_meanwhile_are_no_difference(db, view, verify):
    db.execute("CREATE TABLE orders (id serial PRIMARY KEY, user_id int, kind text, total numeric(10,2), note text)")
    db.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    db.execute("INSERT INTO orders (user_id, kind, total) SELECT i % 300, 'k', i FROM generate_series(1, 3000) i")
    sums = view(SUMMED, SUMS_KEPT, table="public.orders", aggregate=SUMS, batch_interval="5ms")
    sums.wait_equal()
    stop = threading.Event()

    def write():
        with db.connect() as connection:
            while not stop.is_set():
                connection.execute(
                    "UPDATE orders SET user_id = (random() * 250)::int, total = total + 1"
                    " WHERE user_id <= 250 AND id = (SELECT (random() * 2999)::int + 1)"
                )
                stop.wait(0.002)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            verdict = verify(sums)
            assert (verdict.code, verdict.found) == (0, {}), verdict.text
        db.execute_many("UPDATE copy SET total = total + 1 WHERE user_id = 299", "DELETE FROM copy WHERE user_id = 298")
        verdict = verify(sums, "--repair")
    finally:
        stop.set()
        writer.join(30)
    assert verdict.found == {"299:k": "changed", "298:k": "missing"}, verdict.text
    assert verdict.code == 0, verdict.text
    sums.wait_equal()
    assert verify(sums).found == {}


def test_a_commit_that_is_streamed_and_not_visible_yet_is_no_difference(make_postgres, postgres, view, verify, wait_until):
    db = make_postgres().create_database()
    db.execute(USERS)
    fill(db, 10)
    target = postgres.create_database()
    copy = users_view(view, db=db, target=target)
    copy.wait_equal()
    verdicts = []
    statement = "WITH a AS (INSERT INTO users VALUES (77)), b AS (DELETE FROM users WHERE id = 2) UPDATE users SET age = -1 WHERE id = 3"
    with db.commit_held(statement):
        wait_until(lambda: target.rows("SELECT id FROM copy WHERE id = 77"), what="the sink is ahead")
        asking = threading.Thread(target=lambda: verdicts.append(verify(copy, "--repair")))
        asking.start()

        def verification():
            return copy.freshet.http("/status").json()["connectors"][0].get("verification", {})

        wait_until(lambda: verification().get("phase") == "looking again")
        time.sleep(1)  # it goes on looking, and does not make up its mind
        assert verification()["differences"] == 0
    asking.join(60)
    assert (verdicts[0].code, verdicts[0].found) == (0, {}), verdicts[0].text
    copy.wait_equal()
