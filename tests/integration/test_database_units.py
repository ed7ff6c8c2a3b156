"""The unit tests of base/ that need a real PostgreSQL, against both versions."""

import os
import subprocess

import pytest

from support.freshet import binary


@pytest.mark.parametrize("postgres", ["15", "18"], indirect=True)
@pytest.mark.parametrize("program", ["test_catalog", "test_publication"])
def test_unit_with_a_database(postgres, program):
    ran = subprocess.run(
        [str(binary().parent / "unit" / "base" / program)],
        env={**os.environ, "FRESHET_TEST_DATABASE_URL": postgres.url()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SKIPPED" not in ran.stdout + ran.stderr
