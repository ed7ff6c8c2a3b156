"""Warm start: the hottest rows' names are saved, and read again at the next start through ordinary fills."""

import re

import pytest

from support.rows import applied, keep, state
from support.waiting import wait_until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "warm.keys"


@pytest.fixture
def warm(shop, freshet, path):
    """Makes a Freshet that saves to `path`."""

    def make(**cache):
        return freshet(shop, {"cache": {"warm": str(path), **cache}})

    return make


def names(path):
    """[(form, key)] of the file."""
    lines = path.read_text().splitlines()
    assert lines[0] == "freshet warm 1" and re.fullmatch(rf"end {len(lines) - 2} [0-9a-f]{{16}}", lines[-1])
    return [tuple(line.split(" ")) for line in lines[1:-1]]


def test_rows_that_were_asked_for_are_read_again_at_the_next_start(warm, shop, path):
    f = warm()
    keep(f, "customers:1"), keep(f, "customers:2"), keep(f, "customers:2", "HGETALL"), keep(f, "order_items:1:1")
    keep(f, "customers:9999")  # absent: its name is not worth a read
    f.redis.set("plain", "value")
    f.stop()
    assert sorted(names(path)) == [("h", "customers:2"), ("s", "customers:1"), ("s", "customers:2"), ("s", "order_items:1:1")]
    # what is read at the start is what the database has by then
    shop.execute("UPDATE customers SET name = 'new' WHERE id = 1")
    f.start()
    wait_until(lambda: f.metric("freshet_cache_warm_keys_total", outcome="read") == 4, 30, "they are asked for")
    wait_until(lambda: state(f, "customers:1") == "resident", 30, "they are read")
    misses = f.metric("freshet_cache_misses_total")
    assert f.row("customers:1")["name"] == "new"
    assert f.metric("freshet_cache_misses_total") == misses
    assert f.metric("freshet_cache_warm_pending_keys") == 0


def test_the_most_used_rows_come_first_and_no_more_than_were_asked_for(warm, path):
    f = warm(warm_keys=3)
    for i in range(1, 11):
        keep(f, f"customers:{i}")
    for i in (4, 5, 6):
        for _ in range(6 + i):
            f.redis.get(f"customers:{i}")
    f.stop()
    assert [key for _, key in names(path)] == ["customers:6", "customers:5", "customers:4"]


def test_the_file_is_written_at_intervals(warm, path):
    f = warm(warm_interval="1s")
    keep(f, "customers:1")
    wait_until(lambda: path.exists() and ("s", "customers:1") in names(path), 30, "it is written")
    f.kill9()
    f.start()
    wait_until(lambda: state(f, "customers:1") == "resident", 30, "it is read")


def test_the_rate_is_bounded(warm, path):
    f = warm(warm_rate=50)
    keep(f, "customers:1")
    for i in range(2, 41):
        f.redis.get(f"customers:{i}")
    f.stop()
    n = len(names(path))
    f.start()
    wait_until(lambda: f.metric("freshet_cache_warm_pending_keys") == 0, 30, "all are read")
    seconds = float(re.findall(r"cache_warmed .*seconds=([0-9.]+)", f.log_text())[-1])
    assert seconds > (n / 50 - 0.3) * 0.8


@pytest.mark.parametrize("harm", ["altered", "folder"])
def test_a_file_that_is_none_is_a_warning_and_a_cold_start(warm, path, harm):
    f = warm()
    keep(f, "customers:1")
    f.stop()
    text = path.read_text()
    path.unlink()
    if harm == "altered":
        path.write_text(text.replace("customers:1", "customers:2"))
    else:
        path.mkdir()
    f.start()
    assert "cache_warm_trouble" in f.log_text()
    assert f.metric("freshet_cache_warm_failures_total") == 1
    assert f.redis.dbsize() == 0 and f.row("customers:1")["id"] == 1
    f.kill9()


def test_names_that_are_no_rows_any_more_are_passed_over(warm, shop, path):
    f = warm()
    keep(f, "customers:1"), keep(f, "order_items:1:1")
    f.stop()
    shop.execute("DROP TABLE order_items")
    f.start()
    wait_until(lambda: state(f, "customers:1") == "resident", 30, "the other is read")
    assert f.metric("freshet_cache_warm_keys_total", outcome="passed") == 1


def test_names_that_were_not_read_yet_are_not_lost_at_a_stop(warm, shop, path):
    f = warm(warm_rate=1)
    for i in range(1, 11):
        keep(f, f"customers:{i}")
    f.stop()
    before = names(path)
    f.start()
    f.stop()
    assert names(path) == before


def test_a_folder_that_cannot_be_written_is_a_warning(shop, freshet):
    f = freshet(shop, {"cache": {"warm": "/proc/nowhere/warm.keys"}})
    keep(f, "customers:1")
    f.stop()
    assert "cannot be written" in f.log_text()
