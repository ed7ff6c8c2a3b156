"""max_memory as a promise about resident memory: while sizes shift, after a flush, after expiry. FRESHET_CHURN_SECONDS for longer."""

import os
import random
import time

import pytest
from support.rawresp import RawResp
from support.waiting import wait_until

MIB = 1 << 20
BOUND = 64 * MIB
SHIFTS = (64, 1024, 100, 2000, 40, 300)


@pytest.fixture
def bounded(freshet):
    served = freshet(None, {"cache": {"read_through": False, "workers": 1, "max_memory": f"{BOUND // MIB}MiB"}})
    if served.rss_bytes() == 0:
        pytest.skip("a sanitizer keeps memory for itself")
    return served


def fill(served, first, size, total_bytes, random_of=None, ttl=None):
    """Keys from `first` on, a few of them of another size, some deleted between. Returns the next key and the highest resident memory."""
    raw = RawResp(served.port)
    peak = 0
    stop = first + total_bytes // (size + 70)
    for start in range(first, stop, 500):
        commands = []
        for i in range(start, min(start + 500, stop)):
            odd = random_of and random_of.random() < 0.1
            value = "v" * (random_of.randrange(2500) if odd else size)
            commands.append(["SET", f"key:{i}", value, *(["EX", ttl] if ttl else [])])
            if odd:
                commands.append(["DEL", f"key:{random_of.randrange(max(0, i - 100_000), i + 1)}"])
        raw.calls(commands)
        peak = max(peak, served.rss_bytes())
    raw.close()
    return stop, peak


def test_resident_memory_keeps_to_the_bound_while_sizes_shift(bounded):
    chance = random.Random(4)
    deadline = time.monotonic() + float(os.environ.get("FRESHET_CHURN_SECONDS", 0))
    n, rounds = 0, 0
    while rounds == 0 or time.monotonic() < deadline:
        for size in SHIFTS:
            n, peak = fill(bounded, n, size, BOUND // 2 if size < 200 else BOUND, chance)
            assert peak < BOUND * 1.05, (rounds, size, peak / BOUND)
        rounds += 1
    assert bounded.rss_bytes() > BOUND * 0.85  # nor is it left unused
    assert bounded.redis.dbsize() > BOUND / 2 / 2500
    last = sum(bounded.redis.exists(f"key:{i}") for i in range(n - 100, n))
    assert last > 80  # what came last is there, but for what was deleted


def test_memory_goes_back_after_a_flush_and_after_expiry(bounded):
    empty = bounded.rss_bytes()
    n, _ = fill(bounded, 0, 200, 30 * MIB)
    full = bounded.rss_bytes()
    assert full > empty + 22 * MIB
    bounded.redis.flushall()
    wait_until(lambda: bounded.rss_bytes() < empty + (full - empty) // 5, 15, "the flushed memory is given back")

    fill(bounded, n, 200, 30 * MIB, ttl=3)
    assert bounded.redis.info("memory")["used_memory"] > 20 * MIB
    wait_until(lambda: bounded.redis.dbsize() == 0, 10, "all has expired")
    wait_until(lambda: bounded.redis.info("memory")["used_memory"] < 2 * MIB, 2, "and takes no memory")
    wait_until(lambda: bounded.rss_bytes() < empty + (full - empty) // 5, 15, "and is given back")
