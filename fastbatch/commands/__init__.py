"""The command line: ``fastbatch train``, ``predict``, ``inspect`` and what they need.

The exit status tells scripts how it went: see the constants below.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from fastbatch.commands import doctor, explain, history, inspect, predict, train, verify, warmup
from fastbatch.commands.fitting import TrainingError
from fastbatch.commands.output import discard
from fastbatch.run import DivergenceError

DONE = 0
FAILED = 1  # no space, no permission; or what was checked is not right
USER_ERROR = 2  # arguments, configuration, data or model are not right
DIVERGED = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells count; of SIGTERM, too, while training

COMMANDS = train, predict, history, inspect, explain, warmup, doctor, verify


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
        The exit status: 0 (done), 1 (failed, or what was checked is not right), 2 (a mistake in
        what was asked for), 3 (training diverged) or 130 (Ctrl-C). All but 0 are explained in one
        line.

    Examples
    --------
    >>> main(["train", "iris", "--epochs", "2", "--backend", "reference"])
    iris: 150 examples, 4 features, 3 classes; 15 held out for validation
    network 4-64-64-3 (4,675 parameters), relu, adam, batches of 32
    ...
    0
    """
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks how the line might go on
        import argcomplete

        argcomplete.autocomplete(parser)
    arguments = parser.parse_args(argv)
    status = DONE
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"{arguments.prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        discard()
        return status
    except TrainingError as failure:
        print(f"{arguments.prog}: {_message(failure.__cause__)}", file=sys.stderr)
        return FAILED
    except (OSError, MemoryError, DivergenceError, ValueError, TypeError, ImportError) as error:
        print(f"{arguments.prog}: {_message(error)}", file=sys.stderr)
        return _status(error)


def _parser() -> Parser:
    parser = Parser(prog="fastbatch", description="Train neural networks on CPUs, fast.")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="command")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(subparser)
        subparser.set_defaults(run=command.run, prog=subparser.prog)
    return parser


def _message(error: BaseException | None) -> str:
    """One line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _status(error: Exception) -> int:
    if isinstance(error, DivergenceError):
        return DIVERGED
    if isinstance(error, OSError | MemoryError) and not isinstance(error, FileNotFoundError):
        return FAILED
    return USER_ERROR
