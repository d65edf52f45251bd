"""Killed by the system at any moment, a run that saves loses no more than an epoch.

FASTBATCH_KILLS=200 python -m pytest tests/trust/test_killed_runs.py kills more often.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_runs.py")
KILLS = os.environ.get("FASTBATCH_KILLS", "6")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]


def killed_runs(*arguments):
    """How many were killed, and how many of them amid a save."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return map(int, done.stdout.split())


def test_killed_at_random_moments_a_run_goes_on_to_the_same_bits(backend, tmp_path):
    killed, _ = killed_runs("moments", backend, KILLS, tmp_path)
    assert killed >= int(KILLS)


def test_killed_before_any_call_of_a_save_the_old_or_the_new_file_is_whole(tmp_path):
    killed, amid = killed_runs("calls", "reference", tmp_path)
    assert killed > amid > 3  # before and after writing, syncing and closing at least
