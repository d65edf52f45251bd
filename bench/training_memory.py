"""How much memory training takes, in a process of its own: ``python -m bench.training_memory``.

Trains one epoch of a cell, with or without clipping, and prints the most bytes that the process
has had in memory.
"""

import argparse
import re
from pathlib import Path

from bench.cells import CLIPPED, PLAIN
from bench.ways import epochs

STATUS = Path("/proc/self/status")


def most_resident():
    """Bytes, the most there were since the process began to run this program.

    ``getrusage`` would count what its parent had when it made this process.
    """
    return 1024 * int(re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)[1])


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.training_memory", description=__doc__)
    parser.add_argument("cell", choices=PLAIN)
    parser.add_argument("--clip", action="store_true")
    options = parser.parse_args()
    epochs((CLIPPED if options.clip else PLAIN)[options.cell])()
    print(most_resident())


if __name__ == "__main__":
    main()
