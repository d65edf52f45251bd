"""Tests of the CUDA backend run in Numba's simulator, in a process of their own (`make test`)."""

import os
import sys
from pathlib import Path

import pytest

if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    sys.path.append(str(Path(__file__).parents[1] / "kernels"))  # whose runs serve here, too
    from simulator import ORDERS, install, thread_order

    install()

    @pytest.fixture(params=ORDERS)
    def any_order(request):
        """Run a test once for each order of threads and blocks."""
        with thread_order(request.param):
            yield

else:
    collect_ignore_glob = ["*.py"]
