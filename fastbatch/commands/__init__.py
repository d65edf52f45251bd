"""The command line: ``fastbatch train``, ``predict``, ``inspect`` and what they need."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastbatch.commands import doctor, explain, inspect, predict, train, verify, warmup
from fastbatch.run import DivergenceError

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message."""
        self.exit(USER_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process if not given.

    Returns
    -------
    int
        The exit status: 0, 1 (what was checked is not right), 2 (a mistake in what was asked for,
        explained in one line) or 130 (Ctrl-C).

    Examples
    --------
    >>> main(["train", "iris", "--epochs", "2", "--backend", "reference"])
    iris: 150 examples, 4 features, 3 classes; 15 held out for validation
    network 4-64-64-3 (4,675 parameters), relu, adam, batches of 32
    ...
    0
    """
    parser = Parser(prog="fastbatch", description="Train neural networks on CPUs, fast.")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="command")
    for command in (train, predict, inspect, explain, warmup, doctor, verify):
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.configure(subparser)
        subparser.set_defaults(run=command.run, prog=subparser.prog)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print(f"{arguments.prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(arguments.prog, f"{error.filename}: {error.strerror}")
    except (ValueError, TypeError, ImportError, DivergenceError) as error:
        return _refuse(arguments.prog, str(error))


def _refuse(prog: str, message: str) -> int:
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)
    return USER_ERROR
