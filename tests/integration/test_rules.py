"""Each rule of coherence is needed: with it taken out, the test that is for it fails.

A second build of the program, build/freshet-rules, takes rules out by their numbers (cache/rows/core.h). A release has no such
switch.
"""

import os

import pytest

import support.freshet
import test_coherence
import test_consistency
import test_failover
import test_lease
import test_replicas
import test_strict
import test_named_queries
import test_one_snapshot
import test_unique_keys
import test_write_faults
from faults import FAULTS
from stage import Stage, hunt_with
from support.freshet import ROOT

SECONDS = float(os.environ.get("FRESHET_HUNT_SECONDS", 120))


@pytest.fixture
def start_without(freshet, monkeypatch):
    path = support.freshet.binary().with_name("freshet-rules")
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is not built: make integration")
    monkeypatch.setattr(support.freshet, "binary", lambda: path)

    def without(rule):
        env = {"FRESHET_TEST_RULES_OFF": str(rule)}
        return lambda *args, **more: freshet(*args, env=env, **more)

    return without


NEEDED = [
    (2, test_coherence.strict_scenario, "after its COMMIT had returned"),
    (16, test_strict.cut_scenario, "after its COMMIT had returned"),
    (3, test_coherence.gap_scenario, "an old row was kept"),
    (3, test_coherence.insert_gap_scenario, None),
    (3, test_coherence.alias_gap_scenario, None),
    (4, test_coherence.forgetting_scenario, "was kept"),
    (5, test_coherence.start_in_gap_scenario, "an old row was kept"),
    (6, test_coherence.joined_fill_scenario, "gave an old row"),
    (3, test_unique_keys.gap_by_unique_key_scenario, "an old row was kept"),
    (9, test_unique_keys.reverse_index_scenario, "an old row was kept"),
    (0, test_unique_keys.unique_absence_scenario, "an old absence was kept"),
    (3, test_named_queries.gap_scenario, "an old result was kept"),
    (3, test_named_queries.fence_gap_scenario, "an old result was kept"),
    (13, test_named_queries.dependents_scenario, "an old result was kept"),
    (14, test_named_queries.untold_scenario, "an old result was kept"),
]


@pytest.mark.parametrize("rule, scenario, told", NEEDED, ids=[f"{r}-{s.__name__}" for r, s, _ in NEEDED])
def test_without_the_rule_an_old_row_comes_back(make_postgres, start_without, rule, scenario, told):
    server = make_postgres()
    with pytest.raises(AssertionError, match=told):
        scenario(server, server.create_shop(), start_without(rule))


def test_without_the_lease_old_rows_outlive_the_bound(shop, start_without):
    with pytest.raises(AssertionError, match="later than max_staleness"):
        test_lease.stopped_walsender_scenario(shop, start_without(8))


WRITES = [
    (7, test_write_faults.own_write_scenario, "an old row after the write"),
    (7, test_write_faults.fill_in_flight_scenario, "an old row was kept"),
    (3, test_write_faults.later_commit_scenario, "what the write left was kept"),
    (4, test_write_faults.later_commit_scenario, "what the write left was kept"),
]


@pytest.mark.parametrize("rule, scenario, told", WRITES, ids=[f"{r}-{s.__name__}" for r, s, _ in WRITES])
def test_without_the_rule_a_write_is_followed_by_an_older_row(db, start_without, rule, scenario, told):
    with pytest.raises(AssertionError, match=told):
        scenario(db, start_without(rule))


def test_without_own_application_the_hunter_of_writes_finds_older_reads(db, start_without):
    assert test_write_faults.own_writes_hunt(db, start_without(7), 2)


ASKED = [
    (test_consistency.strict_scenario, "from memory"),
    (test_consistency.bounded_scenario, "further back than asked"),
    (test_consistency.minlsn_scenario, "older than the LSN"),
    (test_consistency.joined_strict_scenario, "from before the request"),
]


@pytest.mark.parametrize("scenario, told", ASKED, ids=[s.__name__ for s, _ in ASKED])
def test_without_the_rule_a_request_is_answered_older_than_it_asks(db, shop, start_without, scenario, told):
    with pytest.raises(AssertionError, match=told):
        scenario(db, shop, start_without(10))


def test_with_every_rule_in_force_the_same_build_passes(make_postgres, start_without):
    server = make_postgres()
    test_coherence.gap_scenario(server, server.create_shop(), start_without(""))


@pytest.mark.parametrize("rule, fault", [(0, "none"), (2, "none"), (3, "missing"), (5, "slow"), (9, "none")])
def test_without_the_rule_the_hunter_finds_old_rows(workshop, postgres, start_without, rule, fault):
    """The others, with more patience: make check-coherence-rules."""
    with Stage(workshop, postgres) as stage:
        hunt = hunt_with(stage, FAULTS[fault], SECONDS, env={"FRESHET_TEST_RULES_OFF": str(rule)}, until_found=True)
    assert hunt.violations


def test_without_one_snapshot_for_all_rows_of_a_command_they_are_of_several(db, start_without):
    with pytest.raises(AssertionError, match="rows of several snapshots"):
        test_one_snapshot.gate_scenario(db, start_without(15))


def test_without_the_lsn_rule_a_standby_brings_old_rows_back(make_postgres, start_without):
    server = make_postgres()
    shop, standby = server.create_shop(), server.create_standby()
    try:
        standby.catch_up()
        f = test_replicas.started(start_without(11), shop, standby, max_staleness="60s")
        with pytest.raises(AssertionError, match="of the replica"):
            test_replicas.held_standby_scenario(standby, shop, f)
    finally:
        standby.remove()


def test_a_fenced_primary_brings_old_rows_back_without_looking_which_server_it_is(make_postgres, start_without):
    with pytest.raises(AssertionError, match="of the old primary"):
        test_failover.fenced_scenario(make_postgres(), start_without(12))
