"""The first load of a large table: cut off in its midst, it goes on where it was, whatever is written meanwhile."""

import pytest

from support.writers import USERS, Writers
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
