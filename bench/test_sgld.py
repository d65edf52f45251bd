"""What it costs to sample: a step of Langevin dynamics over one of plain gradient descent.

Both are an epoch's steps of the kernels; the difference is a normal number for each parameter.
"""

import pytest

from bench.cells import PLAIN, POSTERIOR, trajectory
from bench.ways import epochs

STEPS = {"digits": 1.6, "mnist": 1.25}  # what the ratio should be at most


@pytest.mark.parametrize("name", POSTERIOR)
def test_sgld_over_sgd_step(compare, name):
    cell = POSTERIOR[name]
    assert trajectory(cell, "cpu", cell.dtype).agrees(trajectory(cell), tolerance=1e-3)
    compare(epochs(cell), epochs(PLAIN[name]), STEPS[name])
