"""Tests that need a process of their own: other settings of Numba, or a death."""

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def python(*arguments, **environment):
    """Run Python in this folder with changes to the environment; None takes a variable away."""
    changed = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE,
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
    )


def output_of(*arguments, **environment):
    """What such a process prints; it must end well."""
    done = python(*arguments, **environment)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def is_x86():
    """Whether the code of other such processors runs here, if they can do less."""
    return platform.machine().lower() in ("x86_64", "amd64")
