"""The first load of a large table: cut off in its midst, it goes on where it was, whatever is written meanwhile. LOAD_ALL=1: all cases."""

import os

import pytest

from support.writers import USERS, Writers, fill
from test_isolation import Index, Strings, Table, run

ROWS = 5000
SLOW = {"batch": "64KiB", "rate_limit": 2500, "load_readers": 3}


def fill_wide(db):
    db.execute("INSERT INTO users SELECT i, 'name ' || i, i %% 90, repeat(md5(i::text), 20) FROM generate_series(1, %s) i", [ROWS])


@pytest.mark.parametrize("kind", [Strings, Table, Index], ids=["redis", "view", "opensearch"])
def test_kill_9_in_mid_load_repeats_no_part_that_was_done(kind, db, request, freshet, cli, unique, wait_until):
    db.execute(USERS)
    fill_wide(db)
    sink = kind(request, db, unique, **SLOW)

    def status():
        return cli("status", "--admin", f"127.0.0.1:{process.admin_port}").stdout

    try:
        process = run(freshet, db, [sink])
        wait_until(lambda: sink.metric("indexed_total") > ROWS / 2, 60, "half of it is loaded")
        process.kill9()
        kept = sink.count()
        writers = Writers(db, n=2, keys=ROWS + 1000, rest=0.1)
        # Of what has been loaded and of what has not.
        db.execute("DELETE FROM users WHERE id %% 10 = %s", [3])
        process.start(wait=False)
        wait_until(lambda: process.metric("freshet_cdc_increment_rows_total") > 300, 60, "the rest is read")
        wait_until(lambda: "beside the stream: reading" in status(), what="its progress is told")
        process.kill9()
        process.start(wait=False)
        wait_until(lambda: sink.status()["loaded"], 60, "it is loaded")
        writers.end()
        wait_until(sink.is_equal, 60, "the sink equals the table", 0.1)
        assert kept > ROWS / 3
        assert sink.metric("loads_total") == 0
        # What was written and not noted yet, of half a second and of the parts in hand, comes again.
        assert process.metric("freshet_cdc_increment_rows_total") < ROWS - kept / 3
        assert sink.metric("dead_letters_total") == 0
        process.stop()
    finally:
        sink.close()


# As rows of the table, each read a millisecond long.
ONE_USER = {"key": "one_user:{id}", "shape": "row", "depends_on": {"users": ["id"]},
            "sql": "SELECT name, age, note FROM users WHERE id = $1 AND pg_sleep(0.001 + 0 * $1) IS NOT NULL"}


@pytest.mark.parametrize("kind", [Strings, Table, Index] if os.environ.get("LOAD_ALL") else [Table])
def test_kill_9_while_a_querys_keys_are_walked_goes_on_behind_them(kind, db, request, freshet, unique, wait_until):
    db.execute(USERS)
    fill(db, 4400)
    sink = kind(request, db, unique)
    sink.config.update(query="one_user")
    del sink.config["table"]
    try:
        process = run(freshet, db, [sink], cache={"queries": {"one_user": ONE_USER}})
        wait_until(lambda: sink.status()["walked_keys"] == 2000, 60, "a part of it is loaded")
        process.kill9()
        db.execute("DELETE FROM users WHERE id %% 10 = %s", [3])
        db.execute("UPDATE users SET age = -1 WHERE id %% 10 = %s", [4])
        process.start(wait=False)
        wait_until(lambda: sink.status()["loaded"], 60, "it is loaded")
        assert sink.metric("loads_total") == 0
        assert process.metric("freshet_connector_indexed_total", connector=sink.name) < 4400
        wait_until(sink.is_equal, 60, "the sink equals the table", 0.1)
        process.stop()
    finally:
        sink.close()


@pytest.mark.parametrize("moment", ["while it runs"] + (["in mid-load"] if os.environ.get("LOAD_ALL") else []))
def test_another_table_under_the_same_name_is_loaded_anew(moment, db, request, freshet, unique, wait_until):
    db.execute(USERS)
    fill_wide(db)
    sink = Strings(request, db, unique, **({**SLOW, "rate_limit": 2500} if moment == "in mid-load" else {}))
    try:
        process = run(freshet, db, [sink])
        if moment == "in mid-load":
            wait_until(lambda: sink.metric("indexed_total") > ROWS / 2, 60, "half of it is loaded")
            process.kill9()
        else:
            wait_until(sink.is_equal, 60, "the sink equals the table", 0.1)
        db.execute_many("DROP TABLE users", USERS)
        fill(db, 100, first=ROWS - 50)
        if moment == "in mid-load":
            process.start(wait=False)
        wait_until(sink.is_equal, 60, "the sink equals the other table", 0.1)
        db.execute("DELETE FROM users WHERE id = %s", [ROWS])
        wait_until(sink.is_equal, 60, "and follows it", 0.1)
        process.stop()
    finally:
        sink.close()
