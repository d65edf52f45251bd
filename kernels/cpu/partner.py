"""A second process that compiles while this one does: an empty cache fills a third sooner.

Threads would not do, since Numba compiles under a lock.  This process takes subroutines from the
front of the list and its partner from the back, until they meet; a file in a folder of theirs says
what is taken.  Whatever happens to the partner, this process does without it.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

from numba.core import config

_PROGRAM = "import sys; from fastbatch.kernels.cpu.compiling import assist; assist(*sys.argv[1:])"
_PATIENCE = 60.0  # seconds for one subroutine: several times what the largest takes

_folder = None  # of the claims
_process = None  # the partner; it has none itself


def start(dtype):
    """Have subroutines for `dtype` compiled by a partner too, if there is a core for it."""
    global _folder, _process
    if _folder is not None and (_process is None or _process.poll() is None):
        return
    # A program that Python is only a part of may take our arguments for something else.
    if config.NUMBA_NUM_THREADS == 1 or not Path(sys.executable or "").name.startswith("python"):
        return
    try:
        folder = tempfile.mkdtemp(prefix="fastbatch-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, folder, dtype.name],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return
    _folder = Path(folder)
    atexit.register(_stop, _process)


def _stop(process):
    process.kill()
    process.wait()


def join(folder):
    """Be the partner of the process whose claims are in `folder`."""
    global _folder
    _folder = Path(folder)


def claim(name):
    """Whether this process should compile `name`; a partner that should not is done."""
    if _folder is None:
        return True
    try:
        (_folder / name).touch(exist_ok=False)
    except FileExistsError:
        if _process is None:
            raise SystemExit from None
        return False
    except OSError:
        pass
    return True


def wait_for(path):
    """Wait until the partner has written the file, or is gone."""
    deadline = monotonic() + _PATIENCE
    while _process.poll() is None and not path.exists() and monotonic() < deadline:
        sleep(0.01)
