"""Schema changes while the cache runs: no value of an old shape outlives the bound, none is of two shapes, service goes on."""

import json
import threading
from contextlib import contextmanager

import pytest
import redis

from support.rows import applied, explain, keep, refusal, state
from support.waiting import wait_until

QUICK = {"cache": {"catalog_poll_interval": "200ms"}}


@pytest.fixture
def t(db):
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two')")
    return db


@contextmanager
def read_all_the_while(f, keys, is_right):
    """Readers of both forms; each answer must be right, and none an error."""
    stop, wrong, reads = threading.Event(), [], [0]

    def read(form):
        client = f.client()
        while not stop.is_set():
            for key in keys:
                try:
                    answer = json.loads(client.get(key) or "null") if form == "json" else client.hgetall(key)
                except redis.ResponseError as error:
                    wrong.append((key, form, str(error)))
                    stop.set()
                    return
                if not is_right(key, form, answer):
                    wrong.append((key, form, answer))
                    stop.set()
                reads[0] += 1

    threads = [threading.Thread(target=read, args=(form,), daemon=True) for form in ("json", "fields", "json")]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: reads[0] > 50 or wrong, what="readers are at work")
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not wrong, wrong[:3]


def becomes(f, key, row, fields=None):
    """Both forms, soon; and then still, though nothing is asked of the database any more."""
    wait_until(lambda: f.row(key) == row, 15, f"{key} is {row}")
    fields = fields if fields is not None else {name: str(value) for name, value in (row or {}).items() if value is not None}
    wait_until(lambda: f.redis.hgetall(key) == fields, 15, f"{key} has the fields {fields}")
    if row is not None:
        assert json.loads(keep(f, key)) == row


def still_evicts(f, db, key, sql, row):
    keep(f, key)
    db.execute(sql)
    applied(f, db)
    assert f.row(key) == row


CHANGES = [
    ("ADD COLUMN c int DEFAULT 7", {"id": 1, "a": 10, "b": "one", "c": 7}),
    ("ADD COLUMN c text", {"id": 1, "a": 10, "b": "one", "c": None}),
    ("DROP COLUMN a", {"id": 1, "b": "one"}),
    ("RENAME COLUMN a TO z", {"id": 1, "z": 10, "b": "one"}),
    ("ALTER COLUMN a TYPE text USING 'n' || a", {"id": 1, "a": "n10", "b": "one"}),
    ("ALTER COLUMN a TYPE numeric(10,2)", {"id": 1, "a": 10.00, "b": "one"}),
    ("ADD COLUMN c int GENERATED ALWAYS AS (a * 2) STORED", {"id": 1, "a": 10, "b": "one", "c": 20}),
    ("DROP COLUMN a, ADD COLUMN a text DEFAULT 'x'", {"id": 1, "b": "one", "a": "x"}),
]


@pytest.mark.parametrize("change, row", CHANGES, ids=[change for change, _ in CHANGES])
def test_a_change_of_columns_is_seen_within_the_poll_and_breaks_no_read(t, freshet, change, row):
    f = freshet(t, QUICK)
    old = {"id": 1, "a": 10, "b": "one"}
    keep(f, "t:1")
    f.redis.hgetall("t:1")
    fields = {name: str(value) for name, value in row.items() if value is not None}
    if change.endswith("numeric(10,2)"):
        fields["a"] = "10.00"

    def is_right(key, form, answer):
        return answer in (old, row) if form == "json" else answer in ({name: str(v) for name, v in old.items()}, fields)

    with read_all_the_while(f, ["t:1"], is_right):
        t.execute(f"ALTER TABLE t {change}")
        becomes(f, "t:1", row, fields)
    still_evicts(f, t, "t:1", "UPDATE t SET b = 'new' WHERE id = 1", {**row, "b": "new"})


def test_columns_that_change_places_are_never_mixed_up(t, freshet):
    """The same names and types, another meaning: nothing but the catalog tells."""
    t.execute("ALTER TABLE t DROP COLUMN b, ADD COLUMN b int; UPDATE t SET b = -a")
    f = freshet(t, QUICK)

    def is_right(key, form, row):
        return int(row["a"]) == -int(row["b"])

    with read_all_the_while(f, ["t:1", "t:2"], is_right):
        for turn in range(3):
            sign = -1 if turn % 2 == 0 else 1
            t.execute_many(
                "ALTER TABLE t RENAME COLUMN a TO x", "ALTER TABLE t RENAME COLUMN b TO a", "ALTER TABLE t RENAME COLUMN x TO b"
            )
            wait_until(lambda: f.row("t:1")["a"] == sign * 10 and f.redis.hget("t:2", "a") == str(sign * 20), 15)


def test_a_table_dropped_and_made_again_is_another(t, freshet):
    f = freshet(t, QUICK)
    keep(f, "t:1")
    keep(f, "t:2")
    t.execute("DROP TABLE t")
    wait_until(lambda: f.redis.get("t:1") is None and f.redis.hgetall("t:2") == {}, 15, "its rows are gone")
    t.execute("CREATE TABLE t (id text PRIMARY KEY, v int); INSERT INTO t VALUES ('1', 100), ('x', 5)")
    becomes(f, "t:1", {"id": "1", "v": 100})
    becomes(f, "t:x", {"id": "x", "v": 5})
    becomes(f, "t:2", None)
    still_evicts(f, t, "t:x", "UPDATE t SET v = 6 WHERE id = 'x'", {"id": "x", "v": 6})


def test_a_table_replaced_in_one_transaction_is_another(t, freshet):
    f = freshet(t, QUICK)
    keep(f, "t:1")
    keep(f, "t:2")
    t.execute_many("DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, a int, b text)", "INSERT INTO t VALUES (1, 11, 'eleven')")
    becomes(f, "t:1", {"id": 1, "a": 11, "b": "eleven"})
    becomes(f, "t:2", None)
    still_evicts(f, t, "t:1", "UPDATE t SET a = 12", {"id": 1, "a": 12, "b": "eleven"})


def test_tables_that_change_names_change_their_rows(t, freshet):
    t.execute("CREATE TABLE u (id int PRIMARY KEY, a int, b text); INSERT INTO u VALUES (1, 99, 'u')")
    f = freshet(t, QUICK)
    for key in ("t:1", "u:1", "t:2"):
        keep(f, key)
    t.execute_many("ALTER TABLE t RENAME TO x", "ALTER TABLE u RENAME TO t", "ALTER TABLE x RENAME TO u")
    becomes(f, "t:1", {"id": 1, "a": 99, "b": "u"})
    becomes(f, "u:1", {"id": 1, "a": 10, "b": "one"})
    becomes(f, "t:2", None)
    still_evicts(f, t, "t:1", "UPDATE t SET a = 100", {"id": 1, "a": 100, "b": "u"})
    still_evicts(f, t, "u:1", "UPDATE u SET a = 11 WHERE id = 1", {"id": 1, "a": 11, "b": "one"})


def test_another_primary_key_gives_other_keys(t, freshet):
    f = freshet(t, QUICK)
    keep(f, "t:1")
    t.execute_many("ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (a)")
    becomes(f, "t:10", {"id": 1, "a": 10, "b": "one"})
    becomes(f, "t:1", None)
    t.execute("UPDATE t SET a = 1 WHERE a = 20")
    applied(f, t)
    assert f.row("t:1") == {"id": 2, "a": 1, "b": "two"}
    still_evicts(f, t, "t:10", "UPDATE t SET b = 'new' WHERE a = 10", {"id": 1, "a": 10, "b": "new"})
    t.execute_many("ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ADD PRIMARY KEY (id, a)")
    becomes(f, "t:2:1", {"id": 2, "a": 1, "b": "two"})
    with pytest.raises(redis.ResponseError, match="2"):
        f.redis.get("t:10")
    still_evicts(f, t, "t:2:1", "UPDATE t SET b = 'newer' WHERE id = 2", {"id": 2, "a": 1, "b": "newer"})


def test_a_new_table_is_read_and_kept_and_evicted(t, freshet):
    f = freshet(t, QUICK)
    assert f.redis.get("later:1") is None
    t.execute("CREATE TABLE later (id int PRIMARY KEY, v int); INSERT INTO later VALUES (1, 1)")
    becomes(f, "later:1", {"id": 1, "v": 1})
    still_evicts(f, t, "later:1", "UPDATE later SET v = 2", {"id": 1, "v": 2})


def test_a_key_type_that_changes_reads_keys_by_the_new_type(t, freshet):
    f = freshet(t, QUICK)
    keep(f, "t:1")
    keep(f, "t:01")
    t.execute("ALTER TABLE t ALTER COLUMN id TYPE text")
    becomes(f, "t:1", {"id": "1", "a": 10, "b": "one"})
    becomes(f, "t:01", None)
    still_evicts(f, t, "t:1", "UPDATE t SET a = 11 WHERE id = '1'", {"id": "1", "a": 11, "b": "one"})


def test_partitions_that_come_and_go_take_their_rows_along(db, freshet):
    db.execute(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE p2 (id int PRIMARY KEY, v text); INSERT INTO p2 VALUES (101, 'in p2'); INSERT INTO p VALUES (1, 'in p1')"
    )
    f = freshet(db, QUICK)
    keep(f, "p:1")
    assert keep(f, "p:101") is None
    db.execute("ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200)")
    becomes(f, "p:101", {"id": 101, "v": "in p2"})
    still_evicts(f, db, "p:101", "UPDATE p2 SET v = 'new'", {"id": 101, "v": "new"})
    db.execute("ALTER TABLE p DETACH PARTITION p1")
    becomes(f, "p:1", None)
    db.execute("DROP TABLE p2")
    becomes(f, "p:101", None)


def test_labels_of_an_enum_are_renamed_in_what_is_kept(db, freshet):
    db.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE m (id int PRIMARY KEY, mood mood)")
    db.execute("INSERT INTO m VALUES (1, 'ok')")
    f = freshet(db, QUICK)
    keep(f, "m:1")
    db.execute("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'")
    becomes(f, "m:1", {"id": 1, "mood": "fine"})


def test_a_unique_index_that_goes_takes_its_keys_along(t, freshet):
    t.execute("CREATE UNIQUE INDEX t_b ON t (b)")
    f = freshet(t, QUICK)
    keep(f, "t:b=one")
    t.execute("DROP INDEX t_b; INSERT INTO t VALUES (3, 30, 'one')")

    wait_until(lambda: refusal(f, "t:b=one"), 15, "it is no key any more")
    t.execute("DELETE FROM t WHERE id = 1")
    t.execute("CREATE UNIQUE INDEX t_b ON t (b)")
    becomes(f, "t:b=one", {"id": 3, "a": 30, "b": "one"})
    still_evicts(f, t, "t:b=one", "UPDATE t SET a = 31 WHERE id = 3", {"id": 3, "a": 31, "b": "one"})


def test_a_publication_that_is_dropped_is_made_again_and_nothing_stale_is_read(t, freshet):
    f = freshet(t, QUICK)
    with read_all_the_while(f, ["t:2"], lambda key, form, row: row["b"] == "two"):
        for turn in range(2):
            keep(f, "t:1")
            t.execute("DROP PUBLICATION freshet_cache")
            t.execute("UPDATE t SET a = a + 1 WHERE id = 1")
            wait_until(lambda: f.row("t:1")["a"] == 11 + turn, 15, "the new row is read")
            wait_until(lambda: "freshet_cache" in t.publications(), what="the publication is there again")
    still_evicts(f, t, "t:1", "UPDATE t SET a = 20 WHERE id = 1", {"id": 1, "a": 20, "b": "one"})


def test_a_row_changed_together_with_its_table_is_seen_as_it_then_is(t, freshet):
    """DDL and rows in one transaction, and a transaction that was open across the change."""
    f = freshet(t, QUICK)
    keep(f, "t:1")
    keep(f, "t:2")
    t.execute_many("ALTER TABLE t ADD COLUMN c int", "UPDATE t SET c = a", "ALTER TABLE t DROP COLUMN a")
    applied(f, t)
    becomes(f, "t:1", {"id": 1, "b": "one", "c": 10})
    with t.connect(autocommit=False) as connection:
        connection.execute("ALTER TABLE t ADD COLUMN d int DEFAULT 1")
        connection.execute("UPDATE t SET d = 2 WHERE id = 1")
        connection.rollback()
    applied(f, t)
    assert f.row("t:1") == {"id": 1, "b": "one", "c": 10}
    assert explain(f, "t:1")["state"] in ("resident", "uncached")
    keep(f, "t:1")
    assert state(f, "t:1") == "resident"


def test_a_named_query_follows_its_tables_changes(t, freshet):
    query = {"key": "by_a:{a}", "sql": "SELECT id, b FROM t WHERE a = $1 ORDER BY id", "depends_on": {"t": ["a"]}}
    t.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    f = freshet(t, {"cache": {**QUICK["cache"], "queries": {"by_a": query}}})
    assert json.loads(keep(f, "by_a:10")) == [{"id": 1, "b": "one"}]
    t.execute("ALTER TABLE t ALTER COLUMN b TYPE int USING length(b)")
    wait_until(lambda: f.row("by_a:10") == [{"id": 1, "b": 3}], 15, "the new type is answered")
    t.execute("ALTER TABLE t RENAME COLUMN b TO gone")

    wait_until(lambda: refusal(f, "by_a:10"), 15, "the query says that it does not fit")
    assert f.row("t:1")["gone"] == 3
    t.execute("ALTER TABLE t RENAME COLUMN gone TO b")
    wait_until(lambda: f.row("by_a:10") == [{"id": 1, "b": 3}], 10, "it fits again")
    keep(f, "by_a:10")
    t.execute("UPDATE t SET b = 4 WHERE id = 1")
    applied(f, t)
    assert f.row("by_a:10") == [{"id": 1, "b": 4}]


def test_upkeep_of_a_table_leaves_its_rows_in_memory(t, freshet):
    t.execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)")
    t.execute("INSERT INTO p VALUES (1)")
    f = freshet(t, QUICK)
    keep(f, "t:1")
    keep(f, "p:1")
    for upkeep in ("ANALYZE", "VACUUM t", "VACUUM (FREEZE) p", "CREATE INDEX ON t (a)", "CREATE INDEX ON p (id)", "VACUUM ANALYZE"):
        t.execute(upkeep)
    t.execute("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)")
    keep(f, "later:1")  # so there was a poll
    assert state(f, "t:1") == state(f, "p:1") == "resident"


def test_a_view_that_is_replaced_takes_along_what_was_read_through_it(t, freshet):
    """Also where it is back as it was before anybody looks."""
    t.execute("CREATE VIEW v AS SELECT id, a FROM t")
    query = {"key": "of_v:{id}", "sql": "SELECT a FROM v WHERE id = $1", "shape": "value", "depends_on": {"t": ["id"]}}
    f = freshet(t, {"cache": {"catalog_poll_interval": "500ms", "queries": {"of_v": query}}})
    assert keep(f, "of_v:1") == "10"
    t.execute("CREATE OR REPLACE VIEW v AS SELECT id, a + 1 AS a FROM t")
    wait_until(lambda: f.redis.get("of_v:1") == "11", 5, "the new view is read")
    keep(f, "of_v:1")
    t.execute("CREATE OR REPLACE VIEW v AS SELECT id, a FROM t")
    f.redis.delete("of_v:1")
    assert f.redis.get("of_v:1") == "10"
    t.execute("CREATE OR REPLACE VIEW v AS SELECT id, a + 1 AS a FROM t")
    wait_until(lambda: f.redis.get("of_v:1") == "11", 5, "it is read again")


UNDONE = {
    "a partition is detached": (
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);"
        "INSERT INTO p VALUES (1, 'there')",
        "ALTER TABLE p DETACH PARTITION p1", "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (9)",
        "p:1", {"id": 1, "v": "there"}, None),
    "a label is renamed": (
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE m (id int PRIMARY KEY, mood mood); INSERT INTO m VALUES (1, 'ok')",
        "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", "ALTER TYPE mood RENAME VALUE 'fine' TO 'ok'",
        "m:1", {"id": 1, "mood": "ok"}, {"id": 1, "mood": "fine"}),
    "a field of a type is renamed": (
        "CREATE TYPE pair AS (a int, b int); CREATE TABLE m (id int PRIMARY KEY, p pair); INSERT INTO m VALUES (1, (1, 2))",
        "ALTER TYPE pair RENAME ATTRIBUTE a TO z", "ALTER TYPE pair RENAME ATTRIBUTE z TO a",
        "m:1", {"id": 1, "p": {"a": 1, "b": 2}}, {"id": 1, "p": {"z": 1, "b": 2}}),
    "tables change their names": (
        "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);"
        "INSERT INTO a VALUES (1, 'of a'); INSERT INTO b VALUES (1, 'of b')",
        "ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a", "ALTER TABLE a RENAME TO b; ALTER TABLE c RENAME TO a",
        "a:1", {"id": 1, "v": "of a"}, {"id": 1, "v": "of b"}),
    "schemas change their names": (
        "CREATE SCHEMA s; CREATE SCHEMA other; CREATE TABLE s.a (id int PRIMARY KEY, v text); CREATE TABLE other.a (id int PRIMARY KEY, v text);"
        "INSERT INTO s.a VALUES (1, 'of s'); INSERT INTO other.a VALUES (1, 'of other')",
        "ALTER SCHEMA s RENAME TO away; ALTER SCHEMA other RENAME TO s", "ALTER SCHEMA s RENAME TO other; ALTER SCHEMA away RENAME TO s",
        "s.a:1", {"id": 1, "v": "of s"}, {"id": 1, "v": "of other"}),
}  # fmt: skip


@pytest.mark.parametrize("made, change, back, key, row, meanwhile", UNDONE.values(), ids=list(UNDONE))
def test_what_is_undone_before_the_next_poll_leaves_nothing_behind(db, freshet, made, change, back, key, row, meanwhile):
    """(Where a poll comes between, which is rare, the test shows nothing.)"""
    db.execute(made)
    f = freshet(db, {"cache": {"catalog_poll_interval": "700ms", "negative_ttl": "5m"}})
    assert json.loads(keep(f, key)) == row
    f.redis.delete(key)
    db.execute(change)
    assert f.row(key) == meanwhile
    db.execute(back)
    wait_until(lambda: f.row(key) == row, 5, "it is again what it was")


def test_a_locked_table_holds_up_no_other(t, freshet):
    """Not the poll that sees what is altered; nor the publication, which new tables join."""
    t.execute(
        "CREATE TABLE p (id int PRIMARY KEY, v text DEFAULT 'p') PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9); CREATE TABLE u (id int PRIMARY KEY, v text DEFAULT 'x'); INSERT INTO u VALUES (1, 'u'); INSERT INTO p VALUES (1, 'p')"
    )
    queries = {"of_t": {"key": "of_t:{id}", "sql": "SELECT b FROM t WHERE id = $1", "shape": "value", "depends_on": {"t": ["id"]}}}
    with t.connect(autocommit=False) as holder:
        # As while an index is made.
        holder.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
        with t.connect(autocommit=False) as other:
            other.execute("LOCK TABLE p IN ACCESS EXCLUSIVE MODE")
            f = freshet(t, {"cache": {**QUICK["cache"], "queries": queries}}, wait=False)
            wait_until(lambda: f.row("u:1") == {"id": 1, "v": "u"}, what="another table is read")
        keep(f, "u:1")
        assert f.row("t:1")["b"] == "one" and f.redis.get("of_t:1") == "one"
    keep(f, "t:1")
    keep(f, "of_t:1")
    with t.connect(autocommit=False) as holder:
        holder.execute("CREATE TABLE v (id int PRIMARY KEY, v text)")
        holder.execute("LOCK TABLE t, p, u IN ACCESS EXCLUSIVE MODE")
        t.execute("CREATE TABLE w (id int PRIMARY KEY, v text); INSERT INTO w VALUES (1, 'w')")
        # (Kept they are once that transaction is over, as it is older than they are.)
        wait_until(lambda: f.row("w:1") == {"id": 1, "v": "w"}, 5, "a new table is read")
        t.execute("ALTER TABLE w RENAME COLUMN v TO z")
        wait_until(lambda: f.redis.hgetall("w:1") == {"id": "1", "z": "w"}, 5, "an altered one is read as it is")
        assert f.redis.get("of_t:1") == "one" and f.row("t:1")["b"] == "one"  # from memory
    still_evicts(f, t, "w:1", "UPDATE w SET z = 'new'", {"id": 1, "z": "new"})
    becomes(f, "t:1", {"id": 1, "a": 10, "b": "one"})
    assert keep(f, "of_t:1") == "one"
    assert "cache_database_lost" not in f.log_text()
