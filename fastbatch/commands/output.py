"""Standard output, for as long as somebody reads it."""

import os
import sys


def tell(*lines: str) -> None:
    """Print lines at once; once nobody reads any more, such as head, that is no error."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        discard()


def discard() -> None:
    """Lead all that is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
