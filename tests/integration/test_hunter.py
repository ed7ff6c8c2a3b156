"""Short hunts for stale reads, each beside a fault; FRESHET_HUNT_SECONDS makes them longer, and more.

`make check-coherence` is the long one. That the hunter would find what it looks for is test_rules.py's business, and
`make check-coherence-rules`'.
"""

import os

import pytest

from faults import FAULTS
from stage import Stage, hunt_with

SECONDS = os.environ.get("FRESHET_HUNT_SECONDS")
EVERYDAY = ["none", "missing", "cut", "frozen", "slow", "schema"]


@pytest.mark.parametrize("name", list(FAULTS) if SECONDS else EVERYDAY)
def test_no_stale_read_is_found(workshop, postgres, name):
    with Stage(workshop, postgres) as stage:
        hunt = hunt_with(stage, FAULTS[name], float(SECONDS or 3))
    figures = hunt.figures()
    assert not hunt.violations, (hunt.violations[:10], figures)
    assert figures["reads"] > 100 and figures["commits"] > 20 and (figures.get("waits") or name == "schema"), figures
    if name == "missing":
        assert figures["gaps hit"] > 0, figures
